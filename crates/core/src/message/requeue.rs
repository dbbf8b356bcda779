//! Messages of dead letters that an operator sends back to their queue: they come as new messages, and say which ones they
//! were.
//!
//! What says so is signed with the keyring's hash key, over queue, message, body and attributes. So nobody else who may send to
//! the queue can pass a body off as that of a dead letter.

use std::str::FromStr as _;

use time::OffsetDateTime;

use super::{Attributes, Identifier, MessageId, QueueIdentity, RawBody, frame};

/// The message attribute that says so.
pub const REQUEUED: &str = "turnstile-requeued";

/// How a note begins.
const VERSION: &str = "v1";

/// A message as it was sent first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// Its id.
    pub message_id: MessageId,
    /// The queue's SentTimestamp, in whole milliseconds.
    pub sent_at: OffsetDateTime,
}

/// What a message says of itself that was sent back, before it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequeueNote(String);

impl RequeueNote {
    /// The value of the attribute; what is no text says nothing that could be believed.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(String::from_utf8(bytes).unwrap_or_default())
    }

    /// The value of the attribute: `v1`, SentTimestamp, signature and MessageId, a blank between each two.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Identifier {
    /// What a message must say that is sent back to its queue with this body and these attributes.
    pub fn requeue_note(&self, original: &Original, body: &RawBody, attributes: &Attributes) -> RequeueNote {
        let milliseconds = milliseconds(original.sent_at);
        let signature = self.signature(original, body, attributes).to_hex();
        RequeueNote(format!("{VERSION} {milliseconds} {signature} {}", original.message_id))
    }

    /// Which message this is that was sent back; none: another keyring signed the note, or what it was signed for was changed.
    pub fn original(&self, note: &RequeueNote, body: &RawBody, attributes: &Attributes) -> Option<Original> {
        let mut parts = note.0.splitn(4, ' ');
        let (version, milliseconds, signature, message_id) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let nanoseconds = milliseconds.parse::<i64>().ok()?.checked_mul(1_000_000)?;
        let sent_at = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds.into()).ok()?;
        let original = Original { message_id: MessageId::new(message_id), sent_at };
        // Hashes are compared in constant time.
        let is_signed = blake3::Hash::from_str(signature).ok()? == self.signature(&original, body, attributes);
        (version == VERSION && is_signed).then_some(original)
    }

    fn signature(&self, original: &Original, body: &RawBody, attributes: &Attributes) -> blake3::Hash {
        let mut hasher = self.requeues.clone();
        frame(&mut hasher, milliseconds(original.sent_at).to_string().as_bytes());
        frame(&mut hasher, original.message_id.as_str().as_bytes());
        frame(&mut hasher, body.as_bytes());
        for (name, value) in attributes.iter() {
            frame(&mut hasher, name.as_bytes());
            frame(&mut hasher, value);
        }
        hasher.finalize()
    }
}

/// Signs what belongs to this queue.
pub(super) fn hasher(queue: &QueueIdentity, secret: &[u8; 32]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    for part in ["requeue v1", queue.as_str()] {
        frame(&mut hasher, part.as_bytes());
    }
    hasher
}

fn milliseconds(time: OffsetDateTime) -> i128 {
    time.unix_timestamp_nanos() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Identity;

    const SECRET: [u8; 32] = [7; 32];

    fn identifier(queue: &str, secret: [u8; 32]) -> Identifier {
        Identifier::keyed(Identity::MessageId, &QueueIdentity::new(queue), &[0; 32], &[0; 32], &secret)
    }

    fn attributes(value: &[u8]) -> Attributes {
        [("id".to_owned(), value.to_vec())].into_iter().collect()
    }

    #[test]
    fn a_note_is_believed_for_its_own_queue_message_body_and_attributes_and_key_only() {
        let ours = identifier("arn:a", SECRET);
        let sent_at = OffsetDateTime::UNIX_EPOCH + time::Duration::milliseconds(1_700_000_000_123);
        let original = Original { message_id: MessageId::new("one two 3"), sent_at };
        let body = RawBody::new("{}");
        let note = ours.requeue_note(&original, &body, &attributes(b"7"));
        assert_eq!(ours.original(&note, &body, &attributes(b"7")), Some(original.clone()));

        assert_eq!(ours.original(&note, &RawBody::new("{ }"), &attributes(b"7")), None, "another body");
        assert_eq!(ours.original(&note, &body, &attributes(b"8")), None, "another attribute");
        assert_eq!(ours.original(&note, &body, &Attributes::default()), None, "no attribute");
        for other in [identifier("arn:b", SECRET), identifier("arn:a", [8; 32])] {
            assert_eq!(other.original(&note, &body, &attributes(b"7")), None, "another queue, or another key");
        }
        let changed = [
            note.as_str().replace("v1", "v2"),
            note.as_str().replace("1700000000123", "1700000000124"),
            note.as_str().replace("two", "2"),
            note.as_str().to_uppercase(),
            String::new(),
            "v1".to_owned(),
            "v1 x y z".to_owned(),
            format!("v1 {} {} m", i64::MAX, "0".repeat(64)),
        ];
        for text in changed {
            let note = RequeueNote::from_bytes(text.clone().into_bytes());
            assert_eq!(ours.original(&note, &body, &attributes(b"7")), None, "{text}");
        }
        assert_eq!(ours.original(&RequeueNote::from_bytes(vec![0xff]), &body, &attributes(b"7")), None);
    }
}
