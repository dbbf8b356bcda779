//! `retired_partitions`: which partitions by time are leaving or gone, noted before each step; and the lock under which they go.

use time::OffsetDateTime;

use super::time_partitions::{Parent, Partition};
use crate::database::{DatabaseError, LoneSession};

/// A partition that is leaving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retired {
    /// Its table.
    pub parent: Parent,
    /// Its name.
    pub name: String,
    /// Before which time it ends.
    pub until: OffsetDateTime,
    /// Whether it waits for an archive once it is detached.
    pub for_archive: bool,
    /// Whether it was found detached.
    pub is_detached: bool,
}

/// Takes the lock under which partitions leave, for as long as the session lives; `false` where somebody else has it.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn try_lock(session: &LoneSession) -> Result<bool, DatabaseError> {
    let name = format!("{}.retired_partitions", session.schemas().own.name());
    session.try_lock("lock retention", &name).await
}

/// Those that are not gone yet, in the order in which they go.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn leaving(session: &LoneSession) -> Result<Vec<Retired>, DatabaseError> {
    let sql = format!(
        "SELECT parent, partition, until, for_archive, detached_at IS NOT NULL FROM {}.retired_partitions
         WHERE dropped_at IS NULL ORDER BY until, parent DESC",
        session.schemas().own
    );
    let rows = session.query("read which partitions are leaving", &sql, &[]).await?;
    let read = |row: &tokio_postgres::Row| {
        Some(Retired {
            parent: row.get::<_, &str>(0).parse().ok()?,
            name: row.get(1),
            until: row.get(2),
            for_archive: row.get(3),
            is_detached: row.get(4),
        })
    };
    Ok(rows.iter().filter_map(read).collect())
}

/// Notes that a partition leaves.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn note(session: &LoneSession, partition: &Partition, for_archive: bool) -> Result<(), DatabaseError> {
    let sql = format!(
        "INSERT INTO {}.retired_partitions AS r (partition, parent, since, until, for_archive) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (partition) DO UPDATE SET for_archive = r.for_archive OR excluded.for_archive, detached_at = NULL, dropped_at = NULL",
        session.schemas().own
    );
    let Partition { parent, name, since, until, .. } = partition;
    session.query("note what leaves", &sql, &[name, &parent.as_str(), since, until, &for_archive]).await.map(drop)
}

/// Notes that it is a table of its own, with so many rows, to which nothing is added, and whether it waits for an archive.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn is_detached(session: &LoneSession, name: &str, rows: u64, for_archive: bool) -> Result<(), DatabaseError> {
    let sql = format!(
        "UPDATE {}.retired_partitions SET detached_at = coalesce(detached_at, now()), row_count = $2, for_archive = $3 WHERE partition = $1",
        session.schemas().own
    );
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    session.query("note what is detached", &sql, &[&name, &rows, &for_archive]).await.map(drop)
}

/// Notes that it is gone.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn is_dropped(session: &LoneSession, name: &str) -> Result<(), DatabaseError> {
    let sql = format!(
        "UPDATE {}.retired_partitions SET detached_at = coalesce(detached_at, now()), dropped_at = now() WHERE partition = $1",
        session.schemas().own
    );
    session.query("note what is gone", &sql, &[&name]).await.map(drop)
}
