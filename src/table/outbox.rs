//! `outbox`: one event for each loaded login, for whoever publishes them.

use serde::Serialize;
use time::macros::format_description;

use crate::batch::LoginRow;
use crate::database::{DatabaseError, Transaction};

/// The columns of `user_logins`, under their names.
#[derive(Serialize)]
struct Payload<'l> {
    user_id: &'l str,
    device_type: &'l str,
    masked_ip: &'l str,
    masked_device_id: &'l str,
    locale: Option<&'l str>,
    app_version: i32,
    create_date: String,
}

/// Writes an event for each of the logins. An event that already stands there is left as it is.
///
/// # Errors
///
/// [`DatabaseError`], also when a row is missing afterwards.
pub async fn insert(transaction: &Transaction, logins: &[LoginRow<'_>]) -> Result<(), DatabaseError> {
    if logins.is_empty() {
        return Ok(());
    }
    let ids: Vec<&[u8]> = logins.iter().map(|row| &row.hash.as_bytes()[..]).collect();
    let payloads: Result<Vec<String>, DatabaseError> = logins
        .iter()
        .map(|row| payload(row).map_err(|problem| transaction.broken("write an event", problem)))
        .collect();
    let sql = "INSERT INTO outbox (event_id, payload)
               SELECT event_id, payload::jsonb FROM unnest($1::bytea[], $2::text[]) AS e (event_id, payload)
               ON CONFLICT (event_id) DO NOTHING";
    let inserted = transaction.execute("insert events", sql, &[&ids, &payloads?]).await?;
    let count = "SELECT count(*) FROM outbox WHERE event_id = ANY($1::bytea[])";
    super::insist(transaction, "outbox", inserted, &ids, count).await
}

fn payload(row: &LoginRow<'_>) -> Result<String, String> {
    let day = row.create_date.format(format_description!("[year]-[month]-[day]")).map_err(|error| error.to_string())?;
    let payload = Payload {
        user_id: &row.login.user_id,
        device_type: &row.login.device_type,
        masked_ip: &row.login.masked_ip,
        masked_device_id: &row.login.masked_device_id,
        locale: row.login.locale.as_deref(),
        app_version: row.login.app_version.as_i32(),
        create_date: day,
    };
    serde_json::to_string(&payload).map_err(|error| error.to_string())
}
