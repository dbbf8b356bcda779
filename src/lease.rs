//! Keeps what is in hand invisible to others, for as long as it takes to load it, and gives it back after.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::failpoint::{Step, around};
use crate::message::{Delivery, ReceiptHandle};
use crate::metrics::{Holding, Renewal, Snapshot};
use crate::queue::{MESSAGES_PER_CALL, Queue, side_by_side};
use crate::retry::pause_before_redelivery;

/// The longest time for which a rejected message is hidden between two attempts.
pub const LONGEST_RETRY_DELAY: Duration = Duration::from_secs(15 * 60);

/// The receipts of what is in hand, until it is let go.
#[derive(Debug)]
pub struct InHand {
    receipts: Mutex<HashSet<ReceiptHandle>>,
    holding: Holding,
}

impl InHand {
    /// Everything that was received, as it was counted.
    pub fn new(receipts: impl IntoIterator<Item = ReceiptHandle>, holding: Holding) -> Self {
        Self { receipts: Mutex::new(receipts.into_iter().collect()), holding }
    }

    /// What has been recorded, or goes back to the queue, and how that is counted.
    pub fn let_go<'d>(
        &self,
        deliveries: impl IntoIterator<Item = &'d Delivery>,
        how: impl FnOnce(&mut Snapshot, usize),
    ) {
        let gone = {
            let mut receipts = self.held();
            deliveries.into_iter().filter(|delivery| receipts.remove(&delivery.receipt)).count()
        };
        self.holding.settle(gone, |figures| how(figures, gone));
    }

    /// What is still in hand, in no order that means anything.
    pub fn receipts(&self) -> Vec<ReceiptHandle> {
        self.held().iter().cloned().collect()
    }

    /// Everything that is still in hand, let go.
    pub fn take_all(&self, how: impl FnOnce(&mut Snapshot, usize)) -> Vec<ReceiptHandle> {
        let receipts: Vec<_> = self.held().drain().collect();
        self.holding.settle(receipts.len(), |figures| how(figures, receipts.len()));
        receipts
    }

    fn renewed(&self, renewed: usize, of: usize) {
        self.holding.settle(0, |figures| {
            figures.renewals.add((Renewal::Renewed,), renewed as u64);
            figures.renewals.add((Renewal::Failed,), of.saturating_sub(renewed) as u64);
        });
    }

    fn held(&self) -> MutexGuard<'_, HashSet<ReceiptHandle>> {
        self.receipts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does `work` while the lease on what is in hand is renewed at half the visibility timeout, counted from `since`: when
/// the first of it was received. The queue allows 12 hours in all; after that the messages come again, and the
/// claim absorbs them.
pub async fn hold<Q: Queue, T>(
    queue: &Q,
    in_hand: &InHand,
    visibility_timeout: Duration,
    since: Instant,
    work: impl Future<Output = T>,
) -> T {
    let renew = async {
        let period = visibility_timeout / 2;
        let mut next = since + period;
        loop {
            sleep_until(next).await;
            let changes: Vec<_> = in_hand.receipts().into_iter().map(|receipt| (receipt, visibility_timeout)).collect();
            let renewed = around(Step::Renew, change_visibility(queue, &changes)).await;
            in_hand.renewed(renewed, changes.len());
            tracing::debug!(renewed, messages = changes.len(), "lease renewed");
            // What was not renewed is tried again while its lease still holds.
            next = Instant::now() + if renewed == changes.len() { period } else { period / 4 };
        }
    };
    tokio::select! {
        biased;
        done = work => done,
        never = renew => never,
    }
}

/// Gives rejected messages back to the queue, each hidden for longer than the time before, starting at `retry_delay`.
pub async fn return_for_retry<Q: Queue>(queue: &Q, returned: &[Delivery], retry_delay: Duration) {
    let changes: Vec<_> = returned
        .iter()
        .map(|delivery| {
            let pause = pause_before_redelivery(delivery.receive_count, retry_delay, LONGEST_RETRY_DELAY);
            (delivery.receipt.clone(), pause)
        })
        .collect();
    change_visibility(queue, &changes).await;
}

/// Gives messages back to the queue, for the next that asks.
pub async fn release<Q: Queue>(queue: &Q, receipts: &[ReceiptHandle]) {
    let changes: Vec<_> = receipts.iter().map(|receipt| (receipt.clone(), Duration::ZERO)).collect();
    let released = change_visibility(queue, &changes).await;
    tracing::debug!(released, messages = changes.len(), "released");
}

/// Ten a call and the calls side by side; says how many the queue took. The others keep the timeout that they have.
async fn change_visibility<Q: Queue>(queue: &Q, changes: &[(ReceiptHandle, Duration)]) -> usize {
    let calls = changes.chunks(MESSAGES_PER_CALL).map(async |chunk| match queue.change_visibility(chunk).await {
        Ok(answers) => {
            let mut refusals: BTreeMap<String, usize> = BTreeMap::new();
            let mut yes = 0;
            for answer in answers {
                match answer {
                    Ok(()) => yes += 1,
                    Err(refusal) => *refusals.entry(refusal.fault.to_string()).or_default() += 1,
                }
            }
            if !refusals.is_empty() {
                tracing::debug!(?refusals, "the queue did not change some visibility timeouts");
            }
            yes
        }
        Err(error) => {
            tracing::warn!(%error, messages = chunk.len(), "visibility timeouts could not be changed");
            0
        }
    });
    side_by_side(calls).await.into_iter().sum()
}
