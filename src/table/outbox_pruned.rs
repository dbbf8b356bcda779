//! `outbox_pruned`: which events are gone, noted before they go; and the lock under which they go.

use time::OffsetDateTime;

use crate::database::{DatabaseError, LoneSession, NAMED_LOCK, Transaction};

/// A partition that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    /// The position after its last.
    pub below: i64,
    /// Its name.
    pub partition: &'a str,
    /// The latest `created_at` of its events; none where it holds none.
    pub written_until: Option<OffsetDateTime>,
}

fn lock_name(own: &str) -> String {
    format!("{own}.outbox_pruned")
}

/// Takes the lock under which partitions go, for as long as the session lives; `false` where somebody else has it.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn try_lock(session: &LoneSession) -> Result<bool, DatabaseError> {
    session.try_lock("lock the pruning", &lock_name(session.schemas().own.name())).await
}

/// Waits until no partition is about to go, and lets none go until the end of the transaction. What lowers the low water
/// of the sinks is done under it: a new sink, and events that are to be sent once more, which the transaction must still
/// see in `outbox` after this.
///
/// # Errors
///
/// [`DatabaseError`], also where that takes too long.
pub async fn keep_pruner_away(transaction: &Transaction) -> Result<(), DatabaseError> {
    let sql = format!("SELECT pg_catalog.pg_advisory_xact_lock({NAMED_LOCK})");
    let name = lock_name(transaction.schemas().own.name());
    transaction.query_one("wait for a pruning to end", &sql, &[&name]).await.map(drop)
}

/// Below which position events are gone, or are about to go; nothing where none ever went.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn below(transaction: &Transaction) -> Result<Option<i64>, DatabaseError> {
    let sql = format!("SELECT pg_catalog.max(below) FROM {}.outbox_pruned", transaction.schemas().own);
    Ok(transaction.query_one("ask which events are gone", &sql, &[]).await?.get(0))
}

/// The latest `created_at` of an event that is gone, or is about to go; nothing where none ever went.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn written_until(transaction: &Transaction) -> Result<Option<OffsetDateTime>, DatabaseError> {
    let sql = format!("SELECT pg_catalog.max(written_until) FROM {}.outbox_pruned", transaction.schemas().own);
    Ok(transaction.query_one("ask until when events are gone", &sql, &[]).await?.get(0))
}

/// Notes that a partition goes. With this, all that was committed before it is on the disk: what says that no sink needs
/// the partition any more outlives a crash of the server, although nobody waited for the disk then.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn note(session: &LoneSession, note: &Note<'_>) -> Result<(), DatabaseError> {
    // Always writes a row: a transaction that writes none ends without the disk.
    let sql = format!(
        "INSERT INTO {}.outbox_pruned (below, partition, written_until) VALUES ($1, $2, $3)
         ON CONFLICT (below) DO UPDATE SET partition = excluded.partition, written_until = excluded.written_until,
                                           pruned_at = excluded.pruned_at",
        session.schemas().own
    );
    session.query("note what goes", &sql, &[&note.below, &note.partition, &note.written_until]).await.map(drop)
}

/// The partitions that are noted, by the position after the last of each.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn noted(session: &LoneSession) -> Result<Vec<(i64, String)>, DatabaseError> {
    let sql = format!("SELECT below, partition FROM {}.outbox_pruned ORDER BY below", session.schemas().own);
    let rows = session.query("read what was to go", &sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
