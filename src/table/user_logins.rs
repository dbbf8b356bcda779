//! `user_logins`: the masked logins, which analysts query.

use time::Date;

use crate::batch::LoginRow;
use crate::database::{DatabaseError, Transaction};
use crate::login::{AppVersion, MaskedLogin};

/// Inserts the rows. A row whose message already has one is left as it is: its claim may have been pruned since.
///
/// # Errors
///
/// [`DatabaseError`], also when a row is missing afterwards: a trigger or rule of the table dropped it.
pub async fn insert(transaction: &Transaction, rows: &[LoginRow<'_>]) -> Result<(), DatabaseError> {
    if rows.is_empty() {
        return Ok(());
    }
    let user_ids: Vec<&str> = rows.iter().map(|row| row.login.user_id.as_str()).collect();
    let device_types: Vec<&str> = rows.iter().map(|row| row.login.device_type.as_str()).collect();
    let ips: Vec<&str> = rows.iter().map(|row| row.login.masked_ip.as_str()).collect();
    let device_ids: Vec<&str> = rows.iter().map(|row| row.login.masked_device_id.as_str()).collect();
    let locales: Vec<Option<&str>> = rows.iter().map(|row| row.login.locale.as_deref()).collect();
    let versions: Vec<i32> = rows.iter().map(|row| row.login.app_version.as_i32()).collect();
    let dates: Vec<Date> = rows.iter().map(|row| row.create_date).collect();
    let hashes: Vec<&[u8]> = rows.iter().map(|row| &row.hash.as_bytes()[..]).collect();
    // Unnested as text: a cast to varchar(n) here would cut a longer value, the column refuses it.
    let sql = "INSERT INTO user_logins
                   (user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, message_hash)
               SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::date[], $8::bytea[])
               ON CONFLICT (message_hash) DO NOTHING";
    let inserted = transaction
        .execute(
            "insert logins",
            sql,
            &[&user_ids, &device_types, &ips, &device_ids, &locales, &versions, &dates, &hashes],
        )
        .await?;
    let count = "SELECT count(*) FROM user_logins WHERE message_hash = ANY($1::bytea[])";
    super::insist(transaction, "user_logins", inserted, &hashes, count).await
}

/// Up to `limit` rows that messages brought, with their days, in no order that means anything.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn some(transaction: &Transaction, limit: i64) -> Result<Vec<(MaskedLogin, Date)>, DatabaseError> {
    let sql = "SELECT user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date
               FROM user_logins WHERE message_hash IS NOT NULL ORDER BY message_hash LIMIT $1";
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
