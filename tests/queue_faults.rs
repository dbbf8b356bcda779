//! The queue goes wrong in every way that SQS can, and each message still ends once, in its place.

mod calls;
mod clock;
mod credentials;
mod deletes;
mod deliveries;
mod leases;
mod receipts;

use std::time::Duration;

use stand_ins::sqs::{Faults, LocalQueue, QueueOptions};
use turnstile::lane::LaneSettings;
use turnstile::receive::ReceiveLimits;

use crate::support::evidence;
use crate::support::pipeline::{Pipeline, Running, quick};
use crate::support::site::QUEUE;

/// How often each fault must strike; `TURNSTILE_TEST_QUEUE_FAULTS` sets another number.
fn times() -> u64 {
    std::env::var("TURNSTILE_TEST_QUEUE_FAULTS").map_or(100, |text| text.parse().unwrap())
}

/// Small batches, so that there are many calls, and short timeouts, so that what a fault hides is soon back.
fn small_batches() -> LaneSettings {
    let limits = ReceiveLimits { batch_size: 3, visibility_timeout: Duration::from_secs(1), ..quick().limits };
    LaneSettings { limits, until_empty: false, ..quick() }
}

/// A loader at work on a queue that is about to go wrong.
struct Siege {
    pipeline: Pipeline,
    loader: Running,
}

impl Siege {
    async fn begin(options: QueueOptions, lanes: usize) -> Self {
        let pipeline = Pipeline::of(options).await;
        let loader = pipeline.start(lanes, small_batches()).await;
        Self { pipeline, loader }
    }

    /// Fills and drains the queue, over and over, until `struck` counts as many faults as are wanted.
    async fn until_enough(&self, struck: impl Fn(&LocalQueue) -> u64) {
        while struck(&self.pipeline.sqs) < times() {
            self.pipeline.fill(120, 60);
            self.pipeline.is_drained().await;
        }
    }

    /// Lets the loader end without a fault, and compares what it left with what was sent.
    async fn survived(self, fault: &str, times: u64) {
        self.pipeline.sqs.set_faults(Faults::default());
        self.pipeline.is_drained().await;
        self.loader.stop().await;
        self.pipeline.assert_promise().await;
        survived(fault, times);
    }
}

/// A standard queue under these faults until `struck` counts enough of them.
async fn survive(fault: &str, faults: Faults, struck: impl Fn(&LocalQueue) -> u64) {
    let siege = Siege::begin(QueueOptions::new(QUEUE), 4).await;
    siege.pipeline.sqs.set_faults(faults);
    siege.until_enough(&struck).await;
    let times = struck(&siege.pipeline.sqs);
    siege.survived(fault, times).await;
}

fn survived(fault: &str, struck: u64) {
    assert!(struck >= times(), "{fault}: struck {struck} times only");
    evidence::survived(fault, struck, "cargo test --test main queue_faults::");
}
