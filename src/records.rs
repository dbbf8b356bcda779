//! What scripts are told: the command line with `--format json` and `csv`, and the console beside each page, say the same.

pub mod actions;
pub mod audit;
pub mod costs;
pub mod findings;
pub mod groups;
pub mod letters;
pub mod loaders;
pub mod outbox;
pub mod plans;

use serde_json::Value;

/// A line of names, and a line of values for each record (RFC 4180, but for its line ends); what is null is empty.
///
/// # Errors
///
/// None that a record of these names can cause.
pub fn csv(names: &[&str], records: impl Iterator<Item = Value>) -> Result<Vec<u8>, csv::Error> {
    let mut lines = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
    lines.write_record(names)?;
    for record in records {
        lines.write_record(names.iter().map(|name| record.get(*name).map(cell).unwrap_or_default()))?;
    }
    lines.into_inner().map_err(|error| error.into_error().into())
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}
