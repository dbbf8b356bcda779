//! Lists for scripts: the same names as JSON and as CSV.

use serde_json::Value;

use crate::cli::Failure;
use crate::cli::terminal::{say, write_out};
use crate::records;

/// Writes an object a line.
pub(super) fn json(records: impl Iterator<Item = Value>) -> Result<(), Failure> {
    records.map(|record| record.to_string()).try_for_each(|line| say(&line))
}

/// Writes a line of names, and a line of values for each record; what is null is empty.
pub(super) fn csv(names: &[&str], records: impl Iterator<Item = Value>) -> Result<(), Failure> {
    let unwritten =
        |error: csv::Error| Failure::new(format!("a record cannot be written: {error}"), "report the defect");
    write_out(&records::csv(names, records).map_err(unwritten)?)
}
