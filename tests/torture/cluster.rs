//! Distributed tables: loaders load while servers of a Citus cluster and loaders are killed, or while connections between the
//! coordinator and a worker are cut where a transaction is prepared and committed.
//!
//! `TURNSTILE_CITUS` names the servers (`support::cluster`). `TURNSTILE_CITUS_CRASH` is a command that kills the server of this
//! number (0 is the coordinator) and starts it again; it is run by a shell, and `$1` is the number.

use std::collections::BTreeMap;
use std::fmt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use turnstile::audit::comparison::Discrepancies;
use turnstile::audit::journal::Kind as Sort;

use crate::Outcome;
use crate::support::cluster::Cluster;
use crate::support::program::Loader;
use crate::support::proxy::{Cut, Kind, Moment, PostgresProxy};
use crate::support::site::Site;
use crate::support::verdicts::login;
use crate::support::wait_for;
use crate::world::{EVENT_ID, queue_faults};

/// How many loaders.
const LOADERS: usize = 2;
/// Nothing is put into the queue while it holds more.
const BACKLOG: usize = 3_000;
const SENT_AT_ONCE: usize = 500;
/// One of so many messages is malformed.
const ONE_MALFORMED_IN: usize = 50;
/// One of so many logins is sent a second time.
const ONE_TWIN_IN: usize = 20;
const SENDER_PAUSE: Duration = Duration::from_millis(20);
/// How long what is left may take in the end.
const DRAIN: Duration = Duration::from_secs(3_600);
/// How long a server is away until a kill takes it again.
const BETWEEN_CRASHES: std::ops::Range<u64> = 2_000..9_000;
/// One of so many transactions is cut at one of its phases.
const ONE_CUT_IN: u32 = 25;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many messages are sent
    #[arg(long, default_value_t = 50_000)]
    messages: usize,

    /// How many servers and loaders are killed
    #[arg(long, default_value_t = 0)]
    crashes: u32,

    /// Cut connections to a worker where transactions are prepared and committed
    #[arg(long)]
    cuts: bool,

    /// Into how many shards the tables are divided
    #[arg(long, default_value_t = 4)]
    shards: u32,

    /// Load by the producer's keys; one login of twenty is sent twice
    #[arg(long)]
    twins: bool,

    /// How many messages a batch holds
    #[arg(long, default_value_t = 50)]
    batch_size: u32,
}

pub(crate) async fn run(args: &Args, seed: u64) -> Box<dyn Outcome> {
    let since = Instant::now();
    let cluster = Cluster::named().expect("TURNSTILE_CITUS names the servers of a cluster");
    let name = format!("turnstile_torture_{}", std::process::id());
    let proxy = match args.cuts {
        true => Some(PostgresProxy::before(&cluster.workers[0].url_of(&name)).await),
        false => None,
    };
    let url = cluster.create_database_by_way_of(&name, proxy.as_ref().map(PostgresProxy::place)).await;
    cluster.make_tables(&url, Some(args.shards)).await;
    let site = Site::without_tables(&url).await;
    site.sqs.set_faults(queue_faults(seed));
    let siege = Siege { args, site: &site, random: StdRng::seed_from_u64(seed), killed: BTreeMap::new() };
    if let Some(proxy) = &proxy {
        arm(proxy, seed);
    }
    let (killed, doubt) = siege.run().await;
    if let Some(proxy) = &proxy {
        proxy.disarm();
    }
    let cuts = proxy.as_ref().map(PostgresProxy::strikes_by_cut).unwrap_or_default();
    let audit = site.command(&["audit"]).stdout(Stdio::piped()).output().unwrap();
    let report = Report {
        seed,
        took: since.elapsed(),
        messages: args.messages,
        twins: args.twins,
        killed,
        cuts: cuts.into_iter().map(|((kind, cut), count)| (format!("{kind:?}, {:?}", cut.moment), count)).collect(),
        doubt,
        audit: String::from_utf8_lossy(&audit.stdout).into_owned() + &String::from_utf8_lossy(&audit.stderr),
        audit_held: audit.status.success(),
        counts: counts(&site.client().await).await,
        discrepancies: site.discrepancies().await,
    };
    cluster.drop_database(&name).await;
    Box::new(report)
}

/// Cuts at the phases of some transactions: before the worker hears of it, or when it has answered.
fn arm(proxy: &PostgresProxy, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    proxy.arm(move |asked| {
        let is_phase = matches!(asked.kind, Kind::PrepareTransaction | Kind::CommitPrepared | Kind::RollbackPrepared);
        let moment = match random.random_range(0..2) {
            0 => Moment::Before,
            _ => Moment::Answered,
        };
        (is_phase && random.random_range(0..ONE_CUT_IN) == 0).then(|| Cut::at(moment))
    });
}

struct Siege<'a> {
    args: &'a Args,
    site: &'a Site,
    random: StdRng,
    killed: BTreeMap<String, u32>,
}

impl Siege<'_> {
    /// Sends, loads and kills until everything is loaded; gives what was killed, and how many transactions were in doubt when the
    /// queue was empty.
    async fn run(mut self) -> (BTreeMap<String, u32>, i64) {
        let (site, messages, args) = (self.site, self.args.messages, self.args);
        let sent = CancellationToken::new();
        let sending = async {
            let mut left = messages;
            while left > 0 {
                if site.depth() < BACKLOG {
                    let some = SENT_AT_ONCE.min(left);
                    match args.twins {
                        true => site.fill_keyed(keyed(messages - left, some)),
                        false => site.fill(some - some / ONE_MALFORMED_IN, some / ONE_MALFORMED_IN),
                    }
                    left -= some;
                }
                tokio::time::sleep(SENDER_PAUSE).await;
            }
            sent.cancel();
        };
        let (_, loaders) = tokio::join!(sending, self.besiege(&sent));
        wait_for(DRAIN, "the queue is drained", async || site.depth() == 0).await;
        drop(loaders);
        (std::mem::take(&mut self.killed), in_doubt(&site.client().await).await)
    }

    async fn besiege(&mut self, sent: &CancellationToken) -> Vec<Loader> {
        let mut loaders: Vec<Loader> = (0..LOADERS).map(|number| self.loader(number)).collect();
        let mut left = self.args.crashes;
        while left > 0 || !sent.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(self.random.random_range(BETWEEN_CRASHES))).await;
            for (number, loader) in loaders.iter_mut().enumerate() {
                if let Some(status) = loader.ends_within(Duration::from_millis(1)).await {
                    panic!("loader {number} ended with {status}: {}", last_lines(self.site, number));
                }
            }
            if left == 0 {
                continue;
            }
            left -= 1;
            match self.random.random_range(0..4_usize) {
                3 => {
                    let number = self.random.random_range(0..LOADERS);
                    std::mem::replace(&mut loaders[number], self.loader(number)).kill();
                    *self.killed.entry("loader".to_owned()).or_default() += 1;
                }
                server => {
                    crash(server).await;
                    let what = if server == 0 { "coordinator".to_owned() } else { format!("worker {server}") };
                    *self.killed.entry(what).or_default() += 1;
                }
            }
        }
        loaders
    }

    fn loader(&self, number: usize) -> Loader {
        let batch_size = self.args.batch_size.to_string();
        let mut command = self.site.command(&["run", "--wait", "1s", "--lanes", "2", "--database-timeout", "10s"]);
        let identity = if self.args.twins { EVENT_ID } else { "message-id" };
        command.args(["--batch-size", &batch_size, "--identity", identity, "--max-attempts", "2"]);
        command.env("TURNSTILE_VISIBILITY_TIMEOUT", "20s").env("TURNSTILE_WAIT_FOR_DATABASE", "2m");
        self.site.start(command, &format!("loader-{number}"))
    }
}

/// Logins with their keys, of which one of [`ONE_TWIN_IN`] has that of the login before.
fn keyed(from: usize, some: usize) -> impl Iterator<Item = (String, String, Sort)> {
    (from..from + some).map(|n| {
        let event = if n.is_multiple_of(ONE_TWIN_IN) { n + 1 } else { n };
        let body =
            login(&format!("user {event}"), "ios").replacen('{', &format!("{{\"event_id\":\"event {event}\","), 1);
        (format!("event {event}"), body, Sort::Login)
    })
}

fn last_lines(site: &Site, loader: usize) -> String {
    let text = std::fs::read(site.log(&format!("loader-{loader}"))).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

async fn crash(server: usize) {
    let command =
        std::env::var("TURNSTILE_CITUS_CRASH").expect("TURNSTILE_CITUS_CRASH is a command that kills a server");
    let mut shell = tokio::process::Command::new("sh");
    let status = shell.args(["-c", &command, "crash", &server.to_string()]).status().await.unwrap();
    assert!(status.success(), "the crash of server {server}: {status}");
}

async fn in_doubt(client: &Client) -> i64 {
    let sql = "SELECT coalesce(sum(in_doubt), 0)::bigint FROM cluster_nodes()";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Claims, and the distinct among them; rows; letters; events; absorbed messages.
async fn counts(client: &Client) -> [i64; 6] {
    let sql = "SELECT count(*), count(DISTINCT message_hash) FROM processed_messages";
    let claims = client.query_one(sql, &[]).await.unwrap();
    let mut counts = [claims.get(0), claims.get(1), 0, 0, 0, 0];
    let absorbed = "processed_messages WHERE outcome = 'absorbed'";
    for (count, table) in counts[2..].iter_mut().zip(["user_logins", "dead_letters", "outbox", absorbed]) {
        *count = client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0);
    }
    counts
}

struct Report {
    seed: u64,
    took: Duration,
    messages: usize,
    twins: bool,
    killed: BTreeMap<String, u32>,
    cuts: Vec<(String, u64)>,
    doubt: i64,
    audit: String,
    audit_held: bool,
    counts: [i64; 6],
    discrepancies: Discrepancies,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, took, messages, killed, cuts, doubt, audit, counts, discrepancies, .. } = self;
        let [claims, distinct, rows, letters, events, absorbed] = counts;
        writeln!(f, "# Distributed tables, seed {seed}\n")?;
        writeln!(f, "{messages} messages in {} s. Killed: {killed:?}. Cut: {cuts:?}.", took.as_secs())?;
        writeln!(f, "In doubt when the queue was empty: {doubt}.")?;
        writeln!(
            f,
            "{claims} claims ({distinct} messages), {rows} rows, {letters} letters, {events} events, {absorbed} absorbed.\n"
        )?;
        writeln!(f, "{discrepancies}\n\n{audit}")
    }
}

impl Outcome for Report {
    fn promise_held(&self) -> bool {
        let [claims, distinct, rows, letters, events, absorbed] = self.counts;
        let messages = i64::try_from(self.messages).unwrap();
        self.audit_held
            && self.discrepancies.none()
            && (claims, distinct) == (messages, messages)
            && rows == events
            && rows + letters + absorbed == messages
            && (absorbed > 0) == self.twins
    }
}
