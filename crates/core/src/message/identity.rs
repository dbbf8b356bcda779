//! By which key two messages bring the same login, and what that key is in a message.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use time::{Duration, OffsetDateTime};

use super::{Attributes, JsonPointer, KeyTime, NO_TIME, NoKeyTime, RawBody};

/// The scheme that says by which key two messages bring the same login (`--identity`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// None but the SQS MessageId: a redelivery is the same message; two equal logins are two logins.
    #[default]
    MessageId,
    /// The body's bytes: equal bodies are one login, for ever.
    Content,
    /// The field of the body that a JSON pointer (RFC 6901) names, and whether the key in it carries its time.
    Field(JsonPointer, Option<KeyTime>),
    /// The message attribute of this name, or the FIFO `MessageDeduplicationId`; and the same.
    Attribute(String, Option<KeyTime>),
}

impl Identity {
    /// The message attribute that must be asked for at the queue, if the scheme needs one.
    pub fn attribute(&self) -> Option<&str> {
        match self {
            Self::Attribute(name, _) => Some(name),
            Self::MessageId | Self::Content | Self::Field(..) => None,
        }
    }

    /// What the keys are, where they carry their own time.
    pub fn key_time(&self) -> Option<KeyTime> {
        match self {
            Self::Field(_, time) | Self::Attribute(_, time) => *time,
            Self::MessageId | Self::Content => None,
        }
    }

    /// The same scheme with keys that carry their own time; none where it names no key of a producer.
    pub fn with_key_time(self, time: KeyTime) -> Option<Self> {
        match self {
            Self::Field(pointer, None) => Some(Self::Field(pointer, Some(time))),
            Self::Attribute(name, None) => Some(Self::Attribute(name, Some(time))),
            Self::Field(_, Some(_)) | Self::Attribute(_, Some(_)) | Self::MessageId | Self::Content => None,
        }
    }

    /// The same scheme as settings say it: `--identity`, and `--identity-time` where that is one.
    pub fn as_flags(&self) -> String {
        let time = self.key_time().map(|time| format!(" --identity-time {time}"));
        format!("--identity {}{}", self.place(), time.unwrap_or_default())
    }

    fn place(&self) -> String {
        match self {
            Self::MessageId => "message-id".to_owned(),
            Self::Content => "content".to_owned(),
            Self::Field(pointer, _) => format!("field:{pointer}"),
            Self::Attribute(name, _) => format!("attribute:{name}"),
        }
    }

    /// The producer's key in a message, and the time in it; none under [`Identity::MessageId`].
    ///
    /// A key that carries its time is the number that its text spells, in letters of either case.
    pub(super) fn key<'m>(
        &self,
        body: &'m RawBody,
        attributes: &'m Attributes,
        sent_at: Option<OffsetDateTime>,
    ) -> Result<Option<ProducerKey<'m>>, NoKey> {
        let (key, time) = match self {
            Self::MessageId => return Ok(None),
            Self::Content => (Some(Cow::Borrowed(body.as_bytes())), None),
            Self::Field(pointer, time) => (pointer.find(body.as_bytes()).map(Cow::Owned), *time),
            Self::Attribute(name, time) => {
                (attributes.get(name).filter(|value| !value.is_empty()).map(Cow::Borrowed), *time)
            }
        };
        let key = key.ok_or(NoKey::Missing)?;
        let Some(time) = time else { return Ok(Some(ProducerKey { at: NO_TIME, bytes: key })) };
        let text = match self {
            // Behind the kind of the JSON value: a number is none of these keys.
            Self::Field(..) => key.strip_prefix(b"s"),
            Self::MessageId | Self::Content | Self::Attribute(..) => Some(&*key),
        };
        let dated = text.and_then(|text| time.read(text)).ok_or(NoKey::WithoutTime(time))?;
        match sent_at.is_some_and(|sent_at| dated.at > sent_at.saturating_add(MOST_AHEAD)) {
            true => Err(NoKey::Ahead),
            false => {
                let bytes = Cow::Owned(dated.number.to_be_bytes().to_vec());
                Ok(Some(ProducerKey { at: dated.at, bytes }))
            }
        }
    }
}

/// A producer's key, as it is hashed.
pub(super) struct ProducerKey<'m> {
    /// The time in it, or [`NO_TIME`].
    pub(super) at: OffsetDateTime,
    /// What is the same in every spelling.
    pub(super) bytes: Cow<'m, [u8]>,
}

/// How far the time in a key may lie ahead of its message: no clock of a producer that is right is a day fast.
const MOST_AHEAD: Duration = Duration::DAY;

/// As it is recorded: `uuidv7:field:/id` is the field `/id`, whose keys are UUIDs of version 7.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key_time().map_or(Ok(()), |time| write!(f, "{time}:"))?;
        f.write_str(&self.place())
    }
}

/// A text names no identity scheme.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an identity")]
pub struct NoIdentity;

impl FromStr for Identity {
    type Err = NoIdentity;

    fn from_str(text: &str) -> Result<Self, NoIdentity> {
        match text.split_once(':') {
            None if text == "message-id" => Ok(Self::MessageId),
            None if text == "content" => Ok(Self::Content),
            Some(("field", pointer)) => {
                JsonPointer::parse(pointer).map(|pointer| Self::Field(pointer, None)).ok_or(NoIdentity)
            }
            Some(("attribute", name)) if !name.is_empty() => Ok(Self::Attribute(name.to_owned(), None)),
            None => Err(NoIdentity),
            Some((time, place)) => {
                let time = time.parse().map_err(|NoKeyTime| NoIdentity)?;
                place.parse::<Self>()?.with_key_time(time).ok_or(NoIdentity)
            }
        }
    }
}

/// Why a message has no key that its login can be claimed under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKey {
    /// It does not carry what the scheme names.
    Missing,
    /// What it carries is none of the keys that carry their own time.
    WithoutTime(KeyTime),
    /// The time in its key is more than a day after the message was sent.
    Ahead,
}
