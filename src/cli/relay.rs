//! `turnstile relay`.

use std::time::Duration;

use super::faces::{self, Faces};
use super::{Failure, Outcome, migrate};
use crate::config::{Given, Mistakes, rows};
use crate::database::{Database, DatabaseSettings, Patience, persist};
use crate::metrics::{Metrics, Peer, Work};
use crate::queue::sqs::SqsQueue;
use crate::relay::{LONGEST_PAUSE, NotReady, Relay, RelayError, RelaySettings, begin};
use crate::run::{REPORT_EVERY, REPORT_EVERY_UNTIL_EMPTY};
use crate::serve::{Patience as LanePatience, Progress, Service};
use crate::shutdown::{Shutdown, Signals};
use crate::sink::{AnySink, Sink, SinkSettings, Target};
use crate::telemetry::Report;

/// How many chunks a process carries side by side.
const LANES: usize = 4;
/// How many connections a relay needs: one for each lane, for the gaps, for what was refused, and to look at the whole.
const CONNECTIONS: usize = LANES + 3;
/// How many calls to the database a transaction of a relay makes one after the other, with few gaps.
const CALLS_OF_A_TRANSACTION: u32 = 12;
/// How long a call to a sink takes at most.
const CALL_OF_SINK: Duration = Duration::from_secs(30);

/// How long the end may take once it was asked for.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// How long an event waits that the sink has refused.
const FAILURE_PAUSE: Duration = Duration::from_secs(10);

/// What `turnstile relay` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Carries each event at least once, with the same id and the same bytes every time; a FIFO queue drops repeats of the last five \
minutes. Any number of relays may share a sink. Events that the sink refuses for what they are keep no other waiting: they are \
tried again, and then set aside. With --ordered they keep the later events of the same user waiting, and one relay carries at \
a time, while the others stand by.")]
pub struct Args {}

/// What a relay is told.
pub(super) struct Carrying {
    database: DatabaseSettings,
    wait: Patience,
    relay: RelaySettings,
    sink: SinkSettings,
    adopts: bool,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let mut mistakes = given.mistakes();
        let target = given.optional(&rows::TO, &mut mistakes).and_then(|target| {
            target.or_else(|| mistakes.note(given.name_of(&rows::TO), "is not set", rows::TARGET_REMEDY))
        });
        let carrying = target.and_then(|target| Carrying::read(given, target, &mut mistakes));
        let metrics_address = given.optional(&rows::METRICS_ADDRESS, &mut mistakes);
        let (mut carrying, metrics_address) = mistakes.or(carrying.zip(metrics_address))?;
        carrying.adopts = given.is_on(&rows::ADOPT);
        carrying.relay.until_empty = given.is_on(&rows::RELAY_UNTIL_EMPTY);
        let (metrics, shutdown) = (Metrics::of(Work::relaying(carrying.name())), Shutdown::default());
        let progress = Progress { stopping: shutdown.stopping.clone(), ..Progress::default() };
        let service = Service::new(metrics.clone(), faces::build("", ""), faces::health(carrying.patience()), false);
        let _faces: Faces<SqsQueue> = Faces::of(service, metrics_address, &progress).await?;
        carry(carrying.open(&metrics).await?, shutdown, &progress).await
    }
}

impl Carrying {
    /// The settings that were given; mistakes are noted.
    pub(super) fn read(given: &Given, target: Target, mistakes: &mut Mistakes) -> Option<Self> {
        let to = given.sink_at(target, mistakes);
        let database = given.database(CONNECTIONS, mistakes);
        let wait = given.read(&rows::WAIT_FOR_DATABASE, mistakes);
        let sink = given.read(&rows::SINK, mistakes);
        let source = given.read(&rows::SOURCE, mistakes);
        let chunk = given.read(&rows::CHUNK, mistakes);
        let lease = given.read(&rows::LEASE, mistakes);
        let poll = given.read(&rows::POLL, mistakes);
        let most_attempts = given.read(&rows::EVENT_ATTEMPTS, mistakes);
        Some(Self {
            database: database?,
            wait: Patience::within(wait?),
            relay: RelaySettings {
                sink: sink?,
                source: source?,
                chunk: chunk?,
                lanes: LANES,
                lease: lease?,
                poll: poll?,
                most_attempts: most_attempts?,
                failure_pause: FAILURE_PAUSE,
                ordered: given.is_on(&rows::ORDERED),
                until_empty: false,
            },
            sink: to?,
            adopts: false,
        })
    }

    /// What `turnstile run` is told of a relay: none where it is to be none.
    pub(super) fn beside_a_loader(given: &Given, mistakes: &mut Mistakes) -> Option<Option<Self>> {
        let Some(target) = given.optional(&rows::RELAY_TO, mistakes)? else { return Some(None) };
        let mut carrying = Self::read(given, target, mistakes)?;
        carrying.relay.until_empty = given.is_on(&rows::UNTIL_EMPTY);
        Some(Some(carrying))
    }

    /// The name of the sink.
    pub(super) fn name(&self) -> &str {
        &self.relay.sink
    }

    /// How long its lanes may take; it receives nothing.
    pub(super) fn patience(&self) -> LanePatience {
        LanePatience {
            receiving: Duration::ZERO,
            loading: self.database.call_timeout * CALLS_OF_A_TRANSACTION,
            // A call may take half a lease.
            carrying: CALL_OF_SINK.max(self.relay.lease),
            pausing: LONGEST_PAUSE,
        }
    }

    /// Makes sure of the database, then of the sink.
    pub(super) async fn open(self, metrics: &Metrics) -> Result<Relay<AnySink>, Failure> {
        let Self { database, wait, relay: settings, sink, adopts } = self;
        let database = Database::new(&database)?.counted_in(metrics);
        migrate::refuse_older(&database, wait).await?;
        let target = sink.target.to_string();
        // A server that goes down between two looks is waited for, as at the first.
        let begin = || async {
            match begin(&database, &settings, &target, adopts).await {
                Err(NotReady::Database(error)) => Err(error),
                begun => Ok(begun),
            }
        };
        persist(wait, begin).await??;
        let sink = AnySink::open(&sink).await?;
        tracing::info!(to = target, sink = settings.sink, source = settings.source, "carrying events");
        Ok(Relay { database, sink, settings })
    }
}

async fn carry<S: Sink>(relay: Relay<S>, shutdown: Shutdown, progress: &Progress) -> Result<Outcome, Failure> {
    let mut signals = Signals::listen().map_err(Failure::of_system("listening for signals"))?;
    let metrics = relay.database.metrics().clone();
    let begun = metrics.snapshot();
    let every = if relay.settings.until_empty { REPORT_EVERY_UNTIL_EMPTY } else { REPORT_EVERY };
    metrics.count(|figures| figures.answered(Peer::Database));
    progress.ready.cancel();
    let asked_to_end = async {
        let signal = signals.next().await;
        tracing::info!(%signal, "ending: what is taken up is carried to its end");
        metrics.count(|figures| figures.draining.set((), 1));
        tokio::select! {
            signal = signals.next() => Some(signal),
            () = shutdown.overrun(ENDS_WITHIN) => None,
        }
    };
    let carried = tokio::select! {
        carried = relay.run(shutdown.clone()) => carried,
        second = asked_to_end => {
            let why = second.map_or("because the end took too long".to_owned(), |signal| format!("by a second signal ({signal})"));
            tracing::error!("cut off {why}; what was taken up is carried by others, or again");
            return Ok(second.map_or(Outcome::Failed, Outcome::EndedBy));
        }
        never = Report::keep_logging(&metrics, every) => match never {},
    };
    Report::between(&begun, &metrics.snapshot()).log("ended");
    carried?;
    Ok(Outcome::Done)
}

impl From<NotReady> for Failure {
    fn from(error: NotReady) -> Self {
        let remedy = error.remedy();
        Self::new(error.to_string(), remedy)
    }
}

impl From<RelayError> for Failure {
    fn from(error: RelayError) -> Self {
        let remedy = error.remedy().unwrap_or_default();
        Self::new(error.to_string(), remedy)
    }
}
