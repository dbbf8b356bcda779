//! What no loader on these parts can go below: the SDK's calls alone, and plain COPY alone.

use std::io::Write;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{Builder, StalledStreamProtectionConfig};
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, MessageSystemAttributeName};
use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::{SinkExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio_postgres::Client as Database;

use crate::cpu;
use crate::world::World;

/// The argument that makes this program the bare receiver and deleter.
pub(crate) const SDK_FLOOR: &str = "sdk-floor";

/// Calls side by side: as many as two lanes make at once, and enough to keep the queue busy.
const CALLS_AT_ONCE: usize = 8;

/// What the bare program says when the queue is empty.
#[derive(Deserialize, Serialize)]
pub(crate) struct Drained {
    /// Messages received and deleted.
    pub(crate) messages: u64,
    /// From the first call to the last answer.
    pub(crate) seconds: f64,
    /// User and system time since the start of the program, in seconds.
    pub(crate) cpu_seconds: f64,
}

/// How the bare program sets up the SDK's client.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Setup {
    /// As it comes.
    Default,
    /// As the loader does: without the SDK's retries and its watch over stalled streams.
    Lean,
}

impl Setup {
    fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Lean => "lean",
        }
    }
}

/// Drains the queue by a process that receives and deletes, and does nothing else.
pub(crate) async fn sdk(world: &World, messages: u64, setup: Setup) -> Result<Drained> {
    let mut program = world.command(std::env::current_exe()?);
    program.args([SDK_FLOOR, setup.name()]).stderr(Stdio::inherit());
    let output = tokio::process::Command::from(program).output().await?;
    ensure!(output.status.success(), "the bare program failed");
    let drained: Drained = serde_json::from_slice(&output.stdout)?;
    ensure!(drained.messages == messages, "{} of {messages} messages came", drained.messages);
    Ok(drained)
}

/// The bare program: ten messages a call, until nothing comes.
pub(crate) async fn be_the_bare_program(setup: &str) -> Result<()> {
    let mut config = Builder::from(&aws_config::load_from_env().await);
    if setup == Setup::Lean.name() {
        config = config.retry_config(RetryConfig::disabled());
        config = config.stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    }
    let client = Client::from_conf(config.build());
    let url = client.get_queue_url().queue_name(std::env::var("QUEUE")?).send().await?.queue_url.context("no URL")?;
    let since = Instant::now();
    let counts =
        try_join_all((0..CALLS_AT_ONCE).map(|_| tokio::spawn(receive_and_delete(client.clone(), url.clone())))).await?;
    let messages = counts.into_iter().sum::<Result<u64>>()?;
    let cpu_seconds = cpu::of_process(std::process::id())?;
    let drained = Drained { messages, seconds: since.elapsed().as_secs_f64(), cpu_seconds };
    Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(&drained)?)?)
}

async fn receive_and_delete(client: Client, url: String) -> Result<u64> {
    let mut messages = 0;
    loop {
        let call = client.receive_message().queue_url(&url).max_number_of_messages(10);
        let call = call.message_system_attribute_names(MessageSystemAttributeName::SentTimestamp);
        let call = call.message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
        let received = call.send().await?.messages.unwrap_or_default();
        if received.is_empty() {
            return Ok(messages);
        }
        messages += received.len() as u64;
        let entries = received.into_iter().enumerate().map(|(index, message)| {
            DeleteMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .set_receipt_handle(message.receipt_handle)
                .build()
        });
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let deleted = client.delete_message_batch().queue_url(&url).set_entries(Some(entries)).send().await?;
        ensure!(deleted.failed.is_empty(), "a delete failed");
    }
}

/// The rows that a loader wrote, as binary COPY gives and takes them, in pieces of so many.
pub(crate) struct Rows(Vec<[Bytes; TABLES.len()]>);

/// What a loaded login leaves, and of which columns; the server itself numbers the events.
const TABLES: [(&str, &str); 3] = [
    ("processed_messages", ""),
    ("user_logins", ""),
    (
        "outbox",
        "(event_id, message_sent_at, created_at, user_id, device_type, masked_ip, masked_device_id, locale, app_version,
          create_date)",
    ),
];

/// How many of the tables are copied into.
#[derive(Clone, Copy)]
pub(crate) enum Into {
    /// Claims and logins.
    Two = 2,
    /// And events.
    Three = 3,
}

impl Rows {
    /// Reads the rows of the tables, in the order in which they stand there.
    pub(crate) async fn read(client: &Database, piece: i64) -> Result<Self> {
        let count: i64 = client.query_one("SELECT count(*) FROM user_logins", &[]).await?.get(0);
        let mut pieces = Vec::new();
        for from in (0..count).step_by(usize::try_from(piece)?) {
            let mut tables = Vec::new();
            for (table, columns) in TABLES {
                let columns = if columns.is_empty() { "*" } else { columns.trim_matches(['(', ')']) };
                let rows = format!("SELECT {columns} FROM {table} ORDER BY tableoid, ctid OFFSET {from} LIMIT {piece}");
                let copy = format!("COPY ({rows}) TO STDOUT BINARY");
                let bytes: Vec<Bytes> = client.copy_out(&copy).await?.try_collect().await?;
                tables.push(Bytes::from(bytes.concat()));
            }
            pieces.push(tables.try_into().ok().context("as many pieces as tables")?);
        }
        Ok(Self(pieces))
    }

    /// Empties the tables, copies the rows in, a transaction a piece, and gives PostgreSQL's CPU for it in seconds.
    pub(crate) async fn copy(&self, world: &World, into: Into) -> Result<f64> {
        let empty = "TRUNCATE processed_messages, user_logins, dead_letters, outbox; CHECKPOINT";
        world.client.batch_execute(empty).await?;
        let before = world.postgres_cpu()?;
        for tables in &self.0 {
            world.client.batch_execute("BEGIN").await?;
            for ((table, columns), rows) in TABLES.iter().zip(tables).take(into as usize) {
                copy(&world.client, &format!("{table} {columns}"), rows.clone()).await?;
            }
            world.client.batch_execute("COMMIT").await?;
        }
        Ok(world.postgres_cpu()? - before)
    }
}

async fn copy(client: &Database, target: &str, rows: Bytes) -> Result<()> {
    let sink = client.copy_in(&format!("COPY {target} FROM STDIN BINARY")).await?;
    let mut sink = std::pin::pin!(sink);
    sink.send(rows).await?;
    sink.finish().await?;
    Ok(())
}
