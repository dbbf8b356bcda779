//! `outbox`: one event for each loaded login, for whoever publishes them.

use tokio_postgres::types::Type;

use super::login_columns::{self, LoginArrays, LoginValues, Value};
use crate::batch::LoginRow;
use crate::database::{DatabaseError, Transaction};

/// Copies in an event for each of the logins, which must be new: nothing here keeps a second event of one login out.
///
/// # Errors
///
/// [`DatabaseError`], also when the table took fewer events: a trigger dropped some.
pub async fn copy(transaction: &Transaction, logins: &[LoginRow<'_>]) -> Result<(), DatabaseError> {
    if logins.is_empty() {
        return Ok(());
    }
    let sql =
        "COPY outbox (user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, event_id)
               FROM STDIN BINARY";
    let [a, b, c, d, e, f, g] = login_columns::TYPES;
    let types = [a, b, c, d, e, f, g, Type::BYTEA];
    let events = LoginValues::of_all(logins);
    let mut values: Vec<[Value<'_>; 8]> = Vec::with_capacity(logins.len());
    for event in &events {
        let [a, b, c, d, e, f, g] = event.columns();
        values.push([a, b, c, d, e, f, g, &event.hash]);
    }
    let copied = transaction.copy("copy events", sql, &types, &values).await?;
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
    let ids: Vec<&[u8]> = logins.iter().map(|row| &row.hash.as_bytes()[..]).collect();
    let sql = "INSERT INTO outbox (user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, event_id)
               SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::date[],
                                    $8::bytea[])";
    let events = LoginArrays::of(logins);
    let [a, b, c, d, e, f, g] = events.columns();
    let inserted = transaction.execute("insert events", sql, &[a, b, c, d, e, f, g, &ids]).await?;
    super::insist_on_all(transaction, "outbox", inserted, logins.len())
}
