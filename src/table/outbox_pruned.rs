//! `outbox_pruned`: which events are gone, noted before they go; and the lock under which they go.

use time::OffsetDateTime;

use crate::database::{DatabaseError, Transaction};

// Advisory locks have no schema: the name tells installations of one database apart.
const LOCK_ID: &str = "pg_catalog.hashtextextended($1, 0)";

fn lock_name(own: &str) -> String {
    format!("{own}.outbox_pruned")
}

/// Waits until no partition is about to go, and lets none go until the end of the transaction. What lowers the low water
/// of the sinks is done under it: a new sink, and events that are to be sent once more, which the transaction must still
/// see in `outbox` after this.
///
/// # Errors
///
/// [`DatabaseError`], also where that takes too long.
pub async fn keep_pruner_away(transaction: &Transaction) -> Result<(), DatabaseError> {
    let sql = format!("SELECT pg_catalog.pg_advisory_xact_lock({LOCK_ID})");
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
