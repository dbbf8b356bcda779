//! Several `turnstile run` processes on one queue and one database, killed, restarted and cut off from it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::Client;
use turnstile::database::Database;
use turnstile::database::DatabaseSettings;
use turnstile::database::address::DatabaseAddress;
use turnstile::database::on_loan::{OnLoan, Options};
use turnstile::keyring::Keyring;
use turnstile::queue::local::{Faults, LocalQueue, QueueOptions};

use crate::support::pipeline::QUEUE;
use crate::support::postgres::connect;
use crate::support::verdicts::login;
use crate::support::wait_until;

/// How many logins are sent; `TURNSTILE_TEST_MESSAGES` sets more than a test run of every day needs.
fn messages() -> usize {
    std::env::var("TURNSTILE_TEST_MESSAGES").map_or(2_000, |text| text.parse().unwrap())
}

/// For how long PostgreSQL stays down; `TURNSTILE_TEST_OUTAGE_SECONDS` sets more.
fn outage() -> Duration {
    let seconds = std::env::var("TURNSTILE_TEST_OUTAGE_SECONDS").map_or(3, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

const DEAD: usize = 10;

/// Queue, database and keyring for real processes.
struct Site {
    box_: LocalQueue,
    server: OnLoan,
    folder: TempDir,
}

impl Site {
    async fn new() -> Self {
        let box_ =
            LocalQueue::start(([127, 0, 0, 1], 0).into(), vec![QueueOptions::new(QUEUE)], Faults::default()).await;
        let server = OnLoan::start(Options::default()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        Keyring::generate().unwrap().write_new(&folder.path().join("keyring")).unwrap();
        let site = Self { box_: box_.unwrap(), server, folder };
        let address = DatabaseAddress::parse(&site.server.url()).unwrap();
        let settings = DatabaseSettings { address, connections: 1, call_timeout: Duration::from_secs(20) };
        Database::new(&settings).unwrap().migrate().await.unwrap();
        site
    }

    fn keyring(&self) -> PathBuf {
        self.folder.path().join("keyring")
    }

    /// Fills the queue; the bodies go in past the protocol, which the loaders then meet.
    fn fill(&self) {
        for n in 0..messages() {
            self.box_.insert_raw(QUEUE, login(&format!("user {}", n % 500), "ios").into_bytes()).unwrap();
        }
        for n in 0..DEAD {
            self.box_.insert_raw(QUEUE, format!("no login {n}").into_bytes()).unwrap();
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnstile"));
        command
            .args(arguments)
            .env_clear()
            .env("DATABASE_URL", self.server.url())
            .env("TURNSTILE_QUEUE", QUEUE)
            .env("TURNSTILE_KEYRING", self.keyring())
            .env("AWS_ENDPOINT_URL", self.box_.endpoint())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "x")
            .env("AWS_SECRET_ACCESS_KEY", "x")
            .stdout(Stdio::null());
        command
    }

    fn loader(&self, name: &str) -> Loader {
        let log = self.folder.path().join(name);
        let settings = ["--batch-size", "50", "--visibility-timeout", "4s", "--retry-delay", "1s", "--wait", "1s"];
        let mut command =
            self.command(&[&["run", "--until-empty", "--database-timeout", "2s"], &settings[..]].concat());
        command.stderr(std::fs::File::options().create(true).append(true).open(&log).unwrap());
        Loader { child: command.spawn().unwrap(), log }
    }

    async fn rows(&self, client: &Client) -> usize {
        let count: i64 = client.query_one("SELECT count(*) FROM processed_messages", &[]).await.unwrap().get(0);
        usize::try_from(count).unwrap()
    }

    async fn assert_the_promise_holds(&self) {
        let client = connect(&self.server.url()).await;
        let sql = "SELECT (SELECT count(*) FROM user_logins), (SELECT count(DISTINCT message_hash) FROM user_logins),
                          (SELECT count(*) FROM dead_letters WHERE code = 'invalid_json'), (SELECT count(*) FROM dead_letters)";
        let row = client.query_one(sql, &[]).await.unwrap();
        let counts = [0, 1, 2, 3].map(|column| usize::try_from(row.get::<_, i64>(column)).unwrap());
        assert_eq!(counts, [messages(), messages(), DEAD, DEAD]);
        let stats = self.box_.stats(QUEUE).unwrap();
        assert_eq!((stats.visible, stats.in_flight, stats.delayed), (0, 0, 0));
        let audit = self.command(&["audit"]).stdout(Stdio::piped()).output().unwrap();
        assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stdout));
    }
}

/// A `turnstile run` of its own process; killed if a test ends before it does.
struct Loader {
    child: Child,
    log: PathBuf,
}

impl Loader {
    async fn ended(mut self) -> ExitStatus {
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(300) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the loader does not end: {}", text_of(&self.log));
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

fn text_of(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_loaders_of_which_one_is_killed_and_restarted_load_each_message_once() {
    let site = Site::new().await;
    site.fill();
    let (first, second, victim) = (site.loader("first"), site.loader("second"), site.loader("victim"));
    let client = connect(&site.server.url()).await;
    wait_until("a third is recorded", async || site.rows(&client).await > messages() / 3).await;
    victim.kill();
    let restarted = site.loader("victim");
    for loader in [first, second, restarted] {
        assert!(loader.ended().await.success());
    }
    site.assert_the_promise_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgresql_is_down_nothing_is_dead_lettered_and_everything_lands_after() {
    let mut site = Site::new().await;
    site.fill();
    let loaders = ["first", "second", "third"].map(|name| site.loader(name));
    let client = connect(&site.server.url()).await;
    wait_until("a third is recorded", async || site.rows(&client).await > messages() / 3).await;
    drop(client);
    site.server.stop().await.unwrap();
    let down_since = Instant::now();
    while down_since.elapsed() < outage() {
        let stats = site.box_.stats(QUEUE).unwrap();
        assert!(stats.visible + stats.in_flight + stats.delayed > 0, "nothing may be deleted that is not recorded");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    site.server.restart().await.unwrap();
    for loader in loaders {
        assert!(loader.ended().await.success());
    }
    site.assert_the_promise_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminated_loader_ends_in_order_and_its_last_line_says_what_was_done() {
    let site = Site::new().await;
    site.fill();
    let log = site.folder.path().join("log");
    let mut command = site.command(&["run", "--wait", "1s"]);
    let child = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    let loader = Loader { child, log: log.clone() };
    let client = connect(&site.server.url()).await;
    wait_until("something is recorded", async || site.rows(&client).await > 0).await;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(loader.child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(loader.ended().await.success());

    let log = text_of(&log);
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    let recorded = site.rows(&client).await;
    let said = last["message"].as_str().unwrap();
    assert!(
        said.starts_with("ended: ") && said.contains(&format!(" {recorded} loaded")),
        "{said}, {recorded} recorded"
    );
    assert!(site.box_.stats(QUEUE).unwrap().in_flight <= DEAD, "only rejected messages may wait for another attempt");
    assert!(!log.contains("user 1"), "no value of a message is in the log");
}
