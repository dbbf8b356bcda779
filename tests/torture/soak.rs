//! Loaders that run for hours among faults, and must not grow.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use stand_ins::postgres::Postgres;
use stand_ins::sqs::Faults;
use tokio_util::sync::CancellationToken;
use turnstile::audit::comparison::Discrepancies;

use crate::Outcome;
use crate::support::held::Held;
use crate::support::postgres::{block_claims, connect};
use crate::support::program::Loader;
use crate::support::proxy::{Direction, NetworkProxy, Trouble, server_of, url_through};
use crate::support::site::Site;
use crate::support::wait_until;
use crate::world::{World, queue_faults};

/// Messages a second: enough to have something in hand at every fault, little enough to last for hours.
const RATE: u64 = 300;
/// How long a fault lasts, and how long it is calm after it.
const FAULT: Duration = Duration::from_secs(4);
const CALM: Duration = Duration::from_secs(4);
/// Longer than every deadline of a loader.
const HANG: Duration = Duration::from_secs(7);
/// Within which time something must be loaded again.
const RECOVERY: Duration = Duration::from_secs(30);
const SLOW: Trouble = Trouble::Latency { delay: Duration::from_millis(100), jitter: Duration::from_millis(200) };
const VICTIM: &str = "victim.log";
/// The loaders that are looked at, and the lanes of each: it may have as many connections to PostgreSQL.
const WITNESSES: usize = 2;
const LANES: usize = 2;
/// How much more the median of the last third may be than that of the first: allocators keep what they once needed.
const MORE_MEMORY: f64 = 1.2;
const MORE_FILES: u64 = 4;
/// Fewer samples say nothing of growth.
const SAMPLES: usize = 9;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long
    #[arg(long)]
    hours: f64,
}

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    KillLoader,
    TerminateLoader,
    TerminateBackends,
    RestartPostgres,
    KillPostgres,
    HangPostgres,
    BlockClaims,
    SlowDatabase,
    CutDatabase,
    SwallowDatabase,
    SlowQueue,
    CutQueue,
    SwallowQueue,
}

impl Fault {
    const ALL: [Self; 13] = [
        Self::KillLoader,
        Self::TerminateLoader,
        Self::TerminateBackends,
        Self::RestartPostgres,
        Self::KillPostgres,
        Self::HangPostgres,
        Self::BlockClaims,
        Self::SlowDatabase,
        Self::CutDatabase,
        Self::SwallowDatabase,
        Self::SlowQueue,
        Self::CutQueue,
        Self::SwallowQueue,
    ];
}

/// What the loaders hold at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    /// Resident, of those that were not killed.
    memory_kib: u64,
    /// Open, of the same.
    files: u64,
    /// Connections to PostgreSQL of all loaders.
    connections: u64,
}

pub(crate) async fn run(args: &Args, seed: u64) -> Box<dyn Outcome> {
    let World { site, server, .. } = World::new().await;
    site.sqs.set_faults(queue_faults(seed));
    let mut soak = Soak::over(&site, server, seed).await;
    let since = Instant::now();
    let done = CancellationToken::new();
    let working = async {
        soak.work(since + Duration::from_secs_f64(args.hours * 3600.0)).await;
        done.cancel();
    };
    let (messages, ()) = tokio::join!(send(&site, &done), working);
    soak.drain().await;
    Box::new(Report {
        seed,
        took: since.elapsed(),
        messages,
        slowest_recovery: soak.slowest_recovery,
        faults: soak.faults,
        samples: soak.samples,
        discrepancies: site.discrepancies().await,
    })
}

/// Puts messages into the queue at [`RATE`]; gives how many.
async fn send(site: &Site, until: &CancellationToken) -> u64 {
    let mut sent = 0;
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    while !until.is_cancelled() {
        ticks.tick().await;
        site.fill(RATE as usize - 10, 10);
        sent += RATE;
    }
    sent
}

struct Soak<'a> {
    site: &'a Site,
    server: Postgres,
    to_database: NetworkProxy,
    to_queue: NetworkProxy,
    witnesses: Vec<Loader>,
    /// The loader that is killed and started again.
    victim: Option<Loader>,
    random: StdRng,
    faults: BTreeMap<Fault, u64>,
    samples: Vec<Sample>,
    slowest_recovery: Duration,
}

impl<'a> Soak<'a> {
    async fn over(site: &'a Site, server: Postgres, seed: u64) -> Self {
        let to_database = NetworkProxy::before(server_of(&server.url())).await;
        let endpoint = site.sqs.endpoint();
        let queue = endpoint.trim_start_matches("http://").parse::<SocketAddr>().expect("an address");
        let to_queue = NetworkProxy::before((queue.ip().to_string(), queue.port())).await;
        let mut soak = Self {
            site,
            server,
            to_database,
            to_queue,
            witnesses: Vec::new(),
            victim: None,
            random: StdRng::seed_from_u64(seed),
            faults: BTreeMap::new(),
            samples: Vec::new(),
            slowest_recovery: Duration::ZERO,
        };
        for number in 0..WITNESSES {
            let witness = soak.start_loading(&format!("witness-{number}.log")).await;
            soak.witnesses.push(witness);
        }
        soak.victim = Some(soak.start_loading(VICTIM).await);
        soak
    }

    /// Starts a loader, and waits until it loads: one that does not find its database at its start ends.
    async fn start_loading(&self, log: &str) -> Loader {
        let path = self.site.log(log);
        let starts = || fs::read_to_string(&path).unwrap_or_default().matches(r#""message":"loading""#).count();
        let before = starts();
        let loader = self.start(&[], log);
        wait_until("the loader loads", async || starts() > before).await;
        loader
    }

    fn start(&self, arguments: &[&str], log: &str) -> Loader {
        let mut command = self.site.command(&["run", "--batch-size", "50", "--wait", "1s", "--retry-delay", "1s"]);
        command.args(["--database-timeout", "2s", "--lanes"]).arg(LANES.to_string()).args(arguments);
        command.env("DATABASE_URL", url_through(&self.server.url(), self.to_database.address()));
        command.env("AWS_ENDPOINT_URL", format!("http://{}", self.to_queue.address()));
        command.env("TURNSTILE_VISIBILITY_TIMEOUT", "10s").env("TURNSTILE_WAIT_FOR_QUEUE", "1m");
        self.site.start(command, log)
    }

    /// One fault after the other, with calm between them.
    async fn work(&mut self, end: Instant) {
        while Instant::now() < end {
            let fault = *Fault::ALL.choose(&mut self.random).expect("there are faults");
            self.strike(fault).await;
            *self.faults.entry(fault).or_default() += 1;
            self.recover(fault).await;
            tokio::time::sleep(CALM).await;
            self.sample().await;
        }
    }

    async fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::KillLoader => {
                self.victim.take().expect("a victim").kill();
                self.victim = Some(self.start_loading(VICTIM).await);
            }
            Fault::TerminateLoader => {
                let victim = self.victim.take().expect("a victim");
                victim.terminate();
                assert!(victim.ended().await.success(), "a loader that was asked to end did not end in order");
                self.victim = Some(self.start_loading(VICTIM).await);
            }
            Fault::TerminateBackends => {
                let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'turnstile'";
                let ended = connect(&self.server.url()).await.query(sql, &[]).await.unwrap();
                assert!(!ended.is_empty(), "no loader was connected");
            }
            Fault::RestartPostgres => self.server.restart().await.unwrap(),
            Fault::KillPostgres => {
                self.server.kill_hard();
                self.server.restart().await.unwrap();
            }
            Fault::HangPostgres => {
                self.server.pause();
                tokio::time::sleep(HANG).await;
                self.server.resume();
            }
            Fault::BlockClaims => {
                let mut client = connect(&self.server.url()).await;
                let lock = block_claims(&mut client).await;
                tokio::time::sleep(FAULT).await;
                lock.rollback().await.unwrap();
            }
            Fault::SlowDatabase => trouble(&self.to_database, SLOW).await,
            Fault::CutDatabase => trouble(&self.to_database, Trouble::Reset).await,
            Fault::SwallowDatabase => trouble(&self.to_database, Trouble::HalfOpen(Direction::ToClient)).await,
            Fault::SlowQueue => trouble(&self.to_queue, SLOW).await,
            Fault::CutQueue => trouble(&self.to_queue, Trouble::Reset).await,
            Fault::SwallowQueue => trouble(&self.to_queue, Trouble::BlackHole).await,
        }
    }

    /// Waits until messages are recorded again.
    async fn recover(&mut self, fault: Fault) {
        let since = Instant::now();
        let client = connect(&self.server.url()).await;
        let before = self.site.rows(&client).await;
        while self.site.rows(&client).await == before {
            assert!(since.elapsed() < RECOVERY, "nothing is loaded {RECOVERY:?} after {fault:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.slowest_recovery = self.slowest_recovery.max(since.elapsed());
    }

    async fn sample(&mut self) {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'turnstile'";
        let connections: i64 = connect(&self.server.url()).await.query_one(sql, &[]).await.unwrap().get(0);
        let mut sample = Sample { connections: connections.unsigned_abs(), ..Sample::default() };
        for held in self.witnesses.iter().map(|witness| Held::by(witness.process_id())) {
            sample.memory_kib += held.memory;
            sample.files += held.descriptors;
        }
        self.samples.push(sample);
    }

    /// Ends all loaders, and lets one drain the queue.
    async fn drain(&mut self) {
        self.site.sqs.set_faults(Faults::default());
        for loader in self.witnesses.drain(..).chain(self.victim.take()) {
            loader.terminate();
            assert!(loader.ended().await.success(), "a loader did not end in order");
        }
        let status = self.start(&["--until-empty"], VICTIM).ended().await;
        assert!(status.success() && self.site.depth() == 0, "the queue is not drained: {status}");
    }
}

async fn trouble(proxy: &NetworkProxy, trouble: Trouble) {
    let before = proxy.strikes();
    proxy.trouble(trouble);
    tokio::time::sleep(FAULT).await;
    proxy.heal();
    assert!(proxy.strikes() > before, "{trouble:?} met nothing");
}

/// What came of it.
struct Report {
    seed: u64,
    took: Duration,
    messages: u64,
    slowest_recovery: Duration,
    faults: BTreeMap<Fault, u64>,
    samples: Vec<Sample>,
    discrepancies: Discrepancies,
}

impl Report {
    /// The medians of the first third and of the last.
    fn medians(&self, of: impl Fn(&Sample) -> u64) -> (u64, u64) {
        let median = |samples: &[Sample]| {
            let mut values: Vec<u64> = samples.iter().map(&of).collect();
            values.sort_unstable();
            values[values.len() / 2]
        };
        let third = self.samples.len() / 3;
        (median(&self.samples[..third]), median(&self.samples[self.samples.len() - third..]))
    }

    fn is_flat(&self) -> bool {
        let (memory_before, memory_after) = self.medians(|sample| sample.memory_kib);
        let (files_before, files_after) = self.medians(|sample| sample.files);
        let most_connections = ((WITNESSES + 1) * LANES) as u64;
        memory_after as f64 <= memory_before as f64 * MORE_MEMORY
            && files_after <= files_before + MORE_FILES
            && self.samples.iter().all(|sample| sample.connections <= most_connections)
    }
}

impl Outcome for Report {
    fn promise_held(&self) -> bool {
        self.discrepancies.none() && self.samples.len() >= SAMPLES && self.is_flat()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Soak, seed {}\n", self.seed)?;
        writeln!(
            f,
            "{} messages through {} loaders in {} s; loading again {:.1} s after a fault at the latest\n",
            self.messages,
            WITNESSES + 1,
            self.took.as_secs(),
            self.slowest_recovery.as_secs_f64()
        )?;
        writeln!(f, "| fault | times |\n|---|---:|")?;
        for (fault, times) in &self.faults {
            writeln!(f, "| {fault:?} | {times} |")?;
        }
        if self.samples.len() < SAMPLES {
            return write!(f, "\nTOO SHORT: {} samples, where {SAMPLES} are needed", self.samples.len());
        }
        writeln!(
            f,
            "\n| held by the {WITNESSES} loaders that were not killed, median | first third | last third |\n|---|---:|---:|"
        )?;
        let (memory, files) = (self.medians(|sample| sample.memory_kib), self.medians(|sample| sample.files));
        let connections = self.medians(|sample| sample.connections);
        writeln!(f, "| resident memory, KiB | {} | {} |", memory.0, memory.1)?;
        writeln!(f, "| open files | {} | {} |", files.0, files.1)?;
        writeln!(f, "| connections to PostgreSQL, of all | {} | {} |\n", connections.0, connections.1)?;
        let flat = if self.is_flat() { "Nothing grew" } else { "SOMETHING GREW" };
        let held = if self.promise_held() { "the promise held" } else { "IT DID NOT HOLD" };
        write!(f, "{flat}, and {held}: {}", self.discrepancies)
    }
}
