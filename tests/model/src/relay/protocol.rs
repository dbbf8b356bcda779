//! The whole: one state, everything that can happen in it, and what comes of it.

use stateright::{Model, Property};

use crate::exploration::{Always, Explorable, Sometimes, properties_of};
use crate::relay::books::Store;
use crate::relay::outbox::{self, Outbox, Writer};
use crate::relay::properties::ALWAYS;
use crate::relay::reached::SOMETIMES;
use crate::relay::retention::{self, Pruner};
use crate::relay::server::{self, Crash};
use crate::relay::sink::{self, Sink};
use crate::relay::worker::{self, Relay};
use crate::relay::world::{Position, Quirk, RELAYS, SINKS, World};
use crate::set::Set;

/// One moment of a world.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State {
    /// The events, and who writes them.
    pub outbox: Outbox,
    /// What is committed.
    pub store: Store,
    /// The relays, each in a process of its own.
    pub relays: [Relay; RELAYS],
    /// The sinks.
    pub sinks: [Sink; SINKS],
    /// Who drops partitions.
    pub pruner: Pruner,
    /// How many faults may still strike.
    pub faults_left: u8,
    /// How often the server may still crash.
    pub crashes_left: u8,
    /// How often a sink may still refuse an event.
    pub refusals_left: u8,
    /// How often the operator may still do something.
    pub duties_left: u8,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// In a transaction that writes.
    Writer(usize, outbox::Move),
    /// In a relay, or to it.
    Relay(usize, worker::Move),
    /// Partitions are dropped.
    Pruner(retention::Move),
    /// By the operator.
    Operator(retention::Duty),
    /// A sink forgets an event.
    WindowEnds(usize, Position),
    /// The server crashes, and is up again.
    ServerCrashes(Crash),
}

impl State {
    /// The positions whose rows a snapshot sees.
    pub fn visible(&self) -> Set {
        self.store.now.committed.iter().filter(|position| *position > self.outbox.pruned).collect()
    }

    /// Something has happened that a relay may find when it looks at the gaps again.
    pub fn stir(&mut self) {
        self.relays.iter_mut().for_each(|relay| relay.is_quiet = false);
    }

    /// The same state with relays of one sink, and transactions, in a certain order: which is which makes no
    /// difference.
    fn sorted(&self) -> Self {
        let mut sorted = self.clone();
        sorted.outbox.writers.sort_unstable();
        if sorted.relays[0].sink != sorted.relays[1].sink {
            return sorted;
        }
        let mut swapped = sorted.clone();
        swapped.relays.swap(0, 1);
        swapped.store.swap_relays();
        sorted.min(swapped)
    }
}

impl Explorable for World {
    const ALWAYS: &'static [Always<Self>] = &ALWAYS;
    const SOMETIMES: &'static [Sometimes<Self>] = &SOMETIMES;

    fn representative(state: &State) -> State {
        state.sorted()
    }

    fn moves(&self, state: &State, actions: &mut Vec<Action>) {
        outbox::moves(self, state, actions);
        for relay in 0..self.relays.len() {
            worker::moves(self, state, relay, actions);
        }
        retention::moves(self, state, actions);
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = State {
            faults_left: self.faults,
            crashes_left: self.crashes,
            refusals_left: self.refusals,
            duties_left: self.duties,
            ..State::default()
        };
        state.outbox.prepares_left = self.prepares;
        state.store.may_crash = self.crashes > 0;
        state.store.logs_sequence = self.shows(Quirk::SequenceIsLogged);
        for (place, wants) in self.writers.iter().enumerate() {
            state.outbox.writers[place] = Writer::of(*wants);
        }
        // A relay that a world does not have serves a sink that it does not have either.
        state.relays = std::array::from_fn(|relay| Relay::of(self.relays.get(relay).copied().unwrap_or(SINKS)));
        for sink in self.relays {
            state.store.now.books[*sink].exists = *sink == 0 || !self.shows(Quirk::LateSink);
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.moves(state, actions);
        sink::windows(self, state, actions);
        if state.duties_left > 0 {
            retention::duties(self, state, actions);
        }
        if state.faults_left > 0 {
            for relay in 0..self.relays.len() {
                worker::faults(self, state, relay, actions);
            }
            retention::faults(state, actions);
        }
        if state.crashes_left > 0 {
            server::crashes(self, state, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        match action {
            Action::Writer(writer, step) => outbox::make(self, &mut next, writer, step),
            Action::Relay(relay, step) => {
                next.faults_left -= u8::from(step.is_fault());
                worker::make(self, &mut next, relay, step);
            }
            Action::Pruner(step) => {
                next.faults_left -= u8::from(step == retention::Move::Dies);
                retention::make(self, &mut next, step);
            }
            Action::Operator(duty) => {
                next.duties_left -= 1;
                retention::perform(self, &mut next, duty);
            }
            Action::WindowEnds(sink, position) => {
                next.sinks[sink].forget(position);
                // A window is much longer than the server takes to flush what nobody waits for.
                next.store.flush(next.outbox.sequence);
            }
            Action::ServerCrashes(crash) => {
                next.crashes_left -= 1;
                server::crash(self, &mut next, crash);
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties_of(self)
    }
}
