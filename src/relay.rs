//! The relay: carries the events of the outbox on to a sink, each at least once, and none lost.
//!
//! Any number of relays may share a sink. Why nothing is lost stands in docs/PROTOCOL.md; the transactions are in `claim`, and
//! what is missing between the events is found in `gaps`.

mod begin;
mod carry;
mod claim;
mod gaps;
mod mutants;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio::task::JoinSet;

pub use self::begin::{NotReady, begin};
use crate::database::{Database, DatabaseError, Patience, persist};
use crate::shutdown::Shutdown;
use crate::sink::{EnvelopeError, Sink, SinkError};
use crate::table::relay_slot::Slot;

/// How a relay works.
#[derive(Clone, Debug)]
pub struct RelaySettings {
    /// The sink's name, which its relays share.
    pub sink: String,
    /// What the events say where they come from.
    pub source: String,
    /// The most events in a chunk.
    pub chunk: u16,
    /// How many chunks are carried side by side.
    pub lanes: usize,
    /// For how long a chunk is nobody else's.
    pub lease: Duration,
    /// The longest pause between two looks at an outbox in which nothing new is.
    pub poll: Duration,
    /// How often an event is tried that the sink refuses.
    pub most_attempts: i32,
    /// How long such an event waits for its next attempt.
    pub failure_pause: Duration,
    /// Whether to end once everything is carried.
    pub until_empty: bool,
}

/// A relay to one sink.
pub struct Relay<S> {
    /// Where the events are.
    pub database: Database,
    /// Where they go.
    pub sink: S,
    /// How.
    pub settings: RelaySettings,
}

/// Why a relay ended otherwise than it should. No event is lost by it.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The database refuses.
    #[error("the outbox cannot be read: {0}")]
    Database(#[from] DatabaseError),
    /// The sink takes nothing any more.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// An event cannot be written.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// A lane panicked: a defect.
    #[error("a lane of the relay ended by a defect of the program; its events are carried by others")]
    Defect,
}

impl RelayError {
    /// What to do about it.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Database(error) => Some(error.remedy().to_owned()),
            Self::Sink(_) => Some("look at what reads the events, and start the relay again".to_owned()),
            Self::Envelope(_) | Self::Defect => Some("start the relay again, and report the defect".to_owned()),
        }
    }
}

/// What the lanes of a relay share.
struct Shared<S> {
    database: Database,
    sink: S,
    settings: RelaySettings,
    slot: Slot,
    /// Whose turn it is to look for events, and how often that was in vain since the last.
    turn: Mutex<usize>,
    /// Gaps were noted: somebody must look at them.
    gaps: Notify,
    shutdown: Shutdown,
}

impl<S: Sink> Relay<S> {
    /// Carries events until it is told to stop or, where that is asked for, until all are carried. Gives their number.
    ///
    /// # Errors
    ///
    /// [`RelayError`]: the first that occurred, after every lane has ended.
    pub async fn run(self, shutdown: Shutdown) -> Result<u64, RelayError> {
        let Self { database, sink, settings } = self;
        let slot = Slot { sink: settings.sink.clone(), number: 0 };
        let lanes = settings.lanes;
        let shared = Arc::new(Shared {
            database,
            sink,
            settings,
            slot,
            turn: Mutex::new(0),
            gaps: Notify::new(),
            shutdown: shutdown.clone(),
        });
        let mut tasks: JoinSet<Result<u64, RelayError>> = JoinSet::new();
        for _ in 0..lanes {
            let shared = shared.clone();
            tasks.spawn(async move { shared.carry_chunks().await });
        }
        let of_gaps = shared.clone();
        tasks.spawn(async move { of_gaps.look_at_gaps().await });
        tasks.spawn(async move { shared.try_failures_again().await });
        let (mut carried, mut outcome) = (0, Ok(()));
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok(Ok(events)) => carried += events,
                Ok(Err(error)) if outcome.is_ok() => outcome = Err(error),
                Err(_) if outcome.is_ok() => outcome = Err(RelayError::Defect),
                Ok(Err(_)) | Err(_) => {}
            }
            // One that has nothing left to do has seen that for all.
            shutdown.stopping.cancel();
        }
        outcome.map(|()| carried)
    }
}

/// How long a relay pauses after it has found nothing: shortly at first.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(2), Duration::from_millis(5), Duration::from_millis(10), Duration::from_millis(20)];
/// How often it is looked for gaps and failures of which this process knows nothing.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How soon a gap is looked at again that may still be filled.
const GAPS_EVERY: Duration = Duration::from_millis(20);

impl<S: Sink> Shared<S> {
    fn is_stopping(&self) -> bool {
        self.shutdown.stopping.is_cancelled()
    }

    /// Waits, unless the relay is told to stop.
    async fn rest(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.shutdown.stopping.cancelled() => {}
        }
    }

    async fn carry_chunks(&self) -> Result<u64, RelayError> {
        let mut carried = 0;
        while !self.is_stopping() {
            // While there is nothing, one lane looks again and again, and the others wait for its turn to end.
            let mut in_vain = self.turn.lock().await;
            if self.is_stopping() {
                break;
            }
            match persist(Patience::ENDLESS, || mutants::next(self)).await? {
                Some(held) => {
                    *in_vain = 0;
                    drop(in_vain);
                    carried += self.carry(held).await?;
                }
                None if self.settings.until_empty && self.has_carried_all().await? => break,
                None => {
                    let pause = PAUSES.get(*in_vain).copied().unwrap_or(self.settings.poll).min(self.settings.poll);
                    *in_vain += 1;
                    self.rest(pause).await;
                }
            }
        }
        Ok(carried)
    }

    async fn look_at_gaps(&self) -> Result<u64, RelayError> {
        let mut carried = 0;
        while !self.is_stopping() {
            let (found, is_open) = persist(Patience::ENDLESS, || claim::from_gaps(self)).await?;
            for held in found {
                carried += self.carry(held).await?;
            }
            match is_open {
                true => self.rest(GAPS_EVERY).await,
                false => tokio::select! {
                    () = self.gaps.notified() => {}
                    () = self.rest(LOOK_EVERY) => {}
                },
            }
        }
        Ok(carried)
    }

    async fn try_failures_again(&self) -> Result<u64, RelayError> {
        let mut carried = 0;
        while !self.is_stopping() {
            let due = persist(Patience::ENDLESS, || claim::failures(self)).await?;
            match due.is_empty() {
                true => self.rest(LOOK_EVERY).await,
                false => carried += self.try_again(due).await?,
            }
        }
        Ok(carried)
    }

    async fn has_carried_all(&self) -> Result<bool, RelayError> {
        Ok(persist(Patience::ENDLESS, || claim::has_carried_all(self)).await?)
    }
}
