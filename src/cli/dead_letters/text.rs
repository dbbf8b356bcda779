//! How dead letters look: tables and lines for people, JSON for scripts.

use serde_json::{Value, json};

use crate::cli::Failure;
use crate::cli::prefix::shown;
use crate::cli::terminal::{aligned, fitted, say, width};
pub(super) use crate::cli::terminal::{exact, seconds};
use crate::fault::{Fault, Pointer};
use crate::message::{MessageHash, RawBody};
use crate::stream::LOGIN;
use crate::table::dead_letters::DeadLetter;

/// A hash as a table shows it: whole, unless it is shown on a terminal.
pub(super) fn hash_in_table(hash: MessageHash) -> String {
    if width().is_some() { shown(hash) } else { hash.to_string() }
}

/// Writes a table: on a terminal each line ends where the terminal does.
pub(super) fn table(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Result<(), Failure> {
    let head = columns.iter().map(|&column| column.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = width();
    aligned(&rows).iter().try_for_each(|line| say(&fitted(line, width)))
}

/// A dead letter for scripts, without its body.
pub(super) fn letter_json(letter: &DeadLetter) -> Value {
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

/// Where a body is wrong, for people. A text that is no fault is what stands in its place.
pub(super) fn place_words(place: &str) -> String {
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
pub(super) fn body_json(body: &RawBody) -> (&'static str, Value) {
    use base64::Engine as _;

    match str::from_utf8(body.as_bytes()) {
        Ok(text) => ("body", Value::from(text)),
        Err(_) => ("body_base64", Value::from(base64::prelude::BASE64_STANDARD.encode(body.as_bytes()))),
    }
}
