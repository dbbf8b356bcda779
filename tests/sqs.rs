//! Amazon SQS through the SDK: what the loader relies on, over real HTTP.

use std::time::{Duration, Instant};

use aws_config::credential_process::CredentialProcessProvider;
use aws_sdk_sqs::config::SharedCredentialsProvider;
use serde_json::{Value, json};
use turnstile::message::{MessageId, ReceiptHandle, SentAt};
use turnstile::queue::sqs::{ConnectError, QueueAddress, SqsQueue, SqsSettings};
use turnstile::queue::{Code, Depth, Fault, Queue, QueueError, Refusal};

use crate::support::scripted_http::{Asked, Reply, ScriptedHttp, aws_at, md5_of};

const HIDDEN: Duration = Duration::from_secs(30);
const BRIEFLY: Duration = Duration::from_millis(400);

#[tokio::test]
async fn a_name_is_looked_up_and_the_queue_says_what_it_is() {
    let server = ScriptedHttp::start(|asked, _| match asked.call.as_str() {
        "GetQueueUrl" => Reply::json(json!({"QueueUrl": "http://elsewhere.invalid/000000000000/logins"})),
        _ => Reply::json(json!({"Attributes": {
            "QueueArn": "arn:aws:sqs:eu-central-1:000000000000:logins",
            "VisibilityTimeout": "45",
            "MessageRetentionPeriod": "345600",
            "RedrivePolicy": r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-central-1:000000000000:dead","maxReceiveCount":"9"}"#,
        }})),
    })
    .await;
    let queue = SqsQueue::connect_with(&settings("logins"), &server.aws()).await.unwrap();

    let facts = queue.facts();
    assert_eq!(facts.url, "http://elsewhere.invalid/000000000000/logins");
    assert_eq!(queue.identity().as_str(), "arn:aws:sqs:eu-central-1:000000000000:logins");
    assert_eq!((facts.visibility_timeout, facts.max_receive_count), (Some(Duration::from_secs(45)), Some(9)));
    assert_eq!(facts.retention, Some(Duration::from_secs(345_600)));
    assert_eq!(server.asked("GetQueueUrl"), [json!({"QueueName": "logins"})]);
    assert_eq!(
        server.asked("GetQueueAttributes"),
        [json!({"QueueUrl": "http://elsewhere.invalid/000000000000/logins", "AttributeNames": ["All"]})]
    );
}

#[tokio::test]
async fn a_url_is_called_at_its_own_host_and_no_lookup_is_needed() {
    let server = ScriptedHttp::start(with(|_| Reply::json(json!({})))).await;
    let elsewhere = aws_at("http://127.0.0.1:1");
    let url = format!("{}/000000000000/logins", server.url());
    let queue = SqsQueue::connect_with(&settings(&url), &elsewhere).await.unwrap();

    queue.receive(1, Duration::ZERO, HIDDEN).await.unwrap();
    assert!(server.asked("GetQueueUrl").is_empty());
    assert_eq!(server.asked("ReceiveMessage")[0]["QueueUrl"], url);
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_an_error_that_names_it_and_the_remedy() {
    let absent = ["QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"];
    for code in absent {
        let server = ScriptedHttp::start(move |_, _| Reply::error(400, code)).await;
        let error = SqsQueue::connect_with(&settings("logins"), &server.aws()).await.unwrap_err();
        assert!(matches!(error, ConnectError::NoQueue { .. }), "{error}");
        let text = format!("{error}: {}", error.remedy());
        assert!(["logins", &server.url(), "--queue", "AWS_REGION"].iter().all(|word| text.contains(word)), "{text}");
        assert_eq!(server.asked("GetQueueUrl").len(), 1);
    }
}

#[tokio::test]
async fn a_queue_that_appears_in_time_is_waited_for() {
    let server = ScriptedHttp::start(|asked, before| match asked.call.as_str() {
        "GetQueueUrl" if before < 3 => Reply::error(400, "QueueDoesNotExist"),
        "GetQueueUrl" => Reply::json(json!({"QueueUrl": "http://q/000000000000/logins"})),
        _ => Reply::json(json!({"Attributes": {}})),
    })
    .await;
    let patient = SqsSettings { wait_for_queue: Duration::from_secs(20), ..settings("logins") };
    SqsQueue::connect_with(&patient, &server.aws()).await.unwrap();
    assert_eq!(server.asked("GetQueueUrl").len(), 4);
}

#[tokio::test]
async fn a_server_that_comes_up_in_time_is_waited_for_and_else_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (aws, url) = (aws_at("http://127.0.0.1:1"), format!("http://{address}/000000000000/logins"));

    let error = SqsQueue::connect_with(&settings(&url), &aws).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");

    let patient = SqsSettings { wait_for_queue: Duration::from_secs(20), ..settings(&url) };
    let connecting = tokio::spawn(async move { SqsQueue::connect_with(&patient, &aws).await });
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let _server = ScriptedHttp::start_at(listener, with(|_| Reply::json(json!({}))));
    connecting.await.unwrap().unwrap();
}

#[tokio::test]
async fn settings_that_are_missing_are_named_and_never_waited_for() {
    let patient = SqsSettings { wait_for_queue: Duration::from_secs(60), ..settings("logins") };
    let bare = aws_config::SdkConfig::builder().build();
    let error = SqsQueue::connect_with(&patient, &bare).await.unwrap_err();
    assert!(error.remedy().contains("AWS_REGION"), "{}", error.remedy());

    let region = aws_config::Region::new("eu-central-1");
    let error = SqsQueue::connect_with(&patient, &bare.into_builder().region(region).build()).await.unwrap_err();
    assert!(error.remedy().contains("AWS_ACCESS_KEY_ID"), "{}", error.remedy());
}

#[tokio::test]
async fn credentials_that_end_are_told_from_a_network_that_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let flag = folder.path().join("asked");
    let once = r#"[ -e FLAG ] && exit 1; touch FLAG; echo '{"Version":1,"AccessKeyId":"a","SecretAccessKey":"b"}'"#;
    let provider = CredentialProcessProvider::new(once.replace("FLAG", flag.to_str().unwrap()));
    let aws = aws_at("http://127.0.0.1:1").into_builder();
    let aws = aws.credentials_provider(SharedCredentialsProvider::new(provider)).build();
    let error = SqsQueue::connect_with(&settings("logins"), &aws).await.unwrap_err();
    assert!(flag.exists() && matches!(error, ConnectError::NoCredentials { .. }), "{error}");
}

#[tokio::test]
async fn a_refusal_at_start_says_the_queue_s_own_words_and_is_not_waited_for() {
    let server = ScriptedHttp::start(|_, _| Reply::error(403, "AccessDeniedException")).await;
    let patient = SqsSettings { wait_for_queue: Duration::from_secs(60), ..settings("logins") };
    let error = SqsQueue::connect_with(&patient, &server.aws()).await.unwrap_err().to_string();
    assert!(error.contains("GetQueueUrl failed: AccessDeniedException") && error.contains("as scripted"), "{error}");
}

#[tokio::test]
async fn the_server_s_clock_is_read_from_its_reply() {
    let server = ScriptedHttp::start(|_, _| {
        Reply::json(json!({"Attributes": {}})).with_header("date", "Fri, 01 Jan 2100 00:00:00 GMT")
    })
    .await;
    let url = format!("{}/000000000000/logins", server.url());
    let queue = SqsQueue::connect_with(&settings(&url), &server.aws()).await.unwrap();
    let there = time::macros::datetime!(2100-01-01 00:00:00.5 UTC);
    let expected = there - time::OffsetDateTime::now_utc();
    assert!((queue.clock_difference().unwrap() - expected).abs() < time::Duration::seconds(10));
}

#[tokio::test]
async fn a_receive_asks_for_what_it_needs_and_no_more() {
    let (server, queue) = connected(|_| Reply::json(json!({}))).await;
    let wait = Duration::from_millis(1_900);
    assert!(queue.receive(7, wait, Duration::from_millis(29_001)).await.unwrap().is_empty());
    assert_eq!(
        server.asked("ReceiveMessage"),
        [json!({
            "QueueUrl": queue.facts().url,
            "MaxNumberOfMessages": 7,
            "WaitTimeSeconds": 1,
            "VisibilityTimeout": 30,
            "MessageSystemAttributeNames": ["SentTimestamp", "ApproximateReceiveCount"],
            "AttributeNames": ["SentTimestamp", "ApproximateReceiveCount"],
            "MessageAttributeNames": ["turnstile-requeued"],
        })]
    );
}

#[tokio::test]
async fn a_server_that_knows_only_the_older_or_only_the_newer_list_of_attributes_gives_them() {
    for known in ["AttributeNames", "MessageSystemAttributeNames"] {
        let (_server, queue) = connected(move |asked| {
            let mut message = message("m", "{}");
            let named = |name: &str| asked.body[known].as_array().into_iter().flatten().any(|asked| asked == name);
            message["Attributes"] = json!({"SentTimestamp": "1700000000123", "ApproximateReceiveCount": "4"})
                .as_object()
                .unwrap()
                .iter()
                .filter(|(name, _)| named(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect::<serde_json::Map<_, _>>()
                .into();
            Reply::json(json!({"Messages": [message]}))
        })
        .await;
        let received = queue.receive(10, Duration::ZERO, HIDDEN).await.unwrap();
        let delivery = &received[0].delivery;
        assert!(matches!(delivery.sent_at, SentAt::Queue(_)) && delivery.receive_count == 4, "{known}");
    }
}

#[tokio::test]
async fn a_message_comes_with_its_times_count_and_wanted_attributes() {
    let script = |_: &Asked| {
        let mut message = message("m-1", "{}");
        message["Attributes"] = json!({"SentTimestamp": "1700000000123", "ApproximateReceiveCount": "4",
            "MessageDeduplicationId": "dedup"});
        message["MessageAttributes"] = json!({
            "EventId": {"DataType": "String", "StringValue": "é-7"},
            "Bytes": {"DataType": "Binary", "BinaryValue": "AP8="},
        });
        Reply::json(json!({"Messages": [message]}))
    };
    let server = ScriptedHttp::start(with(script)).await;
    let url = format!("{}/000000000000/logins", server.url());
    let wanting = SqsSettings { identity_attribute: Some("EventId".to_owned()), ..settings(&url) };
    let queue = SqsQueue::connect_with(&wanting, &server.aws()).await.unwrap();

    let received = queue.receive(10, Duration::ZERO, HIDDEN).await.unwrap();
    let (delivery, attributes) = (&received[0].delivery, &received[0].attributes);
    assert_eq!(delivery.message_id, MessageId::new("m-1"));
    assert_eq!(delivery.receipt, ReceiptHandle::new("receipt of m-1"));
    assert_eq!(delivery.sent_at, SentAt::Queue(time::macros::datetime!(2023-11-14 22:13:20.123 UTC)));
    assert_eq!(delivery.receive_count, 4);
    assert!((time::OffsetDateTime::now_utc() - delivery.received_at).abs() < time::Duration::minutes(1));
    assert_eq!(attributes.get("EventId"), Some("é-7".as_bytes()));
    assert_eq!(attributes.get("Bytes"), Some(&[0, 255][..]));
    assert_eq!(attributes.get("MessageDeduplicationId"), Some(&b"dedup"[..]));
    assert_eq!(server.asked("ReceiveMessage")[0]["MessageAttributeNames"], json!(["turnstile-requeued", "EventId"]));
}

#[tokio::test]
async fn a_damaged_body_is_counted_and_its_neighbours_are_delivered() {
    let (_server, queue) = connected(|_| {
        let mut damaged = message("damaged", "{}");
        damaged["Body"] = json!("{ }");
        Reply::json(json!({"Messages": [message("a", "1"), damaged, message("b", "2")]}))
    })
    .await;
    let received = queue.receive(10, Duration::ZERO, HIDDEN).await.unwrap();
    assert_eq!(received.iter().map(|m| m.delivery.message_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(queue.damaged(), 1);
}

#[tokio::test]
async fn invalid_utf_8_from_the_queue_is_delivered_byte_for_byte_and_hides_no_neighbour() {
    let (_server, queue) = connected(|_| {
        let text = json!({"Messages": [message("a", "é\n\u{1f600}"), message("bad", "BYTES"), message("b", "2")]});
        let (head, tail) = text.to_string().split_once("BYTES").map(|(h, t)| (h.to_owned(), t.to_owned())).unwrap();
        // The MD5 of `BYTES`, wherever it stands, becomes that of the bytes which replace it.
        let md5 = |text: &str| text.replace(&md5_of(b"BYTES"), &md5_of(b"x\xff\xc3\xed\xa0\x80y"));
        Reply::raw(200, [md5(&head).as_bytes(), b"x\xff\xc3\xed\xa0\x80y", md5(&tail).as_bytes()].concat())
    })
    .await;
    let received = queue.receive(10, Duration::ZERO, HIDDEN).await.unwrap();
    let bodies: Vec<_> = received.iter().map(|m| (m.delivery.message_id.as_str(), m.body.as_bytes())).collect();
    assert_eq!(bodies, [("a", "é\n\u{1f600}".as_bytes()), ("bad", b"x\xff\xc3\xed\xa0\x80y"), ("b", b"2")]);
    assert_eq!((received[1].delivery.receive_count, queue.damaged()), (3, 0));
}

#[tokio::test]
async fn invalid_utf_8_that_does_not_match_its_md5_is_not_delivered() {
    let (_server, queue) = connected(|_| {
        let text = json!({"Messages": [message("bad", "BYTES"), message("b", "2")]}).to_string();
        let (head, tail) = text.split_once("BYTES").unwrap();
        Reply::raw(200, [head.as_bytes(), b"\xff", tail.as_bytes()].concat())
    })
    .await;
    let received = queue.receive(10, Duration::ZERO, HIDDEN).await.unwrap();
    assert_eq!(received.iter().map(|m| m.delivery.message_id.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(queue.damaged(), 1);
}

#[tokio::test]
async fn deletes_and_visibility_changes_are_answered_in_order_even_for_entries_that_the_reply_forgets() {
    let answers = json!({
        "Successful": [{"Id": "2"}, {"Id": "0"}],
        "Failed": [{"Id": "1", "SenderFault": true, "Code": "ReceiptHandleIsInvalid", "Message": "stale"}],
    });
    let (server, queue) = connected(move |_| Reply::json(answers.clone())).await;
    let receipts: Vec<_> = ["r0", "r1", "r2", "r3"].map(ReceiptHandle::new).into();
    let no = |fault, sender_fault| Err(Refusal { fault, sender_fault });
    let stale = Fault::Refused(Code::new("ReceiptHandleIsInvalid"));
    let expected = [Ok(()), no(stale, true), Ok(()), no(Fault::Missing, false)];

    assert_eq!(queue.delete(&receipts).await.unwrap(), expected);
    assert_eq!(server.asked("DeleteMessageBatch")[0]["Entries"][3], json!({"Id": "3", "ReceiptHandle": "r3"}));

    let hide = [0, 1_500, 43_200_000, 2_000].map(Duration::from_millis);
    let changes: Vec<_> = receipts.iter().cloned().zip(hide).collect();
    assert_eq!(queue.change_visibility(&changes).await.unwrap(), expected);
    let asked = server.asked("ChangeMessageVisibilityBatch");
    let seconds: Vec<_> = (0..4).map(|entry| asked[0]["Entries"][entry]["VisibilityTimeout"].clone()).collect();
    assert_eq!(seconds, [0, 2, 43_200, 2]);
}

#[tokio::test]
async fn nothing_to_delete_or_hide_makes_no_call() {
    let (server, queue) = connected(|_| Reply::error(500, "InternalError")).await;
    assert!(queue.delete(&[]).await.unwrap().is_empty());
    assert!(queue.change_visibility(&[]).await.unwrap().is_empty());
    assert!(server.asked("DeleteMessageBatch").is_empty() && server.asked("ChangeMessageVisibilityBatch").is_empty());
}

#[tokio::test]
async fn the_depth_counts_visible_hidden_and_delayed_messages() {
    let server = ScriptedHttp::start(|_, _| {
        Reply::json(json!({"Attributes": {"ApproximateNumberOfMessages": "5",
            "ApproximateNumberOfMessagesNotVisible": "3", "ApproximateNumberOfMessagesDelayed": "1"}}))
    })
    .await;
    let url = format!("{}/000000000000/logins", server.url());
    let queue = SqsQueue::connect_with(&settings(&url), &server.aws()).await.unwrap();
    assert_eq!(queue.depth().await.unwrap(), Depth { visible: 5, in_flight: 3, delayed: 1 });
}

#[tokio::test]
async fn every_failure_of_a_call_has_its_code_and_status() {
    let page = "<html>the body of a stranger's page</html>";
    type Case = (&'static str, fn() -> Reply, &'static str, Option<u16>);
    let cases: [Case; _] = [
        ("throttled", || Reply::error(400, "ThrottlingException"), "ThrottlingException", Some(400)),
        ("throttled, as SQS says it", || Reply::error(403, "RequestThrottled"), "RequestThrottled", Some(403)),
        ("denied", || Reply::error(403, "AccessDeniedException"), "AccessDeniedException", Some(403)),
        ("broken", || Reply::error(500, "InternalFailure"), "InternalFailure", Some(500)),
        ("away", || Reply::error(503, "ServiceUnavailable"), "ServiceUnavailable", Some(503)),
        ("a proxy's page", || Reply::raw(502, "<html>the body of a stranger's page</html>"), "response", Some(502)),
        ("an empty error", || Reply::raw(500, ""), "response", Some(500)),
        ("gone", || Reply::error(400, "QueueDoesNotExist"), "QueueDoesNotExist", Some(400)),
        (
            "gone, in the older protocol's words",
            || {
                let name = "AWS.SimpleQueueService.NonExistentQueue;Sender";
                Reply::error(400, "QueueDoesNotExist").with_header("x-amzn-query-error", name)
            },
            "AWS.SimpleQueueService.NonExistentQueue",
            Some(400),
        ),
        ("garbage", || Reply::raw(200, r#"{"Messages": [{"Body": "never shown"#), "response", Some(200)),
        ("another protocol", || Reply::raw(200, "<html>the body of a stranger's page</html>"), "response", Some(200)),
        ("cut", || Reply::Cut, "response", Some(200)),
        ("closed", || Reply::Close, "connection", None),
        ("hanging", || Reply::Hang, "timeout", None),
    ];
    for (name, reply, code, status) in cases {
        let call_deadline = if code == "timeout" { BRIEFLY } else { Duration::from_secs(5) };
        let (_server, queue) = connected_within(call_deadline, move |_| reply()).await;
        for error in failures(&queue).await {
            let is_refusal = matches!(&error.fault, Fault::Refused(_));
            assert_eq!(is_refusal, code.starts_with(char::is_uppercase), "{name}: whose word is it?");
            assert_eq!((error.fault.to_string().as_str(), error.status), (code, status), "{name}: {}", error.call);
            let texts = format!("{error} {error:?}");
            assert!(!texts.contains(page) && !texts.contains("never shown"), "{name}: {texts}");
            assert_eq!(error.names_no_queue(), name.starts_with("gone"), "{name}");
        }
    }
}

#[tokio::test]
async fn a_failed_receive_is_not_repeated_and_a_failed_delete_is_once() {
    let (server, queue) = connected(|_| Reply::error(500, "InternalFailure")).await;
    assert_eq!(failures(&queue).await.len(), 3);
    let calls = ["ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"];
    assert_eq!(calls.map(|call| server.asked(call).len()), [1, 2, 2]);
}

#[tokio::test]
async fn a_call_without_a_reply_ends_at_its_deadline() {
    let (_server, queue) = connected_within(BRIEFLY, |_| Reply::Hang).await;
    let began = Instant::now();
    queue.receive(10, Duration::from_secs(1), HIDDEN).await.unwrap_err();
    let (waited, began) = (began.elapsed(), Instant::now());
    assert!(waited >= Duration::from_millis(1_300) && waited < Duration::from_secs(5), "{waited:?}");
    queue.delete(&[ReceiptHandle::new("r")]).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

async fn failures(queue: &SqsQueue) -> Vec<QueueError> {
    let receipt = ReceiptHandle::new("r");
    vec![
        queue.receive(10, Duration::ZERO, HIDDEN).await.unwrap_err(),
        queue.delete(std::slice::from_ref(&receipt)).await.unwrap_err(),
        queue.change_visibility(&[(receipt, HIDDEN)]).await.unwrap_err(),
    ]
}

/// A queue whose server answers as scripted, but for the question that connecting asks.
async fn connected(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> (ScriptedHttp, SqsQueue) {
    connected_within(Duration::from_secs(5), script).await
}

async fn connected_within(
    call_deadline: Duration,
    script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> (ScriptedHttp, SqsQueue) {
    let server = ScriptedHttp::start(with(script)).await;
    let settings = SqsSettings { call_deadline, ..settings(&format!("{}/000000000000/logins", server.url())) };
    let queue = SqsQueue::connect_with(&settings, &server.aws()).await.unwrap();
    (server, queue)
}

fn with(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> impl Fn(&Asked, usize) -> Reply {
    move |asked, _| match asked.call.as_str() {
        "GetQueueAttributes" => Reply::json(json!({"Attributes": {}})),
        _ => script(asked),
    }
}

fn settings(queue: &str) -> SqsSettings {
    SqsSettings::new(queue.parse::<QueueAddress>().unwrap())
}

fn message(id: &str, body: &str) -> Value {
    json!({"MessageId": id, "ReceiptHandle": format!("receipt of {id}"), "Body": body,
        "MD5OfBody": md5_of(body.as_bytes()), "Attributes": {"ApproximateReceiveCount": "3"}})
}
