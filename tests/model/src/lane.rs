//! A lane: receive → judge → load → acknowledge, over and over; the steps of `src/lane.rs`, `src/lease.rs` and
//! `src/acknowledge.rs`. The transaction between them is in [`load`](crate::load).

use crate::database::Transaction;
use crate::protocol::{Action, State};
use crate::queue::Place;
use crate::set::Set;
use crate::world::{BATCH_SIZE, Body, HASHES, Hash, LANES, MESSAGES, Message, Mutant, World};

/// A lane's memory, all of which is lost in a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lane {
    /// What it does next.
    pub step: Step,
    /// The receipts in hand, by message.
    pub hand: [Set; MESSAGES],
    /// The hash of each message in hand, once it is judged.
    pub hashes: [Hash; MESSAGES],
    /// The batch to load now.
    pub batch: Set,
    /// The second half of a batch that was split.
    pub rest: Set,
    /// Which of them are to be dead letters.
    pub letters: Set,
    /// Which of the batch are claimed in the transaction under way.
    pub new: Set,
    /// The transaction under way.
    pub transaction: Transaction,
    /// What is recorded for good, and may be deleted: the `Committed` of `src/load.rs`.
    pub committed: Set,
    /// Whether the last COMMIT may or may not hold.
    pub in_doubt: bool,
}

/// What a lane does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Step {
    /// Receives; also where a lane starts, and starts again after a crash.
    #[default]
    Receive,
    /// Begins a transaction, and claims the batch in it.
    Claim,
    /// Writes rows, events and dead letters of what it claimed.
    Record,
    /// Sends COMMIT.
    SendCommit,
    /// Waits: the server has not decided yet.
    AwaitDecision,
    /// Waits for the answer to a commit that holds.
    AwaitYes,
    /// Waits for the answer to a commit that does not hold.
    AwaitNo,
    /// Deletes from the queue what is committed.
    Acknowledge,
}

/// What happens in a lane, or to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// It receives a message that is visible.
    Receives(Message),
    /// It goes on with what it has in hand: decoded, and sorted into a batch and what goes back to the queue.
    Judges,
    /// It claims its batch.
    Claims,
    /// It writes what belongs to the claims; or learns that the database refuses a row.
    Records,
    /// It sends COMMIT.
    SendsCommit,
    /// The server commits.
    ServerCommits,
    /// The server's answer comes, and names the status of the transaction.
    IsAnswered,
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
    /// Fault: the process dies, and starts again.
    Crashes,
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
            | Self::Crashes => true,
            Self::Receives(_)
            | Self::Judges
            | Self::Claims
            | Self::Records
            | Self::SendsCommit
            | Self::ServerCommits
            | Self::IsAnswered
            | Self::Deletes(_)
            | Self::DeletesInVain(_) => false,
        }
    }
}

/// The moves that a lane can make now, without those that are faults.
pub fn moves(world: &World, state: &State, lane: usize, moves: &mut Vec<Action>) {
    let this = &state.lanes[lane];
    let mut add = |step| moves.push(Action::Lane(lane, step));
    match this.step {
        Step::Receive => {
            let in_hand: u32 = this.hand.iter().map(|receipts| receipts.len()).sum();
            if in_hand < BATCH_SIZE {
                (0..MESSAGES).filter(|message| state.queue.is_visible(*message)).map(Move::Receives).for_each(&mut add);
            }
            if in_hand > 0 {
                add(Move::Judges);
            }
        }
        Step::Claim if crate::load::can_claim(world, state, lane) => add(Move::Claims),
        Step::Claim => {}
        Step::Record => add(Move::Records),
        Step::SendCommit if world.has(Mutant::DeleteBeforeCommit) && this.in_hand(this.batch).next().is_some() => {
            deletes(state, this, this.batch, add);
        }
        Step::SendCommit => add(Move::SendsCommit),
        Step::AwaitDecision => add(Move::ServerCommits),
        Step::AwaitYes | Step::AwaitNo => add(Move::IsAnswered),
        Step::Acknowledge => deletes(state, this, this.committed, add),
    }
}

/// A delete by the last receipt works. One by an older receipt works or does not; the queue says the same to both.
fn deletes(state: &State, lane: &Lane, hashes: Set, mut add: impl FnMut(Move)) {
    for message in lane.in_hand(hashes) {
        add(Move::Deletes(message));
        if state.queue.holds(message) && !state.queue.is_current(message, lane.hand[message]) {
            add(Move::DeletesInVain(message));
        }
    }
}

/// The faults that can strike a lane now.
pub fn faults(state: &State, lane: usize, moves: &mut Vec<Action>) {
    let this = &state.lanes[lane];
    let mut add = |fault| moves.push(Action::Lane(lane, fault));
    match this.step {
        Step::Receive | Step::Claim => {}
        Step::Record | Step::SendCommit => add(Move::LosesTransaction),
        Step::AwaitDecision => [Move::ServerAborts, Move::IsCutOff].into_iter().for_each(&mut add),
        Step::AwaitYes => add(Move::LosesAnswer),
        Step::AwaitNo => {}
        Step::Acknowledge => this.in_hand(this.committed).map(Move::FailsToDelete).for_each(&mut add),
    }
    if *this != Lane::default() {
        add(Move::Crashes);
    }
}

/// The state after a move of a lane.
pub fn make(world: &World, state: &mut State, lane: usize, step: Move) {
    match step {
        Move::Receives(message) => {
            let receipt = state.queue.receive(message);
            state.lanes[lane].hand[message] |= Set::of(receipt);
        }
        Move::Judges => judge(world, state, lane),
        Move::Claims => crate::load::claim(world, state, lane),
        Move::Records => crate::load::record(world, state, lane),
        Move::SendsCommit => state.lanes[lane].step = Step::AwaitDecision,
        Move::ServerCommits => crate::load::server_commits(state, lane),
        Move::IsAnswered => crate::load::answered(world, state, lane),
        Move::Deletes(message) => {
            state.queue.delete(message);
            state.lanes[lane].let_go(message);
        }
        Move::DeletesInVain(message) | Move::FailsToDelete(message) => state.lanes[lane].let_go(message),
        Move::LosesTransaction => state.lanes[lane].run_again(),
        Move::ServerAborts => crate::load::server_aborts(state, lane),
        Move::IsCutOff => crate::load::cut_off(world, state, lane),
        Move::LosesAnswer => crate::load::doubt(world, &mut state.lanes[lane]),
        Move::Crashes => crash(state, lane),
    }
}

/// `Judge::judge` and `Sorted::from_verdicts`: logins, and rejections that had their last attempt, make the batch; the
/// other rejections go back to the queue, where they come again when their time is over.
fn judge(world: &World, state: &mut State, lane: usize) {
    let is_upgraded = state.upgraded.has(lane);
    let State { queue, lanes, .. } = state;
    let lane = &mut lanes[lane];
    for message in 0..MESSAGES {
        let decodes = world.bodies[message] != Body::Malformed || is_upgraded;
        let received_too_often = |receipt: &usize| *receipt >= world.max_attempts;
        if !decodes {
            lane.hand[message] = lane.hand[message].iter().filter(received_too_often).collect();
        }
        if lane.hand[message].is_empty() {
            continue;
        }
        let hash = world.hash(message, decodes);
        lane.hashes[message] = hash;
        if !decodes && world.has(Mutant::DeleteWithoutDeadLetter) {
            lane.committed |= Set::of(hash);
            continue;
        }
        let by_count = world.has(Mutant::DeadLetterByReceiveCount) && queue.receives(message) > world.max_attempts;
        if !decodes || by_count {
            lane.letters |= Set::of(hash);
        }
        lane.batch |= Set::of(hash);
    }
    lane.go_on();
}

/// Everything in hand is forgotten. A transaction whose COMMIT was not sent ends without effect; one whose COMMIT was
/// sent is the server's now.
fn crash(state: &mut State, lane: usize) {
    let crashed = std::mem::take(&mut state.lanes[lane]);
    if crashed.step == Step::AwaitDecision {
        state.database.orphan(crashed.transaction);
    }
}

/// Whether some lane holds the last receipt of a message, and so renews its lease.
pub fn is_leased(state: &State, message: Message) -> bool {
    state.queue.place(message) == Place::InFlight
        && (0..LANES).any(|lane| state.queue.is_current(message, state.lanes[lane].hand[message]))
}

impl Lane {
    /// Messages in hand under these hashes.
    pub fn in_hand(&self, hashes: Set) -> impl Iterator<Item = Message> {
        (0..MESSAGES).filter(move |message| !self.hand[*message].is_empty() && hashes.has(self.hashes[*message]))
    }

    /// The second hash of an entry: that of the message whose delivery is recorded.
    pub fn second_hash(&self, world: &World, hash: Hash) -> Option<Hash> {
        self.in_hand(Set::of(hash)).next().and_then(|message| world.second_hash(message))
    }

    /// The oldest receipt in hand under a hash, which says how often the entry's message had been received.
    pub fn attempts(&self, hash: Hash) -> usize {
        self.in_hand(Set::of(hash)).filter_map(|message| self.hand[message].first()).min().unwrap_or_default()
    }

    /// The transaction under way has no effect, and the batch is loaded again.
    pub fn run_again(&mut self) {
        self.transaction = Transaction::default();
        self.new = Set::default();
        self.step = Step::Claim;
    }

    /// Gives the deliveries of a hash back to the queue, where they come again when their time is over.
    pub fn give_back(&mut self, hash: Hash) {
        for message in 0..MESSAGES {
            if self.hashes[message] == hash {
                self.hand[message] = Set::default();
            }
        }
        self.batch -= Set::of(hash);
    }

    /// Goes on when a batch is done: with the second half, with the deletes, or from the start.
    pub fn go_on(&mut self) {
        self.run_again();
        if self.batch.is_empty() {
            self.batch = std::mem::take(&mut self.rest);
        }
        if self.batch.is_empty() {
            self.step = Step::Acknowledge;
            self.start_again_when_done();
        }
    }

    fn let_go(&mut self, message: Message) {
        self.hand[message] = Set::default();
        self.start_again_when_done();
    }

    fn start_again_when_done(&mut self) {
        let all = (0..HASHES).collect();
        if self.step == Step::Acknowledge && self.in_hand(all).next().is_none() {
            *self = Self::default();
        }
    }
}
