//! `user_logins`: the masked logins, which analysts query.

use std::collections::HashSet;

use time::{Date, OffsetDateTime};
use tokio_postgres::types::Type;

use super::login_columns::{self, LoginArrays, LoginValues, Value};
use crate::batch::LoginRow;
use crate::database::{DatabaseError, Transaction};
use crate::login::{AppVersion, MaskedLogin};
use crate::message::MessageHash;

/// Copies the rows in: the cheapest way, which takes all of them or fails. What stands in its way, [`insert`] finds out.
///
/// # Errors
///
/// [`DatabaseError`], also when the table took fewer rows: a trigger dropped some.
pub async fn copy(transaction: &Transaction, rows: &[LoginRow<'_>]) -> Result<(), DatabaseError> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = "COPY user_logins (user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date,
                                 message_hash, message_sent_at)
               FROM STDIN BINARY";
    let [a, b, c, d, e, f, g] = login_columns::TYPES;
    let types = [a, b, c, d, e, f, g, Type::BYTEA, Type::TIMESTAMPTZ];
    let logins = LoginValues::of_all(rows);
    let mut values: Vec<[Value<'_>; 9]> = Vec::with_capacity(rows.len());
    for (login, row) in logins.iter().zip(rows) {
        let [a, b, c, d, e, f, g] = login.columns();
        values.push([a, b, c, d, e, f, g, &login.hash, &row.sent_at]);
    }
    let copied = transaction.copy("copy logins", sql, &types, &values).await?;
    super::insist_on_all(transaction, "user_logins", copied, rows.len())
}

/// Inserts the rows, and gives back the messages of those that are new. A row whose message already has one is left as it
/// is: its claim may have been pruned since.
///
/// # Errors
///
/// [`DatabaseError`], also when a row is missing afterwards: a trigger or rule of the table dropped it.
pub async fn insert(transaction: &Transaction, rows: &[LoginRow<'_>]) -> Result<HashSet<MessageHash>, DatabaseError> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let hashes: Vec<&[u8]> = rows.iter().map(|row| &row.hash.as_bytes()[..]).collect();
    let sent: Vec<OffsetDateTime> = rows.iter().map(|row| row.sent_at).collect();
    // Unnested as text: a cast to varchar(n) here would cut a longer value, the column refuses it.
    let sql = "INSERT INTO user_logins (user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date,
                                        message_hash, message_sent_at)
               SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::date[],
                                    $8::bytea[], $9::timestamptz[])
               ON CONFLICT (message_sent_at, message_hash) DO NOTHING
               RETURNING message_hash";
    let logins = LoginArrays::of(rows);
    let [a, b, c, d, e, f, g] = logins.columns();
    let inserted = transaction.query("insert logins", sql, &[a, b, c, d, e, f, g, &hashes, &sent]).await?;
    let new = inserted.iter().map(|row| super::hash_from(transaction, row.get(0))).collect::<Result<_, _>>()?;
    if inserted.len() < rows.len() {
        let count = "SELECT count(*) FROM user_logins JOIN unnest($1::bytea[], $2::timestamptz[])
                         AS given (message_hash, message_sent_at) USING (message_sent_at, message_hash)";
        let standing: i64 = transaction.query_one("count logins", count, &[&hashes, &sent]).await?.get(0);
        super::insist_on_all(transaction, "user_logins", u64::try_from(standing).unwrap_or(0), rows.len())?;
    }
    Ok(new)
}

/// Up to `limit` rows that messages brought, with their days, in no order that means anything.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn some(transaction: &Transaction, limit: i64) -> Result<Vec<(MaskedLogin, Date)>, DatabaseError> {
    let sql = "SELECT user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date
               FROM user_logins WHERE message_hash IS NOT NULL LIMIT $1";
    let rows = transaction.query("read some logins", sql, &[&limit]).await?;
    let read = |row: &tokio_postgres::Row| {
        let app_version = AppVersion::from_i32(row.get(5))
            .ok_or_else(|| transaction.broken("read some logins", "one has no version".to_owned()))?;
        let login = MaskedLogin {
            user_id: row.get(0),
            device_type: row.get(1),
            masked_ip: row.get(2),
            masked_device_id: row.get(3),
            locale: row.get(4),
            app_version,
        };
        Ok((login, row.get(6)))
    };
    rows.iter().map(read).collect()
}
