//! What is fixed before the first step: messages, bounds, and the mutant, if any.

use crate::set::Set;

/// How many messages there are. Two are what it takes for a batch with a neighbour in it.
pub const MESSAGES: usize = 2;

/// How many hashes there can be: each message has one as a login, and may have another one as a rejected body.
pub const HASHES: usize = 2 * MESSAGES;

/// How many lanes share the queue and the database.
pub const LANES: usize = 2;

/// How many deliveries a lane gathers at most before it goes on.
pub const BATCH_SIZE: u32 = 2;

/// A message, by its number.
pub type Message = usize;

/// What a claim names: see [`World::hash`].
pub type Hash = usize;

/// A world to explore: everything that can happen with these messages within these bounds.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// What it is about, for the reader of a report.
    pub name: &'static str,
    /// What the messages hold.
    pub bodies: [Body; MESSAGES],
    /// What makes two deliveries the same message.
    pub identity: Identity,
    /// How many deliveries a message gets that is no login, or whose row the database refuses (`--max-attempts`).
    pub max_attempts: usize,
    /// How many faults strike at most, of whatever kinds and wherever.
    pub faults: u8,
    /// What the operator may do, at any moment.
    pub duties: &'static [Duty],
    /// The mistake that is built in.
    pub mutant: Option<Mutant>,
}

/// What a message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// A login that decodes and that the database takes.
    Login,
    /// What does not decode, except by the rules of the next release ([`Duty::Upgrade`]).
    Malformed,
    /// A login that decodes, and whose row the database refuses until its constraint is gone
    /// ([`Duty::DropConstraint`]).
    Refused,
}

/// What makes two deliveries the same message (`--identity`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The queue's MessageId, whatever the body.
    MessageId,
    /// An id in the body, each message its own. A body that does not decode is known by its MessageId, and what does is
    /// claimed under that too.
    OwnId,
    /// An id in the body, the same in all messages: a producer that sends twice.
    SharedId,
}

/// What an operator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Replace one lane after the other by the next release, which decodes what this one does not.
    Upgrade,
    /// Drop the constraint by which the database refuses rows.
    DropConstraint,
    /// Replay dead letters, as soon as what refused them is gone.
    Replay,
    /// Discard dead letters.
    Discard,
    /// Remove claims of messages that the queue can no longer deliver.
    Prune,
}

/// A mistake that a loader of this kind could make. Each must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Messages are deleted when their rows are written, and then committed.
    DeleteBeforeCommit,
    /// Claims are committed by themselves before the rows.
    ClaimInAnEarlierTransaction,
    /// Rows are committed first and their claims by themselves after.
    ClaimInALaterTransaction,
    /// Claims are looked up and then written, and nobody waits for a rival.
    ClaimByReading,
    /// A message is claimed under the hash that it is judged to have, and not under that of its MessageId.
    ClaimByOneHash,
    /// Any answer to COMMIT is taken for a commit.
    CommitNotVerified,
    /// A commit without an answer is taken for one that holds.
    AmbiguousCommitTakenAsCommitted,
    /// The messages of a commit without an answer are dead-lettered.
    AmbiguousCommitDeadLettered,
    /// A row that the database refuses takes its whole batch to the dead letters.
    BatchErrorDeadLettersNeighbours,
    /// The commit of a batch's first half is taken for that of both.
    HalfTakenForWhole,
    /// What is no login is deleted after its last attempt, and no dead letter is written.
    DeleteWithoutDeadLetter,
    /// Whatever was received too often is dead-lettered.
    DeadLetterByReceiveCount,
    /// Events are written in a transaction of their own, after the rows.
    EventsInLaterTransaction,
    /// Replay reads letters and claims without locking them.
    ReplayWithoutLocks,
    /// Replay writes rows for letters whatever their bodies are.
    ReplayWithoutDecoding,
    /// Claims are removed while the queue can still deliver their messages.
    PruneTooEarly,
}

impl Mutant {
    /// Every one.
    pub const ALL: [Self; 16] = [
        Self::DeleteBeforeCommit,
        Self::ClaimInAnEarlierTransaction,
        Self::ClaimInALaterTransaction,
        Self::ClaimByReading,
        Self::ClaimByOneHash,
        Self::CommitNotVerified,
        Self::AmbiguousCommitTakenAsCommitted,
        Self::AmbiguousCommitDeadLettered,
        Self::BatchErrorDeadLettersNeighbours,
        Self::HalfTakenForWhole,
        Self::DeleteWithoutDeadLetter,
        Self::DeadLetterByReceiveCount,
        Self::EventsInLaterTransaction,
        Self::ReplayWithoutLocks,
        Self::ReplayWithoutDecoding,
        Self::PruneTooEarly,
    ];
}

impl World {
    /// Whether this mistake is built in.
    pub fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Whether the operator may do this.
    pub fn allows(&self, duty: Duty) -> bool {
        self.duties.contains(&duty)
    }

    /// The hash under which a message is claimed, by whether its body decodes (`Judge::judge`).
    pub fn hash(&self, message: Message, decodes: bool) -> Hash {
        match (self.identity, decodes) {
            (Identity::MessageId, _) | (Identity::OwnId, true) => message,
            (Identity::SharedId, true) => 0,
            (Identity::OwnId | Identity::SharedId, false) => MESSAGES + message,
        }
    }

    /// The hash under which a message is claimed too, whether its body decodes or not (`Identifier::second_hash`).
    pub fn second_hash(&self, message: Message) -> Option<Hash> {
        match self.identity {
            Identity::MessageId => None,
            Identity::OwnId | Identity::SharedId => {
                (!self.has(Mutant::ClaimByOneHash)).then(|| self.hash(message, false))
            }
        }
    }

    /// Every hash under which a message may be recorded.
    pub fn hashes(&self, message: Message) -> Set {
        Set::of(self.hash(message, true)) | Set::of(self.hash(message, false))
    }

    /// The messages that may be recorded under a hash.
    pub fn messages_of(&self, hash: Hash) -> impl Iterator<Item = Message> {
        (0..MESSAGES).filter(move |message| self.hashes(*message).has(hash))
    }
}
