//! The queue, as the loader needs it.

pub(crate) mod answers;
pub mod sqs;

use std::future::Future;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use crate::aws::names_content;
pub use crate::aws::{CallError as QueueError, Code, Fault};
use crate::message::{QueueIdentity, ReceiptHandle, ReceivedMessage};
use crate::metrics::CallOutcome;

/// The most messages that one call receives, deletes or hides: the queue's own limit.
pub const MESSAGES_PER_CALL: usize = 10;

/// The largest body, and the largest batch of bodies in one send, in bytes: SQS refuses more.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// The longest time for which one receive may wait for a message.
pub const MAX_WAIT: Duration = Duration::from_secs(20);

/// A queue that delivers each message at least once and hides a delivered one for its visibility timeout.
///
/// Every call ends within a deadline of its own. A call that failed may have taken effect.
pub trait Queue: Clone + Send + Sync + 'static {
    /// What tells this queue's messages from another's.
    fn identity(&self) -> &QueueIdentity;

    /// Receives up to `max` (at most [`MESSAGES_PER_CALL`]) messages and hides them for `visibility_timeout`, waiting
    /// up to `wait` (at most [`MAX_WAIT`]) for the first.
    ///
    /// The queue counts in whole seconds: `wait` is rounded down, `visibility_timeout` up.
    ///
    /// `Ok` with no message means only that none came: the queue may hold some. A message whose body was damaged on
    /// the way (its MD5 does not match) is not among them: it is counted, and comes again.
    /// Dropping this future hides the messages that it was about to bring until their timeout: let it return.
    fn receive(
        &self,
        max: usize,
        wait: Duration,
        visibility_timeout: Duration,
    ) -> impl Future<Output = Result<Vec<ReceivedMessage>, QueueError>> + Send;

    /// Deletes up to [`MESSAGES_PER_CALL`] deliveries in one call; `Ok` says for each, in order, whether it was taken.
    ///
    /// A message whose delete succeeded may still be delivered again (a stale handle, a standard queue).
    fn delete(&self, receipts: &[ReceiptHandle]) -> impl Future<Output = Result<Vec<Answer<()>>, QueueError>> + Send;

    /// Hides up to [`MESSAGES_PER_CALL`] deliveries for the time given with each, counted from now (0 s to 12 h,
    /// rounded up to whole seconds); `Ok` says for each, in order, whether it was taken.
    fn change_visibility(
        &self,
        changes: &[(ReceiptHandle, Duration)],
    ) -> impl Future<Output = Result<Vec<Answer<()>>, QueueError>> + Send;

    /// How many messages the queue says it holds: approximate, and late by up to a minute on AWS.
    fn depth(&self) -> impl Future<Output = Result<Depth, QueueError>> + Send;
}

/// Makes calls, sixteen side by side at the most, and gives their answers as they come: not in the order of the calls.
pub async fn side_by_side<F: Future>(calls: impl Iterator<Item = F>) -> Vec<F::Output> {
    let calls: Vec<F> = calls.collect();
    stream::iter(calls).buffer_unordered(16).collect().await
}

/// What the queue did with one entry of a batch: what was asked, or not.
pub type Answer<T> = Result<T, Refusal>;

/// Why the queue did not take one entry of a batch. Holds no body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The queue's error code (`ReceiptHandleIsInvalid`, `InternalError`, …), or what is wrong with its answer.
    pub fault: Fault,
    /// Whether the queue says that the request itself was wrong.
    pub sender_fault: bool,
}

impl Refusal {
    /// A refusal with the code that the queue gives.
    pub(crate) fn by(code: impl Into<String>, sender_fault: bool) -> Self {
        Self { fault: Fault::Refused(Code::new(code)), sender_fault }
    }

    /// Whether the same again would be refused again. A throttle passes, even if the queue calls it the sender's fault.
    pub fn is_for_good(&self) -> bool {
        self.sender_fault && !self.fault.passes()
    }

    /// Whether it was refused for what it is, and not because the sender may not send it, or not now.
    pub fn is_of_content(&self) -> bool {
        match &self.fault {
            Fault::Refused(code) => self.sender_fault && names_content(code),
            // The queue has another body than the one that was sent, and would have it again.
            Fault::OtherBody => true,
            Fault::Timeout
            | Fault::Unreachable
            | Fault::Connection
            | Fault::Response
            | Fault::Credentials
            | Fault::Request
            | Fault::Clock
            | Fault::Missing => false,
        }
    }
}

/// A queue's approximate counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages that a receive would deliver.
    pub visible: u64,
    /// Messages delivered and neither deleted nor visible again.
    pub in_flight: u64,
    /// Messages whose delay has not passed.
    pub delayed: u64,
}

impl Depth {
    /// Whether the queue says that it holds nothing at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl QueueError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        let remedy = match &self.fault {
            _ if self.names_no_queue() => "create the queue, or correct --queue, AWS_REGION or AWS_ENDPOINT_URL",
            _ if self.names_expired_credentials() => {
                "renew the AWS credentials; ones from a role or a profile are renewed without a restart"
            }
            _ if self.names_signature() => "correct AWS_SECRET_ACCESS_KEY, or set this machine's clock by NTP",
            Fault::Timeout | Fault::Unreachable | Fault::Connection => {
                "check the network, AWS_ENDPOINT_URL, AWS_REGION and the host in --queue"
            }
            Fault::Response => "look at what answers in the queue's place: a proxy, or a server that is not SQS",
            Fault::Credentials => {
                "look whether AWS credentials are available: AWS_PROFILE, the role of this machine, the service that gives \
                 them"
            }
            Fault::Clock => "set this machine's clock by NTP",
            Fault::Request | Fault::Missing | Fault::OtherBody => {
                "run `turnstile check`, and report it if that finds nothing: it may be a defect"
            }
            Fault::Refused(_) => {
                return format!(
                    "let the credentials call sqs:{} on the queue; `turnstile check` looks at it",
                    self.call
                );
            }
        };
        remedy.to_owned()
    }

    /// How the call is counted: by what an operator would do about it.
    pub fn outcome(&self) -> CallOutcome {
        match &self.fault {
            Fault::Timeout => CallOutcome::Timeout,
            Fault::Unreachable | Fault::Connection => CallOutcome::Connection,
            Fault::Clock => CallOutcome::Clock,
            Fault::Credentials => CallOutcome::Credentials,
            Fault::Response => CallOutcome::Server,
            Fault::Refused(_) if self.names_expired_credentials() || self.names_signature() => CallOutcome::Credentials,
            Fault::Refused(_) => match self.status {
                Some(429) => CallOutcome::Throttled,
                Some(500..) => CallOutcome::Server,
                Some(401 | 403) => CallOutcome::Credentials,
                Some(_) | None if self.fault.passes() => CallOutcome::Throttled,
                Some(_) | None => CallOutcome::Other,
            },
            Fault::Request | Fault::Missing | Fault::OtherBody => CallOutcome::Other,
        }
    }

    /// Whether the server answered that there is no such queue.
    ///
    /// The JSON protocol names it in one way; servers that also keep the older query protocol's names, Amazon's among
    /// them, in another.
    pub fn names_no_queue(&self) -> bool {
        matches!(self.fault.name(), Some("QueueDoesNotExist" | "NonExistentQueue"))
    }

    /// Whether the server refused the call for what one of the bodies in it is, or for how large they are together:
    /// fewer in a call may be taken.
    pub fn names_bodies(&self) -> bool {
        matches!(&self.fault, Fault::Refused(code) if names_content(code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_known_by_its_name_in_every_spelling() {
        type Names = fn(&QueueError) -> bool;
        for (name, is_named) in [
            ("NonExistentQueue", QueueError::names_no_queue as Names),
            ("QueueDoesNotExist", QueueError::names_no_queue),
            ("ExpiredToken", QueueError::names_expired_credentials),
            ("RequestTimeTooSkewed", QueueError::names_signature),
            ("BatchRequestTooLong", QueueError::names_bodies),
            ("InvalidMessageContents", QueueError::names_bodies),
        ] {
            for spelling in ["", "AWS.SimpleQueueService.", "com.amazonaws.sqs#"] {
                let fault = Fault::Refused(Code::new(format!("{spelling}{name}")));
                let error = QueueError { call: "AnyCall", fault, status: Some(400) };
                assert!(is_named(&error), "{error}");
                assert!(error.is_for_good() != error.names_expired_credentials(), "{error}");
            }
        }
    }

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
            assert_eq!(error.outcome(), outcome, "{error}");
        }
    }

    #[test]
    fn an_entry_is_refused_for_good_unless_it_is_throttled_or_the_queue_is_at_fault() {
        for (code, sender_fault, for_good) in [
            ("ReceiptHandleIsInvalid", true, true),
            ("AWS.SimpleQueueService.AccessDenied", true, true),
            ("InternalError", false, false),
            ("KMS.ThrottlingException", true, false),
            ("com.amazonaws.sqs#RequestThrottled", true, false),
        ] {
            let refusal = Refusal { fault: Fault::Refused(Code::new(code)), sender_fault };
            assert_eq!(refusal.is_for_good(), for_good, "{code}");
        }
        assert!(!Refusal { fault: Fault::Missing, sender_fault: false }.is_for_good());
        assert!(Refusal { fault: Fault::OtherBody, sender_fault: true }.is_for_good());
    }
}
