//! `outbox`: one event for each loaded login, to be published.

use std::ops::RangeInclusive;

use time::{Date, OffsetDateTime};
use tokio_postgres::Row;

use super::login_columns::{self, EVENT_ID, LoginColumns, LoginRows, TRACEPARENT, Value, stored};
use crate::batch::LoginRow;
use crate::database::{Database, DatabaseError, Transaction};
use crate::login::{MaskedLogin, Stored};
use crate::message::MessageHash;
use crate::stream::LOGIN;

/// Copies in an event for each of the logins, which must be new: nothing here keeps a second event of one login out.
///
/// # Errors
///
/// [`DatabaseError`], also when the table took fewer events: a trigger dropped some.
pub async fn copy(transaction: &Transaction, logins: &[LoginRow<'_>]) -> Result<(), DatabaseError> {
    let Some(first) = logins.first() else { return Ok(()) };
    let table = format!("{}.outbox", transaction.schemas().own);
    let columns = LoginColumns::of_events(logins, first.login.stream());
    let events = LoginRows::of(logins);
    let values = events.values(&columns);
    let copied = transaction.copy("copy events", &columns.copy_into(&table), columns.types(), &values).await?;
    super::insist_on_all(transaction, "outbox", copied, logins.len())
}

/// Inserts an event for each of the logins, which must be new, where [`copy`] is not allowed to.
///
/// # Errors
///
/// [`DatabaseError`], also when the table took fewer events: a trigger or rule dropped some.
pub async fn insert(transaction: &Transaction, logins: &[LoginRow<'_>]) -> Result<(), DatabaseError> {
    let Some(first) = logins.first() else { return Ok(()) };
    let stream = first.login.stream();
    let columns = LoginColumns::of_events(logins, stream);
    let sql = columns.insert_into(&format!("{}.outbox", transaction.schemas().own));
    let arrays = login_columns::arrays(&columns, stream, logins);
    let values: Vec<Value<'_>> = arrays.iter().map(|array| &**array as Value<'_>).collect();
    let inserted = transaction.execute("insert events", &sql, &values).await?;
    super::insist_on_all(transaction, "outbox", inserted, logins.len())
}

/// Writes no row: waits only for a lock on the whole table.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn touch(transaction: &Transaction) -> Result<(), DatabaseError> {
    let sql = format!("INSERT INTO {}.outbox (event_id) SELECT NULL WHERE false", transaction.schemas().own);
    transaction.execute("write no event", &sql, &[]).await.map(drop)
}

/// Makes the partitions that are missing: that of the next position, and two ahead of it. Gives their number.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn extend(database: &Database) -> Result<u32, DatabaseError> {
    let sql = format!("SELECT {}.extend_outbox()", database.schemas().own);
    let extend = async |transaction: &Transaction| transaction.query_one("make partitions of outbox", &sql, &[]).await;
    let made = database.transaction(extend).await?;
    Ok(made.get::<_, i32>(0).unsigned_abs())
}

/// An event, as it stands there. No `Debug`: it holds a user's id.
#[derive(Clone)]
pub struct Event {
    /// Its position.
    pub position: i64,
    /// The hash of the message that brought the login.
    pub id: MessageHash,
    /// The login.
    pub login: MaskedLogin,
    /// The login's day; none where it was taken out since.
    pub day: Option<Date>,
    /// When the transaction that loaded the login began.
    pub created_at: OffsetDateTime,
    /// The trace in which its message was sent, where that was kept: a `traceparent`.
    pub traceparent: Option<String>,
}

impl Event {
    /// Whom it is about; none where the login has no user id.
    pub fn subject(&self) -> Option<&str> {
        self.login.value("user_id").and_then(Stored::text)
    }
}

/// Events above a position that can be seen, in the order of their positions. There may be others among them that cannot be
/// seen yet.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn above(transaction: &Transaction, position: i64, most: i64) -> Result<Vec<Event>, DatabaseError> {
    let sql = format!(
        "SELECT {} FROM {}.outbox WHERE position > $1 ORDER BY position LIMIT $2",
        columns_read(),
        transaction.schemas().own
    );
    read(transaction, &sql, &[&position, &most]).await
}

/// The events in these ranges of positions that can be seen. The ranges must not overlap.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn within(transaction: &Transaction, ranges: &[RangeInclusive<i64>]) -> Result<Vec<Event>, DatabaseError> {
    let (first, last): (Vec<i64>, Vec<i64>) = ranges.iter().map(|range| (*range.start(), *range.end())).unzip();
    // OFFSET keeps the planner from joining in another order: each range is looked up in the index, never in the whole table.
    let sql = format!(
        "SELECT o.* FROM unnest($1::bigint[], $2::bigint[]) AS r (first, last)
         CROSS JOIN LATERAL (SELECT {} FROM {}.outbox WHERE position BETWEEN r.first AND r.last OFFSET 0) AS o
         ORDER BY o.position",
        columns_read(),
        transaction.schemas().own
    );
    read(transaction, &sql, &[&first, &last]).await
}

fn columns_read() -> String {
    let of_login: Vec<&str> = LOGIN.columns().map(|column| column.name).collect();
    format!("position, {EVENT_ID}, created_at, {TRACEPARENT}, {}", of_login.join(", "))
}

async fn read(transaction: &Transaction, sql: &str, parameters: &[Value<'_>]) -> Result<Vec<Event>, DatabaseError> {
    let rows = transaction.query("read events", sql, parameters).await?;
    rows.iter().map(|row| event(transaction, row)).collect()
}

fn event(transaction: &Transaction, row: &Row) -> Result<Event, DatabaseError> {
    Ok(Event {
        position: row.get(0),
        id: super::hash_from(transaction, row.get(1))?,
        login: MaskedLogin::from_stored(&LOGIN, |field| stored(row, field)),
        day: row.get(LOGIN.day),
        created_at: row.get(2),
        traceparent: row.get(3),
    })
}

/// A transaction that may have written an event and has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// Its virtual id. A crash of the server gives a prepared transaction another one.
    pub id: String,
    /// Whether it is prepared: it has no process, and outlives a crash.
    pub is_prepared: bool,
}

/// Every transaction that may have taken a position and has not ended: a statement that writes an event locks the table
/// before it takes the position, and the lock goes after the end of its transaction can be seen.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn writers(transaction: &Transaction) -> Result<Vec<Writer>, DatabaseError> {
    let sql = "SELECT l.virtualtransaction, bool_and(l.pid IS NULL) FROM pg_catalog.pg_locks l
               WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'RowExclusiveLock'
                 AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
                 AND l.relation = (SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                                   WHERE n.nspname = $1::text AND c.relname = 'outbox')
               GROUP BY l.virtualtransaction";
    let rows = transaction.query("ask who writes events", sql, &[&transaction.schemas().own.name()]).await?;
    Ok(rows.iter().map(|row| Writer { id: row.get(0), is_prepared: row.get(1) }).collect())
}

/// How many events can be seen in these ranges, and when the oldest was written; of each range only so many are looked at, those
/// at the lowest positions. The ranges must not overlap.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn tally(
    transaction: &Transaction,
    ranges: &[RangeInclusive<i64>],
    most: i64,
) -> Result<(i64, Option<OffsetDateTime>), DatabaseError> {
    let (first, last): (Vec<i64>, Vec<i64>) = ranges.iter().map(|range| (*range.start(), *range.end())).unzip();
    // LIMIT keeps the planner from joining in another order.
    let sql = format!(
        "SELECT count(*), min(o.created_at) FROM unnest($1::bigint[], $2::bigint[]) AS r (first, last)
         CROSS JOIN LATERAL (SELECT created_at FROM {}.outbox WHERE position BETWEEN r.first AND r.last
                             ORDER BY position LIMIT $3) AS o",
        transaction.schemas().own
    );
    let row = transaction.query_one("count events", &sql, &[&first, &last, &most]).await?;
    Ok((row.get(0), row.get(1)))
}

/// The lowest position of an event that was written then or later. Reads the table until it finds one.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn first_since(seen: &Transaction, time: OffsetDateTime) -> Result<Option<i64>, DatabaseError> {
    let sql = format!("SELECT pg_catalog.min(position) FROM {}.outbox WHERE created_at >= $1", seen.schemas().own);
    Ok(seen.query_one("look for the first event", &sql, &[&time]).await?.get(0))
}

/// The highest position of an event that was written then or earlier. Reads the table until it finds one.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn last_until(seen: &Transaction, time: OffsetDateTime) -> Result<Option<i64>, DatabaseError> {
    let sql = format!("SELECT pg_catalog.max(position) FROM {}.outbox WHERE created_at <= $1", seen.schemas().own);
    Ok(seen.query_one("look for the last event", &sql, &[&time]).await?.get(0))
}
