//! One letter as a line.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::message::{Attributes, MessageKey, RawBody};
use crate::readable::exact;
use crate::seal::SealedBody;
use crate::table::dead_letters::DeadLetter;

/// All that is known of a letter, and its body. It is never printed: the body may be clear.
#[derive(Deserialize, Serialize)]
pub(super) struct Line {
    pub(super) hash: String,
    pub(super) sent_at: String,
    pub(super) queue: String,
    pub(super) code: String,
    pub(super) detail: String,
    pub(super) field: Option<String>,
    pub(super) place: Option<String>,
    pub(super) message_id: String,
    pub(super) receive_count: i32,
    pub(super) sent_timestamp: Option<String>,
    pub(super) received_at: String,
    pub(super) dead_lettered_at: String,
    pub(super) status: String,
    pub(super) resolved_at: Option<String>,
    pub(super) resolved_by: Option<String>,
    /// The body as it was delivered.
    #[serde(flatten)]
    pub(super) body: Body,
    /// What an edit made of it that was tried last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) edited: Option<Edited>,
}

/// A body in Base64.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Body {
    /// As it is sealed in the table.
    Sealed { sealed_body: String },
    /// In clear, with the attributes that were asked for.
    Clear { body: String, attributes: BTreeMap<String, String> },
}

/// The body of an edit.
#[derive(Deserialize, Serialize)]
pub(super) struct Edited {
    /// The plan that made it.
    pub(super) plan: i64,
    #[serde(flatten)]
    pub(super) body: Body,
}

impl Body {
    pub(super) fn sealed(body: &SealedBody) -> Self {
        Self::Sealed { sealed_body: BASE64_STANDARD.encode(body.as_bytes()) }
    }

    pub(super) fn clear(body: &RawBody, attributes: &Attributes) -> Self {
        let attributes = attributes.iter().map(|(name, value)| (name.to_owned(), BASE64_STANDARD.encode(value)));
        Self::Clear { body: BASE64_STANDARD.encode(body.as_bytes()), attributes: attributes.collect() }
    }
}

/// A body that was read.
pub(super) enum ReadBody {
    Sealed(SealedBody),
    Clear(RawBody, Attributes),
}

impl Body {
    /// The body, unless it is not Base64.
    pub(super) fn read(&self) -> Option<ReadBody> {
        let bytes = |text: &str| BASE64_STANDARD.decode(text).ok();
        Some(match self {
            Self::Sealed { sealed_body } => ReadBody::Sealed(SealedBody::from_bytes(bytes(sealed_body)?)),
            Self::Clear { body, attributes } => {
                let attributes = attributes.iter().map(|(name, value)| Some((name.clone(), bytes(value)?)));
                ReadBody::Clear(RawBody::new(bytes(body)?), attributes.collect::<Option<Attributes>>()?)
            }
        })
    }

    pub(super) fn is_clear(&self) -> bool {
        matches!(self, Self::Clear { .. })
    }
}

impl Line {
    pub(super) fn of(letter: &DeadLetter, body: Body, edited: Option<Edited>) -> Self {
        Self {
            hash: letter.key.hash.to_string(),
            sent_at: exact(letter.key.sent_at),
            queue: letter.queue.clone(),
            code: letter.code.clone(),
            detail: letter.detail.clone(),
            field: letter.field.clone(),
            place: letter.place.clone(),
            message_id: letter.message_id.clone(),
            receive_count: letter.receive_count,
            sent_timestamp: letter.sent_timestamp.map(exact),
            received_at: exact(letter.received_at),
            dead_lettered_at: exact(letter.dead_lettered_at),
            status: letter.status.as_str().to_owned(),
            resolved_at: letter.resolved_at.map(exact),
            resolved_by: letter.resolved_by.clone(),
            body,
            edited,
        }
    }

    /// The message, as the tables that it comes from know it.
    pub(super) fn key(&self) -> Option<MessageKey> {
        Some(MessageKey { sent_at: time(&self.sent_at)?, hash: self.hash.parse().ok()? })
    }
}

/// A time as [`exact`] writes it.
pub(super) fn time(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}
