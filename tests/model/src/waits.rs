//! Who waits for whom: one that wants what an undecided transaction holds waits until that one is decided.

use crate::attempt::{Attempt, Lock};
use crate::database::Transaction;
use crate::mutant::Mutant;
use crate::protocol::State;
use crate::world::{Claim, LANES, MESSAGES, World, message_of};

/// What can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// A lane.
    Lane(usize),
    /// The operator's replay.
    Replay,
    /// The operator's import.
    Importer,
}

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// One that may wait too.
    Party(Party),
    /// The server, which decides by itself.
    Orphan,
}

/// Everybody.
pub fn parties() -> impl Iterator<Item = Party> {
    (0..LANES).map(Party::Lane).chain([Party::Replay, Party::Importer])
}

/// For whom somebody waits now.
pub fn waits_for(world: &World, state: &State, me: Party) -> Option<Holder> {
    let lock = wanted(state, me)?;
    let reads = world.has(Mutant::ClaimByReading) && matches!(me, Party::Lane(_));
    let reads_dirty = world.has(Mutant::AbsorbedByUncommitted) && matches!(lock, Lock::Identity(_));
    let locks_nothing =
        world.has(Mutant::ReplayWithoutLocks) && me == Party::Replay && !matches!(lock, Lock::Identity(_));
    let resumes = |claim| in_lane_requeued(state, me, claim);
    let passes = world.has(Mutant::RequeueWithoutLocks)
        && matches!(lock, Lock::Letter(claim) | Lock::Message(claim) if resumes(claim));
    if reads || reads_dirty || locks_nothing || passes {
        return None;
    }
    let is_kept = |transactions: &[Transaction]| transactions.iter().any(|transaction| transaction.holds(lock));
    let waits_for_doubt = !world.has(Mutant::PreparedNotWaitedFor);
    let rival = |party: &Party| *party != me && keeps(world, state, *party, lock);
    let rival = parties().find(rival).map(Holder::Party);
    let by_server = || is_kept(state.database.orphans()) || waits_for_doubt && is_kept(state.database.in_doubt());
    rival.or_else(|| by_server().then_some(Holder::Orphan))
}

/// Whether this is a lane, and has a message in hand that was sent back.
fn in_lane_requeued(state: &State, me: Party, claim: Claim) -> bool {
    match me {
        Party::Lane(lane) => state.lanes[lane].requeued.has(message_of(claim)),
        Party::Replay | Party::Importer => false,
    }
}

/// Whether some wait for each other in a circle: on a real server one of them is ended, and begins again.
pub fn any_circle(world: &World, state: &State) -> bool {
    parties().any(|first| {
        let mut party = first;
        for _ in 0..=LANES + 1 {
            match waits_for(world, state, party) {
                Some(Holder::Party(next)) if next == first => return true,
                Some(Holder::Party(next)) => party = next,
                Some(Holder::Orphan) | None => return false,
            }
        }
        false
    })
}

/// Whether a lane claims what is older than the horizon under its own time, and would do so again whenever it began anew.
pub fn any_runs_in_vain(world: &World, state: &State) -> bool {
    state.lanes.iter().any(|lane| match lane.attempt.next_lock(lane.release.sorts) {
        Some(Lock::Message(claim)) => {
            let again = world.claim(message_of(claim), lane.release.scheme, state.database.horizon) == claim;
            again && claim >= MESSAGES && world.is_old(message_of(claim), state.database.horizon)
        }
        _ => false,
    })
}

/// The transactions of all others, orphans among them.
pub fn others(state: &State, me: Party) -> impl Iterator<Item = &Transaction> {
    let rivals = parties().filter(move |party| *party != me).map(|party| &attempt(state, party).transaction);
    rivals.chain(state.database.orphans())
}

/// What somebody takes next.
pub fn wanted(state: &State, me: Party) -> Option<Lock> {
    let sorts = match me {
        Party::Lane(lane) => state.lanes[lane].release.sorts,
        Party::Replay | Party::Importer => true,
    };
    attempt(state, me).next_lock(sorts)
}

fn keeps(world: &World, state: &State, party: Party, lock: Lock) -> bool {
    let claims_later = world.has(Mutant::ClaimInALaterTransaction) && matches!(party, Party::Lane(_));
    !claims_later && attempt(state, party).transaction.holds(lock)
}

fn attempt(state: &State, party: Party) -> &Attempt {
    match party {
        Party::Lane(lane) => &state.lanes[lane].attempt,
        Party::Replay => &state.replay.attempt,
        Party::Importer => &state.importer.attempt,
    }
}
