//! `user_logins`: the masked logins, which analysts query.

use std::collections::HashSet;

use time::Date;

use super::login_columns::{self, LoginColumns, LoginRows, MESSAGE_HASH, SENT_AT, Value, stored};
use crate::batch::LoginRow;
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
        .map_err(|error| of_rows(transaction, error, rows))?;
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
    let key = match is_partitioned(transaction).await? {
        true => String::new(),
        false => format!("({SENT_AT}, {MESSAGE_HASH})"),
    };
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

async fn is_partitioned(transaction: &Transaction) -> Result<bool, DatabaseError> {
    let sql =
        "SELECT c.relkind = 'p' FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = $1 AND c.relname = 'user_logins'";
    let row = transaction.query_one("look at the table", sql, &[&transaction.schemas().logins.name()]).await?;
    Ok(row.get(0))
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
