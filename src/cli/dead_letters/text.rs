//! How dead letters look: tables and lines for people, JSON for scripts.

use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

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

/// A time for people: UTC, whole seconds.
pub(super) fn seconds(time: OffsetDateTime) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    time.to_offset(UtcOffset::UTC).format(form).unwrap_or_else(|_| time.to_string())
}

/// A time for scripts: RFC 3339 in UTC.
pub(super) fn exact(time: OffsetDateTime) -> String {
    time.to_offset(UtcOffset::UTC).format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}

/// Rows as lines whose columns stand below each other.
pub(super) fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// A body for a terminal: nothing in it can move the cursor, turn the writing direction or pass for something else.
///
/// What is not printable is escaped as in Rust's literals: `\n`, `\u{202e}`, `\xff` for a byte that is no UTF-8, and
/// `\\` for the backslash itself.
pub(super) fn printable(bytes: &[u8]) -> String {
    let mut printed = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\'' => printed.push(character),
                _ => printed.extend(character.escape_debug()),
            }
        }
        printed.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    printed
}

/// A body for scripts, exactly as it was delivered: as a JSON string, or in Base64 if it is not UTF-8.
pub(super) fn body_json(body: &RawBody) -> (&'static str, Value) {
    use base64::Engine as _;

    match str::from_utf8(body.as_bytes()) {
        Ok(text) => ("body", Value::from(text)),
        Err(_) => ("body_base64", Value::from(base64::prelude::BASE64_STANDARD.encode(body.as_bytes()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        for (bytes, text) in [
            (&br#"{"a":"b'c"}"#[..], r#"{"a":"b'c"}"#),
            ("Zürich 東京".as_bytes(), "Zürich 東京"),
            (b"a\nb\t\0\x1b[2J", r"a\nb\t\0\u{1b}[2J"),
            (br"\x1b", r"\\x1b"),
            ("\u{202e}\u{feff}\u{9b}".as_bytes(), r"\u{202e}\u{feff}\u{9b}"),
            (b"ok\xff\xc3(", r"ok\xff\xc3("),
            (b"", ""),
        ] {
            assert_eq!(printable(bytes), text);
        }
    }

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [vec!["a".to_owned(), "é".to_owned(), "x".to_owned()], vec!["bcd".to_owned(), "ef".to_owned()]];
        assert_eq!(aligned(&rows), ["a    é   x", "bcd  ef"]);
    }
}
