//! Sinks before servers that other people wrote: `make conformance` starts them and runs these.

use std::collections::BTreeSet;

use turnstile::http::Client;
use turnstile::sink::http::{HttpSettings, HttpSink, Secrets};
use turnstile::sink::sns::SnsSink;

use super::kinds::SECRET;
use super::*;
use crate::support::scripted_http::aws_at;

/// The servers of SNS, as `NAME=ENDPOINT NAME=ENDPOINT …`.
const SERVERS: &str = "TURNSTILE_TEST_SNS_SERVERS";

/// A receiver that checks signatures and events with the libraries of Standard Webhooks and CloudEvents.
const RECEIVER: &str = "TURNSTILE_TEST_RECEIVER";

/// Carries all events to this sink, under this name; gives their ids.
async fn carry_all(sink: AnySink, name: &str) -> BTreeSet<String> {
    let (_test, database, client) = outbox().await;
    write(&client, EVENTS).await;
    let to_sink = RelaySettings { sink: name.to_owned(), ..settings(true) };
    start(&database, &Shared(Arc::new(sink)), to_sink, &Shutdown::default()).await.await.unwrap().unwrap();
    assert_eq!(count(&client, "relay_failures").await, 0, "{name}");
    let rows = client.query("SELECT encode(event_id, 'hex') FROM turnstile.outbox", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs other servers of SNS: `make conformance` starts them and runs this"]
async fn through_a_topic_of_another_server_a_queue_gets_every_event() {
    let servers = std::env::var(SERVERS).expect("the servers' endpoints in TURNSTILE_TEST_SNS_SERVERS");
    for server in servers.split_whitespace() {
        let (name, endpoint) = server.split_once('=').unwrap();
        for fifo in ["", ".fifo"] {
            println!("{name} {fifo}");
            let (ids, came) = through_topic(endpoint, fifo).await;
            assert_eq!(came.iter().cloned().collect::<BTreeSet<_>>(), ids, "{name}");
            assert_eq!(came.len(), ids.len(), "{name}: nothing came twice");
        }
    }
}

/// The ids of all events, and those that came.
async fn through_topic(endpoint: &str, fifo: &str) -> (BTreeSet<String>, Vec<String>) {
    let aws = aws_at(endpoint);
    let (sns, sqs) = (aws_sdk_sns::Client::new(&aws), aws_sdk_sqs::Client::new(&aws));
    let is_fifo = !fifo.is_empty();
    let fifo_topic = is_fifo.then(|| [("FifoTopic".to_owned(), "true".to_owned())].into());
    let topic = sns.create_topic().name(format!("events{fifo}")).set_attributes(fifo_topic).send().await.unwrap();
    let topic = topic.topic_arn.unwrap();
    let fifo_queue = is_fifo.then(|| [(aws_sdk_sqs::types::QueueAttributeName::FifoQueue, "true".to_owned())].into());
    let queue = sqs.create_queue().queue_name(format!("events{fifo}")).set_attributes(fifo_queue).send().await.unwrap();
    let queue = queue.queue_url.unwrap();
    let arn = aws_sdk_sqs::types::QueueAttributeName::QueueArn;
    let facts = sqs.get_queue_attributes().queue_url(&queue).attribute_names(arn.clone()).send().await.unwrap();
    let arn = facts.attributes.unwrap().remove(&arn).unwrap();
    let subscription = sns.subscribe().topic_arn(&topic).protocol("sqs").endpoint(arn);
    subscription.attributes("RawMessageDelivery", "true").send().await.unwrap();
    let sink = SnsSink::connect_with(topic.parse().unwrap(), false, &aws).await.unwrap();
    let ids = carry_all(AnySink::Sns(sink), &format!("topic{fifo}")).await;
    let mut came = Vec::new();
    loop {
        let receive = sqs.receive_message().queue_url(&queue).max_number_of_messages(10).message_attribute_names("All");
        let messages = receive.send().await.unwrap().messages.unwrap_or_default();
        if messages.is_empty() {
            return (ids, came);
        }
        for message in messages {
            let said = message.message_attributes.unwrap();
            assert_eq!(said["ce-type"].string_value(), Some("dev.turnstile.login.loaded.v1"));
            came.push(id_in(&message.body.unwrap()));
            sqs.delete_message().queue_url(&queue).set_receipt_handle(message.receipt_handle).send().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a receiver with others' libraries: `make conformance` starts it and runs this"]
async fn a_receiver_with_the_libraries_of_both_standards_accepts_every_event() {
    let receiver = std::env::var(RECEIVER).expect("the receiver's address in TURNSTILE_TEST_RECEIVER");
    for (path, batch) in [("single", None), ("batch", Some(25))] {
        let address = format!("{receiver}/{path}");
        let other = format!("whsec_{}", "QUJD".repeat(8));
        let secrets = Secrets::parse(&format!("{other}\n{SECRET}")).unwrap();
        let settings = HttpSettings { batch, secrets: Some(secrets), ..HttpSettings::default() };
        let sink = HttpSink::at(address.parse().unwrap(), settings).unwrap();
        let ids = carry_all(AnySink::Http(Box::new(sink)), path).await;
        let address = address.parse().unwrap();
        let answer = Client::towards(&address).unwrap().get(&address, Duration::from_secs(10)).await.unwrap();
        let seen: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(seen["problems"], serde_json::json!([]), "{path}");
        let seen = seen["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned());
        assert_eq!(seen.collect::<BTreeSet<_>>(), ids, "{path}");
    }
}
