//! What has left its table and waits for the archive, as `retired_partitions` notes it. Each is a table of its own, into which nobody writes.

use std::time::Duration;

use time::OffsetDateTime;

use super::archived_columns::{Column, Kind, RowDigest, literal, row_text};
use super::partitions::quoted;
use super::time_partitions::Parent;
use crate::database::{DatabaseError, Limits, LoneSession, RowsOut};

/// A partition that waits for the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retired {
    /// Its name.
    pub partition: String,
    /// The table that it belonged to.
    pub parent: Parent,
    /// Whether a partition of that table is a day; else it is a month.
    pub is_daily: bool,
    /// The time with which it begins; none for the first, which holds whatever is older.
    pub since: Option<OffsetDateTime>,
    /// The time before which it ends.
    pub until: OffsetDateTime,
    /// How many rows it held when it was detached, where that was counted.
    pub rows: Option<u64>,
}

/// That a partition is recorded in an archive: only [`super::archives::record`] makes it.
#[derive(Debug)]
pub struct Recorded {
    partition: String,
}

impl Recorded {
    pub(super) fn of(partition: String) -> Self {
        Self { partition }
    }
}

/// The partitions that wait, in the order in which they go: the oldest first, and of one time the logins before the claims.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn due(session: &LoneSession) -> Result<Vec<Retired>, DatabaseError> {
    let own = &session.schemas().own;
    let sql = format!(
        "SELECT r.partition, r.parent, CASE WHEN r.since IS NULL THEN p.period = 'daily' ELSE r.until - r.since <= interval '1 day' END, r.since, r.until, r.row_count
         FROM {own}.retired_partitions r JOIN {own}.partitioning p USING (parent)
         WHERE r.for_archive AND r.detached_at IS NOT NULL AND r.dropped_at IS NULL
         ORDER BY r.until, r.parent DESC, r.partition"
    );
    let rows = session.query("read what waits for the archive", &sql, &[]).await?;
    let retired = rows.iter().filter_map(|row| {
        Some(Retired {
            partition: row.get(0),
            parent: row.get::<_, &str>(1).parse().ok()?,
            is_daily: row.get(2),
            since: row.get(3),
            until: row.get(4),
            rows: row.get::<_, Option<i64>>(5).and_then(|rows| u64::try_from(rows).ok()),
        })
    });
    Ok(retired.collect())
}

/// What a table looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looks {
    /// There is none, or it is still a partition.
    NoTable,
    /// Its columns cannot all be kept: those that cannot, with their types.
    Unfit(Vec<(String, String)>),
    /// Its columns, in their order.
    Columns(Vec<Column>),
}

/// The columns of a retired partition.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn looks(session: &LoneSession, retired: &Retired) -> Result<Looks, DatabaseError> {
    let sql =
        "SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), coalesce(b.typname, t.typname)::text
               FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
               JOIN pg_catalog.pg_type t ON t.oid = a.atttypid LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
               WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind = 'r' AND NOT c.relispartition
               ORDER BY a.attnum";
    let schema = retired.parent.schema(session.schemas()).name();
    let rows = session.query("read the columns of a partition", sql, &[&schema, &retired.partition]).await?;
    if rows.is_empty() {
        return Ok(Looks::NoTable);
    }
    let (mut columns, mut unfit) = (Vec::new(), Vec::new());
    for row in rows {
        let (name, postgresql): (String, String) = (row.get(0), row.get(1));
        match Kind::of(row.get(2)) {
            Some(kept_as) => columns.push(Column { name, postgresql, kept_as }),
            None => unfit.push((name, postgresql)),
        }
    }
    Ok(if unfit.is_empty() { Looks::Columns(columns) } else { Looks::Unfit(unfit) })
}

/// What the rows of a retired partition come to, by the server's own reckoning.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn digest(session: &LoneSession, retired: &Retired, columns: &[Column]) -> Result<RowDigest, DatabaseError> {
    session.begin_reading().await?;
    let digest = digest_of(session, retired.parent, &retired.partition, columns).await?;
    session.end_reading().await?;
    Ok(digest)
}

/// The same of a table by its name.
pub(super) async fn digest_of(
    session: &LoneSession,
    parent: Parent,
    table: &str,
    columns: &[Column],
) -> Result<RowDigest, DatabaseError> {
    let at = quoted(parent.key()[0]);
    let micros = |which: &str| format!("(extract(epoch from pg_catalog.{which}({at})) * 1000000)::bigint");
    let bits = format!(
        "('x' || pg_catalog.substr(pg_catalog.md5(pg_catalog.convert_to({}, 'UTF8')), 1, 15))::bit(60)::bigint",
        row_text(columns)
    );
    let sql = format!(
        "SELECT count(*), {}, {}, coalesce(pg_catalog.sum({bits}), 0)::text FROM {}",
        micros("min"),
        micros("max"),
        parent.place(session.schemas(), table).partition()
    );
    let row = session.query_one("take the digest of rows", &sql, &[]).await?;
    Ok(RowDigest {
        rows: u64::try_from(row.get::<_, i64>(0)).unwrap_or(0),
        first: row.get(1),
        last: row.get(2),
        sum: row.get::<_, &str>(3).parse().unwrap_or(u128::MAX),
    })
}

/// The rows of a retired partition in the order of their keys; those that have none come in the order of their texts. The same
/// rows come in the same order, always.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn rows(session: &LoneSession, retired: &Retired, columns: &[Column]) -> Result<RowsOut, DatabaseError> {
    let [at, hash] = retired.parent.key().map(quoted);
    let selected: Vec<String> = columns.iter().map(Column::selected).collect();
    let sql = format!(
        "COPY (SELECT {} FROM {}
               ORDER BY {at}, {hash}, CASE WHEN {at} IS NULL OR {hash} IS NULL THEN {} END COLLATE \"C\")
         TO STDOUT BINARY",
        selected.join(", "),
        retired.parent.place(session.schemas(), &retired.partition).partition(),
        row_text(columns)
    );
    session.begin_reading().await?;
    session.copy_out("read a partition", &sql, columns.len()).await
}

/// Drops a partition that is recorded in the archive, and notes it, at once. Given up after `patience`.
///
/// # Errors
///
/// [`DatabaseError`]; see [`DatabaseError::gave_way`]
pub async fn drop_archived(
    session: &LoneSession,
    retired: &Retired,
    recorded: Recorded,
    patience: Duration,
) -> Result<(), DatabaseError> {
    let table = retired.parent.place(session.schemas(), &retired.partition).partition();
    // One simple query is one transaction.
    let sql = format!(
        "DROP TABLE IF EXISTS {table};
         UPDATE {}.retired_partitions SET dropped_at = pg_catalog.now() WHERE partition = {}",
        session.schemas().own,
        literal(&recorded.partition)
    );
    session.run_within("drop a partition", &sql, Limits { statement: patience, lock: patience }).await
}
