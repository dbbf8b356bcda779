//! Messages as a queue would deliver them, and the judge that makes verdicts of them.

use time::OffsetDateTime;
use turnstile::batch::{Batch, Sorted};
use turnstile::decode::{Form, Rejection};
use turnstile::keyring::{Keyring, Masters};
use turnstile::mask::MaskKind;
use turnstile::message::{
    Attributes, Delivery, MessageId, QueueIdentity, RawBody, ReceiptHandle, ReceivedMessage, SentAt,
};
use turnstile::stream::{Field, LOGIN};
use turnstile::verdict::Judge;

/// 2026-03-01, half past eleven in the evening, UTC.
pub(crate) const SENT_AT: OffsetDateTime = time::macros::datetime!(2026-03-01 23:30 UTC);

/// The queue that the messages here come from.
pub(crate) const QUEUE_ARN: &str = "arn:aws:sqs:us-east-1:000000000000:logins";

/// The same keys in every test.
pub(crate) fn keyring() -> Keyring {
    masters().derive().expect("a keyring")
}

/// The same, to be written.
pub(crate) fn masters() -> Masters {
    let text = "turnstile-keyring v1\n\
                hash hash-key SGFzaGVzIHRoZSBib2RpZXMgb2YgYWxsIHRlc3RzLi4=\n\
                key test-key TWFza3MgYW5kIHNlYWxzIGluIGFsbCB0aGUgdGVzdHM=\n\
                active test-key\n";
    Masters::parse(text).expect("a keyring")
}

/// A judge of messages whose logins have no key.
pub(crate) fn judge() -> Judge {
    judge_of("message-id", QUEUE_ARN)
}

/// A judge of the messages of a queue under this scheme.
pub(crate) fn judge_of(scheme: &str, queue: &str) -> Judge {
    let keyring = keyring();
    Judge {
        form: Form::Login,
        identifier: keyring.identifier(scheme.parse().expect("a scheme"), &QueueIdentity::new(queue)),
        masker: keyring.masker(MaskKind::Seal),
        sealer: keyring.body_sealer(),
        max_attempts: 1,
    }
}

/// A delivery of a message.
pub(crate) fn message(id: &str, body: &str, receive_count: u32) -> ReceivedMessage {
    ReceivedMessage {
        delivery: Delivery {
            message_id: MessageId::new(id),
            receipt: ReceiptHandle::new(format!("receipt {id} {receive_count}")),
            sent_at: SentAt::Queue(SENT_AT),
            received_at: SENT_AT + time::Duration::minutes(45),
            receive_count,
        },
        body: RawBody::new(body),
        attributes: Attributes::default(),
        producer: None,
        requeued: None,
    }
}

/// Personal values that stand in every body made here, and must stand nowhere behind the queue.
pub(crate) const CANARIES: [&str; 2] = ["203.0.113.7", "device of"];

/// A body that is a login of this user on this kind of device.
pub(crate) fn login(user: &str, device_type: &str) -> String {
    format!(
        r#"{{"user_id":"{user}","app_version":"2.3.1","device_type":"{device_type}","ip":"203.0.113.7","locale":"DE","device_id":"device of {user}"}}"#
    )
}

/// The field of a login that has this key.
pub(crate) fn field(key: &str) -> &'static Field {
    LOGIN.field(key).expect("a field of a login")
}

/// Why a login is none whose version nobody can read.
pub(crate) fn invalid_version() -> Rejection {
    Rejection::InvalidVersion(field("app_version"))
}

/// The batch of some messages, rejections dead-lettered at once.
pub(crate) fn batch(judge: &Judge, messages: impl IntoIterator<Item = ReceivedMessage>) -> Batch {
    Sorted::from_verdicts(messages.into_iter().map(|message| judge.judge(message)), 1).batch
}

/// The batch of the logins with these numbers, which were sent in another order than that of their hashes.
pub(crate) fn logins(judge: &Judge, numbers: std::ops::Range<u32>) -> Batch {
    let sent = |n: u32| {
        let mut message = message(&format!("m{n}"), &login(&format!("user {n}"), "ios"), 1);
        message.delivery.sent_at = SentAt::Queue(SENT_AT + time::Duration::milliseconds(i64::from(n % 7)));
        message
    };
    batch(judge, numbers.map(sent))
}
