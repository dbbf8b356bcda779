//! How a partition leaves its table, whichever it is: step by step, and none of them keeps loaders waiting.

use std::time::Duration;

use super::distribution;
use crate::database::schemas::Schema;
use crate::database::server::HAS_CITUS;
use crate::database::{DatabaseError, Limits, LoneSession};

/// A partition, by name.
#[derive(Clone, Copy, Debug)]
pub struct Place<'n> {
    /// The schema in which both stand.
    pub schema: &'n Schema,
    /// The table that it belongs to.
    pub parent: &'n str,
    /// Its own name.
    pub name: &'n str,
}

impl Place<'_> {
    /// The partition, as statements name it.
    pub fn partition(&self) -> String {
        format!("{}.{}", self.schema, quoted(self.name))
    }

    /// Its table, as statements name it.
    pub fn parent(&self) -> String {
        format!("{}.{}", self.schema, quoted(self.parent))
    }
}

/// A name as statements write it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Detaches a partition, beside readers and writers: waits until those have ended that may still look into it, and keeps
/// nobody waiting meanwhile. PostgreSQL 14 and newer. Given up after `patience`: then it is neither a partition for those who
/// read and write nor a table of its own, until [`try_finalize`] ends it.
///
/// # Errors
///
/// [`DatabaseError`]; see [`DatabaseError::gave_way`]
pub async fn detach(session: &LoneSession, place: Place<'_>, patience: Duration) -> Result<(), DatabaseError> {
    let sql = format!("ALTER TABLE {} DETACH PARTITION {} CONCURRENTLY", place.parent(), place.partition());
    session.run_within("detach a partition", &sql, Limits { statement: patience, lock: Duration::ZERO }).await
}

/// Brings a detaching to its end that was given up or cut off. It keeps those waiting who make partitions, and may keep
/// a reader waiting that began before: so it is tried for a moment only.
///
/// # Errors
///
/// [`DatabaseError`]; see [`DatabaseError::gave_way`]
pub async fn try_finalize(session: &LoneSession, place: Place<'_>) -> Result<(), DatabaseError> {
    let sql = format!("ALTER TABLE {} DETACH PARTITION {} FINALIZE", place.parent(), place.partition());
    session.run_within("finish detaching a partition", &sql, Limits { statement: A_MOMENT, lock: Duration::ZERO }).await
}

/// Less than the server waits before it looks for a deadlock.
const A_MOMENT: Duration = Duration::from_millis(500);

/// Drops a table that is a partition no more. Waits for readers who use it by its own name.
///
/// # Errors
///
/// [`DatabaseError`]; see [`DatabaseError::gave_way`]
pub async fn drop_detached(session: &LoneSession, place: Place<'_>, patience: Duration) -> Result<(), DatabaseError> {
    let sql = format!("DROP TABLE IF EXISTS {}", place.partition());
    session.run_within("drop a partition", &sql, Limits { statement: patience, lock: Duration::ZERO }).await
}

/// Drops a partition as it stands there. That locks the whole table, and everybody waits behind who waits for the lock: so it
/// is tried for 50 ms only.
///
/// # Errors
///
/// [`DatabaseError`]; see [`DatabaseError::gave_way`]
pub async fn try_drop_attached(session: &LoneSession, place: Place<'_>) -> Result<(), DatabaseError> {
    let sql = format!("DROP TABLE {}", place.partition());
    session.run_within("drop a partition", &sql, short(session).await?).await
}

/// Detaches a partition as PostgreSQL 13 can. It locks the whole table, and is tried for 50 ms only.
///
/// # Errors
///
/// [`DatabaseError`]; see [`DatabaseError::gave_way`]
pub async fn try_detach(session: &LoneSession, place: Place<'_>) -> Result<(), DatabaseError> {
    let sql = format!("ALTER TABLE {} DETACH PARTITION {}", place.parent(), place.partition());
    session.run_within("detach a partition", &sql, short(session).await?).await
}

/// For how long a lock on a whole table is waited for, since everybody waits behind: 50 ms.
pub const SHORT: Limits = Limits { statement: Duration::ZERO, lock: Duration::from_millis(50) };

/// The same where what holds the lock may stand on another server, which is waited for as long as the statement may take: 2 s.
const SHORT_ELSEWHERE: Limits = Limits { statement: Duration::from_secs(2), lock: SHORT.lock };

/// For how long a partition's lock is waited for, on whichever server it is held.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn short(session: &LoneSession) -> Result<Limits, DatabaseError> {
    Ok(match distribution::cluster(session).await? {
        None => SHORT,
        Some(_) => SHORT_ELSEWHERE,
    })
}

/// Whether partitions can be detached beside writers: since PostgreSQL 14, and not where the server has the extension
/// `citus`.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn can_be_detached(session: &LoneSession) -> Result<bool, DatabaseError> {
    let sql = format!("SELECT pg_catalog.current_setting('server_version_num')::integer >= 140000 AND NOT {HAS_CITUS}");
    Ok(session.query_one("ask what the server is", &sql, &[]).await?.get(0))
}

/// Who is in the way, for people: transactions that hold a lock on the table or on this partition, the oldest first.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn holders(session: &LoneSession, place: Place<'_>) -> Result<Vec<String>, DatabaseError> {
    let sql = "SELECT DISTINCT ON (a.xact_start, l.virtualtransaction) CASE WHEN l.pid IS NULL THEN 'a prepared transaction'
                   ELSE pg_catalog.format('pid %s (%s, since %s)', l.pid, coalesce(nullif(a.application_name, ''), 'unnamed'),
                       pg_catalog.to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SSZ')) END
               FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
               WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
                 AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
                 AND n.nspname = $1 AND c.relname IN ($2, $3)
               ORDER BY a.xact_start, l.virtualtransaction LIMIT 3";
    let rows = session.query("ask who is in the way", sql, &[&place.schema.name(), &place.parent, &place.name]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
