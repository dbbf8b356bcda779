//! Calls to the queue, counted: how many, how they ended, how long they took and what they are billed as.

use std::future::Future;
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::message::ReceivedMessage;
use crate::metrics::{CallOutcome, Metrics, Operation, Snapshot, unix_seconds};
use crate::queue::{Answer, Depth, Fault, QueueError};

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

/// Makes a call, and counts it once it has ended.
pub(super) async fn counted<T: Brought>(
    metrics: &Metrics,
    operation: Operation,
    call: impl Future<Output = Result<T, QueueError>>,
) -> Result<T, QueueError> {
    let begun = Instant::now();
    let answer = call.await;
    let took = begun.elapsed();
    metrics.count(|figures| match &answer {
        Ok(brought) => figures.call_was_answered(operation, brought.bytes(), took),
        Err(error) => figures.calls.add((operation, outcome_of(error)), 1),
    });
    answer
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

fn outcome_of(error: &QueueError) -> CallOutcome {
    match &error.fault {
        Fault::Timeout => CallOutcome::Timeout,
        Fault::Unreachable | Fault::Connection => CallOutcome::Connection,
        Fault::Clock => CallOutcome::Clock,
        Fault::Credentials => CallOutcome::Credentials,
        Fault::Response => CallOutcome::Server,
        Fault::Refused(_) if error.names_expired_credentials() || error.names_signature() => CallOutcome::Credentials,
        Fault::Refused(_) => match error.status {
            Some(429) => CallOutcome::Throttled,
            Some(500..) => CallOutcome::Server,
            Some(401 | 403) => CallOutcome::Credentials,
            Some(_) | None if error.fault.passes() => CallOutcome::Throttled,
            Some(_) | None => CallOutcome::Other,
        },
        Fault::Request | Fault::Missing | Fault::OtherBody => CallOutcome::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Code;

    #[test]
    fn a_failed_call_is_counted_by_what_an_operator_would_do_about_it() {
        let refused = |code: &str| Fault::Refused(Code::new(code));
        for (fault, status, outcome) in [
            (Fault::Timeout, None, CallOutcome::Timeout),
            (Fault::Unreachable, None, CallOutcome::Connection),
            (Fault::Response, Some(200), CallOutcome::Server),
            (refused("RequestThrottled"), Some(400), CallOutcome::Throttled),
            (refused("Whatever"), Some(429), CallOutcome::Throttled),
            (refused("InternalError"), Some(500), CallOutcome::Server),
            (refused("ExpiredToken"), Some(403), CallOutcome::Credentials),
            (refused("AccessDenied"), Some(403), CallOutcome::Credentials),
            (refused("QueueDoesNotExist"), Some(400), CallOutcome::Other),
        ] {
            let error = QueueError { call: "AnyCall", fault, status };
            assert_eq!(outcome_of(&error), outcome, "{error}");
        }
    }

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
