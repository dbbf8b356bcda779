//! `partitioning`: which tables are partitioned by time.

use time::OffsetDateTime;

use super::time_partitions::{Parent, Period};
use crate::database::{DatabaseError, LoneSession};

/// A table that is partitioned by time, or is being made so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partitioned {
    /// The table.
    pub parent: Parent,
    /// How much time a new partition holds.
    pub period: Period,
    /// Until when there are partitions; while it is being made so, until when the first is to last.
    pub made_until: OffsetDateTime,
    /// Since when it is partitioned; none while that is being prepared.
    pub since: Option<OffsetDateTime>,
}

/// Every one.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn read(session: &LoneSession) -> Result<Vec<Partitioned>, DatabaseError> {
    let sql = format!("SELECT parent, period, made_until, since FROM {}.partitioning", session.schemas().own);
    let rows = session.query("ask which tables are partitioned", &sql, &[]).await?;
    let read = |row: &tokio_postgres::Row| {
        Some(Partitioned {
            parent: row.get::<_, &str>(0).parse().ok()?,
            period: row.get::<_, &str>(1).parse().ok()?,
            made_until: row.get(2),
            since: row.get(3),
        })
    };
    Ok(rows.iter().filter_map(read).collect())
}

/// Says how much time the next partitions of a table hold that is partitioned already.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn set_period(session: &LoneSession, parent: Parent, period: Period) -> Result<(), DatabaseError> {
    let sql = format!("UPDATE {}.partitioning SET period = $2 WHERE parent = $1", session.schemas().own);
    session.query("note the period", &sql, &[&parent.as_str(), &period.as_str()]).await.map(drop)
}
