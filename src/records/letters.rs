//! Single dead letters.

use serde_json::{Value, json};

use crate::fault::{Fault, Pointer};
use crate::message::RawBody;
use crate::readable::exact;
use crate::stream::LOGIN;
use crate::table::dead_letter_revisions::Revision;
use crate::table::dead_letters::DeadLetter;

/// The names of a letter's record, in the order of its columns.
pub const LETTER: [&str; 14] = [
    "hash",
    "queue",
    "code",
    "detail",
    "field",
    "place",
    "message_id",
    "receive_count",
    "sent_at",
    "received_at",
    "dead_lettered_at",
    "status",
    "resolved_at",
    "resolved_by",
];

/// A dead letter without its body.
pub fn letter_json(letter: &DeadLetter) -> Value {
    json!({
        "hash": letter.key.hash.to_string(),
        "queue": letter.queue,
        "code": letter.code,
        "detail": letter.detail,
        "field": letter.field,
        "place": letter.place.as_deref().map(place_json),
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

/// An edited body without the body.
pub fn revision_json(revision: &Revision) -> Value {
    json!({
        "plan": revision.plan.0,
        "made_at": exact(revision.made_at),
        "role": revision.role,
        "name": revision.person,
        "reason": revision.reason,
        "paths": revision.paths,
        "tried_at": revision.tried_at.map(exact),
    })
}

/// The places of a body that a revision changed.
pub fn paths_words(revision: &Revision) -> String {
    let places = revision.paths.iter().map(|path| if path.is_empty() { "all of it" } else { path });
    places.collect::<Vec<_>>().join(", ")
}

/// Where a body is wrong, for people. A text that is no fault is what stands in its place.
pub fn place_words(place: &str) -> String {
    Fault::read(&LOGIN, place).map_or_else(|| place.to_owned(), |fault| fault.to_string())
}

/// The same for scripts.
fn place_json(place: &str) -> Value {
    let parts = |Fault { pointer, offset, length, shape }| {
        let pointer = pointer.as_ref().map(Pointer::to_string);
        json!({ "pointer": pointer, "offset": offset, "length": length, "shape": shape.to_string() })
    };
    Fault::read(&LOGIN, place).map_or_else(|| Value::from(place), parts)
}

/// A body for scripts, exactly as it was delivered: as a JSON string, or in Base64 if it is not UTF-8.
pub fn body_json(body: &RawBody) -> (&'static str, Value) {
    use base64::Engine as _;

    match str::from_utf8(body.as_bytes()) {
        Ok(text) => ("body", Value::from(text)),
        Err(_) => ("body_base64", Value::from(base64::prelude::BASE64_STANDARD.encode(body.as_bytes()))),
    }
}
