//! How times and texts are written: for people on a terminal or a page, and for scripts.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

/// A time for people: UTC, whole seconds.
pub fn seconds(time: OffsetDateTime) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    time.to_offset(UtcOffset::UTC).format(form).unwrap_or_else(|_| time.to_string())
}

/// A time for scripts: RFC 3339 in UTC.
pub fn exact(time: OffsetDateTime) -> String {
    time.to_offset(UtcOffset::UTC).format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}

/// Bytes for a terminal or a page: nothing in them can move the cursor, turn the writing direction or pass for something else.
///
/// What is not printable is escaped as in Rust's literals: `\n`, `\u{202e}`, `\xff` for a byte that is not UTF-8, and
/// `\\` for the backslash itself.
pub fn printable(bytes: &[u8]) -> String {
    let mut printed = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\'' => printed.push(character),
                _ if is_invisible(character) => printed.extend(character.escape_unicode()),
                _ => printed.extend(character.escape_debug()),
            }
        }
        printed.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    printed
}

/// What Unicode lets be printed and nobody sees: fillers, joiners and selectors that `char::escape_debug` leaves alone.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    )
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
            ("a\u{200d}b\u{fe0f}\u{3164}\u{e0041}\u{ad}".as_bytes(), r"a\u{200d}b\u{fe0f}\u{3164}\u{e0041}\u{ad}"),
            (b"ok\xff\xc3(", r"ok\xff\xc3("),
            (b"", ""),
        ] {
            assert_eq!(printable(bytes), text);
        }
    }
}
