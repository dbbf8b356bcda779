//! The tables, one room each. SQL text that reads or writes them lives here only; a table knows no other table, and what
//! several of them must say of each other stands in [`agreement`].

pub mod agreement;
pub mod clear_values;
pub mod dead_letters;
mod login_columns;
pub mod outbox;
pub mod processed_messages;
pub mod user_logins;

use crate::database::{DatabaseError, Transaction};
use crate::message::MessageHash;

/// The message hash in a column.
fn hash_from(transaction: &Transaction, bytes: &[u8]) -> Result<MessageHash, DatabaseError> {
    let hash = <[u8; 32]>::try_from(bytes).map(MessageHash::from_bytes);
    hash.map_err(|_| transaction.broken("read a message hash", "it is not 32 bytes long".to_owned()))
}

/// Makes sure that all rows of an insert stand, those that stood before included. `count` gives, for the keys, how
/// many do; it is asked only where the insert reports fewer rows than it was given.
async fn insist(
    transaction: &Transaction,
    table: &str,
    inserted: u64,
    keys: &[&[u8]],
    count: &str,
) -> Result<(), DatabaseError> {
    if inserted == keys.len() as u64 {
        return Ok(());
    }
    let standing: i64 = transaction.query_one("count rows", count, &[&keys]).await?.get(0);
    insist_on_all(transaction, table, u64::try_from(standing).unwrap_or(0), keys.len())
}

/// Makes sure that a table holds as many rows as it was given.
fn insist_on_all(transaction: &Transaction, table: &str, standing: u64, given: usize) -> Result<(), DatabaseError> {
    match standing == given as u64 {
        true => Ok(()),
        false => Err(transaction.broken(
            "insert rows",
            format!("{table} took {standing} of {given} rows: look for a trigger or rule that drops rows"),
        )),
    }
}
