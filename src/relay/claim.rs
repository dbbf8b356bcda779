//! The transactions of a relay: what it takes up, and what it lets go of.
//!
//! Each is a transaction at READ COMMITTED whose statements see later and later states: that order is what nothing is lost by.

use std::iter;
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::Instant;

use super::{Shared, gaps, mutants};
use crate::database::{DatabaseError, Transaction};
use crate::failpoint::{RelayStep, around};
use crate::metrics::TakenUp;
use crate::sink::Sink;
use crate::table::outbox::{self, Event, Writer};
use crate::table::relay_chunks::{self, Chunk};
use crate::table::relay_failures::{self, Failure};
use crate::table::relay_gaps::{self, Gap};
use crate::table::relay_marks;
use crate::table::relay_sinks;
use crate::table::relay_slot::Slot;

/// The most gaps that are looked at in one transaction.
pub(super) const GAPS_AT_ONCE: i64 = 100;
/// The most failures that are tried again at once.
const FAILURES_AT_ONCE: i64 = 100;
/// How many marks are kept at least; the older ones are removed with one chunk in so many.
const MARKS_KEPT: i64 = 1_000;

/// Events that this relay carries now. No `Debug`: it holds users' ids.
pub(super) struct Held {
    pub(super) chunk: Chunk,
    pub(super) events: Vec<Event>,
    pub(super) how: TakenUp,
    /// Its lease began no earlier.
    pub(super) since: Instant,
}

/// Takes over a chunk whose relay is gone, or claims the next one; nothing where there is none, or another relay claims now.
pub(super) async fn next<S: Sink>(relay: &Shared<S>) -> Result<Option<Held>, DatabaseError> {
    let Shared { slot, settings, owner, .. } = relay;
    let since = Instant::now();
    let (held, has_gaps) = relay
        .database
        .unflushed_transaction(async |transaction| {
            let taking_over = relay_chunks::take_over(transaction, slot, owner, settings.lease);
            if let Some(chunk) = around(RelayStep::TakeOver, taking_over).await? {
                let events = outbox::within(transaction, std::slice::from_ref(&chunk.positions)).await?;
                return Ok((Some(Held { chunk, events, how: TakenUp::TakenOver, since }), false));
            }
            if !mutants::may_claim(relay_sinks::try_lock(transaction, slot).await?) {
                return Ok((None, false));
            }
            let frontier = mutants::frontier(relay_marks::frontier(transaction, slot).await?);
            let seeing = outbox::above(transaction, frontier, i64::from(settings.chunk));
            let events = around(RelayStep::Claim, seeing).await?;
            let Some(last) = events.last().map(|event| event.position) else { return Ok((None, false)) };
            let missing = mutants::missing(gaps::missing(frontier, events.iter().map(|event| event.position)));
            around(RelayStep::Note, relay_gaps::note(transaction, slot, &missing, None)).await?;
            let opening = relay_chunks::open(transaction, slot, frontier + 1..=last, owner, settings.lease);
            let chunk = around(RelayStep::Open, opening).await?;
            around(RelayStep::Mark, relay_marks::append(transaction, slot, last)).await?;
            mutants::remember(last);
            Ok((Some(Held { chunk, events, how: TakenUp::Claimed, since }), !missing.is_empty()))
        })
        .await?;
    if has_gaps {
        relay.gaps.notify_one();
    }
    Ok(held)
}

/// What came of a look at some gaps.
pub(super) struct FromGaps {
    /// What was found in them.
    pub(super) held: Vec<Held>,
    /// Whether some of them may still be filled.
    pub(super) is_open: bool,
    /// Where the next look goes on, if there may be other gaps.
    pub(super) above: Option<i64>,
}

/// Looks at gaps above a position: what is found in one is a chunk, what nobody can fill any more is none.
pub(super) async fn from_gaps<S: Sink>(relay: &Shared<S>, above: i64) -> Result<FromGaps, DatabaseError> {
    let since = Instant::now();
    relay
        .database
        .unflushed_transaction(async |transaction| {
            let Look { open, writers, events } = mutants::look(transaction, &relay.slot, above).await?;
            let last = open.last().filter(|_| open.len() as i64 == GAPS_AT_ONCE).map(|gap| *gap.positions.start());
            let mut events = events.into_iter().peekable();
            let (mut held, mut over, mut is_open) = (Vec::new(), Vec::new(), false);
            for gap in open {
                let found: Vec<Event> =
                    iter::from_fn(|| events.next_if(|event| event.position <= *gap.positions.end())).collect();
                let may_fill = mutants::may_fill(gap.writers.as_deref(), &writers);
                is_open |= !may_fill.is_empty();
                match may_fill.is_empty() || !found.is_empty() {
                    true => over.push(gap.id),
                    false if gap.writers.as_ref() != Some(&may_fill) => {
                        relay_gaps::await_writers(transaction, gap.id, &may_fill).await?;
                    }
                    false => {}
                }
                if !found.is_empty() && !may_fill.is_empty() {
                    let rest = gaps::without(&gap.positions, found.iter().map(|event| event.position));
                    relay_gaps::note(transaction, &relay.slot, &rest, Some(&may_fill)).await?;
                }
                held.extend(relay.chunk_of(transaction, found, since).await?);
            }
            around(RelayStep::Dead, relay_gaps::remove(transaction, &over)).await?;
            Ok(FromGaps { held, is_open, above: last })
        })
        .await
}

/// What a look at the gaps finds.
#[derive(Default)]
pub(super) struct Look {
    pub(super) open: Vec<Gap>,
    pub(super) writers: Vec<Writer>,
    pub(super) events: Vec<Event>,
}

/// Looks in this order: a gap that is read has its writer among those who write, or this has ended; and who has ended by
/// then has committed before the events are read.
pub(super) async fn look(transaction: &Transaction, slot: &Slot, above: i64) -> Result<Look, DatabaseError> {
    let open = around(RelayStep::Gaps, relay_gaps::lock(transaction, slot, above, GAPS_AT_ONCE)).await?;
    if open.is_empty() {
        return Ok(Look::default());
    }
    let writers = around(RelayStep::Writers, outbox::writers(transaction)).await?;
    let events = around(RelayStep::Fill, outbox::within(transaction, &ranges(&open))).await?;
    Ok(Look { open, writers, events })
}

pub(super) fn ranges(gaps: &[Gap]) -> Vec<RangeInclusive<i64>> {
    gaps.iter().map(|gap| gap.positions.clone()).collect()
}

/// Takes up the refused events whose next attempt is due; under order, of each subject the first only. If this relay does not
/// say what became of them within a lease, they are due again.
pub(super) async fn failures<S: Sink>(relay: &Shared<S>) -> Result<Vec<Event>, DatabaseError> {
    let (sink, lease) = (&relay.slot.sink, relay.settings.lease);
    relay
        .database
        .unflushed_transaction(async |transaction| {
            let taking = async {
                match relay.settings.ordered {
                    true => relay_failures::take_first_due(transaction, sink, FAILURES_AT_ONCE, lease).await,
                    false => relay_failures::take_due(transaction, sink, FAILURES_AT_ONCE, lease).await,
                }
            };
            let due = around(RelayStep::TryAgain, taking).await?;
            let due: Vec<_> = due.into_iter().map(|position| position..=position).collect();
            if due.is_empty() { Ok(Vec::new()) } else { outbox::within(transaction, &due).await }
        })
        .await
}

/// Notes what has become of events that were tried again. Gives the number of those that are set aside.
pub(super) async fn settle_failures<S: Sink>(
    relay: &Shared<S>,
    taken: &[i64],
    refused: &[Failure],
) -> Result<u64, DatabaseError> {
    let sink = &relay.slot.sink;
    let retrying = relay.settings.retrying();
    relay
        .database
        .unflushed_transaction(async |transaction| {
            around(RelayStep::Settle, relay_failures::remove(transaction, sink, taken)).await?;
            relay_failures::refused_again(transaction, sink, refused, retrying).await
        })
        .await
}

/// Leases a chunk for longer; `false` where somebody else has it.
pub(super) async fn renew<S: Sink>(relay: &Shared<S>, chunk: &Chunk) -> Result<bool, DatabaseError> {
    let renew = async |transaction: &Transaction| {
        around(RelayStep::Renew, relay_chunks::renew(transaction, chunk, relay.settings.lease)).await
    };
    relay.database.unflushed_transaction(renew).await
}

/// Lets go of a chunk whose events are carried, but for those that the sink refuses, which are noted in the same transaction.
/// `false` where somebody else has it, and carries all of it again.
pub(super) async fn close<S: Sink>(
    relay: &Shared<S>,
    chunk: &Chunk,
    refused: &[Failure],
) -> Result<bool, DatabaseError> {
    relay
        .database
        .unflushed_transaction(async |transaction| {
            let was_ours = end(relay, transaction, chunk).await?;
            if mutants::may_note(was_ours) {
                note_refused(relay, transaction, refused).await?;
            }
            Ok(was_ours)
        })
        .await
}

/// Removes a chunk, if it is still this relay's, and now and then the marks of long ago.
pub(super) async fn end<S: Sink>(
    relay: &Shared<S>,
    transaction: &Transaction,
    chunk: &Chunk,
) -> Result<bool, DatabaseError> {
    let was_ours = around(RelayStep::Close, mutants::close(transaction, chunk)).await?;
    if was_ours && chunk.is_one_in(MARKS_KEPT as u128) {
        relay_marks::prune(transaction, &relay.slot, MARKS_KEPT).await?;
    }
    Ok(was_ours)
}

/// Notes what the sink has refused.
pub(super) async fn note_refused<S: Sink>(
    relay: &Shared<S>,
    transaction: &Transaction,
    refused: &[Failure],
) -> Result<(), DatabaseError> {
    if refused.is_empty() {
        return Ok(());
    }
    let noting = relay_failures::note(transaction, &relay.slot.sink, refused, relay.settings.retrying());
    around(RelayStep::Refused, noting).await
}

/// Gives a chunk back, so that another relay can take it over at once.
pub(super) async fn release<S: Sink>(relay: &Shared<S>, chunk: &Chunk) -> Result<bool, DatabaseError> {
    let release = async |transaction: &Transaction| {
        around(RelayStep::Release, relay_chunks::renew(transaction, chunk, Duration::ZERO)).await
    };
    relay.database.unflushed_transaction(release).await
}

/// Whether every event that can be seen is carried or set aside or, under order, stands behind one that is set aside.
pub(super) async fn has_carried_all<S: Sink>(relay: &Shared<S>) -> Result<bool, DatabaseError> {
    let slot = &relay.slot;
    relay
        .database
        .snapshot(async |seen| {
            let frontier = relay_marks::frontier(seen, slot).await?;
            Ok(outbox::above(seen, frontier, 1).await?.is_empty()
                && relay_chunks::count(seen, &slot.sink).await? == 0
                && relay_gaps::count(seen, &slot.sink).await? == 0
                && !waits(seen, relay).await?)
        })
        .await
}

async fn waits<S: Sink>(seen: &Transaction, relay: &Shared<S>) -> Result<bool, DatabaseError> {
    let sink = &relay.slot.sink;
    match relay.settings.ordered {
        true => relay_failures::waits_in_order(seen, sink).await,
        false => Ok(relay_failures::count(seen, sink).await?.waiting > 0),
    }
}

impl<S: Sink> Shared<S> {
    /// A chunk of these events, which lie close together.
    async fn chunk_of(
        &self,
        transaction: &Transaction,
        events: Vec<Event>,
        since: Instant,
    ) -> Result<Option<Held>, DatabaseError> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(None) };
        let positions = first.position..=last.position;
        let lease = self.settings.lease;
        let chunk = relay_chunks::open(transaction, &self.slot, positions, &self.owner, lease).await?;
        Ok(Some(Held { chunk, events, how: TakenUp::FromGap, since }))
    }
}
