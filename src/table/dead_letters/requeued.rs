//! Letters whose messages an operator sends back to their queue, and a loader receives again.

use std::collections::HashSet;

use tokio_postgres::Row;

use super::super::plan_id::PlanId;
use crate::database::{DatabaseError, Transaction};
use crate::message::{MessageId, MessageKey, QueueIdentity};
use crate::seal::SealedBody;

/// What is sent back of a letter.
pub struct Returned {
    /// The message.
    pub key: MessageKey,
    /// The queue that delivered it.
    pub queue: QueueIdentity,
    /// SQS MessageId.
    pub message_id: MessageId,
    /// The plan that edited its body; none: it is the one that was delivered.
    pub revision: Option<PlanId>,
    /// Its body.
    pub body: SealedBody,
}

/// Reads those of these letters that are open and may be sent back, in the order of their keys: the database notes who does it
/// and why. Of an edited letter it is the body that was tried last, unless `as_delivered`.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn requeue(
    transaction: &Transaction,
    keys: &[MessageKey],
    as_delivered: bool,
) -> Result<Vec<Returned>, DatabaseError> {
    let sql = format!(
        "SELECT sent_at, message_hash, queue, message_id, revision, sealed_body FROM {}.requeue_letters($1, $2, $3)",
        transaction.schemas().own
    );
    let (sent, hashes) = super::super::key_columns(keys);
    let rows = transaction.query("read dead letters to send back", &sql, &[&hashes, &sent, &as_delivered]).await?;
    let returned = |row: &Row| {
        Ok(Returned {
            key: super::super::key_from(transaction, row)?,
            queue: QueueIdentity::new(row.get::<_, &str>(2)),
            message_id: MessageId::new(row.get::<_, &str>(3)),
            revision: row.get::<_, Option<i64>>(4).map(PlanId),
            body: SealedBody::from_bytes(row.get(5)),
        })
    };
    rows.iter().map(returned).collect()
}

/// Turns the claims of those of these messages into loaded ones whose letters are open, under the [`lock`](super::lock), and
/// gives them back.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn take_requeued(
    transaction: &Transaction,
    keys: &[MessageKey],
) -> Result<HashSet<MessageKey>, DatabaseError> {
    let sql = format!("SELECT sent_at, message_hash FROM {}.take_requeued($1, $2)", transaction.schemas().own);
    let (sent, hashes) = super::super::key_columns(keys);
    let rows = transaction.query("take dead letters that came back", &sql, &[&hashes, &sent]).await?;
    rows.iter().map(|row| super::super::key_from(transaction, row)).collect()
}

/// Resolves the letters of messages that came back and are loaded or absorbed now; the database notes it.
///
/// # Errors
///
/// [`DatabaseError`], also when one of them is not open, or neither.
pub async fn resolve_requeued(transaction: &Transaction, keys: &[MessageKey]) -> Result<(), DatabaseError> {
    const ATTEMPTED: &str = "resolve dead letters that came back";
    let sql = format!("SELECT {}.resolve_requeued($1, $2)", transaction.schemas().own);
    let (sent, hashes) = super::super::key_columns(keys);
    let row = transaction.query_one(ATTEMPTED, &sql, &[&hashes, &sent]).await?;
    let resolved = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
    match resolved == keys.len() as u64 {
        true => Ok(()),
        false => Err(transaction.broken(ATTEMPTED, format!("{resolved} of {} are resolved", keys.len()))),
    }
}
