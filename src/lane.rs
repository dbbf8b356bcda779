//! A lane: receive → decode → mask → batch → load → acknowledge, over and over.
//!
//! It receives in its turn only, and what it has committed is deleted while it receives and loads the next.

mod turns;

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

pub use self::turns::Turns;

use self::turns::News;
use crate::acknowledge::{Acknowledged, Deletes, DeletesRefused, UnderWay, acknowledge};
use crate::batch::Sorted;
use crate::database::Database;
use crate::failpoint::{Step, around};
use crate::lease;
use crate::load::{Committed, LoadError, load};
use crate::message::{Delivery, ReceiptHandle};
#[cfg(feature = "failpoints")]
use crate::queue::{MESSAGES_PER_CALL, side_by_side};
use crate::queue::{Queue, QueueError};
use crate::receive::{ReceiveLimits, Received, Stride, receive};
use crate::retry::Pauses;
use crate::shutdown::Shutdown;
use crate::telemetry::{BatchReport, Metrics};
use crate::verdict::Judge;

/// How a lane works; the same for all of a process.
#[derive(Clone, Copy, Debug)]
pub struct LaneSettings {
    /// How much is received at once, and for how long it is hidden.
    pub limits: ReceiveLimits,
    /// How many deliveries a message that is no login gets before it is dead-lettered.
    pub max_attempts: u32,
    /// How long a rejected message is hidden before its second delivery; doubled after that.
    pub retry_delay: Duration,
    /// Whether to end when the queue is drained.
    pub until_empty: bool,
    /// For how long the queue may refuse every delete for good before the lane ends.
    pub delete_patience: Duration,
}

/// One lane. Any number of them, in any number of processes, may share a queue and a database.
pub struct Lane<Q> {
    /// Where messages come from.
    pub queue: Q,
    /// Where they go.
    pub database: Database,
    /// What makes verdicts of them.
    pub judge: Arc<Judge>,
    /// How to work.
    pub settings: LaneSettings,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// When to receive; shared by the lanes of a process.
    pub turns: Arc<Turns>,
    /// Whether the queue deletes what is committed; shared by the lanes of a process.
    pub deletes: Arc<Deletes>,
    /// When to end.
    pub shutdown: Shutdown,
}

/// What made a lane stop before its end. Nothing is lost by it: what was not committed comes again.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// The queue refuses, and a pause would not help.
    #[error("the queue cannot be received from: {0}")]
    Queue(QueueError),
    /// The queue refuses to delete what is loaded, and a pause did not help.
    #[error(transparent)]
    Deletes(#[from] DeletesRefused),
    /// The database refuses, or could not be reached until the end.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl<Q: Queue> Lane<Q> {
    /// Works until told to stop, or until the queue is drained where that was asked.
    ///
    /// # Errors
    ///
    /// [`LaneError`]
    pub async fn run(self) -> Result<(), LaneError> {
        let mut under_way = UnderWay::default();
        let ended = self.work(&mut under_way).await;
        under_way.finish().await;
        ended
    }

    async fn work(&self, under_way: &mut UnderWay) -> Result<(), LaneError> {
        let mut pauses = Pauses::through_an_outage();
        let mut stride = Stride::default();
        while let Some(turn) = self.turns.next(&self.shutdown.stopping).await {
            // What cannot be deleted comes again: its receives must not be used up.
            self.deletes.settled().await?;
            if self.shutdown.stopping.is_cancelled() {
                break;
            }
            let begun = Instant::now();
            let receiving = receive(&self.queue, &self.settings.limits, &mut stride, &self.shutdown.stopping);
            let mut received = match around(Step::Receive, receiving).await {
                Ok(received) => received,
                Err(error) => {
                    drop(turn);
                    self.pause_after(error, begun, &mut pauses).await?;
                    continue;
                }
            };
            let took = begun.elapsed();
            let news = self.news_of(&received).await;
            if received.messages.is_empty() {
                // Within its turn, so that no other lane asks meanwhile.
                self.rest(self.turns.pause_over_nothing(took, self.settings.limits.wait)).await;
            }
            turn.end(news);
            let failure = received.failure.take();
            if !received.messages.is_empty() {
                self.take_through(received, under_way).await?;
                self.turns.loaded();
            }
            match failure {
                Some(error) => self.pause_after(error, begun, &mut pauses).await?,
                None => pauses.reset(),
            }
        }
        Ok(())
    }

    /// What the other lanes should know.
    async fn news_of(&self, received: &Received) -> News {
        let is_empty = received.messages.is_empty();
        match received.had_more {
            true => News::More,
            false if is_empty && self.settings.until_empty && self.holds_nothing().await => News::Nothing,
            false => News::NoMore,
        }
    }

    /// The way of the messages of one gathering.
    async fn take_through(&self, received: Received, under_way: &mut UnderWay) -> Result<(), LaneError> {
        let LaneSettings { limits, max_attempts, retry_delay, .. } = self.settings;
        let count = received.messages.len() as u64;
        let verdicts: Vec<_> = received.messages.into_iter().map(|message| self.judge.judge(message)).collect();
        let unknown_keys = verdicts.iter().map(|verdict| verdict.unknown_keys as u64).sum();
        let Sorted { batch, returned } = Sorted::from_verdicts(verdicts, max_attempts);
        let in_hand: Vec<ReceiptHandle> = batch.receipts().cloned().collect();

        #[cfg(feature = "failpoints")]
        if crate::failpoint::mutated(crate::failpoint::Mutant::DeleteBeforeCommit) {
            side_by_side(in_hand.chunks(MESSAGES_PER_CALL).map(|chunk| self.queue.delete(chunk))).await;
        }
        let loading = load(&self.database, batch, max_attempts, &self.shutdown.giving_up);
        let loading = lease::hold(&self.queue, &in_hand, limits.visibility_timeout, received.since, loading);
        let returning = around(Step::Return, lease::return_for_retry(&self.queue, &returned, retry_delay));
        let loaded = match futures_util::future::join(loading, returning).await {
            (Ok(loaded), ()) => loaded,
            (Err(error @ LoadError::GaveUp), ()) => {
                lease::release(&self.queue, &in_hand).await;
                tracing::warn!(%error, messages = in_hand.len(), "given back to the queue");
                self.metrics.add(&BatchReport { received: count, unknown_keys, ..BatchReport::default() });
                return Ok(());
            }
            // Not released: a program that is started again and again would use up the receives of healthy messages,
            // and the queue's own redrive would take them.
            (Err(error @ LoadError::Stopped(_)), ()) => return Err(error.into()),
        };
        self.metrics.time(&loaded.sent_at, OffsetDateTime::now_utc());
        let report = BatchReport {
            received: count,
            tally: loaded.tally,
            returned: (returned.len() + loaded.returned.len()) as u64,
            acknowledged: Acknowledged::default(),
            unknown_keys,
        };
        under_way.begin(self.conclude(loaded.committed, loaded.returned, report)).await;
        Ok(())
    }

    /// Lets go of a batch that is loaded, and counts it. It borrows nothing, so that the lane can go on meanwhile.
    fn conclude(
        &self,
        committed: Committed,
        returned: Vec<Delivery>,
        report: BatchReport,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (queue, metrics, retry_delay) = (self.queue.clone(), self.metrics.clone(), self.settings.retry_delay);
        let deletes = self.deletes.clone();
        async move {
            let returning = lease::return_for_retry(&queue, &returned, retry_delay);
            let acknowledging = around(Step::Delete, acknowledge(&queue, committed, &deletes));
            let (acknowledged, ()) = futures_util::future::join(acknowledging, returning).await;
            let report = BatchReport { acknowledged, ..report };
            tracing::debug!(
                received = report.received,
                loaded = report.tally.loaded,
                dead_lettered = report.tally.dead_lettered,
                duplicates = report.tally.duplicates(),
                returned = report.returned,
                deleted = report.acknowledged.deleted,
                not_deleted = report.acknowledged.not_deleted,
                attempts_repeated = report.tally.attempts_repeated,
                unknown_keys = report.unknown_keys,
                "batch done"
            );
            metrics.add(&report);
        }
    }

    async fn holds_nothing(&self) -> bool {
        match self.queue.depth().await {
            Ok(depth) => depth.is_empty(),
            Err(error) => {
                tracing::warn!(%error, "the queue does not say what it holds");
                false
            }
        }
    }

    async fn pause_after(&self, error: QueueError, begun: Instant, pauses: &mut Pauses) -> Result<(), LaneError> {
        if error.is_for_good() {
            return Err(LaneError::Queue(error));
        }
        let pause = pauses.next_pause_after(begun.elapsed());
        tracing::warn!(%error, pause_ms = pause.as_millis(), "receiving failed and is tried again");
        self.rest(pause).await;
        Ok(())
    }

    async fn rest(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.shutdown.stopping.cancelled() => {}
        }
    }
}
