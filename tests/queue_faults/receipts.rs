//! Deletes by receipts that are no longer the last, or whose time is over.

use std::time::Duration;

use futures_util::future::join3;
use stand_ins::sqs::{Faults, QueueOptions, StaleReceipts};
use turnstile::lane::LaneSettings;
use turnstile::receive::ReceiveLimits;

use super::{Siege, small_batches, survive, survived, times};
use crate::support::pipeline::Pipeline;
use crate::support::postgres::block_claims;
use crate::support::site::QUEUE;
use crate::support::wait_until;

async fn survive_stale(fault: &str, stale_receipts: StaleReceipts) {
    let faults = Faults { early_redelivery: 0.5, stale_receipts, ..Faults::default() };
    survive(fault, faults, |queue| queue.served().stale_deletes).await;
}

#[tokio::test]
async fn a_stale_receipt_costs_a_redelivery_at_most_whether_it_deletes_does_nothing_or_is_refused() {
    join3(
        survive_stale("stale receipt, delete without effect", StaleReceipts::Ignored),
        survive_stale("stale receipt, delete with effect", StaleReceipts::Taken),
        survive_stale("stale receipt, delete refused", StaleReceipts::Refused),
    )
    .await;
}

#[tokio::test]
async fn an_expired_receipt_that_a_fifo_queue_refuses_costs_a_redelivery() {
    let options = QueueOptions { content_based_deduplication: true, ..QueueOptions::new("logins.fifo") };
    let siege = Siege::begin(options, 4).await;
    siege.pipeline.sqs.set_faults(Faults { early_redelivery: 0.5, ..Faults::default() });
    siege.until_enough(|queue| queue.served().late_deletes).await;
    let refused = siege.pipeline.sqs.served().late_deletes;
    siege.survived("expired receipt, delete refused", refused).await;
}

/// The database keeps the loader waiting and no lease can be renewed, so that the timeouts end before the deletes.
#[tokio::test]
async fn what_is_deleted_after_its_visibility_timeout_was_recorded_before() {
    let pipeline = Pipeline::new().await;
    // Some may come a second time while the others are gathered.
    let in_hand = usize::try_from(times()).unwrap() * 3 / 2;
    pipeline.fill(in_hand, in_hand / 10);
    pipeline.sqs.set_faults(Faults { only: Some("ChangeMessageVisibilityBatch"), throttle: 1.0, ..Faults::default() });
    let mut locker = pipeline.test.client().await;
    let lock = block_claims(&mut locker).await;
    let limits = ReceiveLimits { batch_size: 2 * in_hand, linger: Duration::from_secs(1), ..small_batches().limits };
    let loader = pipeline.start(1, LaneSettings { limits, ..small_batches() }).await;
    wait_until("the timeouts end before the rows are recorded", async || {
        let visible = pipeline.sqs.stats(QUEUE).unwrap().visible;
        pipeline.sqs.served().delivered >= visible as u64 && visible >= in_hand
    })
    .await;
    lock.rollback().await.unwrap();
    wait_until("the late deletes are made", async || pipeline.sqs.served().late_deletes >= times()).await;
    pipeline.sqs.set_faults(Faults::default());
    pipeline.is_drained().await;
    loader.stop().await;
    pipeline.assert_promise().await;
    survived("expired receipt, delete with effect", pipeline.sqs.served().late_deletes);
}
