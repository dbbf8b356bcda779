//! `outbox`: one event for each loaded login, to be published.

use super::login_columns::{self, EVENT_ID, LoginColumns, LoginRows, Value};
use crate::batch::LoginRow;
use crate::database::{Database, DatabaseError, Transaction};

/// Copies in an event for each of the logins, which must be new: nothing here keeps a second event of one login out.
///
/// # Errors
///
/// [`DatabaseError`], also when the table took fewer events: a trigger dropped some.
pub async fn copy(transaction: &Transaction, logins: &[LoginRow<'_>]) -> Result<(), DatabaseError> {
    let Some(first) = logins.first() else { return Ok(()) };
    let table = format!("{}.outbox", transaction.schemas().own);
    let columns = LoginColumns::of(first.login.stream(), EVENT_ID);
    let events = LoginRows::of(logins);
    let copied = transaction.copy("copy events", &columns.copy_into(&table), columns.types(), &events.values()).await?;
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
    let sql = LoginColumns::of(stream, EVENT_ID).insert_into(&format!("{}.outbox", transaction.schemas().own));
    let arrays = login_columns::arrays(stream, logins);
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
