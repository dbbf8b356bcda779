//! A connection of its own, outside the pool: for a lock that outlives a transaction, and for statements that stand in none.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio_postgres::binary_copy::{BinaryCopyOutRow, BinaryCopyOutStream};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, CopyInSink, Row};

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

/// The number of the advisory lock whose name is the first parameter.
pub const NAMED_LOCK: &str = "pg_catalog.hashtextextended($1, 0)";

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

    /// Runs the statements of a transaction one after the other, `BEGIN` first and `COMMIT` last, each within these limits; after an
    /// error it is rolled back.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]; see [`DatabaseError::gave_way`]
    pub async fn run_all_within(
        &self,
        attempted: &'static str,
        statements: &[String],
        limits: Limits,
    ) -> Result<(), DatabaseError> {
        let Limits { statement, lock } = limits;
        self.run(attempted, &session::limits(statement, lock)).await?;
        let mut ran = Ok(());
        for sql in statements {
            ran = self.run(attempted, sql).await;
            if ran.is_err() {
                self.roll_back().await?;
                break;
            }
        }
        let reset = self.run(attempted, &session::limits(Duration::ZERO, Duration::ZERO)).await;
        ran.and(reset)
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

    /// Takes the advisory lock of this name for as long as the session lives; `false` where somebody else has it. Such locks have
    /// no schema: a name tells installations of one database apart.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn try_lock(&self, attempted: &'static str, name: &str) -> Result<bool, DatabaseError> {
        let sql = format!("SELECT pg_catalog.pg_try_advisory_lock({NAMED_LOCK})");
        Ok(self.query_one(attempted, &sql, &[&name]).await?.get(0))
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

    /// Begins a transaction that sees one state of the database and changes nothing, and writes values in one way, whatever the
    /// role's settings are.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn begin_reading(&self) -> Result<(), DatabaseError> {
        self.run("begin to read", session::BEGIN_READING).await
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn end_reading(&self) -> Result<(), DatabaseError> {
        self.run("end the reading", "COMMIT").await
    }

    /// Copies rows out, `sql` being a `COPY … TO STDOUT BINARY` of so many columns.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn copy_out(&self, attempted: &'static str, sql: &str, columns: usize) -> Result<RowsOut, DatabaseError> {
        let failed = |error| DatabaseError::from_driver(Phase::Working(attempted), &error);
        let stream = self.client.copy_out(sql).await.map_err(failed)?;
        // What a value is, is said by who reads it.
        let types = vec![Type::BYTEA; columns];
        Ok(RowsOut { attempted, stream: Box::pin(BinaryCopyOutStream::new(stream, &types)) })
    }

    /// Begins to copy rows in, `sql` being a `COPY … FROM STDIN BINARY`.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn copy_in(&self, attempted: &'static str, sql: &str) -> Result<RowsIn, DatabaseError> {
        let failed = |error| DatabaseError::from_driver(Phase::Working(attempted), &error);
        let sink = self.client.copy_in(sql).await.map_err(failed)?;
        let mut buffer = BytesMut::with_capacity(2 * RowsIn::CHUNK);
        buffer.put_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
        Ok(RowsIn { attempted, sink: Box::pin(sink), buffer })
    }

    /// Runs statements as they are, without values.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn run_all(&self, attempted: &'static str, sql: &str) -> Result<(), DatabaseError> {
        self.run(attempted, sql).await
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

/// Rows that are copied out.
pub struct RowsOut {
    attempted: &'static str,
    stream: Pin<Box<BinaryCopyOutStream>>,
}

impl RowsOut {
    /// The next row; nothing after the last.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn next(&mut self) -> Result<Option<RowOut>, DatabaseError> {
        let next = self.stream.next().await.transpose();
        next.map(|row| row.map(RowOut))
            .map_err(|error| DatabaseError::from_driver(Phase::Working(self.attempted), &error))
    }
}

/// A row that was copied out.
pub struct RowOut(BinaryCopyOutRow);

impl RowOut {
    /// A value as the server sends it; nothing for NULL, or where there is no such column.
    pub fn value(&self, column: usize) -> Option<&[u8]> {
        self.0.try_get(column).ok().flatten()
    }
}

/// Rows that are copied in.
pub struct RowsIn {
    attempted: &'static str,
    sink: Pin<Box<CopyInSink<Bytes>>>,
    buffer: BytesMut,
}

impl RowsIn {
    /// How much is sent at once.
    const CHUNK: usize = 1 << 16;

    /// Adds a row, each value as the server takes it.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn add(&mut self, values: &[Option<Vec<u8>>]) -> Result<(), DatabaseError> {
        self.buffer.put_i16(i16::try_from(values.len()).unwrap_or(i16::MAX));
        for value in values {
            match value {
                None => self.buffer.put_i32(-1),
                Some(bytes) => {
                    self.buffer.put_i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
                    self.buffer.put_slice(bytes);
                }
            }
        }
        match self.buffer.len() < Self::CHUNK {
            true => Ok(()),
            false => self.send().await,
        }
    }

    /// Ends the copy; gives the number of rows that the server took.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn end(mut self) -> Result<u64, DatabaseError> {
        self.buffer.put_i16(-1);
        self.send().await?;
        let ended = self.sink.as_mut().finish().await;
        ended.map_err(|error| DatabaseError::from_driver(Phase::Working(self.attempted), &error))
    }

    async fn send(&mut self) -> Result<(), DatabaseError> {
        let chunk = self.buffer.split().freeze();
        let sent = self.sink.send(chunk).await;
        sent.map_err(|error| DatabaseError::from_driver(Phase::Working(self.attempted), &error))
    }
}

const DIRECTLY: &str =
    "connect to the server itself, or through a pooler in session mode: the lock belongs to a session";
