//! How dead letters look to people: tables and lines.

use crate::cli::Failure;
use crate::cli::prefix::shown;
use crate::cli::terminal::{aligned, fitted, say, width};
pub(super) use crate::cli::terminal::{exact, seconds};
use crate::message::MessageHash;
pub(super) use crate::records::letters::{body_json, letter_json, place_words};

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
