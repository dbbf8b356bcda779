//! The way to PostgreSQL: a pool, a deadline on every call, and a transaction whose commit is verified.

pub mod address;
mod connector;
pub mod durability;
mod error;
pub mod migrate;
mod patience;
pub mod rivals;
pub mod schemas;
pub mod server;
mod session;

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use deadpool_postgres::{Connect, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Row, SimpleQueryMessage};

use self::address::{DatabaseAddress, TlsError};
use self::connector::Connector;
pub use self::error::DatabaseError;
pub use self::patience::{Patience, persist};
use self::schemas::Schemas;
use self::session::Beginnings;
use crate::failpoint::{Step, around};
use crate::retry::Class;

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
        let recycling_method = RecyclingMethod::Fast;
        let manager = ManagerConfig { recycling_method };
        let manager = deadpool_postgres::Manager::from_connect(config.clone(), connector.clone(), manager);
        let pool = Pool::builder(manager).max_size(settings.connections).runtime(Runtime::Tokio1).build();
        let pool =
            pool.unwrap_or_else(|_| unreachable!("a pool with a runtime and no timeouts of its own can be built"));
        Ok(Self {
            schemas: Arc::new(settings.schemas.clone()),
            pool,
            connector,
            config,
            call_timeout,
            beginnings: Arc::new(Beginnings::with_deadline(call_timeout)),
            sharded: Arc::default(),
            said_not_permitted: Arc::default(),
        })
    }

    /// Where the tables stand.
    pub fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// Begins a transaction at READ COMMITTED, where a claim waits for its rival: above it, the second
    /// claim fails with 40001 instead.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn begin(&self) -> Result<Transaction, DatabaseError> {
        self.begin_as(&self.beginnings.read_committed).await
    }

    /// Begins a transaction that sees one state of the database and changes nothing.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn begin_snapshot(&self) -> Result<Transaction, DatabaseError> {
        self.begin_as(&self.beginnings.snapshot).await
    }

    /// Tells whether the server spreads its tables over others (it has the extension `citus`): an internal error is
    /// [`Class::Transient`] then, for how long is for the caller to say. Holds for every clone.
    pub fn mark_sharded(&self, sharded: bool) {
        self.sharded.store(sharded, Ordering::SeqCst);
    }

    async fn begin_as(&self, begin: &str) -> Result<Transaction, DatabaseError> {
        let client = match tokio::time::timeout(self.call_timeout, self.pool.get()).await {
            Err(_) => return Err(DatabaseError::deadline("connect", self.call_timeout)),
            Ok(Err(error)) => return Err(self.connector.error_of_pool(&error)),
            Ok(Ok(client)) => client,
        };
        let transaction = Transaction {
            schemas: self.schemas.clone(),
            client: Some(client),
            call_timeout: self.call_timeout,
            unreplicated: self.connector.unreplicated.clone(),
            sharded: self.sharded.load(Ordering::SeqCst),
            poisoned: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            open_copies: AtomicU32::new(0),
            checked: AtomicBool::new(false),
            id: OnceLock::new(),
        };
        let answer = transaction.call("begin", async |client| client.simple_query(begin).await).await?;
        match session::is_passed_round(&answer) {
            true => Err(transaction.broken("begin", error::PASSED_ROUND.to_owned())),
            false => Ok(transaction),
        }
    }

    /// A connection outside the pool and without any deadline, the role's and the database's included, for migrations.
    async fn connect_without_deadlines(&self) -> Result<Client, DatabaseError> {
        let failed = |error| self.connector.error_of(&error);
        let connecting = async {
            let (client, _) = self.connector.connect(&self.config).await.map_err(failed)?;
            client.batch_execute(&session::without_deadlines(self.call_timeout)).await.map_err(failed)?;
            Ok(client)
        };
        let connected = tokio::time::timeout(self.call_timeout, connecting).await;
        connected.unwrap_or_else(|_| Err(DatabaseError::deadline("connect", self.call_timeout)))
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("pool", &self.pool.status()).finish_non_exhaustive()
    }
}

/// What the client's side of every connection does; the server's rides on BEGIN.
fn secure(config: &mut Config, call_timeout: Duration) {
    if config.get_application_name().is_none() {
        config.application_name("turnstile");
    }
    config.connect_timeout(call_timeout).tcp_user_timeout(call_timeout).keepalives_idle(Duration::from_secs(30));
}

/// A transaction that cannot be committed after an error in it, and that knows whether its commit holds.
///
/// The driver's own transaction answers `Ok` to the COMMIT of an aborted transaction; with delete-after-commit that
/// is silent loss. One that is dropped takes its connection with it.
pub struct Transaction {
    schemas: Arc<Schemas>,
    client: Option<Object>,
    call_timeout: Duration,
    unreplicated: Arc<AtomicU64>,
    sharded: bool,
    poisoned: AtomicBool,
    /// Whether a call met a connection that was dead or silent.
    lost: AtomicBool,
    /// How many copies were begun and did not come to their end.
    open_copies: AtomicU32,
    /// Whether deferred constraints were checked.
    checked: AtomicBool,
    /// The server's id of the transaction, once it is known.
    id: OnceLock<String>,
}

impl Transaction {
    /// Where the tables stand.
    pub fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// Gives each later call of this transaction another deadline than the pool's, here and on the server.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn set_deadline(&mut self, call_timeout: Duration) -> Result<(), DatabaseError> {
        let set = session::another_deadline(call_timeout);
        self.call("set the deadline", async |client| client.batch_execute(&set).await).await?;
        self.call_timeout = call_timeout;
        Ok(())
    }

    /// Runs a statement and gives its rows. `attempted` names the step in errors.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]; the transaction can no longer be committed then.
    pub async fn query(
        &self,
        attempted: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, DatabaseError> {
        let sql = session::marked(sql);
        let run = async |client: &Object| {
            let statement = client.prepare_cached(&sql).await?;
            client.query(&statement, parameters).await
        };
        self.call(attempted, run).await
    }

    /// Runs a statement that gives one row.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`], also when it gives another number of rows.
    pub async fn query_one(
        &self,
        attempted: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, DatabaseError> {
        let rows = self.query(attempted, sql, parameters).await?;
        match <[Row; 1]>::try_from(rows) {
            Ok([row]) => Ok(row),
            Err(rows) => Err(self.broken(attempted, format!("{} rows where one was due", rows.len()))),
        }
    }

    /// Runs a statement and gives the number of rows that it changed.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]; the transaction can no longer be committed then.
    pub async fn execute(
        &self,
        attempted: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, DatabaseError> {
        let sql = session::marked(sql);
        let run = async |client: &Object| {
            let statement = client.prepare_cached(&sql).await?;
            client.execute(&statement, parameters).await
        };
        self.call(attempted, run).await
    }

    /// Copies rows into a table in the binary form, and gives the number of rows that it took. `types` are those of the
    /// columns that `sql`, a `COPY … FROM STDIN BINARY`, names; each row has a value for each.
    ///
    /// The next statement of the connection waits on it until the rows are through; several may be begun at once. Its
    /// text bears the deadline of the call ([`rivals`]).
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]; the transaction can no longer be committed then, nor when this is cancelled. And its connection
    /// serves nobody else: when the server refuses a COPY, the driver asks it once too often whether it is ready, and from
    /// then on it may take the answer to one statement for that to the next
    /// ([rust-postgres#789](https://github.com/rust-postgres/rust-postgres/issues/789)).
    pub async fn copy<const N: usize>(
        &self,
        attempted: &'static str,
        sql: &str,
        types: &[Type; N],
        rows: &[[&(dyn ToSql + Sync); N]],
    ) -> Result<u64, DatabaseError> {
        let sql = session::marked(&rivals::with_deadline(sql, self.call_timeout));
        let run = async |client: &Object| {
            let statement = client.prepare_cached(&sql).await?;
            let mut writer = pin!(BinaryCopyInWriter::new(client.copy_in(&statement).await?, types));
            for row in rows {
                writer.as_mut().write(row).await?;
            }
            writer.finish().await
        };
        self.open_copies.fetch_add(1, Ordering::SeqCst);
        let copied = self.call(attempted, run).await?;
        self.open_copies.fetch_sub(1, Ordering::SeqCst);
        Ok(copied)
    }

    /// Poisons the transaction with a finding of our own: an answer that breaks what the caller relies on.
    pub fn broken(&self, attempted: &'static str, problem: String) -> DatabaseError {
        self.poisoned.store(true, Ordering::SeqCst);
        DatabaseError::unexpected(attempted, problem)
    }

    /// Poisons the transaction with a finding of our own that another run of it is expected to mend.
    pub fn unsettled(&self, attempted: &'static str, problem: String) -> DatabaseError {
        self.poisoned.store(true, Ordering::SeqCst);
        DatabaseError::unsettled(attempted, problem)
    }

    /// Poisons the transaction, because a table took fewer rows than it was given, and the server said nothing.
    pub fn dropped(&self, attempted: &'static str, problem: String) -> DatabaseError {
        self.poisoned.store(true, Ordering::SeqCst);
        DatabaseError::dropped(attempted, problem)
    }

    /// Makes the commit wait for the disk and the synchronous standbys even if nothing else is written.
    ///
    /// PostgreSQL lets a transaction that wrote nothing end at once. One that found its claims taken relies on the
    /// commit that took them, which a standby may not have confirmed: it must wait until that one is confirmed too.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn rely_on_earlier_commits(&self) -> Result<(), DatabaseError> {
        let write = "SELECT pg_catalog.pg_logical_emit_message(true, 'turnstile', '')";
        self.query_one("wait for earlier commits", write, &[]).await.map(drop)
    }

    /// Lets deferred constraints speak, while their error still names a message and not an ambiguous commit. From here on
    /// they speak at each statement. [`Self::commit`] does this where nobody did.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn check_deferred_constraints(&self) -> Result<(), DatabaseError> {
        if self.checked.load(Ordering::SeqCst) {
            return Ok(());
        }
        let checked = self.execute("check deferred constraints", "SET CONSTRAINTS ALL IMMEDIATE", &[]).await;
        checked.map_err(|error| error.of_rows(&self.schemas.own))?;
        self.checked.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Takes the server's id of this transaction, by which its commit is verified. [`Self::commit`] does this where
    /// nobody did.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn take_id(&self) -> Result<(), DatabaseError> {
        if self.id.get().is_some() {
            return Ok(());
        }
        let row =
            self.query_one("take the transaction id", "SELECT pg_catalog.pg_current_xact_id()::text", &[]).await?;
        self.id.get_or_init(|| row.get(0));
        Ok(())
    }

    /// Ends the transaction with what its statements came to: commits their `Ok`; after an error none of them holds,
    /// unless it is [`Class::Ambiguous`].
    ///
    /// After a refusal of data the connection is kept, because whoever splits the data goes on with it; any other
    /// failure takes the connection with it, and so does any failure of [`Self::copy`].
    ///
    /// # Errors
    ///
    /// The error of the statements, or that of the commit or of the rollback.
    pub async fn conclude<T>(self, outcome: Result<T, DatabaseError>) -> Result<T, DatabaseError> {
        match outcome {
            Ok(value) => self.commit().await.map(|()| value),
            Err(error) => {
                if error.class() == Class::OfTheRows && self.open_copies.load(Ordering::SeqCst) == 0 {
                    self.rollback().await?;
                }
                Err(error)
            }
        }
    }

    /// Commits, and answers `Ok` only if the server says afterwards that this very transaction is committed and that it
    /// keeps its commits, and said nothing of a standby that it gave up waiting for.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]. One after COMMIT was sent is [`Class::Ambiguous`], whatever it says, but for that of a server
    /// that does not keep its commits: that is [`Class::OfTheSystem`].
    pub async fn commit(mut self) -> Result<(), DatabaseError> {
        let (checked, taken) = futures_util::future::join(self.check_deferred_constraints(), self.take_id()).await;
        checked?; // First: behind a failed check the other one only says that the transaction is aborted.
        taken?;
        let failed = self.poisoned.load(Ordering::SeqCst) || self.open_copies.load(Ordering::SeqCst) > 0;
        let (Some(id), false) = (self.id.get(), failed) else {
            return Err(self.broken("commit", "an earlier statement of the transaction failed".to_owned()));
        };
        #[cfg(feature = "failpoints")]
        if crate::failpoint::mutated(crate::failpoint::Mutant::CommitNotVerified) {
            return self.commit_unverified().await;
        }
        let unreplicated = self.unreplicated.load(Ordering::SeqCst);
        let commit = format!("COMMIT; SELECT {}", AfterCommit::columns(id));
        let committing = self.call("commit", async |client| client.simple_query(&commit).await);
        let answer = around(Step::Commit, committing).await;
        let answer = answer.map_err(DatabaseError::made_ambiguous)?;
        let after = AfterCommit::of(&answer);
        if after.status != Some("committed") {
            let problem = format!("the server answers {:?} for the transaction", after.status.unwrap_or("nothing"));
            return Err(self.broken("commit", problem).made_ambiguous());
        }
        if let Some(setting) = after.not_kept_for {
            // Not ambiguous: it would be the same again, for ever.
            return Err(self.broken("commit", durability::problem_with(setting)));
        }
        if self.unreplicated.load(Ordering::SeqCst) != unreplicated {
            let problem = "a synchronous standby did not confirm a commit".to_owned();
            return Err(self.broken("commit", problem).made_ambiguous());
        }
        drop(self.client.take()); // Back to the pool.
        Ok(())
    }

    #[cfg(feature = "failpoints")]
    async fn commit_unverified(mut self) -> Result<(), DatabaseError> {
        let answer = self.call("commit", async |client| client.batch_execute("COMMIT").await).await;
        answer.map_err(DatabaseError::made_ambiguous)?;
        drop(self.client.take());
        Ok(())
    }

    /// Ends the transaction without effect and keeps its connection, whatever failed in it before.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the connection is lost; the transaction has no effect then either.
    pub async fn rollback(mut self) -> Result<(), DatabaseError> {
        self.call("roll back", async |client| client.batch_execute("ROLLBACK").await).await?;
        drop(self.client.take());
        Ok(())
    }

    async fn call<T>(
        &self,
        attempted: &'static str,
        call: impl AsyncFnOnce(&Object) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, DatabaseError> {
        let Some(client) = &self.client else {
            return Err(self.broken(attempted, "the transaction has ended".to_owned()));
        };
        let outcome = match tokio::time::timeout(self.call_timeout, call(client)).await {
            Err(_) => Err(DatabaseError::deadline(attempted, self.call_timeout)),
            Ok(Err(error)) => Err(self.error_of(attempted, &error)),
            Ok(Ok(value)) => Ok(value),
        };
        outcome.inspect_err(|error| {
            self.poisoned.store(true, Ordering::SeqCst);
            self.lost.fetch_or(error.is_of_connection(), Ordering::SeqCst);
        })
    }

    fn error_of(&self, attempted: &'static str, error: &tokio_postgres::Error) -> DatabaseError {
        let error = DatabaseError::from_driver(attempted, error);
        if self.sharded { error.where_tables_are_sharded() } else { error }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // Nobody knows what the server is doing for this connection: it must not serve anyone else.
        let Some(client) = self.client.take() else { return };
        if self.lost.load(Ordering::SeqCst) {
            // What ended it may have ended its idle neighbours too, and each of them would cost another deadline.
            Object::pool(&client).into_iter().for_each(|pool| drop(pool.retain(|_, _| false)));
        }
        drop(Object::take(client));
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("poisoned", &self.poisoned).finish_non_exhaustive()
    }
}

/// What the server says behind a COMMIT. It may be another one than at the start: after a failover nobody has looked at
/// its settings yet.
struct AfterCommit<'a> {
    status: Option<&'a str>,
    /// The setting for which this server may lose what it has committed.
    not_kept_for: Option<&'static str>,
}

impl<'a> AfterCommit<'a> {
    const SETTINGS: [&'static str; 2] = ["fsync", "full_page_writes"];

    fn columns(id: &str) -> String {
        let settings = Self::SETTINGS.map(|name| format!(", pg_catalog.current_setting('{name}')")).concat();
        format!("pg_catalog.pg_xact_status('{id}'::xid8){settings}")
    }

    fn of(answer: &'a [SimpleQueryMessage]) -> Self {
        let row = answer.iter().rev().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let is_off = |column: usize| row.and_then(|row| row.get(column)) == Some("off");
        let mut settings = Self::SETTINGS.into_iter().zip(1..);
        Self {
            status: row.and_then(|row| row.get(0)),
            not_kept_for: settings.find_map(|(name, column)| is_off(column).then_some(name)),
        }
    }
}
