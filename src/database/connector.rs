//! Makes connections, and reads the notices that come with them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use deadpool_postgres::{Connect, PoolError};
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::DatabaseError;
use super::address::{DatabaseAddress, TlsError};
use super::error::Phase;

/// Opens connections and reads the notices that come with them.
#[derive(Clone)]
pub(super) struct Connector {
    tls: MakeRustlsConnect,
    /// How often the server said that a commit holds on this server only: the wait for its standby was cancelled.
    pub(super) unreplicated: Arc<AtomicU64>,
    /// Whether it ever made a connection: these settings lead to a server that lets us in.
    reached: Arc<AtomicBool>,
}

impl Connector {
    pub(super) fn to(address: &DatabaseAddress) -> Result<Self, TlsError> {
        Ok(Self { tls: address.tls()?, unreplicated: Arc::default(), reached: Arc::default() })
    }

    /// Why no connection could be made, in the light of those that were made before.
    pub(super) fn error_of(&self, error: &tokio_postgres::Error) -> DatabaseError {
        let error = DatabaseError::from_driver(Phase::Connecting, error);
        if self.reached.load(Ordering::SeqCst) { error.after_a_connection() } else { error }
    }

    /// The same of a pool's error.
    pub(super) fn error_of_pool(&self, error: &PoolError) -> DatabaseError {
        match error {
            PoolError::Backend(error) => self.error_of(error),
            PoolError::Timeout(_)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => DatabaseError::unexpected(Phase::Connecting, error.to_string()),
        }
    }
}

impl Connect for Connector {
    fn connect(&self, config: &Config) -> Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        let config = config.clone();
        Box::pin(async move {
            let (client, mut connection) = config.connect(self.tls.clone()).await?;
            self.reached.store(true, Ordering::SeqCst);
            let unreplicated = self.unreplicated.clone();
            let read = async move {
                while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                    if is_lost_replication(&message) {
                        unreplicated.fetch_add(1, Ordering::SeqCst);
                    }
                }
            };
            Ok((client, tokio::spawn(read)))
        })
    }
}

type Connected = Result<(Client, JoinHandle<()>), tokio_postgres::Error>;

/// The warning comes before the commit's own answer on the same connection, and has no SQLSTATE of its own: the name
/// of the server routine is what no language setting changes.
fn is_lost_replication(message: &AsyncMessage) -> bool {
    matches!(message, AsyncMessage::Notice(notice) if notice.routine() == Some("SyncRepWaitForLSN"))
}
