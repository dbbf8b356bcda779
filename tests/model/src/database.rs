//! The database: its tables, transactions that hold or not as a whole, and what each keeps from others.
//!
//! The unique keys of `user_logins`, `dead_letters` and `outbox` are left out, except where a world says otherwise. They
//! are a second net under the claims; here the claims must carry the promise alone.

use std::hash::{Hash, Hasher};

use crate::set::Set;
use crate::world::{CLAIMS, Claim, IDENTITIES, Identity, KEYS, MESSAGES, Message, Quirk, World, message_of};

/// What is committed, and what servers may still commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Database {
    records: [Record; CLAIMS],
    /// `identities`: who owns which hash.
    pub owners: Owners,
    /// Keys that `identities` has forgotten, by retention or with a hash key.
    pub forgotten: Set,
    /// `retained_since`: what was sent before this message is older than memory.
    pub horizon: usize,
    /// The messages whose partition of `processed_messages` is gone.
    pub dropped: Set,
    /// The messages of whose time no letter is left that could need its claim.
    pub cleared: Set,
    /// The claims whose letters were opened again, which an operator does once.
    pub reopened: Set,
    /// Whether the hash key was replaced.
    pub key_replaced: bool,
    /// Transactions whose COMMIT was sent and whose client is gone, in some order that does not matter.
    orphans: Vec<Transaction>,
    /// Transactions that are committed, of which a worker has not heard yet.
    in_doubt: Vec<Transaction>,
}

/// Who owns which hash of `identities`.
pub type Owners = [Option<Owner>; IDENTITIES];

/// The message that owns an identity, or that absorbed another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(u8);

impl Owner {
    /// This message.
    pub fn of(message: Message) -> Self {
        debug_assert!(message < MESSAGES, "a message that no world has");
        Self(message as u8)
    }

    /// The message.
    pub fn message(self) -> Message {
        usize::from(self.0)
    }
}

/// What the tables say under one claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// `processed_messages`.
    pub claimed: Claimed,
    /// The number of its rows in `user_logins`.
    pub rows: u8,
    /// The number of its events in `outbox`.
    pub events: u8,
    /// `dead_letters`.
    pub letter: Letter,
    /// Why it was dead-lettered.
    pub reason: Reason,
    /// Whether the plan of a replay says that something became of the letter.
    pub is_recorded_in_plan: bool,
}

/// A row of `processed_messages`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claimed {
    /// There is none, and never was.
    #[default]
    Free,
    /// Outcome `loaded`.
    Loaded,
    /// Outcome `dead_lettered`.
    DeadLettered,
    /// Outcome `absorbed`, by this message.
    Absorbed(Owner),
    /// There was one.
    Pruned,
    /// There was one, with the outcome `absorbed`.
    PrunedAbsorbed,
}

/// A row of `dead_letters`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Letter {
    /// There is none.
    #[default]
    None,
    /// Nobody has resolved it.
    Open,
    /// A replay loaded it.
    Replayed,
    /// A replay found the same login loaded under the same key.
    Absorbed,
    /// An operator gave it up.
    Discarded,
    /// An operator gave it up, and retention removed it.
    Forgotten,
}

/// Why a message is dead-lettered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Its body does not decode, or the database refuses its row.
    #[default]
    Refused,
    /// Another login has its key (`contradicts`).
    Contradicts,
    /// It was sent before the horizon (`older_than_memory`).
    OlderThanMemory,
    /// Its queue gave it up, or it came from a file (`redriven`): its body is right.
    Redriven,
}

/// What a transaction makes of a message that it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Nothing: a letter stays open.
    #[default]
    None,
    /// Row and event.
    Loaded,
    /// A dead letter.
    DeadLettered(Reason),
    /// Neither.
    Absorbed(Owner),
    /// Neither, and the claim says `loaded`: a mutant's.
    LoadedWithoutRow,
}

/// What a transaction wrote and nobody else sees yet, and what it keeps from others until it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transaction {
    /// Letters that it has locked.
    pub letters: Set,
    /// Rows of `processed_messages` that it has inserted, or locked to update them.
    pub messages: Set,
    /// Rows of `identities` that it has inserted.
    pub owners: Owners,
    /// What it makes of its messages.
    pub outcomes: [Outcome; CLAIMS],
    /// New rows.
    pub rows: Set,
    /// New events.
    pub events: Set,
}

/// As with an attempt: most records are empty.
impl Hash for Record {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { claimed, rows, events, letter, reason, is_recorded_in_plan } = self;
        let is_none = *self == Self::default();
        is_none.hash(state);
        if !is_none {
            (claimed, rows, events, letter, reason, is_recorded_in_plan).hash(state);
        }
    }
}

impl Record {
    /// Whether `processed_messages` has its key.
    pub fn is_claimed(&self) -> bool {
        matches!(self.claimed, Claimed::Loaded | Claimed::DeadLettered | Claimed::Absorbed(_))
    }

    /// Whether it was loaded, as far as `processed_messages` remembers.
    pub fn was_loaded(&self) -> bool {
        self.claimed == Claimed::Loaded || self.claimed == Claimed::Pruned && self.rows > 0
    }

    /// Whether it was absorbed.
    pub fn was_absorbed(&self) -> bool {
        matches!(self.claimed, Claimed::Absorbed(_) | Claimed::PrunedAbsorbed)
    }

    /// Whether there is a dead letter of which no replay has made anything, or was one that nobody wanted any more.
    pub fn has_letter(&self) -> bool {
        matches!(self.letter, Letter::Open | Letter::Discarded | Letter::Forgotten)
    }

    /// In how many places the message stands: rows, an unresolved dead letter, or an `absorbed`.
    pub fn places(&self) -> u8 {
        self.rows + u8::from(self.has_letter()) + u8::from(self.was_absorbed())
    }

    fn take_effect(&mut self, transaction: &Transaction, claim: Claim) {
        let resolves = transaction.letters.has(claim);
        self.is_recorded_in_plan |= resolves && transaction.outcomes[claim] != Outcome::None;
        match transaction.outcomes[claim] {
            Outcome::None => {}
            Outcome::Loaded | Outcome::LoadedWithoutRow => {
                self.claimed = Claimed::Loaded;
                self.letter = if resolves { Letter::Replayed } else { self.letter };
            }
            Outcome::DeadLettered(reason) => {
                self.claimed = Claimed::DeadLettered;
                self.letter = Letter::Open;
                self.reason = reason;
            }
            Outcome::Absorbed(owner) => {
                self.claimed = Claimed::Absorbed(owner);
                self.letter = if resolves { Letter::Absorbed } else { self.letter };
            }
        }
        self.rows += u8::from(transaction.rows.has(claim));
        self.events += u8::from(transaction.events.has(claim));
    }
}

impl Transaction {
    /// Whether it has inserted into `identities`, and so holds that table against one that locks it whole.
    pub fn holds_identities(&self) -> bool {
        self.owners.iter().any(Option::is_some)
    }

    /// Whether it has anything in hand of a message.
    pub fn holds_message(&self, message: Message) -> bool {
        (self.messages | self.letters).iter().any(|claim| message_of(claim) == message)
    }

    /// Whether it would change nothing.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.rows.is_empty() && self.events.is_empty() && !self.holds_identities()
    }
}

impl Database {
    /// What is committed under a claim.
    pub fn record(&self, claim: Claim) -> &Record {
        &self.records[claim]
    }

    /// The plan of a replay says that something became of these letters.
    pub fn record_in_plan(&mut self, claims: Set) {
        claims.iter().for_each(|claim| self.records[claim].is_recorded_in_plan = true);
    }

    /// Everything that is committed under a claim.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }

    /// Transactions that the server may still commit.
    pub fn orphans(&self) -> &[Transaction] {
        &self.orphans
    }

    /// The transaction takes effect, all of it.
    pub fn commit(&mut self, transaction: Transaction) {
        for (claim, record) in self.records.iter_mut().enumerate() {
            record.take_effect(&transaction, claim);
        }
        for (stands, new) in self.owners.iter_mut().zip(transaction.owners) {
            *stands = new.or(*stands);
        }
    }

    /// The same over several servers, where the tables stand on such: the coordinator decides, and the workers keep what the
    /// transaction holds on them until they hear of it.
    pub fn commit_in(&mut self, world: &World, transaction: Transaction) {
        self.commit(transaction);
        let on_workers = Transaction { letters: Set::default(), ..transaction };
        if world.shows(Quirk::Distributed) && !on_workers.is_empty() {
            self.in_doubt.push(on_workers);
            self.in_doubt.sort_unstable();
        }
    }

    /// Transactions that are committed, and keep others waiting still.
    pub fn in_doubt(&self) -> &[Transaction] {
        &self.in_doubt
    }

    /// A worker hears that a transaction is committed.
    pub fn settle(&mut self, prepared: usize) {
        self.in_doubt.remove(prepared);
    }

    /// Whether nobody can see yet that this is claimed.
    pub fn hides(&self, claim: Claim) -> bool {
        self.in_doubt.iter().any(|transaction| transaction.messages.has(claim))
    }

    /// The client is gone after it sent COMMIT: the server will decide by itself. One that wrote nothing decides
    /// nothing.
    pub fn orphan(&mut self, transaction: Transaction) {
        if !transaction.is_empty() {
            self.orphans.push(transaction);
            self.orphans.sort_unstable();
        }
    }

    /// The server decides about an orphan.
    pub fn decide(&mut self, world: &World, orphan: usize, commits: bool) {
        let orphan = self.orphans.remove(orphan);
        if commits {
            self.commit_in(world, orphan);
        }
    }

    /// An operator gives up a dead letter.
    pub fn discard(&mut self, claim: Claim) {
        self.records[claim].letter = Letter::Discarded;
    }

    /// An operator takes that back.
    pub fn reopen(&mut self, claim: Claim) {
        self.records[claim].letter = Letter::Open;
        self.reopened |= Set::of(claim);
    }

    /// Retention removes a letter that was resolved.
    pub fn forget_letter(&mut self, claim: Claim) {
        let letter = &mut self.records[claim].letter;
        *letter = if *letter == Letter::Discarded { Letter::Forgotten } else { *letter };
    }

    /// A claim is removed, if it stands.
    pub fn prune(&mut self, claim: Claim) {
        let record = &mut self.records[claim];
        if record.is_claimed() {
            record.claimed = if record.was_absorbed() { Claimed::PrunedAbsorbed } else { Claimed::Pruned };
        }
    }

    /// An identity is removed, if it stands.
    pub fn forget(&mut self, identity: Identity) {
        if self.owners[identity].take().is_some() {
            self.forgotten |= Set::of(identity % KEYS);
        }
    }
}
