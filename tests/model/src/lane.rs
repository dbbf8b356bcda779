//! A lane: receive → judge → load → acknowledge, over and over; the steps of `src/lane.rs`, `src/lease.rs` and
//! `src/acknowledge.rs`. The transaction between them is in [`load`](crate::load).

use std::hash::{Hash, Hasher};

use crate::attempt::{Attempt, Stage};
use crate::load;
use crate::mutant::Mutant;
use crate::protocol::{Action, State};
use crate::queue::{Place, Queue};
use crate::set::Set;
use crate::world::{Body, LANES, MESSAGES, Message, Quirk, Scheme, World};

/// A lane, with its memory, all of which is lost in a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane {
    /// What it runs as; that outlives a crash.
    pub release: Release,
    /// The receipts in hand, by message.
    pub hand: [Set; MESSAGES],
    /// The messages in hand whose last delivery lacked the SentTimestamp, if it claims them all the same.
    pub untimed: Set,
    /// The messages in hand that an operator sent back.
    pub requeued: Set,
    /// The messages to load now.
    pub batch: Set,
    /// The other part of a batch that was split.
    pub rest: Set,
    /// Which of them are to be dead letters.
    pub letters: Set,
    /// The transaction under way.
    pub attempt: Attempt,
    /// What is recorded for good, and may be deleted: the `Committed` of `src/load.rs`.
    pub committed: Set,
    /// Whether the last COMMIT may or may not hold.
    pub in_doubt: bool,
}

/// What a lane runs as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    /// Whether it runs at all: a world may have fewer lanes than there could be.
    pub runs: bool,
    /// `--identity`.
    pub scheme: Scheme,
    /// Whether it is of the next release, which decodes more.
    pub decodes_more: bool,
    /// Whether its keyring has the new hash key.
    pub key_replaced: bool,
    /// Whether it claims in the order in which all others do.
    pub sorts: bool,
}

/// What happens in a lane, or to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// It receives a message that is visible.
    Receives(Message),
    /// It goes on with what it has in hand: decoded, and sorted into a batch and what goes back to the queue.
    Judges,
    /// It begins a transaction, and reads this horizon in it.
    Begins(usize),
    /// It takes the next claim, which nobody else holds.
    Claims,
    /// It reads who owns the keys that it did not get.
    ReadsOwners,
    /// It writes what belongs to the claims, sends COMMIT, and the server's answer names the transaction committed.
    Commits,
    /// The database refuses a row.
    IsRefused,
    /// A message is deleted.
    Deletes(Message),
    /// A message is not deleted by an old receipt, and the queue says that it is.
    DeletesInVain(Message),
    /// Fault: a statement fails, and would not fail if it were repeated.
    LosesTransaction,
    /// Fault: the server aborts the transaction although COMMIT was sent.
    ServerAborts,
    /// Fault: the connection is lost, or a deadline passes, before the server decided. It will.
    IsCutOff,
    /// Fault: the server committed, and the answer is lost.
    LosesAnswer,
    /// Fault: the queue does not delete a message, as often as it is asked to.
    FailsToDelete(Message),
    /// Fault: a delivery lacks the SentTimestamp that the queue gives with the others.
    ReceivesWithoutTime(Message),
    /// Fault: the process dies, and starts again.
    Crashes,
    /// Fault: the process dies after it sent COMMIT, and the server has not decided yet.
    CrashesCommitting,
}

/// As with an attempt: a lane with nothing in hand is no more than its release.
impl Hash for Lane {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { release, hand, untimed, requeued, batch, rest, letters, attempt, committed, in_doubt } = self;
        release.hash(state);
        let is_idle = *self == Self { release: *release, ..Self::default() };
        is_idle.hash(state);
        if !is_idle {
            (hand, untimed, requeued, batch, rest, letters, attempt, committed, in_doubt).hash(state);
        }
    }
}

impl Move {
    /// Whether it is one of the faults of which a world has so many.
    pub fn is_fault(self) -> bool {
        match self {
            Self::LosesTransaction
            | Self::ServerAborts
            | Self::IsCutOff
            | Self::LosesAnswer
            | Self::FailsToDelete(_)
            | Self::ReceivesWithoutTime(_)
            | Self::Crashes
            | Self::CrashesCommitting => true,
            Self::Receives(_)
            | Self::Judges
            | Self::Begins(_)
            | Self::Claims
            | Self::ReadsOwners
            | Self::Commits
            | Self::IsRefused
            | Self::Deletes(_)
            | Self::DeletesInVain(_) => false,
        }
    }
}

/// The moves that a lane can make now, without those that are faults.
pub fn moves(world: &World, state: &State, lane: usize, moves: &mut Vec<Action>) {
    let this = &state.lanes[lane];
    let mut add = |step| moves.push(Action::Lane(lane, step));
    if !this.batch.is_empty() {
        let deletes_first = world.has(Mutant::DeleteBeforeCommit) && this.attempt.stage == Stage::Record;
        return match this.in_hand(this.batch).filter(|_| deletes_first) {
            Some(message) => deletes(&state.queue, this, message, add),
            None => load::moves(world, state, lane, add),
        };
    }
    if let Some(message) = this.in_hand(this.committed) {
        return deletes(&state.queue, this, message, add);
    }
    let in_hand: u32 = this.hand.iter().map(|receipts| receipts.len()).sum();
    if this.release.runs && in_hand < world.batch_size {
        world.messages().filter(|message| state.queue.is_visible(*message)).map(Move::Receives).for_each(&mut add);
    }
    if in_hand > 0 {
        add(Move::Judges);
    }
}

/// A delete by the last receipt works. One by an older receipt works or does not; the queue says the same to both.
fn deletes(queue: &Queue, lane: &Lane, message: Message, mut add: impl FnMut(Move)) {
    add(Move::Deletes(message));
    if queue.is_here(message) && !queue.is_current(message, lane.hand[message]) {
        add(Move::DeletesInVain(message));
    }
}

/// The faults that can strike a lane now.
pub fn faults(world: &World, state: &State, lane: usize, moves: &mut Vec<Action>) {
    let this = &state.lanes[lane];
    let mut add = |fault| moves.push(Action::Lane(lane, fault));
    let receives = this.release.runs && this.batch.is_empty() && this.committed.is_empty();
    if !this.batch.is_empty() {
        load::faults(world, state, lane, &mut add);
    } else if let Some(message) = this.in_hand(this.committed) {
        add(Move::FailsToDelete(message));
    } else if receives && world.shows(Quirk::LacksSentTimestamp) {
        let visible = world.messages().filter(|message| state.queue.is_visible(*message));
        visible.map(Move::ReceivesWithoutTime).for_each(&mut add);
    }
    if !this.is_idle() {
        add(Move::Crashes);
    }
}

/// The state after a move of a lane.
pub fn make(world: &World, state: &mut State, lane: usize, step: Move) {
    match step {
        Move::Receives(message) => {
            let receipt = state.queue.receive(message);
            state.lanes[lane].hand[message] |= Set::of(receipt);
            if state.queue.requeued(message) > 0 {
                state.lanes[lane].requeued |= Set::of(message);
            }
        }
        Move::ReceivesWithoutTime(message) => receive_without_time(world, state, lane, message),
        Move::Judges => judge(world, state, lane),
        Move::Begins(horizon) => {
            let State { database, lanes, .. } = state;
            load::begin(world, &mut lanes[lane], horizon, |claim| database.record(claim).is_claimed());
        }
        Move::Claims | Move::ReadsOwners => load::step(world, state, lane),
        Move::Commits => load::commit(world, state, lane),
        Move::IsRefused => load::split(world, &mut state.lanes[lane]),
        Move::Deletes(message) => {
            state.queue.delete(message);
            state.lanes[lane].let_go(message);
        }
        Move::DeletesInVain(message) | Move::FailsToDelete(message) => state.lanes[lane].let_go(message),
        Move::LosesTransaction => state.lanes[lane].run_again(world),
        Move::ServerAborts => load::abort(world, state, lane),
        Move::IsCutOff => load::cut_off(world, state, lane),
        Move::LosesAnswer => load::lose_answer(world, state, lane),
        Move::Crashes => state.lanes[lane].start_again(state.database.key_replaced),
        Move::CrashesCommitting => {
            let key_replaced = state.database.key_replaced;
            state.database.orphan(load::sent(world, &state.lanes[lane]));
            state.lanes[lane].start_again(key_replaced);
        }
    }
}

/// What lacks the time that its queue gives goes back to it, uncounted.
fn receive_without_time(world: &World, state: &mut State, lane: usize, message: Message) {
    let receipt = state.queue.receive(message);
    if world.has(Mutant::TimeOfTheDelivery) {
        let lane = &mut state.lanes[lane];
        lane.hand[message] |= Set::of(receipt);
        lane.untimed |= Set::of(message);
    }
}

/// `Judge::judge` and `Sorted::from_verdicts`: logins, and rejections that had their last attempt, make the batch; the
/// other rejections go back to the queue, where they come again when their time is over.
fn judge(world: &World, state: &mut State, lane: usize) {
    let State { queue, lanes, .. } = state;
    let lane = &mut lanes[lane];
    for message in world.messages() {
        let decodes = world.sent[message].body != Body::Malformed || lane.release.decodes_more;
        let received_too_often = |receipt: &usize| *receipt >= world.max_attempts;
        if !decodes {
            lane.hand[message] = lane.hand[message].iter().filter(received_too_often).collect();
        }
        if lane.hand[message].is_empty() {
            continue;
        }
        if !decodes && world.has(Mutant::DeleteWithoutDeadLetter) {
            lane.committed |= Set::of(message);
            continue;
        }
        let by_count = world.has(Mutant::DeadLetterByReceiveCount) && queue.receives(message) > world.max_attempts;
        if !decodes || by_count {
            lane.letters |= Set::of(message);
        }
        lane.batch |= Set::of(message);
    }
    lane.go_on(world);
}

/// Whether some lane holds the last receipt of a message, and so renews its lease.
pub fn is_leased(state: &State, message: Message) -> bool {
    state.queue.place(message) == Place::InFlight
        && (0..LANES).any(|lane| state.queue.is_current(message, state.lanes[lane].hand[message]))
}

/// Whether somebody has a message in hand, whatever the queue thinks of it.
pub fn is_in_hand(state: &State, message: Message) -> bool {
    (0..LANES).any(|lane| !state.lanes[lane].hand[message].is_empty())
}

impl Lane {
    /// Whether it has nothing in hand.
    pub fn is_idle(&self) -> bool {
        self.hand.iter().all(|receipts| receipts.is_empty())
    }

    /// The first of these messages that is in hand.
    pub fn in_hand(&self, messages: Set) -> Option<Message> {
        messages.iter().find(|message| !self.hand[*message].is_empty())
    }

    /// Everything in hand is forgotten. A process that starts has the hash key that the tables know, or does not start.
    pub fn start_again(&mut self, key_replaced: bool) {
        *self = Self { release: Release { key_replaced, ..self.release }, ..Self::default() };
    }

    /// The transaction under way has no effect, and the batch is loaded again.
    pub fn run_again(&mut self, world: &World) {
        self.attempt = Attempt::default();
        if !self.batch.is_empty() && !load::reads_horizon(world) {
            load::begin(world, self, 0, |_| true);
        }
    }

    /// Gives the deliveries of a message back to the queue, where they come again when their time is over.
    pub fn give_back(&mut self, message: Message) {
        self.hand[message] = Set::default();
        self.batch -= Set::of(message);
    }

    /// Goes on when a batch is done: with the other part, with the deletes, or from the start.
    pub fn go_on(&mut self, world: &World) {
        if self.batch.is_empty() {
            self.batch = std::mem::take(&mut self.rest);
        }
        self.run_again(world);
        self.start_again_when_done();
    }

    fn let_go(&mut self, message: Message) {
        self.hand[message] = Set::default();
        self.start_again_when_done();
    }

    fn start_again_when_done(&mut self) {
        if self.batch.is_empty() && self.in_hand(self.committed).is_none() {
            let key_replaced = self.release.key_replaced;
            self.start_again(key_replaced);
        }
    }
}
