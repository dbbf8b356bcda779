//! From end to end: a loader writes logins and their events, relays carry these to queues and to standard output, and other
//! loaders load what the queues hold. All of them are killed at every edge of their path, and the server crashes.

mod ends;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use stand_ins::postgres::Postgres;
use stand_ins::sqs::{Faults, QueueOptions};
use tokio_util::sync::CancellationToken;
use turnstile::audit::journal::Kind;
use turnstile::failpoint::{Edge, RelayStep, Step};

use self::ends::Ends;
use self::report::Report;
use crate::Outcome;
use crate::support::server::installed;
use crate::support::site::{QUEUE, Site};
use crate::support::wait_for;
use crate::world::queue_faults;

/// The queue that takes each event once, and the one that may take it more often.
const FIFO: &str = "events.fifo";
const STANDARD: &str = "events";
/// Nothing is sent while the first queue holds more.
const BACKLOG: usize = 2_000;
const SENT_AT_ONCE: u64 = 250;
/// Who logs in.
const USERS: u64 = 400;
const SENDER_PAUSE: Duration = Duration::from_millis(20);
/// How long a process may take until it has come to its edge; then it is killed where it stands.
const LIFE: Duration = Duration::from_secs(6);
/// The latest visit of an edge at which a process is killed.
const LATEST_VISIT: u64 = 2;
/// How long what is left may take in the end.
const DRAIN: Duration = Duration::from_secs(3_600);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many processes are killed
    #[arg(long, default_value_t = 60)]
    kills: u64,

    /// How many logins are sent
    #[arg(long, default_value_t = 4_000)]
    events: u64,

    /// How often the server crashes
    #[arg(long, default_value_t = 3)]
    crashes: u64,
}

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// It loads logins.
    Loader,
    /// It carries events to the FIFO queue.
    ToFifo,
    /// It carries them to the standard queue.
    ToStandard,
    /// It writes them to its standard output.
    ToOutput,
    /// It loads the events of the FIFO queue.
    LastLoader,
}

/// The places of processes: two relays share the FIFO queue.
const PLACES: [Part; 6] =
    [Part::Loader, Part::ToFifo, Part::ToFifo, Part::ToStandard, Part::ToOutput, Part::LastLoader];

impl Part {
    fn edges(self) -> Vec<Edge> {
        match self {
            Self::Loader | Self::LastLoader => Edge::of_loaders().filter(|edge| is_of_every_batch(edge.step)).collect(),
            Self::ToFifo | Self::ToStandard | Self::ToOutput => {
                Edge::of_relays().filter(|edge| is_of_every_relay(edge.step)).collect()
            }
        }
    }
}

/// A loader that is well comes to the others seldom.
fn is_of_every_batch(step: Step) -> bool {
    matches!(
        step,
        Step::Receive | Step::Claim | Step::Identities | Step::Rows | Step::Events | Step::Commit | Step::Delete
    )
}

/// A relay comes to the others where its sink is slow or refuses events: `relay::edges` of the other tests does that.
fn is_of_every_relay(step: Step) -> bool {
    let Step::Relay(step) = step else { return false };
    !matches!(step, RelayStep::Renew | RelayStep::Refused | RelayStep::Settle | RelayStep::Release)
}

/// The servers, and what is told to the processes.
struct Chain {
    server: tokio::sync::Mutex<Postgres>,
    first: Site,
    fifo: Site,
    standard: Site,
    outputs: AtomicU64,
    sent: AtomicU64,
    decks: Mutex<BTreeMap<Part, Vec<Edge>>>,
    random: Mutex<StdRng>,
    tally: Mutex<Tally>,
}

/// What was killed, and where.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) at_edges: BTreeMap<String, u64>,
    pub(crate) elsewhere: u64,
    pub(crate) crashes: u64,
}

impl Tally {
    pub(crate) fn kills(&self) -> u64 {
        self.at_edges.values().sum::<u64>() + self.elsewhere
    }
}

pub(crate) async fn run(args: &Args, seed: u64) -> Box<dyn Outcome> {
    let since = Instant::now();
    let chain = Chain::new(seed).await;
    let killed = CancellationToken::new();
    let killing = async {
        join_all(PLACES.into_iter().enumerate().map(|(place, part)| chain.fill_place(place, part, args.kills))).await;
        killed.cancel();
    };
    let living = async {
        tokio::join!(killing, chain.crash(args, &killed));
        chain.let_the_rest_through(args.events).await;
    };
    tokio::join!(living, chain.send(args.events));
    let all: BTreeSet<String> = PLACES.into_iter().flat_map(Part::edges).map(|edge| edge.to_string()).collect();
    let tally = std::mem::take(&mut *chain.tally.lock().unwrap());
    Box::new(Report {
        seed,
        took: since.elapsed(),
        wanted: args.kills,
        missed: all.into_iter().filter(|edge| !tally.at_edges.contains_key(edge)).collect(),
        tally,
        sent: args.events,
        ends: Ends::of(&chain).await,
        discrepancies: chain.first.discrepancies().await,
        faults: [&chain.first, &chain.fifo, &chain.standard].map(|site| site.sqs.fault_counts()),
    })
}

impl Chain {
    async fn new(seed: u64) -> Self {
        let server = Postgres::start(installed()).await.expect("a PostgreSQL");
        let mut sites = Vec::new();
        for (database, queue) in [("first", QUEUE), ("second", FIFO), ("third", STANDARD)] {
            let url = server.create_database(database, None).await.unwrap();
            let site = Site::of(QueueOptions::new(queue), &url).await;
            migrate(&site).await;
            site.sqs.set_faults(queue_faults(seed));
            sites.push(site);
        }
        let [first, fifo, standard] = <[Site; 3]>::try_from(sites).ok().expect("three sites");
        Self {
            server: tokio::sync::Mutex::new(server),
            first,
            fifo,
            standard,
            outputs: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            decks: Mutex::default(),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            tally: Mutex::default(),
        }
    }

    /// Sends logins, each of a device of its own, while the first queue is not too full.
    async fn send(&self, events: u64) {
        while self.sent.load(Ordering::Relaxed) < events {
            if self.first.depth() < BACKLOG {
                let from = self.sent.load(Ordering::Relaxed);
                let to = (from + SENT_AT_ONCE).min(events);
                self.first.fill_keyed((from..to).map(|n| (format!("event {n}"), login_of(n), Kind::Login)));
                self.sent.store(to, Ordering::Relaxed);
            }
            tokio::time::sleep(SENDER_PAUSE).await;
        }
    }

    /// Kills the server now and then, and starts it again.
    async fn crash(&self, args: &Args, killed: &CancellationToken) {
        for crash in 1..=args.crashes {
            let after = args.kills * crash / (args.crashes + 1);
            let due = || self.tally.lock().unwrap().kills() >= after || killed.is_cancelled();
            wait_for(DRAIN, "it is time for a crash", async || due()).await;
            let mut server = self.server.lock().await;
            self.tally.lock().unwrap().crashes += 1;
            server.kill_hard();
            server.restart().await.unwrap();
        }
    }

    /// One process after the other, each killed, until there were enough.
    async fn fill_place(&self, place: usize, part: Part, kills: u64) {
        while self.tally.lock().unwrap().kills() < kills {
            let edge = self.draw(part);
            let visit = self.random.lock().unwrap().random_range(1..=LATEST_VISIT);
            let mut command = self.command(part);
            command.env("TURNSTILE_FAILPOINT", format!("{edge}:{visit}"));
            let mut process = self.first.start(command, &format!("process-{place}"));
            match process.ends_within(LIFE).await {
                Some(status) => self.count(place, edge, status),
                None => {
                    process.kill();
                    self.tally.lock().unwrap().elsewhere += 1;
                    // An edge at which nobody was killed comes again, last.
                    self.decks.lock().unwrap().entry(part).or_default().insert(0, edge);
                }
            }
        }
    }

    /// An edge of this part, each as often as the others.
    fn draw(&self, part: Part) -> Edge {
        let mut decks = self.decks.lock().unwrap();
        let deck = decks.entry(part).or_default();
        if deck.is_empty() {
            *deck = part.edges();
            deck.shuffle(&mut *self.random.lock().unwrap());
        }
        deck.pop().expect("a part has edges")
    }

    fn count(&self, place: usize, edge: Edge, status: ExitStatus) {
        if status.signal() != Some(Signal::SIGABRT as i32) {
            panic!("a process ended with {status}: {}", self.last_lines(place));
        }
        *self.tally.lock().unwrap().at_edges.entry(edge.to_string()).or_default() += 1;
    }

    fn last_lines(&self, place: usize) -> String {
        let text = std::fs::read(self.first.log(&format!("process-{place}"))).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn command(&self, part: Part) -> Command {
        match part {
            Part::Loader => loader(&self.first, &["--identity", "field:/event_id"]),
            Part::LastLoader => loader(&self.fifo, EVENTS),
            Part::ToFifo => self.relay(&self.fifo, "fifo", &format!("sqs:{FIFO}")),
            Part::ToStandard => self.relay(&self.standard, "standard", &format!("sqs:{STANDARD}")),
            Part::ToOutput => {
                let mut command = self.relay(&self.first, "output", "stdout:");
                // Each its own: a line that a kill has cut is the last of its file.
                command
                    .stdout(std::fs::File::create(self.output(self.outputs.fetch_add(1, Ordering::SeqCst))).unwrap());
                command
            }
        }
    }

    fn output(&self, number: u64) -> std::path::PathBuf {
        self.first.log(&format!("output-{number}"))
    }

    fn relay(&self, to: &Site, sink: &str, target: &str) -> Command {
        let mut command =
            self.first.command(&["relay", "--to", target, "--sink", sink, "--lease", "2s", "--chunk", "100"]);
        command.args(["--database-timeout", "5s", "--source", "urn:turnstile:chain"]);
        command.env("AWS_ENDPOINT_URL", to.sqs.endpoint()).env_remove("TURNSTILE_QUEUE");
        command
    }

    /// Nobody is killed any more, and nothing goes wrong: what is left goes its way.
    async fn let_the_rest_through(&self, events: u64) {
        let sites = [&self.first, &self.fifo, &self.standard];
        sites.iter().for_each(|site| site.sqs.set_faults(Faults::default()));
        let [loaded, by_fifo, by_standard] = [(); 3].map(|()| CancellationToken::new());
        let loading = async {
            while self.sent.load(Ordering::Relaxed) < events || self.first.depth() > 0 {
                self.run_to_its_end(self.command(Part::Loader)).await;
            }
            loaded.cancel();
        };
        let to_fifo = async {
            self.run_after(&loaded, || self.command(Part::ToFifo)).await;
            by_fifo.cancel();
        };
        let to_standard = async {
            self.run_after(&loaded, || self.command(Part::ToStandard)).await;
            by_standard.cancel();
        };
        tokio::join!(
            loading,
            to_fifo,
            to_standard,
            self.run_after(&loaded, || self.command(Part::ToOutput)),
            self.run_after(&by_fifo, || self.command(Part::LastLoader)),
            self.run_after(&by_standard, || loader(&self.standard, EVENTS)),
        );
        let depths = sites.map(Site::depth);
        assert_eq!(depths, [0; 3], "a queue is not drained");
    }

    /// Runs until nothing is left, again and again, and for the last time after those before are through.
    async fn run_after(&self, before: &CancellationToken, command: impl Fn() -> Command) {
        loop {
            let is_last = before.is_cancelled();
            self.run_to_its_end(command()).await;
            if is_last {
                return;
            }
        }
    }

    async fn run_to_its_end(&self, mut command: Command) {
        command.arg("--until-empty");
        let mut process = self.first.start(command, "rest");
        let status = process.ends_within(DRAIN).await;
        assert!(status.is_some_and(|status| status.success()), "{status:?}: {}", process.said());
    }
}

/// What a loader of events is told.
const EVENTS: &[&str] = &["--body", "event", "--identity", "field:/id"];

fn loader(site: &Site, more: &[&str]) -> Command {
    let mut loader = site.command(&["run", "--batch-size", "100", "--wait", "1s", "--database-timeout", "5s"]);
    loader.args(more).env("TURNSTILE_VISIBILITY_TIMEOUT", "5s").env("TURNSTILE_WAIT_FOR_QUEUE", "1m");
    loader.stdout(Stdio::null());
    loader
}

async fn migrate(site: &Site) {
    crate::support::loading::migrate(&site.database()).await;
}

/// A login whose device nobody else has: by its masked id the rows are compared.
fn login_of(number: u64) -> String {
    let user = number % USERS;
    format!(
        r#"{{"event_id":"event {number}","user_id":"user {user}","app_version":"2.{}.1","device_type":"ios","ip":"203.0.113.7","locale":"DE","device_id":"device of {number}"}}"#,
        number % 7
    )
}
