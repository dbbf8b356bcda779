//! `turnstile run`.

use std::sync::Arc;
use std::time::Duration;

use super::faces::{self, Faces};
use super::relay::Carrying;
use super::{Failure, Outcome};
use crate::check::{Finding, PARTITIONS_BY_TIME, PARTITIONS_OF_OUTBOX, refusals};
use crate::config::rows::{Format, QueueDepth};
use crate::config::{Given, RunSettings};
use crate::database::{Database, persist};
use crate::keyring::Keyring;
use crate::load::Destination;
use crate::metrics::{Metrics, Peer, Work};
use crate::queue::Queue;
use crate::queue::sqs::SqsQueue;
use crate::relay::{Loading, Relay};
use crate::run::{Loader, REPORT_EVERY, extend_tables};
use crate::serve::{Patience, Progress, Service};
use crate::shutdown::{Shutdown, Signals};
use crate::sink::AnySink;
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
        let carrying = Carrying::beside_a_loader(given, &mut mistakes);
        let ((settings, keyring), carrying) = mistakes.or(settings.zip(keyring).zip(carrying))?;
        super::warn_of_weak_mask(settings.mask);
        if let Some(exposure) = settings.keyring.path().and_then(|path| Keyring::exposure(path).ok().flatten()) {
            tracing::warn!(remedy = exposure.remedy(), "{exposure}");
        }
        let mut signals = Signals::listen().map_err(Failure::of_system("listening for signals"))?;
        let shutdown_timeout = settings.shutdown_timeout;
        let shutdown = Shutdown::default();
        let running = load_with(settings, keyring, carrying, shutdown.clone());
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

async fn load_with(
    mut settings: RunSettings,
    keyring: Keyring,
    carrying: Option<Carrying>,
    shutdown: Shutdown,
) -> Result<Outcome, Failure> {
    let work = match &carrying {
        Some(carrying) => Work::loading().and_relaying(carrying.name()),
        None => Work::loading(),
    };
    let metrics = Metrics::of(work);
    let begun = metrics.snapshot();
    settings.queue.metrics = metrics.clone();
    settings.queue.asks_producers = traces::are_on() || settings.lane.keeps_trace_context;
    let progress = Progress { stopping: shutdown.stopping.clone(), ..Progress::default() };
    let faces = faces(&settings, carrying.as_ref(), &metrics, &progress).await?;
    let prepared = async {
        let (database, queue) = prepare(&settings, &keyring, &metrics).await?;
        let relay = match carrying {
            Some(carrying) => Some(carrying.open(&metrics).await?),
            None => None,
        };
        Ok::<_, Failure>((database, queue, relay))
    };
    let (database, queue, relay) = tokio::select! {
        prepared = prepared => prepared?,
        () = shutdown.stopping.cancelled() => return Ok(Outcome::Done),
    };
    let judge = Judge {
        form: settings.body.form(&keyring),
        identifier: keyring.identifier(settings.identity.clone(), queue.identity()),
        masker: keyring.masker(settings.mask),
        sealer: keyring.body_sealer(),
        max_attempts: settings.lane.max_attempts,
    };
    // From now on the queue can be asked what it holds.
    faces.service.know(queue.clone());
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
    let loading = Loading::default();
    let mut destination = Destination::new(
        database,
        queue.identity().clone(),
        keyring.hash_key().check_value(),
        settings.lane.max_attempts,
        settings.contradictions,
    );
    destination.landing = loading.landed.clone();
    let loader = Loader {
        queue,
        destination: Arc::new(destination),
        judge: Arc::new(judge),
        lanes: settings.lanes,
        lane: settings.lane,
        shutdown_timeout: settings.shutdown_timeout,
        metrics: metrics.clone(),
    };
    let loads = async {
        let loaded = loader.run(shutdown.clone()).await;
        loading.ended.cancel();
        if loaded.is_err() {
            shutdown.stopping.cancel();
        }
        loaded
    };
    let carries = carry_beside(relay, &loading, &shutdown, settings.shutdown_timeout);
    // Until the loader ends, it reports by itself.
    let reporting = async {
        loading.ended.cancelled().await;
        match Report::keep_logging(&metrics, REPORT_EVERY).await {}
    };
    let (loaded, carried) = tokio::select! {
        ended = futures_util::future::join(loads, carries) => ended,
        () = reporting => unreachable!("it has no end"),
    };
    Report::between(&begun, &metrics.snapshot()).log("ended");
    carried?;
    Ok(if loaded.is_ok() { Outcome::Done } else { Outcome::Failed }) // Why it failed is in the log.
}

/// Carries the events on, where that is wanted, until the loader ends and all is carried, or either is told to end.
async fn carry_beside(
    relay: Option<Relay<AnySink>>,
    loading: &Loading,
    shutdown: &Shutdown,
    within: Duration,
) -> Result<(), Failure> {
    let Some(relay) = relay else { return Ok(()) };
    let overrun = async {
        shutdown.stopping.cancelled().await;
        shutdown.overrun(within).await;
    };
    tokio::select! {
        carried = relay.run_beside(loading.clone(), shutdown.clone()) => Ok(carried.map(drop)?),
        () = overrun => Err(Failure::new(
            "the relay did not end in time; what it had taken up is carried by others, or again",
            "raise --shutdown-timeout if that happens again",
        )),
    }
}

/// How many calls to the database an attempt at a transaction makes one after the other, at most.
const CALLS_OF_AN_ATTEMPT: u32 = 12;

/// What shows how the loader is.
async fn faces(
    settings: &RunSettings,
    carrying: Option<&Carrying>,
    metrics: &Metrics,
    progress: &Progress,
) -> Result<Faces<SqsQueue>, Failure> {
    let limits = &settings.lane.limits;
    let patience = Patience {
        receiving: limits.wait + limits.linger + settings.queue.call_deadline,
        // And with the next batch loaded, it waits for the deletes of the last.
        loading: settings.database.call_timeout * CALLS_OF_AN_ATTEMPT + settings.lane.delete_patience,
        carrying: Duration::ZERO,
        pausing: Duration::from_secs(10),
    };
    let patience = carrying.map_or(patience, |carrying| patience.or_longer(carrying.patience()));
    let asks_depth = settings.queue_depth == QueueDepth::OnScrape;
    let build = faces::build(&settings.mask.to_string(), &settings.identity.to_string());
    let service = Service::new(metrics.clone(), build, faces::health(patience), asks_depth);
    Faces::of(service, settings.metrics_address, progress).await
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
    if refusals.iter().any(|refusal| [PARTITIONS_OF_OUTBOX, PARTITIONS_BY_TIME].contains(&refusal.what)) {
        extend_tables(database).await;
        refusals = look().await?;
    }
    let complaint = |Finding { what, judgement }: Finding| (format!("{what}: {}", judgement.found), judgement.remedy);
    match refusals.is_empty() {
        true => Ok(()),
        false => Err(Failure::of(refusals.into_iter().map(complaint))),
    }
}
