//! What must be reached in some state of each world in which it is possible: otherwise the model could keep the promise
//! by doing nothing.

use crate::exploration::{Sometimes, is_at_rest};
use crate::relay::books::Books;
use crate::relay::protocol::State;
use crate::relay::retention::Pruner;
use crate::relay::sink::Sink;
use crate::relay::worker::Task;
use crate::relay::world::{Quirk, SINKS, World};
use crate::set::Set;

/// What is reached in some state.
pub(crate) const SOMETIMES: [Sometimes<World>; 25] = [
    (
        "everything is at rest and every fault has struck",
        |_| true,
        |world, state| state.faults_left == 0 && state.crashes_left == 0 && is_at_rest(world, state),
    ),
    ("a gap waits for an open transaction", has_rivals, |_, state| {
        any(state, |books, _| books.gaps.iter().any(|gap| gap.writers.is_some()))
    }),
    (
        "a row is found in a gap",
        |world| has_rivals(world) && !world.is_ordered(),
        |_, state| {
            state
                .relays
                .iter()
                .any(|relay| matches!(relay.task, Task::Looks { found: Some(rows), .. } if !rows.is_empty()))
        },
    ),
    ("a hole is dead", has_rivals, |_, state| {
        any(state, |books, _| {
            let below: Set = (1..=books.frontier).collect();
            let rows = state.store.now.committed | state.outbox.undecided();
            !(below - rows - books.in_gaps()).is_empty()
        })
    }),
    (
        "a prepared transaction that outlived a crash is in a gap",
        |world| world.prepares > 0 && world.crashes > 0 && has_rivals(world),
        |_, state| {
            let recovered = state.outbox.writers.iter().filter(|writer| writer.is_recovered());
            let positions = recovered.fold(Set::default(), |all, writer| all | writer.positions);
            any(state, |books, _| books.in_gaps().meets(positions))
        },
    ),
    ("two relays send one chunk", has_colleagues, |_, state| {
        let chunk = |task| if let Task::Sends { chunk, .. } = task { Some(chunk) } else { None };
        let [one, other] = &state.relays;
        one.sink == other.sink && chunk(one.task).is_some() && chunk(one.task) == chunk(other.task)
    }),
    ("a relay holds gaps while another claims", has_two, |_, state| {
        let looks = state.relays.iter().any(|relay| matches!(relay.task, Task::Looks { .. }));
        looks && state.relays.iter().any(|relay| matches!(relay.task, Task::ClaimsRows(..)))
    }),
    ("one relay is gone, and the other has done everything", has_colleagues, |world, state| {
        let gone = state.relays.iter().any(|relay| relay.is_gone);
        gone && any(state, |_, sink| !sink.has().is_empty()) && is_at_rest(world, state)
    }),
    ("what was sent is above the frontier again", has_crashes, |_, state| {
        any(state, |books, sink| sink.has().last() > Some(books.frontier))
    }),
    (
        "a chunk that a crash took back is in hand, and another has its id",
        |world| has_crashes(world) && has_colleagues(world),
        |_, state| {
            state.relays.iter().any(|relay| match relay.task {
                Task::Sends { chunk, taken_back, .. } => {
                    taken_back && state.store.now.books[relay.sink].chunk(chunk).is_some()
                }
                _ => false,
            })
        },
    ),
    ("an event is set aside", refuses_for_good, |_, state| any(state, |books, _| !books.set_aside().is_empty())),
    ("an event is sent after it was refused", refuses, |_, state| any(state, |_, sink| sink.refused.meets(sink.has()))),
    (
        "two relays try an event that was refused",
        |world| refuses(world) && has_colleagues(world) && world.tries > 1,
        |_, state| {
            let event = |task| if let Task::Retries { position, .. } = task { Some(position) } else { None };
            let [one, other] = &state.relays;
            event(one.task).is_some() && event(one.task) == event(other.task)
        },
    ),
    (
        "partitions are dropped below an open gap",
        |world| prunes(world) && world.writers.len() > 2,
        |_, state| any(state, |books, _| state.outbox.pruned > 0 && !books.in_gaps().is_empty()),
    ),
    (
        "a pruner is gone between its note and the drop",
        |world| prunes(world) && world.faults + world.crashes > 0,
        |_, state| state.pruner == Pruner::Idle && state.outbox.noted > state.outbox.pruned,
    ),
    (
        "an event is gone that was set aside",
        |world| prunes(world) && refuses_for_good(world),
        |_, state| any(state, |books, _| !(books.set_aside() - state.visible()).is_empty()),
    ),
    (
        "a sink is added after a drop",
        |world| world.shows(Quirk::LateSink),
        |_, state| any(state, |books, sink| books.begins > 0 && !sink.has().is_empty()),
    ),
    (
        "an event is sent as often as the world says",
        |world| world.most > 0,
        |world, state| any(state, |_, sink| sink.most_accepted() == world.most),
    ),
    (
        "a repeat is recognised",
        |world| world.shows(Quirk::RecognisesRepeats),
        |_, state| any(state, |_, sink| sink.most_accepted() > 1 && sink.most_arrived() == 1),
    ),
    (
        "a part before a hole is carried while the rest waits",
        |world| world.is_ordered() && has_rivals(world) && events(world) > 2,
        |_, state| any(state, |books, _| !books.gaps.is_empty() && !books.chunks.is_empty()),
    ),
    (
        "a row waits above the range of a gap",
        |world| world.is_ordered() && world.writers.len() > 2,
        |_, state| {
            any(state, |books, _| books.in_gaps().last().is_some_and(|last| state.visible().last() > Some(last)))
        },
    ),
    (
        "an event stands behind a refused one of its chunk",
        |world| refuses_in_order(world) && world.batch_size > world.subjects,
        |_, state| {
            state.relays.iter().any(|relay| matches!(relay.task, Task::Sends { refused, behind, .. } if !refused.is_empty() && !behind.is_empty()))
        },
    ),
    (
        "an event stands behind one that an earlier chunk left",
        |world| refuses_in_order(world) && events(world) > world.batch_size,
        |_, state| {
            state.relays.iter().any(|relay| matches!(relay.task, Task::Sends { refused, behind, .. } if refused.is_empty() && !behind.is_empty()))
        },
    ),
    (
        "an event is sent that stood behind one that was set aside and given up",
        |world| refuses_in_order(world) && world.refusals >= world.tries && world.duties > 0,
        |world, state| {
            any(state, |books, sink| {
                books
                    .discarded()
                    .iter()
                    .any(|given_up| sink.has().meets(world.later(given_up)) && !sink.has().has(given_up))
            })
        },
    ),
    (
        "an event stands behind one that was set aside, at rest",
        |world| refuses_in_order(world) && refuses_for_good(world),
        |world, state| any(state, |books, _| !books.stuck(world).is_empty()) && is_at_rest(world, state),
    ),
];

fn any(state: &State, is: impl Fn(&Books, &Sink) -> bool) -> bool {
    (0..SINKS).any(|sink| state.store.now.books[sink].exists && is(&state.store.now.books[sink], &state.sinks[sink]))
}

fn has_rivals(world: &World) -> bool {
    world.writers.len() > 1
}

fn has_two(world: &World) -> bool {
    !world.is_ordered() && world.relays.len() > 1 && world.writers.len() > 2
}

fn has_colleagues(world: &World) -> bool {
    world.faults > 0 && matches!(world.relays, [one, other] if one == other)
}

fn has_crashes(world: &World) -> bool {
    world.crashes > 0
}

fn refuses(world: &World) -> bool {
    world.refusals > 0 && (world.tries > 1 || world.duties > 0)
}

/// How many events there are.
fn events(world: &World) -> usize {
    world.writers.iter().map(|wants| usize::from(*wants)).sum()
}

fn refuses_in_order(world: &World) -> bool {
    world.is_ordered() && world.refusals > 0
}

fn refuses_for_good(world: &World) -> bool {
    world.refusals >= world.tries
}

fn prunes(world: &World) -> bool {
    world.shows(Quirk::Prunes)
}
