//! Loaders in this process, between a queue and a database of their own.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use stand_ins::sqs::QueueOptions;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use turnstile::database::Database;
use turnstile::lane::LaneSettings;
use turnstile::load::Contradictions;
use turnstile::message::Identity;
use turnstile::metrics::Metrics;
use turnstile::queue::Queue;
use turnstile::queue::sqs::{SqsQueue, SqsSettings};
use turnstile::receive::ReceiveLimits;
use turnstile::run::{Loader, RunError};
use turnstile::shutdown::Shutdown;
use turnstile::verdict::Judge;

use super::PATIENCE;
use super::loading::{counts, destination_of};
use super::postgres::{TestDatabase, pool};
use super::scripted_http::aws_at;
use super::site::{QUEUE, Site};
use super::totals::Totals;
use super::verdicts::judge_of;

/// A site whose database is one of the tests' own, and what a loader in this process needs beside its queue.
pub(crate) struct Pipeline {
    site: Site,
    /// By way of this the loaders load.
    pub(crate) database: Database,
    pub(crate) client: Client,
    pub(crate) test: TestDatabase,
    pub(crate) identity: Identity,
}

/// Queue, journal and comparison are those of the site.
impl Deref for Pipeline {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

/// Settings with which a test ends soon.
pub(crate) fn quick() -> LaneSettings {
    LaneSettings {
        limits: ReceiveLimits {
            batch_size: 100,
            batch_bytes: 4 << 20,
            // A gathering ends as soon as the queue has no more: this is only for one that is busy.
            linger: Duration::from_secs(2),
            // The local server answers at once, and the loader pauses by itself.
            wait: Duration::ZERO,
            visibility_timeout: Duration::from_secs(30),
        },
        max_attempts: 3,
        retry_delay: Duration::ZERO,
        until_empty: true,
        delete_patience: Duration::from_secs(30),
        storm: None,
        dead_letter_quota: None,
        keeps_trace_context: false,
    }
}

impl Pipeline {
    pub(crate) async fn new() -> Self {
        Self::of(QueueOptions::new(QUEUE)).await
    }

    /// One that begins with a queue of this kind.
    pub(crate) async fn of(options: QueueOptions) -> Self {
        let test = TestDatabase::with_tables().await;
        let site = Site::of(options, test.url()).await;
        let database = pool(test.url(), 4, Duration::from_secs(20));
        let client = test.client().await;
        Self { site, database, client, test, identity: Identity::MessageId }
    }

    /// Starts a loader with this many lanes.
    pub(crate) async fn start(&self, lanes: usize, lane: LaneSettings) -> Running {
        self.start_as(&aws_at(&self.sqs.endpoint()), lanes, lane).await
    }

    /// Starts it with AWS settings of its own: they say where the queue is, and who asks.
    pub(crate) async fn start_as(&self, aws: &SdkConfig, lanes: usize, lane: LaneSettings) -> Running {
        Running::start(aws, self.queue(), &self.database, &self.identity, lanes, lane).await
    }

    /// Runs a loader of two lanes until the queue is drained.
    pub(crate) async fn drain(&self) -> Totals {
        self.start(2, quick()).await.ended().await.unwrap()
    }

    /// The rows of the four tables: processed, logins, dead letters, events.
    pub(crate) async fn counts(&self) -> [i64; 4] {
        counts(&self.client).await
    }
}

/// A loader at work, with the tests' keyring.
pub(crate) struct Running {
    ended: JoinHandle<Result<(), RunError>>,
    pub(crate) shutdown: Shutdown,
    pub(crate) metrics: Metrics,
}

impl Running {
    pub(crate) async fn start(
        aws: &SdkConfig,
        queue: &str,
        database: &Database,
        identity: &Identity,
        lanes: usize,
        lane: LaneSettings,
    ) -> Self {
        let metrics = Metrics::default();
        let database = &database.clone().counted_in(&metrics);
        let mut settings = SqsSettings::new(queue.parse().unwrap());
        settings.metrics = metrics.clone();
        settings.identity_attribute = identity.attribute().map(str::to_owned);
        // A machine that is busy is no failure.
        settings.wait_for_queue = PATIENCE;
        let queue = SqsQueue::connect_with(&settings, aws).await.unwrap();
        let arn = queue.identity().as_str();
        let judge = Judge { max_attempts: lane.max_attempts, ..judge_of(&identity.to_string(), arn) };
        let destination = destination_of(arn, database, lane.max_attempts, Contradictions::default());
        let shutdown = Shutdown::default();
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

    /// Ends it as an operator does, and gives what it counted.
    pub(crate) async fn stop(self) -> Totals {
        self.shutdown.stopping.cancel();
        self.ended().await.unwrap()
    }

    /// Waits for its end and gives what it counted.
    pub(crate) async fn ended(self) -> Result<Totals, RunError> {
        self.ended.await.unwrap().map(|()| Totals::of(&self.metrics))
    }
}
