//! What the fault tests saw: each writes down how often it survived what, and docs/GUARANTEES.md is made of that.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// Where the notes are kept; `make evidence` prints them as a table.
const FOLDER: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/evidence");

#[derive(Serialize)]
struct Note<'n> {
    fault: &'n str,
    times: u64,
    command: &'n str,
}

/// Notes that the promise held although `fault` struck so many times, and how that is repeated.
///
/// A fault that never struck proves nothing: the test fails then.
pub(crate) fn survived(fault: &str, times: u64, command: &str) {
    assert!(times > 0, "the fault never struck: {fault}");
    fs::create_dir_all(FOLDER).unwrap();
    let name: String = fault.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let note = serde_json::to_string(&Note { fault, times, command }).unwrap();
    fs::write(Path::new(FOLDER).join(name + ".json"), note + "\n").unwrap();
    eprintln!("survived {times} times: {fault} (repeat: {command})");
}
