//! What still needs the rows of a time that is to leave, and what leaves beside the partitions. Reads several tables, as
//! [`low_water`](super::low_water) does: what one says of a time must be true of the others.

use std::ops::Range;

use time::OffsetDateTime;

use super::distribution;
use super::time_partitions::Parent;
use crate::database::{DatabaseError, LoneSession};

/// How long rows are kept, in the calendar's units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// So many months.
    pub months: i32,
    /// And so many days.
    pub days: i32,
}

impl Keep {
    /// The fewest days that it can be.
    pub fn fewest_days(self) -> i64 {
        // Any number of months of this calendar has at least so many days.
        i64::from(self.months) * 365 / 12 - i64::from(self.months > 0) * 3 + i64::from(self.days)
    }

    /// The most.
    pub fn most_days(self) -> i64 {
        i64::from(self.months) * 3653 / 120 + i64::from(self.months > 0) * 3 + i64::from(self.days)
    }
}

/// What would be lost if a time left now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed {
    /// How many need it.
    pub count: u64,
    /// The time of the oldest.
    pub oldest: OffsetDateTime,
}

/// Before which time rows are older than this, by the server's clock, in UTC.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn older_than(session: &LoneSession, keep: Keep) -> Result<OffsetDateTime, DatabaseError> {
    let sql = "SELECT pg_catalog.timezone('UTC', pg_catalog.timezone('UTC', pg_catalog.now())
                          - pg_catalog.make_interval(months => $1, days => $2))";
    Ok(session.query_one("reckon what is old", sql, &[&keep.months, &keep.days]).await?.get(0))
}

/// The time by the server's clock.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn clock(session: &LoneSession) -> Result<OffsetDateTime, DatabaseError> {
    Ok(session.query_one("ask for the time", "SELECT pg_catalog.clock_timestamp()", &[]).await?.get(0))
}

/// The time of a letter, for retention. The claim of one that is older than memory is not of its time.
const LETTER_IS_OLD: &str = "(d.sent_at < $1 AND d.sent_at <> '1970-01-01 00:00:00Z'
                              OR d.sent_at = '1970-01-01 00:00:00Z' AND d.received_at < $1)";

/// Open letters of messages that were sent before this: each needs its claim, and its row a partition, to be replayed. Those under
/// the constant time that are older than memory keep their claims.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn open_letters(session: &LoneSession, before: OffsetDateTime) -> Result<Option<Needed>, DatabaseError> {
    let sql = format!(
        "SELECT count(*), pg_catalog.min(CASE d.sent_at WHEN '1970-01-01 00:00:00Z' THEN d.received_at ELSE d.sent_at END)
         FROM {}.dead_letters d WHERE d.status = 'open' AND {LETTER_IS_OLD}
           AND (d.code <> 'older_than_memory' OR d.sent_at <> '1970-01-01 00:00:00Z')",
        session.schemas().own
    );
    needed(session, "look for open letters", &sql, &[&before]).await
}

/// Events above this position of messages that were sent before this time.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn events_above(
    session: &LoneSession,
    position: i64,
    before: OffsetDateTime,
) -> Result<Option<Needed>, DatabaseError> {
    let sql = format!(
        "SELECT count(*), pg_catalog.min({EVENT_TIME}) FROM {}.outbox o WHERE o.position > $2 AND {EVENT_TIME} < $1",
        session.schemas().own
    );
    needed(session, "look for events that are not sent", &sql, &[&before, &position]).await
}

/// When the message of an event was sent; where the queue does not say so, when it was loaded.
const EVENT_TIME: &str =
    "(CASE o.message_sent_at WHEN '1970-01-01 00:00:00Z' THEN o.created_at ELSE o.message_sent_at END)";

async fn needed(
    session: &LoneSession,
    attempted: &'static str,
    sql: &str,
    parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<Option<Needed>, DatabaseError> {
    let row = session.query_one(attempted, sql, parameters).await?;
    Ok(row.get::<_, Option<OffsetDateTime>>(1).map(|oldest| Needed { count: count(&row), oldest }))
}

/// The transactions that have written claims, or locked some, and are not ended: prepared ones too.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn claimants(session: &LoneSession) -> Result<Vec<String>, DatabaseError> {
    let sql = "SELECT DISTINCT l.virtualtransaction FROM pg_catalog.pg_locks l
               JOIN pg_catalog.pg_class c ON c.oid = l.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE l.locktype = 'relation' AND l.granted AND l.mode <> 'AccessShareLock'
                 AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
                 AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
                 AND n.nspname = $1 AND c.relname = 'processed_messages'";
    let rows = session.query("ask who is claiming", sql, &[&session.schemas().own.name()]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// How many rows one statement removes, so that it holds none of them for long.
const AT_ONCE: i64 = 5_000;

/// How many pages of the keys one statement goes through.
const PAGES_AT_ONCE: i64 = 500;

/// Removes letters that are resolved and whose messages were sent before this, with what was edited of them. Gives their
/// number; to be called until it gives none.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn remove_resolved_letters(session: &LoneSession, before: OffsetDateTime) -> Result<u64, DatabaseError> {
    let own = &session.schemas().own;
    let sql = format!(
        "WITH gone AS (
             DELETE FROM {own}.dead_letters d
             WHERE d.status <> 'open' AND d.ctid = ANY (ARRAY (
                 SELECT d.ctid FROM {own}.dead_letters d WHERE d.status <> 'open' AND {LETTER_IS_OLD} LIMIT {AT_ONCE}))
             RETURNING d.sent_at, d.message_hash
         ), revisions AS (
             DELETE FROM {own}.dead_letter_revisions r USING gone g
             WHERE r.sent_at = g.sent_at AND r.message_hash = g.message_hash
         )
         SELECT count(*) FROM gone"
    );
    Ok(count(&session.query_one("remove resolved letters", &sql, &[&before]).await?))
}

/// Removes events up to this position of messages that were sent before this time. Gives their number; to be called until it
/// gives none.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn remove_events(session: &LoneSession, up_to: i64, before: OffsetDateTime) -> Result<u64, DatabaseError> {
    // By the key, from the first event on: the oldest stand there, and the scan ends where they do.
    let sql = format!(
        "WITH first AS (
             SELECT o.position FROM {own}.outbox o WHERE o.position <= $2 ORDER BY o.position LIMIT {AT_ONCE}
         ), gone AS (
             DELETE FROM {own}.outbox o USING first f WHERE o.position = f.position AND {EVENT_TIME} < $1 RETURNING 1
         )
         SELECT count(*) FROM gone",
        own = session.schemas().own
    );
    Ok(count(&session.query_one("remove old events", &sql, &[&before, &up_to]).await?))
}

/// Removes keys without a time of their own that were claimed before one time and whose messages were sent before another, from
/// these pages of their table; where a queue gives no such time, the claim of the key says it.
/// Gives their number.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn remove_identities(
    session: &LoneSession,
    table: &str,
    pages: Range<i64>,
    claimed_before: OffsetDateTime,
    sent_before: OffsetDateTime,
) -> Result<u64, DatabaseError> {
    let sql = format!(
        "WITH gone AS (
             DELETE FROM {table} WHERE ctid >= '({},0)'::tid AND ctid < '({},0)'::tid
                AND key_time = '1970-01-01 00:00:00Z' AND claimed_at < $1 AND owner_sent_at < $2
                AND (owner_sent_at <> '1970-01-01 00:00:00Z' OR claimed_at < $2) RETURNING 1
         )
         SELECT count(*) FROM gone",
        pages.start, pages.end
    );
    Ok(count(&session.query_one("remove old keys", &sql, &[&claimed_before, &sent_before]).await?))
}

/// Removes keys whose own time is before the horizon, the oldest first, from this time on. Gives their number and the time of the
/// last, from which it goes on; to be called until it gives none.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn remove_dated_identities(
    session: &LoneSession,
    from: OffsetDateTime,
) -> Result<Option<(u64, OffsetDateTime)>, DatabaseError> {
    let sql = format!(
        "WITH first AS (
             SELECT i.key_time, i.hash FROM {own}.identities i
             WHERE i.key_time >= $1 AND i.key_time > '1970-01-01 00:00:00Z'
               AND i.key_time < (SELECT h.retained_since FROM {own}.horizon h)
             ORDER BY i.key_time, i.hash LIMIT {AT_ONCE}
         ), gone AS (
             DELETE FROM {own}.identities i USING first f WHERE i.key_time = f.key_time AND i.hash = f.hash RETURNING i.key_time
         )
         SELECT count(*), pg_catalog.max(key_time) FROM gone",
        own = session.schemas().own
    );
    let row = session.query_one("remove keys from before the horizon", &sql, &[&from]).await?;
    Ok(row.get::<_, Option<OffsetDateTime>>(1).map(|last| (count(&row), last)))
}

/// The table in which the keys stand that carry no time, `identities` or its first partition, and its pages, some at a time; none
/// where there are no such keys. Of a distributed table each shard has its own pages, and all of them are taken at once.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn undated_identities(session: &LoneSession) -> Result<Option<(String, Vec<Range<i64>>)>, DatabaseError> {
    if distribution::is_distributed(session, Parent::Identities).await? {
        let table = format!("{}.identities", session.schemas().own);
        return Ok(Some((table, std::iter::once(0..i64::from(u32::MAX)).collect())));
    }
    let sql = format!(
        "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname),
                pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint
         FROM (SELECT i.tableoid FROM {}.identities i WHERE i.key_time = '1970-01-01 00:00:00Z' LIMIT 1) AS one
         JOIN pg_catalog.pg_class c ON c.oid = one.tableoid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
        session.schemas().own
    );
    let rows = session.query("measure the keys", &sql, &[]).await?;
    Ok(rows.first().map(|row| {
        let pages: i64 = row.get(1);
        let some = (0..pages).step_by(PAGES_AT_ONCE as usize).map(|first| first..pages.min(first + PAGES_AT_ONCE));
        (row.get(0), some.collect())
    }))
}

fn count(row: &tokio_postgres::Row) -> u64 {
    u64::try_from(row.get::<_, i64>(0)).unwrap_or(0)
}
