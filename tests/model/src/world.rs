//! What is fixed before the first step: messages, bounds, and the mutant, if any.

use crate::mutant::Mutant;
use crate::set::Set;

/// How many messages a world has at most.
pub const MESSAGES: usize = 3;

/// How many primary keys `processed_messages` can have: each message under the constant time, or under its own.
pub const CLAIMS: usize = 2 * MESSAGES;

/// How many keys a producer uses at most.
pub const KEYS: usize = 3;

/// How many hashes `identities` can have: each key in two domains, which differ by the scheme or by the hash key.
pub const IDENTITIES: usize = 2 * KEYS;

/// How many lanes share the queue and the database at most.
pub const LANES: usize = 3;

/// A message, by its number. They were sent in the order of their numbers.
pub type Message = usize;

/// A primary key of `processed_messages`, `(sent_at, message_hash)`, by its place in the order of such keys: first those
/// under the constant time, then those under a time of their own.
pub type Claim = usize;

/// A hash of `identities`, by its place in the order of the hashes.
pub type Identity = usize;

/// The message that a claim names.
pub fn message_of(claim: Claim) -> Message {
    claim % MESSAGES
}

/// A world to explore: everything that can happen with these messages within these bounds.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// What it is about, for the reader of a report.
    pub name: &'static str,
    /// What is sent.
    pub sent: &'static [Sent],
    /// The lanes, by the scheme that each starts with.
    pub lanes: &'static [Scheme],
    /// What the queue says of the time at which a message was sent.
    pub basis: Basis,
    /// What the lanes have in hand in the beginning.
    pub start: Start,
    /// How many deliveries a lane gathers at most before it goes on.
    pub batch_size: u32,
    /// How many deliveries a message gets that is not a login, or whose row the database refuses (`--max-attempts`).
    pub max_attempts: usize,
    /// How many faults strike at most, of whatever kinds and wherever.
    pub faults: u8,
    /// How many replays are begun at most.
    pub replays: u8,
    /// How many letters are read from files at most.
    pub imports: u8,
    /// What the operator may do, at any moment.
    pub duties: &'static [Duty],
    /// What more may go wrong than in every world.
    pub quirks: &'static [Quirk],
    /// The mistake that is built in.
    pub mutant: Option<Mutant>,
}

/// A message as its producer sent it.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// What its body is.
    pub body: Body,
    /// The producer's own key, which some schemes read.
    pub key: usize,
    /// The login that it holds: two with one number are the same login, sent twice.
    pub login: u8,
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

/// What makes two messages the same login (`--identity`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Nothing but the queue's MessageId.
    #[default]
    MessageId,
    /// The producer's key.
    Field,
    /// The same key, read from elsewhere: another domain of hashes.
    OtherField,
}

/// What the queue says of the time at which a message was sent: a fact of the queue, and not of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// It gives each message's SentTimestamp.
    SentTimestamp,
    /// It gives none: every message is claimed under the constant time.
    Constant,
}

/// What the lanes have in hand in the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nothing: they receive.
    Empty,
    /// Any messages, each lane its own choice: what came of leases that were lost before.
    AnyBatch,
}

/// What an operator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Replace one lane after the other by the next release, which decodes what this one does not.
    Upgrade,
    /// Start one lane after the other again under this scheme.
    Switch(Scheme),
    /// Drop the constraint by which the database refuses rows.
    DropConstraint,
    /// Discard dead letters.
    Discard,
    /// Open discarded letters again.
    Reopen,
    /// Send the messages of open dead letters back to the queue, each so many times at most.
    Requeue(u8),
    /// Replace the `hash` key of the keyring.
    ReplaceHashKey,
    /// Move the horizon, and drop the claims before it.
    Retain,
    /// Remove claims under the constant time, of messages that the queue can no longer deliver.
    PruneClaims,
    /// Remove identities whose messages the queue can no longer deliver.
    PruneIdentities,
    /// Have the queue give up what was received, and import its dead-letter queue.
    Redrive,
}

/// What may go wrong in some worlds only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quirk {
    /// Messages are delivered, or held by a loader, for longer than anybody reckoned with.
    OutlivesRetention,
    /// A delivery lacks the SentTimestamp that the queue gives with the others.
    LacksSentTimestamp,
    /// The tables stand on several servers. What is committed keeps others from what it holds on the workers until the
    /// second phase has come to them; that takes as long as it takes, and nobody sees it before.
    Distributed,
    /// The unique key of `user_logins` is there. Elsewhere the claims must carry the promise alone.
    RowsAreUnique,
    /// Keys carry a time of their own (`--identity-time`): each is as old as the first message that carries it. Retention removes
    /// them behind the horizon.
    DatedKeys,
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

    /// The scheme to which the lanes are switched, if they are.
    pub fn next_scheme(&self) -> Option<Scheme> {
        self.duties.iter().find_map(|duty| if let Duty::Switch(scheme) = duty { Some(*scheme) } else { None })
    }

    /// How often an operator sends a message back to the queue at most.
    pub fn requeues(&self) -> u8 {
        let times = |duty: &Duty| if let Duty::Requeue(times) = duty { Some(*times) } else { None };
        self.duties.iter().find_map(times).unwrap_or(0)
    }

    /// Whether this can go wrong.
    pub fn shows(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    /// Its messages.
    pub fn messages(&self) -> std::ops::Range<Message> {
        0..self.sent.len()
    }

    /// The claims that a message may have.
    pub fn claims_of(&self, message: Message) -> [Claim; 2] {
        [message, MESSAGES + message]
    }

    /// Whether a message was sent before the horizon.
    pub fn is_old(&self, message: Message, horizon: usize) -> bool {
        self.basis == Basis::SentTimestamp && message < horizon
    }

    /// The claim of a message. What is older than the horizon has no other than one under the constant time, whose
    /// partition is never dropped.
    pub fn claim(&self, message: Message, scheme: Scheme, horizon: usize) -> Claim {
        let is_old = self.is_old(message, horizon) && !self.has(Mutant::OldUnderItsOwnTime);
        let own_namespace = self.has(Mutant::ClaimsOfOneScheme) && scheme != Scheme::MessageId;
        if is_old || own_namespace || self.basis == Basis::Constant { message } else { MESSAGES + message }
    }

    /// The hash of a message's key: none under `message-id`. `replaced` says by which of two hash keys it is made.
    pub fn identity(&self, message: Message, scheme: Scheme, replaced: bool) -> Option<Identity> {
        let key = self.sent[message].key;
        match scheme {
            Scheme::MessageId => None,
            Scheme::Field => Some(if replaced { KEYS + key } else { key }),
            Scheme::OtherField => Some(KEYS + key),
        }
    }

    /// Whether a message carries a key whose own time is before the horizon.
    pub fn has_old_key(&self, message: Message, horizon: usize) -> bool {
        let first = self.messages_with(self.sent[message].key).first();
        self.shows(Quirk::DatedKeys) && first.is_some_and(|first| first < horizon)
    }

    /// The messages that carry a key.
    pub fn messages_with(&self, key: usize) -> Set {
        self.messages().filter(|message| self.sent[*message].key == key).collect()
    }

    /// Whether all lanes, at all times, know the same keys: only then is a key loaded once.
    pub fn has_one_scheme(&self) -> bool {
        let [first, others @ ..] = self.lanes else { return false };
        *first != Scheme::MessageId && others.iter().all(|scheme| scheme == first) && self.next_scheme().is_none()
    }

    /// Whether two logins are the same one, sent twice.
    pub fn is_same_login(&self, one: Message, other: Message) -> bool {
        self.sent[one].login == self.sent[other].login
    }
}
