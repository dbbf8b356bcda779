//! `relay_chunks`: events that a relay is carrying, leased in the database's time.

use std::ops::RangeInclusive;
use std::time::Duration;

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::relay_slot::Slot;
use crate::database::{DatabaseError, Transaction};

/// A chunk, as its owner knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its number.
    pub id: i64,
    /// What its lease is known by. Each lease has another: a crash of the server may take a chunk back, and the next gets its
    /// number.
    lease: Uuid,
    /// The positions that it covers; not every one of them has an event.
    pub positions: RangeInclusive<i64>,
}

impl Chunk {
    /// Whether it is one of about so many, by the number of its lease, which is drawn by lot.
    pub fn is_one_in(&self, many: u128) -> bool {
        self.lease.as_u128().is_multiple_of(many)
    }
}

/// Leases a chunk; `owner` is for people to read.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn open(
    transaction: &Transaction,
    slot: &Slot,
    positions: RangeInclusive<i64>,
    owner: &str,
    for_long: Duration,
) -> Result<Chunk, DatabaseError> {
    let sql = format!(
        "INSERT INTO {}.relay_chunks (sink, slot, first_position, last_position, lease, leased_until, owner)
         VALUES ($1, $2, $3, $4, $5::text::uuid, pg_catalog.clock_timestamp() + $6 * interval '1 second', $7) RETURNING id",
        transaction.schemas().own
    );
    let (lease, for_long) = (Uuid::new_v4(), for_long.as_secs_f64());
    let row = transaction
        .query_one(
            "open a chunk",
            &sql,
            &[&slot.sink, &slot.number, positions.start(), positions.end(), &lease.to_string(), &for_long, &owner],
        )
        .await?;
    Ok(Chunk { id: row.get(0), lease, positions })
}

/// Takes over one chunk whose lease has ended, if there is any.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn take_over(
    transaction: &Transaction,
    slot: &Slot,
    owner: &str,
    for_long: Duration,
) -> Result<Option<Chunk>, DatabaseError> {
    let own = &transaction.schemas().own;
    let sql = format!(
        "UPDATE {own}.relay_chunks SET lease = $3::text::uuid, attempts = attempts + 1, owner = $5,
                leased_until = pg_catalog.clock_timestamp() + $4 * interval '1 second'
         WHERE id = (SELECT id FROM {own}.relay_chunks
                     WHERE sink = $1 AND slot = $2 AND leased_until < pg_catalog.clock_timestamp()
                     ORDER BY leased_until LIMIT 1 FOR UPDATE SKIP LOCKED)
         RETURNING id, first_position, last_position"
    );
    let (lease, for_long) = (Uuid::new_v4(), for_long.as_secs_f64());
    let parameters: [&(dyn ToSql + Sync); 5] = [&slot.sink, &slot.number, &lease.to_string(), &for_long, &owner];
    let rows = transaction.query("take a chunk over", &sql, &parameters).await?;
    Ok(rows.first().map(|row| Chunk { id: row.get(0), lease, positions: row.get(1)..=row.get(2) }))
}

/// Leases a chunk for longer; `false` where this lease on it is over.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn renew(transaction: &Transaction, chunk: &Chunk, for_long: Duration) -> Result<bool, DatabaseError> {
    let sql = format!(
        "UPDATE {}.relay_chunks SET leased_until = pg_catalog.clock_timestamp() + $3 * interval '1 second'
         WHERE id = $1 AND lease = $2::text::uuid",
        transaction.schemas().own
    );
    let (lease, for_long) = (chunk.lease.to_string(), for_long.as_secs_f64());
    Ok(transaction.execute("renew a lease", &sql, &[&chunk.id, &lease, &for_long]).await? == 1)
}

/// Removes a chunk whose events are carried; `false` if this lease on it is over: then the relay that has
/// it now carries them again.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn close(transaction: &Transaction, chunk: &Chunk) -> Result<bool, DatabaseError> {
    let sql =
        format!("DELETE FROM {}.relay_chunks WHERE id = $1 AND lease = $2::text::uuid", transaction.schemas().own);
    Ok(transaction.execute("close a chunk", &sql, &[&chunk.id, &chunk.lease.to_string()]).await? == 1)
}

/// What a mutant does: removes a chunk although another relay has the lease on it.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn close_of_anybody(transaction: &Transaction, chunk: &Chunk) -> Result<bool, DatabaseError> {
    let sql = format!("DELETE FROM {}.relay_chunks WHERE id = $1", transaction.schemas().own);
    Ok(transaction.execute("close a chunk", &sql, &[&chunk.id]).await? == 1)
}

/// Opens chunks of at most so many positions that nobody has taken up: a relay takes each over as that of a dead one. Gives
/// their number.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn leave(
    transaction: &Transaction,
    slot: &Slot,
    positions: &RangeInclusive<i64>,
    most: i64,
) -> Result<u64, DatabaseError> {
    let sql = format!(
        "INSERT INTO {}.relay_chunks (sink, slot, first_position, last_position, lease, leased_until)
         SELECT $1, $2, f.position, least(f.position + $5 - 1::bigint, $4), pg_catalog.gen_random_uuid(), pg_catalog.now()
         FROM pg_catalog.generate_series($3::bigint, $4::bigint, $5::bigint) AS f (position)",
        transaction.schemas().own
    );
    let (first, last) = (positions.start(), positions.end());
    transaction.execute("open chunks", &sql, &[&slot.sink, &slot.number, first, last, &most]).await
}

/// What the open chunks of a sink cover, as far as so many are open.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn covered(
    transaction: &Transaction,
    sink: &str,
    most: i64,
) -> Result<Vec<RangeInclusive<i64>>, DatabaseError> {
    let sql = format!(
        "SELECT first_position, last_position FROM {}.relay_chunks WHERE sink = $1 ORDER BY leased_until LIMIT $2",
        transaction.schemas().own
    );
    let rows = transaction.query("read what is being carried", &sql, &[&sink, &most]).await?;
    Ok(rows.iter().map(|row| row.get(0)..=row.get(1)).collect())
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
