//! `relay_gaps`: positions below the frontier at which no event was to be seen.

use std::ops::RangeInclusive;
use std::time::Duration;

use tokio_postgres::Row;

use super::relay_slot::Slot;
use crate::database::{DatabaseError, Transaction};

/// A gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Its number.
    pub id: i64,
    /// The positions that are missing.
    pub positions: RangeInclusive<i64>,
    /// The transactions that may still commit an event of it; none where nobody has looked yet.
    pub writers: Option<Vec<String>>,
}

/// Notes gaps of which nobody knows yet who may fill them.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn note(
    transaction: &Transaction,
    slot: &Slot,
    gaps: &[RangeInclusive<i64>],
    writers: Option<&[String]>,
) -> Result<(), DatabaseError> {
    if gaps.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO {}.relay_gaps (sink, slot, first_position, last_position, writers)
         SELECT $1, $2, g.first_position, g.last_position, $5
         FROM unnest($3::bigint[], $4::bigint[]) AS g (first_position, last_position)",
        transaction.schemas().own
    );
    let (first, last): (Vec<i64>, Vec<i64>) = gaps.iter().map(|gap| (*gap.start(), *gap.end())).unzip();
    transaction.execute("note gaps", &sql, &[&slot.sink, &slot.number, &first, &last, &writers]).await.map(drop)
}

/// Locks gaps above a position that nobody else is looking at, those at the lowest positions first.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn lock(transaction: &Transaction, slot: &Slot, above: i64, most: i64) -> Result<Vec<Gap>, DatabaseError> {
    let sql = format!(
        "SELECT id, first_position, last_position, writers FROM {}.relay_gaps
         WHERE sink = $1 AND slot = $2 AND first_position > $3
         ORDER BY first_position LIMIT $4 FOR UPDATE SKIP LOCKED",
        transaction.schemas().own
    );
    let rows = transaction.query("lock gaps", &sql, &[&slot.sink, &slot.number, &above, &most]).await?;
    Ok(rows.iter().map(gap).collect())
}

/// Says who may still fill a gap.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn await_writers(transaction: &Transaction, gap: i64, writers: &[String]) -> Result<(), DatabaseError> {
    let sql = format!("UPDATE {}.relay_gaps SET writers = $2 WHERE id = $1", transaction.schemas().own);
    transaction.execute("say who may fill a gap", &sql, &[&gap, &writers]).await.map(drop)
}

/// Removes gaps.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn remove(transaction: &Transaction, gaps: &[i64]) -> Result<(), DatabaseError> {
    let sql = format!("DELETE FROM {}.relay_gaps WHERE id = ANY ($1)", transaction.schemas().own);
    transaction.execute("remove gaps", &sql, &[&gaps]).await.map(drop)
}

/// The gaps of a sink, those at the lowest positions first, and for how long each has been known.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn open(transaction: &Transaction, sink: &str, most: i64) -> Result<Vec<(Gap, Duration)>, DatabaseError> {
    let sql = format!(
        "SELECT id, first_position, last_position, writers,
                extract(epoch FROM pg_catalog.clock_timestamp() - since)::double precision
         FROM {}.relay_gaps WHERE sink = $1 ORDER BY first_position LIMIT $2",
        transaction.schemas().own
    );
    let rows = transaction.query("read the gaps", &sql, &[&sink, &most]).await?;
    Ok(rows.iter().map(|row| (gap(row), Duration::try_from_secs_f64(row.get(4)).unwrap_or_default())).collect())
}

/// How many gaps a sink has.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn count(transaction: &Transaction, sink: &str) -> Result<i64, DatabaseError> {
    let sql = format!("SELECT count(*) FROM {}.relay_gaps WHERE sink = $1", transaction.schemas().own);
    Ok(transaction.query_one("count the gaps", &sql, &[&sink]).await?.get(0))
}

/// How many gaps a sink has, and how many of them have been known for longer than this.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn count_by_age(transaction: &Transaction, sink: &str, old: Duration) -> Result<(i64, i64), DatabaseError> {
    let sql = format!(
        "SELECT count(*), count(*) FILTER (WHERE since < pg_catalog.clock_timestamp() - $2 * interval '1 second')
         FROM {}.relay_gaps WHERE sink = $1",
        transaction.schemas().own
    );
    let row = transaction.query_one("count the gaps by age", &sql, &[&sink, &old.as_secs_f64()]).await?;
    Ok((row.get(0), row.get(1)))
}

fn gap(row: &Row) -> Gap {
    Gap { id: row.get(0), positions: row.get(1)..=row.get(2), writers: row.get(3) }
}
