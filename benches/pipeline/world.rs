//! What a measurement needs around it: a local SQS server and a PostgreSQL with its own durability, each a process.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use stand_ins::postgres::{Options, Postgres};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio_postgres::{Client, NoTls};

use crate::cpu;
use crate::raw_queue::RawQueue;

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often it is looked whether the queue is drained: often enough for a figure of some seconds, and hardly felt.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The server, and a migrated database to copy from.
pub(crate) struct Server {
    server: Postgres,
    folder: TempDir,
    databases: u32,
    scale: f64,
}

impl Server {
    /// Starts PostgreSQL with its defaults, but for two: it keeps the times of commits, which latencies are read from,
    /// and begins no autovacuum, which would come in one round and not in another.
    ///
    /// `scale` makes every measurement larger or smaller than it should be: a small one shows that all of it works.
    pub(crate) async fn start(scale: f64) -> Result<Self> {
        let settings = [("track_commit_timestamp", "on"), ("autovacuum", "off")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let programs = std::env::var_os("TURNSTILE_PG_BIN").map(PathBuf::from);
        let server = Postgres::start(Options { settings, programs, ..Options::default() }).await?;
        let this = Self { server, folder: tempfile::tempdir()?, databases: 0, scale };
        this.turnstile(&["keys", "new", "--keyring"]).arg(this.keyring()).output()?;
        let url = this.server.create_database("template", None).await?;
        let migrated =
            this.turnstile(&["migrate", "--keyring"]).arg(this.keyring()).env("DATABASE_URL", &url).output()?;
        ensure!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        Ok(this)
    }

    /// A queue and a migrated database, both empty, after a checkpoint.
    pub(crate) async fn world(&mut self) -> Result<World> {
        self.databases += 1;
        let name = format!("bench{}", self.databases);
        let url = self.server.create_database(&name, Some("template")).await?;
        let client = connect(&url).await?;
        client.batch_execute("CHECKPOINT").await?;
        let process = self.server.process_id().context("the server is down")?;
        Ok(World { queue: RawQueue::start()?, url, client, name, keyring: self.keyring(), server: process })
    }

    /// How many messages to measure with, where it should be so many.
    pub(crate) fn messages(&self, usual: u64) -> u64 {
        ((usual as f64 * self.scale) as u64).max(100)
    }

    /// How long to measure, where it should be so long.
    pub(crate) fn duration(&self, usual: Duration) -> Duration {
        usual.mul_f64(self.scale).max(Duration::from_secs(2))
    }

    /// Removes what a measurement leaves behind.
    pub(crate) async fn end(&self, world: World) -> Result<()> {
        let World { queue, client, name, .. } = world;
        drop((queue, client));
        let drop_database = format!("DROP DATABASE {name} WITH (FORCE)");
        Ok(connect(&self.server.url()).await?.batch_execute(&drop_database).await?)
    }

    fn keyring(&self) -> PathBuf {
        self.folder.path().join("keyring")
    }

    fn turnstile(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnstile"));
        command.args(arguments);
        command
    }
}

/// A connection to a database.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute("SET search_path = turnstile, public").await?;
    Ok(client)
}

/// One queue and one database, for one measurement.
pub(crate) struct World {
    /// The queue.
    pub(crate) queue: RawQueue,
    /// The database's address.
    pub(crate) url: String,
    /// A connection to it.
    pub(crate) client: Client,
    name: String,
    keyring: PathBuf,
    server: u32,
}

/// What it took to bring all messages of a queue into the database.
pub(crate) struct Spent {
    /// From the first message received to the last one deleted, in seconds.
    pub(crate) seconds: f64,
    /// CPU of the loaders, from their start on, in seconds.
    pub(crate) loaders: f64,
    /// CPU of PostgreSQL, in seconds.
    pub(crate) postgres: f64,
    /// CPU of the local SQS server, in seconds.
    pub(crate) queue: f64,
    /// The largest resident set of a loader, in MiB.
    pub(crate) memory: f64,
}

impl World {
    /// Puts bodies into the queue.
    pub(crate) fn fill(&mut self, bodies: impl Iterator<Item = String>) -> Result<()> {
        // It may have been idle for as long as a database took to be filled.
        self.queue.reconnect()?;
        let bodies: Vec<String> = bodies.collect();
        bodies.chunks(10).try_for_each(|ten| self.queue.send(ten))
    }

    /// A program that finds its queue, its database and its keys in the environment.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("AWS_ENDPOINT_URL", self.queue.endpoint())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "bench")
            .env("AWS_SECRET_ACCESS_KEY", "bench")
            .env("TURNSTILE_QUEUE", "logins")
            .env("QUEUE", "logins")
            .env("DATABASE_URL", &self.url)
            .env("TURNSTILE_KEYRING", &self.keyring);
        command
    }

    /// Starts `turnstile run`.
    pub(crate) fn start_loader(&self, arguments: &[&str]) -> Result<Loader> {
        let log = tempfile::tempfile()?;
        let mut command = self.command(env!("CARGO_BIN_EXE_turnstile"));
        let process = command.arg("run").args(arguments).stderr(log.try_clone()?).spawn()?;
        Ok(Loader { process, log })
    }

    /// Lets loaders drain the queue of its `messages`, and makes sure that all of them are loaded.
    pub(crate) async fn drain(&mut self, messages: u64, processes: usize, arguments: &[&str]) -> Result<Spent> {
        let (postgres, queue) = (self.postgres_cpu()?, self.queue.cpu()?);
        let mut loaders: Vec<Loader> = (0..processes).map(|_| self.start_loader(arguments)).collect::<Result<_>>()?;
        let drained = self.drained(&mut loaders)?;
        // While all of them are there: the time of a process that ends is lost until its parent has buried it.
        let (postgres, queue) = (self.postgres_cpu()? - postgres, self.queue.cpu()? - queue);
        let cpu = loaders.iter().map(Loader::cpu).sum::<Result<f64>>()?;
        let memory = loaders.iter().map(Loader::peak).try_fold(0.0, |most, peak| peak.map(|peak| peak.max(most)))?;
        drop(loaders);
        let row = self.client.query_one("SELECT count(*), min(received_at) FROM processed_messages", &[]).await?;
        ensure!(row.get::<_, i64>(0) == messages.cast_signed(), "{} of {messages} are loaded", row.get::<_, i64>(0));
        let seconds = (drained - row.get::<_, OffsetDateTime>(1)).as_seconds_f64();
        Ok(Spent { seconds, loaders: cpu, postgres, queue, memory })
    }

    /// Waits until so many messages are recorded.
    pub(crate) async fn wait_for_rows(&self, messages: u64) -> Result<()> {
        let since = Instant::now();
        loop {
            let row = self.client.query_one("SELECT count(*) FROM processed_messages", &[]).await?;
            if row.get::<_, i64>(0) >= messages.cast_signed() {
                return Ok(());
            }
            ensure!(since.elapsed() < PATIENCE, "{messages} messages are not recorded after {PATIENCE:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until these loaders have left nothing in the queue, and says when that was.
    ///
    /// # Errors
    ///
    /// Where a loader has ended, with its log: alone, the others may never come to the end.
    pub(crate) fn drained(&mut self, loaders: &mut [Loader]) -> Result<OffsetDateTime> {
        let since = Instant::now();
        while self.queue.depth()? > 0 {
            loaders.iter_mut().try_for_each(Loader::goes_on)?;
            ensure!(since.elapsed() < PATIENCE, "the queue is not drained after {PATIENCE:?}");
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(OffsetDateTime::now_utc())
    }

    /// The CPU time that PostgreSQL has taken so far, all its processes together, in seconds.
    pub(crate) fn postgres_cpu(&self) -> Result<f64> {
        cpu::of_family(self.server)
    }
}

/// A running `turnstile run`. Killed when dropped: told to end, it would wait for its long poll.
pub(crate) struct Loader {
    process: Child,
    log: File,
}

impl Loader {
    /// Fails with its log where it has ended.
    fn goes_on(&mut self) -> Result<()> {
        let Some(status) = self.process.try_wait()? else { return Ok(()) };
        let mut log = String::new();
        self.log.rewind()?;
        self.log.read_to_string(&mut log)?;
        bail!("a loader has ended ({status}) before the queue was drained. Its log:\n{log}")
    }

    /// CPU time since its start, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        cpu::of_process(self.process.id())
    }

    /// The largest resident set that it ever had, in MiB.
    pub(crate) fn peak(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // Already gone is as good.
        self.process.kill().and_then(|()| self.process.wait().map(drop)).unwrap_or_default();
    }
}
