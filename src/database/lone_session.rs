//! A connection of its own, outside the pool: for a lock that outlives a transaction, and for statements that stand in none.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use super::error::Phase;
use super::schemas::Schemas;
use super::{Database, DatabaseError, session};

/// A session in which each statement is a transaction of its own, and takes as long as it takes unless it is told otherwise.
/// What it has locked is free once it is dropped, or its connection is lost: who goes on must begin anew.
pub struct LoneSession {
    client: Client,
    schemas: Arc<Schemas>,
    call_timeout: Duration,
}

/// For how long a statement may run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// In all; zero is without end.
    pub statement: Duration,
    /// For each lock that it waits for; zero is without end.
    pub lock: Duration,
}

impl Database {
    /// Opens one. A pooler must pass it through as it is: its locks and settings belong to a session.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn lone_session(&self) -> Result<LoneSession, DatabaseError> {
        let client = self.connect_without_deadlines().await?;
        let session = LoneSession { client, schemas: self.schemas.clone(), call_timeout: self.call_timeout };
        session.run("set up the session", &session::of_its_own()).await?;
        Ok(session)
    }
}

impl LoneSession {
    /// Where the tables stand.
    pub fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// Runs a statement and gives its rows. `attempted` names the step in errors.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn query(
        &self,
        attempted: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, DatabaseError> {
        let answer = self.client.query(sql, parameters).await;
        answer.map_err(|error| DatabaseError::from_driver(Phase::Working(attempted), &error))
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
        let answer = self.client.query_one(sql, parameters).await;
        answer.map_err(|error| DatabaseError::from_driver(Phase::Working(attempted), &error))
    }

    /// Runs a statement that stands in no transaction, as some do that change tables, and gives it up at its limits.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]; see [`DatabaseError::gave_way`]
    pub async fn run_within(&self, attempted: &'static str, sql: &str, limits: Limits) -> Result<(), DatabaseError> {
        let Limits { statement, lock } = limits;
        self.run(attempted, &session::limits(statement, lock)).await?;
        // The server ends the statement; a server that is frozen does not, and nobody is to wait for it.
        let latest = statement + self.call_timeout;
        let ran = match statement.is_zero() {
            true => self.run(attempted, sql).await,
            false => match tokio::time::timeout(latest, self.run(attempted, sql)).await {
                Ok(ran) => ran,
                Err(_) => return Err(DatabaseError::deadline(Phase::Working(attempted), latest)),
            },
        };
        // A session that is lost says so in `ran` as well.
        let reset = self.run(attempted, &session::limits(Duration::ZERO, Duration::ZERO)).await;
        ran.and(reset)
    }

    /// Ends a transaction that failed on the way, and with it what it was limited to.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn roll_back(&self) -> Result<(), DatabaseError> {
        self.run("roll back", "ROLLBACK").await?;
        self.run("roll back", &session::limits(Duration::ZERO, Duration::ZERO)).await
    }

    /// What is said of a session that does not hold what it has locked: somebody between here and the server passes it round.
    pub fn passed_round(&self, attempted: &'static str) -> DatabaseError {
        DatabaseError::unexpected(
            Phase::Working(attempted),
            "the session does not hold the lock that it has taken",
            DIRECTLY,
        )
    }

    async fn run(&self, attempted: &'static str, sql: &str) -> Result<(), DatabaseError> {
        let ran = self.client.batch_execute(sql).await;
        ran.map_err(|error| DatabaseError::from_driver(Phase::Working(attempted), &error))
    }
}

const DIRECTLY: &str =
    "connect to the server itself, or through a pooler in session mode: the lock belongs to a session";
