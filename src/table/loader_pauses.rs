//! `loader_pauses`: where an operator wants nothing to be received. The database writes the rows, with who and why.

use time::OffsetDateTime;

use crate::database::{DatabaseError, Transaction};

/// Which loaders a pause is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// All.
    All,
    /// Those of the queue with this ARN.
    Queue(String),
    /// The one with this id, until it ends.
    Loader(String),
}

impl Target {
    fn columns(&self) -> (Option<&str>, Option<&str>) {
        match self {
            Self::All => (None, None),
            Self::Queue(arn) => (Some(arn), None),
            Self::Loader(id) => (None, Some(id)),
        }
    }

    fn of_columns(queue: Option<String>, loader: Option<String>) -> Self {
        match (queue, loader) {
            (Some(arn), _) => Self::Queue(arn),
            (None, Some(id)) => Self::Loader(id),
            (None, None) => Self::All,
        }
    }
}

/// A pause that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Whose.
    pub target: Target,
    /// Since when, by the database's clock.
    pub since: OffsetDateTime,
    /// The database role that had logged in.
    pub role: String,
    /// Who it said it was.
    pub person: Option<String>,
    /// Why.
    pub reason: String,
}

/// Since when the loader with this id is to receive nothing from this queue; nothing where it is to receive.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn since(
    transaction: &Transaction,
    queue: &str,
    loader: &str,
) -> Result<Option<OffsetDateTime>, DatabaseError> {
    let sql = format!("SELECT {}.receiving_paused($1, $2)", transaction.schemas().own);
    Ok(transaction.query_one("ask whether receiving is paused", &sql, &[&queue, &loader]).await?.get(0))
}

/// The pauses that are in force, the oldest first.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn read(transaction: &Transaction) -> Result<Vec<InForce>, DatabaseError> {
    let sql = format!(
        "SELECT queue, loader, since, role, person, reason FROM {}.loader_pauses ORDER BY since, id",
        transaction.schemas().own
    );
    let rows = transaction.query("read the pauses", &sql, &[]).await?;
    let in_force = |row: &tokio_postgres::Row| InForce {
        target: Target::of_columns(row.get(0), row.get(1)),
        since: row.get(2),
        role: row.get(3),
        person: row.get(4),
        reason: row.get(5),
    };
    Ok(rows.iter().map(in_force).collect())
}

/// Pauses receiving, and says whether it was not so before. Who and why was said before, for this transaction.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn pause(transaction: &Transaction, target: &Target) -> Result<bool, DatabaseError> {
    change(transaction, "pause receiving", "pause_receiving", target).await
}

/// Ends exactly this pause, and says whether there was one.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn resume(transaction: &Transaction, target: &Target) -> Result<bool, DatabaseError> {
    change(transaction, "resume receiving", "resume_receiving", target).await
}

async fn change(
    transaction: &Transaction,
    attempted: &'static str,
    function: &str,
    target: &Target,
) -> Result<bool, DatabaseError> {
    let sql = format!("SELECT {}.{function}($1, $2)", transaction.schemas().own);
    let (queue, loader) = target.columns();
    Ok(transaction.query_one(attempted, &sql, &[&queue, &loader]).await?.get(0))
}
