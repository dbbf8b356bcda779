//! An event as everybody outside sees it: CloudEvents 1.0 in JSON, the same bytes at every attempt.

use std::collections::BTreeMap;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::{Iso8601, Rfc3339};

use crate::login::Stored;
use crate::message::MessageHash;
use crate::table::outbox::Event;

pub use crate::decode::EVENT_TYPE as TYPE;

/// What the body of an event is.
pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// What the body of several events is: a list of them.
pub const BATCH_CONTENT_TYPE: &str = "application/cloudevents-batch+json; charset=utf-8";

/// What is said of an event beside its body where a message has attributes, so that a reader can filter without parsing.
pub const ATTRIBUTES: [(&str, &str); 2] = [("content-type", CONTENT_TYPE), ("ce-type", TYPE)];

/// What the attributes count for in a limit of bytes: names, types (`String`) and values.
pub const ATTRIBUTE_BYTES: usize = {
    let [(content_type, is), (ce_type, of)] = ATTRIBUTES;
    content_type.len() + is.len() + ce_type.len() + of.len() + 2 * "String".len()
};

/// An event, ready to be carried. No `Debug`: it holds a user's id.
#[derive(Clone)]
pub struct Envelope {
    /// Its position in the outbox.
    pub position: i64,
    /// The hash of the message that brought the login: with the source, what repeats are known by.
    pub id: MessageHash,
    /// Whom it is about; none where the login has no user id.
    pub subject: Option<String>,
    /// When the transaction that loaded the login began.
    pub created_at: OffsetDateTime,
    /// The event in JSON.
    pub body: String,
}

#[derive(Serialize)]
struct CloudEvent<'e> {
    specversion: &'static str,
    id: String,
    source: &'e str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'e str>,
    time: String,
    datacontenttype: &'static str,
    /// Compared as text, it orders the events of a source.
    sequence: String,
    /// The trace in which the login's message was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'e str>,
    data: BTreeMap<&'static str, Datum<'e>>,
}

/// What stands in a column.
#[derive(Serialize)]
#[serde(untagged)]
enum Datum<'e> {
    Null,
    Text(&'e str),
    Integer(i32),
    Day(String),
}

impl Envelope {
    /// The message group of its subject: one for each user. The name of a group allows few characters, and a user's id any.
    pub fn group(&self) -> Option<String> {
        self.subject.as_ref().map(|subject| blake3::hash(subject.as_bytes()).to_hex().to_string())
    }

    /// The event of this source.
    ///
    /// # Errors
    ///
    /// When the time cannot be written: its year has more than four digits.
    pub fn of(event: &Event, source: &str) -> Result<Self, EnvelopeError> {
        let subject = event.subject().map(str::to_owned);
        let cloud_event = CloudEvent {
            specversion: "1.0",
            id: event.id.to_string(),
            source,
            kind: TYPE,
            subject: subject.as_deref(),
            time: event.created_at.to_offset(time::UtcOffset::UTC).format(&Rfc3339)?,
            datacontenttype: "application/json",
            sequence: format!("{:020}", event.position),
            traceparent: event.traceparent.as_deref(),
            data: data(event)?,
        };
        let body = serde_json::to_string(&cloud_event)?;
        Ok(Self { position: event.position, id: event.id, subject, created_at: event.created_at, body })
    }
}

/// An event cannot be written: a defect, or a row that this program has not written.
#[derive(Debug, thiserror::Error)]
#[error("an event cannot be written as JSON")]
pub struct EnvelopeError;

impl From<time::error::Format> for EnvelopeError {
    fn from(_: time::error::Format) -> Self {
        Self
    }
}

impl From<serde_json::Error> for EnvelopeError {
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}

/// The columns of `user_logins`, under their names.
fn data(event: &Event) -> Result<BTreeMap<&'static str, Datum<'_>>, EnvelopeError> {
    let datum = |stored| match stored {
        &Stored::Null => Datum::Null,
        Stored::Text(text) => Datum::Text(text),
        &Stored::Integer(integer) => Datum::Integer(integer),
    };
    let day = event.day.map(|day| day.format(&Iso8601::DATE)).transpose()?;
    let columns = event.login.values().map(|(field, stored)| (field.column().name, datum(stored)));
    Ok(columns.chain([(event.login.stream().day, day.map_or(Datum::Null, Datum::Day))]).collect())
}
