//! Partitioning tables that stand there, beside loaders and readers.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::database::{Database, DatabaseError, LoneSession};
use crate::detach::{Came, InTheWay, again_until, came, until_so};
use crate::failpoint::{RetainStep, around};
use crate::table::conversion;
pub use crate::table::conversion::Found as Obstacle;
use crate::table::time_partitions::{self, Parent, Period};
use crate::table::{distribution, partitioning, retired_partitions};

/// What became of the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Converted {
    /// Those that are partitioned now and were not, with the end of the first partition of each.
    pub converted: Vec<(Parent, OffsetDateTime)>,
    /// How many partitions were made.
    pub made: u32,
}

/// Why they could not be partitioned. They are as they were, but for what [`Converted`] would have named before.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The database refuses.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Somebody has the lock.
    #[error("another `turnstile migrate --partition`, `turnstile retain` or `turnstile archive` is at work")]
    Busy,
    /// It is spread over several servers.
    #[error("{0} is distributed over the workers of a cluster, and cannot be partitioned there")]
    Distributed(Parent),
    /// Something would not go along.
    #[error("{} cannot be partitioned while it has: {}", .0, named(.1))]
    Obstacles(Parent, Vec<Obstacle>),
    /// Somebody held the table all along.
    #[error("{} is not partitioned yet: transactions hold it that began before", .0)]
    InTheWay(Parent, InTheWay),
}

fn named(obstacles: &[Obstacle]) -> String {
    let named: Vec<String> = obstacles.iter().map(|one| format!("{} {}", one.kind, one.name)).collect();
    named.join(", ")
}

impl ConvertError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Database(error) => error.remedy().to_owned(),
            Self::Busy => "wait until it has ended: pg_locks shows who holds an advisory lock".to_owned(),
            Self::Distributed(_) => "call undistribute_table for each distributed table, and run `turnstile migrate` with --partition and \
                                     --distribute, which partitions first"
                .to_owned(),
            Self::Obstacles(..) => "drop it, or give rows their date, and run the same again; what was dropped can be made \
                                    again afterwards, unless a partitioned table cannot have it: a unique index must contain \
                                    the column that the table is partitioned by"
                .to_owned(),
            Self::InTheWay(_, in_the_way) => {
                format!("run the same again once they have ended{}", in_the_way.named())
            }
        }
    }
}

/// Partitions the tables where they are not, the keys of producers only if those carry their time, and says how much time the next partitions hold where they are. Waits for at most
/// `patience` for those who are in the way, for each of three locks on each table; a loader waits for none of it for longer than
/// 50 ms at a time.
///
/// # Errors
///
/// [`ConvertError`]
pub async fn partition(database: &Database, period: Period, patience: Duration) -> Result<Converted, ConvertError> {
    let session = database.lone_session().await?;
    let locked = until_so(Instant::now() + patience, || retired_partitions::try_lock(&session)).await?;
    if locked == Came::InTheWay {
        return Err(ConvertError::Busy);
    }
    let mut waiting = Vec::new();
    for parent in Parent::ALL {
        if conversion::is_partitioned(&session, parent).await? {
            partitioning::set_period(&session, parent, period).await?;
            continue;
        }
        let is_distributed = distribution::is_distributed(&session, parent).await?;
        // Where keys carry their time only since they are distributed, they leave one by one.
        if parent == Parent::Identities && (is_distributed || !conversion::keys_carry_time(&session).await?) {
            continue;
        }
        if is_distributed {
            return Err(ConvertError::Distributed(parent));
        }
        let obstacles = conversion::obstacles(&session, parent).await?;
        if !obstacles.is_empty() {
            return Err(ConvertError::Obstacles(parent, obstacles));
        }
        waiting.push(parent);
    }
    let mut done = Converted::default();
    for parent in waiting {
        let cut = conversion::first_cut(&session, period).await?;
        let converted = convert(&session, parent, period, cut, patience).await;
        if converted.is_err() {
            again_until(Instant::now() + patience, || conversion::try_take_back(&session, parent)).await?;
        }
        converted?;
        done.converted.push((parent, cut));
    }
    done.made = time_partitions::extend(database).await?;
    Ok(done)
}

async fn convert(
    session: &LoneSession,
    parent: Parent,
    period: Period,
    cut: OffsetDateTime,
    patience: Duration,
) -> Result<(), ConvertError> {
    if parent == Parent::UserLogins {
        let built = around(RetainStep::Convert, conversion::build_index(session, patience)).await;
        insist(session, parent, came(built)?).await?;
    }
    insist_on_lock(session).await?;
    conversion::begin(session, parent, period, cut).await?;
    let promising = again_until(Instant::now() + patience, || conversion::try_promise(session, parent, cut));
    insist(session, parent, around(RetainStep::Convert, promising).await?).await?;
    around(RetainStep::Convert, conversion::validate(session, parent)).await?;
    insist_on_lock(session).await?;
    let swapping = again_until(Instant::now() + patience, || conversion::try_swap(session, parent, cut));
    insist(session, parent, around(RetainStep::Convert, swapping).await?).await
}

/// A session that a pooler passes round has neither the lock that it has taken nor the limits that it has set.
async fn insist_on_lock(session: &LoneSession) -> Result<(), DatabaseError> {
    match retired_partitions::try_lock(session).await? {
        true => Ok(()),
        false => Err(session.passed_round("lock retention")),
    }
}

async fn insist(session: &LoneSession, parent: Parent, came: Came) -> Result<(), ConvertError> {
    match came {
        Came::ToItsEnd => Ok(()),
        Came::InTheWay => {
            let place = parent.place(session.schemas(), parent.as_str());
            Err(ConvertError::InTheWay(parent, InTheWay::of(session, place).await?))
        }
    }
}
