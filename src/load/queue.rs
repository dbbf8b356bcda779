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
    /// [`LoadError`], also where the scheme cannot be used with what the queue says of time: then nothing is recorded.
    pub async fn introduce(&self, scheme: &Identity, give_up: &CancellationToken) -> Result<(), LoadError> {
        let before = until_it_holds(give_up, || {
            self.database.transaction(async move |transaction| {
                let record = queues::read(transaction, &self.queue).await?;
                match record.and_then(|record| record.time_basis).map_or(Ok(()), |basis| suits(scheme, basis)) {
                    Ok(()) => queues::begin(transaction, &self.queue, scheme).await.map(Ok),
                    Err(refused) => Ok(Err(refused)),
                }
            })
        });
        let before = before.await??;
        let Some(before) = before else { return Ok(()) };
        if before.scheme != *scheme {
            tracing::warn!(
                before = before.scheme.as_flags(),
                now = scheme.as_flags(),
                queue = self.queue.as_str(),
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
    /// [`LoadError`], also where the scheme cannot be used with it.
    pub async fn time_basis(
        &self,
        seen: TimeBasis,
        scheme: &Identity,
        give_up: &CancellationToken,
    ) -> Result<TimeBasis, LoadError> {
        let settle = || {
            until_it_holds(give_up, move || {
                let settle = async move |transaction: &Transaction| {
                    queues::settle_time_basis(transaction, &self.queue, seen).await
                };
                self.database.transaction(settle)
            })
        };
        let basis = *self.time_basis.get_or_try_init(settle).await?;
        suits(scheme, basis).map(|()| basis)
    }
}

/// Keys that carry their own time are held against the time of their message.
fn suits(scheme: &Identity, basis: TimeBasis) -> Result<(), LoadError> {
    match (scheme.key_time(), basis) {
        (Some(_), TimeBasis::None) => Err(LoadError::NoSentTimestamp),
        (Some(_), TimeBasis::SentTimestamp) | (None, _) => Ok(()),
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
