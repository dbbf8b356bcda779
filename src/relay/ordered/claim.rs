//! The transactions of a relay that keeps order.
//!
//! Each is a transaction at READ COMMITTED whose statements see later and later states. That a chunk is this relay's is known
//! before it is read which subjects are held: by then the last owner of a chunk has noted what it left.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use tokio::time::Instant;

use super::subject_of;
use crate::database::{DatabaseError, Transaction};
use crate::metrics::TakenUp;
use crate::relay::claim::end;
use crate::relay::{Shared, gaps};
use crate::sink::Sink;
use crate::table::outbox::{self, Event};
use crate::table::relay_chunks::{self, Chunk};
use crate::table::relay_failures::{self, InOrder, Subject};
use crate::table::relay_gaps::{self, Gap};
use crate::table::{relay_marks, relay_sinks};

/// Events that this relay carries now. No `Debug`: it holds users' ids.
pub(super) struct Held {
    pub(super) chunk: Chunk,
    pub(super) events: Vec<Event>,
    /// The subjects whose earlier events are refused.
    pub(super) held: HashSet<Subject>,
    pub(super) how: TakenUp,
    /// Its lease began no earlier.
    pub(super) since: Instant,
}

/// Takes over the sink's chunk if its relay is gone, or claims the next where none is open; nothing where another relay carries,
/// or nothing can be carried yet.
pub(super) async fn next<S: Sink>(relay: &Shared<S>) -> Result<Option<Held>, DatabaseError> {
    let Shared { slot, settings, owner, .. } = relay;
    let since = Instant::now();
    relay
        .database
        .unflushed_transaction(async |transaction| {
            if !relay_sinks::try_lock(transaction, slot).await? {
                return Ok(None);
            }
            let (chunk, events, how) = match relay_chunks::take_over(transaction, slot, owner, settings.lease).await? {
                Some(chunk) => {
                    let events = outbox::within(transaction, std::slice::from_ref(&chunk.positions)).await?;
                    (chunk, events, TakenUp::TakenOver)
                }
                None if relay_chunks::count(transaction, &slot.sink).await? > 0 => return Ok(None),
                None => {
                    let Some((positions, events)) = final_events(transaction, relay).await? else { return Ok(None) };
                    let last = *positions.end();
                    let chunk = relay_chunks::open(transaction, slot, positions, owner, settings.lease).await?;
                    relay_marks::append(transaction, slot, last).await?;
                    (chunk, events, TakenUp::Claimed)
                }
            };
            let subjects: HashSet<Subject> =
                events.iter().map(|event| subject_of(event.subject(), &event.id)).collect();
            let subjects: Vec<Subject> = subjects.into_iter().collect();
            let held = relay_failures::held(transaction, &slot.sink, &subjects).await?.into_iter().collect();
            Ok(Some(Held { chunk, events, held, how, since }))
        })
        .await
}

/// The positions above the frontier at which nothing can appear any more, and the events there. What keeps others from being
/// final is noted in the one gap of the sink, which begins right above the frontier.
async fn final_events<S: Sink>(
    transaction: &Transaction,
    relay: &Shared<S>,
) -> Result<Option<(RangeInclusive<i64>, Vec<Event>)>, DatabaseError> {
    let (slot, most) = (&relay.slot, i64::from(relay.settings.chunk));
    let frontier = relay_marks::frontier(transaction, slot).await?;
    let gap = relay_gaps::lock(transaction, slot, 0, 1).await?.pop();
    let last = match &gap {
        Some(gap) => *gap.positions.end(),
        None => {
            let events = outbox::above(transaction, frontier, most).await?;
            let Some(last) = events.last().map(|event| event.position) else { return Ok(None) };
            if gaps::missing(frontier, positions(&events)).is_empty() {
                return Ok(Some((frontier + 1..=last, events)));
            }
            last
        }
    };
    // In this order: who has ended by the first look has committed before the second. Who begins after the rows were seen has
    // higher positions than the last of them.
    let writers = outbox::writers(transaction).await?;
    let mut events = outbox::above(transaction, frontier, most).await?;
    events.retain(|event| event.position <= last);
    let seen_to = events.last().filter(|_| events.len() as i64 == most).map_or(last, |event| event.position);
    let may_fill = gaps::may_fill(gap.as_ref().and_then(|gap| gap.writers.as_deref()), &writers);
    let until = final_until(frontier, seen_to, positions(&events), !may_fill.is_empty());
    note_rest(transaction, relay, gap, until + 1..=last, &may_fill).await?;
    events.retain(|event| event.position <= until);
    Ok((until > frontier).then_some((frontier + 1..=until, events)))
}

/// The last position up to which nothing can appear any more, where everything up to `seen_to` was looked at.
fn final_until(frontier: i64, seen_to: i64, seen: impl Iterator<Item = i64>, may_be_filled: bool) -> i64 {
    let missing = gaps::missing(frontier, seen.chain([seen_to + 1]));
    missing.first().filter(|_| may_be_filled).map_or(seen_to, |missing| missing.start() - 1)
}

/// Notes what is left of a range, and who may still fill it.
async fn note_rest<S: Sink>(
    transaction: &Transaction,
    relay: &Shared<S>,
    before: Option<Gap>,
    rest: RangeInclusive<i64>,
    may_fill: &[String],
) -> Result<(), DatabaseError> {
    match before {
        Some(gap) if gap.positions == rest && gap.writers.as_deref() == Some(may_fill) => Ok(()),
        Some(gap) if gap.positions == rest => relay_gaps::await_writers(transaction, gap.id, may_fill).await,
        gap => {
            let over: Vec<i64> = gap.iter().map(|gap| gap.id).collect();
            relay_gaps::remove(transaction, &over).await?;
            let rest = Some(rest).filter(|rest| !rest.is_empty());
            relay_gaps::note(transaction, &relay.slot, rest.as_slice(), Some(may_fill)).await
        }
    }
}

fn positions(events: &[Event]) -> impl Iterator<Item = i64> {
    events.iter().map(|event| event.position)
}

/// Lets go of a chunk whose events are carried, but for those that the sink refuses and what stands behind them. `false` where
/// somebody else has it, and carries all of it again.
pub(super) async fn close<S: Sink>(
    relay: &Shared<S>,
    chunk: &Chunk,
    failures: &[InOrder],
) -> Result<bool, DatabaseError> {
    let (sink, retrying) = (&relay.slot.sink, relay.settings.retrying());
    relay
        .database
        .unflushed_transaction(async |transaction| {
            let was_ours = end(relay, transaction, chunk).await?;
            if was_ours {
                relay_failures::note_in_order(transaction, sink, failures, retrying).await?;
            }
            Ok(was_ours)
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_final_from_the_first_position_on_that_may_still_be_filled() {
        let until = |seen: &[i64], may_be_filled| final_until(10, 15, seen.iter().copied(), may_be_filled);
        assert_eq!(until(&[11, 12, 13, 14, 15], true), 15);
        assert_eq!(until(&[11, 12, 14, 15], true), 12);
        assert_eq!(until(&[12, 15], true), 10);
        assert_eq!(until(&[11, 12, 14, 15], false), 15);
        assert_eq!(until(&[], false), 15);
    }
}
