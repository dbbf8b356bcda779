//! Whether values that must not stand in any table do.

use crate::database::{DatabaseError, Transaction};

/// How many rows of all tables hold one of `values` in clear, as text or as the bytes of a text.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn count_rows_holding(transaction: &Transaction, values: &[String]) -> Result<u64, DatabaseError> {
    // A row as text shows its `bytea` columns in hexadecimal digits.
    let (own, logins) = (&transaction.schemas().own, &transaction.schemas().logins);
    let sql = format!(
        "WITH wanted (value) AS (
                   SELECT value FROM pg_catalog.unnest($1::text[]) AS given (value)
                   UNION ALL
                   SELECT pg_catalog.encode(convert_to(value, 'UTF8'), 'hex') FROM pg_catalog.unnest($1::text[]) AS given (value)
               ), lines (line) AS (
                   SELECT t::text FROM {logins}.user_logins t
                   UNION ALL SELECT t::text FROM {own}.processed_messages t
                   UNION ALL SELECT t::text FROM {own}.identities t
                   UNION ALL SELECT t::text FROM {own}.dead_letters t
                   UNION ALL SELECT t::text FROM {own}.outbox t
               )
               SELECT count(*) FROM lines WHERE EXISTS (SELECT FROM wanted WHERE strpos(line, value) > 0)"
    );
    let row = transaction.query_one("look for clear values", &sql, &[&values]).await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}
