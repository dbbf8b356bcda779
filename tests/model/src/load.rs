//! The one transaction of a lane: claims, rows, dead letters and events, or nothing; `src/load.rs` of the loader.

use crate::attempt::{Attempt, Client, Progress, Stage, uncommitted};
use crate::database::{Outcome, Transaction};
use crate::lane::{Lane, Move};
use crate::mutant::Mutant;
use crate::protocol::State;
use crate::set::Set;
use crate::waits::{Party, others, waits_for};
use crate::world::{Body, Claim, Duty, MESSAGES, Message, World, message_of};

/// Whether the horizon can move, so that when it is read makes a difference.
pub fn reads_horizon(world: &World) -> bool {
    world.allows(Duty::Retain)
}

/// What a lane can do in its transaction.
pub fn moves(world: &World, state: &State, lane: usize, mut add: impl FnMut(Move)) {
    let this = &state.lanes[lane];
    match this.attempt.stage {
        Stage::Begin => {
            add(Move::Begins(state.database.horizon));
            if world.has(Mutant::HorizonByLocalClock) && state.database.horizon < world.sent.len() {
                add(Move::Begins(state.database.horizon + 1));
            }
        }
        Stage::Letters | Stage::Messages | Stage::Keys if waits_for(world, state, Party::Lane(lane)).is_some() => {}
        Stage::Letters | Stage::Messages | Stage::Keys => add(Move::Claims),
        Stage::Owners => add(Move::ReadsOwners),
        Stage::Record if is_refused(world, state, &this.attempt) => add(Move::IsRefused),
        Stage::Record => add(Move::Commits),
    }
}

/// The faults that can strike a lane in its transaction. What changes nothing cannot be lost.
pub fn faults(world: &World, state: &State, lane: usize, add: &mut impl FnMut(Move)) {
    let attempt = &state.lanes[lane].attempt;
    if attempt.transaction.is_empty() {
        return;
    }
    match attempt.stage {
        Stage::Begin => {}
        Stage::Record if is_refused(world, state, attempt) => {}
        Stage::Letters | Stage::Messages | Stage::Keys | Stage::Owners => add(Move::LosesTransaction),
        Stage::Record => {
            [Move::ServerAborts, Move::IsCutOff, Move::LosesAnswer, Move::CrashesCommitting].into_iter().for_each(add);
        }
    }
}

/// Begins: each message is claimed under its own time, and what is older than the horizon under the constant one.
///
/// A message that was sent back meets its claim under its own time as long as that stands.
pub fn begin(world: &World, lane: &mut Lane, horizon: usize, is_claimed: impl Fn(Claim) -> bool) {
    let scheme = lane.release.scheme;
    let meets_its_own = |message: &Message| lane.requeued.has(*message) && is_claimed(MESSAGES + *message);
    let claim = |message| match lane.untimed.has(message) {
        true => message,
        false if meets_its_own(&message) => MESSAGES + message,
        false => world.claim(message, scheme, horizon),
    };
    let batch = lane.batch.iter().map(claim).collect();
    let is_old = |message: &Message| world.is_old(*message, horizon) && !meets_its_own(message);
    let old = lane.batch.iter().filter(is_old).map(claim).collect();
    lane.attempt = Attempt { batch, old, ..Attempt::default() };
    lane.attempt = Attempt::new(&client(world, lane), batch, old);
}

/// What a lane knows of its batch.
pub fn client<'w>(world: &'w World, lane: &Lane) -> Client<'w> {
    let letters = lane.letters.iter().flat_map(|message| world.claims_of(message)).collect();
    let logins = lane.attempt.batch - lane.attempt.old - letters;
    let resumes = logins.iter().filter(|claim| lane.requeued.has(message_of(*claim)) && *claim >= MESSAGES).collect();
    Client {
        world,
        replays: false,
        logins,
        resumes,
        scheme: lane.release.scheme,
        key_replaced: lane.release.key_replaced,
        sorts: lane.release.sorts,
    }
}

/// Takes the next claim, or reads the owners.
pub fn step(world: &World, state: &mut State, lane: usize) {
    let unseen = match world.has(Mutant::AbsorbedByUncommitted) {
        true => uncommitted(others(state, Party::Lane(lane))),
        false => Default::default(),
    };
    let State { database, lanes, .. } = state;
    let lane = &mut lanes[lane];
    match client(world, lane).step(&mut lane.attempt, database, &unseen) {
        Progress::GoesOn => {}
        Progress::RunsAgain => lane.run_again(world),
        Progress::Stops => lane.start_again(database.key_replaced),
    }
    if world.has(Mutant::ClaimInAnEarlierTransaction) && lane.attempt.stage == Stage::Record {
        let transaction = &mut lane.attempt.transaction;
        let (rows, events) = (std::mem::take(&mut transaction.rows), std::mem::take(&mut transaction.events));
        database.commit(std::mem::replace(transaction, Transaction { rows, events, ..Transaction::default() }));
    }
}

/// Whether the database refuses a row of this transaction.
pub fn is_refused(world: &World, state: &State, attempt: &Attempt) -> bool {
    let refuses = |claim| world.sent[message_of(claim)].body == Body::Refused;
    !state.constraint_dropped && attempt.transaction.rows.iter().any(refuses)
}

/// The transaction is rolled back and the batch is split, so that the refused row is found and its neighbour lands. A
/// batch of one goes back to the queue while it has attempts left, and is a dead letter after that.
pub fn split(world: &World, lane: &mut Lane) {
    let Some(first) = lane.batch.first() else { return };
    if world.has(Mutant::BatchErrorDeadLettersNeighbours) {
        lane.letters |= lane.batch;
    } else if lane.batch.len() > 1 {
        lane.rest |= lane.batch - Set::of(first);
        lane.batch = Set::of(first);
    } else if lane.hand[first].first().is_some_and(|attempts| attempts < world.max_attempts) {
        lane.give_back(first);
        return lane.go_on(world);
    } else {
        lane.letters |= Set::of(first);
    }
    lane.run_again(world);
}

/// What a lane commits by its COMMIT.
pub fn sent(world: &World, lane: &Lane) -> Transaction {
    let Transaction { rows, events, .. } = lane.attempt.transaction;
    match world.has(Mutant::ClaimInALaterTransaction) {
        true => Transaction { rows, events, ..Transaction::default() },
        false => lane.attempt.transaction,
    }
}

/// The server commits, and its answer names the transaction committed (`pg_xact_status`).
pub fn commit(world: &World, state: &mut State, lane: usize) {
    let State { database, lanes, .. } = state;
    let lane = &mut lanes[lane];
    database.commit_in(world, sent(world, lane));
    if world.has(Mutant::ClaimInALaterTransaction) {
        let none = Set::default();
        database.commit(Transaction { rows: none, events: none, ..lane.attempt.transaction });
    }
    if world.has(Mutant::EventsInLaterTransaction) {
        database.commit(Transaction { events: lane.attempt.transaction.rows, ..Transaction::default() });
    }
    committed(world, lane);
}

/// The server aborts. Anything but `committed` is as ambiguous as no answer.
pub fn abort(world: &World, state: &mut State, lane: usize) {
    let lane = &mut state.lanes[lane];
    if world.has(Mutant::CommitNotVerified) { committed(world, lane) } else { doubt(world, lane) }
}

/// The client gives up, and the server has the transaction still: it may commit even after it is run again.
pub fn cut_off(world: &World, state: &mut State, lane: usize) {
    let State { database, lanes, .. } = state;
    database.orphan(sent(world, &lanes[lane]));
    doubt(world, &mut lanes[lane]);
}

/// The server committed, and the client does not learn it.
pub fn lose_answer(world: &World, state: &mut State, lane: usize) {
    let State { database, lanes, .. } = state;
    let committed = match world.has(Mutant::OnePhase) {
        true => Transaction { events: Set::default(), ..sent(world, &lanes[lane]) },
        false => sent(world, &lanes[lane]),
    };
    database.commit_in(world, committed);
    doubt(world, &mut lanes[lane]);
}

/// The commit may or may not hold: the same transaction runs again, and its claims decide.
fn doubt(world: &World, lane: &mut Lane) {
    if world.has(Mutant::AmbiguousCommitTakenAsCommitted) {
        return committed(world, lane);
    }
    if world.has(Mutant::AmbiguousCommitDeadLettered) {
        lane.letters |= lane.batch;
    }
    lane.in_doubt = true;
    lane.run_again(world);
}

/// The batch is recorded for good.
fn committed(world: &World, lane: &mut Lane) {
    lane.in_doubt = false;
    lane.committed |= std::mem::take(&mut lane.batch);
    if world.has(Mutant::HalfTakenForWhole) {
        lane.committed |= std::mem::take(&mut lane.rest);
    }
    lane.go_on(world);
}

/// The claims of a transaction that are to become this.
pub fn outcomes(attempt: &Attempt, is_it: impl Fn(Outcome) -> bool) -> Set {
    (0..2 * MESSAGES).filter(|claim| is_it(attempt.transaction.outcomes[*claim])).collect()
}
