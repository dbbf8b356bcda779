//! The one transaction of a lane: claims, rows, dead letters and events, or nothing; `src/load.rs` and the
//! `Transaction` of `src/database.rs`.

use crate::database::Transaction;
use crate::lane::{Lane, Step};
use crate::protocol::State;
use crate::set::Set;
use crate::world::{Body, Hash, LANES, Mutant, World};

/// Whether the claim would come back: while a rival's claim of one of the hashes is not decided, it waits.
pub fn can_claim(world: &World, state: &State, lane: usize) -> bool {
    let this = &state.lanes[lane];
    let second = second_hashes(world, this, this.batch);
    let mut rivals = (0..LANES).filter(|other| *other != lane).map(|other| &state.lanes[other].transaction);
    let waits =
        state.database.keeps_waiting(this.batch, second) || rivals.any(|rival| rival.keeps_waiting(this.batch, second));
    !waits || world.has(Mutant::ClaimByReading)
}

/// Claims what nobody claimed before, under either hash. The rest are duplicates: there is nothing to write for them.
pub fn claim(world: &World, state: &mut State, lane: usize) {
    let State { database, lanes, .. } = state;
    let lane = &mut lanes[lane];
    let is_free = |hash: &Hash| lane.second_hash(world, *hash).is_none_or(|second| !database.second().has(second));
    lane.new = (lane.batch - database.claimed()).iter().filter(is_free).collect();
    let claims = Transaction {
        loaded: lane.new - lane.letters,
        dead_lettered: lane.new & lane.letters,
        second: second_hashes(world, lane, lane.new),
        ..Transaction::default()
    };
    if world.has(Mutant::ClaimInAnEarlierTransaction) {
        database.commit(claims);
    } else if !world.has(Mutant::ClaimInALaterTransaction) {
        lane.transaction = claims;
    }
    lane.step = Step::Record;
}

fn second_hashes(world: &World, lane: &Lane, hashes: Set) -> Set {
    hashes.iter().filter_map(|hash| lane.second_hash(world, hash)).collect()
}

/// Writes what belongs to the new claims, unless the database refuses one of the rows: then the transaction is rolled
/// back and the batch is split, so that the refused one is found and its neighbour lands.
pub fn record(world: &World, state: &mut State, lane: usize) {
    let refuses = |hash: Hash| {
        let refused = |message| world.bodies[message] == Body::Refused;
        !state.constraint_dropped && world.messages_of(hash).any(refused)
    };
    let lane = &mut state.lanes[lane];
    let logins = lane.new - lane.letters;
    if logins.iter().any(refuses) {
        return split(world, lane);
    }
    lane.transaction.rows = logins;
    if !world.has(Mutant::EventsInLaterTransaction) {
        lane.transaction.events = logins;
    }
    lane.transaction.letters = lane.new & lane.letters;
    lane.step = Step::SendCommit;
}

/// A batch of one goes back to the queue while it has attempts left, and is a dead letter after that.
fn split(world: &World, lane: &mut Lane) {
    lane.run_again();
    if world.has(Mutant::BatchErrorDeadLettersNeighbours) {
        lane.letters |= lane.batch;
        return;
    }
    let Some(first) = lane.batch.first() else { return };
    if lane.batch.len() > 1 {
        lane.rest |= lane.batch - Set::of(first);
        lane.batch = Set::of(first);
    } else if lane.attempts(first) < world.max_attempts {
        lane.give_back(first);
        lane.go_on();
    } else {
        lane.letters |= Set::of(first);
    }
}

/// The server commits; the answer is under way.
pub fn server_commits(state: &mut State, lane: usize) {
    let lane = &mut state.lanes[lane];
    state.database.commit(std::mem::take(&mut lane.transaction));
    lane.step = Step::AwaitYes;
}

/// The transaction has no effect, and its answer is under way.
pub fn server_aborts(state: &mut State, lane: usize) {
    let lane = &mut state.lanes[lane];
    lane.transaction = Transaction::default();
    lane.step = Step::AwaitNo;
}

/// The answer says which of the two it is (`pg_xact_status`): anything but `committed` is as ambiguous as none.
pub fn answered(world: &World, state: &mut State, lane: usize) {
    let State { database, lanes, .. } = state;
    let lane = &mut lanes[lane];
    if lane.step == Step::AwaitNo && !world.has(Mutant::CommitNotVerified) {
        return doubt(world, lane);
    }
    let logins = lane.new - lane.letters;
    if world.has(Mutant::ClaimInALaterTransaction) {
        let (dead_lettered, second) = (lane.new & lane.letters, second_hashes(world, lane, lane.new));
        database.commit(Transaction { loaded: logins, dead_lettered, second, ..Transaction::default() });
    }
    if world.has(Mutant::EventsInLaterTransaction) {
        database.commit(Transaction { events: logins, ..Transaction::default() });
    }
    committed(world, lane);
}

/// The client gives up, and the server has the transaction still: it may commit even after it is run again.
pub fn cut_off(world: &World, state: &mut State, lane: usize) {
    let lane = &mut state.lanes[lane];
    state.database.orphan(std::mem::take(&mut lane.transaction));
    doubt(world, lane);
}

/// The commit may or may not hold: the same transaction runs again, and its claims decide.
pub fn doubt(world: &World, lane: &mut Lane) {
    if world.has(Mutant::AmbiguousCommitTakenAsCommitted) {
        return committed(world, lane);
    }
    if world.has(Mutant::AmbiguousCommitDeadLettered) {
        lane.letters |= lane.batch;
    }
    lane.run_again();
    lane.in_doubt = true;
}

/// The batch is recorded for good.
fn committed(world: &World, lane: &mut Lane) {
    lane.in_doubt = false;
    lane.committed |= std::mem::take(&mut lane.batch);
    if world.has(Mutant::HalfTakenForWhole) {
        lane.committed |= std::mem::take(&mut lane.rest);
    }
    lane.go_on();
}
