//! What is dropped, and what the operator does: partitions below the low water of every sink, a sink that is added, an
//! event that was set aside and is sent again.

use crate::relay::books::Failure;
use crate::relay::mutant::Mutant;
use crate::relay::protocol::{Action, State};
use crate::relay::world::{Position, Quirk, SINKS, World};

/// Who drops partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pruner {
    /// Is not at it.
    #[default]
    Idle,
    /// A mutant's: knows what is open, and not yet the frontier.
    KnowsOpen(Position),
    /// Knows the low water, and keeps others from changing what it depends on.
    Knows(Position),
    /// Has noted that what lies up to there goes.
    Noted(Position),
    /// A mutant's: it is gone, and not noted yet.
    Gone(Position),
}

/// What is done about retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// The pruner reads the low water of all sinks, in one snapshot.
    ReadsLowWater,
    /// A mutant's: it reads what is open.
    ReadsOpen,
    /// It notes what goes, and waits for the flush.
    Notes,
    /// It detaches what lies below: nobody sees it any more.
    Detaches,
    /// It dies, and its lock is free.
    Dies,
}

/// What the operator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// A sink is added. It begins after what is noted.
    AddsSink(usize),
    /// An event that was set aside is to be sent again.
    SendsAgain(usize, Position),
    /// A failure is given up. Under order only: elsewhere it changes nothing for any other event.
    Discards(usize, Position),
}

/// What the pruner can do now.
pub fn moves(world: &World, state: &State, moves: &mut Vec<Action>) {
    if !world.shows(Quirk::Prunes) {
        return;
    }
    let step = match state.pruner {
        Pruner::Idle if world.has(Mutant::NotedTakenForLowWater) && state.outbox.noted > state.outbox.pruned => {
            Move::Detaches
        }
        Pruner::Idle if low_water(world, state) <= state.outbox.pruned => return,
        Pruner::Idle if world.has(Mutant::LowWaterInTwoReads) => Move::ReadsOpen,
        Pruner::Idle | Pruner::KnowsOpen(_) => Move::ReadsLowWater,
        Pruner::Knows(_) if world.has(Mutant::NotedAfterDrop) => Move::Detaches,
        Pruner::Knows(_) | Pruner::Gone(_) => Move::Notes,
        Pruner::Noted(_) => Move::Detaches,
    };
    moves.push(Action::Pruner(step));
}

/// What may happen to the pruner now.
pub fn faults(state: &State, moves: &mut Vec<Action>) {
    if state.pruner != Pruner::Idle {
        moves.push(Action::Pruner(Move::Dies));
    }
}

/// The state after a move of the pruner.
pub fn make(world: &World, state: &mut State, step: Move) {
    match (step, state.pruner) {
        (Move::ReadsOpen, _) => state.pruner = Pruner::KnowsOpen(low_water(world, state)),
        (Move::ReadsLowWater, Pruner::KnowsOpen(_)) => {
            state.pruner = Pruner::Knows(frontier(state));
        }
        (Move::ReadsLowWater, _) => state.pruner = Pruner::Knows(low_water(world, state)),
        (Move::Notes, Pruner::Knows(low_water)) => {
            note(state, low_water);
            state.pruner = Pruner::Noted(low_water);
        }
        (Move::Notes, Pruner::Gone(low_water)) => {
            note(state, low_water);
            state.pruner = Pruner::Idle;
        }
        (Move::Detaches, Pruner::Noted(low_water)) => {
            detach(state, low_water);
            state.pruner = Pruner::Idle;
        }
        (Move::Detaches, Pruner::Knows(low_water)) => {
            detach(state, low_water);
            state.pruner = Pruner::Gone(low_water);
        }
        (Move::Detaches, Pruner::Idle) => detach(state, state.outbox.noted),
        (Move::Dies, _) => state.pruner = Pruner::Idle,
        (Move::Notes | Move::Detaches, _) => {}
    }
}

fn note(state: &mut State, low_water: Position) {
    state.outbox.noted = state.outbox.noted.max(low_water);
    state.store.flush(state.outbox.sequence);
}

fn detach(state: &mut State, low_water: Position) {
    state.outbox.pruned = state.outbox.pruned.max(low_water);
    state.store.flush(state.outbox.sequence);
}

/// Up to where no sink needs the events any more.
pub fn low_water(world: &World, state: &State) -> Position {
    if world.has(Mutant::PruneUpToFrontier) {
        return frontier(state);
    }
    let asked = if world.has(Mutant::LowWaterOfOneSink) { 1 } else { SINKS };
    let books = state.store.now.books.iter().take(asked).filter(|books| books.exists);
    books.map(|books| books.low_water()).min().unwrap_or(0)
}

fn frontier(state: &State) -> Position {
    let books = state.store.now.books.iter().filter(|books| books.exists);
    books.map(|books| books.frontier).min().unwrap_or(0)
}

/// What the operator can do now.
pub fn duties(world: &World, state: &State, moves: &mut Vec<Action>) {
    let waits = |unless| state.pruner != Pruner::Idle && !world.has(unless);
    let books = state.store.now.books.iter().enumerate();
    for (sink, books) in books {
        let is_served = state.relays.iter().any(|relay| relay.sink == sink);
        if !books.exists && is_served && !waits(Mutant::SinkAddedWhilePruning) {
            moves.push(Action::Operator(Duty::AddsSink(sink)));
        }
        let set_aside = books.set_aside();
        let is_there = |position: &Position| world.has(Mutant::RetryOfTheDropped) || state.visible().has(*position);
        if !waits(Mutant::RetryOfTheDropped) {
            let again = set_aside.iter().filter(is_there).map(|position| Duty::SendsAgain(sink, position));
            moves.extend(again.map(Action::Operator));
        }
        if world.is_ordered() {
            let discards = books.blocking().iter().map(|position| Duty::Discards(sink, position));
            moves.extend(discards.map(Action::Operator));
        }
    }
}

/// The state after the operator did something.
pub fn perform(world: &World, state: &mut State, duty: Duty) {
    let noted = state.outbox.noted;
    state.store.commit(state.outbox.sequence, |tables| match duty {
        Duty::AddsSink(sink) => {
            let books = &mut tables.books[sink];
            (books.exists, books.begins, books.frontier) = (true, noted, noted);
        }
        Duty::SendsAgain(sink, position) => tables.books[sink].failures[position] = Failure::Waiting(0),
        Duty::Discards(sink, position) => tables.books[sink].failures[position] = Failure::Discarded,
    });
    if matches!(duty, Duty::Discards(..)) && !world.has(Mutant::DiscardNotFlushed) {
        state.store.flush(state.outbox.sequence);
    }
}
