//! `relay_marks`: how far each sink has come. Only appended to: a row that is updated over and over slows down under an old
//! snapshot, which keeps every version of it.

use super::relay_slot::Slot;
use crate::database::{DatabaseError, Transaction};

/// The frontier: the highest position that was looked at. Zero before the first.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn frontier(transaction: &Transaction, slot: &Slot) -> Result<i64, DatabaseError> {
    let sql = format!(
        "SELECT position FROM {}.relay_marks WHERE sink = $1 AND slot = $2 ORDER BY position DESC LIMIT 1",
        transaction.schemas().own
    );
    let rows = transaction.query("read the frontier", &sql, &[&slot.sink, &slot.number]).await?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}

/// Moves the frontier up to this position.
///
/// # Errors
///
/// [`DatabaseError`], also when it stands there already.
pub async fn append(transaction: &Transaction, slot: &Slot, position: i64) -> Result<(), DatabaseError> {
    let sql =
        format!("INSERT INTO {}.relay_marks (sink, slot, position) VALUES ($1, $2, $3)", transaction.schemas().own);
    transaction.execute("move the frontier", &sql, &[&slot.sink, &slot.number, &position]).await.map(drop)
}

/// Removes marks that are far below the frontier; gives their number.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn prune(transaction: &Transaction, slot: &Slot, kept: i64) -> Result<u64, DatabaseError> {
    let own = &transaction.schemas().own;
    let sql = format!(
        "DELETE FROM {own}.relay_marks WHERE sink = $1 AND slot = $2 AND position <
             (SELECT position FROM {own}.relay_marks WHERE sink = $1 AND slot = $2 ORDER BY position DESC OFFSET $3 LIMIT 1)"
    );
    transaction.execute("prune the marks", &sql, &[&slot.sink, &slot.number, &kept]).await
}
