//! `relay_chunks`: events that a relay is carrying, leased in the database's time.

use std::ops::RangeInclusive;
use std::time::Duration;

use tokio_postgres::Row;
use uuid::Uuid;

use super::relay_slot::Slot;
use crate::database::{DatabaseError, Transaction};

/// A chunk, as its owner knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its number.
    pub id: i64,
    /// The positions that it covers; not every one of them has an event.
    pub positions: RangeInclusive<i64>,
}

/// Leases a chunk to this owner.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn open(
    transaction: &Transaction,
    slot: &Slot,
    positions: RangeInclusive<i64>,
    owner: Uuid,
    lease: Duration,
) -> Result<Chunk, DatabaseError> {
    let sql = format!(
        "INSERT INTO {}.relay_chunks (sink, slot, first_position, last_position, owner, leased_until)
         VALUES ($1, $2, $3, $4, $5::text::uuid, pg_catalog.clock_timestamp() + $6 * interval '1 second') RETURNING id",
        transaction.schemas().own
    );
    let (owner, lease) = (owner.to_string(), lease.as_secs_f64());
    let row = transaction
        .query_one(
            "open a chunk",
            &sql,
            &[&slot.sink, &slot.number, positions.start(), positions.end(), &owner, &lease],
        )
        .await?;
    Ok(Chunk { id: row.get(0), positions })
}

/// Takes over one chunk whose lease has ended, if there is any.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn take_over(
    transaction: &Transaction,
    slot: &Slot,
    owner: Uuid,
    lease: Duration,
) -> Result<Option<Chunk>, DatabaseError> {
    let own = &transaction.schemas().own;
    let sql = format!(
        "UPDATE {own}.relay_chunks SET owner = $3::text::uuid, attempts = attempts + 1,
                leased_until = pg_catalog.clock_timestamp() + $4 * interval '1 second'
         WHERE id = (SELECT id FROM {own}.relay_chunks
                     WHERE sink = $1 AND slot = $2 AND leased_until < pg_catalog.clock_timestamp()
                     ORDER BY leased_until LIMIT 1 FOR UPDATE SKIP LOCKED)
         RETURNING id, first_position, last_position"
    );
    let (owner, lease) = (owner.to_string(), lease.as_secs_f64());
    let rows = transaction.query("take a chunk over", &sql, &[&slot.sink, &slot.number, &owner, &lease]).await?;
    Ok(rows.first().map(chunk))
}

fn chunk(row: &Row) -> Chunk {
    Chunk { id: row.get(0), positions: row.get(1)..=row.get(2) }
}

/// Leases a chunk for longer; `false` where it is no longer this owner's.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn renew(
    transaction: &Transaction,
    chunk: &Chunk,
    owner: Uuid,
    lease: Duration,
) -> Result<bool, DatabaseError> {
    let sql = format!(
        "UPDATE {}.relay_chunks SET leased_until = pg_catalog.clock_timestamp() + $3 * interval '1 second'
         WHERE id = $1 AND owner = $2::text::uuid",
        transaction.schemas().own
    );
    let (owner, lease) = (owner.to_string(), lease.as_secs_f64());
    Ok(transaction.execute("renew a lease", &sql, &[&chunk.id, &owner, &lease]).await? == 1)
}

/// Removes a chunk whose events are carried; `false` where it is no longer this owner's, and whoever has it carries them again.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn close(transaction: &Transaction, chunk: &Chunk, owner: Uuid) -> Result<bool, DatabaseError> {
    let sql =
        format!("DELETE FROM {}.relay_chunks WHERE id = $1 AND owner = $2::text::uuid", transaction.schemas().own);
    Ok(transaction.execute("close a chunk", &sql, &[&chunk.id, &owner.to_string()]).await? == 1)
}

/// How many chunks of a sink are open.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn count(transaction: &Transaction, sink: &str) -> Result<i64, DatabaseError> {
    let sql = format!("SELECT count(*) FROM {}.relay_chunks WHERE sink = $1", transaction.schemas().own);
    Ok(transaction.query_one("count the chunks", &sql, &[&sink]).await?.get(0))
}
