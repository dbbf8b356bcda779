//! How dead letters look: tables and lines for people, JSON for scripts.

use serde_json::{Value, json};

pub(super) use crate::cli::terminal::{exact, seconds};
use crate::message::RawBody;
use crate::table::dead_letters::DeadLetter;

/// A dead letter for scripts, without its body.
pub(super) fn letter_json(letter: &DeadLetter) -> Value {
    json!({
        "hash": letter.key.hash.to_string(),
        "queue": letter.queue,
        "code": letter.code,
        "detail": letter.detail,
        "message_id": letter.message_id,
        "receive_count": letter.receive_count,
        "sent_at": letter.sent_timestamp.map(exact),
        "received_at": exact(letter.received_at),
        "dead_lettered_at": exact(letter.dead_lettered_at),
        "status": letter.status.as_str(),
        "resolved_at": letter.resolved_at.map(exact),
        "resolved_by": letter.resolved_by,
    })
}

/// A body for scripts, exactly as it was delivered: as a JSON string, or in Base64 if it is not UTF-8.
pub(super) fn body_json(body: &RawBody) -> (&'static str, Value) {
    use base64::Engine as _;

    match str::from_utf8(body.as_bytes()) {
        Ok(text) => ("body", Value::from(text)),
        Err(_) => ("body_base64", Value::from(base64::prelude::BASE64_STANDARD.encode(body.as_bytes()))),
    }
}
