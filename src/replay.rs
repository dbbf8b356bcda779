//! Dead letters through decode, mask and load again, under the hashes that they had.
//!
//! A letter becomes a login when what refused it has changed: the rules of decode, the database's own constraints, or
//! the identity that the messages were asked for (a replayed letter keeps its hash, whatever its body names).
//!
//! Each chunk of letters is one transaction that locks them first. Whoever replays the same letters meanwhile waits,
//! and finds them no longer open; after a crash they are open, or replayed with all that belongs to it.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use crate::batch::LoginRow;
use crate::database::{Database, DatabaseError, Transaction};
use crate::decode::decode;
use crate::failpoint::{Step, around};
use crate::login::MaskedLogin;
use crate::mask::Masker;
use crate::message::MessageHash;
use crate::retry::{Class, Pauses};
use crate::seal::BodyOpener;
use crate::table::dead_letters::{self, Filter, Sealed, Status};
use crate::table::{outbox, processed_messages, user_logins};

/// How many letters are replayed in one transaction. It bounds memory: a body is at most 1 MiB, and stands there twice
/// (as it came over the wire, and sealed), so a chunk takes at most 200 MiB.
const CHUNK: u64 = 100;

/// How often a transaction is tried: half a minute of pauses in all.
/// Somebody waits for the answer, and may type the command again.
const ATTEMPTS: u32 = 10;

/// Replays dead letters.
pub struct Replay {
    /// Where they are, and where their logins go.
    pub database: Database,
    /// Opens their bodies.
    pub opener: BodyOpener,
    /// Masks their logins.
    pub masker: Masker,
    /// Who replays them: written to each one, after the database role's name.
    pub by: String,
    /// Whether only to say what would be: then nothing is written, and what the database itself would refuse is not
    /// found.
    pub dry_run: bool,
}

/// What became of the letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Letters whose logins are loaded now; in a dry run, those that would be.
    pub replayed: u64,
    /// Letters that stay open, by what stands in their way.
    pub open: BTreeMap<Obstacle, u64>,
    /// Letters that were resolved between being found and being locked: by somebody else, or by this replay in a commit
    /// whose answer was lost.
    pub no_longer_open: u64,
}

/// Why a letter stays open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// Its body is no login still; the code of the rejection.
    Rejected(&'static str),
    /// Its body cannot be opened.
    Sealed(String),
    /// The database refuses its row; the SQLSTATE.
    Refused(String),
    /// `processed_messages` does not record it as dead-lettered.
    Unclaimed,
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
        }
    }
}

impl Report {
    /// How many letters were looked at.
    pub fn seen(&self) -> u64 {
        self.replayed + self.stay_open() + self.no_longer_open
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
        self.no_longer_open += other.no_longer_open;
        for (obstacle, letters) in other.open {
            *self.open.entry(obstacle).or_default() += letters;
        }
    }
}

/// The replay did not come to its end. What the report says holds.
#[derive(Debug, thiserror::Error)]
#[error("the replay stopped: {error}")]
pub struct Stopped {
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
    /// [`Stopped`]
    pub async fn run(&self, filter: &Filter, limit: u64, mut progress: impl FnMut(&Report)) -> Result<Report, Stopped> {
        let mut report = Report::default();
        match self.go_through(filter, limit, &mut report, &mut progress).await {
            Ok(()) => Ok(report),
            Err(error) => Err(Stopped { report: Box::new(report), error }),
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
        let mut after = None;
        while report.replayed < limit {
            let most = CHUNK.min(limit - report.replayed);
            let chunk = persist(async || find(&self.database, &open, after, most).await).await?;
            let Some(last) = chunk.last() else { break };
            after = Some(*last);
            match self.dry_run {
                true => report.add(persist(async || self.rehearse(&chunk).await).await?),
                false => self.replay(chunk, report).await?,
            }
            progress(report);
        }
        Ok(())
    }

    /// `load` splits by the same rule; but it waits without end, may be told to give up, and writes what is refused
    /// as a dead letter, where here it is one and stays it.
    async fn replay(&self, chunk: Vec<MessageHash>, report: &mut Report) -> Result<(), DatabaseError> {
        let mut to_do = vec![chunk];
        while let Some(mut hashes) = to_do.pop() {
            let error = match persist(async || self.transact(&hashes).await).await {
                Ok(done) => {
                    report.add(done);
                    continue;
                }
                Err(error) if error.class() == Class::OfOneMessage => error,
                Err(error) => return Err(error),
            };
            match hashes.as_slice() {
                [hash] => {
                    tracing::warn!(%error, %hash, "the database refuses a row; its dead letter stays open");
                    report.keep_open(Obstacle::Refused(error.sqlstate().unwrap_or_default().to_owned()));
                }
                _ => {
                    let second = hashes.split_off(hashes.len() / 2);
                    to_do.extend([second, hashes]);
                }
            }
        }
        Ok(())
    }

    /// One transaction: all of it holds when this returns `Ok`, and none of it when it returns an error that is not
    /// ambiguous.
    async fn transact(&self, hashes: &[MessageHash]) -> Result<Report, DatabaseError> {
        let transaction = self.database.begin().await?;
        let loaded_again = self.load_again(&transaction, hashes).await;
        transaction.conclude(loaded_again).await
    }

    async fn load_again(&self, transaction: &Transaction, hashes: &[MessageHash]) -> Result<Report, DatabaseError> {
        let letters = around(Step::ReplayTake, dead_letters::take_open(transaction, hashes)).await?;
        let (mut logins, mut report) = self.read(&letters, hashes.len());
        if report.no_longer_open > 0 {
            transaction.rely_on_earlier_commits().await?;
        }
        let of_logins: Vec<_> = logins.iter().map(|(letter, _)| (letter.hash, letter.sent_at)).collect();
        let claimed = around(Step::ReplayClaim, processed_messages::mark_loaded(transaction, &of_logins)).await?;
        logins.retain(|(letter, _)| is_claimed(letter, &claimed, &mut report));

        let hashes: Vec<MessageHash> = logins.iter().map(|(letter, _)| letter.hash).collect();
        let mut rows: Vec<LoginRow<'_>> = logins.iter().map(|(letter, login)| login_row(letter, login)).collect();
        let new = around(Step::Rows, user_logins::insert(transaction, &rows)).await?;
        rows.retain(|row| new.contains(&row.hash));
        around(Step::Events, outbox::insert(transaction, &rows)).await?;
        let resolving = dead_letters::resolve(transaction, &hashes, Status::Replayed, &self.by);
        around(Step::ReplayResolve, resolving).await?;
        report.replayed = hashes.len() as u64;
        Ok(report)
    }

    async fn rehearse(&self, hashes: &[MessageHash]) -> Result<Report, DatabaseError> {
        let snapshot = self.database.begin_snapshot().await?;
        let letters = dead_letters::read_open(&snapshot, hashes).await?;
        snapshot.rollback().await?;
        let (logins, mut report) = self.read(&letters, hashes.len());
        report.replayed = logins.len() as u64;
        Ok(report)
    }

    /// The letters that are logins now, and a report of those that are not. No clear value outlives this.
    fn read<'l>(&self, letters: &'l [Sealed], of: usize) -> (Vec<(&'l Sealed, MaskedLogin)>, Report) {
        let mut report = Report { no_longer_open: (of - letters.len()) as u64, ..Report::default() };
        let mut logins = Vec::with_capacity(letters.len());
        for letter in letters {
            let opened = self.opener.open(&letter.body).map_err(|error| Obstacle::Sealed(error.to_string()));
            let decoded =
                opened.and_then(|body| decode(&body).map_err(|rejection| Obstacle::Rejected(rejection.code())));
            match decoded {
                Ok(decoded) => logins.push((letter, self.masker.mask(decoded.login))),
                Err(obstacle) => report.keep_open(obstacle),
            }
        }
        (logins, report)
    }
}

async fn find(
    database: &Database,
    filter: &Filter,
    after: Option<MessageHash>,
    most: u64,
) -> Result<Vec<MessageHash>, DatabaseError> {
    let snapshot = database.begin_snapshot().await?;
    let found = dead_letters::next(&snapshot, filter, after, most).await?;
    snapshot.rollback().await?;
    Ok(found)
}

fn is_claimed(letter: &Sealed, claimed: &HashSet<MessageHash>, report: &mut Report) -> bool {
    let is_claimed = claimed.contains(&letter.hash);
    if !is_claimed {
        tracing::warn!(hash = %letter.hash, "a dead letter stays open: {}", Obstacle::Unclaimed);
        report.keep_open(Obstacle::Unclaimed);
    }
    is_claimed
}

fn login_row<'l>(letter: &Sealed, login: &'l MaskedLogin) -> LoginRow<'l> {
    LoginRow { hash: letter.hash, sent_at: letter.sent_at, login }
}

/// Resolves those of the letters that are open as worth nothing, all of them or none, and gives back which they were.
/// Their messages stay recorded as dead-lettered.
///
/// # Errors
///
/// [`DatabaseError`], after half a minute if it might pass.
pub async fn discard(database: &Database, hashes: &[MessageHash], by: &str) -> Result<Vec<MessageHash>, DatabaseError> {
    persist(async || {
        let transaction = database.begin().await?;
        let letters = dead_letters::take_open(&transaction, hashes).await?;
        let open: Vec<MessageHash> = letters.iter().map(|letter| letter.hash).collect();
        dead_letters::resolve(&transaction, &open, Status::Discarded, by).await?;
        transaction.commit().await.map(|()| open)
    })
    .await
}

/// Runs an attempt again while its failure would pass or its commit is ambiguous, up to [`ATTEMPTS`] times.
async fn persist<T>(attempt: impl AsyncFn() -> Result<T, DatabaseError>) -> Result<T, DatabaseError> {
    let mut pauses = Pauses::through_an_outage();
    for _ in 1..ATTEMPTS {
        match attempt().await {
            Err(error) if matches!(error.class(), Class::Transient | Class::Ambiguous) => {
                tracing::warn!(%error, class = ?error.class(), "the transaction runs again");
                tokio::time::sleep(pauses.next_pause()).await;
            }
            outcome => return outcome,
        }
    }
    attempt().await
}
