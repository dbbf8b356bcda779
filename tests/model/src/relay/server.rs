//! A crash of the server: transactions that run are dead, prepared ones come back, and of what nobody waited for, the
//! log has a part from its beginning.

use crate::relay::mutant::Mutant;
use crate::relay::protocol::{Action, State};
use crate::relay::retention::Pruner;
use crate::relay::worker::Task;
use crate::relay::world::{Position, Quirk, World};

/// How a crash ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// How many of the commits that nobody waited for are in the log.
    pub keeps: usize,
    /// Where the sequence stands.
    pub sequence: Position,
}

/// Every way in which the server may crash now.
pub fn crashes(world: &World, state: &State, moves: &mut Vec<Action>) {
    for (keeps, tables) in state.store.past.iter().chain([&state.store.now]).enumerate() {
        let last = tables.committed.last().unwrap_or(0).max(state.outbox.last_prepared());
        let lowest = if world.shows(Quirk::SequenceIsLogged) { tables.sequence.max(last) } else { last };
        let ways = (lowest..=state.outbox.sequence).map(|sequence| Action::ServerCrashes(Crash { keeps, sequence }));
        moves.extend(ways);
    }
}

/// The state after a crash.
pub fn crash(world: &World, state: &mut State, crash: Crash) {
    state.store.crash(crash.keeps, state.crashes_left > 0);
    state.outbox.crash(crash.sequence);
    if !world.has(Mutant::LowWaterKeptOverCrash) {
        state.pruner = Pruner::Idle;
    }
    for relay in &mut state.relays {
        if relay.is_in_transaction() {
            relay.task = Task::Idle;
        }
        if let Task::Sends { chunk, taken_back, .. } = &mut relay.task {
            *taken_back = state.store.now.books[relay.sink].chunk(*chunk).is_none();
        }
    }
    state.stir();
}
