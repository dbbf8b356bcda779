//! The database: four tables, transactions that hold or not as a whole, and the locks between them.
//!
//! The unique keys of `user_logins`, `dead_letters` and `outbox` are left out. They are a second net under the
//! claims; here the claims must carry the promise alone.

use crate::set::Set;
use crate::world::{HASHES, Hash};

/// What is committed, and what servers may still commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Database {
    records: [Record; HASHES],
    /// The second hashes of the claims.
    second: Set,
    /// Transactions whose COMMIT was sent and whose client is gone, each under the first hash that it locks. No two
    /// lock the same.
    orphans: [Transaction; HASHES],
}

/// What the tables say of one hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Record {
    /// `processed_messages`.
    pub claim: Claim,
    /// The number of its rows in `user_logins`.
    pub rows: u8,
    /// The number of its events in `outbox`.
    pub events: u8,
    /// `dead_letters`.
    pub letter: Letter,
}

/// A row of `processed_messages`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Claim {
    /// There is none, and never was.
    #[default]
    Free,
    /// Outcome `loaded`.
    Loaded,
    /// Outcome `dead_lettered`.
    DeadLettered,
    /// There was one.
    Pruned,
}

/// A row of `dead_letters`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Letter {
    /// There is none.
    #[default]
    None,
    /// Nobody has resolved it.
    Open,
    /// A replay loaded it.
    Replayed,
    /// An operator gave it up.
    Discarded,
}

/// What a transaction wrote and nobody else sees yet, by hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// New claims with the outcome `loaded`.
    pub loaded: Set,
    /// New claims with the outcome `dead_lettered`.
    pub dead_lettered: Set,
    /// The second hashes of the new claims.
    pub second: Set,
    /// New rows.
    pub rows: Set,
    /// New events.
    pub events: Set,
    /// New dead letters.
    pub letters: Set,
    /// Dead letters resolved, and their claims turned to `loaded`.
    pub replayed: Set,
}

impl Record {
    /// Whether `processed_messages` has its hash.
    pub fn is_claimed(&self) -> bool {
        matches!(self.claim, Claim::Loaded | Claim::DeadLettered)
    }

    /// Whether there is a dead letter that no replay has turned into a row.
    pub fn has_letter(&self) -> bool {
        matches!(self.letter, Letter::Open | Letter::Discarded)
    }

    /// In how many places the message stands: rows, and an unreplayed dead letter.
    pub fn places(&self) -> u8 {
        self.rows + u8::from(self.has_letter())
    }
}

impl Transaction {
    /// The hashes that nobody else can claim, replay or discard before this transaction ends.
    pub fn locks(&self) -> Set {
        self.loaded | self.dead_lettered | self.replayed
    }

    /// Whether one that claims these hashes, and these second ones, waits for the end of this one.
    pub fn keeps_waiting(&self, hashes: Set, second: Set) -> bool {
        self.locks().meets(hashes) || self.second.meets(second)
    }
}

impl Database {
    /// What is committed under a hash.
    pub fn record(&self, hash: Hash) -> &Record {
        &self.records[hash]
    }

    /// The hashes that `processed_messages` has.
    pub fn claimed(&self) -> Set {
        (0..HASHES).filter(|hash| self.records[*hash].is_claimed()).collect()
    }

    /// The second hashes of the claims.
    pub fn second(&self) -> Set {
        self.second
    }

    /// Whether one that claims these hashes, and these second ones, waits for the end of an orphan.
    pub fn keeps_waiting(&self, hashes: Set, second: Set) -> bool {
        self.orphans.iter().any(|orphan| orphan.keeps_waiting(hashes, second))
    }

    /// The hashes that orphans lock.
    pub fn locked_by_orphans(&self) -> Set {
        self.orphans.iter().fold(Set::default(), |locked, orphan| locked | orphan.locks())
    }

    /// Orphans, by the hash under which each stands.
    pub fn orphans(&self) -> impl Iterator<Item = Hash> {
        (0..HASHES).filter(|hash| !self.orphans[*hash].locks().is_empty())
    }

    /// The transaction takes effect, all of it.
    pub fn commit(&mut self, transaction: Transaction) {
        self.second |= transaction.second;
        for (hash, record) in self.records.iter_mut().enumerate() {
            if transaction.loaded.has(hash) {
                record.claim = Claim::Loaded;
            }
            if transaction.dead_lettered.has(hash) {
                record.claim = Claim::DeadLettered;
            }
            record.rows += u8::from(transaction.rows.has(hash));
            record.events += u8::from(transaction.events.has(hash));
            if transaction.letters.has(hash) {
                record.letter = Letter::Open;
            }
            if transaction.replayed.has(hash) {
                record.claim = Claim::Loaded;
                record.letter = Letter::Replayed;
            }
        }
    }

    /// The client is gone after it sent COMMIT: the server will decide by itself. One that wrote nothing decides
    /// nothing.
    pub fn orphan(&mut self, transaction: Transaction) {
        if let Some(first) = transaction.locks().first() {
            self.orphans[first] = transaction;
        }
    }

    /// The server decides about an orphan.
    pub fn decide(&mut self, first: Hash, commits: bool) {
        let orphan = std::mem::take(&mut self.orphans[first]);
        if commits {
            self.commit(orphan);
        }
    }

    /// An operator gives up a dead letter.
    pub fn discard(&mut self, hash: Hash) {
        self.records[hash].letter = Letter::Discarded;
    }

    /// A claim is removed.
    pub fn prune(&mut self, hash: Hash, second: Set) {
        self.records[hash].claim = Claim::Pruned;
        self.second -= second;
    }
}
