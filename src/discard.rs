//! Discarding: dead letters that nobody will load, resolved as such.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::database::{Database, DatabaseError, Patience, Transaction, persist};
use crate::message::MessageHash;
use crate::table::dead_letters::{self, Filter, Status};

/// Resolves those of the letters that are open as not worth replaying, all of them or none, and gives back which they
/// were. Their messages stay recorded as dead-lettered.
///
/// # Errors
///
/// [`DatabaseError`], after half a minute if it might pass.
pub async fn discard(database: &Database, hashes: &[MessageHash], by: &str) -> Result<Vec<MessageHash>, DatabaseError> {
    let of = |status, hashes| Filter { status: Some(status), hashes: Some(hashes), ..Filter::default() };
    // What an earlier attempt found open: if its commit held although its answer was lost, the letters are discarded now.
    let earlier = Mutex::new(Vec::new());
    let discard_once = async |transaction: &Transaction| {
        dead_letters::lock(transaction).await?;
        let open = dead_letters::next(transaction, &of(Status::Open, hashes.to_vec()), None, u64::MAX).await?;
        let before = lock(&earlier).clone();
        let held = dead_letters::next(transaction, &of(Status::Discarded, before), None, u64::MAX).await?;
        dead_letters::resolve(transaction, &open, Status::Discarded, by).await?;
        let discarded: Vec<MessageHash> = open.into_iter().chain(held).map(|key| key.hash).collect();
        lock(&earlier).clone_from(&discarded);
        Ok(discarded)
    };
    persist(Patience::WHILE_SOMEBODY_WAITS, || database.transaction(&discard_once)).await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
