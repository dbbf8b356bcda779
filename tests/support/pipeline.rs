//! A loader between a local SQS server and a database of its own, in this process.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use stand_ins::sqs::{Faults, LocalQueue, QueueOptions};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use turnstile::audit::comparison::{Discrepancies, Expected};
use turnstile::audit::journal::{self, Journal, Kind};
use turnstile::database::address::DatabaseAddress;
use turnstile::database::{Database, DatabaseSettings};
use turnstile::keyring::Keyring;
use turnstile::lane::LaneSettings;
use turnstile::load::{Contradictions, Destination};
use turnstile::mask::MaskKind;
use turnstile::message::{Identity, MessageHasher, MessageId, QueueIdentity};
use turnstile::queue::Queue;
use turnstile::queue::sqs::{Outgoing, Sender, SqsQueue, SqsSettings};
use turnstile::receive::ReceiveLimits;
use turnstile::run::{Loader, RunError};
use turnstile::shutdown::Shutdown;
use turnstile::telemetry::{Metrics, Totals};
use turnstile::verdict::Judge;

use super::PATIENCE;
use super::postgres::TestDatabase;
use super::scripted_http::aws_at;
use super::verdicts::{CANARIES, keyring, login};

pub(crate) const QUEUE: &str = "logins";

/// The parts around a loader.
pub(crate) struct Pipeline {
    pub(crate) sqs: LocalQueue,
    pub(crate) database: Database,
    pub(crate) client: Client,
    pub(crate) test: TestDatabase,
    pub(crate) keyring: Keyring,
    pub(crate) identity: Identity,
    queue_name: String,
    folder: TempDir,
}

/// Settings with which a test ends soon.
pub(crate) fn quick() -> LaneSettings {
    LaneSettings {
        limits: ReceiveLimits {
            batch_size: 100,
            batch_bytes: 4 << 20,
            linger: Duration::from_millis(50),
            // The local server answers at once, and the loader pauses by itself.
            wait: Duration::ZERO,
            visibility_timeout: Duration::from_secs(30),
        },
        max_attempts: 3,
        retry_delay: Duration::ZERO,
        until_empty: true,
        delete_patience: Duration::from_secs(30),
    }
}

impl Pipeline {
    pub(crate) async fn new() -> Self {
        Self::with(QueueOptions::new(QUEUE), Faults::default()).await
    }

    pub(crate) async fn with(options: QueueOptions, faults: Faults) -> Self {
        let queue_name = options.name.clone();
        let sqs = LocalQueue::start(([127, 0, 0, 1], 0).into(), vec![options], faults).await.unwrap();
        let test = TestDatabase::with_tables().await;
        let address = DatabaseAddress::parse(test.url()).unwrap();
        let settings = DatabaseSettings::new(address, 4, Duration::from_secs(20));
        let database = Database::new(&settings).unwrap();
        let client = test.client().await;
        let keyring = keyring();
        let folder = tempfile::tempdir().unwrap();
        Self { sqs, database, client, test, keyring, identity: Identity::MessageId, queue_name, folder }
    }

    /// Sends bodies, and fails the test if one is refused.
    pub(crate) async fn send(&self, bodies: impl IntoIterator<Item = String>) {
        send_to(&self.queue_name, &self.sqs.endpoint(), bodies).await;
    }

    /// Sends so many logins with so many malformed messages among them, and notes them in the journal.
    pub(crate) async fn send_mixed(&self, logins: usize, malformed: usize) {
        let (bodies, kinds): (Vec<_>, Vec<_>) = mixed(logins, malformed).unzip();
        let ids = send_to(&self.queue_name, &self.sqs.endpoint(), bodies).await;
        let sent: Vec<_> = ids.iter().zip(kinds).map(|(id, kind)| journal::Sent::by_message_id(id, kind)).collect();
        Journal::open(&self.journal()).unwrap().note(&sent).unwrap();
    }

    /// Puts them into the queue past the protocol and its faults, and notes them in the journal.
    pub(crate) fn insert_mixed(&self, logins: usize, malformed: usize) {
        let insert = |body: String| self.sqs.insert_raw(&self.queue_name, body.into_bytes()).unwrap();
        let sent: Vec<_> = mixed(logins, malformed)
            .map(|(body, kind)| journal::Sent::by_message_id(&MessageId::new(insert(body)), kind))
            .collect();
        Journal::open(&self.journal()).unwrap().note(&sent).unwrap();
    }

    /// How the tables differ from what the journal says was sent.
    pub(crate) async fn discrepancies(&self) -> Discrepancies {
        let queue = QueueIdentity::new(self.sqs.queue_arn(&self.queue_name));
        compare(Expected::default(), &self.journal(), &MessageHasher::new(&queue), &self.database).await
    }

    /// Fails unless the queue is drained, and every message of the journal stands once and in its place.
    pub(crate) async fn assert_promise(&self) {
        assert_eq!(self.depth(), 0, "messages are left in the queue");
        let discrepancies = self.discrepancies().await;
        assert!(discrepancies.none(), "{discrepancies}");
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// Starts a loader with this many lanes.
    pub(crate) async fn start(&self, lanes: usize, lane: LaneSettings) -> Running {
        self.start_as(&aws_at(&self.sqs.endpoint()), lanes, lane).await
    }

    /// Starts it with AWS settings of its own.
    pub(crate) async fn start_as(&self, aws: &SdkConfig, lanes: usize, lane: LaneSettings) -> Running {
        let Self { database, keyring, identity, queue_name, .. } = self;
        Running::start_as(aws, queue_name, database, keyring, identity, lanes, lane).await
    }

    /// Runs a loader of two lanes until the queue is drained.
    pub(crate) async fn drain(&self) -> Totals {
        self.start(2, quick()).await.ended().await.unwrap()
    }

    /// The rows of the four tables: processed, logins, dead letters, events.
    pub(crate) async fn counts(&self) -> [i64; 4] {
        let sql = "SELECT (SELECT count(*) FROM processed_messages), (SELECT count(*) FROM user_logins),
                          (SELECT count(*) FROM dead_letters), (SELECT count(*) FROM outbox)";
        let row = self.client.query_one(sql, &[]).await.unwrap();
        [0, 1, 2, 3].map(|column| row.get(column))
    }

    pub(crate) fn depth(&self) -> usize {
        let stats = self.sqs.stats(&self.queue_name).unwrap();
        stats.visible + stats.in_flight + stats.delayed
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

/// Compares what a journal says was sent with what stands in the tables.
pub(crate) async fn compare(
    mut expected: Expected,
    journal: &Path,
    messages: &MessageHasher,
    database: &Database,
) -> Discrepancies {
    journal::read(journal).unwrap().for_each(|sent| expected.take(&sent.unwrap(), messages));
    assert!(!expected.is_empty(), "the journal is empty: nothing would be compared");
    expected.compare(database, &CANARIES.map(str::to_owned)).await.unwrap()
}

/// Sends bodies to a queue, and gives their MessageIds; fails the test if one is refused.
pub(crate) async fn send_to(queue: &str, endpoint: &str, bodies: impl IntoIterator<Item = String>) -> Vec<MessageId> {
    let settings = SqsSettings::new(queue.parse().unwrap());
    let sender = Sender::connect_with(&settings, "group", &aws_at(endpoint)).await.unwrap();
    let is_fifo = queue.ends_with(".fifo");
    let outgoing = |(n, body): (usize, String)| Outgoing { body, deduplication_id: is_fifo.then(|| n.to_string()) };
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

/// A loader at work.
pub(crate) struct Running {
    ended: JoinHandle<Result<(), RunError>>,
    pub(crate) shutdown: Shutdown,
    pub(crate) metrics: Arc<Metrics>,
}

impl Running {
    pub(crate) async fn start(
        endpoint: &str,
        queue: &str,
        database: &Database,
        keyring: &Keyring,
        identity: &Identity,
        lanes: usize,
        lane: LaneSettings,
    ) -> Self {
        Self::start_as(&aws_at(endpoint), queue, database, keyring, identity, lanes, lane).await
    }

    async fn start_as(
        aws: &SdkConfig,
        queue: &str,
        database: &Database,
        keyring: &Keyring,
        identity: &Identity,
        lanes: usize,
        lane: LaneSettings,
    ) -> Self {
        let mut settings = SqsSettings::new(queue.parse().unwrap());
        settings.identity_attribute = identity.attribute().map(str::to_owned);
        // A machine that is busy is no failure.
        settings.wait_for_queue = PATIENCE;
        let queue = SqsQueue::connect_with(&settings, aws).await.unwrap();
        let judge = Judge {
            identifier: keyring.identifier(identity.clone(), queue.identity()),
            masker: keyring.masker(MaskKind::Seal),
            sealer: keyring.body_sealer(),
        };
        let metrics = Arc::new(Metrics::default());
        let shutdown = Shutdown::default();
        let destination = Destination::new(
            database.clone(),
            queue.identity().clone(),
            keyring.hash_key().check_value(),
            lane.max_attempts,
            Contradictions::default(),
        );
        let loader = Loader {
            queue,
            destination: Arc::new(destination),
            judge: Arc::new(judge),
            lanes,
            lane,
            shutdown_timeout: Duration::from_secs(20),
            metrics: metrics.clone(),
        };
        Self { ended: tokio::spawn(loader.run(shutdown.clone())), shutdown, metrics }
    }

    /// Waits for its end and gives what it counted.
    pub(crate) async fn ended(self) -> Result<Totals, RunError> {
        self.ended.await.unwrap().map(|()| self.metrics.whole().totals)
    }
}
