//! A client that gets over credentials that expire, a clock that is set, and connections that die.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_sqs::config::IdentityCache;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use time::Duration;

use super::clock::ServerClock;
use super::failure::failure;
use super::{CallError, Fault};

/// How far the server's clock must be from where it was to explain that a signature is refused: SQS tolerates 15
/// minutes, other servers 5, and the SDK begins to correct at 4.
const CLOCK_WAS_SET: Duration = Duration::minutes(4);

/// Makes the calls of one kind.
///
/// The SDK asks its provider for credentials only when, by what it was told at first, they are about to expire. Ones
/// that end earlier (a session revoked, a clock that is behind, a token without a time) it would send again and again,
/// although the provider has new ones. So it forgets them once the server says that they have expired.
///
/// It signs by the clock that the last reply told. Where a clock has been set since, ours or the server's, one call is
/// refused, in the same words as one that is signed with a wrong secret; only the replies' dates tell the two apart.
///
/// And of a call that stays without an answer it closes the connection of this call only: what ended that one may have
/// ended its idle neighbours too, and each of them would cost another deadline.
#[derive(Debug)]
pub(crate) struct Caller<C> {
    current: Mutex<Arc<C>>,
    clock: ServerClock,
}

/// What one call is made with.
pub(crate) struct Attempt<C> {
    client: Arc<C>,
    /// What the SDK corrects the time of the signature by.
    clock_difference: Duration,
}

impl<C: Client> Caller<C> {
    /// Calls with this client, whose replies the clock looks at.
    pub(crate) fn new(client: C, clock: ServerClock) -> Self {
        Self { current: Mutex::new(Arc::new(client)), clock }
    }

    /// Begins a call.
    pub(crate) fn attempt(&self) -> Attempt<C> {
        let client = self.current().clone();
        Attempt { client, clock_difference: self.clock.difference().unwrap_or_default() }
    }

    /// By how much the server's clock was ahead of ours, by the last reply that told its time.
    pub(crate) fn clock_difference(&self) -> Option<Duration> {
        self.clock.difference()
    }

    /// What went wrong in a call. Where its credentials had expired, or no answer came in time, the next call begins
    /// with neither; of the calls that failed side by side only the first brings that about.
    pub(crate) fn failure<E>(
        &self,
        call: &'static str,
        attempt: &Attempt<C>,
        error: &SdkError<E, HttpResponse>,
    ) -> CallError
    where
        E: ProvideErrorMetadata,
    {
        let mut failure = failure(call, error);
        if failure.names_expired_credentials() {
            self.renew(attempt, C::EXPIRED);
        }
        if failure.fault == Fault::Timeout {
            self.renew(attempt, C::SILENT);
        }
        let difference = self.clock.difference().unwrap_or_default();
        if failure.names_signature() && (difference - attempt.clock_difference).abs() > CLOCK_WAS_SET {
            failure.fault = Fault::Clock;
        }
        failure
    }

    /// A call has been given up without an answer.
    pub(crate) fn unanswered(&self, call: &'static str, attempt: &Attempt<C>) -> CallError {
        self.renew(attempt, C::SILENT);
        CallError { call, fault: Fault::Timeout, status: None }
    }

    fn renew(&self, attempt: &Attempt<C>, why: &'static str) {
        let mut current = self.current();
        if Arc::ptr_eq(&current, &attempt.client) {
            tracing::warn!("{why}");
            *current = Arc::new(attempt.client.with_nothing_cached());
        }
    }

    fn current(&self) -> MutexGuard<'_, Arc<C>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> std::ops::Deref for Attempt<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.client
    }
}

/// A client of one of the services, which the SDK has in types of their own.
pub(crate) trait Client {
    /// What is logged when the service says that the credentials have expired.
    const EXPIRED: &'static str;
    /// What is logged when no answer came in time.
    const SILENT: &'static str;

    /// The same with no credentials and no connections in hand.
    fn with_nothing_cached(&self) -> Self;
}

impl Client for aws_sdk_sqs::Client {
    const EXPIRED: &'static str = "the queue says that the credentials have expired: asking for new ones";
    const SILENT: &'static str = "the queue does not answer: making new connections";

    fn with_nothing_cached(&self) -> Self {
        Self::from_conf(self.config().to_builder().identity_cache(IdentityCache::lazy().build()).build())
    }
}

impl Client for aws_sdk_sns::Client {
    const EXPIRED: &'static str = "the topic says that the credentials have expired: asking for new ones";
    const SILENT: &'static str = "the topic does not answer: making new connections";

    fn with_nothing_cached(&self) -> Self {
        Self::from_conf(self.config().to_builder().identity_cache(IdentityCache::lazy().build()).build())
    }
}
