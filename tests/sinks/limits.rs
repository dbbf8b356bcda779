//! How large a call is, and what becomes of an event that is too large by itself.

use stand_ins::sqs::{Faults, LocalQueue, QueueOptions};
use turnstile::message::MessageHash;
use turnstile::queue::MAX_MESSAGE_BYTES;
use turnstile::queue::sqs::{Sender, SqsSettings};
use turnstile::sink::envelope::ATTRIBUTE_BYTES;
use turnstile::sink::sqs::SqsSink;

use super::*;
use crate::support::scripted_http::aws_at;

/// An event whose body has so many bytes.
fn event(number: u8, bytes: usize) -> Envelope {
    Envelope {
        position: i64::from(number),
        id: MessageHash::from_bytes([number; 32]),
        subject: None,
        created_at: time::OffsetDateTime::UNIX_EPOCH,
        body: "x".repeat(bytes),
    }
}

async fn queue() -> (LocalQueue, SqsSink) {
    let queues = vec![QueueOptions::new("events")];
    let server = LocalQueue::start(([127, 0, 0, 1], 0).into(), queues, Faults::default()).await.unwrap();
    let settings = SqsSettings::new("events".parse().unwrap());
    let sender = Sender::connect_with(&settings, "turnstile", &aws_at(&server.endpoint())).await.unwrap();
    (server, SqsSink::of(sender))
}

#[tokio::test]
async fn a_queue_takes_an_event_of_its_limit_with_its_attributes_and_refuses_a_byte_more() {
    let (_server, sink) = queue().await;
    let most = MAX_MESSAGE_BYTES - ATTRIBUTE_BYTES;
    assert_eq!(sink.carry(&[event(1, most)]).await.unwrap(), [Carried::Taken]);
    let refused = match sink.carry(&[event(2, most + 1)]).await {
        Ok(outcomes) => matches!(outcomes[..], [Carried::Refused(_)]),
        Err(error) => matches!(error, SinkError::Refused(_)),
    };
    assert!(refused);
}

#[tokio::test]
async fn a_call_of_as_much_as_a_sink_says_is_never_too_much() {
    let (server, sink) = queue().await;
    let Limits { events, bytes } = sink.limits();
    let even: Vec<Envelope> = (1..=10).map(|number| event(number, bytes / events)).collect();
    let calls = turnstile::sink::calls(even, sink.limits());
    assert_eq!(calls.len(), 1);
    assert_eq!(sink.carry(&calls[0]).await.unwrap(), vec![Carried::Taken; 10]);
    let uneven: Vec<Envelope> = (1..=10).map(|number| event(number, 100_000 + 10_000 * usize::from(number))).collect();
    for call in turnstile::sink::calls(uneven, sink.limits()) {
        assert!(sink.carry(&call).await.unwrap().iter().all(|outcome| *outcome == Carried::Taken));
    }
    assert_eq!(server.stats("events").unwrap().visible, 20);
}
