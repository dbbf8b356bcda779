//! The local SQS server, seen through the AWS SDK and, where that is too polite, through a bare socket.

// clippy.toml allows these in functions marked as tests, not in what those stand on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message, MessageAttributeValue,
    MessageSystemAttributeName, SendMessageBatchRequestEntry,
};
use stand_ins::sqs::{FaultCounts, Faults, LocalQueue, QueueOptions, QueueStats, Redrive, StaleReceipts, When};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(30);

async fn start(queues: Vec<QueueOptions>) -> LocalQueue {
    LocalQueue::start(SocketAddr::from(([127, 0, 0, 1], 0)), queues, Faults::default()).await.unwrap()
}

async fn start_one() -> (LocalQueue, Client, String) {
    let queue = start(vec![QueueOptions::new("logins")]).await;
    let (client, url) = (client(&queue, RetryConfig::disabled()), queue.queue_url("logins"));
    (queue, client, url)
}

fn client(queue: &LocalQueue, retry: RetryConfig) -> Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .endpoint_url(queue.endpoint())
        .retry_config(retry)
        .build();
    Client::from_conf(config)
}

async fn send(client: &Client, url: &str, body: &str) -> String {
    let sent = client.send_message().queue_url(url).message_body(body).send().await.unwrap();
    sent.message_id.unwrap()
}

async fn receive(client: &Client, url: &str, wait: i32) -> Vec<Message> {
    let received = client
        .receive_message()
        .queue_url(url)
        .max_number_of_messages(10)
        .wait_time_seconds(wait)
        .message_system_attribute_names(MessageSystemAttributeName::All)
        .message_attribute_names("All")
        .send();
    received.await.unwrap().messages.unwrap_or_default()
}

fn attribute(message: &Message, name: MessageSystemAttributeName) -> &str {
    message.attributes.as_ref().unwrap()[&name].as_str()
}

fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> &str {
    error.code().unwrap_or_default()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_sent_arrives_with_its_attributes_and_is_gone_once_deleted() {
    let (queue, client, url) = start_one().await;
    let colour = MessageAttributeValue::builder().data_type("String").string_value("blue").build().unwrap();
    let body = "{\"é\": \"\\\"😀\\\"\"}\t\r\n";
    let sent = client.send_message().queue_url(&url).message_body(body).message_attributes("colour", colour.clone());
    let sent = sent.send().await.unwrap();

    let messages = receive(&client, &url, 0).await;
    let message = &messages[0];
    assert_eq!((messages.len(), message.body()), (1, Some(body)));
    assert_eq!((message.message_id(), message.md5_of_body()), (sent.message_id(), sent.md5_of_message_body()));
    assert_eq!(message.md5_of_message_attributes(), sent.md5_of_message_attributes());
    assert_eq!(message.message_attributes().unwrap()["colour"], colour);
    assert_eq!(queue.stats("logins"), Some(QueueStats { in_flight: 1, ..QueueStats::default() }));

    let handle = message.receipt_handle().unwrap();
    client.delete_message().queue_url(&url).receipt_handle(handle).send().await.unwrap();
    assert_eq!(queue.stats("logins"), Some(QueueStats::default()));
    assert_eq!(queue.stats("none"), None);
}

#[tokio::test]
async fn a_waiting_receive_is_woken_by_a_send() {
    let (queue, client, url) = start_one().await;
    let waiting = tokio::spawn({
        let (client, url) = (client.clone(), url.clone());
        async move { receive(&client, &url, 20).await }
    });
    until("the receive", || queue.served().calls == 1).await;
    let started = Instant::now();
    send(&client, &url, "x").await;
    assert_eq!(waiting.await.unwrap().len(), 1);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_waiting_receive_is_woken_by_the_end_of_a_visibility_timeout() {
    let (_queue, client, url) = start_one().await;
    let sent = send(&client, &url, "x").await;
    let first = client.receive_message().queue_url(&url).visibility_timeout(1).send().await.unwrap();
    let first = first.messages.unwrap().remove(0);
    let second = receive(&client, &url, 20).await.remove(0);
    assert_eq!(second.message_id.as_deref(), Some(sent.as_str()));
    assert_eq!(attribute(&second, MessageSystemAttributeName::ApproximateReceiveCount), "2");
    assert_ne!(second.receipt_handle, first.receipt_handle);
}

#[tokio::test]
async fn a_waiting_receive_is_woken_by_a_change_of_visibility() {
    let (queue, client, url) = start_one().await;
    send(&client, &url, "x").await;
    let held = receive(&client, &url, 0).await.remove(0);
    let waiting = tokio::spawn({
        let (client, url) = (client.clone(), url.clone());
        async move { receive(&client, &url, 20).await }
    });
    until("the receive", || queue.served().calls == 3).await;
    let change = client.change_message_visibility().queue_url(&url).receipt_handle(held.receipt_handle.unwrap());
    change.visibility_timeout(0).send().await.unwrap();
    assert_eq!(waiting.await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_client_that_hangs_up_while_it_waits_takes_no_message() {
    let (queue, client, url) = start_one().await;
    let mut socket = TcpStream::connect(queue.endpoint().trim_start_matches("http://")).await.unwrap();
    let body = format!("{{\"QueueUrl\":\"{url}\",\"WaitTimeSeconds\":20}}");
    socket.write_all(&request("ReceiveMessage", &body)).await.unwrap();
    until("the receive", || queue.served().calls == 1).await;
    drop(socket);
    // A full turn of a second connection gives the server the time to notice.
    for _ in 0..20 {
        client.get_queue_url().queue_name("logins").send().await.unwrap();
    }
    send(&client, &url, "x").await;
    let message = receive(&client, &url, 5).await.remove(0);
    assert_eq!(attribute(&message, MessageSystemAttributeName::ApproximateReceiveCount), "1");
}

#[tokio::test]
async fn a_message_received_too_often_goes_to_the_dead_letter_queue_and_a_move_task_brings_it_back() {
    let redrive = Redrive { dead_letter_queue: "dead".to_owned(), max_receive_count: 2 };
    let logins =
        QueueOptions { redrive: Some(redrive), visibility_timeout: Duration::ZERO, ..QueueOptions::new("logins") };
    let queue = start(vec![logins, QueueOptions::new("dead")]).await;
    let (client, url, dead) =
        (client(&queue, RetryConfig::disabled()), queue.queue_url("logins"), queue.queue_url("dead"));
    let sent = send(&client, &url, "x").await;
    let first = receive(&client, &url, 0).await.remove(0);
    assert_eq!(receive(&client, &url, 0).await.len(), 1);
    assert!(receive(&client, &url, 0).await.is_empty());

    let buried = receive(&client, &dead, 0).await.remove(0);
    assert_eq!(buried.message_id.as_deref(), Some(sent.as_str()));
    let name = MessageSystemAttributeName::SentTimestamp;
    assert_eq!(attribute(&buried, name.clone()), attribute(&first, name));
    let source = attribute(&buried, MessageSystemAttributeName::DeadLetterQueueSourceArn);
    assert_eq!(source, queue.queue_arn("logins"));
    let change = client.change_message_visibility().queue_url(&dead).visibility_timeout(0);
    change.receipt_handle(buried.receipt_handle.unwrap()).send().await.unwrap();

    client.start_message_move_task().source_arn(queue.queue_arn("dead")).send().await.unwrap();
    let back = receive(&client, &url, 5).await.remove(0);
    assert_ne!(back.message_id.as_deref(), Some(sent.as_str()));
    assert_eq!(attribute(&back, MessageSystemAttributeName::ApproximateReceiveCount), "1");
    let tasks = client.list_message_move_tasks().source_arn(queue.queue_arn("dead")).send().await.unwrap();
    assert_eq!(tasks.results()[0].status(), Some("COMPLETED"));
    assert_eq!(queue.served().dead_lettered, 1);
}

#[tokio::test]
async fn a_fifo_queue_keeps_a_groups_order_blocks_it_while_in_flight_and_drops_repeats() {
    let options = QueueOptions { content_based_deduplication: true, ..QueueOptions::new("q.fifo") };
    let queue = start(vec![options]).await;
    let (client, url) = (client(&queue, RetryConfig::disabled()), queue.queue_url("q.fifo"));
    for (group, body) in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a1")] {
        client.send_message().queue_url(&url).message_body(body).message_group_id(group).send().await.unwrap();
    }
    let one = async || client.receive_message().queue_url(&url).send().await.unwrap().messages.unwrap_or_default();
    let a1 = one().await.remove(0);
    assert_eq!(a1.body(), Some("a1"));
    assert_eq!(one().await[0].body(), Some("b1"));
    assert!(one().await.is_empty());
    client.delete_message().queue_url(&url).receipt_handle(a1.receipt_handle.unwrap()).send().await.unwrap();
    assert_eq!(one().await[0].body(), Some("a2"));
    assert_eq!(queue.stats("q.fifo").unwrap().visible, 0);
}

#[tokio::test]
async fn refusals_carry_the_codes_that_the_sdk_knows() {
    let (_queue, client, url) = start_one().await;
    let none = client.get_queue_url().queue_name("none").send().await.unwrap_err().into_service_error();
    assert!(none.is_queue_does_not_exist());
    let refused = client.send_message().queue_url(&url).message_body("\0").send().await.unwrap_err();
    assert!(refused.into_service_error().is_invalid_message_contents());
    let refused = client.delete_message().queue_url(&url).receipt_handle("x").send().await.unwrap_err();
    assert!(refused.into_service_error().is_receipt_handle_is_invalid());
    let long = "x".repeat(1024 * 1024 + 1);
    let refused = client.send_message().queue_url(&url).message_body(long).send().await.unwrap_err();
    assert_eq!(code(&refused), "InvalidParameterValue");
    let entry = |id: usize| SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body("x").build();
    let eleven = (0..11).map(|id| entry(id).unwrap()).collect();
    let refused = client.send_message_batch().queue_url(&url).set_entries(Some(eleven)).send().await.unwrap_err();
    assert!(refused.into_service_error().is_too_many_entries_in_batch_request());
}

#[tokio::test]
async fn throttling_is_what_the_sdk_takes_for_throttling_and_has_no_effect() {
    let (queue, strict, url) = start_one().await;
    queue.set_faults(Faults { throttle: 1.0, ..Faults::default() });
    let refused = strict.send_message().queue_url(&url).message_body("x").send().await.unwrap_err();
    assert_eq!(code(&refused), "ThrottlingException");
    assert_eq!(queue.stats("logins"), Some(QueueStats::default()));

    queue.set_faults(Faults { throttle: 0.5, seed: 1, ..Faults::default() });
    let patient = client(&queue, RetryConfig::standard().with_max_attempts(50).with_initial_backoff(Duration::ZERO));
    for _ in 0..10 {
        send(&patient, &url, "x").await;
    }
    assert_eq!(queue.stats("logins").unwrap().visible, 10);
    assert!(queue.fault_counts().throttle > 1);
}

#[tokio::test]
async fn error_500_has_no_effect() {
    let (queue, client, url) = start_one().await;
    queue.set_faults(Faults { error_500: 1.0, ..Faults::default() });
    let refused = client.send_message().queue_url(&url).message_body("x").send().await.unwrap_err();
    assert_eq!(refused.raw_response().unwrap().status().as_u16(), 500);
    assert_eq!((queue.stats("logins").unwrap().visible, queue.fault_counts().error_500), (0, 1));
}

#[tokio::test]
async fn a_call_whose_reply_is_lost_took_effect() {
    let (queue, client, url) = start_one().await;
    queue.set_faults(Faults { lost_reply: 1.0, ..Faults::default() });
    let lost = client.send_message().queue_url(&url).message_body("x").send().await.unwrap_err();
    assert!(lost.raw_response().is_none());
    assert_eq!((queue.stats("logins").unwrap().visible, queue.fault_counts().lost_reply), (1, 1));
    client.receive_message().queue_url(&url).send().await.unwrap_err();
    assert_eq!(queue.stats("logins").unwrap().in_flight, 1);
}

#[tokio::test]
async fn the_chosen_call_alone_fails_before_or_after_its_effect() {
    let (queue, client, url) = start_one().await;
    for (when, takes_effect) in [(When::BeforeEffect, 0), (When::AfterEffect, 1)] {
        let before = queue.stats("logins").unwrap().visible;
        queue.fail_call(2, when);
        send(&client, &url, "x").await;
        assert!(!queue.failed_call().unwrap().struck());
        let cut = client.send_message().queue_url(&url).message_body("x").send().await.unwrap_err();
        assert!(cut.raw_response().is_none());
        send(&client, &url, "x").await;
        assert_eq!(queue.stats("logins").unwrap().visible - before, 2 + takes_effect);
        let chosen = queue.failed_call().unwrap();
        assert_eq!((chosen.seen, chosen.struck(), queue.fault_counts()), (3, true, FaultCounts::default()));
    }
}

#[tokio::test]
async fn a_failed_entry_of_a_batch_is_the_servers_fault_and_had_no_effect() {
    let (queue, client, url) = start_one().await;
    send(&client, &url, "x").await;
    let handle = receive(&client, &url, 0).await.remove(0).receipt_handle.unwrap();
    queue.set_faults(Faults { partial_batch_failure: 1.0, ..Faults::default() });

    let entry = SendMessageBatchRequestEntry::builder().id("a").message_body("x").build().unwrap();
    let sent = client.send_message_batch().queue_url(&url).entries(entry).send().await.unwrap();
    let entry = DeleteMessageBatchRequestEntry::builder().id("a").receipt_handle(&handle).build().unwrap();
    let deleted = client.delete_message_batch().queue_url(&url).entries(entry).send().await.unwrap();
    let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id("a").receipt_handle(&handle);
    let entry = entry.visibility_timeout(0).build().unwrap();
    let changed = client.change_message_visibility_batch().queue_url(&url).entries(entry).send().await.unwrap();
    for failed in [sent.failed(), deleted.failed(), changed.failed()] {
        assert_eq!((failed.len(), failed[0].id(), failed[0].sender_fault()), (1, "a", false));
    }
    assert!(sent.successful().is_empty() && deleted.successful().is_empty() && changed.successful().is_empty());
    assert_eq!(queue.stats("logins"), Some(QueueStats { in_flight: 1, ..QueueStats::default() }));
    assert_eq!(queue.fault_counts(), FaultCounts { partial_batch_failure: 3, ..FaultCounts::default() });
}

#[tokio::test]
async fn an_early_redelivery_brings_a_message_that_should_be_hidden() {
    let (queue, client, url) = start_one().await;
    queue.set_faults(Faults { early_redelivery: 1.0, ..Faults::default() });
    send(&client, &url, "x").await;
    assert_eq!(receive(&client, &url, 0).await.len(), 1);
    assert_eq!(receive(&client, &url, 0).await.len(), 1);
    assert_eq!(queue.fault_counts().early_redelivery, 2);
}

#[tokio::test]
async fn a_redelivery_after_delete_brings_a_message_whose_delete_succeeded() {
    let (queue, client, url) = start_one().await;
    queue.set_faults(Faults { redelivery_after_delete: 1.0, ..Faults::default() });
    send(&client, &url, "x").await;
    let handle = receive(&client, &url, 0).await.remove(0).receipt_handle.unwrap();
    client.delete_message().queue_url(&url).receipt_handle(handle).send().await.unwrap();
    let again = receive(&client, &url, 20).await.remove(0);
    assert_eq!(attribute(&again, MessageSystemAttributeName::ApproximateReceiveCount), "2");
    assert_eq!(queue.fault_counts().redelivery_after_delete, 1);
}

#[tokio::test]
async fn a_duplicate_in_a_receive_is_one_message_under_two_handles() {
    let (queue, client, url) = start_one().await;
    queue.set_faults(Faults { duplicate_in_receive: 1.0, ..Faults::default() });
    send(&client, &url, "x").await;
    let messages = receive(&client, &url, 0).await;
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0].message_id, messages[1].message_id);
    assert_ne!(messages[0].receipt_handle, messages[1].receipt_handle);
    assert_eq!(queue.fault_counts().duplicate_in_receive, 1);
}

#[tokio::test]
async fn a_delete_by_a_stale_receipt_is_ignored_taken_or_refused_as_told() {
    for (stale_receipts, refused, left) in
        [(StaleReceipts::Ignored, false, 1), (StaleReceipts::Taken, false, 0), (StaleReceipts::Refused, true, 1)]
    {
        let (queue, client, url) = start_one().await;
        send(&client, &url, "x").await;
        queue.set_faults(Faults { early_redelivery: 1.0, ..Faults::default() });
        let first = receive(&client, &url, 0).await.remove(0).receipt_handle.unwrap();
        queue.set_faults(Faults { stale_receipts, ..Faults::default() });
        let last = receive(&client, &url, 0).await.remove(0).receipt_handle.unwrap();
        let delete = async |receipt| client.delete_message().queue_url(&url).receipt_handle(receipt).send().await;
        let answer = delete(&first).await.map_err(|error| code(&error).to_owned());
        assert_eq!(answer.err(), refused.then(|| "ReceiptHandleIsInvalid".to_owned()));
        assert_eq!((queue.stats("logins").unwrap().in_flight, queue.served().stale_deletes), (left, 1));
        // The last receipt of a message that is gone is stale too.
        let answer = delete(&last).await;
        assert!(answer.is_ok() && queue.stats("logins") == Some(QueueStats::default()));
        assert_eq!(queue.served().stale_deletes, if left == 0 { 2 } else { 1 });
    }
}

#[tokio::test]
async fn a_delete_after_the_visibility_timeout_is_late_and_is_taken() {
    let (queue, client, url) = start_one().await;
    queue.set_faults(Faults { early_redelivery: 1.0, ..Faults::default() });
    send(&client, &url, "x").await;
    let receipt = receive(&client, &url, 0).await.remove(0).receipt_handle.unwrap();
    client.delete_message().queue_url(&url).receipt_handle(receipt).send().await.unwrap();
    assert_eq!((queue.served().late_deletes, queue.stats("logins")), (1, Some(QueueStats::default())));
}

#[tokio::test]
async fn credentials_that_have_expired_are_refused_until_they_come_back() {
    let (queue, client, url) = start_one().await;
    queue.set_expired("local", true);
    let refused = client.send_message().queue_url(&url).message_body("x").send().await.unwrap_err();
    assert_eq!((code(&refused), refused.raw_response().unwrap().status().as_u16()), ("ExpiredToken", 403));
    queue.set_expired("local", false);
    send(&client, &url, "x").await;
    assert_eq!((queue.stats("logins").unwrap().visible, queue.fault_counts().expired_token), (1, 1));
}

#[tokio::test]
async fn a_clock_that_is_off_refuses_what_is_not_signed_at_its_own_time() {
    for minutes in [20, -20] {
        let (queue, strict, url) = start_one().await;
        queue.set_clock_ahead(time::Duration::minutes(minutes));
        let refused = strict.send_message().queue_url(&url).message_body("x").send().await.unwrap_err();
        assert_eq!(code(&refused), "SignatureDoesNotMatch");
        // The SDK has read the reply's date by now.
        send(&strict, &url, "x").await;
        let message = receive(&strict, &url, 0).await.remove(0);
        let sent: i64 = attribute(&message, MessageSystemAttributeName::SentTimestamp).parse().unwrap();
        let ahead = sent / 1000 - time::OffsetDateTime::now_utc().unix_timestamp();
        assert!((ahead - minutes * 60).abs() < 30, "{ahead}");
        assert_eq!((queue.stats("logins").unwrap().in_flight, queue.fault_counts().skewed_clock), (1, 1));
    }
}

#[tokio::test]
async fn a_delayed_answer_comes_and_counts() {
    let (queue, client, url) = start_one().await;
    queue.set_faults(Faults { delay: 1.0, max_delay: Duration::from_millis(200), seed: 5, ..Faults::default() });
    let started = Instant::now();
    for _ in 0..5 {
        send(&client, &url, "x").await;
    }
    // Five throws of this seed: together they cannot all be near zero.
    assert!(started.elapsed() > Duration::from_millis(100));
    assert_eq!((queue.stats("logins").unwrap().visible, queue.fault_counts().delay), (5, 5));
}

#[tokio::test]
async fn any_bytes_put_in_raw_come_out_as_they_are() {
    let (queue, _client, url) = start_one().await;
    assert!(queue.insert_raw("logins", b"\xff\xfe \"\\\0".to_vec()).is_some());
    assert!(queue.insert_raw("none", Vec::new()).is_none());
    let reply = speak(&queue, &request("ReceiveMessage", &format!("{{\"QueueUrl\":\"{url}\"}}"))).await;
    let has = |wanted: &[u8]| reply.windows(wanted.len()).any(|window| window == wanted);
    assert!(has(b"\"Body\":\"\xff\xfe \\\"\\\\\\u0000\""));
    assert!(has(b"\"MD5OfBody\":\"e9f32a0b0aab1d5acbc4be8f89eef9a4\""));
}

#[tokio::test]
async fn nonsense_is_refused_in_the_protocols_own_words() {
    let (queue, _client, _url) = start_one().await;
    for (sent, status, code) in [
        (request("SendMessage", "nonsense"), 400, "SerializationException"),
        (request("Nonsense", "{}"), 400, "UnknownOperationException"),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec(), 400, "UnknownOperationException"),
        (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n".to_vec(),
            413,
            "RequestEntityTooLargeException",
        ),
    ] {
        let reply = String::from_utf8(speak(&queue, &sent).await).unwrap();
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")) && reply.contains(code), "{reply}");
    }
    let health = speak(&queue, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(health.starts_with(b"HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_shutdown_answers_those_who_wait_and_frees_the_port() {
    let (queue, client, url) = start_one().await;
    let endpoint = queue.endpoint();
    let waiting = tokio::spawn(async move { receive(&client, &url, 20).await });
    until("the receive", || queue.served().calls == 1).await;
    let started = Instant::now();
    queue.shutdown().await;
    assert!(waiting.await.unwrap().is_empty() && started.elapsed() < Duration::from_secs(10));
    let address: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_dropped_server_is_gone() {
    let (queue, client, url) = start_one().await;
    send(&client, &url, "x").await;
    drop(queue);
    let deadline = Instant::now() + PATIENCE;
    while client.get_queue_url().queue_name("logins").send().await.is_ok() {
        assert!(Instant::now() < deadline, "the server still answers");
    }
}

#[tokio::test]
async fn options_outside_the_limits_are_refused_at_the_start() {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let redrive = Some(Redrive { dead_letter_queue: "none".to_owned(), max_receive_count: 1 });
    for options in [
        QueueOptions::new("a b"),
        QueueOptions { visibility_timeout: Duration::from_secs(43_201), ..QueueOptions::new("q") },
        QueueOptions { redrive, ..QueueOptions::new("q") },
    ] {
        let name = options.name.clone();
        let refused = LocalQueue::start(listen, vec![options], Faults::default()).await.err().unwrap();
        assert!(refused.to_string().starts_with(&format!("queue {name}: ")), "{refused}");
    }
}

fn request(operation: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonSQS.{operation}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Sends bytes on a connection of their own, and gives all that comes back until it closes.
async fn speak(queue: &LocalQueue, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(queue.endpoint().trim_start_matches("http://")).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut reply = Vec::new();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut reply)).await.unwrap().unwrap();
    reply
}
