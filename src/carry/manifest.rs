//! What a file of dead letters holds.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::readable::exact;
use crate::seal::KeyId;
use crate::table::dead_letters::{DeadLetter, Status};

/// What stands in every manifest.
pub(super) const FORMAT: &str = "turnstile dead letters";
/// The form of the lines and of the manifest. A program reads those of its own version and refuses others.
pub(super) const VERSION: u32 = 1;

/// What a file holds, when it was made, by whom, and from which tables.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// What the file is.
    pub format: String,
    /// The form of its lines.
    pub version: u32,
    /// The version of the program that made it.
    pub program: String,
    /// When it was begun, by the database's clock.
    pub made_at: String,
    /// The database role that made it.
    pub role: String,
    /// Who it said it was.
    pub person: String,
    /// Why.
    pub reason: String,
    /// Which letters were asked for, in words.
    pub filter: String,
    /// Whether the bodies are sealed or in clear.
    pub bodies: Bodies,
    /// How many letters.
    pub letters: u64,
    /// The same by status and code.
    pub counts: Vec<Count>,
    /// When the first of them became a dead letter.
    pub first: Option<String>,
    /// When the last of them became a dead letter.
    pub last: Option<String>,
    /// How long the file is.
    pub bytes: u64,
    /// BLAKE3 of the file.
    pub blake3: String,
    /// The keys with which the bodies are sealed. None of bodies in clear.
    pub keys: BTreeSet<String>,
    /// The key that hashes in these tables; none where none is registered.
    pub hash_key: Option<HashKeyOf>,
    /// The queues of the letters.
    pub queues: Vec<QueueOf>,
}

/// How bodies stand in a file.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bodies {
    /// As they are in the table.
    Sealed,
    /// In clear.
    Revealed,
}

/// How many letters of one status and code.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Count {
    /// The status.
    pub status: String,
    /// The code.
    pub code: String,
    /// How many.
    pub letters: u64,
}

/// The key that hashes in the tables that a file is from: it tells them from others.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct HashKeyOf {
    /// Its id.
    pub id: String,
    /// What it is recognised by, in hexadecimal digits.
    pub check_value: String,
}

/// What the tables that a file is from know of a queue.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct QueueOf {
    /// Its ARN.
    pub arn: String,
    /// The `--identity` of its loaders; none where none is recorded.
    pub scheme: Option<String>,
    /// What its messages are claimed under; none where none is recorded.
    pub time_basis: Option<String>,
}

/// What is counted while letters are written or read.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) letters: u64,
    counts: BTreeMap<(String, String), u64>,
    span: Option<(OffsetDateTime, OffsetDateTime)>,
    pub(super) keys: BTreeSet<String>,
    pub(super) queues: BTreeSet<String>,
}

impl Tally {
    pub(super) fn add(&mut self, letter: &DeadLetter, keys: impl IntoIterator<Item = KeyId>) {
        let at = letter.dead_lettered_at;
        self.letters += 1;
        *self.counts.entry((letter.status.as_str().to_owned(), letter.code.clone())).or_default() += 1;
        self.span = Some(self.span.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
        self.keys.extend(keys.into_iter().map(|id| id.as_str().to_owned()));
        self.queues.insert(letter.queue.clone());
    }

    pub(super) fn counts(&self) -> Vec<Count> {
        let count = |((status, code), letters): (&(String, String), &u64)| Count {
            status: status.clone(),
            code: code.clone(),
            letters: *letters,
        };
        self.counts.iter().map(count).collect()
    }

    pub(super) fn span(&self) -> (Option<String>, Option<String>) {
        self.span.map(|(first, last)| (exact(first), exact(last))).unzip()
    }
}

impl Manifest {
    /// How many letters stand at this.
    pub fn of_status(&self, status: Status) -> u64 {
        self.counts.iter().filter(|count| count.status == status.as_str()).map(|count| count.letters).sum()
    }
}
