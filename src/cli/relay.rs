//! `turnstile relay`.

use std::time::Duration;

use super::{Failure, Outcome, migrate};
use crate::config::{Given, rows};
use crate::database::{Database, DatabaseSettings, Patience, persist};
use crate::relay::{NotReady, Relay, RelaySettings, begin};
use crate::shutdown::{Shutdown, Signals};
use crate::sink::{AnySink, Sink, SinkSettings};

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

struct Settings {
    database: DatabaseSettings,
    patience: Patience,
    relay: RelaySettings,
    sink: SinkSettings,
    adopts: bool,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let settings = Settings::read(given)?;
        let database = Database::new(&settings.database)?;
        persist(settings.patience, || database.server_facts()).await?;
        migrate::refuse_older(&database).await?;
        let target = settings.sink.target.to_string();
        begin(&database, &settings.relay, &target, settings.adopts).await?;
        let sink = AnySink::open(&settings.sink).await?;
        carry(Relay { database, sink, settings: settings.relay }, &target).await
    }
}

async fn carry<S: Sink>(relay: Relay<S>, target: &str) -> Result<Outcome, Failure> {
    let mut signals = Signals::listen().map_err(Failure::of_system("listening for signals"))?;
    let shutdown = Shutdown::default();
    tracing::info!(to = target, sink = relay.settings.sink, source = relay.settings.source, "carrying events");
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
    let events = carried.map_err(|error| {
        let remedy = error.remedy().unwrap_or_default();
        Failure::new(error.to_string(), remedy)
    })?;
    tracing::info!(events, "ended");
    Ok(Outcome::Done)
}

impl Settings {
    fn read(given: &Given) -> Result<Self, Failure> {
        let mut mistakes = given.mistakes();
        let target = given.optional(&rows::TO, &mut mistakes).and_then(|target| {
            let remedy = "give sqs:QUEUE, sns:ARN, https://HOST/PATH or stdout:";
            target.or_else(|| mistakes.note(given.name_of(&rows::TO), "is not set", remedy))
        });
        let to = target.and_then(|target| given.sink_at(target, &mut mistakes));
        let database = given.database(CONNECTIONS, &mut mistakes);
        let wait = given.read(&rows::WAIT_FOR_DATABASE, &mut mistakes);
        let sink = given.read(&rows::SINK, &mut mistakes);
        let source = given.read(&rows::SOURCE, &mut mistakes);
        let chunk = given.read(&rows::CHUNK, &mut mistakes);
        let lease = given.read(&rows::LEASE, &mut mistakes);
        let poll = given.read(&rows::POLL, &mut mistakes);
        let most_attempts = given.read(&rows::EVENT_ATTEMPTS, &mut mistakes);
        let names = sink.zip(source);
        let sizes = chunk.zip(lease).zip(poll.zip(most_attempts));
        let (((to, database), wait), (names, sizes)) = mistakes.or(to.zip(database).zip(wait).zip(names.zip(sizes)))?;
        let ((sink, source), ((chunk, lease), (poll, most_attempts))) = (names, sizes);
        Ok(Self {
            database,
            patience: Patience::within(wait),
            relay: RelaySettings {
                sink,
                source,
                chunk,
                lanes: LANES,
                lease,
                poll,
                most_attempts,
                failure_pause: FAILURE_PAUSE,
                until_empty: given.is_on(&rows::RELAY_UNTIL_EMPTY),
            },
            sink: to,
            adopts: given.is_on(&rows::ADOPT),
        })
    }
}

impl From<NotReady> for Failure {
    fn from(error: NotReady) -> Self {
        let remedy = error.remedy();
        Self::new(error.to_string(), remedy)
    }
}
