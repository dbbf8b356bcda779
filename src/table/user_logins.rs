//! `user_logins`: the masked logins, which analysts query.

use std::collections::HashSet;

use time::{Date, OffsetDateTime};
use tokio_postgres::types::Type;

use super::login_columns::{self, LoginArrays, LoginValues, Value};
use crate::batch::LoginRow;
use crate::database::{DatabaseError, Transaction};
use crate::login::{AppVersion, MaskedLogin};
use crate::message::MessageKey;

/// Copies the rows in: the cheapest way, which takes all of them or fails. What stands in its way, [`insert`] finds out.
///
/// # Errors
///
/// [`DatabaseError`], also when the table took fewer rows: a trigger dropped some.
pub async fn copy(transaction: &Transaction, rows: &[LoginRow<'_>]) -> Result<(), DatabaseError> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "COPY {}.user_logins (user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date,
                              message_hash, message_sent_at)
         FROM STDIN BINARY",
        transaction.schemas().logins
    );
    let [a, b, c, d, e, f, g] = login_columns::TYPES;
    let types = [a, b, c, d, e, f, g, Type::BYTEA, Type::TIMESTAMPTZ];
    let logins = LoginValues::of_all(rows);
    let mut values: Vec<[Value<'_>; 9]> = Vec::with_capacity(rows.len());
    for (login, row) in logins.iter().zip(rows) {
        let [a, b, c, d, e, f, g] = login.columns();
        values.push([a, b, c, d, e, f, g, &login.hash, &row.key.sent_at]);
    }
    let copied =
        transaction.copy("copy logins", &sql, &types, &values).await.map_err(|error| of_rows(transaction, error))?;
    super::insist_on_all(transaction, "user_logins", copied, rows.len()).map_err(|error| of_rows(transaction, error))
}

/// Inserts the rows, and gives back the messages of those that are new. A row whose message already has one is left as it
/// is: its claim may have been pruned since.
///
/// # Errors
///
/// [`DatabaseError`], also when a row is missing afterwards: a trigger or rule of the table dropped it.
pub async fn insert(transaction: &Transaction, rows: &[LoginRow<'_>]) -> Result<HashSet<MessageKey>, DatabaseError> {
    insert_rows(transaction, rows).await.map_err(|error| of_rows(transaction, error))
}

async fn insert_rows(transaction: &Transaction, rows: &[LoginRow<'_>]) -> Result<HashSet<MessageKey>, DatabaseError> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let hashes: Vec<&[u8]> = rows.iter().map(|row| &row.key.hash.as_bytes()[..]).collect();
    let sent: Vec<OffsetDateTime> = rows.iter().map(|row| row.key.sent_at).collect();
    let logins = &transaction.schemas().logins;
    // Unnested as text: a cast to varchar(n) here would cut a longer value, the column refuses it.
    let sql = format!(
        "INSERT INTO {logins}.user_logins (user_id, device_type, masked_ip, masked_device_id, locale, app_version,
                                           create_date, message_hash, message_sent_at)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::date[],
                              $8::bytea[], $9::timestamptz[])
         ON CONFLICT (message_sent_at, message_hash) DO NOTHING
         RETURNING message_sent_at, message_hash"
    );
    let values = LoginArrays::of(rows);
    let [a, b, c, d, e, f, g] = values.columns();
    let inserted = transaction.query("insert logins", &sql, &[a, b, c, d, e, f, g, &hashes, &sent]).await?;
    let new: HashSet<MessageKey> =
        inserted.iter().map(|row| super::key_from(transaction, row)).collect::<Result<_, _>>()?;
    if new.len() < rows.len() {
        let old = rows.iter().map(|row| row.key).filter(|key| !new.contains(key)).collect::<Vec<_>>();
        insist(transaction, &old).await?;
        tracing::warn!(rows = old.len(), "the rows of these messages stood already, although their claims are gone");
    }
    Ok(new)
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
fn of_rows(transaction: &Transaction, error: DatabaseError) -> DatabaseError {
    error.of_rows(&transaction.schemas().own)
}

/// Writes no row: waits only for whoever has locked the table.
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
    let sql = format!(
        "SELECT user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date
         FROM {}.user_logins WHERE message_hash IS NOT NULL LIMIT $1",
        transaction.schemas().logins
    );
    let rows = transaction.query("read some logins", &sql, &[&limit]).await?;
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
