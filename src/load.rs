//! The one transaction: claims, rows, dead letters and events, or nothing.

#[cfg(feature = "failpoints")]
mod mutants;

use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::batch::{Batch, DeadLetterRow, Entry, LoginRow, Split};
use crate::database::{Database, DatabaseError, Transaction};
use crate::decode::Rejection;
use crate::failpoint::{Step, around};
use crate::message::Delivery;
use crate::retry::{Class, Pauses};
use crate::table::processed_messages::{Claimed, Repeats};
use crate::table::{dead_letters, outbox, processed_messages, user_logins};

/// How often in a row a batch may take longer than a call to the database may, before it is split: what is too much
/// for the server at once would be too much for ever.
const OVERRUNS_OF_A_LARGE_BATCH: u32 = 3;

/// Deliveries whose messages are recorded, for good: PostgreSQL said so after the commit.
///
/// Only [`load`] makes one, and [`acknowledge`](crate::acknowledge::acknowledge) takes it by value. Deleting without
/// it does not compile:
///
/// ```compile_fail,E0451
/// use turnstile::load::Committed;
///
/// let never_loaded = Committed { deliveries: Vec::new() };
/// ```
///
/// ```compile_fail,E0308
/// # use turnstile::acknowledge::{Deletes, acknowledge};
/// async fn deletes_before_the_commit(queue: &turnstile::queue::sqs::SqsQueue, received: Vec<turnstile::message::Delivery>, deletes: &Deletes) {
///     acknowledge(queue, received, deletes).await;
/// }
/// ```
#[must_use = "what is not acknowledged is delivered again"]
pub struct Committed {
    deliveries: Vec<Delivery>,
}

impl Committed {
    /// Gives up the proof for what it proves.
    pub fn into_deliveries(self) -> Vec<Delivery> {
        self.deliveries
    }
}

/// How a batch ended.
pub struct Loaded {
    /// Everything that is recorded.
    pub committed: Committed,
    /// Deliveries of rows that the database refuses, with attempts left.
    pub returned: Vec<Delivery>,
    /// When the logins that were loaded now had been sent.
    pub sent_at: Vec<OffsetDateTime>,
    /// What was counted.
    pub tally: Tally,
}

/// What committed transactions did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Logins loaded.
    pub loaded: u64,
    /// Messages dead-lettered.
    pub dead_lettered: u64,
    /// Messages that were claimed before, by how they relate to the claim.
    pub repeats: Repeats,
    /// Deliveries beyond the first of one message in one batch.
    pub repeated_in_batch: u64,
    /// Transactions that were run again: the failure would pass, or the commit was ambiguous.
    pub attempts_repeated: u64,
}

impl Tally {
    /// Deliveries that brought nothing new.
    pub fn duplicates(&self) -> u64 {
        let Repeats { redelivered, resent, contradicting } = self.repeats;
        redelivered + resent + contradicting + self.repeated_in_batch
    }

    fn add(&mut self, other: Self) {
        self.loaded += other.loaded;
        self.dead_lettered += other.dead_lettered;
        self.repeats.redelivered += other.repeats.redelivered;
        self.repeats.resent += other.repeats.resent;
        self.repeats.contradicting += other.repeats.contradicting;
        self.repeated_in_batch += other.repeated_in_batch;
        self.attempts_repeated += other.attempts_repeated;
    }
}

/// Why a batch was not loaded to its end. Nothing of it may be acknowledged; its messages come again.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No message is at fault and no pause helps.
    #[error("the database cannot be loaded into: {0}")]
    Stopped(DatabaseError),
    /// The loader was told to end while the database could not be reached.
    #[error("told to end before the database had recorded the batch")]
    GaveUp,
}

/// Loads a batch: every message of it ends as a row, as a dead letter, or in `returned`.
///
/// A failure that passes, and a commit that may or may not hold, make the same transaction run again, as often as it
/// takes or until `give_up`: the claim decides what is new (so that the logins of an ambiguous commit that did hold
/// are counted as redelivered). A batch that overruns its deadline again and again goes on in halves. A row that the
/// database refuses is found by splitting the batch, so that its neighbours land; it is returned while its receive
/// count is below `max_attempts`, and is dead-lettered then.
///
/// # Errors
///
/// [`LoadError`]
pub async fn load(
    database: &Database,
    batch: Batch,
    max_attempts: u32,
    give_up: &CancellationToken,
) -> Result<Loaded, LoadError> {
    let mut pauses = Pauses::through_an_outage();
    let mut loaded = Loaded {
        committed: Committed { deliveries: Vec::new() },
        returned: Vec::new(),
        sent_at: Vec::new(),
        tally: Tally::default(),
    };
    let mut overruns = 0;
    let mut to_do = vec![(batch, Way::Copy)];
    while let Some((batch, way)) = to_do.pop() {
        if batch.is_empty() {
            continue;
        }
        let begun = Instant::now();
        // Giving up in the middle is safe, even of a commit: nothing is acknowledged, and the claim decides later.
        let attempt = tokio::select! {
            biased;
            () = give_up.cancelled() => return Err(LoadError::GaveUp),
            attempt = transact(database, batch.entries(), way) => attempt,
        };
        let error = match attempt {
            Ok(recorded) => {
                pauses.reset();
                overruns = 0;
                loaded.take_in(batch, recorded);
                continue;
            }
            Err(error) => error,
        };
        #[cfg(feature = "failpoints")]
        let Some(batch) = mutants::react(&error, batch, way, &mut loaded, &mut to_do) else { continue };
        match error.class() {
            Class::Transient | Class::Ambiguous => {
                tracing::warn!(%error, class = ?error.class(), messages = batch.len(), "the transaction runs again");
                loaded.tally.attempts_repeated += 1;
                overruns = if error.is_overrun() { overruns + 1 } else { 0 };
                if overruns >= OVERRUNS_OF_A_LARGE_BATCH {
                    overruns = 0;
                    to_do.extend(batch.into_smaller().into_iter().map(|batch| (batch, way)));
                } else {
                    to_do.push((batch, way));
                }
                tokio::select! {
                    () = tokio::time::sleep(pauses.next_pause_after(begun.elapsed())) => {}
                    () = give_up.cancelled() => return Err(LoadError::GaveUp),
                }
            }
            Class::OfOneMessage | Class::OfTheSystem if way.may_be_refused(&error) => to_do.push((batch, Way::Insert)),
            Class::OfTheSystem => return Err(LoadError::Stopped(error)),
            Class::OfOneMessage => match batch.split() {
                Split::Halves(first, second) => to_do.extend([(second, way), (first, way)]),
                Split::One(entry) if entry.dead_letter_row().is_some() => return Err(LoadError::Stopped(error)),
                Split::One(entry) => match refused(*entry, &error, max_attempts) {
                    Refused::Returned(deliveries) => loaded.returned.extend(deliveries),
                    Refused::DeadLetter(letter) => to_do.push((Batch::of_one(*letter), way)),
                },
                Split::Nothing => {}
            },
        }
    }
    Ok(loaded)
}

impl Loaded {
    fn take_in(&mut self, batch: Batch, recorded: Recorded) {
        self.tally.add(recorded.tally);
        self.sent_at.extend(recorded.sent_at);
        for entry in batch.into_entries() {
            self.committed.deliveries.push(entry.delivery);
            self.committed.deliveries.extend(entry.repeats);
        }
    }
}

/// How a transaction writes its rows and events.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By COPY: a third of the cost, and all or nothing.
    Copy,
    /// By INSERT: leaves a row be that stands already, and is allowed under row-level security.
    Insert,
}

impl Way {
    /// Whether the other way may get through: a COPY fails with any data that is refused, a row that stands already
    /// included, and with 0A000 under row-level security. It takes its connection with it, so that what one row causes
    /// is looked for by INSERT.
    fn may_be_refused(self, error: &DatabaseError) -> bool {
        self == Self::Copy && (error.class() == Class::OfOneMessage || error.sqlstate() == Some("0A000"))
    }
}

enum Refused {
    Returned(Vec<Delivery>),
    DeadLetter(Box<Entry>),
}

/// Unlike a body that is no login, a login that the database refuses keeps its identity under every scheme.
fn refused(entry: Entry, error: &DatabaseError, max_attempts: u32) -> Refused {
    let rejection = Rejection::RefusedByDatabase {
        sqlstate: error.sqlstate().unwrap_or_default().to_owned(),
        constraint: error.constraint().map(str::to_owned),
    };
    tracing::warn!(%error, hash = %entry.hash, receive_count = entry.delivery.receive_count, "the database refuses a row");
    if entry.delivery.receive_count < max_attempts {
        return Refused::Returned(entry.deliveries().cloned().collect());
    }
    Refused::DeadLetter(Box::new(entry.rejected(rejection)))
}

/// What one committed transaction did.
struct Recorded {
    tally: Tally,
    /// When the logins that it loaded had been sent.
    sent_at: Vec<OffsetDateTime>,
}

/// The transaction itself: all of it holds when this returns `Ok`, and none of it when it returns an error that is
/// not ambiguous.
async fn transact(database: &Database, entries: &[Entry], way: Way) -> Result<Recorded, DatabaseError> {
    #[cfg(feature = "failpoints")]
    if let Some(recorded) = mutants::transact(database, entries, way).await {
        return recorded;
    }
    let transaction = database.begin().await?;
    let recorded = record(&transaction, entries, way).await;
    transaction.conclude(recorded).await
}

async fn record(transaction: &Transaction, entries: &[Entry], way: Way) -> Result<Recorded, DatabaseError> {
    let claiming = around(Step::Claim, processed_messages::claim(transaction, entries));
    let (claimed, taken) = futures_util::future::join(claiming, transaction.take_id()).await;
    let claimed = claimed?; // First: behind a failed claim the other one only says that the transaction is aborted.
    taken?;
    record_claimed(transaction, entries, &claimed, way).await
}

/// Inserts what was claimed, and compares the rest with the claims in its way.
async fn record_claimed(
    transaction: &Transaction,
    entries: &[Entry],
    claimed: &Claimed,
    way: Way,
) -> Result<Recorded, DatabaseError> {
    let (new, repeated): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(|entry| claimed.holds(&entry.hash));
    let logins: Vec<LoginRow<'_>> = new.iter().filter_map(|entry| entry.login_row()).collect();
    let letters: Vec<DeadLetterRow<'_>> = new.iter().filter_map(|entry| entry.dead_letter_row()).collect();
    #[cfg(feature = "failpoints")]
    let letters = mutants::letters(letters);
    let repeats = match way {
        Way::Copy => copy(transaction, &logins, &letters, &repeated).await?,
        Way::Insert => insert(transaction, logins.clone(), &letters, &repeated).await?,
    };
    let tally = Tally {
        loaded: logins.len() as u64,
        dead_lettered: letters.len() as u64,
        repeats,
        repeated_in_batch: entries.iter().map(|entry| entry.repeats.len() as u64).sum(),
        attempts_repeated: 0,
    };
    let is_login = |entry: &&&Entry| entry.login_row().is_some();
    let sent_at = new.iter().filter(is_login).map(|entry| entry.delivery.sent_at.time()).collect();
    Ok(Recorded { tally, sent_at })
}

/// Everything one behind the other: each is sent as soon as the driver lets it, and the server runs them in this order.
async fn copy(
    transaction: &Transaction,
    logins: &[LoginRow<'_>],
    letters: &[DeadLetterRow<'_>],
    repeated: &[&Entry],
) -> Result<Repeats, DatabaseError> {
    let (stored, announced, buried, compared, checked) = futures_util::future::join5(
        around(Step::Rows, user_logins::copy(transaction, logins)),
        around(Step::Events, outbox::copy(transaction, logins)),
        around(Step::DeadLetters, dead_letters::insert(transaction, letters)),
        around(Step::Compare, compare(transaction, repeated)),
        transaction.check_deferred_constraints(),
    )
    .await;
    let mut repeats = Repeats::default();
    first_cause([stored, announced, buried, compared.map(|found| repeats = found), checked])?;
    Ok(repeats)
}

/// Everything one after the other: a login whose row stands already has its event too.
async fn insert(
    transaction: &Transaction,
    mut logins: Vec<LoginRow<'_>>,
    letters: &[DeadLetterRow<'_>],
    repeated: &[&Entry],
) -> Result<Repeats, DatabaseError> {
    let new = around(Step::Rows, user_logins::insert(transaction, &logins)).await?;
    logins.retain(|login| new.contains(&login.hash));
    around(Step::Events, outbox::insert(transaction, &logins)).await?;
    around(Step::DeadLetters, dead_letters::insert(transaction, letters)).await?;
    around(Step::Compare, compare(transaction, repeated)).await
}

/// Messages that were claimed before are deleted from the queue after this commit, as if it had recorded them.
async fn compare(transaction: &Transaction, repeated: &[&Entry]) -> Result<Repeats, DatabaseError> {
    if repeated.is_empty() {
        return Ok(Repeats::default());
    }
    transaction.rely_on_earlier_commits().await?;
    processed_messages::compare(transaction, repeated).await
}

/// The error of the statement that failed: those behind it only say that the transaction is aborted (25P02).
fn first_cause(outcomes: [Result<(), DatabaseError>; 5]) -> Result<(), DatabaseError> {
    let errors = outcomes.into_iter().filter_map(Result::err);
    match errors.min_by_key(|error| error.sqlstate() == Some("25P02")) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}
