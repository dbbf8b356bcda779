//! Discarding: dead letters that nobody will load, resolved as such; and opening them again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::database::{Database, DatabaseError, Patience, Transaction, persist};
use crate::message::MessageHash;
use crate::table::dead_letters::{self, Filter, Pages, Status};
use crate::table::operator_actions::{self, Said};

/// What becomes of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Becomes {
    /// Open ones are resolved as not worth replaying. Their messages stay recorded as dead-lettered.
    Discarded,
    /// Discarded ones are open again.
    Open,
}

impl Becomes {
    /// What a letter must be before.
    pub fn from(self) -> Status {
        match self {
            Self::Discarded => Status::Open,
            Self::Open => Status::Discarded,
        }
    }

    fn to(self) -> Status {
        match self {
            Self::Discarded => Status::Discarded,
            Self::Open => Status::Open,
        }
    }
}

/// How many letters are changed in one transaction.
const CHUNK: u64 = 1_000;

/// Changes those of the letters that can be changed, all of them or none, and gives back which they were.
///
/// # Errors
///
/// [`DatabaseError`], after half a minute if it might pass.
pub async fn change(
    database: &Database,
    hashes: &[MessageHash],
    said: &Said,
    becomes: Becomes,
) -> Result<Vec<MessageHash>, DatabaseError> {
    let (from, to) = (becomes.from(), becomes.to());
    let of = |status, hashes| Filter::of(hashes).with_status(status);
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

/// Changes all letters that match and can be changed, chunk by chunk, and gives their number; what has become a dead letter
/// since it began stays as it is. `progress` is told the number after each chunk.
///
/// # Errors
///
/// [`DatabaseError`], after half a minute if it might pass: what was changed until then stays so.
pub async fn change_all(
    database: &Database,
    filter: &Filter,
    said: &Said,
    becomes: Becomes,
    mut progress: impl FnMut(u64),
) -> Result<u64, DatabaseError> {
    let mut pages = Pages::of(database, &filter.clone().with_status(becomes.from()), CHUNK).await?;
    let mut changed = 0;
    while let Some(keys) = pages.next().await? {
        let hashes: Vec<MessageHash> = keys.iter().map(|key| key.hash).collect();
        changed += change(database, &hashes, said, becomes).await?.len() as u64;
        progress(changed);
    }
    Ok(changed)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
