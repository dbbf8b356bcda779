//! Makes connections, and reads the notices that come with them.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::{Connect, PoolError};
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::{DatabaseAddress, TlsError};
use super::error::{Phase, Place};
use super::rds_token::RdsTokens;
use super::{DatabaseError, remedy};

/// Opens connections and reads the notices that come with them.
#[derive(Clone)]
pub(super) struct Connector {
    tls: MakeRustlsConnect,
    /// How often the server said that a commit holds on this server only: the wait for its standby was cancelled.
    pub(super) unreplicated: Arc<AtomicU64>,
    /// Whether it ever made a connection: these settings lead to a server that lets us in.
    reached: Arc<AtomicBool>,
    place: Arc<Place>,
    /// What makes the password of each connection, where it is a token.
    tokens: Option<RdsTokens>,
    /// Why the last token could not be made.
    no_token: Arc<Mutex<Option<String>>>,
}

impl Connector {
    pub(super) fn to(address: &DatabaseAddress) -> Result<Self, TlsError> {
        Ok(Self {
            tls: address.tls()?,
            unreplicated: Arc::default(),
            reached: Arc::default(),
            place: Arc::new(address.place()),
            tokens: address.tokens(),
            no_token: Arc::default(),
        })
    }

    /// Why no connection could be made, in the light of those that were made before.
    pub(super) fn error_of(&self, error: &tokio_postgres::Error) -> DatabaseError {
        let no_token = self.no_token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let error = match no_token {
            Some(why) => DatabaseError::without_token(why),
            None => DatabaseError::from_driver(Phase::Connecting, error),
        };
        let error = if self.reached.load(Ordering::SeqCst) { error.after_a_connection() } else { error };
        error.at(&self.place)
    }

    /// No connection within the deadline.
    pub(super) fn too_late(&self, after: Duration) -> DatabaseError {
        DatabaseError::deadline(Phase::Connecting, after).at(&self.place)
    }

    /// The settings to connect with: a token is made for each connection.
    async fn with_token(&self, mut config: Config) -> Config {
        let Some(tokens) = &self.tokens else { return config };
        let made = tokens.make().await;
        if let Ok(token) = &made {
            config.password(token);
        }
        *self.no_token.lock().unwrap_or_else(PoisonError::into_inner) = made.err();
        config
    }

    /// The same of a pool's error.
    pub(super) fn error_of_pool(&self, error: &PoolError) -> DatabaseError {
        match error {
            PoolError::Backend(error) => self.error_of(error),
            PoolError::Timeout(_)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => {
                DatabaseError::unexpected(Phase::Connecting, error.to_string(), remedy::DEFECT).at(&self.place)
            }
        }
    }
}

impl Connect for Connector {
    fn connect(&self, config: &Config) -> Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        let config = config.clone();
        Box::pin(async move {
            let config = self.with_token(config).await;
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
