//! A local SQS server, a keyring, and `turnstile` processes that load from it into a database.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stand_ins::sqs::{Faults, LocalQueue, QueueOptions};
use tempfile::TempDir;
use tokio_postgres::Client;
use turnstile::audit::comparison::{Discrepancies, Expected, count_lines_holding};
use turnstile::audit::journal::{Journal, Kind, Sent};
use turnstile::database::address::DatabaseAddress;
use turnstile::database::{Database, DatabaseSettings};
use turnstile::message::{MessageHasher, MessageId, QueueIdentity};

use super::loading::migrate;
use super::pipeline::{QUEUE, compare, mixed};
use super::postgres::connect;
use super::verdicts::{CANARIES, masters};

/// How long a loader may take to its end.
const LOADER_PATIENCE: Duration = Duration::from_secs(300);

/// Queue and keyring for real processes, and the tables that they fill.
pub(crate) struct Site {
    pub(crate) sqs: LocalQueue,
    /// What the processes are told as `DATABASE_URL`.
    pub(crate) database_url: String,
    folder: TempDir,
}

impl Site {
    /// An empty queue, and Turnstile's tables in the database of this URL.
    pub(crate) async fn at(database_url: &str) -> Self {
        let site = Self::without_tables(database_url).await;
        migrate(&site.database()).await;
        site
    }

    /// An empty queue, and whatever stands in the database of this URL.
    pub(crate) async fn without_tables(database_url: &str) -> Self {
        let options = vec![QueueOptions::new(QUEUE)];
        let sqs = LocalQueue::start(([127, 0, 0, 1], 0).into(), options, Faults::default()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        masters().write_new(&folder.path().join("keyring")).unwrap();
        Self { sqs, database_url: database_url.to_owned(), folder }
    }

    /// A pool of one connection.
    pub(crate) fn database(&self) -> Database {
        let address = DatabaseAddress::parse(&self.database_url).unwrap();
        let settings = DatabaseSettings::new(address, 1, Duration::from_secs(20));
        Database::new(&settings).unwrap()
    }

    /// A connection of its own.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.database_url).await
    }

    pub(crate) fn keyring(&self) -> PathBuf {
        self.folder.path().join("keyring")
    }

    /// Where this log is, of a loader or of something else.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts logins with malformed messages among them into the queue, past the protocol, and notes them in the journal.
    pub(crate) fn fill(&self, logins: usize, malformed: usize) {
        self.fill_with(mixed(logins, malformed));
    }

    /// Puts these bodies into the queue, past the protocol, and notes them in the journal.
    pub(crate) fn fill_with(&self, bodies: impl Iterator<Item = (String, Kind)>) {
        let sent: Vec<Sent> = bodies
            .map(|(body, kind)| {
                let id = self.sqs.insert_raw(QUEUE, body.into_bytes()).unwrap();
                Sent::by_message_id(&MessageId::new(id), kind)
            })
            .collect();
        self.note(&sent);
    }

    /// The same with the keys that the producer gives them.
    #[cfg(feature = "failpoints")]
    pub(crate) fn fill_keyed(&self, bodies: impl IntoIterator<Item = (String, String, Kind)>) {
        let insert = |body: String| self.sqs.insert_raw(QUEUE, body.into_bytes()).unwrap();
        let sent = bodies.into_iter().map(|(key, body, kind)| Sent { key, message_id: insert(body), kind });
        self.note(&sent.collect::<Vec<_>>());
    }

    /// Notes in the journal what was sent in another way.
    pub(crate) fn note(&self, sent: &[Sent]) {
        Journal::open(&self.journal()).unwrap().note(sent).unwrap();
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// How many messages the queue holds, visible or not.
    pub(crate) fn depth(&self) -> usize {
        let stats = self.sqs.stats(QUEUE).unwrap();
        stats.visible + stats.in_flight + stats.delayed
    }

    /// `turnstile` with these arguments, in an environment that leads to this site.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_turnstile")), arguments)
    }

    /// Another release's program with these arguments, in the same environment.
    pub(crate) fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("DATABASE_URL", &self.database_url)
            .env("TURNSTILE_QUEUE", QUEUE)
            .env("TURNSTILE_KEYRING", self.keyring())
            .env("AWS_ENDPOINT_URL", self.sqs.endpoint())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "x")
            .env("AWS_SECRET_ACCESS_KEY", "x")
            .stdout(Stdio::null());
        command
    }

    /// Starts a command as a loader whose log bears this name.
    pub(crate) fn start(&self, mut command: Command, name: &str) -> Loader {
        let log = self.log(name);
        command.stderr(std::fs::File::options().create(true).append(true).open(&log).unwrap());
        Loader { child: command.spawn().unwrap(), log }
    }

    /// How many messages are recorded.
    pub(crate) async fn rows(&self, client: &Client) -> usize {
        let count: i64 = client.query_one("SELECT count(*) FROM processed_messages", &[]).await.unwrap().get(0);
        usize::try_from(count).unwrap()
    }

    /// Fails unless the queue is drained and each message is where it belongs, once.
    pub(crate) async fn assert_promise(&self) {
        assert_eq!(self.depth(), 0, "the queue is not drained");
        let discrepancies = self.discrepancies().await;
        assert!(discrepancies.none(), "{discrepancies}");
        let audit = self.command(&["audit"]).stdout(Stdio::piped()).output().unwrap();
        assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stdout));
    }

    /// How the tables and the loaders' logs differ from what the journal says was sent.
    pub(crate) async fn discrepancies(&self) -> Discrepancies {
        self.discrepancies_from(Expected::default()).await
    }

    /// The same, from what is expected beside the journal.
    pub(crate) async fn discrepancies_from(&self, expected: Expected) -> Discrepancies {
        let identity = QueueIdentity::new(self.sqs.queue_arn(QUEUE));
        let mut found = compare(expected, &self.journal(), &MessageHasher::new(&identity), &self.database()).await;
        for file in std::fs::read_dir(self.folder.path()).unwrap() {
            found.leaked += count_lines_holding(&file.unwrap().path(), &CANARIES.map(str::to_owned)).unwrap();
        }
        found
    }
}

/// A `turnstile` of its own process; killed if a test ends before it does.
pub(crate) struct Loader {
    child: Child,
    log: PathBuf,
}

impl Loader {
    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        match self.ends_within(LOADER_PATIENCE).await {
            Some(status) => status,
            None => panic!("the loader does not end: {}", self.said()),
        }
    }

    /// Waits for its end, for so long at most.
    pub(crate) async fn ends_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let since = Instant::now();
        while since.elapsed() < patience {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }

    /// Asks it to end, as an operator does.
    pub(crate) fn terminate(&self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
    }

    /// The process id, while it lives.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it at once.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// All that it has said.
    pub(crate) fn said(&self) -> String {
        text_of(&self.log)
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

/// What stands in a log.
pub(crate) fn text_of(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap()
}
