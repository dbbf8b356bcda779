//! Discarding: dead letters that nobody will load, resolved as such; and opening them again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::database::{Database, DatabaseError, Patience, Transaction, persist};
use crate::message::MessageHash;
use crate::table::dead_letters::{self, Filter, Status};
use crate::table::operator_actions::{self, Said};

/// Resolves those of the letters that are open as not worth replaying, all of them or none, and gives back which they
/// were. Their messages stay recorded as dead-lettered.
///
/// # Errors
///
/// [`DatabaseError`], after half a minute if it might pass.
pub async fn discard(
    database: &Database,
    hashes: &[MessageHash],
    said: &Said,
) -> Result<Vec<MessageHash>, DatabaseError> {
    change(database, hashes, said, Status::Open, Status::Discarded).await
}

/// Opens those of the letters again that are discarded, all of them or none, and gives back which they were.
///
/// # Errors
///
/// [`DatabaseError`], after half a minute if it might pass.
pub async fn reopen(
    database: &Database,
    hashes: &[MessageHash],
    said: &Said,
) -> Result<Vec<MessageHash>, DatabaseError> {
    change(database, hashes, said, Status::Discarded, Status::Open).await
}

async fn change(
    database: &Database,
    hashes: &[MessageHash],
    said: &Said,
    from: Status,
    to: Status,
) -> Result<Vec<MessageHash>, DatabaseError> {
    let of = |status, hashes| Filter { status: Some(status), hashes: Some(hashes), ..Filter::default() };
    // What an earlier attempt found: if its commit held although its answer was lost, the letters are changed now.
    let earlier = Mutex::new(Vec::new());
    let change_once = async |transaction: &Transaction| {
        dead_letters::lock(transaction).await?;
        operator_actions::say(transaction, said).await?;
        let found = dead_letters::next(transaction, &of(from, hashes.to_vec()), None, u64::MAX).await?;
        let before = lock(&earlier).clone();
        let held = dead_letters::next(transaction, &of(to, before), None, u64::MAX).await?;
        dead_letters::set_status(transaction, &found, from, to).await?;
        let changed: Vec<MessageHash> = found.into_iter().chain(held).map(|key| key.hash).collect();
        lock(&earlier).clone_from(&changed);
        Ok(changed)
    };
    persist(Patience::WHILE_SOMEBODY_WAITS, || database.transaction(&change_once)).await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
