//! A sink: what arrives there. What it has, no crash takes back.

use crate::relay::mutant::Mutant;
use crate::relay::protocol::{Action, State};
use crate::relay::world::{POSITIONS, Position, Quirk, SINKS, World};
use crate::set::Set;

/// A sink, and what it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sink {
    /// How often each event was accepted, as far as the world counts.
    accepted: [u8; POSITIONS + 1],
    /// How often each arrived behind the sink: a repeat that it recognises does not.
    arrived: [u8; POSITIONS + 1],
    /// What it would recognise.
    known: Set,
    /// What it has refused at some time.
    pub refused: Set,
    /// What arrived for the first time after a later event of its subject, and nobody had given up.
    pub overtaken: Set,
}

impl Sink {
    /// It accepts an event, that an operator has given up or not.
    pub fn accept(&mut self, world: &World, position: Position, is_given_up: bool) {
        if !self.has().has(position) && self.has().meets(world.later(position)) && !is_given_up {
            self.overtaken |= Set::of(position);
        }
        let count = |count: &mut u8| *count = (*count + 1).min(world.counted());
        count(&mut self.accepted[position]);
        if world.shows(Quirk::RecognisesRepeats) {
            if !self.known.has(position) {
                count(&mut self.arrived[position]);
            }
            self.known |= Set::of(position);
        }
    }

    /// What it has.
    pub fn has(&self) -> Set {
        (1..=POSITIONS).filter(|position| self.accepted[*position] > 0).collect()
    }

    /// How often it accepted the event that it accepted most often.
    pub fn most_accepted(&self) -> u8 {
        self.accepted.iter().copied().max().unwrap_or(0)
    }

    /// How often the event arrived that arrived most often.
    pub fn most_arrived(&self) -> u8 {
        self.arrived.iter().copied().max().unwrap_or(0)
    }

    /// It forgets the id of an event.
    pub fn forget(&mut self, position: Position) {
        self.known -= Set::of(position);
    }
}

/// The windows that may end now: that of an event which nobody is about to send, since no outage outlasts a window.
pub fn windows(world: &World, state: &State, moves: &mut Vec<Action>) {
    for sink in 0..SINKS {
        let may_end = |position: &usize| world.has(Mutant::WindowTooShort) || is_settled(state, sink, *position);
        let known = state.sinks[sink].known;
        moves.extend(known.iter().filter(may_end).map(|position| Action::WindowEnds(sink, position)));
    }
}

fn is_settled(state: &State, sink: usize, position: Position) -> bool {
    let books = &state.store.now.books[sink];
    let in_hand = state.relays.iter().any(|relay| relay.sink == sink && relay.has_in_hand(position));
    position <= books.frontier && !books.open_positions().has(position) && !in_hand
}
