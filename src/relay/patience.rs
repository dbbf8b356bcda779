//! How a relay waits: for a database that is away, without a line in the log at each attempt, and for its sink, without losing
//! the lease on what it has in hand.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use crate::database::{DatabaseError, tell_end};
use crate::metrics::{LaneWatch, Peer, RelayLane};
use crate::retry::{Class, Pauses};

/// The longest pause between two attempts at a sink that takes nothing.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(15);

impl<S> Shared<S> {
    /// Runs a transaction again, after growing pauses, while its failure would pass: until it is told to give up.
    pub(super) async fn persist<T, F: Future<Output = Result<T, DatabaseError>>>(
        &self,
        watch: &LaneWatch,
        attempt: impl Fn() -> F,
    ) -> Result<T, DatabaseError> {
        let mut pauses = Pauses::through_an_outage();
        loop {
            let begun = Instant::now();
            watch.is(RelayLane::Noting);
            let error = match attempt().await {
                Ok(value) => {
                    self.database_answered();
                    return Ok(value);
                }
                Err(error) => error,
            };
            if !error.class().passes() || self.shutdown.giving_up.is_cancelled() {
                return Err(error);
            }
            self.database_failed(&error, begun);
            watch.is(RelayLane::WaitingForDatabase);
            tokio::select! {
                () = tokio::time::sleep(pauses.next_pause_after(begun.elapsed())) => {}
                () = self.shutdown.giving_up.cancelled() => return Err(error),
            }
        }
    }

    pub(super) fn database_answered(&self) {
        self.contention.ended();
        if tell_end(&self.outage) {
            self.database.metrics().count(|figures| figures.answered(Peer::Database));
        }
    }

    pub(super) fn database_failed(&self, error: &DatabaseError, begun: Instant) {
        let (class, remedy) = (error.class(), error.remedy());
        if class == Class::Transient {
            let (lasting, is_told) = self.outage.failed_among_many(begun.into_std());
            self.database.metrics().count(|figures| figures.unanswered(Peer::Database, lasting));
            if is_told {
                let attempts = lasting.attempts;
                tracing::warn!(%error, attempts, %lasting, remedy, "the database does not answer, and is asked again");
            }
        } else {
            let (lasting, is_told) = self.contention.failed_among_many(begun.into_std());
            if is_told {
                tracing::warn!(%error, ?class, %lasting, remedy, "a transaction of the relay runs again");
            }
        }
    }
}

/// Pauses between attempts at a sink that takes nothing: from a tenth of a second to fifteen.
pub(super) struct SinkPauses(Pauses);

impl SinkPauses {
    pub(super) fn new() -> Self {
        Self(Pauses::new(Duration::from_millis(100), LONGEST_PAUSE))
    }

    pub(super) fn next(&mut self) -> Duration {
        self.0.next_pause().min(LONGEST_PAUSE)
    }

    pub(super) fn reset(&mut self) {
        self.0.reset();
    }
}
