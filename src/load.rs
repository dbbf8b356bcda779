//! A batch into the database: each message ends as a row, as a dead letter, or absorbed by another that brought the same
//! login.
//!
//! `transaction` is the one transaction: all of it holds, or nothing. This is what is done when it fails, which
//! neither its SQLSTATE nor a single attempt tells: what waits lets the others go first, what is refused alone is tried
//! again once others have landed, and what nobody gets past is no matter of one message.

mod books;
pub mod bury;
mod mutants;
mod queue;
mod traced;
mod transaction;
mod work;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::OffsetDateTime;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, OnceCell};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::traced::traced;
use self::transaction::{Attempt, Recorded};
use self::work::{Part, Suspicion, Way, Work};
use crate::batch::{Batch, Entry};
use crate::database::{Database, DatabaseError, Transaction, tell_end};
use crate::decode::Rejection;
use crate::message::{Delivery, MessageKey, QueueIdentity, TimeBasis};
use crate::metrics::{LaneState, LaneWatch, Peer};
use crate::outage::{Lasted, Outage};
use crate::pause::Pause;
use crate::retry::Class;
use crate::seal::CheckValue;
use crate::table::loaders::LoaderId;
use crate::table::{outbox, processed_messages, user_logins};

/// How often a part may fail by waiting or taking too long before it is split: what is too much at once would be too much
/// for ever, and who is waited for may be in the way of one message only.
const CONTENDED_BEFORE_SPLIT: u32 = 2;
/// Into how many parts it is split: few attempts find the one message that waits among hundreds.
const PARTS_OF_A_CONTENDED_BATCH: usize = 8;
/// How often a row that is refused alone is tried, where nothing else is said.
const LONE_ATTEMPTS: u32 = 10;
/// How many messages at fault are remembered: as many as two gatherings bring at most, by default.
const FAULTS_REMEMBERED: usize = 1_000;
/// How often a transaction may in a row find that what it relied on is gone: more often, somebody removes it on purpose.
const UNSETTLED_IN_A_ROW: u32 = 5;
/// For how long an internal error of a sharded server is taken for one of its servers that is away.
const INTERNAL_ERRORS_PASS_WITHIN: std::time::Duration = std::time::Duration::from_secs(10 * 60);

/// Deliveries whose messages are recorded, for good: PostgreSQL said so after the commit.
///
/// Only [`Destination::load`] and [`bury::bury`] make one, and [`acknowledge`](crate::acknowledge::acknowledge) takes it by value. Deleting
/// without it does not compile:
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
    /// The deliveries, to look at.
    pub fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// Gives up the proof for what it proves.
    pub fn into_deliveries(self) -> Vec<Delivery> {
        self.deliveries
    }
}

/// A part of a batch that is recorded.
pub struct Loaded {
    /// Every delivery of it.
    pub committed: Committed,
    /// The logins that were loaded now, where their queue said when they had been sent.
    pub logins: Vec<TimedLogin>,
    /// The codes of the dead letters that were written now.
    pub letters: Vec<&'static str>,
    /// How many bytes their sealed bodies have together.
    pub letters_bytes: u64,
    /// What was counted.
    pub tally: Tally,
}

/// When a login that was loaded had been sent, and how often it was received.
#[derive(Clone, Copy, Debug)]
pub struct TimedLogin {
    /// When its queue took it.
    pub sent_at: OffsetDateTime,
    /// 1 for its first delivery.
    pub receive_count: u32,
}

/// What of a batch was not recorded.
#[derive(Default)]
pub struct Left {
    /// Deliveries of rows that the database refuses, with attempts left.
    pub returned: Vec<Delivery>,
    /// Deliveries of messages that could not be loaded while others could, and are at fault for nothing: somebody else holds
    /// what they wait for.
    pub released: Vec<Delivery>,
    /// Transactions that were run again: the failure would pass, or the commit was ambiguous.
    pub attempts_repeated: u64,
}

/// What committed transactions did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Logins loaded.
    pub loaded: u64,
    /// Messages dead-lettered.
    pub dead_lettered: u64,
    /// Messages absorbed: another message had brought the same login under the same key.
    pub absorbed: u64,
    /// Of the dead-lettered or absorbed messages, those that brought another login under a key that was taken.
    pub contradicting: u64,
    /// Messages that were recorded before: delivered again.
    pub redelivered: u64,
    /// Deliveries beyond the first of one message in one batch.
    pub repeated_in_batch: u64,
}

impl Tally {
    /// Deliveries that brought nothing new.
    pub fn duplicates(&self) -> u64 {
        self.redelivered + self.absorbed + self.repeated_in_batch
    }
}

/// What keys that carry their own time are not claimed beside.
pub const NO_SENT_TIMESTAMP: &str =
    "the queue gives no SentTimestamp, and a key under --identity-time is held against that of its message";

/// What to do about it.
pub const GIVE_SENT_TIMESTAMPS: &str = "leave --identity-time out, or load from a queue that gives SentTimestamps";

/// Why a batch was not loaded to its end. What is not recorded comes again.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No message is at fault and no pause helps.
    #[error("the database cannot be loaded into: {0}")]
    Stopped(DatabaseError),
    /// Keys carry their own time, and the queue does not say when messages were sent.
    #[error("{NO_SENT_TIMESTAMP}")]
    NoSentTimestamp,
    /// The loader was told to end while the database could not be reached.
    #[error("told to end before the database had recorded the batch")]
    GaveUp,
}

impl LoadError {
    /// What to do about it; nothing about an end that was asked for.
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Self::Stopped(error) => Some(error.remedy()),
            Self::NoSentTimestamp => Some(GIVE_SENT_TIMESTAMPS),
            Self::GaveUp => None,
        }
    }
}

/// What becomes of a message that brings another login under a key that is taken (`--contradictions`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Contradictions {
    /// It is dead-lettered, its body kept.
    #[default]
    DeadLetter,
    /// It is absorbed like the same login, its body lost.
    Absorb,
}

/// A text does not say what becomes of contradictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is neither dead-letter nor absorb")]
pub struct NoContradictions;

impl std::str::FromStr for Contradictions {
    type Err = NoContradictions;

    fn from_str(text: &str) -> Result<Self, NoContradictions> {
        match text {
            "dead-letter" => Ok(Self::DeadLetter),
            "absorb" => Ok(Self::Absorb),
            _ => Err(NoContradictions),
        }
    }
}

/// Where the batches of one queue go. The lanes of a process share it.
#[derive(Debug)]
pub struct Destination {
    /// The database.
    pub database: Database,
    /// The queue that the messages come from: dead letters name it.
    pub queue: QueueIdentity,
    /// Which process this is, among those that load.
    pub loader: LoaderId,
    /// Whether it is to receive, as the database said with the last batch, or was asked since.
    pub pause: Pause,
    /// By which the tables recognise the key that hashed the logins' keys.
    pub hash_key: CheckValue,
    /// How many deliveries a message gets whose row the database refuses.
    pub max_attempts: u32,
    /// What becomes of contradictions.
    pub contradictions: Contradictions,
    /// How often a row that is refused alone is tried while no other row lands: with the pauses between, ten times are
    /// about half a minute.
    pub lone_attempts: u32,
    /// The last message that was dead-lettered although none had landed after it.
    buried_alone: Mutex<Option<BuriedAlone>>,
    /// Told whenever logins were committed: a relay in this process has events to carry.
    pub landing: Arc<Notify>,
    /// How many logins landed, through whatever lane: what proves that the database takes rows.
    landed: AtomicU64,
    /// Messages whose rows were refused while others landed: when they come again, nothing needs to be proved.
    at_fault: Mutex<HashSet<MessageKey>>,
    /// What the queue's messages are claimed under, once it is known.
    time_basis: OnceCell<TimeBasis>,
    /// Since when the database is away, through whatever lane it is asked.
    outage: Outage,
}

/// A message that was dead-lettered although no other row proved that it alone is at fault.
#[derive(Debug)]
struct BuriedAlone {
    message: MessageKey,
    suspicion: Suspicion,
    /// How many logins had landed.
    landed: u64,
}

impl Destination {
    /// A destination into which nothing has landed yet.
    pub fn new(
        database: Database,
        queue: QueueIdentity,
        hash_key: CheckValue,
        max_attempts: u32,
        contradictions: Contradictions,
    ) -> Self {
        Self {
            database,
            queue,
            loader: LoaderId::random(),
            pause: Pause::default(),
            hash_key,
            max_attempts,
            contradictions,
            lone_attempts: LONE_ATTEMPTS,
            landing: Arc::default(),
            buried_alone: Mutex::default(),
            landed: AtomicU64::new(0),
            at_fault: Mutex::default(),
            time_basis: OnceCell::new(),
            outage: Outage::default(),
        }
    }

    /// Loads a batch, says to `watch` what it is doing, and sends each part of it to `recorded` as soon as it is: a row, a dead letter or an absorbed message
    /// for each of its messages, or a place in what is left.
    ///
    /// A failure that passes, and a commit that may or may not hold, make the same transaction run again, as often as it
    /// takes or until `give_up`: the claim decides what is new (so that the logins of an ambiguous commit that did hold
    /// are counted as redelivered). What waits or takes too long goes behind what has not been tried, and is split when it
    /// fails again; a message that still waits when it is alone is left to its queue, unless the whole database waits. A
    /// row that the database refuses is found by splitting too. It is at fault once another row has landed after it was
    /// refused, or when it was refused [`Self::lone_attempts`] times and nothing else was tried; then it is left to its queue
    /// while its receive count is below `max_attempts`, and dead-lettered otherwise.
    ///
    /// # Errors
    ///
    /// [`LoadError`]. Different messages that are refused alike while none lands are no matter of one message, in one
    /// batch or in several.
    pub async fn load(
        &self,
        batch: Batch,
        give_up: &CancellationToken,
        recorded: &UnboundedSender<Loaded>,
        watch: &LaneWatch,
    ) -> Result<Left, LoadError> {
        let mut work = Work::of(batch);
        while let Some(part) = work.next() {
            self.wait_before(&part, &mut work, give_up).await?;
            watch.is(LaneState::Loading);
            let begun = Instant::now();
            // Giving up in the middle is safe, even of a commit: nothing is acknowledged, and the claim decides later.
            let attempt = tokio::select! {
                biased;
                () = give_up.cancelled() => return Err(LoadError::GaveUp),
                attempt = traced(part.span(), self.transact(part.batch.entries(), part.way)) => attempt,
            };
            match attempt {
                Ok(Attempt::Recorded(done)) => {
                    work.succeeded();
                    tell_end(&self.outage);
                    self.landed.fetch_add(done.tally.loaded, Ordering::SeqCst);
                    if done.tally.loaded > 0 {
                        self.landing.notify_one();
                    }
                    hand_over(recorded, part.batch, done);
                }
                Ok(Attempt::Older(horizon, new)) => {
                    tracing::warn!(%horizon, "messages are older than what the tables remember: they become dead letters");
                    let batch = part.batch.judged_by(horizon, |key| new.holds(key));
                    work.first(Part { batch, ..part });
                }
                Err(error) => {
                    if self.react(error, part, begun, &mut work).await? {
                        watch.is(LaneState::WaitingForDatabase);
                        rest(&mut work, begun, give_up).await?;
                    }
                }
            }
        }
        Ok(work.left)
    }

    /// A row that was refused alone is tried again at once if another has landed since, and after a pause if not.
    async fn wait_before(&self, part: &Part, work: &mut Work, give_up: &CancellationToken) -> Result<(), LoadError> {
        match part.suspicion.is_some() && part.landed_before == Some(self.landed()) {
            true => rest(work, Instant::now(), give_up).await,
            false => Ok(()),
        }
    }

    /// Decides what becomes of a part whose transaction failed; says whether to pause before the next one.
    async fn react(
        &self,
        error: DatabaseError,
        part: Part,
        begun: Instant,
        work: &mut Work,
    ) -> Result<bool, LoadError> {
        self.database.metrics().count(|figures| figures.failed(&error, part.way));
        let Some(part) = mutants::failed(&error, part, work)? else { return Ok(false) };
        match error.class() {
            Class::Transient | Class::Ambiguous => {
                if !work.passes(&error) {
                    return Err(LoadError::Stopped(error));
                }
                let lasting = match error.class() {
                    Class::Transient => {
                        let lasting = self.outage.failed(begun.into_std());
                        self.database.metrics().count(|figures| figures.unanswered(Peer::Database, lasting));
                        lasting
                    }
                    _ => Lasted { away: begun.elapsed(), attempts: 1 },
                };
                repeat(&error, &part, lasting, work);
                work.last(part);
                Ok(true)
            }
            Class::Contended => {
                let waited = Lasted { away: begun.elapsed(), attempts: u64::from(part.contended) + 1 };
                repeat(&error, &part, waited, work);
                self.contend(&error, part, work).await;
                Ok(work.has_only_failed())
            }
            Class::OfTheRows | Class::OfTheSystem if part.way.may_be_refused(&error) => {
                work.first(Part { way: Way::Insert, ..part });
                Ok(false)
            }
            Class::OfTheSystem => Err(LoadError::Stopped(error)),
            Class::OfTheRows => self.suspect(error, part, work).map(|()| false),
        }
    }

    /// A part that waited for somebody, or took too long.
    async fn contend(&self, error: &DatabaseError, mut part: Part, work: &mut Work) {
        self.end_frozen_rivals().await;
        part.contended += 1;
        let (times, since) = (part.contended, part.failed_at(self.landed()));
        if times < CONTENDED_BEFORE_SPLIT {
            return work.last(part);
        }
        match part.batch.into_single() {
            Err(batch) => {
                for batch in batch.split(PARTS_OF_A_CONTENDED_BATCH) {
                    let contended = CONTENDED_BEFORE_SPLIT - 1;
                    work.last(Part { contended, landed_before: Some(since), ..Part::of(batch, part.way) });
                }
            }
            Ok(entry) => {
                let others_can = self.others_can_be_loaded(error, times, since, work).await;
                if others_can && (part.others_could || self.landed() > since) {
                    tracing::warn!(%error, hash = %entry.key.hash, "a message is given back to the queue: others can be loaded, and it cannot be now");
                    work.left.released.extend(entry.deliveries().cloned());
                    return;
                }
                let again = Part::of(Batch::of_one(*entry), part.way);
                let landed_before = Some(since);
                work.last(Part { contended: times, landed_before, others_could: others_can, ..again });
            }
        }
    }

    /// Ends what a loader holds that cannot go on: nobody else would, and what it has claimed is waited for.
    async fn end_frozen_rivals(&self) {
        match self.database.end_frozen_rivals().await {
            Ok(rivals) if rivals.ended > 0 => {
                tracing::warn!(ended = rivals.ended, "transactions were ended whose loaders are frozen in them");
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "frozen rivals could not be looked for"),
        }
    }

    /// Whether others can be loaded while this message cannot: somebody holds a lock that only it waits for, or it alone
    /// takes too long. That may be so only since it failed, as long as none has been.
    async fn others_can_be_loaded(&self, error: &DatabaseError, times: u32, since: u64, work: &Work) -> bool {
        let is_lone = work.is_done() && times > CONTENDED_BEFORE_SPLIT;
        match error.is_lock_wait() || is_lone {
            true => self.can_load_nothing().await.is_ok(),
            false => self.landed() > since,
        }
    }

    /// Writes no row into each of the tables: that waits only for who has locked a table.
    async fn can_load_nothing(&self) -> Result<(), DatabaseError> {
        let touch = async |transaction: &Transaction| {
            processed_messages::claim(transaction, &[]).await?;
            user_logins::touch(transaction).await?;
            outbox::touch(transaction).await
        };
        self.database.without_effect(touch).await
    }

    /// A part of which a row is refused, or may be.
    fn suspect(&self, error: DatabaseError, mut part: Part, work: &mut Work) -> Result<(), LoadError> {
        let landed = self.landed();
        let landed_before = Some(part.failed_at(landed));
        let entry = match part.batch.into_single() {
            Err(batch) => {
                for batch in batch.split(2) {
                    work.last(Part { landed_before, ..Part::of(batch, part.way) });
                }
                return Ok(());
            }
            Ok(entry) if entry.login_row().is_none() => return Err(LoadError::Stopped(error)),
            Ok(entry) => entry,
        };
        let mut suspicion = part.suspicion.unwrap_or_else(|| Suspicion::of(&error));
        suspicion.times += 1;
        // Others have landed since it was refused, alone or in company, and it is refused still.
        let is_at_fault = landed_before.is_some_and(|before| landed > before) || self.at_fault().contains(&entry.key);
        let is_shared = work.has_alike(&suspicion);
        let has_waited =
            suspicion.times >= self.lone_attempts || (is_shared && error.is_of_setup() && work.is_all_suspect());
        match (is_at_fault, has_waited) {
            (true, _) if entry.delivery.receive_count < self.max_attempts => {
                self.remember_fault(entry.key);
                say_refused(&error, &entry, "the database refuses a row, which goes back to the queue");
                work.left.returned.extend(entry.deliveries().cloned());
            }
            (true, _) => work.first(dead_letter(&error, *entry, part.way)),
            (false, true) if is_shared || error.is_of_setup() => return Err(LoadError::Stopped(error)),
            (false, true) if self.has_buried_alike(&suspicion, entry.key, landed) => {
                return Err(LoadError::Stopped(error));
            }
            (false, true) => work.first(dead_letter(&error, *entry, part.way)),
            (false, false) => {
                say_refused(
                    &error,
                    &entry,
                    "the database refuses a row, and no other has landed since: it is tried again",
                );
                let again = Part::of(Batch::of_one(*entry), part.way);
                work.suspect(Part { suspicion: Some(suspicion), landed_before, ..again });
            }
        }
        Ok(())
    }

    fn remember_fault(&self, key: MessageKey) {
        let mut at_fault = self.at_fault();
        // Forgetting one costs half a minute when it comes again alone.
        if at_fault.len() >= FAULTS_REMEMBERED {
            at_fault.clear();
        }
        at_fault.insert(key);
    }

    fn at_fault(&self) -> MutexGuard<'_, HashSet<MessageKey>> {
        self.at_fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another message was dead-lettered for the same, and none has landed since: then it is no matter of either.
    /// Otherwise this is the one to be remembered.
    fn has_buried_alike(&self, suspicion: &Suspicion, message: MessageKey, landed: u64) -> bool {
        let mut last = self.buried_alone.lock().unwrap_or_else(PoisonError::into_inner);
        let is_alike =
            |last: &BuriedAlone| last.landed == landed && last.message != message && last.suspicion.is_alike(suspicion);
        let found = last.as_ref().is_some_and(is_alike);
        if !found {
            *last = Some(BuriedAlone { message, suspicion: suspicion.clone(), landed });
        }
        found
    }

    fn landed(&self) -> u64 {
        self.landed.load(Ordering::SeqCst)
    }
}

/// Sends on what is recorded; if nobody listens any more, the lane is given up.
fn hand_over(recorded: &UnboundedSender<Loaded>, batch: Batch, done: Recorded) {
    let mut deliveries = Vec::with_capacity(batch.len());
    for entry in batch.into_entries() {
        deliveries.push(entry.delivery);
        deliveries.extend(entry.repeats);
    }
    let Recorded { tally, logins, letters, letters_bytes } = done;
    if tally.contradicting > 0 {
        tracing::warn!(
            contradicting = tally.contradicting,
            "messages brought other logins under keys that were taken: their producer gives one key to several logins"
        );
    }
    if recorded.send(Loaded { committed: Committed { deliveries }, logins, letters, letters_bytes, tally }).is_err() {
        tracing::debug!("a batch is recorded, and nobody is there to delete it");
    }
}

fn repeat(error: &DatabaseError, part: &Part, lasting: Lasted, work: &mut Work) {
    let (class, messages, attempt) = (error.class(), part.batch.len(), lasting.attempts);
    let remedy = error.remedy();
    tracing::warn!(%error, ?class, messages, attempt, %lasting, remedy, "the transaction runs again");
    work.left.attempts_repeated += 1;
}

/// Pauses for longer each time, counted from when the attempt began.
async fn rest(work: &mut Work, begun: Instant, give_up: &CancellationToken) -> Result<(), LoadError> {
    tokio::select! {
        () = tokio::time::sleep(work.pauses.next_pause_after(begun.elapsed())) => Ok(()),
        () = give_up.cancelled() => Err(LoadError::GaveUp),
    }
}

fn dead_letter(error: &DatabaseError, entry: Entry, way: Way) -> Part {
    say_refused(error, &entry, "the database refuses a row, which becomes a dead letter");
    let rejection = Rejection::RefusedByDatabase {
        sqlstate: error.sqlstate().unwrap_or("02000").to_owned(),
        constraint: error.constraint().map(str::to_owned),
    };
    Part::of(Batch::of_one(mutants::refused(entry, rejection)), way)
}

fn say_refused(error: &DatabaseError, entry: &Entry, what: &str) {
    tracing::warn!(%error, hash = %entry.key.hash, receive_count = entry.delivery.receive_count, "{what}");
}
