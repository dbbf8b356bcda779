//! What the queue holds, and what makes two deliveries of it the same message.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::value::RawValue;
use time::OffsetDateTime;

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

/// The right to delete or hide one delivery. Whoever reads it can take the message, so it is never printed.
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
/// println!("{}", turnstile::message::RawBody::new("personal"));
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

impl SentAt {
    /// The time, whoever says so.
    pub fn time(self) -> OffsetDateTime {
        match self {
            Self::Queue(time) | Self::Receipt(time) => time,
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
}

/// Message attributes by name; the FIFO deduplication id stands under `MessageDeduplicationId`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Attributes(BTreeMap<String, Vec<u8>>);

impl Attributes {
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

/// What makes two deliveries the same message: claimed once in `processed_messages`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageHash([u8; 32]);

impl MessageHash {
    /// A hash that was stored before.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
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

/// A keyed hash of a body: tells "the same message again" from "another message with the same identity".
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

/// The scheme that says which part of a message is its identity (`--identity`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// The SQS MessageId: a redelivery is the same message; two equal logins are two logins.
    #[default]
    MessageId,
    /// The body's bytes: equal bodies collapse into one, for ever.
    Content,
    /// The field of the body that a JSON pointer (RFC 6901) names.
    Field(JsonPointer),
    /// The message attribute of this name, or the FIFO `MessageDeduplicationId`.
    Attribute(String),
}

impl Identity {
    /// The message attribute that must be asked for at the queue, if the scheme needs one.
    pub fn attribute(&self) -> Option<&str> {
        match self {
            Self::Attribute(name) => Some(name),
            Self::MessageId | Self::Content | Self::Field(_) => None,
        }
    }

    fn key<'m>(&self, message: &'m ReceivedMessage) -> Result<Cow<'m, [u8]>, IdentityMissing> {
        match self {
            Self::MessageId => Ok(Cow::Borrowed(message.delivery.message_id.as_str().as_bytes())),
            Self::Content => Ok(Cow::Borrowed(message.body.as_bytes())),
            Self::Field(pointer) => pointer.find(message.body.as_bytes()).map(Cow::Owned).ok_or(IdentityMissing),
            Self::Attribute(name) => {
                message.attributes.get(name).filter(|v| !v.is_empty()).map(Cow::Borrowed).ok_or(IdentityMissing)
            }
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MessageId => f.write_str("message-id"),
            Self::Content => f.write_str("content"),
            Self::Field(pointer) => write!(f, "field:{pointer}"),
            Self::Attribute(name) => write!(f, "attribute:{name}"),
        }
    }
}

/// A text names no identity scheme.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("is none of message-id, content, field:/json/pointer, attribute:NAME")]
pub struct NoIdentity;

impl FromStr for Identity {
    type Err = NoIdentity;

    fn from_str(text: &str) -> Result<Self, NoIdentity> {
        match text.split_once(':') {
            None if text == "message-id" => Ok(Self::MessageId),
            None if text == "content" => Ok(Self::Content),
            Some(("field", pointer)) => JsonPointer::parse(pointer).map(Self::Field).ok_or(NoIdentity),
            Some(("attribute", name)) if !name.is_empty() => Ok(Self::Attribute(name.to_owned())),
            None | Some(_) => Err(NoIdentity),
        }
    }
}

/// A message does not carry what its identity scheme names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message does not carry the identity that --identity names")]
pub struct IdentityMissing;

/// A JSON pointer (RFC 6901) to a field, at least one level deep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPointer(Vec<String>);

impl JsonPointer {
    fn parse(text: &str) -> Option<Self> {
        let steps = text.strip_prefix('/')?;
        Some(Self(steps.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect()))
    }

    /// The text or number that stands there, with its kind, so that `"7"` and `7` stay apart.
    ///
    /// A number keeps its digits as they were written: a lossy float would make two long ids one.
    fn find(&self, body: &[u8]) -> Option<Vec<u8>> {
        let mut here: &RawValue = serde_json::from_slice(body).ok()?;
        for step in &self.0 {
            here = match here.get().as_bytes().first()? {
                b'{' => serde_json::Deserializer::from_str(here.get()).deserialize_map(Member(step)).ok()??,
                b'[' => {
                    let mut items: Vec<&RawValue> = serde_json::from_str(here.get()).ok()?;
                    let index = step.parse::<usize>().ok().filter(|index| *index < items.len())?;
                    items.swap_remove(index)
                }
                _ => return None,
            };
        }
        match here.get().as_bytes().first()? {
            b'"' => serde_json::from_str::<String>(here.get())
                .ok()
                .filter(|text| !text.is_empty())
                .map(|text| [b"s", text.as_bytes()].concat()),
            b'-' | b'0'..=b'9' => Some([b"n", here.get().as_bytes()].concat()),
            _ => None,
        }
    }
}

/// Reads an object for the value of one key; where the key stands twice, the last one.
struct Member<'s>(&'s str);

impl<'b> Visitor<'b> for Member<'_> {
    type Value = Option<&'b RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'b>>(self, mut object: M) -> Result<Self::Value, M::Error> {
        let mut found = None;
        while let Some((Key(key), value)) = object.next_entry()? {
            if key == self.0 {
                found = Some(value);
            }
        }
        Ok(found)
    }
}

/// Borrows from the body unless an escape stands in it; a bare `Cow` would be read into a new `String` always.
#[derive(Deserialize)]
struct Key<'b>(#[serde(borrow)] Cow<'b, str>);

impl fmt::Display for JsonPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| write!(f, "/{}", step.replace('~', "~0").replace('/', "~1")))
    }
}

/// The name under which a queue's messages are told from another queue's: its ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Makes the [`MessageHash`] of the messages of one queue under one [`Identity`].
#[derive(Clone)]
pub struct Identifier {
    identity: Identity,
    scheme: blake3::Hasher,
    by_message_id: blake3::Hasher,
}

impl Identifier {
    /// A hash is BLAKE3 in `derive_key` mode, its context naming scheme and version, over queue and key.
    pub fn new(identity: Identity, queue: &QueueIdentity) -> Self {
        Self { scheme: hasher(&identity, queue), by_message_id: hasher(&Identity::MessageId, queue), identity }
    }

    /// The hash of a message under the scheme.
    ///
    /// # Errors
    ///
    /// [`IdentityMissing`] when the message does not carry what the scheme names.
    pub fn hash(&self, message: &ReceivedMessage) -> Result<MessageHash, IdentityMissing> {
        Ok(self.hash_of_key(&self.identity.key(message)?))
    }

    /// The hash under the scheme of a message whose identity key is known already, for instance to its sender.
    pub fn hash_of_key(&self, key: &[u8]) -> MessageHash {
        finish(&self.scheme, key)
    }

    /// The hash by MessageId, whatever the scheme.
    ///
    /// A body that is no login has no field to trust, its identity included: two broken messages that claim the
    /// same business id, or a broken one and its corrected successor, must not absorb each other.
    pub fn hash_by_message_id(&self, message_id: &MessageId) -> MessageHash {
        finish(&self.by_message_id, message_id.as_str().as_bytes())
    }

    /// The hash by MessageId, where the message must be claimed by its hashes alone; none, where it is claimed by its
    /// hash together with the queue's SentTimestamp.
    ///
    /// The second is the rule under the MessageId, which never comes with another SentTimestamp; unless the queue gave
    /// none. Under the other schemes a producer repeats an identity at any time. And there a message has two hashes,
    /// one as a login and one as a rejection. What is to be done once for it must be claimed under this one too: another
    /// release, or the same one with other settings, may judge it the other way.
    pub fn second_hash(&self, delivery: &Delivery) -> Option<MessageHash> {
        match (&self.identity, delivery.sent_at) {
            (Identity::MessageId, SentAt::Queue(_)) => None,
            (Identity::MessageId, SentAt::Receipt(_))
            | (Identity::Content | Identity::Field(_) | Identity::Attribute(_), _) => {
                Some(self.hash_by_message_id(&delivery.message_id))
            }
        }
    }
}

fn hasher(identity: &Identity, queue: &QueueIdentity) -> blake3::Hasher {
    let context = match identity {
        Identity::MessageId => "turnstile message hash v1 message-id",
        Identity::Content => "turnstile message hash v1 content",
        Identity::Field(_) => "turnstile message hash v1 field",
        Identity::Attribute(_) => "turnstile message hash v1 attribute",
    };
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in [queue.as_str(), &identity.to_string()] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher
}

fn finish(hasher: &blake3::Hasher, key: &[u8]) -> MessageHash {
    MessageHash(*hasher.clone().update(key).finalize().as_bytes())
}
