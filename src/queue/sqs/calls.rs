//! Calls to the queue, counted: how many, how they ended, how long they took and what they are billed as.

use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::message::ReceivedMessage;
use crate::metrics::{CallOutcome, Metrics, Operation, Snapshot, unix_seconds};
use crate::queue::{Answer, Depth, QueueError};

/// How much payload is billed as one request.
const BILLED_BYTES: usize = 64 * 1024;

/// What an answer brought.
pub(super) trait Brought {
    /// The bytes of its bodies; nothing where the call only waited.
    fn bytes(&self) -> Option<usize>;
}

impl Brought for Vec<ReceivedMessage> {
    fn bytes(&self) -> Option<usize> {
        (!self.is_empty()).then(|| self.iter().map(|message| message.body.len()).sum())
    }
}

impl Brought for Vec<Answer<()>> {
    fn bytes(&self) -> Option<usize> {
        Some(0)
    }
}

impl Brought for Depth {
    fn bytes(&self) -> Option<usize> {
        Some(0)
    }
}

/// A call that has begun. What makes it is awaited where it is called for: the future of a call is large, and whatever takes it as
/// an argument copies it.
pub(super) struct Begun {
    operation: Operation,
    since: Instant,
}

impl Begun {
    /// A call begins.
    pub(super) fn now(operation: Operation) -> Self {
        Self { operation, since: Instant::now() }
    }

    /// Counts the call, which has ended so.
    pub(super) fn ended<T: Brought>(self, metrics: &Metrics, answer: Result<T, QueueError>) -> Result<T, QueueError> {
        let Self { operation, since } = self;
        let took = since.elapsed();
        metrics.count(|figures| match &answer {
            Ok(brought) => figures.call_was_answered(operation, brought.bytes(), took),
            Err(error) => figures.calls.add((operation, error.outcome()), 1),
        });
        answer
    }
}

impl Snapshot {
    fn call_was_answered(&mut self, operation: Operation, bytes: Option<usize>, took: Duration) {
        self.calls.add((operation, CallOutcome::Ok), 1);
        if operation == Operation::Receive {
            self.last_receive.set((), unix_seconds(OffsetDateTime::now_utc()));
        }
        self.billed.add((operation,), bytes.unwrap_or_default().div_ceil(BILLED_BYTES).max(1) as u64);
        match bytes {
            Some(_) => self.call_duration.observe((operation,), took.as_secs_f64()),
            None => self.empty_receives.add((), 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_billed_for_each_64_kib_and_an_empty_one_too() {
        let metrics = Metrics::default();
        for bytes in [None, Some(0), Some(BILLED_BYTES), Some(BILLED_BYTES + 1)] {
            metrics.count(|figures| figures.call_was_answered(Operation::Receive, bytes, Duration::ZERO));
        }
        let figures = metrics.snapshot();
        assert_eq!((figures.billed.get((Operation::Receive,)), figures.empty_receives.total()), (1 + 1 + 1 + 2, 1));
    }
}
