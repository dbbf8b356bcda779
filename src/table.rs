//! The tables, one room each. SQL text that reads or writes them lives here only; a table knows no other table, and what
//! several of them must say of each other stands in [`agreement`].

pub mod agreement;
pub mod archived_columns;
pub mod archives;
pub mod clear_values;
pub mod conversion;
pub mod dead_letter_revisions;
pub mod dead_letters;
pub mod distribution;
pub mod facts;
pub mod horizon;
pub mod identities;
pub mod leaving;
pub mod loader_pauses;
pub mod loaders;
mod login_columns;
pub mod low_water;
pub mod operator_actions;
pub mod outbox;
pub mod outbox_partitions;
pub mod outbox_pruned;
pub mod partitioning;
pub mod partitions;
pub mod plan_id;
pub mod powers;
pub mod processed_messages;
pub mod queues;
pub mod relay_chunks;
pub mod relay_failures;
pub mod relay_gaps;
pub mod relay_marks;
pub mod relay_refusals;
pub mod relay_sinks;
pub mod relay_slot;
pub mod relay_status;
pub mod replay_plan_letters;
pub mod replay_plans;
pub mod retired_partitions;
pub mod restored;
pub mod retired;
pub mod rights;
mod said;
pub mod time_partitions;
pub mod turnstile_keys;
pub mod user_logins;

use time::OffsetDateTime;
use tokio_postgres::Row;

use crate::database::{DatabaseError, Transaction};
use crate::message::{MessageHash, MessageKey};

/// The hash in a column.
fn bytes_from(transaction: &Transaction, bytes: &[u8]) -> Result<[u8; 32], DatabaseError> {
    bytes.try_into().map_err(|_| transaction.broken("read a hash", "it is not 32 bytes long".to_owned()))
}

/// The message hash in a column.
fn hash_from(transaction: &Transaction, bytes: &[u8]) -> Result<MessageHash, DatabaseError> {
    bytes_from(transaction, bytes).map(MessageHash::from_bytes)
}

/// The key in the first two columns of a row, time and hash.
fn key_from(transaction: &Transaction, row: &Row) -> Result<MessageKey, DatabaseError> {
    Ok(MessageKey { sent_at: row.get(0), hash: hash_from(transaction, row.get(1))? })
}

/// Keys as two columns, times and hashes.
fn key_columns<'k>(keys: impl IntoIterator<Item = &'k MessageKey>) -> (Vec<OffsetDateTime>, Vec<&'k [u8]>) {
    keys.into_iter().map(|key| (key.sent_at, &key.hash.as_bytes()[..])).unzip()
}

/// Makes sure that a table holds as many rows as it was given.
fn insist_on_all(transaction: &Transaction, table: &str, standing: u64, given: usize) -> Result<(), DatabaseError> {
    match standing == given as u64 {
        true => Ok(()),
        false => Err(transaction.dropped("insert rows", format!("{table} took {standing} of {given} rows"))),
    }
}
