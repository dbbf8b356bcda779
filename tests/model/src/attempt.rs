//! One transaction, as its client goes through it: claims taken one at a time and in order, first of messages and then
//! of keys, and after that the owners decide. Loaders and replay share it; `src/claims.rs` of the loader.

use std::hash::{Hash, Hasher};

use crate::database::{Claimed, Database, Letter, Outcome, Owner, Owners, Reason, Transaction};
use crate::mutant::Mutant;
use crate::set::Set;
use crate::world::{Claim, IDENTITIES, Identity, MESSAGES, Scheme, World, message_of};

/// A transaction under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt {
    /// What it does next.
    pub stage: Stage,
    /// What is left to take in this stage, one at a time.
    pub todo: Set,
    /// The claims of its batch.
    pub batch: Set,
    /// Which of them are of messages older than the horizon.
    pub old: Set,
    /// Which of them it took: messages that nobody had recorded, or letters that a replay may resolve.
    pub new: Set,
    /// Which of those have keys from before the horizon, as it was read after the claims.
    pub old_keys: Set,
    /// The keys that nobody owned when it began to claim keys, if a mutant reads no later.
    pub unowned: Set,
    /// The server's side of it.
    pub transaction: Transaction,
}

/// What a transaction does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Begins, and reads the horizon.
    #[default]
    Begin,
    /// Locks letters: a replay, and a lane that has messages which were sent back.
    Letters,
    /// Claims messages.
    Messages,
    /// Claims the keys of the new logins.
    Keys,
    /// Reads who owns the keys that it did not get.
    Owners,
    /// Writes rows, events and dead letters, and commits.
    Record,
}

/// Something that only one transaction can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// A dead letter.
    Letter(Claim),
    /// A row of `processed_messages`.
    Message(Claim),
    /// A row of `identities`.
    Identity(Identity),
}

/// Whose transaction it is, and what it knows.
#[derive(Clone, Copy, Debug)]
pub struct Client<'w> {
    /// The world.
    pub world: &'w World,
    /// Whether it is a replay.
    pub replays: bool,
    /// Which claims of the batch are of messages that it takes for logins.
    pub logins: Set,
    /// Which of them an operator sent back: if their letters are open, they are loaded as a replay loads them.
    pub resumes: Set,
    /// By which scheme it knows their keys.
    pub scheme: Scheme,
    /// Whether it has the new hash key.
    pub key_replaced: bool,
    /// Whether it claims in the order in which all others do.
    pub sorts: bool,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The transaction goes on.
    GoesOn,
    /// It is rolled back, and runs again.
    RunsAgain,
    /// Its hash key is no longer the registered one: the loader that runs it stops.
    Stops,
}

impl Transaction {
    /// Whether it keeps this from others.
    pub fn holds(&self, lock: Lock) -> bool {
        match lock {
            Lock::Letter(claim) => self.letters.has(claim),
            Lock::Message(claim) => self.messages.has(claim),
            Lock::Identity(identity) => self.owners[identity].is_some(),
        }
    }
}

/// Most of the time most lanes have none: half of a run would be spent on hashing empty ones.
impl Hash for Attempt {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { stage, todo, batch, old, new, old_keys, unowned, transaction } = self;
        let is_none = *self == Self::default();
        is_none.hash(state);
        if !is_none {
            (stage, todo, batch, old, new, old_keys, unowned, transaction).hash(state);
        }
    }
}

impl Attempt {
    /// A transaction that begins with the first of its stages.
    pub fn new(client: &Client<'_>, batch: Set, old: Set) -> Self {
        let mut attempt = Self { batch, old, ..Self::default() };
        if client.replays {
            attempt.enter(Stage::Letters, batch);
        } else if !client.resumes.is_empty() && !client.world.has(Mutant::RequeueLocksLettersLast) {
            attempt.enter(Stage::Letters, client.resumes);
        } else if client.world.has(Mutant::KeysBeforeMessages) {
            attempt.enter(Stage::Keys, client.keys(client.candidates(&attempt)));
            if attempt.todo.is_empty() {
                attempt.enter(Stage::Messages, batch);
            }
        } else {
            attempt.enter(Stage::Messages, batch);
        }
        attempt
    }

    /// What it takes next, if it takes anything.
    pub fn next_lock(&self, sorts: bool) -> Option<Lock> {
        let next = if sorts { self.todo.first() } else { self.todo.last() };
        match self.stage {
            Stage::Letters => next.map(Lock::Letter),
            Stage::Messages => next.map(Lock::Message),
            Stage::Keys => next.map(Lock::Identity),
            Stage::Begin | Stage::Owners | Stage::Record => None,
        }
    }

    /// The messages that a twin in the same batch absorbs.
    pub fn absorbed_by_twins(&self) -> impl Iterator<Item = Claim> {
        self.new.iter().filter(|claim| match self.transaction.outcomes[*claim] {
            Outcome::Absorbed(owner) => self.new.iter().any(|twin| message_of(twin) == owner.message()),
            _ => false,
        })
    }

    fn enter(&mut self, stage: Stage, todo: Set) {
        self.stage = stage;
        self.todo = todo;
    }
}

impl Client<'_> {
    /// Takes the next claim or lock, for which nobody must wait any more; or, after the last, reads the owners.
    /// `uncommitted` is what a dirty read would see.
    pub fn step(&self, attempt: &mut Attempt, database: &Database, uncommitted: &Owners) -> Progress {
        let Some(lock) = attempt.next_lock(self.sorts) else {
            return self.decide(attempt, database, uncommitted);
        };
        match lock {
            Lock::Letter(claim) => {
                attempt.todo -= Set::of(claim);
                let is_open = database.record(claim).letter == Letter::Open;
                if is_open && (self.replays || !self.world.has(Mutant::RequeueAsNew)) {
                    attempt.transaction.letters |= Set::of(claim);
                }
                if attempt.todo.is_empty() && !self.locks_letters_last() {
                    let messages = if self.replays { attempt.transaction.letters } else { attempt.batch };
                    attempt.enter(Stage::Messages, messages);
                }
            }
            Lock::Message(claim) => {
                attempt.todo -= Set::of(claim);
                if self.is_for_the_taking(attempt, claim, database) {
                    attempt.transaction.messages |= Set::of(claim);
                    attempt.new |= Set::of(claim);
                }
            }
            Lock::Identity(identity) => {
                if self.key_replaced != database.key_replaced && !self.world.has(Mutant::HashKeyNotChecked) {
                    return Progress::Stops;
                }
                attempt.todo -= Set::of(identity);
                let mut carriers = self.candidates(attempt).iter().filter(|claim| self.key(*claim) == Some(identity));
                if database.owners[identity].or(uncommitted[identity]).is_none() {
                    attempt.transaction.owners[identity] = carriers.next().map(|claim| Owner::of(message_of(claim)));
                }
            }
        }
        if attempt.todo.is_empty() { self.after(attempt, database, uncommitted) } else { Progress::GoesOn }
    }

    /// Whether it has claimed, under its own time, a message that is older than the horizon, which it reads after the claims:
    /// what stood there may be gone. The claim of an open letter that it takes stood there.
    pub fn has_claimed_what_is_old(&self, attempt: &Attempt, database: &Database) -> bool {
        let is_old = |claim: Claim| claim >= MESSAGES && self.world.is_old(message_of(claim), database.horizon);
        let looks = !self.replays && !self.world.has(Mutant::HorizonReadBeforeClaims);
        let claimed = attempt.new - attempt.transaction.letters;
        looks && claimed.iter().any(is_old)
    }

    /// The logins that it would load under keys which may have been removed: the horizon is read after the claims, for which
    /// retention waits before it removes any.
    fn with_old_keys(&self, attempt: &Attempt, database: &Database) -> Set {
        let blind = match self.replays {
            true => self.world.has(Mutant::ReplayUnderOldKeys),
            false => self.world.has(Mutant::OldKeysClaimed),
        };
        let is_old = |claim: &Claim| {
            let has_key = self.key(*claim).is_some();
            has_key && self.world.has_old_key(message_of(*claim), database.horizon)
        };
        (attempt.new & self.logins).iter().filter(|claim| !blind && is_old(claim)).collect()
    }

    /// A loader takes what nobody has recorded, a replay what is dead-lettered; and so does a loader where the letter is open
    /// and its message was sent back.
    fn is_for_the_taking(&self, attempt: &Attempt, claim: Claim, database: &Database) -> bool {
        let record = database.record(claim);
        let is_locked = attempt.transaction.letters.has(claim) || self.locks_letters_last();
        let any = self.world.has(Mutant::RequeueOfResolved) || self.world.has(Mutant::RequeueAsNew);
        let resumes = self.resumes.has(claim) && (is_locked || any);
        match self.replays || resumes && record.is_claimed() {
            true => record.claimed == Claimed::DeadLettered,
            false => !record.is_claimed() || self.world.has(Mutant::PreparedNotWaitedFor) && database.hides(claim),
        }
    }

    fn locks_letters_last(&self) -> bool {
        self.world.has(Mutant::RequeueLocksLettersLast) && !self.replays
    }

    fn after(&self, attempt: &mut Attempt, database: &Database, uncommitted: &Owners) -> Progress {
        if attempt.stage == Stage::Messages && self.has_claimed_what_is_old(attempt, database) {
            return Progress::RunsAgain;
        }
        if attempt.stage == Stage::Messages {
            attempt.old_keys = self.with_old_keys(attempt, database);
        }
        let keys_first = self.world.has(Mutant::KeysBeforeMessages) && !self.replays;
        match attempt.stage {
            Stage::Messages if self.locks_letters_last() && (attempt.new & self.resumes).first().is_some() => {
                attempt.enter(Stage::Letters, attempt.new & self.resumes);
                return Progress::GoesOn;
            }
            Stage::Messages | Stage::Letters if !keys_first => {
                attempt.enter(Stage::Keys, self.keys(self.candidates(attempt)));
            }
            Stage::Keys if keys_first => attempt.enter(Stage::Messages, attempt.batch),
            Stage::Messages | Stage::Keys => attempt.enter(Stage::Owners, Set::default()),
            Stage::Begin | Stage::Letters | Stage::Owners | Stage::Record => {}
        }
        if attempt.stage == Stage::Keys && self.world.has(Mutant::OwnerReadBeforeTheWait) {
            attempt.unowned = attempt.todo.iter().filter(|identity| database.owners[*identity].is_none()).collect();
        }
        if attempt.stage == Stage::Keys && attempt.todo.is_empty() {
            attempt.enter(Stage::Owners, Set::default());
        }
        if attempt.stage == Stage::Owners && self.got_every_key(attempt) {
            return self.decide(attempt, database, uncommitted);
        }
        Progress::GoesOn
    }

    /// Whether as many identities came back as were given: then there is no owner to read.
    fn got_every_key(&self, attempt: &Attempt) -> bool {
        (attempt.new & (self.logins - attempt.old_keys)).iter().all(|claim| {
            let owner = self.key(claim).map(|key| attempt.transaction.owners[key]);
            owner.is_none_or(|owner| owner == Some(Owner::of(message_of(claim))))
        })
    }

    /// The owner decides about each message that is new, read in a statement after the claims.
    fn decide(&self, attempt: &mut Attempt, database: &Database, uncommitted: &Owners) -> Progress {
        for claim in attempt.new.iter() {
            let Some(outcome) = self.outcome(attempt, claim, database, uncommitted) else { return Progress::RunsAgain };
            let transaction = &mut attempt.transaction;
            transaction.outcomes[claim] = outcome;
            let stands = self.world.shows(crate::world::Quirk::RowsAreUnique) && database.record(claim).rows > 0;
            if outcome == Outcome::Loaded && !stands {
                transaction.rows |= Set::of(claim);
                transaction.events |= Set::of(claim);
            }
        }
        if self.world.has(Mutant::EventsInLaterTransaction) && !self.replays {
            attempt.transaction.events = Set::default();
        }
        attempt.enter(Stage::Record, Set::default());
        Progress::GoesOn
    }

    /// Me, then I am loaded; another, then I am absorbed or contradict it; nobody any more, then all runs again.
    fn outcome(&self, attempt: &Attempt, claim: Claim, database: &Database, uncommitted: &Owners) -> Option<Outcome> {
        if !self.logins.has(claim) {
            let reason = if attempt.old.has(claim) { Reason::OlderThanMemory } else { Reason::Refused };
            return Some(Outcome::DeadLettered(reason));
        }
        let Some(identity) = self.key(claim) else { return Some(Outcome::Loaded) };
        if attempt.old_keys.has(claim) {
            let stays = self.replays || attempt.transaction.letters.has(claim);
            return Some(if stays { Outcome::None } else { Outcome::DeadLettered(Reason::OlderThanMemory) });
        }
        let (me, mine) = (message_of(claim), attempt.transaction.owners[identity]);
        let is_free = mine.is_none() && attempt.unowned.has(identity);
        if is_free || self.world.has(Mutant::OwnerNotRead) && mine.is_some() {
            return Some(Outcome::Loaded);
        }
        let owner = match self.leader(attempt, claim) {
            Some(leader) if leader != claim => message_of(leader),
            _ => mine.or(database.owners[identity]).or(uncommitted[identity])?.message(),
        };
        let is_mine = owner == me && !(self.world.has(Mutant::SelfTakenForAnother) && mine.is_none());
        let is_same = self.world.is_same_login(owner, me) || self.world.has(Mutant::KeyAbsorbsAnyLogin);
        Some(match (is_mine, is_same) {
            (true, _) => Outcome::Loaded,
            (false, true) if self.world.has(Mutant::AbsorbedInOneStatement) => Outcome::LoadedWithoutRow,
            (false, true) => Outcome::Absorbed(Owner::of(owner)),
            (false, false) if self.replays || attempt.transaction.letters.has(claim) => Outcome::None,
            (false, false) => Outcome::DeadLettered(Reason::Contradicts),
        })
    }

    /// Whose keys it claims: those of the new logins, and of no other message.
    fn candidates(&self, attempt: &Attempt) -> Set {
        let all = self.world.has(Mutant::KeysOfAllMessages) || self.world.has(Mutant::KeysBeforeMessages);
        if all && !self.replays {
            return attempt.batch & self.logins;
        }
        if self.world.has(Mutant::LetterKeepsIdentity) {
            let decodes = |claim: &Claim| self.world.sent[message_of(*claim)].body == crate::world::Body::Refused;
            return (attempt.new & self.logins) | attempt.new.iter().filter(decodes).collect();
        }
        let leads = |claim: &Claim| self.leader(attempt, *claim).is_none_or(|leader| leader == *claim);
        (attempt.new & (self.logins - attempt.old_keys)).iter().filter(leads).collect()
    }

    /// The first message of a batch with the same key, new or not: what a mutant groups by.
    fn leader(&self, attempt: &Attempt, claim: Claim) -> Option<Claim> {
        let groups = self.world.has(Mutant::TwinsGroupedBeforeClaims) && !self.replays;
        let mut logins = groups.then(|| attempt.batch & self.logins).into_iter().flat_map(Set::iter);
        logins.find(|twin| self.key(*twin) == self.key(claim))
    }

    fn keys(&self, claims: Set) -> Set {
        claims.iter().filter_map(|claim| self.key(claim)).collect()
    }

    fn key(&self, claim: Claim) -> Option<Identity> {
        self.world.identity(message_of(claim), self.scheme, self.key_replaced)
    }
}

/// What a dirty read of `identities` would see.
pub fn uncommitted<'t>(transactions: impl Iterator<Item = &'t Transaction>) -> Owners {
    transactions.fold([None; IDENTITIES], |mut seen, transaction| {
        for (owner, new) in seen.iter_mut().zip(transaction.owners) {
            *owner = owner.or(new);
        }
        seen
    })
}
