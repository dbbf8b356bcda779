//! What must hold in every state: nothing is lost, dropped unsent or invented, and everything comes to its end.

use crate::exploration::is_at_rest;
use crate::relay::books::{Books, Failure};
use crate::relay::protocol::State;
use crate::relay::sink::Sink;
use crate::relay::world::{SINKS, World};
use crate::set::Set;

/// Of a state of a world.
type Condition = fn(&World, &State) -> bool;

/// What holds in every state of every world.
pub const ALWAYS: [(&str, Condition); 9] = [
    ("no event is lost", no_event_is_lost),
    ("no open hole is forgotten", no_open_hole_is_forgotten),
    ("nothing is dropped unsent", nothing_is_dropped_unsent),
    ("nothing is invented", nothing_is_invented),
    ("only what was refused is a failure", only_what_was_refused_is_a_failure),
    ("no event is sent too often", no_event_is_sent_too_often),
    ("each event arrives once", each_event_arrives_once),
    ("the events of a subject arrive in order", the_events_of_a_subject_arrive_in_order),
    ("at rest everything is sent or set aside", at_rest_everything_is_sent_or_set_aside),
];

/// Each committed event at or below the frontier that the sink is to have is sent, or stands in the books.
fn no_event_is_lost(_: &World, state: &State) -> bool {
    each(state, |books, sink| {
        let failed = books.failed(|failure| failure != Failure::None);
        let there = up_to(meant_for(books, state), books.frontier) & state.visible();
        there.is_within(sink.has() | books.covered() | books.in_gaps() | failed)
    })
}

/// Each position at or below the frontier whose transaction has not ended is in a gap.
fn no_open_hole_is_forgotten(_: &World, state: &State) -> bool {
    each(state, |books, _| up_to(state.outbox.undecided(), books.frontier).is_within(books.in_gaps()))
}

/// What is dropped is sent to every sink that was there, or set aside; and no open transaction has a position there.
fn nothing_is_dropped_unsent(_: &World, state: &State) -> bool {
    let dropped = |positions| up_to(positions, state.outbox.pruned);
    dropped(state.outbox.undecided()).is_empty()
        && each(state, |books, sink| {
            dropped(meant_for(books, state)).is_within(sink.has() | books.set_aside() | books.discarded())
        })
}

fn nothing_is_invented(_: &World, state: &State) -> bool {
    each(state, |_, sink| sink.has().is_within(state.store.now.committed))
}

/// A sink that is down makes no failures. Under order, what stands behind one that was refused is a failure too.
fn only_what_was_refused_is_a_failure(world: &World, state: &State) -> bool {
    each(state, |books, sink| {
        let mut failed = books.failed(|failure| failure != Failure::None).iter();
        failed.all(|position| sink.refused.meets(world.earlier(position) | Set::of(position)))
    })
}

/// Where that is counted: once where nothing goes wrong, and otherwise as often as the world says.
fn no_event_is_sent_too_often(world: &World, state: &State) -> bool {
    world.most == 0 || each(state, |_, sink| sink.most_accepted() <= world.most)
}

/// At a sink that recognises repeats.
fn each_event_arrives_once(_: &World, state: &State) -> bool {
    each(state, |_, sink| sink.most_arrived() <= 1)
}

/// Under order: each for the first time after every earlier one that arrives at all, but for those that an operator gave up.
fn the_events_of_a_subject_arrive_in_order(_: &World, state: &State) -> bool {
    each(state, |_, sink| sink.overtaken.is_empty())
}

/// Where nothing moves by itself any more, all transactions have ended, every committed event is sent or set aside (or
/// discarded, or stands behind one that was set aside), and nothing else is open. Whatever faults are left may strike then; they start it again.
fn at_rest_everything_is_sent_or_set_aside(world: &World, state: &State) -> bool {
    let is_done = |books: &Books, sink: &Sink| {
        let stuck = books.stuck(world);
        let is_open = !(books.open_positions() - stuck).is_empty();
        let done = sink.has() | books.set_aside() | books.discarded() | stuck;
        !is_open && meant_for(books, state).is_within(done)
    };
    !is_at_rest(world, state) || state.outbox.undecided().is_empty() && each(state, is_done)
}

/// The committed events that a sink is to have.
fn meant_for(books: &Books, state: &State) -> Set {
    state.store.now.committed.iter().filter(|position| *position > books.begins).collect()
}

/// The positions up to this one.
fn up_to(positions: Set, last: usize) -> Set {
    positions.iter().filter(|position| *position <= last).collect()
}

/// Whether it is true of every sink that there is.
fn each(state: &State, is: impl Fn(&Books, &Sink) -> bool) -> bool {
    (0..SINKS).all(|sink| !state.store.now.books[sink].exists || is(&state.store.now.books[sink], &state.sinks[sink]))
}
