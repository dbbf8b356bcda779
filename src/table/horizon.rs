//! `horizon`: since when every claim is kept.

use time::OffsetDateTime;

use crate::database::{DatabaseError, LoneSession, Transaction};

/// What every transaction of a batch is told beside its claims.
#[derive(Clone, Copy, Debug)]
pub struct Horizon {
    /// The time since which no claim was removed. It never moves back: one that reads it after a claim knows that it was no
    /// later when the claim was made.
    pub retained_since: OffsetDateTime,
    /// Since when this loader is to receive nothing; nothing where it is to receive.
    pub paused_since: Option<OffsetDateTime>,
}

/// Reads it for the loader with this id, and its queue.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn read(transaction: &Transaction, queue: &str, loader: &str) -> Result<Horizon, DatabaseError> {
    let sql = format!(
        "SELECT retained_since, {own}.receiving_paused($1, $2) FROM {own}.horizon",
        own = transaction.schemas().own
    );
    let row = transaction.query_one("read the horizon", &sql, &[&queue, &loader]).await?;
    Ok(Horizon { retained_since: row.get(0), paused_since: row.get(1) })
}

/// Reads when it is, for who is no loader.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn retained_since(transaction: &Transaction) -> Result<OffsetDateTime, DatabaseError> {
    let sql = format!("SELECT retained_since FROM {}.horizon", transaction.schemas().own);
    Ok(transaction.query_one("read the horizon", &sql, &[]).await?.get(0))
}

/// Moves it to this time, if it is not there or later; before anything is removed that it speaks of.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn advance(session: &LoneSession, to: OffsetDateTime) -> Result<(), DatabaseError> {
    let sql = format!("UPDATE {}.horizon SET retained_since = $1 WHERE retained_since < $1", session.schemas().own);
    session.query("move the horizon", &sql, &[&to]).await.map(drop)
}

/// Reads when it is, outside a transaction.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn stands_at(session: &LoneSession) -> Result<OffsetDateTime, DatabaseError> {
    let sql = format!("SELECT retained_since FROM {}.horizon", session.schemas().own);
    Ok(session.query_one("read the horizon", &sql, &[]).await?.get(0))
}
