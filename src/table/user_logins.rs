//! `user_logins`: the masked logins, which analysts query.

use std::collections::HashSet;

use time::Date;

use super::login_columns::{self, LoginColumns, LoginRows, MESSAGE_HASH, SENT_AT, Value, stored};
use crate::batch::LoginRow;
use crate::database::server::HAS_CITUS;
use crate::database::{DatabaseError, Transaction};
use crate::login::MaskedLogin;
use crate::message::MessageKey;
use crate::stream::LOGIN;

/// Copies the rows in: the cheapest way, which takes all of them or fails. What stands in its way, [`insert`] finds out.
///
/// # Errors
///
/// [`DatabaseError`], also when the table took fewer rows: a trigger dropped some.
pub async fn copy(transaction: &Transaction, rows: &[LoginRow<'_>]) -> Result<(), DatabaseError> {
    let Some(first) = rows.first() else { return Ok(()) };
    let table = format!("{}.user_logins", transaction.schemas().logins);
    let columns = LoginColumns::of(first.login.stream(), MESSAGE_HASH);
    let logins = LoginRows::of(rows);
    let copied = transaction
        .copy("copy logins", &columns.copy_into(&table), columns.types(), &logins.values(&columns))
        .await
        .map_err(|error| of_rows(transaction, error, rows).of_a_copy())?;
    super::insist_on_all(transaction, "user_logins", copied, rows.len())
        .map_err(|error| of_rows(transaction, error, rows))
}

/// Inserts the rows, and gives back the messages of those that are new. A row whose message already has one is left as it
/// is: its claim may have been pruned since.
///
/// # Errors
///
/// [`DatabaseError`], also when a row is missing afterwards: a trigger or rule of the table dropped it.
pub async fn insert(transaction: &Transaction, rows: &[LoginRow<'_>]) -> Result<HashSet<MessageKey>, DatabaseError> {
    insert_rows(transaction, rows).await.map_err(|error| of_rows(transaction, error, rows))
}

async fn insert_rows(transaction: &Transaction, rows: &[LoginRow<'_>]) -> Result<HashSet<MessageKey>, DatabaseError> {
    let Some(first) = rows.first() else { return Ok(HashSet::new()) };
    let stream = first.login.stream();
    let table = format!("{}.user_logins", transaction.schemas().logins);
    let columns = LoginColumns::of(stream, MESSAGE_HASH);
    // From here on nobody can make another kind of table of it.
    touch(transaction).await?;
    // The key of a partitioned table holds the day as well. It is not named: whatever else keeps a row out, that row is missed.
    let kind = kind(transaction).await?;
    let key = match kind.is_partitioned {
        true => String::new(),
        false => format!("({SENT_AT}, {MESSAGE_HASH})"),
    };
    if kind.is_partitioned && kind.may_be_distributed {
        insist_on_partitions(transaction, rows).await?;
    }
    let sql =
        format!("{} ON CONFLICT {key} DO NOTHING RETURNING {SENT_AT}, {MESSAGE_HASH}", columns.insert_into(&table));
    let arrays = login_columns::arrays(&columns, stream, rows);
    let values: Vec<Value<'_>> = arrays.iter().map(|array| &**array as Value<'_>).collect();
    let inserted = transaction.query("insert logins", &sql, &values).await?;
    let new: HashSet<MessageKey> =
        inserted.iter().map(|row| super::key_from(transaction, row)).collect::<Result<_, _>>()?;
    if new.len() < rows.len() {
        let old = rows.iter().map(|row| row.key).filter(|key| !new.contains(key)).collect::<Vec<_>>();
        insist(transaction, &old).await?;
        tracing::warn!(rows = old.len(), "the rows of these messages stood already, although their claims are gone");
    }
    Ok(new)
}

/// What kind of table it is.
struct Kind {
    is_partitioned: bool,
    /// Whether the server has the extension `citus`.
    may_be_distributed: bool,
}

async fn kind(transaction: &Transaction) -> Result<Kind, DatabaseError> {
    let sql = format!(
        "SELECT c.relkind = 'p', {HAS_CITUS}
               FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = $1 AND c.relname = 'user_logins'"
    );
    let row = transaction.query_one("look at the table", &sql, &[&transaction.schemas().logins.name()]).await?;
    Ok(Kind { is_partitioned: row.get(0), may_be_distributed: row.get(1) })
}

/// Where a worker refuses a row, Citus does not pass on what by: that the table has no partition for it must be asked before.
async fn insist_on_partitions(transaction: &Transaction, rows: &[LoginRow<'_>]) -> Result<(), DatabaseError> {
    let given = rows.iter().filter(|row| row.login.day().is_none());
    let days: Vec<Date> = given.map(LoginRow::day).collect::<HashSet<_>>().into_iter().collect();
    let sql = r"SELECT count(*) FROM pg_catalog.unnest($1::date[]) AS day
               WHERE NOT EXISTS (
                   SELECT FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
                   CROSS JOIN LATERAL (SELECT pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS bound) AS e
                   WHERE i.inhparent = $2::text::pg_catalog.regclass AND (e.bound = 'DEFAULT' OR
                       coalesce(pg_catalog.substring(e.bound, 'FROM \(''([^'']*)''\)')::date, '-infinity') <= day
                       AND coalesce(pg_catalog.substring(e.bound, 'TO \(''([^'']*)''\)')::date, 'infinity') > day))";
    let attempted = "look for partitions";
    let table = format!("{}.user_logins", transaction.schemas().logins);
    let lacking: i64 = transaction.query_one(attempted, sql, &[&days, &table]).await?.get(0);
    match lacking {
        0 => Ok(()),
        _ => Err(transaction.broken_with_remedy(
            attempted,
            format!("user_logins has no partition for {lacking} of the days of these logins"),
            "run `turnstile migrate`, which makes the partitions that are missing",
        )),
    }
}

async fn insist(transaction: &Transaction, keys: &[MessageKey]) -> Result<(), DatabaseError> {
    let sql = format!(
        "SELECT count(*) FROM {}.user_logins WHERE message_sent_at = $1 AND message_hash = $2",
        transaction.schemas().logins
    );
    for key in keys {
        let row = transaction.query_one("count logins", &sql, &[&key.sent_at, &&key.hash.as_bytes()[..]]).await?;
        super::insist_on_all(transaction, "user_logins", u64::try_from(row.get::<_, i64>(0)).unwrap_or(0), 1)?;
    }
    Ok(())
}

/// The table is the one that others may put constraints and triggers on: what it refuses may be one row's fault.
fn of_rows(transaction: &Transaction, error: DatabaseError, rows: &[LoginRow<'_>]) -> DatabaseError {
    let error = error.of_rows(&transaction.schemas().own);
    match rows.iter().any(|row| row.login.day().is_some()) {
        true => error.of_rows_with_days(),
        false => error,
    }
}

/// Writes no row: waits only for a lock on the whole table.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn touch(transaction: &Transaction) -> Result<(), DatabaseError> {
    let sql =
        format!("INSERT INTO {}.user_logins (message_hash) SELECT NULL WHERE false", transaction.schemas().logins);
    transaction.execute("write no login", &sql, &[]).await.map(drop)
}

/// Up to `limit` rows that messages brought, with their days, in no order that means anything.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn some(transaction: &Transaction, limit: i64) -> Result<Vec<(MaskedLogin, Date)>, DatabaseError> {
    let columns: Vec<&str> = LOGIN.columns().map(|column| column.name).collect();
    let sql = format!(
        "SELECT {} FROM {}.user_logins WHERE {MESSAGE_HASH} IS NOT NULL LIMIT $1",
        columns.join(", "),
        transaction.schemas().logins
    );
    let rows = transaction.query("read some logins", &sql, &[&limit]).await?;
    Ok(rows
        .iter()
        .map(|row| (MaskedLogin::from_stored(&LOGIN, |field| stored(row, field)), row.get(LOGIN.day)))
        .collect())
}
