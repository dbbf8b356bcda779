//! A client whose credentials may expire.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::IdentityCache;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use super::failure::failure;
use crate::queue::QueueError;

/// A client that asks for new credentials once the queue says that its own have expired.
///
/// The SDK asks its provider only when, by what it was told at first, they are about to expire: credentials that end
/// before that (a session that was revoked, a clock that is behind, a role's that came without a time) would be sent
/// again and again, although the provider has new ones.
#[derive(Debug)]
pub(super) struct Renewable(Mutex<Arc<Client>>);

impl Renewable {
    pub(super) fn new(client: Client) -> Self {
        Self(Mutex::new(Arc::new(client)))
    }

    /// The client for the next call.
    pub(super) fn client(&self) -> Arc<Client> {
        self.current().clone()
    }

    /// What went wrong in a call that was made by `client`. Where its credentials had expired, the next call asks for
    /// new ones; of the calls that failed side by side only the first brings that about.
    pub(super) fn failure<E>(
        &self,
        client: &Arc<Client>,
        call: &'static str,
        error: &SdkError<E, HttpResponse>,
    ) -> QueueError
    where
        E: ProvideErrorMetadata,
    {
        let failure = failure(call, error);
        let mut current = self.current();
        if failure.names_expired_credentials() && Arc::ptr_eq(&current, client) {
            tracing::warn!(error = %failure, "the queue refuses credentials that have expired: asking for new ones");
            *current = Arc::new(with_nothing_cached(client));
        }
        failure
    }

    fn current(&self) -> MutexGuard<'_, Arc<Client>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn with_nothing_cached(client: &Client) -> Client {
    let config = client.config().to_builder().identity_cache(IdentityCache::lazy().build());
    Client::from_conf(config.build())
}
