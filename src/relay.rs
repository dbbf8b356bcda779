//! The relay: carries the events of the outbox on to a sink, each at least once, and none lost.
//!
//! Any number of relays may share a sink. Why nothing is lost stands in docs/PROTOCOL.md; the transactions are in `claim`, and
//! what is missing between the events is found in `gaps`. Where the order of each subject is kept, `ordered` does the work. What
//! is counted is counted in `counted`; `observe` asks what no lane knows. What an operator has carried again is in [`again`].

pub mod again;
mod begin;
mod carry;
mod claim;
mod counted;
mod gaps;
mod mutants;
mod observe;
mod ordered;
mod patience;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::begin::{NotReady, begin};
use self::counted::Counted;
pub use self::patience::LONGEST_PAUSE;
use crate::database::{Database, DatabaseError};
use crate::metrics::{Claiming, LaneWatch, RelayLane};
use crate::outage::Outage;
use crate::shutdown::Shutdown;
use crate::sink::{EnvelopeError, Sink, SinkError};
use crate::table::relay_failures::Retrying;
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
    /// How many chunks are carried side by side; under order, in how many lines the one chunk is.
    pub lanes: usize,
    /// For how long a chunk is nobody else's.
    pub lease: Duration,
    /// The longest pause between two looks at an outbox in which nothing new is.
    pub poll: Duration,
    /// How often an event is tried that the sink refuses.
    pub most_attempts: i32,
    /// How long such an event waits for its next attempt.
    pub failure_pause: Duration,
    /// Whether the events of each subject are carried in the order of their positions.
    pub ordered: bool,
    /// Whether to end once everything is carried.
    pub until_empty: bool,
}

impl RelaySettings {
    /// How an event is tried again that the sink refuses.
    fn retrying(&self) -> Retrying {
        Retrying { most_attempts: self.most_attempts, pause: self.failure_pause }
    }
}

/// A relay to one sink.
pub struct Relay<S> {
    /// Where the events are. What the relay does is counted where this counts.
    pub database: Database,
    /// Where they go.
    pub sink: S,
    /// How.
    pub settings: RelaySettings,
}

/// What a relay knows of a loader in its process.
#[derive(Clone, Debug, Default)]
pub struct Loading {
    /// Logins were committed: there are new events.
    pub landed: Arc<Notify>,
    /// The loader has ended: from it there will be no others.
    pub ended: CancellationToken,
}

impl Loading {
    /// There is no loader.
    fn elsewhere() -> Self {
        let loading = Self::default();
        loading.ended.cancel();
        loading
    }

    /// Waits until something is new.
    async fn news(&self) {
        tokio::select! {
            () = self.landed.notified() => {}
            () = self.ended.cancelled(), if !self.ended.is_cancelled() => {}
        }
    }
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
    sink: Counted<S>,
    settings: RelaySettings,
    slot: Slot,
    /// While the database is away.
    outage: Outage,
    /// While others are in the way of a transaction.
    contention: Outage,
    /// The host and process, for people to read.
    owner: String,
    /// Whose turn it is to look for events, and how often that was in vain since the last.
    turn: Mutex<usize>,
    /// Gaps were noted: somebody must look at them.
    gaps: Notify,
    loading: Loading,
    shutdown: Shutdown,
}

impl<S: Sink> Relay<S> {
    /// Carries events until it is told to stop or, where that is asked for, until all are carried. Gives their number.
    ///
    /// # Errors
    ///
    /// [`RelayError`]: the first that occurred, after every lane has ended.
    pub async fn run(self, shutdown: Shutdown) -> Result<u64, RelayError> {
        self.run_beside(Loading::elsewhere(), shutdown).await
    }

    /// The same beside a loader, which wakes it. It ends no sooner than that.
    ///
    /// # Errors
    ///
    /// As [`Relay::run`].
    pub async fn run_beside(self, loading: Loading, shutdown: Shutdown) -> Result<u64, RelayError> {
        let Self { database, sink, settings } = self;
        let slot = Slot { sink: settings.sink.clone(), number: 0 };
        let lanes = settings.lanes;
        let sink = Counted::new(sink, settings.lease / 2, database.metrics());
        let shared = Arc::new(Shared {
            database,
            sink,
            settings,
            slot,
            outage: Outage::default(),
            contention: Outage::default(),
            owner: owner(),
            turn: Mutex::new(0),
            gaps: Notify::new(),
            loading,
            shutdown: shutdown.clone(),
        });
        let mut tasks: JoinSet<Result<u64, RelayError>> = JoinSet::new();
        let (of_order, watch) = (shared.clone(), shared.watch());
        if shared.settings.ordered {
            tasks.spawn(async move { of_order.carry_in_order(&watch).await });
        } else {
            for _ in 0..lanes {
                let (shared, watch) = (shared.clone(), shared.watch());
                tasks.spawn(async move { shared.carry_chunks(&watch).await });
            }
            tasks.spawn(async move { of_order.look_at_gaps(&watch).await });
        }
        let observed = shared.clone();
        tasks.spawn(async move { observed.observe().await });
        let watch = shared.watch();
        tasks.spawn(async move { shared.try_failures_again(&watch).await });
        let (mut carried, mut outcome) = (0, Ok(()));
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok(Ok(events)) => carried += events,
                Ok(Err(error)) if outcome.is_ok() => outcome = Err(told(error, &shutdown)),
                Err(_) if outcome.is_ok() => outcome = Err(told(RelayError::Defect, &shutdown)),
                Ok(Err(_)) | Err(_) => {}
            }
            // One that has nothing left to do has seen that for all.
            shutdown.stopping.cancel();
        }
        outcome.map(|()| carried)
    }
}

/// Says why a lane has ended; the others are given so long to end, whatever they wait for.
fn told(error: RelayError, shutdown: &Shutdown) -> RelayError {
    tracing::error!(remedy = error.remedy(), "a lane of the relay cannot go on, and the relay ends: {error}");
    let shutdown = shutdown.clone();
    tokio::spawn(async move { shutdown.begin(ENDS_WITHIN).await });
    error
}

/// This host and process.
fn owner() -> String {
    let host = nix::unistd::gethostname().ok().and_then(|host| host.into_string().ok());
    format!("{}/{}", host.as_deref().unwrap_or("unknown"), std::process::id())
}

/// How long the end may take once a lane cannot go on.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// How long a relay pauses after it has found nothing: shortly at first.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(2), Duration::from_millis(5), Duration::from_millis(10), Duration::from_millis(20)];
/// How often it is looked for gaps and failures of which this process knows nothing.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How soon a gap is looked at again that may still be filled.
const GAPS_EVERY: Duration = Duration::from_millis(20);

impl<S: Sink> Shared<S> {
    /// Watches a lane.
    fn watch(&self) -> LaneWatch {
        self.database.metrics().lane_of_relay()
    }

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

    /// Pauses after a look in vain, the longer the more of them there were; a loader in this process may end the pause.
    async fn rest_in_vain(&self, watch: &LaneWatch, in_vain: &mut usize) {
        watch.is(RelayLane::Resting);
        let pause = PAUSES.get(*in_vain).copied().unwrap_or(self.settings.poll).min(self.settings.poll);
        *in_vain += 1;
        tokio::select! {
            () = self.rest(pause) => {}
            () = self.loading.news() => *in_vain = 0,
        }
    }

    fn count_claim(&self, is_found: bool) {
        let found = if is_found { Claiming::Found } else { Claiming::Nothing };
        self.database.metrics().count(|figures| figures.relay_claims.add((found,), 1));
    }

    async fn carry_chunks(&self, watch: &LaneWatch) -> Result<u64, RelayError> {
        let mut carried = 0;
        while !self.is_stopping() {
            watch.is(RelayLane::Resting);
            // While there is nothing, one lane looks again and again, and the others wait for its turn to end.
            let mut in_vain = self.turn.lock().await;
            if self.is_stopping() {
                break;
            }
            let claimed = self.persist(watch, || mutants::next(self)).await?;
            self.count_claim(claimed.is_some());
            match claimed {
                Some(held) => {
                    *in_vain = 0;
                    drop(in_vain);
                    carried += self.carry(held, watch).await?;
                }
                None if self.may_end() && self.has_carried_all(watch).await? => break,
                None => self.rest_in_vain(watch, &mut in_vain).await,
            }
        }
        Ok(carried)
    }

    async fn look_at_gaps(&self, watch: &LaneWatch) -> Result<u64, RelayError> {
        let mut carried = 0;
        while !self.is_stopping() {
            let (mut is_open, mut above) = (false, Some(0));
            while let Some(position) = above {
                let found = self.persist(watch, || claim::from_gaps(self, position)).await?;
                (is_open, above) = (is_open || found.is_open, found.above);
                for held in found.held {
                    carried += self.carry(held, watch).await?;
                }
            }
            watch.is(RelayLane::Resting);
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

    async fn try_failures_again(&self, watch: &LaneWatch) -> Result<u64, RelayError> {
        let mut carried = 0;
        while !self.is_stopping() {
            let since = Instant::now();
            let due = self.persist(watch, || claim::failures(self)).await?;
            match due.is_empty() {
                true => {
                    watch.is(RelayLane::Resting);
                    self.rest(LOOK_EVERY).await;
                }
                false => carried += self.try_again(due, since, watch).await?,
            }
        }
        Ok(carried)
    }

    /// Whether it ends once everything is carried.
    fn may_end(&self) -> bool {
        self.settings.until_empty && self.loading.ended.is_cancelled()
    }

    async fn has_carried_all(&self, watch: &LaneWatch) -> Result<bool, RelayError> {
        Ok(self.persist(watch, || claim::has_carried_all(self)).await?)
    }
}
