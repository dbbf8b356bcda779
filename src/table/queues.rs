//! `queues`: what the claims of each queue's messages are made of.

use std::collections::HashMap;

use time::OffsetDateTime;
use tokio_postgres::Row;

use crate::database::{DatabaseError, Transaction};
use crate::message::{Identity, QueueIdentity, TimeBasis};

/// What is known of a queue.
#[derive(Clone, Debug)]
pub struct QueueRecord {
    /// The `--identity` of the loader that was started last.
    pub scheme: Identity,
    /// Since when.
    pub scheme_since: OffsetDateTime,
    /// What its messages are claimed under; none until the first message came.
    pub time_basis: Option<TimeBasis>,
}

/// Records that a loader with this scheme begins, and gives back what was recorded before: none for a new queue.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn begin(
    transaction: &Transaction,
    queue: &QueueIdentity,
    scheme: &Identity,
) -> Result<Option<QueueRecord>, DatabaseError> {
    let before = read(transaction, queue).await?;
    let own = &transaction.schemas().own;
    let sql = format!(
        "INSERT INTO {own}.queues AS q (arn, scheme) VALUES ($1, $2)
         ON CONFLICT (arn) DO UPDATE SET scheme = excluded.scheme, scheme_since = now() WHERE q.scheme <> excluded.scheme"
    );
    transaction.execute("record the queue", &sql, &[&queue.as_str(), &scheme.to_string()]).await?;
    Ok(before)
}

/// Records what the messages of a queue are claimed under, unless that is recorded already, and gives back what is recorded.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn settle_time_basis(
    transaction: &Transaction,
    queue: &QueueIdentity,
    seen: TimeBasis,
) -> Result<TimeBasis, DatabaseError> {
    let sql = format!(
        "UPDATE {}.queues SET time_basis = coalesce(time_basis, $2) WHERE arn = $1 RETURNING time_basis",
        transaction.schemas().own
    );
    let attempted = "record the queue's time basis";
    let row = transaction.query_one(attempted, &sql, &[&queue.as_str(), &seen.as_str()]).await?;
    time_basis_from(transaction, row.get(0))
}

/// Records a queue whose dead letters are imported, unless it is recorded already, and gives back what its messages are claimed
/// under: what is recorded, else `seen`.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn note(
    transaction: &Transaction,
    queue: &QueueIdentity,
    scheme: &Identity,
    seen: TimeBasis,
) -> Result<TimeBasis, DatabaseError> {
    let sql = format!("SELECT {}.note_queue($1, $2, $3)", transaction.schemas().own);
    let (arn, scheme, seen) = (queue.as_str(), scheme.to_string(), seen.as_str());
    let row = transaction.query_one("record the queue", &sql, &[&arn, &scheme, &seen]).await?;
    time_basis_from(transaction, row.get(0))
}

/// What is recorded of a queue, if anything is.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn read(transaction: &Transaction, queue: &QueueIdentity) -> Result<Option<QueueRecord>, DatabaseError> {
    Ok(read_all(transaction).await?.remove(queue))
}

/// What is recorded of every queue.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn read_all(transaction: &Transaction) -> Result<HashMap<QueueIdentity, QueueRecord>, DatabaseError> {
    let sql = format!("SELECT arn, scheme, scheme_since, time_basis FROM {}.queues", transaction.schemas().own);
    let rows = transaction.query("read queues", &sql, &[]).await?;
    let read = |row: &Row| {
        let scheme = row.get::<_, &str>(1).parse();
        let scheme = scheme.map_err(|_| transaction.broken("read queues", "a scheme is unknown".to_owned()))?;
        let time_basis = row.get::<_, Option<&str>>(3).map(|word| time_basis_from(transaction, word)).transpose()?;
        Ok((QueueIdentity::new(row.get::<_, &str>(0)), QueueRecord { scheme, scheme_since: row.get(2), time_basis }))
    };
    rows.iter().map(read).collect()
}

fn time_basis_from(transaction: &Transaction, word: &str) -> Result<TimeBasis, DatabaseError> {
    TimeBasis::of(word).ok_or_else(|| transaction.broken("read queues", "a time basis is unknown".to_owned()))
}
