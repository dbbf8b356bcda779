//! What a loader tells the database of its queue, and what the database tells all loaders of it.

use std::future::Future;

use tokio_util::sync::CancellationToken;

use super::{Destination, LoadError};
use crate::database::{DatabaseError, Patience, Transaction, persist};
use crate::message::{Identity, TimeBasis};
use crate::table::queues;

impl Destination {
    /// Records that a loader with this scheme begins: a replay of the queue's dead letters goes by it. Says so where another
    /// scheme was in force before.
    ///
    /// # Errors
    ///
    /// [`LoadError`]
    pub async fn introduce(&self, scheme: &Identity, give_up: &CancellationToken) -> Result<(), LoadError> {
        let before = until_it_holds(give_up, || {
            self.database.transaction(async move |transaction| queues::begin(transaction, &self.queue, scheme).await)
        });
        if let Some(before) = before.await?.filter(|before| before.scheme != *scheme) {
            tracing::warn!(
                before = %before.scheme, now = %scheme, queue = self.queue.as_str(),
                "another --identity was in force for this queue: logins are remembered by the keys of this one from now on \
                 only, and one that was sent before may be loaded once more if it is sent again"
            );
        }
        Ok(())
    }

    /// What the queue's messages are claimed under: what was recorded with its first message, whatever is `seen` now.
    ///
    /// # Errors
    ///
    /// [`LoadError`]
    pub async fn time_basis(&self, seen: TimeBasis, give_up: &CancellationToken) -> Result<TimeBasis, LoadError> {
        let settle = || {
            until_it_holds(give_up, move || {
                let settle = async move |transaction: &Transaction| {
                    queues::settle_time_basis(transaction, &self.queue, seen).await
                };
                self.database.transaction(settle)
            })
        };
        self.time_basis.get_or_try_init(settle).await.copied()
    }
}

/// Runs a transaction until it holds, its failure would not pass, or somebody gives up.
async fn until_it_holds<T, F: Future<Output = Result<T, DatabaseError>>>(
    give_up: &CancellationToken,
    attempt: impl Fn() -> F,
) -> Result<T, LoadError> {
    tokio::select! {
        biased;
        () = give_up.cancelled() => Err(LoadError::GaveUp),
        outcome = persist(Patience::ENDLESS, attempt) => outcome.map_err(LoadError::Stopped),
    }
}
