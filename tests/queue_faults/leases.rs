//! Leases that are not renewed, in part or for now, while the database keeps the loader waiting.

use std::time::Duration;

use futures_util::future::join;
use stand_ins::sqs::{FaultCounts, Faults};
use turnstile::lane::LaneSettings;
use turnstile::receive::ReceiveLimits;

use super::{small_batches, survived, times};
use crate::support::pipeline::Pipeline;
use crate::support::postgres::block_claims;
use crate::support::wait_until;

async fn survive_in_renewals(fault: &str, faults: Faults, struck: impl Fn(FaultCounts) -> u64) {
    let pipeline = Pipeline::new().await;
    let mut locker = pipeline.test.client().await;
    let lock = block_claims(&mut locker).await;
    pipeline.fill(100, 0);
    let limits = ReceiveLimits { batch_size: 50, visibility_timeout: Duration::from_secs(2), ..small_batches().limits };
    let loader = pipeline.start(2, LaneSettings { limits, ..small_batches() }).await;
    wait_until("everything is in hand", async || pipeline.sqs.served().delivered >= 100).await;
    pipeline.sqs.set_faults(faults);
    wait_until("renewals have failed often", async || struck(pipeline.sqs.fault_counts()) >= times()).await;
    pipeline.sqs.set_faults(Faults::default());
    let struck = struck(pipeline.sqs.fault_counts());
    lock.rollback().await.unwrap();
    pipeline.is_drained().await;
    loader.stop().await;
    pipeline.assert_promise().await;
    survived(fault, struck);
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_is_renewed_again_or_costs_a_redelivery() {
    let renewal = Faults { only: Some("ChangeMessageVisibilityBatch"), ..Faults::default() };
    let in_part = Faults { partial_batch_failure: 0.4, ..renewal };
    let throttled = Faults { throttle: 0.7, ..renewal };
    join(
        survive_in_renewals("entry of a lease renewal failed", in_part, |counts| counts.partial_batch_failure),
        survive_in_renewals("lease renewal throttled", throttled, |counts| counts.throttle),
    )
    .await;
}
