//! The journal: what was sent, noted by the sender, out of the loaders' reach.
//!
//! One JSON object a line, appended after the queue took the message:
//! `{"key":"…","message_id":"…","kind":"login"}`. A journal of `--identity content` holds bodies, and is as personal
//! as they are.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::message::{MessageHash, MessageHasher, MessageId};

/// What a message is, as its sender knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A login, which must become a row of `user_logins`, or be absorbed by one of the same key that did.
    Login,
    /// One of several different logins under one key: one of them must become a row, the others dead letters.
    Contradicting,
    /// No login: it must become a dead letter.
    Malformed,
}

/// A message that the queue took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The producer's key, as `--identity` defines it; under `message-id`, the MessageId.
    pub key: String,
    /// The MessageId that the queue answered.
    pub message_id: String,
    /// What it is.
    pub kind: Kind,
}

impl Sent {
    /// A message of a queue whose identity is the MessageId.
    pub fn by_message_id(message_id: &MessageId, kind: Kind) -> Self {
        let message_id = message_id.as_str().to_owned();
        Self { key: message_id.clone(), message_id, kind }
    }

    /// The hash under which the loader must have recorded it.
    pub fn hash(&self, messages: &MessageHasher) -> MessageHash {
        messages.hash(&MessageId::new(&*self.message_id))
    }
}

/// A journal that is being written; it can only grow.
#[derive(Debug)]
pub struct Journal(File);

impl Journal {
    /// Opens the journal at this path, or begins it.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().create(true).append(true).open(path).map(Self)
    }

    /// Appends what the queue took, in one write.
    ///
    /// # Errors
    ///
    /// When the file cannot be written; what it holds then must not be trusted.
    pub fn note(&mut self, sent: &[Sent]) -> io::Result<()> {
        let mut lines = Vec::new();
        for message in sent {
            serde_json::to_writer(&mut lines, message)?;
            lines.push(b'\n');
        }
        self.0.write_all(&lines)
    }
}

/// Reads a journal, line by line.
///
/// # Errors
///
/// When the file cannot be read, or a line is none of a journal; the error names its number.
pub fn read(path: &Path) -> io::Result<impl Iterator<Item = io::Result<Sent>>> {
    let lines = BufReader::new(File::open(path)?).lines();
    Ok(lines.enumerate().map(|(number, line)| {
        serde_json::from_str(&line?)
            .map_err(|error| io::Error::other(format!("line {} of the journal: {error}", number + 1)))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_in_its_order_over_several_openings() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let sent = [("a", Kind::Login), ("\"ü\n", Kind::Malformed), ("c", Kind::Login)]
            .map(|(id, kind)| Sent::by_message_id(&MessageId::new(id), kind));
        Journal::open(&path).unwrap().note(&sent[..2]).unwrap();
        Journal::open(&path).unwrap().note(&sent[2..]).unwrap();
        assert_eq!(read(&path).unwrap().collect::<io::Result<Vec<_>>>().unwrap(), sent);
    }

    #[test]
    fn a_line_that_is_cut_off_is_an_error_with_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        std::fs::write(&path, "{\"key\":\"a\",\"message_id\":\"a\",\"kind\":\"login\"}\n{\"key\":").unwrap();
        let lines: Vec<_> = read(&path).unwrap().collect();
        assert!(lines[0].is_ok());
        assert!(lines[1].as_ref().unwrap_err().to_string().starts_with("line 2 of the journal"));
    }
}
