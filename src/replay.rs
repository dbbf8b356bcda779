//! Dead letters through decode, mask and load again, under the hashes that they had.
//!
//! A letter becomes a login when what refused it has changed: the rules of decode, or the database's own constraints. Its
//! login claims its key as it does in a loader, under the scheme that is recorded for its queue, and the owner of the key
//! decides: another message may have brought it meanwhile.
//!
//! Each chunk of letters is one transaction that locks them all first. Others that replay or discard meanwhile wait, and
//! find them no longer open; after a crash they are open, or replayed with all that belongs to it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use crate::batch::LoginRow;
use crate::database::{Database, DatabaseError, Patience, Transaction, persist};
use crate::decode::{Form, Rejection};
use crate::failpoint::{Step, around};
use crate::login::MaskedLogin;
use crate::mask::Masker;
use crate::message::{Identifier, MessageKey, QueueIdentity};
use crate::retry::Class;
use crate::seal::{BodyOpener, HashKey};
use crate::table::dead_letters::{self, Filter, Sealed, Status};
use crate::table::operator_actions::{self, Said};
use crate::table::{identities, outbox, processed_messages, queues, user_logins};
use crate::verdict::LoginIdentity;

/// How many letters are replayed in one transaction. It bounds memory: a body is at most 1 MiB, and stands there twice
/// (as it came over the wire, and sealed), so a chunk takes at most 200 MiB.
const CHUNK: u64 = 100;

/// How often a transaction is tried.
const PATIENCE: Patience = Patience::WHILE_SOMEBODY_WAITS;

/// How often letters wait or take too long before they are tried in two halves.
const CONTENDED_BEFORE_SPLIT: u32 = 2;

/// Replays dead letters.
pub struct Replay {
    /// Where they are, and where their logins go.
    pub database: Database,
    /// Opens their bodies.
    pub opener: BodyOpener,
    /// Hashes their logins and the keys of these.
    pub hash_key: Arc<HashKey>,
    /// What their bodies are.
    pub form: Form,
    /// Masks their logins.
    pub masker: Masker,
    /// Whether to load letters of messages that are older than what the tables remember: they may have been loaded before.
    pub force: bool,
    /// Who replays them, and why.
    pub said: Said,
    /// Whether only to say what would be: then nothing is loaded, and what the database itself would refuse is not found.
    pub dry_run: bool,
}

/// What became of the letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Letters whose logins are loaded now; in a dry run, those that would be.
    pub replayed: u64,
    /// Letters whose logins another message had brought: they are resolved, and nothing is loaded.
    pub absorbed: u64,
    /// Letters that stay open, by what stands in their way.
    pub open: BTreeMap<Obstacle, u64>,
    /// Letters that were resolved between being found and being locked: by somebody else, or by this replay in a commit
    /// whose answer was lost.
    pub no_longer_open: u64,
}

/// Why a letter stays open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// Its body is not a login still; the code of the rejection.
    Rejected(&'static str),
    /// Its body cannot be opened.
    Sealed(String),
    /// The database refuses its row; the SQLSTATE.
    Refused(String),
    /// `processed_messages` does not record it as dead-lettered.
    Unclaimed,
    /// Another login was loaded under its key.
    IdentityTaken,
    /// No loader has told the database by what keys the logins of its queue are known.
    UnknownQueue,
    /// Its message is older than what the tables remember.
    OlderThanMemory,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(code) => f.write_str(code),
            Self::Sealed(why) => write!(f, "its body does not open: {why}"),
            Self::Refused(sqlstate) => write!(f, "the database refuses its row with SQLSTATE {sqlstate}"),
            Self::Unclaimed => {
                f.write_str("processed_messages does not record it as dead-lettered (see turnstile audit)")
            }
            Self::IdentityTaken => f.write_str("identity_taken: another login was loaded under its key"),
            Self::UnknownQueue => f.write_str("its queue is not recorded in queues: start a loader of it once"),
            Self::OlderThanMemory => {
                f.write_str("older_than_memory: it may have been loaded before; --force loads it all the same")
            }
        }
    }
}

impl Report {
    /// How many letters were looked at.
    pub fn seen(&self) -> u64 {
        self.replayed + self.absorbed + self.stay_open() + self.no_longer_open
    }

    /// How many letters stay open.
    pub fn stay_open(&self) -> u64 {
        self.open.values().sum()
    }

    fn keep_open(&mut self, obstacle: Obstacle) {
        *self.open.entry(obstacle).or_default() += 1;
    }

    fn add(&mut self, other: Self) {
        self.replayed += other.replayed;
        self.absorbed += other.absorbed;
        self.no_longer_open += other.no_longer_open;
        for (obstacle, letters) in other.open {
            *self.open.entry(obstacle).or_default() += letters;
        }
    }
}

/// The replay did not come to its end. What the report says holds.
#[derive(Debug, thiserror::Error)]
#[error("the replay stopped: {error}")]
pub struct Unfinished {
    /// What became of the letters before.
    pub report: Box<Report>,
    /// What the database said.
    #[source]
    pub error: DatabaseError,
}

impl Replay {
    /// Goes through the open letters that match, in the order of their hashes, until none is left or `limit` of them
    /// are replayed. `progress` is told after each chunk.
    ///
    /// A row that the database refuses is found by splitting its chunk, so that its neighbours land. A failure that
    /// passes, and a commit that may or may not hold, make the same transaction run again, for about half a minute.
    ///
    /// # Errors
    ///
    /// [`Unfinished`]
    pub async fn run(
        &self,
        filter: &Filter,
        limit: u64,
        mut progress: impl FnMut(&Report),
    ) -> Result<Report, Unfinished> {
        let mut report = Report::default();
        match self.go_through(filter, limit, &mut report, &mut progress).await {
            Ok(()) => Ok(report),
            Err(error) => Err(Unfinished { report: Box::new(report), error }),
        }
    }

    async fn go_through(
        &self,
        filter: &Filter,
        limit: u64,
        report: &mut Report,
        progress: &mut impl FnMut(&Report),
    ) -> Result<(), DatabaseError> {
        let open = Filter { status: Some(Status::Open), ..filter.clone() };
        let identifiers = persist(PATIENCE, || self.identifiers()).await?;
        let mut after = None;
        while report.replayed < limit {
            let most = CHUNK.min(limit - report.replayed);
            let chunk = persist(PATIENCE, || find(&self.database, &open, after, most)).await?;
            let Some(last) = chunk.last() else { break };
            after = Some(*last);
            match self.dry_run {
                true => report.add(persist(PATIENCE, || self.rehearse(&chunk, &identifiers)).await?),
                false => self.replay(chunk, &identifiers, report).await?,
            }
            progress(report);
        }
        Ok(())
    }

    /// What makes the hashes of each queue's logins, by the scheme that is recorded for it.
    async fn identifiers(&self) -> Result<Identifiers, DatabaseError> {
        let queues = self.database.snapshot(queues::read_all).await?;
        let identifier = |(queue, record): (QueueIdentity, queues::QueueRecord)| {
            let identifier = self.hash_key.identifier(record.scheme, &queue);
            (queue, identifier)
        };
        Ok(queues.into_iter().map(identifier).collect())
    }

    /// A loader splits by the same rule; but it waits without end, may be told to give up, and writes what is refused
    /// as a dead letter, where here it is one and stays it.
    async fn replay(
        &self,
        chunk: Vec<MessageKey>,
        identifiers: &Identifiers,
        report: &mut Report,
    ) -> Result<(), DatabaseError> {
        let mut to_do = vec![chunk];
        while let Some(mut keys) = to_do.pop() {
            let contended = if keys.len() > 1 { CONTENDED_BEFORE_SPLIT } else { PATIENCE.contended };
            let patience = Patience { contended, ..PATIENCE };
            let error = match persist(patience, || self.transact(&keys, identifiers)).await {
                Ok(done) => {
                    report.add(done);
                    continue;
                }
                Err(error) if error.class() == Class::OfTheRows => error,
                // Fewer at once take less time, and wait for fewer.
                Err(error) if error.class() == Class::Contended && keys.len() > 1 => error,
                Err(error) => return Err(error),
            };
            match keys.as_slice() {
                [key] => {
                    tracing::warn!(%error, hash = %key.hash, "the database refuses a row; its dead letter stays open");
                    report.keep_open(Obstacle::Refused(error.sqlstate().unwrap_or("02000").to_owned()));
                }
                _ => {
                    let second = keys.split_off(keys.len() / 2);
                    to_do.extend([second, keys]);
                }
            }
        }
        Ok(())
    }

    /// One transaction: all of it holds when this returns `Ok`, and none of it when it returns an error that is not
    /// ambiguous.
    async fn transact(&self, keys: &[MessageKey], identifiers: &Identifiers) -> Result<Report, DatabaseError> {
        let load_again = async |transaction: &Transaction| self.load_again(transaction, keys, identifiers).await;
        self.database.transaction(load_again).await
    }

    async fn load_again(
        &self,
        transaction: &Transaction,
        keys: &[MessageKey],
        identifiers: &Identifiers,
    ) -> Result<Report, DatabaseError> {
        let letters = around(Step::ReplayTake, self.take(transaction, keys)).await?;
        let (mut logins, mut report) = self.read(&letters, keys.len(), identifiers);
        if report.no_longer_open > 0 {
            transaction.rely_on_earlier_commits().await?;
        }
        let of_logins: Vec<MessageKey> = logins.iter().map(|login| login.letter.key).collect();
        let claimed = around(Step::ReplayClaim, processed_messages::mark_loaded(transaction, &of_logins)).await?;
        logins.retain(|login| is_claimed(login.letter, &claimed, &mut report));

        let absorbed = self.decide(transaction, &mut logins, &mut report).await?;
        let keys: Vec<MessageKey> = logins.iter().map(|login| login.letter.key).collect();
        let rows: Vec<LoginRow<'_>> = logins.iter().map(LoginAgain::row).collect();
        let new = around(Step::Rows, user_logins::insert(transaction, &rows)).await?;
        let rows: Vec<LoginRow<'_>> = rows.into_iter().filter(|row| new.contains(&row.key)).collect();
        around(Step::Events, outbox::insert(transaction, &rows)).await?;
        let resolving = async {
            dead_letters::set_status(transaction, &keys, Status::Open, Status::Replayed).await?;
            dead_letters::set_status(transaction, &absorbed, Status::Open, Status::Absorbed).await
        };
        around(Step::ReplayResolve, resolving).await?;
        report.replayed = keys.len() as u64;
        report.absorbed = absorbed.len() as u64;
        Ok(report)
    }

    /// Claims the keys of the logins, and keeps those that own theirs. Gives back the letters whose login another message
    /// brought; those that contradict another login stay open.
    async fn decide(
        &self,
        transaction: &Transaction,
        logins: &mut Vec<LoginAgain<'_>>,
        report: &mut Report,
    ) -> Result<Vec<MessageKey>, DatabaseError> {
        let wanted: Vec<(MessageKey, LoginIdentity)> =
            logins.iter().filter_map(|login| Some((login.letter.key, login.identity?))).collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let claiming = identities::claim(transaction, self.hash_key.check_value(), &wanted);
        let owners = around(Step::Identities, claiming).await?;
        let (mut absorbed, mut contradicting) = (Vec::new(), Vec::new());
        logins.retain(|LoginAgain { letter, identity, .. }| {
            let Some((identity, owner)) = identity.and_then(|one| Some((one, owners.get(&one.hash)?))) else {
                return true;
            };
            match (owner.message == letter.key, owner.login == identity.login) {
                (true, _) => return true,
                (false, true) => absorbed.push((letter.key, owner.message)),
                (false, false) => contradicting.push(letter.key),
            }
            false
        });
        processed_messages::correct(transaction, &absorbed, &contradicting).await?;
        contradicting.iter().for_each(|_| report.keep_open(Obstacle::IdentityTaken));
        Ok(absorbed.into_iter().map(|(key, _)| key).collect())
    }

    /// Locks the letters, and reads those that are open.
    async fn take(&self, transaction: &Transaction, keys: &[MessageKey]) -> Result<Vec<Sealed>, DatabaseError> {
        dead_letters::lock(transaction).await?;
        operator_actions::say(transaction, &self.said).await?;
        dead_letters::take_open(transaction, keys).await
    }

    /// That the letters are read is noted all the same.
    async fn rehearse(&self, keys: &[MessageKey], identifiers: &Identifiers) -> Result<Report, DatabaseError> {
        let letters = self.database.transaction(async |transaction| {
            operator_actions::say(transaction, &self.said).await?;
            dead_letters::take_open(transaction, keys).await
        });
        let letters = letters.await?;
        let (logins, mut report) = self.read(&letters, keys.len(), identifiers);
        report.replayed = logins.len() as u64;
        Ok(report)
    }

    /// The letters that are logins now, and a report of those that are not. No clear value outlives this.
    fn read<'l>(&self, letters: &'l [Sealed], of: usize, identifiers: &Identifiers) -> (Vec<LoginAgain<'l>>, Report) {
        let mut report = Report { no_longer_open: (of - letters.len()) as u64, ..Report::default() };
        let mut logins = Vec::with_capacity(letters.len());
        for letter in letters {
            match self.read_one(letter, identifiers) {
                Ok(login) => logins.push(login),
                Err(obstacle) => report.keep_open(obstacle),
            }
        }
        (logins, report)
    }

    fn read_one<'l>(&self, letter: &'l Sealed, identifiers: &Identifiers) -> Result<LoginAgain<'l>, Obstacle> {
        if letter.code == Rejection::OlderThanMemory.code() && !self.force {
            return Err(Obstacle::OlderThanMemory);
        }
        let identifier = identifiers.get(&letter.queue).ok_or(Obstacle::UnknownQueue)?;
        let opened = self.opener.open(letter.key.hash, &letter.body);
        let (body, attributes) = opened.map_err(|error| Obstacle::Sealed(error.to_string()))?;
        let rejected = |rejection: Rejection| Obstacle::Rejected(rejection.code());
        let login = self.form.read(self.masker.stream(), &body).map_err(rejected)?.login;
        let key = identifier.key(&body, &attributes).map_err(|missing| rejected(missing.into()))?;
        let identity = key.map(|hash| LoginIdentity { hash, login: identifier.login(&login) });
        Ok(LoginAgain { letter, identity, login: self.masker.mask(login) })
    }
}

/// What makes the hashes of each queue's logins.
type Identifiers = HashMap<QueueIdentity, Identifier>;

/// A letter that is a login now.
struct LoginAgain<'l> {
    letter: &'l Sealed,
    identity: Option<LoginIdentity>,
    login: MaskedLogin,
}

impl LoginAgain<'_> {
    fn row(&self) -> LoginRow<'_> {
        LoginRow { key: self.letter.key, sent_at: self.letter.sent_at, login: &self.login, origin: None }
    }
}

async fn find(
    database: &Database,
    filter: &Filter,
    after: Option<MessageKey>,
    most: u64,
) -> Result<Vec<MessageKey>, DatabaseError> {
    database.snapshot(async |seen| dead_letters::next(seen, filter, after, most).await).await
}

fn is_claimed(letter: &Sealed, claimed: &HashSet<MessageKey>, report: &mut Report) -> bool {
    let is_claimed = claimed.contains(&letter.key);
    if !is_claimed {
        tracing::warn!(hash = %letter.key.hash, "a dead letter stays open: {}", Obstacle::Unclaimed);
        report.keep_open(Obstacle::Unclaimed);
    }
    is_claimed
}
