//! What the queue holds, what makes two deliveries of it the same message, and two messages the same login.

mod identity;
mod key_time;
mod pointer;
mod producer;
mod requeue;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;

pub use self::identity::{Identity, NoIdentity, NoKey};
pub use self::key_time::{KeyTime, NoKeyTime};
pub use self::pointer::JsonPointer;
pub(crate) use self::pointer::escaped_step;
pub use self::producer::ProducerContext;
pub use self::requeue::{Original, REQUEUED, RequeueNote};
use crate::login::UserLogin;

/// The id that SQS gives a message when it is sent. Every redelivery carries the same one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(String);

impl MessageId {
    /// The id as the queue wrote it.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The right to delete or hide one delivery. It lets anyone take the message, so it is never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ReceiptHandle(String);

impl ReceiptHandle {
    /// The handle as the queue wrote it.
    pub fn new(handle: impl Into<String>) -> Self {
        Self(handle.into())
    }

    /// The handle, for the queue's own calls.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ReceiptHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceiptHandle({} bytes)", self.0.len())
    }
}

/// The body of a message, exactly as it was delivered: personal data, which no format can print.
///
/// ```compile_fail,E0277
/// println!("{}", turnstile_core::message::RawBody::new("personal"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RawBody(Vec<u8>);

impl RawBody {
    /// The bytes of a body.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for decoding and sealing.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no byte at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for RawBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawBody({} bytes)", self.0.len())
    }
}

/// One receipt of a message: what is needed to record, hide or delete it, without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The message that was delivered.
    pub message_id: MessageId,
    /// This delivery's own handle.
    pub receipt: ReceiptHandle,
    /// When the message was sent.
    pub sent_at: SentAt,
    /// When this process had the reply in hand.
    pub received_at: OffsetDateTime,
    /// The queue's ApproximateReceiveCount: 1 on the first delivery; it also rises when a reply is lost.
    pub receive_count: u32,
}

/// When a message was sent, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentAt {
    /// The queue, by its SentTimestamp: the same on every redelivery of a MessageId.
    Queue(OffsetDateTime),
    /// Nobody: the queue gave no SentTimestamp that can be read. The time of this receipt, and a redelivery has another.
    Receipt(OffsetDateTime),
}

/// The time under which messages are claimed whose queue gives no SentTimestamp, and those that are older than what the
/// tables remember. Claims under it are never told apart by time, and never pruned by it.
pub const NO_TIME: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

impl SentAt {
    /// The time, whichever of the two says so.
    pub fn time(self) -> OffsetDateTime {
        match self {
            Self::Queue(time) | Self::Receipt(time) => time,
        }
    }

    /// The queue's SentTimestamp, where it gave one.
    pub fn of_queue(self) -> Option<OffsetDateTime> {
        match self {
            Self::Queue(time) => Some(time),
            Self::Receipt(_) => None,
        }
    }
}

/// What the claims of a queue's messages are made of, beside their hash. It is a fact of the queue and never changes: under
/// two, one message would be claimed twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeBasis {
    /// The SentTimestamp, which the queue gives with every message.
    SentTimestamp,
    /// Nothing: the queue gives none, and all its messages are claimed under [`NO_TIME`].
    None,
}

impl TimeBasis {
    /// The word in the column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SentTimestamp => "sent_timestamp",
            Self::None => "none",
        }
    }

    /// What the word in the column means.
    pub fn of(word: &str) -> Option<Self> {
        [Self::SentTimestamp, Self::None].into_iter().find(|basis| basis.as_str() == word)
    }

    /// What a queue is taken to be whose first messages are these.
    pub fn of_first<'d>(deliveries: impl IntoIterator<Item = &'d Delivery>) -> Self {
        match deliveries.into_iter().any(|delivery| delivery.sent_at.of_queue().is_some()) {
            true => Self::SentTimestamp,
            false => Self::None,
        }
    }
}

/// A delivery with its body and the attributes that an [`Identity`] may name.
#[derive(Clone, Debug)]
pub struct ReceivedMessage {
    /// The delivery.
    pub delivery: Delivery,
    /// The body.
    pub body: RawBody,
    /// The attributes that were asked for.
    pub attributes: Attributes,
    /// Which span of its producer sent it, where that was asked for and said.
    pub producer: Option<ProducerContext>,
    /// What it says if an operator sent it back to the queue.
    pub requeued: Option<RequeueNote>,
}

/// Message attributes by name; the FIFO deduplication id stands under `MessageDeduplicationId`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Attributes(BTreeMap<String, Vec<u8>>);

impl Attributes {
    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// The value of the attribute of this name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }
}

impl FromIterator<(String, Vec<u8>)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (String, Vec<u8>)>>(attributes: I) -> Self {
        Self(attributes.into_iter().collect())
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attributes({})", self.0.len())
    }
}

/// What makes two deliveries the same message: a hash of its queue and MessageId, in which nothing is personal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageHash([u8; 32]);

impl MessageHash {
    /// A hash that was stored before.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for MessageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MessageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageHash({self})")
    }
}

/// A text is no message hash: it is not 64 hexadecimal digits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message hash is 64 hexadecimal digits")]
pub struct NoMessageHash;

impl FromStr for MessageHash {
    type Err = NoMessageHash;

    fn from_str(text: &str) -> Result<Self, NoMessageHash> {
        let hash = blake3::Hash::from_hex(text).map_err(|_| NoMessageHash)?;
        Ok(Self(*hash.as_bytes()))
    }
}

/// The key of a message's claim in `processed_messages`; its rows, letters and events carry it. Keys are ordered as
/// claims are made: by time, then by hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageKey {
    /// The queue's SentTimestamp, or [`NO_TIME`].
    pub sent_at: OffsetDateTime,
    /// The message.
    pub hash: MessageHash,
}

impl MessageKey {
    /// The key of the message that was delivered, by what its queue says of the time.
    pub fn of(delivery: &Delivery, hash: MessageHash) -> Self {
        Self { sent_at: delivery.sent_at.of_queue().unwrap_or(NO_TIME), hash }
    }

    /// The key of the same message where it is older than what the tables remember.
    pub fn forgotten(self) -> Self {
        Self { sent_at: NO_TIME, ..self }
    }
}

/// A producer's key for a login, as the table `identities` holds it: a keyed hash. It comes from personal data, and so it is
/// never printed.
///
/// ```compile_fail,E0277
/// fn print(identity: turnstile_core::message::IdentityHash) {
///     println!("{identity:?}");
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityHash([u8; 32]);

impl IdentityHash {
    /// A hash that was stored before.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The key of a login's claim in `identities`. Keys are ordered as claims are made: by time, then by hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityKey {
    /// The time in the producer's key, or [`NO_TIME`] where the scheme reads none.
    pub at: OffsetDateTime,
    /// The producer's key.
    pub hash: IdentityHash,
}

impl IdentityKey {
    /// Whether the key's own time is before this: then its claim may be gone.
    pub fn is_older_than(&self, horizon: OffsetDateTime) -> bool {
        self.at != NO_TIME && self.at < horizon
    }
}

/// A keyed hash of a decoded login: equal for the same login, however its body spells it. Never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LoginHash([u8; 32]);

impl LoginHash {
    /// A hash that a keyed function made.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A keyed hash of a body: tells whether two bodies are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyHash([u8; 32]);

impl BodyHash {
    /// A hash that a keyed function made.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The name under which a queue's messages are told from another queue's: its ARN.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueueIdentity(String);

impl QueueIdentity {
    /// The identity of the queue with this ARN.
    pub fn new(arn: impl Into<String>) -> Self {
        Self(arn.into())
    }

    /// The ARN.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The last part of a queue's ARN, by which people call it.
pub fn queue_name(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or_default()
}

/// Makes the [`MessageHash`] of the messages of one queue.
#[derive(Clone)]
pub struct MessageHasher(blake3::Hasher);

impl MessageHasher {
    /// A hash is BLAKE3 in `derive_key` mode, its context naming purpose and version, over the queue's ARN, framed by its
    /// length, and the MessageId.
    pub fn new(queue: &QueueIdentity) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("turnstile message hash v2");
        frame(&mut hasher, queue.as_str().as_bytes());
        Self(hasher)
    }

    /// The hash of the message with this id.
    pub fn hash(&self, message_id: &MessageId) -> MessageHash {
        MessageHash(*self.0.clone().update(message_id.as_str().as_bytes()).finalize().as_bytes())
    }
}

/// Makes the hashes of the messages of one queue, and those of their logins under one [`Identity`].
#[derive(Clone)]
pub struct Identifier {
    messages: MessageHasher,
    identity: Identity,
    /// Over version, queue and scheme already.
    keys: blake3::Hasher,
    logins: blake3::Hasher,
    /// Over version and queue already.
    requeues: blake3::Hasher,
}

impl Identifier {
    /// Hashes keys and logins with two secrets of the keyring's hash key: they come from personal data, and are of use to
    /// nobody without it. With a third it signs what is sent back to the queue.
    pub(crate) fn keyed(
        identity: Identity,
        queue: &QueueIdentity,
        of_identities: &[u8; 32],
        of_logins: &[u8; 32],
        of_requeues: &[u8; 32],
    ) -> Self {
        let mut keys = blake3::Hasher::new_keyed(of_identities);
        for part in ["identity v1", queue.as_str(), &identity.to_string()] {
            frame(&mut keys, part.as_bytes());
        }
        let mut logins = blake3::Hasher::new_keyed(of_logins);
        frame(&mut logins, b"login v1");
        Self {
            messages: MessageHasher::new(queue),
            identity,
            keys,
            logins,
            requeues: requeue::hasher(queue, of_requeues),
        }
    }

    /// The message that was delivered.
    pub fn message(&self, message_id: &MessageId) -> MessageHash {
        self.messages.hash(message_id)
    }

    /// The scheme.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The producer's key of a message with this body and these attributes, which was sent at this time,
    /// where its queue says so; none under [`Identity::MessageId`].
    ///
    /// # Errors
    ///
    /// [`NoKey`]
    pub fn key(
        &self,
        body: &RawBody,
        attributes: &Attributes,
        sent_at: Option<OffsetDateTime>,
    ) -> Result<Option<IdentityKey>, NoKey> {
        let hash = |key: &[u8]| IdentityHash(*frame(&mut self.keys.clone(), key).finalize().as_bytes());
        let key = self.identity.key(body, attributes, sent_at)?;
        Ok(key.map(|key| IdentityKey { at: key.at, hash: hash(&key.bytes) }))
    }

    /// The hash of a login: of its values, and not of the text that spelled them.
    ///
    /// Those that may be null come last, so that one that is not there cannot be taken for another: each behind its key,
    /// but for the first, which was hashed without it when it was the only one.
    pub fn login(&self, login: &UserLogin<'_>) -> LoginHash {
        let mut framed = Vec::with_capacity(512);
        for (_, value) in login.values().filter(|(field, _)| !field.nullable) {
            value.with_bytes(|bytes| {
                frame_onto(&mut framed, bytes);
            });
        }
        let nullable = login.values().filter(|(field, _)| field.nullable);
        for (number, (field, value)) in nullable.enumerate() {
            value.with_bytes(|bytes| {
                if number > 0 {
                    frame_onto(&mut framed, field.key.as_bytes());
                }
                frame_onto(&mut framed, bytes);
            });
        }
        LoginHash(*self.logins.clone().update(&framed).finalize().as_bytes())
    }
}

/// Takes in a part behind its length, so that no two lists of parts read alike.
fn frame<'h>(hasher: &'h mut blake3::Hasher, part: &[u8]) -> &'h mut blake3::Hasher {
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(part)
}

/// The same into bytes that are hashed together: each call of the hasher costs more than a short part.
fn frame_onto(framed: &mut Vec<u8>, part: &[u8]) {
    framed.extend_from_slice(&(part.len() as u64).to_le_bytes());
    framed.extend_from_slice(part);
}
