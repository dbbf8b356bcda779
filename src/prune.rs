//! Retention of the outbox: partitions that no sink needs any more are dropped, and no loader waits for that.
//!
//! Why no event goes unsent stands in docs/PROTOCOL.md, "The relay". Each partition goes in three steps: it is noted, it is
//! detached, it is dropped. What ends between two of them is brought to its end by the next run.

use std::time::Duration;

use tokio::time::Instant;

use crate::database::{Database, DatabaseError, LoneSession};
use crate::detach::{Came, Detaching, InTheWay, until_so};
use crate::table::low_water::{self, LowWater};
use crate::table::outbox_partitions::{self, Standing, State, place};
use crate::table::outbox_pruned::{self, Note};
use crate::table::partitions;

/// How it is pruned.
#[derive(Clone, Copy, Debug)]
pub struct PruneSettings {
    /// Whether partitions go whose events retention has removed, where there is no sink.
    pub without_sinks: bool,
    /// Only look what would go.
    pub dry_run: bool,
    /// How long is waited for those who are in the way, for each partition.
    pub patience: Duration,
    /// Whether partitions are detached beside readers and writers where the server can do that.
    pub beside_writers: bool,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// What went, or would go.
    pub gone: Vec<Gone>,
    /// Up to where no sink needs the events any more; nothing where there is no sink.
    pub low_water: Option<LowWater>,
    /// Who was in the way for too long.
    pub in_the_way: Option<InTheWay>,
}

/// A partition that went, or would go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Its name.
    pub partition: String,
    /// How many events it held.
    pub events: u64,
    /// How many bytes it took, with its indexes.
    pub bytes: u64,
}

/// Why it could not be pruned. What was dropped before was dropped rightly.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// The database refuses.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Somebody has the lock.
    #[error("another `turnstile outbox prune` is at work, or a sink is being made")]
    Busy,
}

impl PruneError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Database(error) => error.remedy().to_owned(),
            Self::Busy => "wait until it has ended: pg_locks shows who holds an advisory lock".to_owned(),
        }
    }
}

/// Drops the partitions that lie wholly below the low water of all sinks, the lowest first, and what an earlier run has left
/// behind. `tell` hears of each as it goes.
///
/// # Errors
///
/// [`PruneError`]
pub async fn prune(
    database: &Database,
    settings: PruneSettings,
    tell: impl FnMut(&Gone),
) -> Result<Pruned, PruneError> {
    let session = database.lone_session().await?;
    if !settings.dry_run {
        lock(&session, settings.patience).await?;
    }
    let mut pruning = Pruning { session, settings, can_detach: false, gone: Vec::new(), tell };
    pruning.run().await
}

/// The lock is held until the session ends, and everything is done in this session.
async fn lock(session: &LoneSession, patience: Duration) -> Result<(), PruneError> {
    match until_so(Instant::now() + patience, || outbox_pruned::try_lock(session)).await? {
        Came::ToItsEnd => Ok(()),
        Came::InTheWay => Err(PruneError::Busy),
    }
}

struct Pruning<T> {
    session: LoneSession,
    settings: PruneSettings,
    can_detach: bool,
    gone: Vec<Gone>,
    tell: T,
}

impl<T: FnMut(&Gone)> Pruning<T> {
    async fn run(&mut self) -> Result<Pruned, PruneError> {
        let mut in_the_way = self.finish_what_was_left().await?;
        let low_water = low_water::read(&self.session).await?;
        let removed = match low_water.is_none() && self.settings.without_sinks {
            true => outbox_partitions::lowest(&self.session).await?.map(|lowest| lowest - 1),
            false => None,
        };
        if in_the_way.is_none()
            && let Some(position) = low_water.as_ref().map(|low_water| low_water.position).or(removed)
        {
            in_the_way = self.drop_below(position).await?;
        }
        let in_the_way = match in_the_way {
            Some(partition) => Some(InTheWay::of(&self.session, place(&self.session, &partition)).await?),
            None => None,
        };
        Ok(Pruned { gone: std::mem::take(&mut self.gone), low_water, in_the_way })
    }

    /// What an earlier run has detached, or begun to detach: nobody can have those events sent any more. Gives the partition
    /// that does not go for now.
    async fn finish_what_was_left(&mut self) -> Result<Option<String>, DatabaseError> {
        let noted = outbox_pruned::noted(&self.session).await?;
        let is_noted = |table: &Standing| noted.iter().any(|(_, name)| *name == table.name);
        for table in outbox_partitions::read(&self.session).await?.tables {
            let came = match table.state {
                // One that somebody else has detached is left to them, but until it is detached no other can be.
                State::Pending if is_noted(&table) => self.go(&table).await?,
                State::Pending if !self.settings.dry_run => {
                    self.detaching().finalize(place(&self.session, &table.name)).await?
                }
                State::Detached if is_noted(&table) => self.go(&table).await?,
                State::Pending | State::Detached | State::Attached { .. } => Came::ToItsEnd,
            };
            if came == Came::InTheWay {
                return Ok(Some(table.name));
            }
        }
        Ok(None)
    }

    /// Drops partitions whose last position is no higher than this. Gives the one that does not go for now.
    async fn drop_below(&mut self, low_water: i64) -> Result<Option<String>, DatabaseError> {
        let seen = outbox_partitions::read(&self.session).await?;
        let can_detach = self.settings.beside_writers && !seen.has_default;
        self.can_detach = can_detach && partitions::can_be_detached(&self.session).await?;
        let mut below: Vec<(i64, Standing)> =
            seen.tables.into_iter().filter_map(|table| Some((end_of(&table)?, table))).collect();
        below.retain(|(end, _)| end - 1 <= low_water && *end <= seen.last_given);
        below.sort_by_key(|(end, _)| *end);
        for (_, table) in below {
            if self.go(&table).await? == Came::InTheWay {
                return Ok(Some(table.name));
            }
        }
        Ok(None)
    }

    fn detaching(&self) -> Detaching<'_> {
        Detaching { session: &self.session, patience: self.settings.patience, beside_writers: self.can_detach }
    }

    /// Lets one go, from the step on at which it stands.
    async fn go(&mut self, table: &Standing) -> Result<Came, DatabaseError> {
        let Standing { name, state, bytes } = table;
        let here = place(&self.session, name);
        let contents = outbox_partitions::contents(&self.session, name).await?;
        let came = match state {
            _ if self.settings.dry_run => Came::ToItsEnd,
            State::Attached { below } => {
                // A session that a pooler passes round does not have the lock that it has taken.
                if !outbox_pruned::try_lock(&self.session).await? {
                    return Err(self.session.passed_round("lock the pruning"));
                }
                let note = Note { below: *below, partition: name, written_until: contents.written_until };
                outbox_pruned::note(&self.session, &note).await?;
                self.detaching().drop_attached(here).await?
            }
            State::Pending => match self.detaching().finalize(here).await? {
                Came::ToItsEnd => self.detaching().drop_detached(here).await?,
                Came::InTheWay => Came::InTheWay,
            },
            State::Detached => self.detaching().drop_detached(here).await?,
        };
        if came == Came::ToItsEnd {
            let gone = Gone { partition: name.clone(), events: contents.events, bytes: *bytes };
            (self.tell)(&gone);
            self.gone.push(gone);
        }
        Ok(came)
    }
}

/// The position after the last of a partition.
fn end_of(table: &Standing) -> Option<i64> {
    match table.state {
        State::Attached { below } => Some(below),
        State::Pending | State::Detached => None,
    }
}
