//! Kills at every edge, and whatever else may happen to loaders meanwhile.

mod freeze;
mod mischief;
mod report;
mod routes;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use turnstile::audit::comparison::Expected;
use turnstile::failpoint::Step;

use self::freeze::Frozen;
use self::mischief::Mischiefs;
use self::report::{LONG_RUN, Report};
use self::routes::{Route, Routes};
use crate::Outcome;
use crate::deck::{Card, Deck, Plan, edges};
use crate::support::idleness::{Look, longest_idleness};
use crate::support::postgres::{block_claims, connect};
use crate::support::site::QUEUE;
use crate::support::wait_until;
use crate::world::{EVENT_ID, World, queue_faults};

/// How many letters are sent back before a loader is killed that takes one: others may take the rest.
const SENT_BACK_AT_ONCE: u64 = 3;
/// How long a process may take until it has come to its edge; then it is killed where it stands.
const LIFE: Duration = Duration::from_secs(6);
/// How long a loader works before it is asked to end, so that it has something in hand.
const WORK_BEFORE_SHUTDOWN: Duration = Duration::from_millis(400);
/// For how long the claims are blocked so that a lease of [`SHORT_LEASE`] must be renewed.
const STALL: Duration = Duration::from_millis(1_200);
/// How long a loader that nobody kills may take to meet what others do.
const WITNESS_LIFE: Duration = Duration::from_secs(20);
/// What a loader says when it has found everything fit.
const BEGUN: &str = r#""message":"loading""#;
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
    routes: Routes,
    mischiefs: Mischiefs,
    deck: Mutex<Deck>,
    random: Mutex<StdRng>,
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
    pub(crate) frozen: Frozen,
    /// Loaders that reached the database by way of a pooler.
    pub(crate) pooled: u64,
    /// Loaders that went by another scheme than the one that was started before them.
    pub(crate) schemes_changed: u64,
    by_event_id: bool,
}

impl Tally {
    pub(crate) fn kills(&self) -> u64 {
        self.at_edges.values().sum::<u64>() + self.elsewhere
    }
}

pub(crate) async fn run(args: &Args, seed: u64) -> Box<dyn Outcome> {
    let since = Instant::now();
    let world = World::new().await;
    world.introduce_queue().await;
    world.site.sqs.set_faults(queue_faults(seed));
    let torture = Torture {
        world: &world,
        routes: Routes::to(&world.server.url(), seed).await,
        mischiefs: Mischiefs::prepare(&world.server.url(), seed).await,
        deck: Mutex::new(Deck::new(seed)),
        random: Mutex::new(StdRng::seed_from_u64(seed)),
        wanted: args.kills,
        tally: Mutex::default(),
        stalls: AtomicU64::new(0),
        ended: AtomicBool::new(false),
    };
    let [killed, enough, done] = [(); 3].map(|()| CancellationToken::new());
    let at_least = args.messages.unwrap_or(args.kills * 200);
    let places = async {
        let killing = async {
            join_all((0..args.processes).map(|place| torture.fill_place(place))).await;
            killed.cancel();
        };
        tokio::join!(killing, torture.mischiefs.work(&killed));
        torture.let_the_rest_meet_somebody().await;
        enough.cancel();
        // Those that are killed seldom live to see the end of what a refused row starts.
        tokio::join!(torture.mischiefs.refuse_for_a_while(), torture.load_the_rest(args.processes, at_least));
        torture.replay_all().await;
        torture.ended.store(true, Ordering::SeqCst);
        done.cancel();
    };
    let look = || Look {
        has_more: world.site.sqs.stats(QUEUE).unwrap().visible > 0,
        deleted: world.site.sqs.served().deleted,
    };
    let url = world.server.url();
    let watching = longest_idleness(look, &url, Duration::MAX, &done);
    let ((), (), (), longest_idleness) = tokio::join!(places, world.send(at_least, &enough), torture.stall(), watching);
    let discrepancies = world.site.discrepancies_from(Expected::by_message()).await;
    let outcomes = torture.outcomes().await;
    let Torture { routes, mischiefs, tally, .. } = torture;
    let tally = tally.into_inner().unwrap();
    Box::new(Report {
        seed,
        took: since.elapsed(),
        processes: args.processes,
        messages: world.sent.load(Ordering::Relaxed),
        missed: edges().map(|edge| edge.to_string()).filter(|edge| !tally.at_edges.contains_key(edge)).collect(),
        tally,
        outcomes,
        cuts: routes.cuts(),
        has_pooler: routes.has_pooler(),
        mischiefs: mischiefs.done(),
        queue_faults: world.site.sqs.fault_counts(),
        served: world.site.sqs.served(),
        left_in_queue: world.site.depth(),
        longest_idleness,
        discrepancies,
    })
}

/// What became of messages that is rare.
pub(crate) struct Outcomes {
    pub(crate) absorbed: u64,
    pub(crate) contradicting: u64,
    /// Refused by the database for a while, and replayed.
    pub(crate) refused: u64,
}

impl Torture<'_> {
    /// One process after the other, each killed, until there were enough.
    async fn fill_place(&self, place: u64) {
        while self.goes_on() {
            let card = self.deck.lock().unwrap().draw();
            match card {
                Card::Kill(plan) => self.live(place, plan).await,
                Card::Freeze => self.freeze(&log_of(place)).await,
            }
        }
    }

    /// Whether there were too few kills, or, in a run that is long enough, something did not happen yet that shall.
    fn goes_on(&self) -> bool {
        let tally = self.tally.lock().unwrap();
        let has_all =
            || tally.frozen.in_copies > 0 && edges().all(|edge| tally.at_edges.contains_key(&edge.to_string()));
        let most = if self.wanted < LONG_RUN || has_all() { self.wanted } else { self.wanted * 3 / 2 };
        tally.kills() < most
    }

    fn draw(&self, from: std::ops::Range<u64>) -> u64 {
        self.random.lock().unwrap().random_range(from)
    }

    async fn outcomes(&self) -> Outcomes {
        let client = connect(&self.world.server.url()).await;
        let sql = "SELECT (SELECT count(*) FROM processed_messages WHERE outcome = 'absorbed'),
                          (SELECT count(*) FROM dead_letters WHERE code = 'contradicts'),
                          (SELECT count(*) FROM dead_letters WHERE code = 'refused_by_database')";
        let row = client.query_one(sql, &[]).await.unwrap();
        let [absorbed, contradicting, refused] = [0, 1, 2].map(|column| row.get::<_, i64>(column).unsigned_abs());
        Outcomes { absorbed, contradicting, refused }
    }

    /// One process from its start to its kill.
    async fn live(&self, place: u64, plan: Plan) {
        let name = log_of(place);
        match plan.edge.step {
            Step::Migrate => return self.migrate(&name, plan).await,
            Step::ReplayForesee | Step::ReplayTake | Step::ReplayClaim | Step::ReplayResolve => {
                self.world.dead_letter_a_login().await;
                let mut replay = self.world.site.command(&["dead-letters", "replay", "--code", "invalid_version"]);
                // A key that is none of a login's: the body is another, and the login the same.
                if self.draw(0..2) == 0 {
                    replay.args(["--set", "/edited", "true", "--reason", "an edit", "--yes"]);
                }
                return self.run_to_its_end(&name, replay, plan).await;
            }
            Step::RequeueRead | Step::RequeueSend => {
                self.world.dead_letter_a_login().await;
                self.run_to_its_end(&name, self.requeue(), plan).await;
            }
            Step::RequeuedTake | Step::RequeuedResolve => {
                for _ in 0..SENT_BACK_AT_ONCE {
                    self.world.dead_letter_a_login().await;
                }
                let mut requeue = self.world.site.start(self.requeue(), &name);
                // It may be without a queue or a table for a while; then there is another time.
                if requeue.ends_within(LIFE).await.is_some() {
                    self.run_to_its_end(&name, self.loader_by(Route::Straight), plan).await;
                }
            }
            Step::Import => {
                let file = self.world.letters_from_elsewhere().await;
                let import = self.world.site.command(&["dead-letters", "import", file.to_str().unwrap()]);
                return self.run_to_its_end(&name, import, plan).await;
            }
            Step::Renew => {
                self.stalls.fetch_add(1, Ordering::SeqCst);
                let mut loader = self.loader_by(Route::Straight);
                loader.env("TURNSTILE_VISIBILITY_TIMEOUT", SHORT_LEASE);
                self.run_to_its_end(&name, loader, plan).await;
                self.stalls.fetch_sub(1, Ordering::SeqCst);
            }
            Step::Identities => self.run_to_its_end(&name, self.loader_as(Route::Straight, true), plan).await,
            Step::Shutdown => self.terminate(&name, plan).await,
            Step::Receive
            | Step::Return
            | Step::Claim
            | Step::Rows
            | Step::Events
            | Step::DeadLetters
            | Step::Compare
            | Step::Commit
            | Step::Delete
            | Step::Relay(_)
            | Step::Retain(_)
            | Step::Archive(_) => self.run_to_its_end(&name, self.loader(), plan).await,
        }
    }

    /// Sends back what was dead-lettered and need not have been.
    fn requeue(&self) -> Command {
        let mut requeue = self.world.site.command(&["dead-letters", "requeue", "--code", "invalid_version", "--yes"]);
        requeue.env("RUST_LOG", "turnstile=debug");
        requeue
    }

    /// A loader by any way.
    fn loader(&self) -> Command {
        let drawn = self.random.lock().unwrap().random();
        self.loader_by(self.routes.any(drawn))
    }

    /// A loader by this way and any scheme.
    fn loader_by(&self, route: Route) -> Command {
        let by_event_id = self.draw(0..2) == 0;
        self.loader_as(route, by_event_id)
    }

    fn loader_as(&self, route: Route, by_event_id: bool) -> Command {
        let max_attempts = self.draw(1..3);
        let mut tally = self.tally.lock().unwrap();
        tally.pooled += u64::from(route == Route::Pooled);
        tally.schemes_changed += u64::from(tally.by_event_id != by_event_id);
        tally.by_event_id = by_event_id;
        let mut loader = self.world.site.command(&["run", "--batch-size", "50", "--wait", "1s", "--retry-delay", "1s"]);
        // Few, so that a row that is refused for a while only may become a dead letter.
        loader.args(["--max-attempts", if max_attempts == 1 { "1" } else { "2" }]);
        loader.args(["--database-timeout", "5s", "--identity", if by_event_id { EVENT_ID } else { "message-id" }]);
        loader.env("DATABASE_URL", self.routes.url(route));
        loader.env("TURNSTILE_VISIBILITY_TIMEOUT", "5s").env("TURNSTILE_WAIT_FOR_QUEUE", "1m");
        loader.env("RUST_LOG", "turnstile=debug");
        loader
    }

    async fn run_to_its_end(&self, name: &str, mut command: Command, plan: Plan) {
        command.env("TURNSTILE_FAILPOINT", plan.failpoint());
        let since = self.world.log_length(name);
        let mut process = self.world.site.start(command, name);
        match process.ends_within(LIFE).await {
            Some(status) => self.count(name, since, plan, status),
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
        let since = self.world.log_length(name);
        let mut process = self.world.site.start(command, name);
        if let Some(status) = process.ends_within(WORK_BEFORE_SHUTDOWN).await {
            return self.count(name, since, plan, status);
        }
        process.terminate();
        let status = process.ended().await;
        self.count(name, since, plan, status);
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

    fn count(&self, name: &str, since: u64, plan: Plan, status: ExitStatus) {
        match status.signal() {
            Some(signal) if signal == Signal::SIGABRT as i32 => {
                *self.tally.lock().unwrap().at_edges.entry(plan.edge.to_string()).or_default() += 1;
            }
            // It had no reason to come to its edge, and ended in order.
            None if status.success() => {}
            Some(_) | None => {
                self.deck.lock().unwrap().put_back(plan.edge);
                self.excuse(name, since, status);
            }
        }
    }

    /// Lets a loader that nobody kills meet each mischief that has met nobody: those that are killed may all be gone
    /// before they do.
    async fn let_the_rest_meet_somebody(&self) {
        const NAME: &str = "witness.log";
        for mischief in self.mischiefs.unmet() {
            let since = self.world.log_length(NAME);
            // By keys: a loader that claims none never misses their index.
            let mut loader = self.world.site.start(self.loader_as(Route::Straight, true), NAME);
            wait_until("the witness loads", async || self.world.said_since(NAME, since).contains(BEGUN)).await;
            let ending = async {
                if let Some(status) = loader.ends_within(WITNESS_LIFE).await {
                    self.excuse(NAME, since, status);
                }
            };
            tokio::join!(self.mischiefs.make(mischief), ending);
        }
    }

    /// A process that ended by itself had a reason to: what others did to its database.
    fn excuse(&self, name: &str, since: u64, status: ExitStatus) {
        let said = self.world.said_since(name, since);
        let has_reason = status.code() == Some(1) && self.mischiefs.excuse(&said);
        assert!(status.success() || has_reason, "a process ended with {status}: {said}");
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

    /// Loaders that nobody kills load what is left.
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
    }

    /// What was dead-lettered and need not have been. A login that was refused until another was loaded under its key stays.
    async fn replay_all(&self) {
        // What killed imports have left of their files, first.
        let file = self.world.letters_from_elsewhere().await;
        let import = self.world.site.command(&["dead-letters", "import", file.to_str().unwrap()]);
        let ended = self.world.site.start(import, "last-import.log").ended().await;
        assert!(ended.success(), "an import cannot be taken up again: {}", self.last_lines("last-import.log"));
        // What a killed process has left of its plan.
        let sql = "SELECT plan::text FROM replay_plans WHERE state IN ('ready', 'running') ORDER BY plan";
        let begun: Vec<String> = connect(&self.world.server.url())
            .await
            .query(sql, &[])
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        let begun = begun.iter().map(|plan| ["plans", "run", plan]);
        let rest = ["invalid_version", "refused_by_database"].map(|code| ["replay", "--code", code]);
        for arguments in begun.chain(rest) {
            let mut replay = self.world.site.command(&["dead-letters"]);
            replay.args(arguments);
            replay.stdout(Stdio::piped()).stderr(Stdio::piped());
            let ended = spawn_blocking(move || replay.output().unwrap()).await.unwrap();
            let [said, errors] = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
            let mut open = said.lines().filter(|line| line.contains("stay open")).peekable();
            let may_stay = ended.status.code() == Some(1) && open.peek().is_some();
            let may_stay = may_stay && open.all(|line| line.contains("identity_taken"));
            assert!(ended.status.success() || may_stay, "{}: {said}{errors}", ended.status);
        }
        // What is recorded of a plan's letters is what became of them, and a plan that was run has none left.
        let sql = "SELECT (SELECT count(*) FROM replay_plan_letters l JOIN dead_letters d USING (sent_at, message_hash)
                           WHERE l.became IN ('replayed', 'absorbed') AND d.status NOT IN ('replayed', 'absorbed'))
                        + (SELECT count(*) FROM replay_plans p WHERE p.state IN ('ready', 'running')
                           OR p.done <> (SELECT count(*) FROM replay_plan_letters l WHERE l.plan = p.plan AND l.became IS NOT NULL))";
        let row = connect(&self.world.server.url()).await.query_one(sql, &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 0, "plans say otherwise than the letters");
    }
}

fn log_of(place: u64) -> String {
    format!("process-{place}.log")
}
