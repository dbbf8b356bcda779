//! What the process is doing, in figures: counted where it happens, and read as one [`Snapshot`].
//!
//! Every face (the log's line, the exposition, `turnstile top`) renders a snapshot and nothing else, so that no two of them disagree. What
//! happened in a stretch of time is the difference of two snapshots.

mod catalogue;
mod exposition;
mod figure;
mod labels;
mod page;
mod process;
mod reading;
mod work;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use time::OffsetDateTime;

pub use self::catalogue::{PREFIX, Quick, Row, Snapshot};
pub use self::exposition::{Build, CONTENT_TYPE};
pub use self::figure::{Bounds, Counter, Family, Figure, Gauge, Histogram, Kind, Label, Sample};
pub use self::labels::{
    AuditRule, CallOutcome, Carriage, Claiming, Code, ConnectionState, Deed, Deletion, Ended, GrowingTable, LaneState,
    LetterStatus, LogLevel, Nth, Operation, Outcome, Peer, Phase, Query, Refusal, RelayLane, Renewal, Route, SinkCall,
    Standing, StatusClass, TakenUp, Whereabouts,
};
pub use self::page::page;
pub use self::reading::NoFigures;
pub use self::work::{Part, Work};
use crate::outage::Lasted;

/// The figures of a process. Clones count into the same.
#[derive(Clone)]
pub struct Metrics(Arc<Mutex<State>>);

struct State {
    figures: Snapshot,
    /// What each gathering still has in hand.
    held: BTreeMap<u64, Held>,
    lanes: BTreeMap<u64, (Doing, Instant)>,
    next: u64,
    gauges: Vec<Arc<ReadGauge>>,
}

/// Reads what is not counted, and can be asked at any moment.
type ReadGauge = dyn Fn(&mut Snapshot) + Send + Sync;

/// What a lane is doing, be it a loader's or a relay's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// A lane of a loader.
    Load(LaneState),
    /// A lane of a relay.
    Relay(RelayLane),
}

impl Doing {
    /// It in words.
    pub fn in_words(self) -> String {
        let word = match self {
            Self::Load(state) => state.word(),
            Self::Relay(state) => state.word(),
        };
        word.replace('_', " ")
    }
}

impl From<LaneState> for Doing {
    fn from(state: LaneState) -> Self {
        Self::Load(state)
    }
}

impl From<RelayLane> for Doing {
    fn from(state: RelayLane) -> Self {
        Self::Relay(state)
    }
}

struct Held {
    since: OffsetDateTime,
    messages: u64,
    bytes: u64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::of(Work::loading())
    }
}

impl Metrics {
    /// The figures of a process that is there for this.
    pub fn of(work: Work) -> Self {
        let now = OffsetDateTime::now_utc();
        let mut figures = Snapshot::at(now, work);
        figures.started_at.set((), unix_seconds(now));
        figures.draining.set((), 0);
        figures.relay_in_hand.set((), 0);
        let state = State { figures, held: BTreeMap::new(), lanes: BTreeMap::new(), next: 0, gauges: Vec::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Counts what happened: a snapshot has all of it, or none.
    pub fn count(&self, happened: impl FnOnce(&mut Snapshot)) {
        happened(&mut self.state().figures);
    }

    /// Counts deliveries that were received, whose bodies have so many bytes, and how they came, in one step; they are in hand
    /// until they are settled.
    pub fn hold(&self, messages: u64, bytes: u64, how: impl FnOnce(&mut Snapshot)) -> Holding {
        let mut state = self.state();
        state.figures.received.add((), messages);
        how(&mut state.figures);
        let number = state.number();
        state.held.insert(number, Held { since: OffsetDateTime::now_utc(), messages, bytes });
        Holding { metrics: self.clone(), number }
    }

    /// Watches a lane of a loader, which rests.
    pub fn lane(&self) -> LaneWatch {
        self.lane_that_is(LaneState::Resting.into())
    }

    /// Watches a lane of a relay, which rests.
    pub fn lane_of_relay(&self) -> LaneWatch {
        self.lane_that_is(RelayLane::Resting.into())
    }

    fn lane_that_is(&self, doing: Doing) -> LaneWatch {
        let mut state = self.state();
        let number = state.number();
        state.lanes.insert(number, (doing, Instant::now()));
        LaneWatch { metrics: self.clone(), number }
    }

    /// Has a gauge read for every snapshot. It must answer at once.
    pub fn read_at_each_snapshot(&self, gauge: impl Fn(&mut Snapshot) + Send + Sync + 'static) {
        self.state().gauges.push(Arc::new(gauge));
    }

    /// The figures of this moment.
    pub fn snapshot(&self) -> Snapshot {
        let now = OffsetDateTime::now_utc();
        let state = self.state();
        let mut figures = state.figures.clone();
        figures.taken_at = now;
        figures.read_at.set((), unix_seconds(now));
        let held = state.held.values();
        figures.in_hand.set((), held.clone().map(|held| held.messages).sum::<u64>() as f64);
        figures.in_hand_bytes.set((), held.clone().map(|held| held.bytes).sum::<u64>() as f64);
        let oldest = held.filter(|held| held.messages > 0).map(|held| held.since).min();
        oldest.into_iter().for_each(|oldest| figures.in_hand_since.set((), unix_seconds(oldest)));
        for (level, lines) in LogLevel::ALL.iter().zip(&LOG_LINES) {
            figures.log_lines.add((*level,), lines.load(Ordering::Relaxed));
        }
        let lanes = |doing: Doing| state.lanes.values().filter(|(lane, _)| *lane == doing).count() as f64;
        LaneState::ALL.iter().for_each(|doing| figures.lanes.set((*doing,), lanes((*doing).into())));
        RelayLane::ALL.iter().for_each(|doing| figures.relay_lanes.set((*doing,), lanes((*doing).into())));
        let gauges = state.gauges.clone();
        drop(state);
        gauges.iter().for_each(|read| read(&mut figures));
        figures.read_runtime();
        figures
    }

    /// What each lane is doing, and since when.
    pub fn lanes(&self) -> Vec<(Doing, Instant)> {
        self.state().lanes.values().copied().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Deliveries in hand. What is not settled when this is dropped stays in hand: it comes again when its lease runs out.
#[derive(Debug)]
pub struct Holding {
    metrics: Metrics,
    number: u64,
}

impl Holding {
    /// Counts how so many of them ended, and takes them out of the hand, in one step.
    pub fn settle(&self, messages: usize, how: impl FnOnce(&mut Snapshot)) {
        let mut state = self.metrics.state();
        if let Some(held) = state.held.get_mut(&self.number) {
            held.messages = held.messages.saturating_sub(messages as u64);
        }
        how(&mut state.figures);
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let mut state = self.metrics.state();
        if state.held.get(&self.number).is_some_and(|held| held.messages == 0) {
            state.held.remove(&self.number);
        }
    }
}

/// A lane that is watched. It is one less when this is dropped.
#[derive(Debug)]
pub struct LaneWatch {
    metrics: Metrics,
    number: u64,
}

impl LaneWatch {
    /// Says what the lane is doing now.
    pub fn is(&self, doing: impl Into<Doing>) {
        self.metrics.state().lanes.insert(self.number, (doing.into(), Instant::now()));
    }
}

impl Drop for LaneWatch {
    fn drop(&mut self) {
        self.metrics.state().lanes.remove(&self.number);
    }
}

impl Snapshot {
    /// Notes that a call was answered.
    pub fn answered(&mut self, peer: Peer) {
        self.reachable.set((peer,), 1);
        self.away_since.clear((peer,));
        self.attempts.set((peer,), 0);
    }

    /// Notes that a call was not answered, and how long that has been so.
    pub fn unanswered(&mut self, peer: Peer, lasting: Lasted) {
        self.reachable.set((peer,), 0);
        self.away_since.set((peer,), unix_seconds(OffsetDateTime::now_utc() - lasting.away));
        self.attempts.set((peer,), lasting.attempts as f64);
    }

    /// Notes that the sink takes events.
    pub fn sink_takes(&mut self) {
        self.relay_reachable.set((), 1);
        self.relay_away_since.clear(());
        self.relay_attempts.set((), 0);
    }

    /// Notes that the sink takes nothing, and how long that has been so.
    pub fn sink_is_away(&mut self, lasting: Lasted) {
        self.relay_reachable.set((), 0);
        self.relay_away_since.set((), unix_seconds(OffsetDateTime::now_utc() - lasting.away));
        self.relay_attempts.set((), lasting.attempts as f64);
    }

    /// For how many seconds too many messages had not been logins when this was taken; nothing while they are.
    pub fn storm(&self) -> Option<f64> {
        Some(unix_seconds(self.taken_at) - self.storm_since.get(())?)
    }

    /// How many calls of this kind were made, however they ended.
    pub fn calls_of(&self, operation: Operation) -> u64 {
        CallOutcome::ALL.iter().map(|outcome| self.calls.get((operation, *outcome))).sum()
    }

    /// For how many seconds there had been no room for dead letters when this was taken; nothing while there is.
    pub fn dead_letters_full(&self) -> Option<f64> {
        Some(unix_seconds(self.taken_at) - self.dead_letters_full_since.get(())?)
    }

    /// For how many seconds receiving had been paused when this was taken; nothing while it is not.
    pub fn pause(&self) -> Option<f64> {
        Some((unix_seconds(self.taken_at) - self.paused_since.get(())?).max(0.0))
    }

    /// For how many seconds the sink had taken nothing when this was taken; nothing while it takes events.
    pub fn sink_away(&self) -> Option<f64> {
        Some(unix_seconds(self.taken_at) - self.relay_away_since.get(())?)
    }

    /// Counts events that end, in this way, and are in hand no more.
    pub fn settle_events(&mut self, how: Carriage, events: u64) {
        self.relay_events.add((how,), events);
        let in_hand = self.relay_in_hand.get(()).unwrap_or_default();
        self.relay_in_hand.set((), in_hand - events as f64);
    }

    /// Reads what Tokio tells of itself, where this is called on one of its threads.
    fn read_runtime(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let runtime = runtime.metrics();
        self.workers.set((), runtime.num_workers() as f64);
        self.tasks.set((), runtime.num_alive_tasks() as f64);
        self.waiting_tasks.set((), runtime.global_queue_depth() as f64);
    }

    /// For how many seconds the peer had been away when this was taken; nothing while it is there.
    pub fn away(&self, peer: Peer) -> Option<f64> {
        Some(unix_seconds(self.taken_at) - self.away_since.get((peer,))?)
    }

    /// Whether this is a later snapshot of the same process: it started at the same time, and no count has fallen.
    pub fn continues(&self, earlier: &Self) -> bool {
        self.started_at.get(()) == earlier.started_at.get(()) && self.has_no_less_than(earlier)
    }

    /// What two processes have done and are doing together. Of the gauges, what counts something adds up: what is in hand,
    /// and the lanes. What the queue holds is what was said last. The rest is unknown.
    pub fn together(&self, other: &Self) -> Self {
        let mut sum = self.counted_with(other);
        let both = |gauge: fn(&Self) -> Option<f64>| Some(gauge(self)? + gauge(other)?);
        both(|of| of.in_hand.get(())).into_iter().for_each(|messages| sum.in_hand.set((), messages));
        both(|of| of.in_hand_bytes.get(())).into_iter().for_each(|bytes| sum.in_hand_bytes.set((), bytes));
        for state in LaneState::ALL {
            let lanes = self.lanes.get((*state,)).zip(other.lanes.get((*state,)));
            lanes.into_iter().for_each(|(one, other)| sum.lanes.set((*state,), one + other));
        }
        let relay_lanes = |state: &RelayLane| self.relay_lanes.get((*state,)).zip(other.relay_lanes.get((*state,)));
        for state in RelayLane::ALL {
            relay_lanes(state).into_iter().for_each(|(one, other)| sum.relay_lanes.set((*state,), one + other));
        }
        both(|of| of.relay_in_hand.get(())).into_iter().for_each(|events| sum.relay_in_hand.set((), events));
        let last = if self.depth_at.get(()) >= other.depth_at.get(()) { self } else { other };
        (sum.depth, sum.depth_at) = (last.depth.clone(), last.depth_at.clone());
        sum
    }

    /// What was received and neither ended nor is in hand. Zero, or the program is wrong.
    pub fn imbalance(&self) -> i64 {
        let in_hand = self.in_hand.get(()).unwrap_or_default() as i64;
        self.received.total() as i64 - self.messages.total() as i64 - in_hand
    }

    /// The same of the events that a relay has taken up.
    pub fn imbalance_of_events(&self) -> i64 {
        let in_hand = self.relay_in_hand.get(()).unwrap_or_default() as i64;
        self.relay_taken_up.total() as i64 - self.relay_events.total() as i64 - in_hand
    }
}

/// The lines of the log since the start of the process, which has one log.
static LOG_LINES: [AtomicU64; LogLevel::ALL.len()] = [const { AtomicU64::new(0) }; LogLevel::ALL.len()];

/// Counts a line of the log.
pub fn count_log_line(level: LogLevel) {
    if let Some(lines) = LOG_LINES.get(level.index()) {
        lines.fetch_add(1, Ordering::Relaxed);
    }
}

/// A time as the figures give it.
pub fn unix_seconds(time: OffsetDateTime) -> f64 {
    time.unix_timestamp_nanos() as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_received_is_in_hand_until_it_is_settled_and_the_books_balance_at_each_moment() {
        let metrics = Metrics::default();
        let holding = metrics.hold(10, 1_000, |_| ());
        let in_hand = || metrics.snapshot().in_hand.get(());
        assert_eq!((in_hand(), metrics.snapshot().imbalance()), (Some(10.0), 0));
        assert!(metrics.snapshot().in_hand_since.get(()).is_some());
        holding.settle(7, |figures| figures.messages.add((Outcome::Loaded,), 7));
        assert_eq!((in_hand(), metrics.snapshot().imbalance()), (Some(3.0), 0));
        holding.settle(1, |_| ());
        assert_eq!(metrics.snapshot().imbalance(), 1, "one has ended in no way");
        holding.settle(2, |figures| figures.messages.add((Outcome::Returned,), 3));
        assert_eq!(metrics.snapshot().imbalance(), 0);
        drop(holding);
        let left = metrics.hold(2, 10, |_| ());
        drop(left);
        assert_eq!(in_hand(), Some(2.0), "nobody has settled these");
    }

    #[test]
    fn what_came_between_two_snapshots_is_their_difference() {
        let metrics = Metrics::default();
        let load = |count, lag| {
            metrics.count(|figures| {
                figures.messages.add((Outcome::Loaded,), count);
                (0..count).for_each(|_| figures.lag.observe((Nth::First,), lag));
            });
            metrics.snapshot()
        };
        let first = load(10, 0.02);
        let stretch = load(5, 0.08).since(&first);
        assert_eq!(stretch.messages.get((Outcome::Loaded,)), 5);
        let p50 = stretch.lag.get((Nth::First,)).and_then(|lag| lag.quantile(0.5)).unwrap();
        assert!((0.08..0.09).contains(&p50), "{p50}");
        let idle = metrics.snapshot().since(&metrics.snapshot());
        assert_eq!(idle.lag.get((Nth::First,)).and_then(|lag| lag.quantile(0.99)), None);
    }

    #[test]
    fn a_peer_is_away_from_its_first_failure_until_it_answers() {
        let metrics = Metrics::default();
        let lasting = Lasted { away: Duration::from_secs(60), attempts: 3 };
        metrics.count(|figures| figures.unanswered(Peer::Database, lasting));
        let away = metrics.snapshot();
        let since = away.away_since.get((Peer::Database,)).unwrap();
        assert!((unix_seconds(away.taken_at) - since - 60.0).abs() < 5.0);
        assert_eq!((away.reachable.get((Peer::Database,)), away.reachable.get((Peer::Queue,))), (Some(0.0), None));
        metrics.count(|figures| figures.answered(Peer::Database));
        assert_eq!(metrics.snapshot().away_since.get((Peer::Database,)), None);
    }

    #[test]
    fn lanes_are_counted_by_what_they_do_and_no_more_once_they_have_ended() {
        let metrics = Metrics::default();
        let [one, other] = [metrics.lane(), metrics.lane()];
        one.is(LaneState::Loading);
        let doing = |state| metrics.snapshot().lanes.get((state,));
        assert_eq!((doing(LaneState::Loading), doing(LaneState::Resting)), (Some(1.0), Some(1.0)));
        drop((one, other));
        assert_eq!((doing(LaneState::Loading), doing(LaneState::Resting)), (Some(0.0), Some(0.0)));
    }
}
