//! Dead letters in a file: a line of JSON for each, and beside it a manifest that says what the file holds and proves that it is
//! whole.
//!
//! A file leaves the machine, so it never appears half: it is written under another name, and gets its own when it is on the disk.
//! The manifest comes last; a file without one is no export. What is read is believed only once its digest is the manifest's.

pub mod export;
pub mod import;
mod line;
pub mod manifest;
pub mod read;

use std::path::{Path, PathBuf};

/// How many letters are read from the tables, or written to them, in one transaction. It bounds memory: a body is at most 1 MiB,
/// and stands there as it is sealed and in Base64.
const CHUNK: usize = 100;

/// Where the manifest of a file is.
pub fn manifest_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".manifest.json");
    PathBuf::from(name)
}
