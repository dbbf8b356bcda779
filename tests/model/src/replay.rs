//! A replay of dead letters (`src/replay.rs` of the loader): it locks them first, then their messages, and claims their keys
//! as a loader does, by the scheme that is recorded for their queue: that of whichever lane was started last.

use std::collections::BTreeSet;

use crate::attempt::{Attempt, Client, Progress, Stage, uncommitted};
use crate::database::{Letter, Reason};
use crate::load::is_refused;
use crate::mutant::Mutant;
use crate::protocol::{Action, State};
use crate::set::Set;
use crate::waits::{Party, others, waits_for};
use crate::world::{CLAIMS, Claim, Scheme, World, message_of};

/// The replay. After a crash it looks for open letters anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Replay {
    /// Its transaction, while it has letters.
    pub attempt: Attempt,
    /// How often it was begun.
    pub begun: u8,
    /// Whether its keyring has the new hash key.
    pub key_replaced: bool,
    /// The scheme that was recorded for the queue when it began.
    pub scheme: Scheme,
}

/// What the replay does, or what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// It reads the scheme of the queue, and takes up open letters.
    Takes(Set, Scheme),
    /// It takes the next lock or claim, which nobody else holds.
    Claims,
    /// It reads who owns the keys that it did not get.
    ReadsOwners,
    /// The server commits what it made of the letters.
    Commits,
    /// The database refuses a row: nothing changes.
    IsRefused,
    /// Fault: a statement of the replay fails, the server aborts it, or its process dies before COMMIT was sent.
    IsLost,
    /// Fault: the connection or the process is lost before the server decided. It will.
    IsCutOff,
}

impl Move {
    /// Whether it is one of the faults of which a world has so many.
    pub fn is_fault(self) -> bool {
        match self {
            Self::IsLost | Self::IsCutOff => true,
            Self::Takes(..) | Self::Claims | Self::ReadsOwners | Self::Commits | Self::IsRefused => false,
        }
    }
}

/// Takes up letters, which only an operator does.
pub fn beginnings(world: &World, state: &State, moves: &mut Vec<Action>) {
    if state.replay.is_idle() && state.replay.begun < world.replays {
        let open: Set = (0..CLAIMS).filter(|claim| can_take(world, state, *claim)).collect();
        let recorded: BTreeSet<Scheme> =
            state.lanes.iter().filter(|lane| lane.release.runs).map(|lane| lane.release.scheme).collect();
        for scheme in recorded {
            moves.extend(open.parts().map(|chunk| Action::Replay(Move::Takes(chunk, scheme))));
        }
    }
}

/// What a replay that is under way can do.
pub fn moves(world: &World, state: &State, moves: &mut Vec<Action>) {
    if state.replay.is_idle() {
        return;
    }
    let attempt = &state.replay.attempt;
    let step = match attempt.stage {
        Stage::Begin => return,
        Stage::Letters | Stage::Messages | Stage::Keys if waits_for(world, state, Party::Replay).is_some() => return,
        Stage::Letters | Stage::Messages | Stage::Keys => Move::Claims,
        Stage::Owners => Move::ReadsOwners,
        Stage::Record if is_refused(world, state, attempt) => Move::IsRefused,
        Stage::Record => Move::Commits,
    };
    moves.push(Action::Replay(step));
}

/// The faults that can strike the replay now.
pub fn faults(state: &State, moves: &mut Vec<Action>) {
    if !state.replay.is_idle() {
        moves.push(Action::Replay(Move::IsLost));
    }
    if state.replay.attempt.stage == Stage::Record {
        moves.push(Action::Replay(Move::IsCutOff));
    }
}

/// The state after a move of the replay.
pub fn make(world: &World, state: &mut State, step: Move) {
    match step {
        Move::Takes(chunk, scheme) => {
            state.replay.begun += 1;
            if world.has(Mutant::PlanRecordsBeforeReplay) {
                state.database.record_in_plan(chunk);
            }
            state.replay.scheme = scheme;
            state.replay.key_replaced = state.database.key_replaced;
            begin(world, state, chunk);
        }
        Move::Claims | Move::ReadsOwners => take(world, state),
        Move::Commits => {
            state.database.commit_in(world, state.replay.attempt.transaction);
            state.replay.end();
        }
        Move::IsCutOff => {
            state.database.orphan(state.replay.attempt.transaction);
            state.replay.end();
        }
        Move::IsRefused | Move::IsLost => state.replay.end(),
    }
}

fn begin(world: &World, state: &mut State, chunk: Set) {
    let attempt = Attempt::new(&client(world, state, chunk), chunk, Set::default());
    state.replay.attempt = attempt;
}

fn take(world: &World, state: &mut State) {
    let unseen = match world.has(Mutant::AbsorbedByUncommitted) {
        true => uncommitted(others(state, Party::Replay)),
        false => Default::default(),
    };
    let mut attempt = state.replay.attempt;
    let chunk = attempt.batch;
    match client(world, state, chunk).step(&mut attempt, &state.database, &unseen) {
        Progress::GoesOn => state.replay.attempt = attempt,
        Progress::RunsAgain => begin(world, state, chunk),
        Progress::Stops => state.replay.end(),
    }
}

/// What the replay knows of its letters.
fn client<'w>(world: &'w World, state: &State, chunk: Set) -> Client<'w> {
    let scheme = if world.has(Mutant::ReplayWithoutIdentity) {
        Scheme::MessageId
    } else if world.has(Mutant::ReplayByAnotherScheme) {
        Scheme::OtherField
    } else {
        state.replay.scheme
    };
    let resumes = Set::default();
    Client {
        world,
        replays: true,
        logins: chunk,
        resumes,
        scheme,
        key_replaced: state.replay.key_replaced,
        sorts: true,
    }
}

/// As long as what refused a letter is there, a replay reads it and changes nothing. What is older than memory it takes
/// only by force, which is left out here.
fn can_take(world: &World, state: &State, claim: Claim) -> bool {
    let record = state.database.record(claim);
    let accepted = record.letter == Letter::Open && state.accepts(world.sent[message_of(claim)].body);
    let accepted = accepted || record.letter == Letter::Open && world.has(Mutant::ReplayWithoutDecoding);
    accepted && (record.reason != Reason::OlderThanMemory || world.has(Mutant::ReplayOfTheForgotten))
}

impl Replay {
    /// Whether there is none under way.
    pub fn is_idle(&self) -> bool {
        self.attempt.batch.is_empty()
    }

    fn end(&mut self) {
        *self = Self { begun: self.begun, ..Self::default() };
    }
}
