//! The partitions of `outbox`, one by one: which there are, what is in them, and how they go.

use time::OffsetDateTime;

use super::facts::partition_of;
use super::partitions::Place;
use crate::database::{DatabaseError, LoneSession};

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
    let sql = format!("SELECT count(*), pg_catalog.max(created_at) FROM {}", place(session, name).partition());
    let row = session.query_one("read a partition", &sql, &[]).await?;
    Ok(Contents { events: u64::try_from(row.get::<_, i64>(0)).unwrap_or(0), written_until: row.get(1) })
}

/// The position of the first event that stands there, or the last that was given where none does.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn lowest(session: &LoneSession) -> Result<Option<i64>, DatabaseError> {
    let own = &session.schemas().own;
    let sql = format!(
        "SELECT coalesce(pg_catalog.min(o.position), (SELECT s.last_value FROM {own}.outbox_position_seq s)) FROM {own}.outbox o"
    );
    Ok(session.query_one("look for the first event", &sql, &[]).await?.get(0))
}

/// Where a partition of `outbox` stands.
pub fn place<'s>(session: &'s LoneSession, name: &'s str) -> Place<'s> {
    Place { schema: &session.schemas().own, parent: "outbox", name }
}
