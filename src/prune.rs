//! Retention of the outbox: partitions that no sink needs any more are dropped, and no loader waits for that.
//!
//! Why no event goes unsent stands in docs/PROTOCOL.md, "The relay". Each partition goes in three steps: it is noted, it is
//! detached, it is dropped. What ends between two of them is brought to its end by the next run.

use std::time::Duration;

use tokio::time::Instant;

use crate::database::{Database, DatabaseError, LoneSession};
use crate::table::low_water::{self, LowWater};
use crate::table::outbox_partitions::{self, Standing, State};
use crate::table::outbox_pruned::{self, Note};

/// How it is pruned.
#[derive(Clone, Copy, Debug)]
pub struct PruneSettings {
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

/// Why a partition did not go. It is brought to its end by the next run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InTheWay {
    /// The partition.
    pub partition: String,
    /// Transactions that use it, or may.
    pub holders: Vec<String>,
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

/// How often those are asked again who are in the way.
const ASK_EVERY: Duration = Duration::from_millis(300);

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
    let until = Instant::now() + patience;
    while !outbox_pruned::try_lock(session).await? {
        if Instant::now() >= until {
            return Err(PruneError::Busy);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(())
}

struct Pruning<T> {
    session: LoneSession,
    settings: PruneSettings,
    can_detach: bool,
    gone: Vec<Gone>,
    tell: T,
}

/// Whether something came to its end, or others were in the way for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    ToItsEnd,
    InTheWay,
}

impl<T: FnMut(&Gone)> Pruning<T> {
    async fn run(&mut self) -> Result<Pruned, PruneError> {
        let mut in_the_way = self.finish_what_was_left().await?;
        let low_water = low_water::read(&self.session).await?;
        if in_the_way.is_none()
            && let Some(low_water) = &low_water
        {
            in_the_way = self.drop_below(low_water.position).await?;
        }
        let in_the_way = match in_the_way {
            Some(partition) => {
                let holders = outbox_partitions::holders(&self.session, &partition).await?;
                Some(InTheWay { partition, holders })
            }
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
                State::Pending if !self.settings.dry_run => self.finalize(&table.name, self.deadline()).await?,
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
        self.can_detach = can_detach && outbox_partitions::can_be_detached(&self.session).await?;
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

    /// Lets one go, from the step on at which it stands.
    async fn go(&mut self, table: &Standing) -> Result<Came, DatabaseError> {
        let Standing { name, state, bytes } = table;
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
                self.drop_attached(name).await?
            }
            State::Pending => {
                let until = self.deadline();
                match self.finalize(name, until).await? {
                    Came::ToItsEnd => self.drop_detached(name).await?,
                    Came::InTheWay => Came::InTheWay,
                }
            }
            State::Detached => self.drop_detached(name).await?,
        };
        if came == Came::ToItsEnd {
            let gone = Gone { partition: name.clone(), events: contents.events, bytes: *bytes };
            (self.tell)(&gone);
            self.gone.push(gone);
        }
        Ok(came)
    }

    async fn drop_attached(&self, name: &str) -> Result<Came, DatabaseError> {
        let until = self.deadline();
        if !self.can_detach {
            return again_until(until, || outbox_partitions::try_drop_attached(&self.session, name)).await;
        }
        let detached = match came(outbox_partitions::detach(&self.session, name, self.settings.patience).await)? {
            Came::ToItsEnd => Came::ToItsEnd,
            Came::InTheWay => self.finalize(name, until).await?,
        };
        match detached {
            Came::ToItsEnd => self.drop_detached(name).await,
            Came::InTheWay => Ok(Came::InTheWay),
        }
    }

    async fn finalize(&self, name: &str, until: Instant) -> Result<Came, DatabaseError> {
        again_until(until, || outbox_partitions::try_finalize(&self.session, name)).await
    }

    async fn drop_detached(&self, name: &str) -> Result<Came, DatabaseError> {
        came(outbox_partitions::drop_detached(&self.session, name, self.settings.patience).await)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.settings.patience
    }
}

/// The position after the last of a partition.
fn end_of(table: &Standing) -> Option<i64> {
    match table.state {
        State::Attached { below } => Some(below),
        State::Pending | State::Detached => None,
    }
}

fn came(ended: Result<(), DatabaseError>) -> Result<Came, DatabaseError> {
    match ended {
        Ok(()) => Ok(Came::ToItsEnd),
        Err(error) if error.gave_way() => Ok(Came::InTheWay),
        Err(error) => Err(error),
    }
}

/// Tries the same again, as long as others are in the way.
async fn again_until<F: Future<Output = Result<(), DatabaseError>>>(
    until: Instant,
    attempt: impl Fn() -> F,
) -> Result<Came, DatabaseError> {
    loop {
        if came(attempt().await)? == Came::ToItsEnd {
            return Ok(Came::ToItsEnd);
        }
        if Instant::now() >= until {
            return Ok(Came::InTheWay);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
