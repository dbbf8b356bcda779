//! `relay_failures`: events that a sink has refused for a reason of their own.

use std::time::Duration;

use crate::database::{DatabaseError, Transaction};
use crate::message::MessageHash;

/// An event that a sink refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its position.
    pub position: i64,
    /// Its id.
    pub event_id: MessageHash,
    /// What the sink says of it: a code, never a value of the event.
    pub code: String,
}

/// Notes that a sink has refused these; they wait for another attempt.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn note(
    transaction: &Transaction,
    sink: &str,
    failures: &[Failure],
    pause: Duration,
) -> Result<(), DatabaseError> {
    if failures.is_empty() {
        return Ok(());
    }
    // A chunk that was taken over may bring an event of which another relay has noted the same.
    let sql = format!(
        "INSERT INTO {}.relay_failures (sink, position, event_id, code, next_at)
         SELECT $1, f.position, f.event_id, f.code, pg_catalog.now() + $5 * interval '1 second'
         FROM unnest($2::bigint[], $3::bytea[], $4::text[]) AS f (position, event_id, code)
         ON CONFLICT (sink, position) DO NOTHING",
        transaction.schemas().own
    );
    let positions: Vec<i64> = failures.iter().map(|failure| failure.position).collect();
    let ids: Vec<&[u8]> = failures.iter().map(|failure| &failure.event_id.as_bytes()[..]).collect();
    let codes: Vec<&str> = failures.iter().map(|failure| &*failure.code).collect();
    transaction.execute("note failures", &sql, &[&sink, &positions, &ids, &codes, &pause.as_secs_f64()]).await.map(drop)
}

/// Takes up events whose next attempt is due, and gives their positions. Nobody else does so within the lease.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn take_due(
    transaction: &Transaction,
    sink: &str,
    most: i64,
    lease: Duration,
) -> Result<Vec<i64>, DatabaseError> {
    let own = &transaction.schemas().own;
    let sql = format!(
        "UPDATE {own}.relay_failures AS f SET next_at = pg_catalog.clock_timestamp() + $3 * interval '1 second'
         FROM (SELECT position FROM {own}.relay_failures
               WHERE sink = $1 AND status = 'waiting' AND next_at <= pg_catalog.clock_timestamp()
               ORDER BY next_at LIMIT $2 FOR UPDATE SKIP LOCKED) AS due
         WHERE f.sink = $1 AND f.position = due.position RETURNING f.position"
    );
    let rows = transaction.query("take up failures", &sql, &[&sink, &most, &lease.as_secs_f64()]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Notes another attempt that was refused: the event waits again or, after the last, is set aside. One that is set aside or
/// discarded stays so: the attempt was one of a relay that was frozen.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn refused_again(
    transaction: &Transaction,
    sink: &str,
    failure: &Failure,
    most_attempts: i32,
    pause: Duration,
) -> Result<(), DatabaseError> {
    let sql = format!(
        "UPDATE {}.relay_failures SET attempts = attempts + 1, code = $3, next_at = pg_catalog.now() + $5 * interval '1 second',
                status = CASE WHEN attempts + 1 >= $4 THEN 'set_aside' ELSE 'waiting' END
         WHERE sink = $1 AND position = $2 AND status = 'waiting'",
        transaction.schemas().own
    );
    let pause = pause.as_secs_f64();
    transaction
        .execute("note another failure", &sql, &[&sink, &failure.position, &failure.code, &most_attempts, &pause])
        .await
        .map(drop)
}

/// Removes those that the sink has taken after all.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn remove(transaction: &Transaction, sink: &str, positions: &[i64]) -> Result<(), DatabaseError> {
    let sql =
        format!("DELETE FROM {}.relay_failures WHERE sink = $1 AND position = ANY ($2)", transaction.schemas().own);
    transaction.execute("remove failures", &sql, &[&sink, &positions]).await.map(drop)
}

/// How many events of a sink are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failures {
    /// They are tried again.
    pub waiting: i64,
    /// They wait for an operator.
    pub set_aside: i64,
}

/// How many events a sink refuses.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn count(transaction: &Transaction, sink: &str) -> Result<Failures, DatabaseError> {
    let sql = format!(
        "SELECT count(*) FILTER (WHERE status = 'waiting'), count(*) FILTER (WHERE status = 'set_aside')
         FROM {}.relay_failures WHERE sink = $1",
        transaction.schemas().own
    );
    let row = transaction.query_one("count the failures", &sql, &[&sink]).await?;
    Ok(Failures { waiting: row.get(0), set_aside: row.get(1) })
}
