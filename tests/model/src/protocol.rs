//! The whole: one state, everything that can happen in it, and what comes of it.

use stateright::{Model, Property};

use crate::database::Database;
use crate::exploration::{Always, Explorable, Sometimes, properties_of};
use crate::importer::{self, Importer};
use crate::lane::{self, Lane, Release};
use crate::mutant::Mutant;
use crate::operator;
use crate::properties::ALWAYS;
use crate::queue::{Place, Queue};
use crate::reached::SOMETIMES;
use crate::replay::{self, Replay};
use crate::set::Set;
use crate::world::{Body, LANES, MESSAGES, Message, Quirk, Start, World};

/// One moment of a world.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State {
    /// The queue.
    pub queue: Queue,
    /// The database.
    pub database: Database,
    /// The lanes, each in a process of its own.
    pub lanes: [Lane; LANES],
    /// The operator's replay.
    pub replay: Replay,
    /// The operator's import.
    pub importer: Importer,
    /// Whether the constraint is gone by which the database refuses rows.
    pub constraint_dropped: bool,
    /// How many faults may still strike.
    pub faults_left: u8,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// In a lane, or to it.
    Lane(usize, lane::Move),
    /// In the replay, or to it.
    Replay(replay::Move),
    /// In the import, or to it.
    Importer(importer::Move),
    /// By the operator.
    Operator(operator::Move),
    /// The server commits an orphan: a transaction whose client is gone.
    OrphanCommits(usize),
    /// The server aborts an orphan.
    OrphanAborts(usize),
    /// A worker hears that a transaction is committed.
    WorkerHears(usize),
    /// A message that nobody keeps hidden is visible again.
    VisibilityTimeout(Message),
    /// Fault: a message is visible again although a lane has it in hand.
    LeaseLost(Message),
    /// Fault: a message is received, and the reply comes nowhere.
    ReceiveReplyLost(Message),
    /// Fault: a message is delivered after it was deleted.
    DeliveredAfterDelete(Message),
    /// Fault: a message is delivered after its retention.
    DeliveredAfterRetention(Message),
}

impl Action {
    /// Whether it is one of the faults of which a world has so many.
    pub fn is_fault(self) -> bool {
        match self {
            Self::Lane(_, step) => step.is_fault(),
            Self::Replay(step) => step.is_fault(),
            Self::Importer(step) => step.is_fault(),
            Self::LeaseLost(_)
            | Self::ReceiveReplyLost(_)
            | Self::DeliveredAfterDelete(_)
            | Self::DeliveredAfterRetention(_) => true,
            Self::Operator(_)
            | Self::OrphanCommits(_)
            | Self::OrphanAborts(_)
            | Self::WorkerHears(_)
            | Self::VisibilityTimeout(_) => false,
        }
    }
}

impl State {
    /// Whether the newest program and the database take a body now.
    pub fn accepts(&self, body: Body) -> bool {
        match body {
            Body::Login => true,
            Body::Malformed => self.lanes.iter().any(|lane| lane.release.decodes_more),
            Body::Refused => self.constraint_dropped,
        }
    }

    /// The same state with its lanes in a certain order: which lane is which makes no difference, as each carries with
    /// it what it runs as.
    pub fn with_sorted_lanes(&self) -> Self {
        let mut sorted = self.clone();
        sorted.lanes.sort_unstable();
        sorted
    }
}

impl World {
    fn faults(&self, state: &State, actions: &mut Vec<Action>) {
        for lane in 0..LANES {
            lane::faults(self, state, lane, actions);
        }
        replay::faults(state, actions);
        importer::faults(state, actions);
        for message in self.messages() {
            match state.queue.place(message) {
                Place::Visible => actions.push(Action::ReceiveReplyLost(message)),
                Place::InFlight if lane::is_leased(state, message) => actions.push(Action::LeaseLost(message)),
                Place::Deleted => actions.push(Action::DeliveredAfterDelete(message)),
                Place::Gone if self.shows(Quirk::OutlivesRetention) => {
                    actions.push(Action::DeliveredAfterRetention(message));
                }
                Place::InFlight | Place::Gone | Place::Dead | Place::DeadInFlight => {}
            }
        }
    }

    fn first_state(&self) -> State {
        let mut state = State { faults_left: self.faults, ..State::default() };
        for (lane, scheme) in self.lanes.iter().enumerate() {
            let sorts = lane > 0 || !self.has(Mutant::OneLaneUnsorted);
            state.lanes[lane].release = Release { runs: true, scheme: *scheme, sorts, ..Release::default() };
        }
        (self.sent.len()..MESSAGES).for_each(|message| state.queue.forget(message));
        state
    }
}

/// Every choice of messages that a lane may have in hand.
fn with_any_batch(world: &World, state: &State, lane: usize) -> Vec<State> {
    let mut states = vec![state.clone()];
    for batch in world.messages().collect::<Set>().parts() {
        let mut next = state.clone();
        for message in batch.iter() {
            next.lanes[lane].hand[message] = Set::of(next.queue.receive(message));
        }
        states.push(next);
    }
    states
}

impl Explorable for World {
    const ALWAYS: &'static [Always<Self>] = &ALWAYS;
    const SOMETIMES: &'static [Sometimes<Self>] = &SOMETIMES;

    fn representative(state: &State) -> State {
        state.with_sorted_lanes()
    }

    /// As long as there is any of it, something is on its way.
    fn moves(&self, state: &State, actions: &mut Vec<Action>) {
        for lane in 0..LANES {
            lane::moves(self, state, lane, actions);
        }
        replay::moves(self, state, actions);
        importer::moves(self, state, actions);
        for orphan in 0..state.database.orphans().len() {
            actions.extend([Action::OrphanCommits(orphan), Action::OrphanAborts(orphan)]);
        }
        actions.extend((0..state.database.in_doubt().len()).map(Action::WorkerHears));
        let in_flight = |message: &Message| state.queue.place(*message) == Place::InFlight;
        let forgotten = self.messages().filter(in_flight).filter(|message| !lane::is_leased(state, *message));
        actions.extend(forgotten.map(Action::VisibilityTimeout));
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut states = vec![self.first_state()];
        if self.start == Start::AnyBatch {
            for lane in 0..self.lanes.len() {
                states = states.iter().flat_map(|state| with_any_batch(self, state, lane)).collect();
            }
        }
        states
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.moves(state, actions);
        operator::moves(self, state, actions);
        replay::beginnings(self, state, actions);
        importer::beginnings(self, state, actions);
        if state.faults_left > 0 {
            self.faults(state, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        next.faults_left -= u8::from(action.is_fault());
        match action {
            Action::Lane(lane, step) => lane::make(self, &mut next, lane, step),
            Action::Replay(step) => replay::make(self, &mut next, step),
            Action::Importer(step) => importer::make(self, &mut next, step),
            Action::Operator(step) => operator::make(self, &mut next, step),
            Action::OrphanCommits(orphan) => next.database.decide(self, orphan, true),
            Action::OrphanAborts(orphan) => next.database.decide(self, orphan, false),
            Action::WorkerHears(prepared) => next.database.settle(prepared),
            Action::VisibilityTimeout(message) | Action::LeaseLost(message) => next.queue.show(message),
            Action::ReceiveReplyLost(message) => {
                next.queue.receive(message);
            }
            Action::DeliveredAfterDelete(message) => next.queue.deliver_again(message),
            Action::DeliveredAfterRetention(message) => next.queue.deliver_late(message),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties_of(self)
    }
}
