//! Where a relay can be broken on purpose, so that the tests can be seen to find it.

use std::future::ready;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::time::Instant;

use super::Shared;
use super::claim::{self, GAPS_AT_ONCE, Held, Look, ranges};
use super::gaps;
use crate::database::{DatabaseError, Transaction};
use crate::failpoint::{Mutant, RelayStep, around, mutated, unless};
use crate::metrics::TakenUp;
use crate::sink::{Carried, Sink, SinkError};
use crate::table::outbox::{self, Writer};
use crate::table::relay_chunks::{self, Chunk};
use crate::table::relay_failures::Failure;
use crate::table::relay_slot::Slot;
use crate::table::{relay_gaps, relay_marks};

/// The next chunk; a mutant moves the frontier before it opens one.
pub(super) async fn next<S: Sink>(relay: &Shared<S>) -> Result<Option<Held>, DatabaseError> {
    unless(Mutant::MarkBeforeChunk, relay, claim::next, mark_and_then_open).await
}

async fn mark_and_then_open<S: Sink>(relay: &Shared<S>) -> Result<Option<Held>, DatabaseError> {
    let Shared { slot, settings, database, owner, .. } = relay;
    let mark = async |transaction: &Transaction| {
        let frontier = relay_marks::frontier(transaction, slot).await?;
        let events = outbox::above(transaction, frontier, i64::from(settings.chunk)).await?;
        let Some(last) = events.last().map(|event| event.position) else { return Ok(None) };
        relay_marks::append(transaction, slot, last).await?;
        Ok(Some((frontier + 1..=last, events)))
    };
    let Some((positions, events)) = database.unflushed_transaction(mark).await? else { return Ok(None) };
    let open = async |transaction: &Transaction| {
        let opening = relay_chunks::open(transaction, slot, positions.clone(), owner, settings.lease);
        around(RelayStep::Open, opening).await
    };
    let chunk = database.unflushed_transaction(open).await?;
    Ok(Some(Held { chunk, events, how: TakenUp::Claimed, since: Instant::now() }))
}

/// Whether nobody else claims; a mutant claims all the same.
pub(super) fn may_claim(is_locked: bool) -> bool {
    mutated(Mutant::ClaimWithoutLock, is_locked, |_| true)
}

static REMEMBERED: AtomicI64 = AtomicI64::new(0);

/// The frontier that the table says; a mutant takes the one that it remembers.
pub(super) fn frontier(frontier: i64) -> i64 {
    mutated(Mutant::FrontierInMemory, frontier, |frontier| frontier.max(REMEMBERED.load(Ordering::SeqCst)))
}

/// Nothing; a mutant remembers the frontier.
pub(super) fn remember(frontier: i64) {
    mutated(Mutant::FrontierInMemory, (), |()| {
        REMEMBERED.fetch_max(frontier, Ordering::SeqCst);
    });
}

/// What is missing; a mutant does not care.
pub(super) fn missing(missing: Vec<RangeInclusive<i64>>) -> Vec<RangeInclusive<i64>> {
    mutated(Mutant::GapsNotNoted, missing, |_| Vec::new())
}

/// A look at the gaps; mutants look in another order.
pub(super) async fn look(transaction: &Transaction, slot: &Slot, above: i64) -> Result<Look, DatabaseError> {
    let or_locks_first = |()| {
        let look = |()| claim::look(transaction, slot, above);
        unless(Mutant::LocksReadBeforeGaps, (), look, |()| look_at_locks_first(transaction, slot, above))
    };
    unless(Mutant::RowsReadBeforeLocks, (), or_locks_first, |()| look_at_rows_first(transaction, slot, above)).await
}

async fn look_at_rows_first(transaction: &Transaction, slot: &Slot, above: i64) -> Result<Look, DatabaseError> {
    let open = around(RelayStep::Gaps, relay_gaps::lock(transaction, slot, above, GAPS_AT_ONCE)).await?;
    if open.is_empty() {
        return Ok(Look::default());
    }
    let events = around(RelayStep::Fill, outbox::within(transaction, &ranges(&open))).await?;
    let writers = around(RelayStep::Writers, outbox::writers(transaction)).await?;
    Ok(Look { open, writers, events })
}

async fn look_at_locks_first(transaction: &Transaction, slot: &Slot, above: i64) -> Result<Look, DatabaseError> {
    let writers = around(RelayStep::Writers, outbox::writers(transaction)).await?;
    let open = around(RelayStep::Gaps, relay_gaps::lock(transaction, slot, above, GAPS_AT_ONCE)).await?;
    let events = around(RelayStep::Fill, outbox::within(transaction, &ranges(&open))).await?;
    Ok(Look { open, writers, events })
}

/// Who may still fill a gap; a mutant asks nobody, or takes a prepared transaction for another after a crash.
pub(super) fn may_fill(known: Option<&[String]>, now: &[Writer]) -> Vec<String> {
    let may_fill = mutated(Mutant::GapsDeadAtFirstSight, gaps::may_fill(known, now), |_| Vec::new());
    mutated(Mutant::PreparedKnownById, may_fill, |mut may_fill| {
        may_fill.retain(|id| known.is_none_or(|known| known.contains(id)));
        may_fill
    })
}

/// Nothing; a mutant closes a chunk whose events are still to be carried.
pub(super) async fn before_it_is_carried<S: Sink>(relay: &Shared<S>, chunk: &Chunk) -> Result<(), DatabaseError> {
    let close = |()| async { claim::close(relay, chunk, &[]).await.map(drop) };
    unless(Mutant::CloseBeforeSent, (), |()| ready(Ok(())), close).await
}

/// What the sink says; a mutant takes one that is away for one that refuses, or does not look at what it says of each event.
pub(super) fn answer(answer: Result<Vec<Carried>, SinkError>, events: usize) -> Result<Vec<Carried>, SinkError> {
    let answer = mutated(Mutant::AwayTakenAsRefused, answer, |answer| match answer {
        Err(SinkError::Away(cause)) => Err(SinkError::Refused(cause)),
        answer => answer,
    });
    mutated(Mutant::FailedTakenAsTaken, answer, |answer| answer.map(|_| vec![Carried::Taken; events]))
}

/// Closes a chunk and notes what was refused; a mutant does so one after the other.
pub(super) async fn close_noting<S: Sink>(
    relay: &Shared<S>,
    chunk: &Chunk,
    refused: &[Failure],
) -> Result<bool, DatabaseError> {
    let close = |()| claim::close(relay, chunk, refused);
    unless(Mutant::RefusalsNotedAfterClose, (), close, |()| close_and_then_note(relay, chunk, refused)).await
}

async fn close_and_then_note<S: Sink>(
    relay: &Shared<S>,
    chunk: &Chunk,
    refused: &[Failure],
) -> Result<bool, DatabaseError> {
    let was_ours = claim::close(relay, chunk, &[]).await?;
    let note = async |transaction: &Transaction| claim::note_refused(relay, transaction, refused).await;
    relay.database.unflushed_transaction(note).await?;
    Ok(was_ours)
}

/// Removes a chunk that is still this relay's; a mutant removes that of another one too.
pub(super) async fn close(transaction: &Transaction, chunk: &Chunk) -> Result<bool, DatabaseError> {
    let of_anybody = |()| relay_chunks::close_of_anybody(transaction, chunk);
    unless(Mutant::CloseWithoutLease, (), |()| relay_chunks::close(transaction, chunk), of_anybody).await
}

/// Whether what was refused is noted: where the chunk was still this relay's, or by a mutant.
pub(super) fn may_note(was_ours: bool) -> bool {
    mutated(Mutant::RefusalsOfLostChunkNoted, was_ours, |_| true)
}
