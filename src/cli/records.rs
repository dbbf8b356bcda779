//! Lists for scripts: the same names as JSON and as CSV.

use serde_json::Value;

use crate::cli::Failure;
use crate::cli::terminal::{say, write_out};

/// Writes an object a line.
pub(super) fn json(records: impl Iterator<Item = Value>) -> Result<(), Failure> {
    records.map(|record| record.to_string()).try_for_each(|line| say(&line))
}

/// Writes a line of names, and a line of values for each record; what is null is empty.
pub(super) fn csv(names: &[&str], records: impl Iterator<Item = Value>) -> Result<(), Failure> {
    let mut lines = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
    let unwritten =
        |error: csv::Error| Failure::new(format!("a record cannot be written: {error}"), "report the defect");
    lines.write_record(names).map_err(unwritten)?;
    for record in records {
        lines
            .write_record(names.iter().map(|name| record.get(*name).map(cell).unwrap_or_default()))
            .map_err(unwritten)?;
    }
    let lines = lines.into_inner().map_err(|error| unwritten(error.into_error().into()))?;
    write_out(&lines)
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}
