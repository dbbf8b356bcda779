//! Retention: what is older than it is kept leaves, in an order in which nobody can be told wrong, and nobody waits for it.
//!
//! Events leave first, then the logins, the claims last; and before any of them the horizon moves. Why nothing is loaded twice
//! for it stands in docs/PROTOCOL.md. What ends between two steps is brought to its end by the next run.

mod convert;

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::database::{Database, DatabaseError, LoneSession};
use crate::detach::{Came, Detaching, InTheWay, again_until, until_so};
use crate::failpoint::{RetainStep, around};
use crate::table::leaving::{self, Keep, Needed};
use crate::table::retired_partitions::{self, Retired};
use crate::table::time_partitions::{self, Parent, Partition, State};
use crate::table::{horizon, low_water, outbox_pruned, partitioning, partitions};

pub use self::convert::{ConvertError, Converted, Obstacle, partition};

/// How it is kept.
#[derive(Clone, Copy, Debug)]
pub struct RetainSettings {
    /// How long logins, claims and resolved letters are kept.
    pub keep: Keep,
    /// How long the keys of logins are, those apart that carry a time of their own; no shorter.
    pub identity_memory: Keep,
    /// Whether partitions are only detached, and wait for an archive.
    pub for_archive: bool,
    /// Whether events go that no sink has had, where there is no sink.
    pub without_sinks: bool,
    /// Only look what would go.
    pub dry_run: bool,
    /// How long is waited for those who are in the way, for each step.
    pub patience: Duration,
    /// Whether partitions are detached beside readers and writers where the server can do that.
    pub beside_writers: bool,
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// What is older than this was to leave.
    pub older_than: Option<OffsetDateTime>,
    /// Where the horizon stands now.
    pub horizon: Option<OffsetDateTime>,
    /// Partitions that were made.
    pub made: u32,
    /// Partitions that left, or would.
    pub gone: Vec<Gone>,
    /// Resolved letters that were removed.
    pub letters: u64,
    /// Old events that were removed beside those of whole partitions.
    pub events: u64,
    /// Keys that were removed.
    pub identities: u64,
    /// What keeps a time from leaving that is due.
    pub refused: Vec<Refusal>,
    /// Who was in the way for too long.
    pub in_the_way: Option<InTheWay>,
}

/// A partition that left, or would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Its table.
    pub parent: Parent,
    /// Its name.
    pub partition: String,
    /// How many rows it held.
    pub rows: u64,
    /// Whether the server only reckoned that: what is dropped is not read first.
    pub reckoned: bool,
    /// How many bytes it took, with its indexes.
    pub bytes: u64,
    /// Whether it stays as a table of its own, for the archive.
    pub for_archive: bool,
}

/// Why a time does not leave although it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Letters of it are open.
    OpenLetters(Needed),
    /// Events of it have not come to every sink.
    UnsentEvents(Needed),
    /// There is no sink, and nobody has said that none is wanted.
    NoSink(Needed),
    /// So many claims stand under the constant time that to move them would keep everybody waiting.
    TimelessClaims(u64),
}

/// Why it could not be done. What left before left rightly.
#[derive(Debug, thiserror::Error)]
pub enum RetainError {
    /// The database refuses.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Somebody has the lock.
    #[error("another `turnstile retain` or `turnstile archive` is at work, or the outbox is being pruned")]
    Busy,
    /// What is old cannot be told.
    #[error("the clocks of the database and of this machine are more than a day apart")]
    Clocks,
    /// There is nothing to drop.
    #[error("{} is not partitioned by time", .0)]
    NotPartitioned(Parent),
}

impl RetainError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Database(error) => error.remedy().to_owned(),
            Self::Busy => "wait until it has ended: pg_locks shows who holds an advisory lock".to_owned(),
            Self::Clocks => "set both right: what leaves by a wrong clock is gone".to_owned(),
            Self::NotPartitioned(_) => "run `turnstile migrate --partition monthly` once".to_owned(),
        }
    }
}

/// How many claims under the constant time are moved at most while everybody waits: some 20 ms.
const MOST_TIMELESS: u64 = 3_000;

/// Lets what is older leave, and ends what an earlier run has left behind. `tell` hears of each partition as it goes.
///
/// # Errors
///
/// [`RetainError`]
pub async fn retain(
    database: &Database,
    settings: RetainSettings,
    tell: impl FnMut(&Gone),
) -> Result<Retained, RetainError> {
    let session = database.lone_session().await?;
    let tables = partitioning::read(&session).await?;
    for parent in Parent::OF_MESSAGES {
        if !tables.iter().any(|table| table.parent == parent && table.since.is_some()) {
            return Err(RetainError::NotPartitioned(parent));
        }
    }
    let mut done = Retained::default();
    if !settings.dry_run {
        lock(&session, settings.patience).await?;
        done.made = time_partitions::extend(database).await?;
    }
    let can_detach = settings.beside_writers
        && partitions::can_be_detached(&session).await?
        && !time_partitions::has_default(&session).await?;
    if (leaving::clock(&session).await? - OffsetDateTime::now_utc()).abs() > time::Duration::DAY {
        return Err(RetainError::Clocks);
    }
    Retaining { session, settings, can_detach, done, tell }.run().await
}

/// Both locks are held until the session ends, and everything is done in it: none adds a sink meanwhile, and no archive drops.
async fn lock(session: &LoneSession, patience: Duration) -> Result<(), RetainError> {
    let both = || async { Ok(retired_partitions::try_lock(session).await? && outbox_pruned::try_lock(session).await?) };
    match until_so(Instant::now() + patience, both).await? {
        Came::ToItsEnd => Ok(()),
        Came::InTheWay => Err(RetainError::Busy),
    }
}

struct Retaining<T> {
    session: LoneSession,
    settings: RetainSettings,
    can_detach: bool,
    done: Retained,
    tell: T,
}

impl<T: FnMut(&Gone)> Retaining<T> {
    async fn run(mut self) -> Result<Retained, RetainError> {
        if self.come_to_the_end().await? == Came::ToItsEnd {
            self.let_go().await?;
        }
        self.done.horizon = Some(horizon::stands_at(&self.session).await?);
        Ok(self.done)
    }

    /// What an earlier run has begun.
    async fn come_to_the_end(&mut self) -> Result<Came, RetainError> {
        let standing = time_partitions::read(&self.session).await?;
        for one in retired_partitions::leaving(&self.session).await? {
            let partition = standing.iter().find(|partition| partition.name == one.name);
            // What waits for the archive is the archive's.
            if partition.is_none() && one.is_detached && one.for_archive {
                continue;
            }
            if partition.is_some_and(is_first_of_claims) && !self.can_move_timeless(&one.name).await? {
                continue;
            }
            if self.go(&one, partition).await? == Came::InTheWay {
                return Ok(Came::InTheWay);
            }
        }
        // What somebody else has left half detached keeps all others from being detached.
        let standing = time_partitions::read(&self.session).await?;
        for partition in standing.iter().filter(|partition| partition.state == State::Pending && !self.settings.dry_run)
        {
            let place = partition.parent.place(self.session.schemas(), &partition.name);
            let came = self.detaching().finalize(place).await?;
            if came == Came::InTheWay {
                self.done.in_the_way = Some(InTheWay::of(&self.session, place).await?);
                return Ok(came);
            }
        }
        Ok(Came::ToItsEnd)
    }

    /// Every partition that is due, as far as nothing of its time is needed, and the keys of what has left.
    async fn let_go(&mut self) -> Result<(), RetainError> {
        let older_than = leaving::older_than(&self.session, self.settings.keep).await?;
        self.done.older_than = Some(older_than);
        let partitions = time_partitions::read(&self.session).await?;
        let until = match end_of_whole_time(&partitions, older_than) {
            Some(due) => {
                let needed_since = self.needed_since(due).await?;
                end_of_whole_time(&partitions, needed_since.map_or(due, |needed| needed.min(due)))
            }
            None => None,
        };
        match until {
            Some(until) if self.retire_before(until, &partitions).await? == Came::InTheWay => Ok(()),
            Some(_) | None => {
                self.forget_identities().await?;
                self.forget_dated_identities().await
            }
        }
    }

    async fn retire_before(&mut self, until: OffsetDateTime, partitions: &[Partition]) -> Result<Came, RetainError> {
        if !self.settings.dry_run && !self.forget(until).await? {
            return Ok(Came::InTheWay);
        }
        for parent in Parent::ALL {
            for partition in partitions.iter().filter(|one| one.parent == parent && one.until <= until) {
                if !self.is_wanted(partition, until).await? && self.retire(partition).await? == Came::InTheWay {
                    return Ok(Came::InTheWay);
                }
            }
        }
        Ok(Came::ToItsEnd)
    }

    /// Whether a partition stays although its time leaves: rows may say a day before that of their message, whose claim stays;
    /// the claims under the constant time may be too many to be moved; and the keys that carry no time are never moved: what
    /// else stands beside them is removed row by row.
    async fn is_wanted(&mut self, partition: &Partition, until: OffsetDateTime) -> Result<bool, DatabaseError> {
        match partition.parent {
            Parent::UserLogins => {
                let place = partition.parent.place(self.session.schemas(), &partition.name);
                Ok(time_partitions::last_message(&self.session, place).await?.is_some_and(|sent_at| sent_at >= until))
            }
            Parent::ProcessedMessages => {
                Ok(is_first_of_claims(partition) && !self.can_move_timeless(&partition.name).await?)
            }
            Parent::Identities => Ok(holds_constant_time(partition)),
        }
    }

    /// Whether the claims under the constant time can be moved out of the partition in which they stand; notes it where not.
    async fn can_move_timeless(&mut self, name: &str) -> Result<bool, DatabaseError> {
        let place = Parent::ProcessedMessages.place(self.session.schemas(), name);
        let timeless = time_partitions::timeless_claims(&self.session, place).await?;
        let can = timeless <= MOST_TIMELESS;
        let refusal = Refusal::TimelessClaims(timeless);
        if !can && !self.done.refused.contains(&refusal) {
            self.done.refused.push(refusal);
        }
        Ok(can)
    }

    /// Since when something is needed of what is due: a letter that is open, an event that is not sent.
    async fn needed_since(&mut self, due: OffsetDateTime) -> Result<Option<OffsetDateTime>, DatabaseError> {
        if let Some(letters) = leaving::open_letters(&self.session, due).await? {
            self.done.refused.push(Refusal::OpenLetters(letters));
        }
        let low_water = low_water::read(&self.session).await?;
        let sent = match &low_water {
            Some(low_water) => low_water.position,
            None if self.settings.without_sinks => i64::MAX,
            None => i64::MIN,
        };
        if let Some(events) = leaving::events_above(&self.session, sent, due).await? {
            self.done.refused.push(match low_water {
                Some(_) => Refusal::UnsentEvents(events),
                None => Refusal::NoSink(events),
            });
        }
        Ok(self.done.refused.iter().filter_map(Refusal::oldest).min())
    }

    /// Moves the horizon, waits for those who may have read it before, and removes what can be removed row by row; then nobody
    /// can need a claim from before. Says whether that is so.
    async fn forget(&mut self, until: OffsetDateTime) -> Result<bool, RetainError> {
        around(RetainStep::Horizon, horizon::advance(&self.session, until)).await?;
        if !self.wait_for_claimants().await? {
            return Ok(false);
        }
        loop {
            let removing = leaving::remove_resolved_letters(&self.session, until);
            let removed = around(RetainStep::Remove, removing).await?;
            self.done.letters += removed;
            if removed == 0 {
                break;
            }
        }
        if let Some(letters) = leaving::open_letters(&self.session, until).await? {
            self.done.refused.push(Refusal::OpenLetters(letters));
            return Ok(false);
        }
        let sent = low_water::read(&self.session).await?.map_or(i64::MAX, |low_water| low_water.position);
        loop {
            let removed = leaving::remove_events(&self.session, sent, until).await?;
            self.done.events += removed;
            if removed == 0 {
                return Ok(true);
            }
        }
    }

    /// Those who claim from now on read the horizon where it stands now.
    async fn wait_for_claimants(&mut self) -> Result<bool, DatabaseError> {
        let began_before = leaving::claimants(&self.session).await?;
        let ended = || async {
            let now = leaving::claimants(&self.session).await?;
            Ok(!now.iter().any(|one| began_before.contains(one)))
        };
        let came = until_so(Instant::now() + self.settings.patience, ended).await?;
        if came == Came::InTheWay {
            let claims = Parent::ProcessedMessages.as_str();
            let place = Parent::ProcessedMessages.place(self.session.schemas(), claims);
            self.done.in_the_way = Some(InTheWay::of(&self.session, place).await?);
        }
        Ok(came == Came::ToItsEnd)
    }

    /// Notes that a partition leaves, and lets it.
    async fn retire(&mut self, partition: &Partition) -> Result<Came, RetainError> {
        if self.settings.dry_run {
            let place = partition.parent.place(self.session.schemas(), &partition.name);
            let rows = time_partitions::count(&self.session, place).await?;
            let gone = Gone {
                parent: partition.parent,
                partition: partition.name.clone(),
                rows,
                reckoned: false,
                bytes: partition.bytes,
                for_archive: self.is_for_archive(partition.parent),
            };
            self.gone(gone);
            return Ok(Came::ToItsEnd);
        }
        // A session that a pooler passes round does not have the lock that it has taken.
        if !retired_partitions::try_lock(&self.session).await? {
            return Err(self.session.passed_round("lock retention").into());
        }
        let for_archive = self.is_for_archive(partition.parent);
        let note = retired_partitions::note(&self.session, partition, for_archive);
        around(RetainStep::Note, note).await?;
        let noted = Retired {
            parent: partition.parent,
            name: partition.name.clone(),
            until: partition.until,
            for_archive,
            is_detached: false,
        };
        self.go(&noted, Some(partition)).await
    }

    /// Lets one go that is noted, from the step on at which it stands.
    async fn go(&mut self, noted: &Retired, partition: Option<&Partition>) -> Result<Came, RetainError> {
        if self.settings.dry_run {
            return Ok(Came::ToItsEnd);
        }
        let Retired { parent, name, .. } = noted;
        // A later run may ask for the archive.
        let for_archive = noted.for_archive || self.is_for_archive(*parent);
        let schemas = self.session.schemas().clone();
        let place = parent.place(&schemas, name);
        let came = match partition.map(|partition| (partition.state, partition.since)) {
            Some(_) if partition.is_some_and(is_first_of_claims) => self.detach_first(name).await?,
            Some((State::Attached, _)) => around(RetainStep::Detach, self.detaching().detach(place)).await?,
            Some((State::Pending, _)) => around(RetainStep::Detach, self.detaching().finalize(place)).await?,
            None => Came::ToItsEnd,
        };
        if came == Came::InTheWay {
            self.done.in_the_way = Some(InTheWay::of(&self.session, place).await?);
            return Ok(came);
        }
        let bytes = partition.map_or(0, |partition| partition.bytes);
        if !time_partitions::stands(&self.session, place).await? {
            retired_partitions::is_dropped(&self.session, name).await?;
            return Ok(Came::ToItsEnd);
        }
        let reckoned = match for_archive {
            true => None,
            false => time_partitions::reckoned(&self.session, place).await?,
        };
        let rows = match reckoned {
            Some(rows) => rows,
            None => time_partitions::count(&self.session, place).await?,
        };
        around(RetainStep::Detached, retired_partitions::is_detached(&self.session, name, rows, for_archive)).await?;
        if !for_archive {
            if around(RetainStep::Drop, self.detaching().drop_detached(place)).await? == Came::InTheWay {
                self.done.in_the_way = Some(InTheWay::of(&self.session, place).await?);
                return Ok(Came::InTheWay);
            }
            around(RetainStep::Dropped, retired_partitions::is_dropped(&self.session, name)).await?;
        }
        let reckoned = reckoned.is_some();
        self.gone(Gone { parent: *parent, partition: name.clone(), rows, reckoned, bytes, for_archive });
        Ok(Came::ToItsEnd)
    }

    fn is_for_archive(&self, parent: Parent) -> bool {
        self.settings.for_archive && parent.is_archived()
    }

    /// The first partition of the claims, in which those under the constant time stand that never leave.
    async fn detach_first(&mut self, name: &str) -> Result<Came, DatabaseError> {
        let detach = || time_partitions::try_detach_first_claims(&self.session, name);
        let until = Instant::now() + self.settings.patience;
        around(RetainStep::Detach, again_until(until, detach)).await
    }

    /// Keys that were claimed long enough ago, of messages whose logins are gone: from before the oldest login that can stand.
    async fn forget_identities(&mut self) -> Result<(), RetainError> {
        let partitions = time_partitions::read(&self.session).await?;
        let mut logins = partitions.iter().filter(|one| one.parent == Parent::UserLogins);
        let Some(since) = logins.next().and_then(|oldest| oldest.since).filter(|_| !self.settings.dry_run) else {
            return Ok(());
        };
        let claimed_before = leaving::older_than(&self.session, self.settings.identity_memory).await?;
        let Some((table, pages)) = leaving::undated_identities(&self.session).await? else { return Ok(()) };
        for some in pages {
            let removing = leaving::remove_identities(&self.session, &table, some, claimed_before, since);
            self.done.identities += removing.await?;
        }
        Ok(())
    }

    /// Keys whose own time is before the horizon: nobody who reads it where it stands now claims one of them again.
    async fn forget_dated_identities(&mut self) -> Result<(), RetainError> {
        if self.settings.dry_run || !self.wait_for_claimants().await? {
            return Ok(());
        }
        let mut from = OffsetDateTime::UNIX_EPOCH;
        while let Some((removed, last)) = leaving::remove_dated_identities(&self.session, from).await? {
            self.done.identities += removed;
            from = last;
        }
        Ok(())
    }

    fn detaching(&self) -> Detaching<'_> {
        Detaching { session: &self.session, patience: self.settings.patience, beside_writers: self.can_detach }
    }

    fn gone(&mut self, gone: Gone) {
        (self.tell)(&gone);
        self.done.gone.push(gone);
    }
}

/// The latest time up to which partitions can leave, none of which holds anything from after `limit`: that at which one ends,
/// and no partition of logins goes on beyond it.
fn end_of_whole_time(partitions: &[Partition], limit: OffsetDateTime) -> Option<OffsetDateTime> {
    let goes_on = |end: OffsetDateTime| {
        let mut logins = partitions.iter().filter(|one| one.parent == Parent::UserLogins);
        logins.any(|one| one.until > end && one.since.is_none_or(|since| since < end))
    };
    partitions.iter().map(|one| one.until).filter(|end| *end <= limit && !goes_on(*end)).max()
}

/// Whether claims under the constant time stand in it.
fn is_first_of_claims(partition: &Partition) -> bool {
    partition.parent == Parent::ProcessedMessages && holds_constant_time(partition)
}

fn holds_constant_time(partition: &Partition) -> bool {
    partition.since.is_none_or(|since| since < OffsetDateTime::UNIX_EPOCH + time::Duration::DAY)
}

impl Refusal {
    fn oldest(&self) -> Option<OffsetDateTime> {
        match self {
            Self::OpenLetters(needed) | Self::UnsentEvents(needed) | Self::NoSink(needed) => Some(needed.oldest),
            Self::TimelessClaims(_) => None,
        }
    }
}
