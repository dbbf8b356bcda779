//! What an operator has carried again: events that a sink has refused, and whole ranges of positions. The relays that run do it.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use crate::database::{Database, DatabaseError, Patience, Transaction, persist};
use crate::table::relay_refusals::{self, Filter, Locked, Refused, Status};
use crate::table::relay_slot::Slot;
use crate::table::{outbox, outbox_pruned, relay_chunks, relay_marks, relay_sinks};

/// The most positions in a chunk that is carried again.
const POSITIONS_IN_A_CHUNK: i64 = 1_000;
/// How long it may take to look for a time, or to count, in a large table.
const LOOKS_FOR: Duration = Duration::from_secs(600);

/// What was to become of a refused event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It was done.
    Done,
    /// It waits for its next attempt already.
    Waits,
    /// It is discarded already.
    IsDiscarded,
    /// It was discarded, and its sink keeps order: later events of its subject may have been carried since.
    BreaksOrder,
    /// Its event is in the outbox no more.
    IsGone,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Waits => "is tried again already",
            Self::IsDiscarded => "is discarded already",
            Self::BreaksOrder => {
                "is discarded, and the sink keeps order: later events of its subject may have been carried"
            }
            Self::IsGone => "is gone from the outbox",
        })
    }
}

/// Lets refused events be tried again at once, as if for the first time; says of each that was meant what became of it.
///
/// While that is decided, no event is dropped: one that is gone would wait for ever, and hold everything above it.
///
/// # Errors
///
/// [`DatabaseError`], after half a minute if it might pass.
pub async fn retry(database: &Database, filter: &Filter) -> Result<Vec<(Refused, Change)>, DatabaseError> {
    let decide = |locked: &Locked| match locked.refused.status {
        Status::Waiting => Change::Waits,
        Status::SetAside | Status::Discarded if !locked.is_there => Change::IsGone,
        Status::Discarded if locked.in_order => Change::BreaksOrder,
        Status::SetAside | Status::Discarded => Change::Done,
    };
    change(database, filter, Change::Waits, decide, relay_refusals::retry).await
}

/// Gives refused events up; says of each that was meant what became of it.
///
/// # Errors
///
/// [`DatabaseError`], after half a minute if it might pass.
pub async fn discard(database: &Database, filter: &Filter) -> Result<Vec<(Refused, Change)>, DatabaseError> {
    let decide = |locked: &Locked| match locked.refused.status {
        Status::Discarded => Change::IsDiscarded,
        Status::Waiting | Status::SetAside => Change::Done,
    };
    change(database, filter, Change::IsDiscarded, decide, relay_refusals::discard).await
}

/// `held` is what is found where an earlier attempt has done it: its commit held, and its answer was lost.
async fn change(
    database: &Database,
    filter: &Filter,
    held: Change,
    decide: impl Fn(&Locked) -> Change,
    write: impl AsyncFn(&Transaction, &[Refused]) -> Result<(), DatabaseError>,
) -> Result<Vec<(Refused, Change)>, DatabaseError> {
    let earlier: Mutex<Vec<(String, i64)>> = Mutex::new(Vec::new());
    let change_once = async |transaction: &Transaction| {
        outbox_pruned::keep_pruner_away(transaction).await?;
        let key = |refused: &Refused| (refused.sink.clone(), refused.position);
        let before = earlier.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // What an earlier attempt has changed may stand otherwise than the filter says.
        let filter = if before.is_empty() { filter.clone() } else { Filter { status: None, ..filter.clone() } };
        let found = relay_refusals::lock(transaction, &filter).await?;
        let mut decided: Vec<(Refused, Change)> = found
            .into_iter()
            .map(|locked| (decide(&locked), locked))
            .map(|(change, locked)| (locked.refused, change))
            .collect();
        let to_do: Vec<Refused> =
            decided.iter().filter(|(_, change)| *change == Change::Done).map(|(refused, _)| refused.clone()).collect();
        write(transaction, &to_do).await?;
        for (refused, change) in &mut decided {
            if *change == held && before.contains(&key(refused)) {
                *change = Change::Done;
            }
        }
        *earlier.lock().unwrap_or_else(PoisonError::into_inner) = to_do.iter().map(key).collect();
        Ok(decided)
    };
    persist(Patience::WHILE_SOMEBODY_WAITS, || database.transaction(&change_once)).await
}

/// An end of a range of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// A position.
    Position(i64),
    /// A time at which events were written.
    Time(OffsetDateTime),
}

/// Events that would be carried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where they stand.
    pub positions: RangeInclusive<i64>,
    /// How many there are.
    pub events: i64,
    /// The frontier, where what was asked for reaches beyond it: that comes by itself.
    pub ends_at_frontier: bool,
}

/// Why events are not carried again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The database refuses.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// There is no such sink.
    #[error("there is no sink {0}")]
    NoSink(String),
    /// A sink that keeps order cannot be sent the past.
    #[error("the sink {0} keeps order: an event that came again behind later ones of its subject would break it")]
    Ordered(String),
    /// Some of them are gone.
    #[error("events of this range are gone: those at positions below {below}")]
    Pruned {
        /// The lowest position that may still be there.
        below: i64,
    },
    /// Nothing is there to be carried again.
    #[error("the sink {sink} has carried no event of this range; its frontier is {frontier}")]
    Nothing {
        /// Its name.
        sink: String,
        /// How far it has come.
        frontier: i64,
    },
}

impl ReplayError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Database(error) => error.remedy().to_owned(),
            Self::NoSink(_) => "`turnstile outbox status` names the sinks".to_owned(),
            Self::Ordered(_) => {
                "carry them with a sink of another name and without order, by `turnstile relay --sink NAME`".to_owned()
            }
            Self::Pruned { below } => {
                format!("give --from {below} or a later position or time")
            }
            Self::Nothing { .. } => "give an earlier --from; what is above the frontier comes by itself".to_owned(),
        }
    }
}

/// Looks which events would be carried again. Changes nothing.
///
/// # Errors
///
/// [`ReplayError`]
pub async fn plan(database: &Database, sink: &str, from: Bound, to: Bound) -> Result<Plan, ReplayError> {
    let read = async |seen: &Transaction| {
        let is_ordered = relay_sinks::is_ordered(seen, sink).await?;
        let gone = gone(seen, from).await?;
        let frontier = relay_marks::frontier(seen, &slot_of(sink)).await?;
        let first = match from {
            Bound::Position(position) => Some(position.max(1)),
            Bound::Time(time) => outbox::first_since(seen, time).await?,
        };
        let last = match to {
            Bound::Position(position) => Some(position),
            Bound::Time(time) => outbox::last_until(seen, time).await?,
        };
        let positions = first.zip(last).map(|(first, last)| first..=last.min(frontier));
        let events = match &positions {
            Some(positions) if !positions.is_empty() => {
                outbox::tally(seen, std::slice::from_ref(positions), i64::MAX).await?.0
            }
            Some(_) | None => 0,
        };
        let plan = positions.filter(|_| events > 0);
        let plan = plan.map(|positions| Plan { positions, events, ends_at_frontier: last > Some(frontier) });
        Ok((is_ordered, gone, plan, frontier))
    };
    let (is_ordered, gone, plan, frontier) = database.snapshot_within(LOOKS_FOR, read).await?;
    refuse(sink, is_ordered)?;
    match (gone, plan) {
        (Some(below), _) => Err(ReplayError::Pruned { below }),
        (None, Some(plan)) => Ok(plan),
        (None, None) => Err(ReplayError::Nothing { sink: sink.to_owned(), frontier }),
    }
}

/// Below which position events are gone, where some of those from here on are.
async fn gone(seen: &Transaction, from: Bound) -> Result<Option<i64>, DatabaseError> {
    let Some(below) = outbox_pruned::below(seen).await? else { return Ok(None) };
    let is_gone = match from {
        Bound::Position(position) => position < below,
        Bound::Time(time) => outbox_pruned::written_until(seen).await?.is_some_and(|until| time <= until),
    };
    Ok(is_gone.then_some(below))
}

/// Leaves these positions to the relays, in chunks that they take over as those of a dead relay. Gives the number of chunks.
///
/// Where the answer of a commit is lost, the events may be left to them twice.
///
/// # Errors
///
/// [`ReplayError`]: what was planned may be gone by now.
pub async fn replay(database: &Database, sink: &str, plan: &Plan) -> Result<u64, ReplayError> {
    let write = async |transaction: &Transaction| {
        outbox_pruned::keep_pruner_away(transaction).await?;
        let is_ordered = relay_sinks::is_ordered(transaction, sink).await?;
        let gone = gone(transaction, Bound::Position(*plan.positions.start())).await?;
        if gone.is_some() || is_ordered != Some(false) {
            return Ok((is_ordered, gone, 0));
        }
        let left = relay_chunks::leave(transaction, &slot_of(sink), &plan.positions, POSITIONS_IN_A_CHUNK).await?;
        Ok((is_ordered, gone, left))
    };
    let (is_ordered, gone, left) = database.transaction(write).await?;
    refuse(sink, is_ordered)?;
    gone.map_or(Ok(left), |below| Err(ReplayError::Pruned { below }))
}

fn refuse(sink: &str, is_ordered: Option<bool>) -> Result<(), ReplayError> {
    match is_ordered {
        None => Err(ReplayError::NoSink(sink.to_owned())),
        Some(true) => Err(ReplayError::Ordered(sink.to_owned())),
        Some(false) => Ok(()),
    }
}

/// Without order, a sink has one slot.
fn slot_of(sink: &str) -> Slot {
    Slot { sink: sink.to_owned(), number: 0 }
}
