//! The whole: one state, everything that can happen in it, and what comes of it.

use stateright::{Model, Property};

use crate::database::Database;
use crate::lane::{self, Lane};
use crate::operator::{self, Replay};
use crate::queue::{Place, Queue};
use crate::set::Set;
use crate::world::{Body, Hash, LANES, MESSAGES, Message, World};

/// One moment of a world.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// The queue.
    pub queue: Queue,
    /// The database.
    pub database: Database,
    /// The lanes, each in a process of its own.
    pub lanes: [Lane; LANES],
    /// The operator's replay.
    pub replay: Replay,
    /// The lanes that run the next release.
    pub upgraded: Set,
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
    /// By the operator, or to the replay.
    Operator(operator::Move),
    /// The server commits an orphan: a transaction whose client is gone.
    OrphanCommits(Hash),
    /// The server aborts an orphan.
    OrphanAborts(Hash),
    /// A message that nobody keeps hidden is visible again.
    VisibilityTimeout(Message),
    /// Fault: a message is visible again although a lane has it in hand.
    LeaseLost(Message),
    /// Fault: a message is received, and the reply comes nowhere.
    ReceiveReplyLost(Message),
    /// Fault: a message is delivered after it was deleted.
    DeliveredAfterDelete(Message),
}

impl Action {
    /// Whether it is one of the faults of which a world has so many.
    pub fn is_fault(self) -> bool {
        match self {
            Self::Lane(_, step) => step.is_fault(),
            Self::Operator(step) => step.is_fault(),
            Self::LeaseLost(_) | Self::ReceiveReplyLost(_) | Self::DeliveredAfterDelete(_) => true,
            Self::OrphanCommits(_) | Self::OrphanAborts(_) | Self::VisibilityTimeout(_) => false,
        }
    }
}

impl State {
    /// Whether the newest program and the database take a body now.
    pub fn accepts(&self, body: Body) -> bool {
        match body {
            Body::Login => true,
            Body::Malformed => !self.upgraded.is_empty(),
            Body::Refused => self.constraint_dropped,
        }
    }
}

impl World {
    /// What happens by itself, without a fault and without the operator: as long as there is any of it, something is
    /// on its way.
    pub fn moves(&self, state: &State, actions: &mut Vec<Action>) {
        for lane in 0..LANES {
            lane::moves(self, state, lane, actions);
        }
        for orphan in state.database.orphans() {
            actions.extend([Action::OrphanCommits(orphan), Action::OrphanAborts(orphan)]);
        }
        let in_flight = |message: &Message| state.queue.place(*message) == Place::InFlight;
        let forgotten = (0..MESSAGES).filter(in_flight).filter(|message| !lane::is_leased(state, *message));
        actions.extend(forgotten.map(Action::VisibilityTimeout));
    }

    fn faults(&self, state: &State, actions: &mut Vec<Action>) {
        for lane in 0..LANES {
            lane::faults(state, lane, actions);
        }
        operator::faults(state, actions);
        for message in 0..MESSAGES {
            match state.queue.place(message) {
                Place::Visible => actions.push(Action::ReceiveReplyLost(message)),
                Place::InFlight if lane::is_leased(state, message) => actions.push(Action::LeaseLost(message)),
                Place::Deleted => actions.push(Action::DeliveredAfterDelete(message)),
                Place::InFlight | Place::Gone => {}
            }
        }
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State { faults_left: self.faults, ..State::default() }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.moves(state, actions);
        operator::moves(self, state, actions);
        if state.faults_left > 0 {
            self.faults(state, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        next.faults_left -= u8::from(action.is_fault());
        match action {
            Action::Lane(lane, step) => lane::make(self, &mut next, lane, step),
            Action::Operator(step) => operator::make(self, &mut next, step),
            Action::OrphanCommits(orphan) => next.database.decide(orphan, true),
            Action::OrphanAborts(orphan) => next.database.decide(orphan, false),
            Action::VisibilityTimeout(message) | Action::LeaseLost(message) => next.queue.show(message),
            Action::ReceiveReplyLost(message) => {
                next.queue.receive(message);
            }
            Action::DeliveredAfterDelete(message) => next.queue.deliver_again(message),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        crate::properties::of(self)
    }
}
