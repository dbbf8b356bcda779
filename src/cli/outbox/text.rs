//! How what is told of the outbox looks.

use indicatif::{HumanBytes, HumanCount};

use crate::cli::Failure;
use crate::cli::terminal::{say, width, wrapped};

/// How wide the lines are where no terminal says so.
const WIDTH: usize = 80;

/// Writes a line, which is broken between words where it is too long; what follows is indented.
pub(super) fn say_broken(line: &str, indent: usize) -> Result<(), Failure> {
    wrapped(line, width().unwrap_or(WIDTH), indent).lines().try_for_each(|line| say(line.trim_end()))
}

/// A number for people: `1,234,567`.
pub(super) fn number(number: i64) -> String {
    match u64::try_from(number) {
        Ok(number) => HumanCount(number).to_string(),
        Err(_) => number.to_string(),
    }
}

/// `1 event`, `2,000 events`.
pub(super) fn counted(count: i64, what: &str) -> String {
    format!("{} {what}{}", number(count), if count == 1 { "" } else { "s" })
}

/// `3.10 GiB`.
pub(super) fn size(bytes: i64) -> String {
    HumanBytes(u64::try_from(bytes).unwrap_or(0)).to_string()
}
