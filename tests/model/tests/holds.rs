//! The protocol holds: in every state of every world, and sooner or later for every message.

// clippy.toml allows these in functions marked as tests, not in what those stand on.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use turnstile_model::exploration::{explore, has_endless_path};
use turnstile_model::world::{Start, World};
use turnstile_model::worlds;

/// What a run must visit at least.
const STATES: usize = 20_000_000;

#[test]
fn the_promise_holds_in_every_state_of_every_world() {
    let (mut states, mut steps) = (0, 0);
    for world in worlds::ALL.map(with_more_faults) {
        let since = Instant::now();
        let seen = explore(world, 2);
        let World { name, faults, .. } = world;
        println!("{:>9} states {:>9} steps {:>5.1?} faults {faults}  {name}", seen.states, seen.steps, since.elapsed());
        assert_eq!(seen.broken, [""; 0], "{name}");
        assert_eq!(seen.unreached, [""; 0], "{name}");
        states += seen.states;
        steps += seen.steps;
    }
    println!("{states:>9} states {steps:>9} steps in all: the promise holds in each of them");
    assert!(states >= STATES, "only {states} states");
}

#[test]
fn no_path_is_endless_so_that_every_message_comes_to_rest() {
    for world in worlds::ALL {
        // Where any batch is in hand from the start, a fault more is two million states more.
        let faults = world.faults.min(u8::from(world.start == Start::Empty));
        let world = World { faults, ..world };
        assert!(!has_endless_path(world), "{}", world.name);
    }
}

/// `TURNSTILE_TEST_MORE_FAULTS=1` lets one more fault strike in every world that starts with nothing in hand.
fn with_more_faults(world: World) -> World {
    let more = std::env::var("TURNSTILE_TEST_MORE_FAULTS").ok().and_then(|more| more.parse().ok());
    let more = more.filter(|_| world.start == Start::Empty);
    World { faults: world.faults + more.unwrap_or(0), ..world }
}
