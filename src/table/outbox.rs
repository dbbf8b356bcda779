//! `outbox`: one event for each loaded login, for whoever publishes them.

use time::OffsetDateTime;
use tokio_postgres::types::Type;

use super::login_columns::{self, LoginArrays, LoginValues, Value};
use crate::batch::LoginRow;
use crate::database::{Database, DatabaseError, Transaction};

/// Copies in an event for each of the logins, which must be new: nothing here keeps a second event of one login out.
///
/// # Errors
///
/// [`DatabaseError`], also when the table took fewer events: a trigger dropped some.
pub async fn copy(transaction: &Transaction, logins: &[LoginRow<'_>]) -> Result<(), DatabaseError> {
    if logins.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "COPY {}.outbox (user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, event_id,
                         message_sent_at)
         FROM STDIN BINARY",
        transaction.schemas().own
    );
    let [a, b, c, d, e, f, g] = login_columns::TYPES;
    let types = [a, b, c, d, e, f, g, Type::BYTEA, Type::TIMESTAMPTZ];
    let events = LoginValues::of_all(logins);
    let mut values: Vec<[Value<'_>; 9]> = Vec::with_capacity(logins.len());
    for (event, login) in events.iter().zip(logins) {
        let [a, b, c, d, e, f, g] = event.columns();
        values.push([a, b, c, d, e, f, g, &event.hash, &login.key.sent_at]);
    }
    let copied = transaction.copy("copy events", &sql, &types, &values).await?;
    super::insist_on_all(transaction, "outbox", copied, logins.len())
}

/// Inserts an event for each of the logins, which must be new, where [`copy`] is not allowed to.
///
/// # Errors
///
/// [`DatabaseError`], also when the table took fewer events: a trigger or rule dropped some.
pub async fn insert(transaction: &Transaction, logins: &[LoginRow<'_>]) -> Result<(), DatabaseError> {
    if logins.is_empty() {
        return Ok(());
    }
    let ids: Vec<&[u8]> = logins.iter().map(|row| &row.key.hash.as_bytes()[..]).collect();
    let sent: Vec<OffsetDateTime> = logins.iter().map(|row| row.key.sent_at).collect();
    let sql = format!(
        "INSERT INTO {}.outbox (user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date,
                                event_id, message_sent_at)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::date[],
                              $8::bytea[], $9::timestamptz[])",
        transaction.schemas().own
    );
    let events = LoginArrays::of(logins);
    let [a, b, c, d, e, f, g] = events.columns();
    let inserted = transaction.execute("insert events", &sql, &[a, b, c, d, e, f, g, &ids, &sent]).await?;
    super::insist_on_all(transaction, "outbox", inserted, logins.len())
}

/// Writes no row: waits only for whoever has locked the table.
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
