//! `horizon`: since when every claim is kept.

use time::OffsetDateTime;

use crate::database::{DatabaseError, Transaction};

/// The time since which no claim was removed. It never moves back: one that reads it after a claim knows that it was
/// no later when the claim was made.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn retained_since(transaction: &Transaction) -> Result<OffsetDateTime, DatabaseError> {
    let sql = format!("SELECT retained_since FROM {}.horizon", transaction.schemas().own);
    Ok(transaction.query_one("read the horizon", &sql, &[]).await?.get(0))
}
