//! A transaction whose commit is verified.

use std::borrow::Cow;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use deadpool_postgres::Object;
use time::OffsetDateTime;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, SimpleQueryMessage};

use super::error::Phase;
use super::schemas::Schemas;
use super::server::Shortcoming;
use super::{Database, DatabaseError, durability, remedy, rivals, session};
use crate::failpoint::{Mutant, Step, around, unless};
use crate::retry::Class;

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
    /// What a connection is taken for: nothing is begun yet.
    pub(super) fn on(client: Object, database: &Database) -> Self {
        Self {
            schemas: database.schemas.clone(),
            client: Some(client),
            call_timeout: database.call_timeout,
            unreplicated: database.connector.unreplicated.clone(),
            sharded: database.sharded.load(Ordering::SeqCst),
            poisoned: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            open_copies: AtomicU32::new(0),
            checked: AtomicBool::new(false),
            id: OnceLock::new(),
        }
    }

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
        self.call(Phase::Working("set the deadline"), async |client| client.batch_execute(&set).await).await?;
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
        self.call(Phase::Working(attempted), run).await
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

    /// The time by the database's clock, now and not when the transaction began.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn clock(&self) -> Result<OffsetDateTime, DatabaseError> {
        Ok(self.query_one("ask for the time", "SELECT pg_catalog.clock_timestamp()", &[]).await?.get(0))
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
        self.call(Phase::Working(attempted), run).await
    }

    /// Copies rows into a table in the binary form, and gives the number of rows that it took. `types` are those of the
    /// columns that `sql`, a `COPY … FROM STDIN BINARY`, names; `values` has one for each, row after row.
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
    pub async fn copy(
        &self,
        attempted: &'static str,
        sql: &str,
        types: &[Type],
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, DatabaseError> {
        let sql = session::marked(&rivals::with_deadline(sql, self.call_timeout));
        let run = async |client: &Object| {
            let statement = client.prepare_cached(&sql).await?;
            let mut writer = pin!(BinaryCopyInWriter::new(client.copy_in(&statement).await?, types));
            for row in values.chunks(types.len()) {
                writer.as_mut().write(row).await?;
            }
            writer.finish().await
        };
        self.open_copies.fetch_add(1, Ordering::SeqCst);
        let copied = self.call(Phase::Working(attempted), run).await?;
        self.open_copies.fetch_sub(1, Ordering::SeqCst);
        Ok(copied)
    }

    /// Poisons the transaction with a finding of our own: an answer that breaks what the caller relies on.
    pub fn broken(&self, attempted: &'static str, problem: String) -> DatabaseError {
        self.broken_in(Phase::Working(attempted), problem, remedy::DEFECT)
    }

    /// The same, where something else than an audit helps.
    pub fn broken_with_remedy(&self, attempted: &'static str, problem: String, remedy: &'static str) -> DatabaseError {
        self.broken_in(Phase::Working(attempted), problem, remedy)
    }

    /// Poisons the transaction with a finding of our own that another run of it is expected to mend.
    pub fn unsettled(&self, attempted: &'static str, problem: String) -> DatabaseError {
        self.poisoned.store(true, Ordering::SeqCst);
        DatabaseError::unsettled(Phase::Working(attempted), problem)
    }

    /// Poisons the transaction, because a table took fewer rows than it was given, and the server said nothing.
    pub fn dropped(&self, attempted: &'static str, problem: String) -> DatabaseError {
        self.poisoned.store(true, Ordering::SeqCst);
        DatabaseError::dropped(Phase::Working(attempted), problem)
    }

    pub(super) fn broken_in(
        &self,
        phase: Phase,
        problem: impl Into<String>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> DatabaseError {
        self.poisoned.store(true, Ordering::SeqCst);
        DatabaseError::unexpected(phase, problem, remedy)
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
    /// After a refusal of data the connection is kept, because the caller that splits the data goes on with it; any other
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
            return Err(self.broken_in(
                Phase::Committing,
                "an earlier statement of the transaction failed",
                remedy::DEFECT,
            ));
        };
        unless(Mutant::CommitNotVerified, (), |()| self.commit_verified(id), |()| self.commit_unverified()).await?;
        drop(self.client.take()); // Back to the pool.
        Ok(())
    }

    async fn commit_verified(&self, id: &str) -> Result<(), DatabaseError> {
        let unreplicated = self.unreplicated.load(Ordering::SeqCst);
        let commit = format!("COMMIT; SELECT {}", AfterCommit::columns(id));
        let committing = self.call(Phase::Committing, async |client| client.simple_query(&commit).await);
        let answer = around(Step::Commit, committing).await;
        let answer = answer.map_err(DatabaseError::made_ambiguous)?;
        let after = AfterCommit::of(&answer);
        if after.status != Some("committed") {
            let problem = format!("the server answers {:?} for the transaction", after.status.unwrap_or("nothing"));
            return Err(self.broken_in(Phase::Committing, problem, remedy::RUN_AGAIN).made_ambiguous());
        }
        if let Some(setting) = after.not_kept_for {
            // Not ambiguous: it would be the same again, for ever.
            let Shortcoming { found, remedy } = durability::problem_with(setting);
            return Err(self.broken_in(Phase::Committing, found, remedy));
        }
        if self.unreplicated.load(Ordering::SeqCst) != unreplicated {
            let problem = "a synchronous standby did not confirm a commit";
            return Err(self.broken_in(Phase::Committing, problem, remedy::RUN_AGAIN).made_ambiguous());
        }
        Ok(())
    }

    /// What a mutant does: the driver answers `Ok` to the COMMIT of an aborted transaction too.
    async fn commit_unverified(&self) -> Result<(), DatabaseError> {
        let answer = self.call(Phase::Committing, async |client| client.batch_execute("COMMIT").await).await;
        answer.map_err(DatabaseError::made_ambiguous)
    }

    /// Ends the transaction without effect and keeps its connection, whatever failed in it before.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the connection is lost; the transaction has no effect then either.
    pub async fn rollback(mut self) -> Result<(), DatabaseError> {
        self.call(Phase::Working("roll back"), async |client| client.batch_execute("ROLLBACK").await).await?;
        drop(self.client.take());
        Ok(())
    }

    /// Ends a transaction that changes nothing: what it read holds whether its connection can be kept or not.
    pub(super) async fn leave(self) {
        if !self.lost.load(Ordering::SeqCst) {
            self.rollback().await.ok();
        }
    }

    pub(super) async fn call<T>(
        &self,
        phase: Phase,
        call: impl AsyncFnOnce(&Object) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, DatabaseError> {
        let Some(client) = &self.client else {
            return Err(self.broken_in(phase, "the transaction has ended", remedy::DEFECT));
        };
        let outcome = match tokio::time::timeout(self.call_timeout, call(client)).await {
            Err(_) => Err(DatabaseError::deadline(phase, self.call_timeout)),
            Ok(Err(error)) => Err(self.error_of(phase, &error)),
            Ok(Ok(value)) => Ok(value),
        };
        outcome.inspect_err(|error| {
            self.poisoned.store(true, Ordering::SeqCst);
            self.lost.fetch_or(error.is_of_connection(), Ordering::SeqCst);
        })
    }

    fn error_of(&self, phase: Phase, error: &tokio_postgres::Error) -> DatabaseError {
        let error = DatabaseError::from_driver(phase, error);
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
