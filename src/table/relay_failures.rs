//! `relay_failures`: events that a sink has refused for a reason of their own.

use std::time::Duration;

use tokio_postgres::types::ToSql;

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

/// What the events of one subject are known by.
pub type Subject = [u8; 32];

/// An event that a sink refuses under order, or that stands behind one of its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InOrder {
    /// The event. Of one that stands behind another, the code says so.
    pub failure: Failure,
    /// Its subject.
    pub subject: Subject,
    /// Whether the sink was asked: only then does the next attempt wait.
    pub was_tried: bool,
}

/// How an event is tried again that a sink refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retrying {
    /// With how many attempts it is set aside.
    pub most_attempts: i32,
    /// How long it waits for the next.
    pub pause: Duration,
}

/// Notes that a sink has refused these; they wait for another attempt, unless that was the last.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn note(
    transaction: &Transaction,
    sink: &str,
    failures: &[Failure],
    retrying: Retrying,
) -> Result<(), DatabaseError> {
    let rows = failures.iter().map(|failure| (failure, None, true)).collect();
    insert(transaction, sink, rows, retrying).await
}

/// Notes under order what a sink has refused, and what stands behind it.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn note_in_order(
    transaction: &Transaction,
    sink: &str,
    failures: &[InOrder],
    retrying: Retrying,
) -> Result<(), DatabaseError> {
    let rows = failures.iter().map(|of| (&of.failure, Some(&of.subject[..]), of.was_tried)).collect();
    insert(transaction, sink, rows, retrying).await
}

/// Each with its subject, where order is kept, and whether the sink was asked.
async fn insert(
    transaction: &Transaction,
    sink: &str,
    rows: Vec<(&Failure, Option<&[u8]>, bool)>,
    Retrying { most_attempts, pause }: Retrying,
) -> Result<(), DatabaseError> {
    if rows.is_empty() {
        return Ok(());
    }
    // A chunk that was taken over may bring an event of which another relay has noted the same.
    let sql = format!(
        "INSERT INTO {}.relay_failures (sink, position, event_id, code, subject, attempts, next_at, status)
         SELECT $1, f.position, f.event_id, f.code, f.subject, f.attempts, pg_catalog.now() + f.attempts * ($7 * interval '1 second'),
                CASE WHEN f.attempts >= $8 THEN 'set_aside' ELSE 'waiting' END
         FROM unnest($2::bigint[], $3::bytea[], $4::text[], $5::bytea[], $6::integer[])
              AS f (position, event_id, code, subject, attempts)
         ON CONFLICT (sink, position) DO NOTHING",
        transaction.schemas().own
    );
    let positions: Vec<i64> = rows.iter().map(|(failure, ..)| failure.position).collect();
    let ids: Vec<&[u8]> = rows.iter().map(|(failure, ..)| &failure.event_id.as_bytes()[..]).collect();
    let codes: Vec<&str> = rows.iter().map(|(failure, ..)| &*failure.code).collect();
    let subjects: Vec<Option<&[u8]>> = rows.iter().map(|(_, subject, _)| *subject).collect();
    let attempts: Vec<i32> = rows.iter().map(|(.., was_tried)| i32::from(*was_tried)).collect();
    let parameters: [&(dyn ToSql + Sync); 8] =
        [&sink, &positions, &ids, &codes, &subjects, &attempts, &pause.as_secs_f64(), &most_attempts];
    transaction.execute("note failures", &sql, &parameters).await.map(drop)
}

/// Which of these subjects have an event that is refused, or set aside: it keeps the later ones waiting.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn held(transaction: &Transaction, sink: &str, subjects: &[Subject]) -> Result<Vec<Subject>, DatabaseError> {
    // LIMIT keeps the planner from reading every failure.
    let sql = format!(
        "SELECT s.subject FROM unnest($2::bytea[]) AS s (subject)
         CROSS JOIN LATERAL (SELECT FROM {}.relay_failures
                             WHERE sink = $1 AND subject = s.subject AND status <> 'discarded' LIMIT 1) AS f",
        transaction.schemas().own
    );
    let subjects: Vec<&[u8]> = subjects.iter().map(|subject| &subject[..]).collect();
    let rows = transaction.query("ask which subjects are held", &sql, &[&sink, &subjects]).await?;
    Ok(rows.iter().filter_map(|row| row.get::<_, &[u8]>(0).try_into().ok()).collect())
}

/// Takes up, under order, events whose next attempt is due: of each subject only the first that keeps others waiting. Nobody
/// else takes them up within the lease.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn take_first_due(
    transaction: &Transaction,
    sink: &str,
    most: i64,
    lease: Duration,
) -> Result<Vec<i64>, DatabaseError> {
    let own = &transaction.schemas().own;
    let sql = format!(
        "WITH RECURSIVE {}
         UPDATE {own}.relay_failures AS f SET next_at = pg_catalog.clock_timestamp() + $3 * interval '1 second'
         FROM (SELECT w.position FROM first JOIN {own}.relay_failures AS w ON w.sink = $1 AND w.position = first.position
               WHERE w.status = 'waiting' AND w.next_at <= pg_catalog.clock_timestamp()
               ORDER BY w.next_at LIMIT $2 FOR UPDATE OF w SKIP LOCKED) AS due
         WHERE f.sink = $1 AND f.position = due.position RETURNING f.position",
        first_of_each_subject(transaction)
    );
    let rows = transaction.query("take up failures in order", &sql, &[&sink, &most, &lease.as_secs_f64()]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Whether, under order, an event waits for another attempt that does not stand behind one that is set aside.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn waits_in_order(transaction: &Transaction, sink: &str) -> Result<bool, DatabaseError> {
    let sql = format!(
        "WITH RECURSIVE {} SELECT EXISTS (SELECT FROM first WHERE status = 'waiting')",
        first_of_each_subject(transaction)
    );
    Ok(transaction.query_one("ask whether failures wait", &sql, &[&sink]).await?.get(0))
}

/// Of each subject the first event that keeps others waiting: one look into the index for each, however many stand behind it.
fn first_of_each_subject(transaction: &Transaction) -> String {
    let own = &transaction.schemas().own;
    format!(
        "first AS (
             (SELECT subject, position, status FROM {own}.relay_failures
              WHERE sink = $1 AND subject IS NOT NULL AND status <> 'discarded' ORDER BY subject, position LIMIT 1)
             UNION ALL
             SELECT n.* FROM first CROSS JOIN LATERAL
                 (SELECT f.subject, f.position, f.status FROM {own}.relay_failures AS f
                  WHERE f.sink = $1 AND f.subject > first.subject AND f.status <> 'discarded'
                  ORDER BY f.subject, f.position LIMIT 1) AS n)"
    )
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

/// Notes other attempts that were refused: each event waits again or, after the last, is set aside. One that has been set aside or
/// given up meanwhile stays so. Gives the number of those that are set aside now.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn refused_again(
    transaction: &Transaction,
    sink: &str,
    failures: &[Failure],
    Retrying { most_attempts, pause }: Retrying,
) -> Result<u64, DatabaseError> {
    if failures.is_empty() {
        return Ok(0);
    }
    let sql = format!(
        "UPDATE {}.relay_failures AS r SET attempts = r.attempts + 1, code = f.code,
                next_at = pg_catalog.now() + $5 * interval '1 second',
                status = CASE WHEN r.attempts + 1 >= $4 THEN 'set_aside' ELSE 'waiting' END
         FROM unnest($2::bigint[], $3::text[]) AS f (position, code)
         WHERE r.sink = $1 AND r.position = f.position AND r.status = 'waiting'
         RETURNING r.status = 'set_aside'",
        transaction.schemas().own
    );
    let positions: Vec<i64> = failures.iter().map(|failure| failure.position).collect();
    let codes: Vec<&str> = failures.iter().map(|failure| &*failure.code).collect();
    let parameters: [&(dyn ToSql + Sync); 5] = [&sink, &positions, &codes, &most_attempts, &pause.as_secs_f64()];
    let rows = transaction.query("note other failures", &sql, &parameters).await?;
    Ok(rows.iter().filter(|row| row.get(0)).count() as u64)
}

/// Removes those that the sink has taken after all.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn remove(transaction: &Transaction, sink: &str, positions: &[i64]) -> Result<(), DatabaseError> {
    if positions.is_empty() {
        return Ok(());
    }
    let sql =
        format!("DELETE FROM {}.relay_failures WHERE sink = $1 AND position = ANY ($2)", transaction.schemas().own);
    transaction.execute("remove failures", &sql, &[&sink, &positions]).await.map(drop)
}

/// The lowest positions whose next attempt is awaited.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn first_waiting(transaction: &Transaction, sink: &str, most: i64) -> Result<Vec<i64>, DatabaseError> {
    let sql = format!(
        "SELECT position FROM {}.relay_failures WHERE sink = $1 AND status = 'waiting' ORDER BY position LIMIT $2",
        transaction.schemas().own
    );
    let rows = transaction.query("read the failures that wait", &sql, &[&sink, &most]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
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
