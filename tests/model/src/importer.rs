//! An import of dead letters (`src/drain.rs` and `src/carry/import.rs` of the loader): messages from a dead-letter queue or from a
//! file, claimed as a lane claims them, and written as letters. What came from the queue is deleted after the commit.

use crate::attempt::{Attempt, Client, Progress, Stage};
use crate::database::{Outcome, Reason, Transaction};
use crate::mutant::Mutant;
use crate::protocol::{Action, State};
use crate::queue::Place;
use crate::set::Set;
use crate::waits::{Party, waits_for};
use crate::world::{Duty, MESSAGES, Message, Scheme, World};

/// An import, with its memory, all of which is lost in a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Importer {
    /// The messages in hand.
    pub hand: Set,
    /// Which of them came from the dead-letter queue.
    pub received: Set,
    /// The transaction under way.
    pub attempt: Attempt,
    /// What is recorded for good, and may be deleted.
    pub committed: Set,
    /// How often a message was read from a file.
    pub read: u8,
}

/// What an import does, or what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// The queue gives a message up, and moves it to the dead-letter queue.
    IsMoved(Message),
    /// It receives a message from the dead-letter queue.
    Receives(Message),
    /// It reads the letter of a message from a file.
    Reads(Message),
    /// It begins a transaction, and reads the horizon in it.
    Begins,
    /// It takes the next claim, which nobody else holds.
    Claims,
    /// The server commits claims and letters, and says so.
    Commits,
    /// A message is deleted from the dead-letter queue.
    Deletes(Message),
    /// A message that nobody keeps hidden is visible again in the dead-letter queue.
    IsShown(Message),
    /// Fault: the same although it is in hand.
    LosesLease(Message),
    /// Fault: a statement fails, or the server aborts.
    LosesTransaction,
    /// Fault: the connection is lost before the server decided. It will.
    IsCutOff,
    /// Fault: the server committed, and the answer is lost.
    LosesAnswer,
    /// Fault: the queue does not delete a message.
    FailsToDelete(Message),
    /// Fault: the process dies.
    Crashes,
    /// Fault: the process dies after it sent COMMIT, and the server has not decided yet.
    CrashesCommitting,
}

impl Move {
    /// Whether it is one of the faults of which a world has so many.
    pub fn is_fault(self) -> bool {
        match self {
            Self::LosesLease(_)
            | Self::LosesTransaction
            | Self::IsCutOff
            | Self::LosesAnswer
            | Self::FailsToDelete(_)
            | Self::Crashes
            | Self::CrashesCommitting => true,
            Self::IsMoved(_)
            | Self::Receives(_)
            | Self::Reads(_)
            | Self::Begins
            | Self::Claims
            | Self::Commits
            | Self::Deletes(_)
            | Self::IsShown(_) => false,
        }
    }
}

/// What the queue and the operator may do at any moment, and need not.
pub fn beginnings(world: &World, state: &State, moves: &mut Vec<Action>) {
    if world.allows(Duty::Redrive) {
        let given_up = |message: &Message| state.queue.is_visible(*message) && state.queue.receives(*message) > 0;
        moves.extend(world.messages().filter(given_up).map(Move::IsMoved).map(Action::Importer));
    }
    let this = &state.importer;
    if this.read < world.imports && this.takes_more() {
        let unread = world.messages().filter(|message| !this.hand.has(*message));
        moves.extend(unread.map(Move::Reads).map(Action::Importer));
    }
}

/// What goes on by itself.
pub fn moves(world: &World, state: &State, moves: &mut Vec<Action>) {
    let this = &state.importer;
    let mut add = |step| moves.push(Action::Importer(step));
    let hidden = |message: &Message| state.queue.place(*message) == Place::DeadInFlight;
    world
        .messages()
        .filter(hidden)
        .filter(|message| !this.received.has(*message))
        .map(Move::IsShown)
        .for_each(&mut add);
    if this.takes_more() {
        let dead = |message: &Message| state.queue.place(*message) == Place::Dead;
        world.messages().filter(dead).map(Move::Receives).for_each(&mut add);
    }
    let deletes_first = world.has(Mutant::ImportDeletesBeforeCommit) && this.attempt.stage == Stage::Record;
    let deletable = if deletes_first { this.hand } else { this.committed };
    if let Some(message) = (deletable & this.received).first() {
        return add(Move::Deletes(message));
    }
    match this.attempt.stage {
        Stage::Begin if this.hand.is_empty() => {}
        Stage::Begin => add(Move::Begins),
        Stage::Letters | Stage::Messages | Stage::Keys if waits_for(world, state, Party::Importer).is_some() => {}
        Stage::Letters | Stage::Messages | Stage::Keys | Stage::Owners => add(Move::Claims),
        Stage::Record => add(Move::Commits),
    }
}

/// The faults that can strike it now.
pub fn faults(state: &State, moves: &mut Vec<Action>) {
    let this = &state.importer;
    let mut add = |fault| moves.push(Action::Importer(fault));
    let leased = |message: &Message| state.queue.place(*message) == Place::DeadInFlight;
    this.received.iter().filter(leased).map(Move::LosesLease).for_each(&mut add);
    if let Some(message) = (this.committed & this.received).first() {
        add(Move::FailsToDelete(message));
    }
    if !this.attempt.transaction.is_empty() {
        add(Move::LosesTransaction);
        if this.attempt.stage == Stage::Record {
            [Move::IsCutOff, Move::LosesAnswer, Move::CrashesCommitting].into_iter().for_each(&mut add);
        }
    }
    if !this.hand.is_empty() || !this.committed.is_empty() {
        add(Move::Crashes);
    }
}

/// The state after a move.
pub fn make(world: &World, state: &mut State, step: Move) {
    match step {
        Move::IsMoved(message) => state.queue.give_up(message),
        Move::IsShown(message) | Move::LosesLease(message) => state.queue.show_dead(message),
        Move::Receives(message) => {
            state.queue.receive_dead(message);
            state.importer.hand |= Set::of(message);
            state.importer.received |= Set::of(message);
        }
        Move::Reads(message) => {
            // A file keeps a message for as long as it likes.
            if world.allows(Duty::Retain) {
                state.queue.outlive(message);
            }
            state.importer.read += 1;
            state.importer.hand |= Set::of(message);
        }
        Move::Begins => begin(world, state),
        Move::Claims => claim(world, state),
        Move::Commits => {
            state.database.commit_in(world, state.importer.sent());
            state.importer.is_committed();
        }
        Move::Deletes(message) => {
            state.queue.delete_dead(message);
            state.importer.let_go(message);
        }
        Move::FailsToDelete(message) => state.importer.let_go(message),
        Move::LosesTransaction => state.importer.attempt = Attempt::default(),
        Move::IsCutOff => {
            state.database.orphan(state.importer.sent());
            state.importer.attempt = Attempt::default();
        }
        Move::LosesAnswer => {
            state.database.commit_in(world, state.importer.sent());
            state.importer.attempt = Attempt::default();
        }
        Move::Crashes => state.importer.start_again(),
        Move::CrashesCommitting => {
            state.database.orphan(state.importer.sent());
            state.importer.start_again();
        }
    }
}

/// What is older than the horizon is claimed under the constant time, unless its own claim stands: that says more.
fn begin(world: &World, state: &mut State) {
    let horizon = state.database.horizon;
    let is_known =
        |message: &Message| world.is_old(*message, horizon) && state.database.record(MESSAGES + *message).is_claimed();
    let wanted: Set = state.importer.hand.iter().filter(|message| !is_known(message)).collect();
    let claim = |message| match world.has(Mutant::ImportUnderAnotherTime) {
        true => message,
        false => world.claim(message, Scheme::MessageId, horizon),
    };
    let batch: Set = wanted.iter().map(claim).collect();
    let old = wanted.iter().filter(|message| world.is_old(*message, horizon)).map(claim).collect();
    let mut attempt = Attempt::new(&client(world), batch, old);
    if world.has(Mutant::ImportWithoutClaim) {
        let reason = |claim| if attempt.old.has(claim) { Reason::OlderThanMemory } else { Reason::Refused };
        for claim in batch.iter() {
            attempt.transaction.outcomes[claim] = Outcome::DeadLettered(reason(claim));
        }
        attempt = Attempt { new: batch, stage: Stage::Record, todo: Set::default(), ..attempt };
    }
    if batch.is_empty() {
        attempt.stage = Stage::Record;
    }
    state.importer.attempt = attempt;
}

fn claim(world: &World, state: &mut State) {
    let State { database, importer, .. } = state;
    match client(world).step(&mut importer.attempt, database, &Default::default()) {
        Progress::GoesOn => {}
        Progress::RunsAgain | Progress::Stops => importer.attempt = Attempt::default(),
    }
}

/// It takes nothing for a login.
fn client(world: &World) -> Client<'_> {
    Client {
        world,
        replays: false,
        logins: Set::default(),
        resumes: Set::default(),
        scheme: Scheme::MessageId,
        key_replaced: false,
        sorts: true,
    }
}

impl Importer {
    /// Whether it has no transaction under way, and nothing to delete.
    fn takes_more(&self) -> bool {
        self.attempt == Attempt::default() && self.committed.is_empty()
    }

    /// What it commits by its COMMIT: a body that is right becomes a letter of its own kind.
    fn sent(&self) -> Transaction {
        let mut transaction = self.attempt.transaction;
        for outcome in &mut transaction.outcomes {
            if *outcome == Outcome::DeadLettered(Reason::Refused) {
                *outcome = Outcome::DeadLettered(Reason::Redriven);
            }
        }
        transaction
    }

    fn is_committed(&mut self) {
        self.committed = self.hand & self.received;
        self.hand = Set::default();
        self.attempt = Attempt::default();
    }

    fn let_go(&mut self, message: Message) {
        self.received -= Set::of(message);
        self.committed -= Set::of(message);
    }

    fn start_again(&mut self) {
        *self = Self { read: self.read, ..Self::default() };
    }
}
