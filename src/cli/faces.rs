//! What shows how a loader or a relay is while it runs: figures and probes over HTTP, and the words for a supervisor.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::Failure;
use crate::metrics::Build;
use crate::queue::Queue;
use crate::serve::{Health, Patience, Progress, Service, Supervisor, serve};

/// For how long the other sides may be away before a process is not ready.
const AWAY_WITHIN: Duration = Duration::from_secs(30);

/// Shows a process until it is dropped.
pub(super) struct Faces<Q> {
    pub(super) service: Arc<Service<Q>>,
    _serving: JoinSet<()>,
}

impl<Q: Queue> Faces<Q> {
    /// Serves the figures and the probes at an address, and tells the supervisor, where that is wanted.
    pub(super) async fn of(
        service: Service<Q>,
        address: Option<SocketAddr>,
        progress: &Progress,
    ) -> Result<Self, Failure> {
        let (service, mut serving) = (Arc::new(service), JoinSet::new());
        match Supervisor::of_environment() {
            Ok(None) => {}
            Ok(Some(supervisor)) => {
                serving.spawn(supervisor.tell(service.metrics().clone(), service.health().clone(), progress.clone()));
            }
            Err(error) => tracing::warn!(
                %error,
                remedy = "let NOTIFY_SOCKET name the socket of the supervisor, or nothing",
                "the supervisor cannot be told how this process is"
            ),
        }
        if let Some(address) = address {
            let listener = TcpListener::bind(address).await.map_err(|error| {
                let what = format!("--metrics-address (TURNSTILE_METRICS_ADDRESS): {address} cannot be bound: {error}");
                Failure::new(what, "name an address of this machine and a port that is free")
            })?;
            let address = listener.local_addr().unwrap_or(address);
            tracing::info!(%address, "serving /metrics, /livez and /readyz");
            let service = service.clone();
            serving.spawn(async move { match serve(listener, service).await {} });
        }
        Ok(Self { service, _serving: serving })
    }
}

/// What runs; a relay masks and recognises nothing.
pub(super) fn build(mask: &str, identity: &str) -> Build {
    Build {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: env!("TURNSTILE_COMMIT").to_owned(),
        mask: mask.to_owned(),
        identity: identity.to_owned(),
    }
}

pub(super) fn health(patience: Patience) -> Health {
    Health { patience, away_within: AWAY_WITHIN }
}
