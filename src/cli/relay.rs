//! `turnstile relay`.

use std::time::Duration;

use super::{Failure, Outcome, migrate};
use crate::config::{Given, Mistakes, rows};
use crate::database::{Database, DatabaseSettings, Patience, persist};
use crate::relay::{NotReady, Relay, RelayError, RelaySettings, begin};
use crate::shutdown::{Shutdown, Signals};
use crate::sink::{AnySink, Sink, SinkSettings, Target};

/// How many chunks a process carries side by side.
const LANES: usize = 4;
/// How many connections a relay needs: one for each lane, for the gaps and for what was refused.
const CONNECTIONS: usize = LANES + 2;

/// How long the end may take once it was asked for.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// How long an event waits that the sink has refused.
const FAILURE_PAUSE: Duration = Duration::from_secs(10);

/// What `turnstile relay` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Carries each event at least once, with the same id and the same bytes every time; a FIFO queue drops repeats of the last five \
minutes. Any number of relays may share a sink. Events that the sink refuses for what they are keep no other waiting: they are \
tried again, and then set aside.")]
pub struct Args {}

/// What a relay is told.
pub(super) struct Carrying {
    database: DatabaseSettings,
    patience: Patience,
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
        let mut carrying = mistakes.or(carrying)?;
        carrying.adopts = given.is_on(&rows::ADOPT);
        carrying.relay.until_empty = given.is_on(&rows::RELAY_UNTIL_EMPTY);
        carry(carrying.open().await?).await
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
            patience: Patience::within(wait?),
            relay: RelaySettings {
                sink: sink?,
                source: source?,
                chunk: chunk?,
                lanes: LANES,
                lease: lease?,
                poll: poll?,
                most_attempts: most_attempts?,
                failure_pause: FAILURE_PAUSE,
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

    /// Makes sure of the database, then of the sink.
    pub(super) async fn open(self) -> Result<Relay<AnySink>, Failure> {
        let Self { database, patience, relay: settings, sink, adopts } = self;
        let database = Database::new(&database)?;
        persist(patience, || database.server_facts()).await?;
        migrate::refuse_older(&database).await?;
        let target = sink.target.to_string();
        begin(&database, &settings, &target, adopts).await?;
        let sink = AnySink::open(&sink).await?;
        tracing::info!(to = target, sink = settings.sink, source = settings.source, "carrying events");
        Ok(Relay { database, sink, settings })
    }
}

async fn carry<S: Sink>(relay: Relay<S>) -> Result<Outcome, Failure> {
    let mut signals = Signals::listen().map_err(Failure::of_system("listening for signals"))?;
    let shutdown = Shutdown::default();
    let asked_to_end = async {
        let signal = signals.next().await;
        tracing::info!(%signal, "ending: what is taken up is carried to its end");
        let overrun = async {
            shutdown.begin(ENDS_WITHIN).await;
            // What it gives up on it still gives back: the last fifth is for that.
            tokio::time::sleep(ENDS_WITHIN / 5).await;
        };
        tokio::select! {
            signal = signals.next() => Some(signal),
            () = overrun => None,
        }
    };
    let carried = tokio::select! {
        carried = relay.run(shutdown.clone()) => carried,
        second = asked_to_end => {
            let why = second.map_or("because the end took too long".to_owned(), |signal| format!("by a second signal ({signal})"));
            tracing::error!("cut off {why}; what was taken up is carried by others, or again");
            return Ok(second.map_or(Outcome::Failed, Outcome::EndedBy));
        }
    };
    let events = carried?;
    tracing::info!(events, "ended");
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
