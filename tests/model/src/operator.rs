//! What the operator does beside the lanes: replays and discards dead letters (`src/replay.rs`), changes the rules
//! that refused them, and prunes old claims.

use crate::database::{Claim, Letter, Transaction};
use crate::lane::Lane;
use crate::protocol::{Action, State};
use crate::queue::Place;
use crate::set::Set;
use crate::world::{Duty, HASHES, Hash, LANES, Message, Mutant, World};

/// A replay of one dead letter. After a crash, or when its transaction is to run again, it looks for an open letter anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Replay {
    step: Step,
    letter: Hash,
    transaction: Transaction,
}

/// What the replay does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Step {
    /// Takes an open letter.
    #[default]
    Take,
    /// Marks its claim, and writes its row and its event.
    Record,
    /// Sends COMMIT.
    SendCommit,
    /// Waits: the server has not decided yet.
    AwaitDecision,
    /// Waits for the answer to a commit that holds.
    AwaitYes,
}

/// What the operator does, or what happens to the replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// A lane that has nothing in hand goes on as one of the next release.
    Upgrades(usize),
    /// The database's constraint is dropped.
    DropsConstraint,
    /// The replay locks an open dead letter.
    TakesLetter(Hash),
    /// It marks the claim as loaded, writes row and event, and resolves the letter.
    Records,
    /// It sends COMMIT.
    SendsCommit,
    /// The server commits.
    ServerCommits,
    /// The server's answer comes.
    IsAnswered,
    /// A dead letter is discarded.
    Discards(Hash),
    /// A claim is removed whose messages the queue can no longer deliver.
    Prunes(Hash),
    /// Fault: a statement of the replay fails, the server aborts it, or its process dies before COMMIT was sent.
    LosesReplay,
    /// Fault: the connection or the process is lost before the server decided. It will.
    IsCutOff,
    /// Fault: the server committed, and the answer or the process is lost.
    LosesAnswer,
}

impl Move {
    /// Whether it is one of the faults of which a world has so many.
    pub fn is_fault(self) -> bool {
        match self {
            Self::LosesReplay | Self::IsCutOff | Self::LosesAnswer => true,
            Self::Upgrades(_)
            | Self::DropsConstraint
            | Self::TakesLetter(_)
            | Self::Records
            | Self::SendsCommit
            | Self::ServerCommits
            | Self::IsAnswered
            | Self::Discards(_)
            | Self::Prunes(_) => false,
        }
    }
}

/// What the operator can do now, if the world lets it.
pub fn moves(world: &World, state: &State, moves: &mut Vec<Action>) {
    let mut add = |step| moves.push(Action::Operator(step));
    if world.allows(Duty::Upgrade) {
        let may = |lane: &usize| state.lanes[*lane] == Lane::default() && !state.upgraded.has(*lane);
        (0..LANES).filter(may).map(Move::Upgrades).for_each(&mut add);
    }
    if world.allows(Duty::DropConstraint) && !state.constraint_dropped {
        add(Move::DropsConstraint);
    }
    match state.replay.step {
        Step::Take if world.allows(Duty::Replay) => {
            (0..HASHES).filter(|hash| can_take(world, state, *hash)).map(Move::TakesLetter).for_each(&mut add);
        }
        Step::Take => {}
        Step::Record => add(Move::Records),
        Step::SendCommit => add(Move::SendsCommit),
        Step::AwaitDecision => add(Move::ServerCommits),
        Step::AwaitYes => add(Move::IsAnswered),
    }
    for hash in 0..HASHES {
        let is_open = state.database.record(hash).letter == Letter::Open;
        if world.allows(Duty::Discard) && is_open && !locked(state).has(hash) {
            add(Move::Discards(hash));
        }
        if world.allows(Duty::Prune) && can_prune(world, state, hash) {
            add(Move::Prunes(hash));
        }
    }
}

/// The faults that can strike the replay now.
pub fn faults(state: &State, moves: &mut Vec<Action>) {
    let mut add = |fault| moves.push(Action::Operator(fault));
    match state.replay.step {
        Step::Take => {}
        Step::Record | Step::SendCommit => add(Move::LosesReplay),
        Step::AwaitDecision => [Move::LosesReplay, Move::IsCutOff].into_iter().for_each(add),
        Step::AwaitYes => add(Move::LosesAnswer),
    }
}

/// The state after a move of the operator.
pub fn make(world: &World, state: &mut State, step: Move) {
    let State { database, queue, replay, .. } = state;
    match step {
        Move::Upgrades(lane) => state.upgraded |= Set::of(lane),
        Move::DropsConstraint => state.constraint_dropped = true,
        Move::TakesLetter(letter) => *replay = Replay { step: Step::Record, letter, ..Replay::default() },
        Move::Records if database.record(replay.letter).claim == Claim::DeadLettered => {
            let letter = Set::of(replay.letter);
            replay.transaction =
                Transaction { rows: letter, events: letter, replayed: letter, ..Transaction::default() };
            replay.step = Step::SendCommit;
        }
        // Its claim is gone: it stays open.
        Move::Records => *replay = Replay::default(),
        Move::SendsCommit => replay.step = Step::AwaitDecision,
        Move::ServerCommits => {
            database.commit(std::mem::take(&mut replay.transaction));
            replay.step = Step::AwaitYes;
        }
        Move::IsCutOff => {
            database.orphan(std::mem::take(&mut replay.transaction));
            *replay = Replay::default();
        }
        Move::IsAnswered | Move::LosesReplay | Move::LosesAnswer => *replay = Replay::default(),
        Move::Discards(hash) => database.discard(hash),
        Move::Prunes(hash) => {
            database.prune(hash, world.messages_of(hash).filter_map(|message| world.second_hash(message)).collect());
            if !world.has(Mutant::PruneTooEarly) {
                world.messages_of(hash).for_each(|message| queue.forget(message));
            }
        }
    }
}

/// As long as what refused a letter is there, a replay reads it and changes nothing.
fn can_take(world: &World, state: &State, hash: Hash) -> bool {
    let record = state.database.record(hash);
    let accepted = world.messages_of(hash).all(|message| state.accepts(world.bodies[message]));
    let accepted = accepted || world.has(Mutant::ReplayWithoutDecoding);
    let is_replayable = accepted && record.letter == Letter::Open && record.claim == Claim::DeadLettered;
    is_replayable && (!locked(state).has(hash) || world.has(Mutant::ReplayWithoutLocks))
}

/// What the replay, or a replay whose client is gone, keeps from others. Lanes lock no letter: they write new ones.
fn locked(state: &State) -> Set {
    let taken = match state.replay.step {
        Step::Take | Step::AwaitYes => Set::default(),
        Step::Record | Step::SendCommit | Step::AwaitDecision => Set::of(state.replay.letter),
    };
    taken | state.database.locked_by_orphans()
}

/// The retention rule: no claim goes before its messages are past the queue's retention and in nobody's hand.
fn can_prune(world: &World, state: &State, hash: Hash) -> bool {
    let is_past = |message: Message| {
        let in_hand = (0..LANES).any(|lane| !state.lanes[lane].hand[message].is_empty());
        matches!(state.queue.place(message), Place::Deleted | Place::Gone) && !in_hand
    };
    let may = world.messages_of(hash).all(is_past) || world.has(Mutant::PruneTooEarly);
    state.database.record(hash).is_claimed() && !locked(state).has(hash) && may
}
