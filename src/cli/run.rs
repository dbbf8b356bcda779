//! `turnstile run`.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{Failure, Outcome};
use crate::check::{Finding, PARTITIONS_OF_OUTBOX, refusals};
use crate::config::rows::{Format, QueueDepth};
use crate::config::{Given, RunSettings};
use crate::database::{Database, persist};
use crate::keyring::Keyring;
use crate::load::Destination;
use crate::metrics::{Build, Metrics, Peer};
use crate::queue::Queue;
use crate::queue::sqs::SqsQueue;
use crate::run::{Loader, extend_outbox};
use crate::serve::{Health, Patience, Progress, Service, Supervisor, serve};
use crate::shutdown::{Shutdown, Signals};
use crate::telemetry::{Report, traces};
use crate::verdict::Judge;

/// What `turnstile run` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "The first SIGINT or SIGTERM shuts it down: what is in hand is loaded or given back. The second cuts it off."
)]
pub struct Args {}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let mut mistakes = given.mistakes();
        let settings = RunSettings::read(given, &mut mistakes);
        let keyring = given.keyring(&mut mistakes);
        let (settings, keyring) = mistakes.or(settings.zip(keyring))?;
        super::warn_of_weak_mask(settings.mask);
        if let Some(exposure) = settings.keyring.path().and_then(|path| Keyring::exposure(path).ok().flatten()) {
            tracing::warn!(remedy = exposure.remedy(), "{exposure}");
        }
        let mut signals = Signals::listen().map_err(Failure::of_system("listening for signals"))?;
        let shutdown_timeout = settings.shutdown_timeout;
        let shutdown = Shutdown::default();
        let running = load_with(settings, keyring, shutdown.clone());
        let asked_to_end = async {
            let signal = signals.next().await;
            tracing::info!(%signal, "ending: no new messages are received");
            let giving_up = shutdown.begin(shutdown_timeout);
            let second = signals.next();
            tokio::select! {
                signal = second => signal,
                () = async { giving_up.await; std::future::pending().await } => signal,
            }
        };
        let ended = tokio::select! {
            ended = running => ended,
            signal = asked_to_end => {
                tracing::error!("cut off by a second signal ({signal}); what was in hand comes again");
                Ok(Outcome::EndedBy(signal))
            }
        };
        Ok(ended.unwrap_or_else(|failure| {
            failure.log();
            Outcome::Failed
        }))
    }
}

async fn load_with(mut settings: RunSettings, keyring: Keyring, shutdown: Shutdown) -> Result<Outcome, Failure> {
    let metrics = Metrics::default();
    let begun = metrics.snapshot();
    settings.queue.metrics = metrics.clone();
    settings.queue.asks_producers = traces::are_on();
    let progress = Progress { stopping: shutdown.stopping.clone(), ..Progress::default() };
    let faces = Faces::of(&settings, &metrics, &progress).await?;
    let (database, queue) = tokio::select! {
        prepared = prepare(&settings, &keyring, &metrics) => prepared?,
        () = shutdown.stopping.cancelled() => return Ok(Outcome::Done),
    };
    let judge = Judge {
        form: settings.body.form(&keyring),
        identifier: keyring.identifier(settings.identity.clone(), queue.identity()),
        masker: keyring.masker(settings.mask),
        sealer: keyring.body_sealer(),
    };
    faces.know(&queue);
    progress.ready.cancel();
    metrics.count(|figures| {
        let retention = queue.facts().retention;
        retention.into_iter().for_each(|kept| figures.retention.set((), kept.as_secs_f64()));
        // Both have just been asked.
        [Peer::Database, Peer::Queue].into_iter().for_each(|peer| figures.answered(peer));
    });
    tracing::info!(
        queue = queue.facts().url,
        endpoint = queue.endpoint(),
        database = %settings.database.address,
        lanes = settings.lanes,
        identity = %settings.identity,
        mask = %settings.mask,
        key = %keyring.active().as_str(),
        "loading"
    );
    let destination = Destination::new(
        database,
        queue.identity().clone(),
        keyring.hash_key().check_value(),
        settings.lane.max_attempts,
        settings.contradictions,
    );
    let loader = Loader {
        queue,
        destination: Arc::new(destination),
        judge: Arc::new(judge),
        lanes: settings.lanes,
        lane: settings.lane,
        shutdown_timeout: settings.shutdown_timeout,
        metrics: metrics.clone(),
    };
    let outcome = match loader.run(shutdown).await {
        Ok(()) => Outcome::Done,
        Err(_already_logged) => Outcome::Failed,
    };
    Report::between(&begun, &metrics.snapshot()).log("ended");
    Ok(outcome)
}

/// What shows how the loader is while it runs; dropped, it is shown no more.
struct Faces {
    service: Arc<Service<SqsQueue>>,
    _serving: JoinSet<()>,
}

/// How many calls to the database an attempt at a transaction makes one after the other, at most.
const CALLS_OF_AN_ATTEMPT: u32 = 12;

impl Faces {
    /// Serves the figures and the probes, and tells the supervisor, where that is wanted.
    async fn of(settings: &RunSettings, metrics: &Metrics, progress: &Progress) -> Result<Self, Failure> {
        let limits = &settings.lane.limits;
        let patience = Patience {
            receiving: limits.wait + limits.linger + settings.queue.call_deadline,
            // And with the next batch loaded, it waits for the deletes of the last.
            loading: settings.database.call_timeout * CALLS_OF_AN_ATTEMPT + settings.lane.delete_patience,
            pausing: Duration::from_secs(10),
        };
        let build = Build {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: env!("TURNSTILE_COMMIT").to_owned(),
            mask: settings.mask.to_string(),
            identity: settings.identity.to_string(),
        };
        let health = Health { patience, away_within: Duration::from_secs(30) };
        let mut serving = JoinSet::new();
        match Supervisor::of_environment() {
            Ok(None) => {}
            Ok(Some(supervisor)) => {
                serving.spawn(supervisor.tell(metrics.clone(), health.clone(), progress.clone()));
            }
            Err(error) => tracing::warn!(
                %error,
                remedy = "let NOTIFY_SOCKET name the socket of the supervisor, or nothing",
                "the supervisor cannot be told how the loader is"
            ),
        }
        let asks_depth = settings.queue_depth == QueueDepth::OnScrape;
        let service = Arc::new(Service::new(metrics.clone(), build, health, asks_depth));
        if let Some(address) = settings.metrics_address {
            let listener = TcpListener::bind(address).await.map_err(|error| {
                let what = format!("--metrics-address (TURNSTILE_METRICS_ADDRESS): {address} cannot be bound: {error}");
                Failure::new(what, "name an address of this machine and a port that is free")
            })?;
            let address = listener.local_addr().unwrap_or(address);
            tracing::info!(%address, "serving /metrics, /livez and /readyz");
            let service = service.clone();
            serving.spawn(async move { match serve(listener, service).await {} });
        }
        Ok(Self { service, _serving: serving })
    }

    /// From now on the queue can be asked what it holds.
    fn know(&self, queue: &SqsQueue) {
        self.service.know(queue.clone());
    }
}

/// Makes sure of the database, then of the queue.
async fn prepare(
    settings: &RunSettings,
    keyring: &Keyring,
    metrics: &Metrics,
) -> Result<(Database, SqsQueue), Failure> {
    let database = Database::new(&settings.database)?.counted_in(metrics);
    if settings.migrate {
        persist(settings.patience(), || database.server_facts()).await?;
        super::migrate::migrate(&database, Some((keyring, settings.mask))).await?.tell(Format::Text)?;
    }
    refuse_unfit(&database, settings, keyring).await?;
    let queue = SqsQueue::connect(&settings.queue).await?;
    let max_receive_count = queue.facts().max_receive_count;
    if max_receive_count.is_some_and(|count| count <= settings.lane.max_attempts) {
        tracing::warn!(
            max_receive_count,
            max_attempts = settings.lane.max_attempts,
            "the queue's redrive takes messages before --max-attempts: they end in its dead-letter queue, unloaded"
        );
    }
    Ok((database, queue))
}

/// Refuses a database in which the promise would not hold: whatever `turnstile check` calls an error of it, unless a loader
/// can mend it.
async fn refuse_unfit(database: &Database, settings: &RunSettings, keyring: &Keyring) -> Result<(), Failure> {
    let look = || persist(settings.patience(), || refusals(database, settings, keyring));
    let mut refusals = look().await?;
    if refusals.iter().any(|refusal| refusal.what == PARTITIONS_OF_OUTBOX) {
        extend_outbox(database).await;
        refusals = look().await?;
    }
    let complaint = |Finding { what, judgement }: Finding| (format!("{what}: {}", judgement.found), judgement.remedy);
    match refusals.is_empty() {
        true => Ok(()),
        false => Err(Failure::of(refusals.into_iter().map(complaint))),
    }
}
