//! A relay under order: one chunk at a time, and the frontier passes no position that may still be filled.
//!
//! What is missing is remembered in one gap of the sink. It covers everything from the frontier to the last row that was
//! seen when the first position was missing; what comes above it waits.

use crate::relay::books::{Books, Gap, Tables};
use crate::relay::mutant::Mutant;
use crate::relay::outbox::Locks;
use crate::relay::protocol::State;
use crate::relay::worker::{Move, Task, may_fill, open};
use crate::relay::world::{Position, World};
use crate::set::Set;

/// A claim under way: what it has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// The frontier, and the gap above it, once it is known that no chunk is open.
    begun: Option<(Position, Option<Gap>)>,
    /// The last position of the range that it decides on, once the rows are read or where a gap says it.
    last: Option<Position>,
    /// The rows in the range, as they were read last.
    rows: Option<Set>,
    /// Whether these were read after the locks.
    is_read_again: bool,
    /// Who writes.
    locks: Option<Locks>,
    /// The failures that keep others of their subjects waiting.
    held: Option<Set>,
}

impl Claim {
    /// What it does next.
    pub fn next_step(&self, world: &World) -> Move {
        let Some((frontier, _)) = self.begun else { return Move::ReadsFrontier };
        let missing = self.missing(frontier);
        match self {
            Self { locks: None, .. } if world.has(Mutant::LocksBeforeRows) => Move::ReadsLocks,
            Self { last: None, .. } => Move::ReadsRows,
            Self { rows: None, .. } if world.has(Mutant::RangeNotReadAgain) => Move::ReadsGaps,
            Self { locks: None, .. } if !missing.is_empty() && !world.has(Mutant::HolePassed) => Move::ReadsLocks,
            Self { locks: Some(_), is_read_again: false, .. } if !world.has(Mutant::RangeNotReadAgain) => {
                Move::ReadsGaps
            }
            Self { held: None, .. } if !world.has(Mutant::HeldNotRead) && self.comes_to(world).0 > frontier => {
                Move::ReadsHeld
            }
            Self { .. } => Move::Claims,
        }
    }

    fn missing(&self, frontier: Position) -> Set {
        let range: Set = (frontier + 1..=self.last.unwrap_or(frontier)).collect();
        range - self.rows.unwrap_or_default()
    }

    /// Up to where everything is decided, and what is left of the range.
    fn comes_to(&self, world: &World) -> (Position, Option<Gap>) {
        let Some((frontier, gap)) = self.begun else { return (0, None) };
        let last = self.last.unwrap_or(frontier);
        let writers =
            self.locks.map(|locks| may_fill(world, gap.and_then(|gap| gap.writers), locks)).unwrap_or_default();
        match self.missing(frontier).first() {
            Some(missing) if !writers.is_empty() => {
                (missing - 1, Some(Gap { positions: (missing..=last).collect(), writers: Some(writers) }))
            }
            Some(_) | None => (last, None),
        }
    }
}

/// What a claim begins with, where one may begin.
pub fn first_step(world: &World, books: &Books) -> Option<Move> {
    match world.has(Mutant::HeldReadFirst) {
        true => Some(Move::ReadsHeld),
        false if books.chunks.is_empty() || world.has(Mutant::SecondChunk) => Some(Move::ReadsFrontier),
        false => None,
    }
}

/// Whether a failure is not tried again because of an earlier one of its subject.
pub fn is_kept_waiting(world: &World, books: &Books, position: Position) -> bool {
    let blocking = match () {
        () if world.has(Mutant::RetryOutOfOrder) => Set::default(),
        () if world.has(Mutant::RetryPastSetAside) => books.waiting(),
        () if world.has(Mutant::DiscardedBlocks) => books.blocking() | books.discarded(),
        () => books.blocking(),
    };
    world.earlier(position).meets(blocking)
}

/// Which of these events stand behind others of their subjects.
pub fn behind(world: &World, others: Set, events: Set) -> Set {
    events.iter().filter(|event| world.earlier(*event).meets(others)).collect()
}

/// Makes a move of a claim under order; `false` where it is none.
pub fn make(world: &World, state: &mut State, me: usize, step: Move) -> bool {
    let mut claim = match state.relays[me].task {
        Task::ClaimsInOrder(claim) => claim,
        Task::Idle if world.is_ordered() && matches!(step, Move::ReadsFrontier | Move::ReadsHeld) => {
            state.relays[me].is_quiet = true;
            Claim::default()
        }
        _ => return false,
    };
    let books = &state.store.now.books[state.relays[me].sink];
    match step {
        Move::ReadsFrontier if !books.chunks.is_empty() && !world.has(Mutant::SecondChunk) => {
            state.relays[me].task = Task::Idle;
            return true;
        }
        Move::ReadsFrontier => begin(&mut claim, books),
        Move::ReadsRows => read_rows(world, &mut claim, state.visible()),
        Move::ReadsLocks => claim.locks = Some(state.outbox.locks()),
        Move::ReadsGaps => read_again(world, &mut claim, state.visible()),
        Move::ReadsHeld => claim.held = Some(books.blocking()),
        Move::Claims => {
            commit(world, state, me, claim);
            return true;
        }
        _ => return false,
    }
    state.relays[me].task = Task::ClaimsInOrder(claim);
    true
}

fn begin(claim: &mut Claim, books: &Books) {
    let gap = books.gaps.first().copied();
    claim.begun = Some((books.frontier, gap));
    claim.last = gap.and_then(|gap| gap.positions.last());
}

fn read_rows(world: &World, claim: &mut Claim, visible: Set) {
    let Some((frontier, _)) = claim.begun else { return };
    let rows: Set = visible.iter().filter(|position| *position > frontier).take(world.batch_size).collect();
    (claim.last, claim.rows) = (Some(rows.last().unwrap_or(frontier)), Some(rows));
    claim.is_read_again = claim.locks.is_some();
}

fn read_again(world: &World, claim: &mut Claim, visible: Set) {
    let Some((frontier, _)) = claim.begun else { return };
    if world.has(Mutant::RangeGrows) {
        claim.last = claim.last.max(visible.last());
    }
    let range: Set = (frontier + 1..=claim.last.unwrap_or(frontier)).collect();
    claim.rows = Some(visible & range);
    claim.is_read_again = claim.locks.is_some();
}

fn commit(world: &World, state: &mut State, me: usize, claim: Claim) {
    let Some((frontier, gap)) = claim.begun else { return };
    let (last, rest) = claim.comes_to(world);
    let sink = state.relays[me].sink;
    if last > frontier || rest != gap {
        state.stir();
    }
    let note = move |tables: &mut Tables| {
        tables.books[sink].gaps = rest.into_iter().collect();
        tables.books[sink].frontier = last;
    };
    if last == frontier {
        state.store.commit(state.outbox.sequence, note);
        state.relays[me].task = Task::Idle;
        return;
    }
    let covers: Set = (frontier + 1..=last).collect();
    let rows = covers & claim.rows.unwrap_or_default();
    let behind = behind(world, claim.held.unwrap_or_default(), rows);
    open(state, me, covers, rows - behind, note);
    if let Task::Sends { behind: kept, .. } = &mut state.relays[me].task {
        *kept = behind;
    }
}
