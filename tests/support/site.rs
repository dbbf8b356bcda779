//! A queue with a journal of what was sent into it, and `turnstile` processes that load from it into a database.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use stand_ins::sqs::{Faults, LocalQueue, QueueOptions};
use tempfile::TempDir;
use tokio_postgres::Client;
use turnstile::audit::comparison::{Discrepancies, Expected, count_lines_holding};
use turnstile::audit::journal::{self, Journal, Kind, Sent};
use turnstile::database::Database;
use turnstile::message::{MessageHasher, MessageId, QueueIdentity};
use turnstile::queue::sqs::{Outgoing, Sender, SqsSettings};

use super::loading::migrate;
use super::postgres::{connect, pool};
use super::program::{self, Loader, keyring_in, write_keyring};
use super::scripted_http::aws_at;
use super::verdicts::{CANARIES, login};
use super::{LONG_PATIENCE, wait_for};

/// The queue of a site that has no other.
pub(crate) const QUEUE: &str = "logins";

/// A queue and a keyring, and the address of the tables that loaders fill.
pub(crate) struct Site {
    pub(crate) sqs: LocalQueue,
    /// What the processes are told as `DATABASE_URL`.
    pub(crate) database_url: String,
    queue: String,
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
        Self::of(QueueOptions::new(QUEUE), database_url).await
    }

    /// An empty queue of this kind, and whatever stands in the database of this URL.
    pub(crate) async fn of(options: QueueOptions, database_url: &str) -> Self {
        let queue = options.name.clone();
        let sqs = LocalQueue::start(([127, 0, 0, 1], 0).into(), vec![options], Faults::default()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        write_keyring(folder.path());
        Self { sqs, database_url: database_url.to_owned(), queue, folder }
    }

    /// A pool of one connection.
    pub(crate) fn database(&self) -> Database {
        pool(&self.database_url, 1, Duration::from_secs(20))
    }

    /// A connection of its own.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.database_url).await
    }

    /// The queue's name.
    pub(crate) fn queue(&self) -> &str {
        &self.queue
    }

    /// What the queue is called in the tables.
    pub(crate) fn queue_identity(&self) -> QueueIdentity {
        QueueIdentity::new(self.sqs.queue_arn(&self.queue))
    }

    pub(crate) fn keyring(&self) -> PathBuf {
        keyring_in(self.folder.path())
    }

    /// Where this log is, of a loader or of something else.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sends bodies, and fails the test if one is refused.
    pub(crate) async fn send(&self, bodies: impl IntoIterator<Item = String>) {
        send_to(&self.queue, &self.sqs.endpoint(), bodies).await;
    }

    /// Sends so many logins with so many malformed messages among them, and notes them in the journal.
    pub(crate) async fn send_mixed(&self, logins: usize, malformed: usize) {
        let (bodies, kinds): (Vec<_>, Vec<_>) = mixed(logins, malformed).unzip();
        let ids = send_to(&self.queue, &self.sqs.endpoint(), bodies).await;
        let sent: Vec<_> = ids.iter().zip(kinds).map(|(id, kind)| Sent::by_message_id(id, kind)).collect();
        self.note(&sent);
    }

    /// Puts logins with malformed messages among them into the queue, past the protocol and its faults, and notes them in
    /// the journal.
    pub(crate) fn fill(&self, logins: usize, malformed: usize) {
        self.fill_with(mixed(logins, malformed));
    }

    /// The same with these bodies.
    pub(crate) fn fill_with(&self, bodies: impl Iterator<Item = (String, Kind)>) {
        let sent: Vec<Sent> =
            bodies.map(|(body, kind)| Sent::by_message_id(&MessageId::new(self.insert(body)), kind)).collect();
        self.note(&sent);
    }

    /// The same with the keys that the producer gives them.
    #[cfg(feature = "failpoints")]
    pub(crate) fn fill_keyed(&self, bodies: impl IntoIterator<Item = (String, String, Kind)>) {
        let sent = bodies.into_iter().map(|(key, body, kind)| Sent { key, message_id: self.insert(body), kind });
        self.note(&sent.collect::<Vec<_>>());
    }

    /// Puts a body into the queue, past the protocol and its faults; gives its MessageId.
    pub(crate) fn insert(&self, body: impl Into<Vec<u8>>) -> String {
        self.sqs.insert_raw(&self.queue, body.into()).unwrap()
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
        let stats = self.sqs.stats(&self.queue).unwrap();
        stats.visible + stats.in_flight + stats.delayed
    }

    /// Waits until it holds none.
    pub(crate) async fn is_drained(&self) {
        wait_for(LONG_PATIENCE, "the queue is drained", async || self.depth() == 0).await;
    }

    /// `turnstile` with these arguments, in an environment that leads to this site.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(program::turnstile(), arguments)
    }

    /// Another release's program with these arguments, in the same environment.
    pub(crate) fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = program::command(program, &self.database_url, &self.keyring());
        command.args(arguments).env("TURNSTILE_QUEUE", &self.queue).env("AWS_ENDPOINT_URL", self.sqs.endpoint());
        command.stdout(Stdio::null());
        command
    }

    /// Starts a command as a loader whose log bears this name.
    pub(crate) fn start(&self, command: Command, name: &str) -> Loader {
        Loader::start(command, self.log(name))
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
    pub(crate) async fn discrepancies_from(&self, mut expected: Expected) -> Discrepancies {
        let messages = MessageHasher::new(&self.queue_identity());
        journal::read(&self.journal()).unwrap().for_each(|sent| expected.take(&sent.unwrap(), &messages));
        assert!(!expected.is_empty(), "the journal is empty: nothing would be compared");
        let canaries = CANARIES.map(str::to_owned);
        let mut found = expected.compare(&self.database(), &canaries).await.unwrap();
        for file in std::fs::read_dir(self.folder.path()).unwrap() {
            found.leaked += count_lines_holding(&file.unwrap().path(), &canaries).unwrap();
        }
        found
    }
}

/// Bodies of logins with those of malformed messages evenly among them; all hold canaries.
pub(crate) fn mixed(logins: usize, malformed: usize) -> impl Iterator<Item = (String, Kind)> {
    let all = logins + malformed;
    (0..all).map(move |n| match (n + 1) * malformed / all > n * malformed / all {
        true => (format!("no login of device of canary {n}, 203.0.113.7"), Kind::Malformed),
        false => (login(&format!("user {}", n % 500), "ios"), Kind::Login),
    })
}

/// Sends bodies to a queue, and gives their MessageIds; fails the test if one is refused.
pub(crate) async fn send_to(queue: &str, endpoint: &str, bodies: impl IntoIterator<Item = String>) -> Vec<MessageId> {
    let settings = SqsSettings::new(queue.parse().unwrap());
    let sender = Sender::connect_with(&settings, "group", &aws_at(endpoint)).await.unwrap();
    let is_fifo = queue.ends_with(".fifo");
    let outgoing = |(n, body): (usize, String)| Outgoing {
        deduplication_id: is_fifo.then(|| n.to_string()),
        ..Outgoing::of(body)
    };
    let bodies: Vec<Outgoing> = bodies.into_iter().enumerate().map(outgoing).collect();
    let mut ids = Vec::with_capacity(bodies.len());
    for ten in bodies.chunks(10) {
        for sent in sender.send(ten).await.unwrap() {
            match sent {
                Ok(id) => ids.push(id),
                Err(refusal) => panic!("a body was refused: {}", refusal.fault),
            }
        }
    }
    ids
}
