//! The way to PostgreSQL: a pool, a deadline on every call, and a transaction whose commit is verified.

pub mod address;
mod certificate;
mod connector;
pub mod durability;
mod error;
mod lone_session;
pub mod migrate;
mod patience;
mod rds_token;
mod remedy;
pub mod rivals;
pub mod schemas;
pub mod server;
mod session;
mod transaction;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use deadpool_postgres::{Connect, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::{Client, Config};

use self::address::{DatabaseAddress, TlsError};
use self::connector::Connector;
pub use self::error::DatabaseError;
use self::error::Phase;
pub use self::lone_session::{Limits, LoneSession, NAMED_LOCK, RowOut, RowsIn, RowsOut};
pub use self::patience::{Patience, persist, tell_end};
use self::schemas::Schemas;
use self::session::Beginnings;
pub use self::transaction::Transaction;
use crate::metrics::{ConnectionState, Metrics};

/// What the pool is made with.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    /// Where the database is.
    pub address: DatabaseAddress,
    /// The most connections at once.
    pub connections: usize,
    /// The deadline of every call: connecting, waiting for a connection, each statement, the commit.
    pub call_timeout: Duration,
    /// Where the tables stand.
    pub schemas: Schemas,
}

impl DatabaseSettings {
    /// Tables that stand where they do by default.
    pub fn new(address: DatabaseAddress, connections: usize, call_timeout: Duration) -> Self {
        Self { address, connections, call_timeout, schemas: Schemas::default() }
    }
}

/// A pool of connections. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    schemas: Arc<Schemas>,
    pool: Pool,
    connector: Connector,
    config: Config,
    call_timeout: Duration,
    beginnings: Arc<Beginnings>,
    sharded: Arc<AtomicBool>,
    metrics: Metrics,
    /// Whether it was said that frozen rivals may not be ended.
    said_not_permitted: Arc<AtomicBool>,
}

impl Database {
    /// Makes the pool; connects only when something is asked of it.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when the certificates that TLS needs cannot be had.
    pub fn new(settings: &DatabaseSettings) -> Result<Self, TlsError> {
        let call_timeout = settings.call_timeout;
        let connector = Connector::to(&settings.address)?;
        let mut config = settings.address.config.clone();
        secure(&mut config, call_timeout);
        let pool = pool_of(&config, &connector, settings.connections);
        Ok(Self {
            schemas: Arc::new(settings.schemas.clone()),
            pool,
            connector,
            config,
            call_timeout,
            beginnings: Arc::new(Beginnings::with_deadline(call_timeout)),
            sharded: Arc::default(),
            metrics: Metrics::default(),
            said_not_permitted: Arc::default(),
        })
    }

    /// Connections of their own to the same database, by the same role: at most so many.
    #[must_use]
    pub fn apart(&self, connections: usize) -> Self {
        Self { pool: pool_of(&self.config, &self.connector, connections), ..self.clone() }
    }

    /// Where the tables stand.
    pub fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// The same connections; what is done by way of these is counted here.
    pub fn counted_in(self, metrics: &Metrics) -> Self {
        let pool = self.pool.clone();
        metrics.read_at_each_snapshot(move |figures| {
            let status = pool.status();
            let used = status.size.saturating_sub(status.available);
            // Of both pools, in a loader that is a relay besides.
            for (state, connections) in [(ConnectionState::Used, used), (ConnectionState::Idle, status.available)] {
                let of_others = figures.connections.get((state,)).unwrap_or_default();
                figures.connections.set((state,), of_others + connections as f64);
            }
        });
        Self { metrics: metrics.clone(), ..self }
    }

    /// Closes what has not been used for so long.
    pub fn close_idle(&self, unused_for: Duration) {
        drop(self.pool.retain(|_, metrics| metrics.last_used() < unused_for));
    }

    /// Where it is counted what is done with it.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Runs statements in one transaction, and commits what they did where they come to `Ok`.
    ///
    /// # Errors
    ///
    /// That of the statements, or of the commit: see [`Transaction::conclude`].
    pub async fn transaction<T>(
        &self,
        work: impl AsyncFnOnce(&Transaction) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let transaction = self.begin().await?;
        let outcome = work(&transaction).await;
        transaction.conclude(outcome).await
    }

    /// The same, but the commit does not wait for the disk: a crash of the server may take it back, with all that was committed
    /// after it in the same way. Only for notes that say less than is so when they are lost.
    ///
    /// # Errors
    ///
    /// That of the statements, or of the commit: see [`Transaction::conclude`].
    pub async fn unflushed_transaction<T>(
        &self,
        work: impl AsyncFnOnce(&Transaction) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let transaction = self.begin_as(&self.beginnings.unflushed).await?;
        let outcome = work(&transaction).await;
        transaction.conclude(outcome).await
    }

    /// Runs statements in one transaction that leaves nothing behind, whatever they come to.
    ///
    /// # Errors
    ///
    /// That of the statements.
    pub async fn without_effect<T>(
        &self,
        work: impl AsyncFnOnce(&Transaction) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let transaction = self.begin().await?;
        let found = work(&transaction).await;
        transaction.leave().await;
        found
    }

    /// Reads one state of the database, in a transaction that changes nothing.
    ///
    /// # Errors
    ///
    /// That of the statements.
    pub async fn snapshot<T>(
        &self,
        read: impl AsyncFnOnce(&Transaction) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        self.snapshot_within(self.call_timeout, read).await
    }

    /// The same, with another deadline for each of its calls.
    ///
    /// # Errors
    ///
    /// That of the statements.
    pub async fn snapshot_within<T>(
        &self,
        call_timeout: Duration,
        read: impl AsyncFnOnce(&Transaction) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let mut seen = self.begin_snapshot().await?;
        if call_timeout != self.call_timeout {
            seen.set_deadline(call_timeout).await?;
        }
        let found = read(&seen).await;
        seen.leave().await;
        found
    }

    /// Begins a transaction at READ COMMITTED, where a claim waits for its rival: above it, the second
    /// claim fails with 40001 instead. [`Self::transaction`] ends it too.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn begin(&self) -> Result<Transaction, DatabaseError> {
        self.begin_as(&self.beginnings.read_committed).await
    }

    /// Begins a transaction that sees one state of the database and changes nothing. [`Self::snapshot`] ends it too.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn begin_snapshot(&self) -> Result<Transaction, DatabaseError> {
        self.begin_as(&self.beginnings.snapshot).await
    }

    /// Tells whether the server spreads its tables over others (it has the extension `citus`): an internal error is
    /// [`Class::Transient`](crate::retry::Class::Transient) then, for how long is for the caller to say. Holds for every clone.
    pub fn mark_sharded(&self, sharded: bool) {
        self.sharded.store(sharded, Ordering::SeqCst);
    }

    async fn begin_as(&self, begin: &str) -> Result<Transaction, DatabaseError> {
        let begun = Instant::now();
        let client = tokio::time::timeout(self.call_timeout, self.pool.get()).await;
        self.metrics.count(|figures| figures.connection_wait.observe((), begun.elapsed().as_secs_f64()));
        let client = match client {
            Err(_) => return Err(self.connector.too_late(self.call_timeout)),
            Ok(Err(error)) => return Err(self.connector.error_of_pool(&error)),
            Ok(Ok(client)) => client,
        };
        let transaction = Transaction::on(client, self);
        let answer = transaction.call(Phase::Beginning, async |client| client.simple_query(begin).await).await?;
        match session::is_passed_round(&answer) {
            true => Err(transaction.broken_in(Phase::Beginning, remedy::PASSED_ROUND, remedy::NEEDS_A_SESSION)),
            false => Ok(transaction),
        }
    }

    /// A connection outside the pool and without any deadline, the role's and the database's included: some changes of tables
    /// take their time.
    async fn connect_without_deadlines(&self) -> Result<Client, DatabaseError> {
        let failed = |error| self.connector.error_of(&error);
        let connecting = async {
            let (client, _) = self.connector.connect(&self.config).await.map_err(failed)?;
            client.batch_execute(&session::without_deadlines(self.call_timeout)).await.map_err(failed)?;
            Ok(client)
        };
        let connected = tokio::time::timeout(self.call_timeout, connecting).await;
        connected.unwrap_or_else(|_| Err(self.connector.too_late(self.call_timeout)))
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("pool", &self.pool.status()).finish_non_exhaustive()
    }
}

fn pool_of(config: &Config, connector: &Connector, connections: usize) -> Pool {
    let recycling_method = RecyclingMethod::Fast;
    let manager = ManagerConfig { recycling_method };
    let manager = deadpool_postgres::Manager::from_connect(config.clone(), connector.clone(), manager);
    let pool = Pool::builder(manager).max_size(connections).runtime(Runtime::Tokio1).build();
    pool.unwrap_or_else(|_| unreachable!("a pool with a runtime and no timeouts of its own can be built"))
}

/// What the client's side of every connection does; the server's rides on BEGIN.
fn secure(config: &mut Config, call_timeout: Duration) {
    if config.get_application_name().is_none() {
        config.application_name("turnstile");
    }
    config.connect_timeout(call_timeout).tcp_user_timeout(call_timeout).keepalives_idle(Duration::from_secs(30));
}
