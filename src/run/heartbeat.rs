//! What a loader tells the database of itself while it lives, and what it hears there: whether an operator wants it to receive.
//!
//! Nothing depends on what it tells: where that fails, it loads all the same.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::database::{DatabaseError, Patience, Transaction, persist};
use crate::load::Destination;
use crate::metrics::{Doing, Label as _, Metrics, Operation, Outcome, Peer, Snapshot, unix_seconds};
use crate::table::loaders::{Beat, Ended, State};
use crate::table::{loader_pauses, loaders};
use crate::telemetry::Report;

/// How often a loader renews its row, and hears whether it is to receive where no batch tells it.
const EVERY: Duration = Duration::from_secs(30);
/// How often a loader asks that is paused.
const ASK_WHILE_PAUSED: Duration = Duration::from_secs(3);
/// When it is tried again to write what the database refuses: each attempt is an error in its log.
const AFTER_A_REFUSAL: Duration = Duration::from_secs(10 * 60);
/// How long the last word may take.
const LAST_WORD_WITHIN: Duration = Duration::from_secs(1);

/// What keeps the row of a loader alive.
pub(super) struct Heartbeat {
    destination: Arc<Destination>,
    metrics: Metrics,
    host: String,
    /// The figures of the last beat.
    before: Snapshot,
    next: Instant,
    /// The pause that was told.
    told: Option<OffsetDateTime>,
    /// When the database last refused the row, which was said.
    refused: Option<Instant>,
    /// Whether it refuses to say whether this loader is paused, which was said.
    is_unheard: bool,
}

impl Heartbeat {
    /// Hears whether the loader is to receive, before it does, and writes its row. Waits for the database until it gives up.
    pub(super) async fn begin(destination: &Arc<Destination>, metrics: &Metrics, give_up: &CancellationToken) -> Self {
        let host = nix::unistd::gethostname().ok().and_then(|host| host.into_string().ok());
        let mut heartbeat = Self {
            destination: destination.clone(),
            metrics: metrics.clone(),
            host: host.unwrap_or_else(|| "unknown".to_owned()),
            before: metrics.snapshot(),
            next: Instant::now(),
            told: None,
            refused: None,
            is_unheard: false,
        };
        metrics.count(|figures| figures.paused.set((), 0));
        let heard = tokio::select! {
            heard = persist(Patience::ENDLESS, || ask(destination)) => heard,
            () = give_up.cancelled() => return heartbeat,
        };
        heartbeat.hear(heard);
        heartbeat.tell();
        heartbeat.beat().await;
        heartbeat
    }

    /// Goes on until it is dropped.
    pub(super) async fn keep(&mut self) -> Infallible {
        let destination = self.destination.clone();
        loop {
            let (is_paused, told) = (self.told.is_some(), self.told);
            tokio::select! {
                () = destination.pause.is_other_than(told) => {
                    self.tell();
                    self.beat().await;
                }
                () = tokio::time::sleep_until(self.next) => self.beat().await,
                () = tokio::time::sleep(ASK_WHILE_PAUSED), if is_paused => self.hear(ask(&destination).await),
            }
        }
    }

    /// Says that the loader has ended, if the database listens.
    pub(super) async fn end(mut self) {
        if self.refused.is_some() || self.metrics.snapshot().away(Peer::Database).is_some() {
            return;
        }
        let beat = self.words(Some(State::Stopped));
        match timeout(LAST_WORD_WITHIN, write(&self.destination, &beat)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the database was not told that this loader has ended"),
            Err(_) => tracing::debug!("the database was not told in time that this loader has ended"),
        }
    }

    async fn beat(&mut self) {
        self.next = Instant::now() + EVERY;
        if self.refused.is_some_and(|refused| refused.elapsed() < AFTER_A_REFUSAL) {
            let heard = ask(&self.destination).await;
            return self.hear(heard);
        }
        let beat = self.words(None);
        match write(&self.destination, &beat).await {
            Ok(paused_since) => {
                self.refused = None;
                self.hear(Ok(paused_since));
            }
            // That the database is away, the lanes tell.
            Err(error) if error.class().passes() => tracing::debug!(%error, "this loader could not note that it lives"),
            Err(error) => {
                if self.refused.replace(Instant::now()).is_none() {
                    tracing::warn!(
                        %error,
                        remedy = "let the owner of the tables run deploy/grants.sql again",
                        "the database does not let this loader note that it lives: `turnstile loaders` will not show it, and \
                         it loads all the same"
                    );
                }
            }
        }
    }

    fn hear(&mut self, heard: Result<Option<OffsetDateTime>, DatabaseError>) {
        match heard {
            Ok(since) => {
                self.is_unheard = false;
                self.destination.pause.heard(since);
            }
            Err(error) if error.class().passes() => tracing::debug!(%error, "nobody says whether receiving is paused"),
            Err(error) => {
                if !std::mem::replace(&mut self.is_unheard, true) {
                    tracing::warn!(%error, remedy = error.remedy(), "the database does not say whether receiving is paused");
                }
            }
        }
    }

    /// Says whether receiving is paused, where that is news.
    fn tell(&mut self) {
        let since = self.destination.pause.since();
        let before = std::mem::replace(&mut self.told, since);
        self.metrics.count(|figures| {
            figures.paused.set((), u8::from(since.is_some()));
            match since {
                Some(since) => figures.paused_since.set((), unix_seconds(since)),
                None => figures.paused_since.clear(()),
            }
        });
        match (before, since) {
            (None, Some(since)) => tracing::warn!(
                %since,
                loader = %self.destination.loader,
                remedy = "`turnstile loaders` says who wants it so, and why; `turnstile loaders resume` ends it",
                "receiving is paused: what is in hand is loaded, and nothing more is received"
            ),
            (Some(_), None) => {
                tracing::info!(loader = %self.destination.loader, "receiving is resumed, and the loader goes on")
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    /// What is to be written now.
    fn words(&mut self, state: Option<State>) -> Beat {
        let (now, lanes) = (self.metrics.snapshot(), self.metrics.lanes());
        let before = std::mem::replace(&mut self.before, now.clone());
        let report = Report::between(&before, &now);
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let ended = |outcome| count(now.messages.get((outcome,)));
        let lanes: Vec<(Doing, f64)> =
            lanes.iter().map(|(doing, since)| (*doing, since.elapsed().as_secs_f64())).collect();
        Beat {
            id: self.destination.loader.clone(),
            host: self.host.clone(),
            pid: std::process::id().cast_signed(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            queue: self.destination.queue.as_str().to_owned(),
            state: state.unwrap_or_else(|| state_of(&now)),
            lanes: lanes_in_json(&lanes),
            received: count(now.received.total()),
            ended: Ended {
                loaded: ended(Outcome::Loaded),
                dead_lettered: ended(Outcome::DeadLettered),
                absorbed: ended(Outcome::Absorbed),
                contradicting: ended(Outcome::Contradicting),
                returned: ended(Outcome::Returned),
                released: ended(Outcome::Released),
                damaged: ended(Outcome::Damaged),
            },
            in_hand: now.in_hand.get(()).unwrap_or_default() as i64,
            received_per_second: report.received_per_second(),
            loaded_per_second: report.per_second(),
            lag_p50: report.lag(0.5),
            lag_p99: report.lag(0.99),
            sqs_calls: by_operation(|operation| now.calls_of(operation)),
            sqs_billed: by_operation(|operation| now.billed.get((operation,))),
            sqs_empty_receives: count(now.empty_receives.total()),
        }
    }
}

/// Since when the loader is to receive nothing.
async fn ask(destination: &Destination) -> Result<Option<OffsetDateTime>, DatabaseError> {
    let (queue, loader) = (destination.queue.as_str(), destination.loader.as_str());
    destination.database.snapshot(async |seen| loader_pauses::since(seen, queue, loader).await).await
}

/// Writes the row, and says since when the loader is to receive nothing. A crash of the server may take the row back.
async fn write(destination: &Destination, beat: &Beat) -> Result<Option<OffsetDateTime>, DatabaseError> {
    let write = async |transaction: &Transaction| {
        loaders::write(transaction, beat).await?;
        loaders::forget_the_gone(transaction).await?;
        loader_pauses::since(transaction, &beat.queue, beat.id.as_str()).await
    };
    destination.database.unflushed_transaction(write).await
}

/// The first of these that is so.
fn state_of(figures: &Snapshot) -> State {
    if figures.draining.get(()) == Some(1.0) {
        State::Ending
    } else if figures.away(Peer::Queue).is_some() {
        State::QueueAway
    } else if figures.dead_letters_full().is_some() {
        State::Full
    } else if figures.storm().is_some() {
        State::Storm
    } else if figures.pause().is_some() {
        State::Paused
    } else {
        State::Running
    }
}

fn lanes_in_json(lanes: &[(Doing, f64)]) -> String {
    let lane = |(doing, seconds): &(Doing, f64)| json!({"doing": doing.in_words(), "seconds": seconds.round()});
    Value::Array(lanes.iter().map(lane).collect()).to_string()
}

fn by_operation(count: impl Fn(Operation) -> u64) -> String {
    let counts: Map<String, Value> =
        Operation::ALL.iter().map(|operation| (operation.word().to_owned(), json!(count(*operation)))).collect();
    Value::Object(counts).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::LaneState;
    use crate::outage::Lasted;

    #[test]
    fn the_worst_that_is_true_of_a_loader_is_the_state_in_its_row() {
        let state = |count: &dyn Fn(&mut Snapshot)| {
            let metrics = Metrics::default();
            metrics.count(|figures| count(figures));
            state_of(&metrics.snapshot())
        };
        let paused = |figures: &mut Snapshot| figures.paused_since.set((), 7);
        let storm = |figures: &mut Snapshot| figures.storm_since.set((), 7);
        let lasting = Lasted { away: Duration::from_secs(1), attempts: 1 };
        assert_eq!(state(&|_| ()), State::Running);
        assert_eq!(state(&paused), State::Paused);
        assert_eq!(state(&|figures| [paused(figures), storm(figures)].iter().for_each(drop)), State::Storm);
        assert_eq!(state(&|figures| figures.unanswered(Peer::Queue, lasting)), State::QueueAway);
        assert_eq!(state(&|figures| figures.draining.set((), 1)), State::Ending);
    }

    #[test]
    fn lanes_and_calls_are_written_in_words() {
        assert_eq!(
            lanes_in_json(&[(LaneState::WaitingForDatabase.into(), 2.4), (LaneState::Resting.into(), 0.0)]),
            r#"[{"doing":"waiting for database","seconds":2.0},{"doing":"resting","seconds":0.0}]"#
        );
        let metrics = Metrics::default();
        metrics.count(|figures| figures.billed.add((Operation::Delete,), 3));
        let billed = by_operation(|operation| metrics.snapshot().billed.get((operation,)));
        assert_eq!(billed, r#"{"attributes":0,"change_visibility":0,"delete":3,"receive":0}"#);
    }
}
