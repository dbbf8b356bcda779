//! Deletes from the queue what the database holds for good.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::load::Committed;
use crate::message::ReceiptHandle;
use crate::queue::{MESSAGES_PER_CALL, Queue, Taken, side_by_side};
use crate::retry::Pauses;

/// How often a delete is tried. One that never succeeds costs a redelivery, which the claim absorbs.
const ATTEMPTS: u32 = 3;

/// What became of the deletes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// Deliveries that the queue deleted.
    pub deleted: u64,
    /// Deliveries that it did not delete in three attempts: their messages come again.
    pub not_deleted: u64,
}

/// The deletes of one batch, under way while the next one is received and loaded; dropped, they are cut off, and what
/// was not deleted comes again.
#[derive(Debug, Default)]
pub struct UnderWay(JoinSet<()>);

impl UnderWay {
    /// Begins deletes when those before them have come to their end: never more than one batch waits for them.
    pub async fn begin(&mut self, deleting: impl Future<Output = ()> + Send + 'static) {
        self.finish().await;
        self.0.spawn(deleting);
    }

    /// Waits for the end of those that were begun.
    pub async fn finish(&mut self) {
        while let Some(ended) = self.0.join_next().await {
            // A panic there is one here, as if the lane had made the deletes itself.
            if let Err(error) = ended
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// Deletes committed deliveries, ten a call and the calls side by side; entries that failed are tried again together.
pub async fn acknowledge<Q: Queue>(queue: &Q, committed: Committed) -> Acknowledged {
    let deliveries = committed.into_deliveries();
    let mut left: Vec<ReceiptHandle> = deliveries.into_iter().map(|delivery| delivery.receipt).collect();
    let all = left.len() as u64;
    let mut pauses = Pauses::new(Duration::from_millis(50), Duration::from_secs(1));
    for attempt in 1..=ATTEMPTS {
        left = delete_once(queue, &left).await;
        if left.is_empty() {
            break;
        }
        tracing::debug!(attempt, left = left.len(), "some deletes failed");
        if attempt < ATTEMPTS {
            tokio::time::sleep(pauses.next_pause()).await;
        }
    }
    let not_deleted = left.len() as u64;
    if not_deleted > 0 {
        tracing::warn!(not_deleted, "the queue did not delete these: they come again and are absorbed");
    }
    Acknowledged { deleted: all - not_deleted, not_deleted }
}

/// One attempt; gives back what it makes sense to try again.
async fn delete_once<Q: Queue>(queue: &Q, receipts: &[ReceiptHandle]) -> Vec<ReceiptHandle> {
    let calls = receipts.chunks(MESSAGES_PER_CALL).map(async |chunk| match queue.delete(chunk).await {
        Ok(taken) => {
            // A refused handle would be refused again.
            let failed = (chunk.iter().zip(taken))
                .filter(|(_, taken)| matches!(taken, Taken::No(refusal) if !refusal.is_for_good()));
            failed.map(|(receipt, _)| receipt.clone()).collect()
        }
        Err(error) => {
            tracing::debug!(%error, messages = chunk.len(), "a delete call failed");
            chunk.to_vec()
        }
    });
    side_by_side(calls).await.concat()
}
