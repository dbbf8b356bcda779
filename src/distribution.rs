//! Spreading the tables over the workers of a Citus cluster.

use std::time::Duration;

use tokio::time::Instant;

use crate::database::{Database, DatabaseError};
use crate::detach::{Came, InTheWay, again_until, until_so};
use crate::table::conversion::Found;
use crate::table::distribution::{self, CLAIMS, TABLES};
use crate::table::retired_partitions;

/// So many shards for each worker, where nobody chose: few, because a transaction costs the more the more shards it writes to,
/// and enough to move some of them to another worker.
const SHARDS_PER_WORKER: u32 = 4;

/// What became of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Over how many workers.
    pub workers: u32,
    /// In how many shards each table is; nothing, where they were distributed before.
    pub shards: Option<u32>,
}

/// Why they could not be distributed. They are as they were, but for [`Remainder`](Self::Remainder).
#[derive(Debug, thiserror::Error)]
pub enum DistributeError {
    /// The database refuses.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Somebody has the lock.
    #[error("another `turnstile migrate`, `turnstile retain` or `turnstile archive` is at work")]
    Busy,
    /// It is no cluster.
    #[error("the database has no extension citus")]
    NoCluster,
    /// It is a worker.
    #[error("this server is a worker of the cluster, and not its coordinator")]
    NotTheCoordinator,
    /// Nobody takes shards.
    #[error("no worker of the cluster takes shards")]
    NoWorkers,
    /// Some are distributed, and others are not.
    #[error("only some tables are distributed: {}", .0.join(", "))]
    Half(Vec<&'static str>),
    /// Something would not go along.
    #[error("{} cannot be distributed while it has: {}", .0, named(.1))]
    Obstacles(&'static str, Vec<Found>),
    /// Somebody held a table all along.
    #[error("the tables are not distributed yet: transactions hold them for too long")]
    InTheWay(InTheWay),
    /// They are distributed, and somebody held what was to follow.
    #[error("the tables are distributed, and {} could not be locked to finish the work", .0.partition)]
    Remainder(InTheWay),
}

fn named(found: &[Found]) -> String {
    let named: Vec<String> = found.iter().map(|one| format!("{} {}", one.kind, one.name)).collect();
    named.join(", ")
}

impl DistributeError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Database(error) => error.remedy().to_owned(),
            Self::Busy => "wait until it has ended: pg_locks shows who holds an advisory lock".to_owned(),
            Self::NoCluster => "CREATE EXTENSION citus in this database on every server, and citus_add_node for each worker; or do \
                                without: docs/SCALE.md says when it pays"
                .to_owned(),
            Self::NotTheCoordinator => "name the coordinator in DATABASE_URL".to_owned(),
            Self::NoWorkers => "add one with citus_add_node".to_owned(),
            Self::Half(_) => "undistribute them with undistribute_table, and run the same again".to_owned(),
            Self::Obstacles(..) => "drop it, and move rows that no message brought to another table; then run the same again: a \
                                    distributed table has no triggers, and each unique index of it contains the column that it \
                                    is distributed by"
                .to_owned(),
            Self::InTheWay(in_the_way) | Self::Remainder(in_the_way) => {
                format!("run the same again once they have ended{}", in_the_way.named())
            }
        }
    }
}

/// Distributes the tables that grow with every login over the workers, where they are not. Waits for at most `patience` for
/// those who hold them. Once it has the locks, loaders wait until every row is on its worker.
///
/// # Errors
///
/// [`DistributeError`]
pub async fn distribute(
    database: &Database,
    shards: Option<u32>,
    patience: Duration,
) -> Result<Spread, DistributeError> {
    let session = database.lone_session().await?;
    let until = Instant::now() + patience;
    if until_so(until, || retired_partitions::try_lock(&session)).await? == Came::InTheWay {
        return Err(DistributeError::Busy);
    }
    let cluster = distribution::cluster(&session).await?.ok_or(DistributeError::NoCluster)?;
    if !cluster.is_coordinator {
        return Err(DistributeError::NotTheCoordinator);
    }
    if cluster.workers == 0 {
        return Err(DistributeError::NoWorkers);
    }
    let standing = distribution::standing(&session).await?;
    let mut spread = Spread { workers: cluster.workers, shards: None };
    if standing.is_empty() {
        for table in TABLES {
            let found = distribution::obstacles(&session, table).await?;
            if !found.is_empty() {
                return Err(DistributeError::Obstacles(table.name, found));
            }
        }
        let shards = shards.unwrap_or(cluster.workers.saturating_mul(SHARDS_PER_WORKER));
        if again_until(until, || distribution::try_distribute(&session, shards)).await? == Came::InTheWay {
            return Err(DistributeError::InTheWay(InTheWay::of(&session, CLAIMS.place(session.schemas())).await?));
        }
        spread.shards = Some(shards);
    } else if standing.len() < TABLES.len() {
        return Err(DistributeError::Half(standing));
    } else if again_until(until, || distribution::try_mend(&session)).await? == Came::InTheWay {
        return Err(DistributeError::Remainder(InTheWay::of(&session, CLAIMS.place(session.schemas())).await?));
    }
    // Also where they were distributed before: a run may have been cut off here.
    for table in TABLES {
        if again_until(until, || distribution::try_clear(&session, table)).await? == Came::InTheWay {
            return Err(DistributeError::Remainder(InTheWay::of(&session, table.place(session.schemas())).await?));
        }
    }
    Ok(spread)
}
