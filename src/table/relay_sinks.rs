//! `relay_sinks`: where events are carried to.

use super::relay_slot::Slot;
use crate::database::{DatabaseError, Transaction};

/// What is known of a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkRecord {
    /// Where its events go, without secrets.
    pub target: String,
    /// The cluster in which it was made.
    pub cluster_id: i64,
    /// Whether the events of a subject are carried in order. It stays as it is for good.
    pub is_ordered: bool,
}

/// Whether there is a sink of this name.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn is_known(transaction: &Transaction, sink: &str) -> Result<bool, DatabaseError> {
    let sql = format!("SELECT EXISTS (SELECT FROM {}.relay_sinks WHERE sink = $1)", transaction.schemas().own);
    Ok(transaction.query_one("look for the sink", &sql, &[&sink]).await?.get(0))
}

/// Makes a sink, unless there is one of this name, and gives back what is recorded.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn introduce(transaction: &Transaction, sink: &str, new: &SinkRecord) -> Result<SinkRecord, DatabaseError> {
    let own = &transaction.schemas().own;
    let insert = format!(
        "INSERT INTO {own}.relay_sinks (sink, target, cluster_id, ordered) VALUES ($1, $2, $3, $4)
         ON CONFLICT (sink) DO NOTHING"
    );
    transaction.execute("record the sink", &insert, &[&sink, &new.target, &new.cluster_id, &new.is_ordered]).await?;
    let select = format!("SELECT target, cluster_id, ordered FROM {own}.relay_sinks WHERE sink = $1");
    let row = transaction.query_one("read the sink", &select, &[&sink]).await?;
    Ok(SinkRecord { target: row.get(0), cluster_id: row.get(1), is_ordered: row.get(2) })
}

/// Takes a sink over into this cluster, or to this target.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn adopt(transaction: &Transaction, sink: &str, record: &SinkRecord) -> Result<(), DatabaseError> {
    let own = &transaction.schemas().own;
    let sql = format!("UPDATE {own}.relay_sinks SET target = $2, cluster_id = $3 WHERE sink = $1");
    transaction.execute("adopt the sink", &sql, &[&sink, &record.target, &record.cluster_id]).await.map(drop)
}

/// Keeps others from claiming events of this slot until the end of the transaction; `false` where somebody else does now.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn try_lock(transaction: &Transaction, slot: &Slot) -> Result<bool, DatabaseError> {
    let own = transaction.schemas().own.name();
    // Advisory locks have no schema: the name tells installations of one database apart.
    let sql = "SELECT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))";
    let name = format!("{own}.relay/{}/{}", slot.sink, slot.number);
    Ok(transaction.query_one("lock the slot", sql, &[&name]).await?.get(0))
}

/// Whether a sink keeps the events of a subject in order; none where there is no such sink.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn is_ordered(transaction: &Transaction, sink: &str) -> Result<Option<bool>, DatabaseError> {
    let sql = format!("SELECT ordered FROM {}.relay_sinks WHERE sink = $1", transaction.schemas().own);
    let rows = transaction.query("ask whether the sink keeps order", &sql, &[&sink]).await?;
    Ok(rows.first().map(|row| row.get(0)))
}
