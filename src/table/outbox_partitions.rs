//! The partitions of `outbox`, one by one: which there are, what is in them, and how they go.

use std::time::Duration;

use time::OffsetDateTime;

use super::facts::partition_of;
use crate::database::{DatabaseError, Limits, LoneSession};

/// A table that holds events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its name, in the schema of Turnstile's own tables.
    pub name: String,
    /// How it belongs to `outbox`.
    pub state: State,
    /// How many bytes it takes with its indexes.
    pub bytes: u64,
}

/// How a table belongs to `outbox`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is a partition.
    Attached {
        /// The position after its last.
        below: i64,
    },
    /// It was to be detached, and that has not come to its end: nobody sees its events any more.
    Pending,
    /// It is a table of its own.
    Detached,
}

/// What stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Every table of events, and every one that may have been.
    pub tables: Vec<Standing>,
    /// Whether there is a default partition: then none can be detached beside writers.
    pub has_default: bool,
    /// The position that was given last: its partition is written.
    pub last_given: i64,
}

/// Reads which tables there are.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn read(session: &LoneSession) -> Result<Seen, DatabaseError> {
    let own = &session.schemas().own;
    // PostgreSQL 13 has no column inhdetachpending.
    let sql = format!(
        "SELECT c.relname::text, pg_catalog.pg_get_expr(c.relpartbound, c.oid),
                coalesce((pg_catalog.to_jsonb(i) ->> 'inhdetachpending')::boolean, false),
                pg_catalog.pg_total_relation_size(c.oid),
                (SELECT s.last_value FROM {own}.outbox_position_seq s)
         FROM pg_catalog.pg_class p JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
         JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relkind = 'r' AND c.relowner = p.relowner
         LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid
         WHERE n.nspname = $1 AND p.relname = 'outbox' AND p.relkind = 'p'
           AND (i.inhparent = p.oid OR i.inhparent IS NULL AND c.relname ~ '^outbox_[0-9]+$')
         ORDER BY c.relname"
    );
    let rows = session.query("read the partitions", &sql, &[&own.name()]).await?;
    let mut seen = Seen { tables: Vec::with_capacity(rows.len()), has_default: false, last_given: 0 };
    for row in rows {
        let (bound, is_pending): (Option<&str>, bool) = (row.get(1), row.get(2));
        let state = match bound {
            _ if is_pending => State::Pending,
            None => State::Detached,
            Some("DEFAULT") => {
                seen.has_default = true;
                continue;
            }
            Some(bound) => match partition_of(bound) {
                Some(range) => State::Attached { below: range.to },
                None => continue,
            },
        };
        let bytes = u64::try_from(row.get::<_, i64>(3)).unwrap_or(0);
        seen.tables.push(Standing { name: row.get(0), state, bytes });
        seen.last_given = row.get(4);
    }
    Ok(seen)
}

/// What a table of events holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// How many events.
    pub events: u64,
    /// The latest `created_at` of them.
    pub written_until: Option<OffsetDateTime>,
}

/// Reads the whole of a table, of which nothing changes any more. `outbox` itself is not touched.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn contents(session: &LoneSession, name: &str) -> Result<Contents, DatabaseError> {
    let sql = format!("SELECT count(*), pg_catalog.max(created_at) FROM {}", in_own(session, name));
    let row = session.query_one("read a partition", &sql, &[]).await?;
    Ok(Contents { events: u64::try_from(row.get::<_, i64>(0)).unwrap_or(0), written_until: row.get(1) })
}

/// Detaches a partition, beside readers and writers: waits until those have ended that may still look into it, and keeps
/// nobody waiting meanwhile. PostgreSQL 14 and newer. Given up after `patience`: then it is [`State::Pending`].
///
/// # Errors
///
/// [`DatabaseError`]; see [`DatabaseError::gave_way`]
pub async fn detach(session: &LoneSession, name: &str, patience: Duration) -> Result<(), DatabaseError> {
    let (own, partition) = (&session.schemas().own, in_own(session, name));
    let sql = format!("ALTER TABLE {own}.outbox DETACH PARTITION {partition} CONCURRENTLY");
    session.run_within("detach a partition", &sql, Limits { statement: patience, lock: Duration::ZERO }).await
}

/// Brings a detaching to its end that was given up or cut off. It keeps those waiting who make partitions, and may keep
/// a reader waiting that began before: so it is tried for a moment only.
///
/// # Errors
///
/// [`DatabaseError`]; see [`DatabaseError::gave_way`]
pub async fn try_finalize(session: &LoneSession, name: &str) -> Result<(), DatabaseError> {
    let (own, partition) = (&session.schemas().own, in_own(session, name));
    let sql = format!("ALTER TABLE {own}.outbox DETACH PARTITION {partition} FINALIZE");
    session.run_within("finish detaching a partition", &sql, Limits { statement: A_MOMENT, lock: Duration::ZERO }).await
}

/// Less than the server waits before it looks for a deadlock.
const A_MOMENT: Duration = Duration::from_millis(500);

/// Drops a table that is a partition no more. Waits for readers who use it by its own name.
///
/// # Errors
///
/// [`DatabaseError`]; see [`DatabaseError::gave_way`]
pub async fn drop_detached(session: &LoneSession, name: &str, patience: Duration) -> Result<(), DatabaseError> {
    let sql = format!("DROP TABLE {}", in_own(session, name));
    session.run_within("drop a partition", &sql, Limits { statement: patience, lock: Duration::ZERO }).await
}

/// Drops a partition as it stands there. That locks `outbox` itself, and everybody waits behind who waits for the lock: so it
/// is tried for 50 ms only.
///
/// # Errors
///
/// [`DatabaseError`]; see [`DatabaseError::gave_way`]
pub async fn try_drop_attached(session: &LoneSession, name: &str) -> Result<(), DatabaseError> {
    let sql = format!("DROP TABLE {}", in_own(session, name));
    let limits = Limits { statement: Duration::ZERO, lock: Duration::from_millis(50) };
    session.run_within("drop a partition", &sql, limits).await
}

fn in_own(session: &LoneSession, name: &str) -> String {
    format!("{}.\"{}\"", session.schemas().own, name.replace('"', "\"\""))
}

/// Whether partitions can be detached beside writers: since PostgreSQL 14.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn can_be_detached(session: &LoneSession) -> Result<bool, DatabaseError> {
    let sql = "SELECT pg_catalog.current_setting('server_version_num')::integer >= 140000";
    Ok(session.query_one("ask what the server is", sql, &[]).await?.get(0))
}

/// Who is in the way, for people: transactions that hold a lock on `outbox` or on this table, the oldest first.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn holders(session: &LoneSession, name: &str) -> Result<Vec<String>, DatabaseError> {
    let sql = "SELECT DISTINCT ON (a.xact_start, l.virtualtransaction) CASE WHEN l.pid IS NULL THEN 'a prepared transaction'
                   ELSE pg_catalog.format('pid %s (%s, since %s)', l.pid, coalesce(nullif(a.application_name, ''), 'unnamed'),
                       pg_catalog.to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SSZ')) END
               FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
               WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
                 AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
                 AND n.nspname = $1 AND c.relname IN ('outbox', $2)
               ORDER BY a.xact_start, l.virtualtransaction LIMIT 3";
    let rows = session.query("ask who is in the way", sql, &[&session.schemas().own.name(), &name]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
