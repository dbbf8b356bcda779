//! Kills at every edge.

mod report;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use tokio_util::sync::CancellationToken;
use turnstile::failpoint::Step;

use self::report::Report;
use crate::Outcome;
use crate::deck::{Deck, Plan, edges};
use crate::support::postgres::{block_claims, connect};
use crate::world::{World, queue_faults};

/// How long a process may take until it has come to its edge; then it is killed where it stands.
const LIFE: Duration = Duration::from_secs(6);
/// How long a loader works before it is asked to end, so that it has something in hand.
const WORK_BEFORE_SHUTDOWN: Duration = Duration::from_millis(400);
/// For how long the claims are blocked so that a lease of [`SHORT_LEASE`] must be renewed.
const STALL: Duration = Duration::from_millis(1_200);
const SHORT_LEASE: &str = "2s";
/// How long the last loaders may take to load what the kills left of a million messages.
const DRAIN: Duration = Duration::from_secs(3_600);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many processes are killed
    #[arg(long, default_value_t = 200)]
    kills: u64,

    /// How many messages are sent at least [default: 200 for each kill]
    #[arg(long)]
    messages: Option<u64>,

    /// How many processes share the queue and the database
    #[arg(long, default_value_t = 3)]
    processes: u64,
}

/// What all places of processes share.
struct Torture<'a> {
    world: &'a World,
    deck: Mutex<Deck>,
    wanted: u64,
    tally: Mutex<Tally>,
    stalls: AtomicU64,
    ended: AtomicBool,
}

/// What was killed, and where.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) at_edges: BTreeMap<String, u64>,
    pub(crate) elsewhere: u64,
}

impl Tally {
    pub(crate) fn kills(&self) -> u64 {
        self.at_edges.values().sum::<u64>() + self.elsewhere
    }
}

pub(crate) async fn run(args: &Args, seed: u64) -> Box<dyn Outcome> {
    let since = Instant::now();
    let world = World::new().await;
    world.site.box_.set_faults(queue_faults(seed));
    let torture = Torture {
        world: &world,
        deck: Mutex::new(Deck::new(seed)),
        wanted: args.kills,
        tally: Mutex::default(),
        stalls: AtomicU64::new(0),
        ended: AtomicBool::new(false),
    };
    let done = CancellationToken::new();
    let at_least = args.messages.unwrap_or(args.kills * 200);
    let places = async {
        join_all((0..args.processes).map(|place| torture.fill_place(place))).await;
        done.cancel();
        torture.load_the_rest(args.processes, at_least).await;
        torture.ended.store(true, Ordering::SeqCst);
    };
    tokio::join!(places, world.send(at_least, &done), torture.stall());
    let tally = torture.tally.into_inner().unwrap();
    let discrepancies = world.site.discrepancies().await;
    Box::new(Report {
        seed,
        took: since.elapsed(),
        processes: args.processes,
        messages: world.sent.load(Ordering::Relaxed),
        missed: edges().map(|edge| edge.to_string()).filter(|edge| !tally.at_edges.contains_key(edge)).collect(),
        tally,
        queue_faults: world.site.box_.fault_counts(),
        served: world.site.box_.served(),
        left_in_queue: world.site.depth(),
        discrepancies,
    })
}

impl Torture<'_> {
    /// One process after the other, each killed, until there were enough.
    async fn fill_place(&self, place: u64) {
        while self.tally.lock().unwrap().kills() < self.wanted {
            let plan = self.deck.lock().unwrap().draw();
            self.live(place, plan).await;
        }
    }

    /// One process from its start to its kill.
    async fn live(&self, place: u64, plan: Plan) {
        let name = format!("process-{place}.log");
        match plan.edge.step {
            Step::Migrate => return self.migrate(&name, plan).await,
            Step::ReplayTake | Step::ReplayClaim | Step::ReplayResolve => {
                self.world.dead_letter_a_login().await;
                let replay = self.world.site.command(&["dead-letters", "replay", "--code", "invalid_version"]);
                return self.run_to_its_end(&name, replay, plan).await;
            }
            Step::Renew => {
                self.stalls.fetch_add(1, Ordering::SeqCst);
                let mut loader = self.loader();
                loader.env("TURNSTILE_VISIBILITY_TIMEOUT", SHORT_LEASE);
                self.run_to_its_end(&name, loader, plan).await;
                self.stalls.fetch_sub(1, Ordering::SeqCst);
            }
            Step::Shutdown => self.terminate(&name, plan).await,
            Step::Receive
            | Step::Return
            | Step::Claim
            | Step::Identities
            | Step::Rows
            | Step::Events
            | Step::DeadLetters
            | Step::Compare
            | Step::Commit
            | Step::Delete => self.run_to_its_end(&name, self.loader(), plan).await,
        }
    }

    fn loader(&self) -> Command {
        let mut loader = self.world.site.command(&["run", "--batch-size", "50", "--wait", "1s", "--retry-delay", "1s"]);
        loader.args(["--database-timeout", "5s"]);
        loader.env("TURNSTILE_VISIBILITY_TIMEOUT", "5s").env("TURNSTILE_WAIT_FOR_QUEUE", "1m");
        loader.env("RUST_LOG", "turnstile=debug");
        loader
    }

    async fn run_to_its_end(&self, name: &str, mut command: Command, plan: Plan) {
        command.env("TURNSTILE_FAILPOINT", plan.failpoint());
        let mut process = self.world.site.start(command, name);
        match process.ends_within(LIFE).await {
            Some(status) => self.count(name, plan, status),
            None => {
                process.kill();
                self.tally.lock().unwrap().elsewhere += 1;
            }
        }
    }

    /// Asks a loader at work to end, and kills it while it does.
    async fn terminate(&self, name: &str, plan: Plan) {
        let mut command = self.loader();
        command.env("TURNSTILE_FAILPOINT", plan.failpoint());
        let mut process = self.world.site.start(command, name);
        if let Some(status) = process.ends_within(WORK_BEFORE_SHUTDOWN).await {
            return self.count(name, plan, status);
        }
        process.terminate();
        let status = process.ended().await;
        self.count(name, plan, status);
    }

    /// Kills a migration of a database of its own, and lets the next one bring it to its end.
    async fn migrate(&self, name: &str, plan: Plan) {
        let number = self.tally.lock().unwrap().kills();
        let database = format!("migrated_{number}_{}", rand::random::<u32>());
        let url = self.world.server.create_database(&database, None).await.unwrap();
        let migrate = || {
            let mut command = self.world.site.command(&["migrate"]);
            command.env("DATABASE_URL", &url);
            command
        };
        self.run_to_its_end(name, migrate(), plan).await;
        let status = self.world.site.start(migrate(), name).ended().await;
        assert!(status.success(), "a migration cannot be taken up again: {}", self.last_lines(name));
        let tables = connect(&url).await.query("SELECT FROM outbox", &[]).await;
        assert!(tables.is_ok(), "the tables are not there after a migration that was taken up again");
        let maintenance = connect(&self.world.server.url()).await;
        maintenance.batch_execute(&format!("DROP DATABASE {database} WITH (FORCE)")).await.unwrap();
    }

    fn count(&self, name: &str, plan: Plan, status: ExitStatus) {
        let mut tally = self.tally.lock().unwrap();
        match status.signal() {
            Some(signal) if signal == Signal::SIGABRT as i32 => {
                *tally.at_edges.entry(plan.edge.to_string()).or_default() += 1;
            }
            // It had no reason to come to its edge, and ended in order.
            None if status.success() => {}
            Some(_) | None => panic!("a process ended with {status}: {}", self.last_lines(name)),
        }
    }

    fn last_lines(&self, name: &str) -> String {
        self.world.last_lines(&self.world.site.log(name))
    }

    /// Blocks the claims now and then, while there is somebody whose lease shall be renewed.
    async fn stall(&self) {
        let mut client = connect(&self.world.server.url()).await;
        while !self.ended.load(Ordering::SeqCst) {
            if self.stalls.load(Ordering::SeqCst) > 0 {
                let lock = block_claims(&mut client).await;
                tokio::time::sleep(STALL).await;
                lock.rollback().await.unwrap();
            }
            tokio::time::sleep(STALL / 4).await;
        }
    }

    /// Loaders that nobody kills load what is left, and a replay what it can.
    async fn load_the_rest(&self, processes: u64, at_least: u64) {
        let all = || self.world.sent.load(Ordering::Relaxed) >= at_least && self.world.site.depth() == 0;
        while !all() {
            let loaders: Vec<_> = (0..processes)
                .map(|_| {
                    let mut loader = self.loader();
                    loader.arg("--until-empty");
                    self.world.site.start(loader, "rest.log")
                })
                .collect();
            for mut loader in loaders {
                let status = loader.ends_within(DRAIN).await;
                assert!(status.is_some_and(|status| status.success()), "{status:?}: {}", self.last_lines("rest.log"));
            }
        }
        let replay = self.world.site.command(&["dead-letters", "replay", "--code", "invalid_version"]);
        let status = self.world.site.start(replay, "rest.log").ended().await;
        assert!(status.success(), "{}", self.last_lines("rest.log"));
    }
}
