//! The protocol of the relay holds: in every state of every world, and sooner or later for every event.

// clippy.toml allows these in functions marked as tests, not in what those stand on.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use turnstile_model::exploration::{explore, has_endless_path};
use turnstile_model::relay::world::World;
use turnstile_model::relay::worlds;

/// What a run must visit at least.
const STATES: usize = 10_000_000;

#[test]
fn the_promise_holds_in_every_state_of_every_world() {
    let (mut states, mut steps) = (0, 0);
    for world in worlds::ALL {
        let since = Instant::now();
        let seen = explore(world, 2);
        let World { name, faults, crashes, .. } = world;
        let took = since.elapsed();
        println!(
            "{:>9} states {:>9} steps {took:>5.1?} faults {faults} crashes {crashes}  {name}",
            seen.states, seen.steps
        );
        assert_eq!(seen.broken, [""; 0], "{name}");
        assert_eq!(seen.unreached, [""; 0], "{name}");
        states += seen.states;
        steps += seen.steps;
    }
    println!("{states:>9} states {steps:>9} steps in all: the promise holds in each of them");
    assert!(states >= STATES, "only {states} states");
}

#[test]
fn no_path_is_endless_so_that_every_event_comes_to_rest() {
    for world in worlds::ALL {
        // No path comes back over a fault or a crash: of these there is a number. After one of them it might.
        let struck = World { faults: world.faults.min(1), crashes: 0, most: 0, ..world };
        assert!(!has_endless_path(struck), "{}", world.name);
        if world.crashes > 0 {
            let crashed = World { faults: 0, crashes: 1, most: 0, writers: &[1, 1], ..world };
            assert!(!has_endless_path(crashed), "{}", world.name);
        }
    }
}

#[test]
fn a_fault_of_a_relay_costs_one_repeat_and_a_crash_of_the_server_two() {
    const AS_OFTEN: &str = "an event is sent as often as the world says";
    for (faults, crashes) in [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)] {
        let world = World { faults, crashes, most: 1 + faults + 2 * crashes, ..worlds::REPEATED };
        let seen = explore(world, 2);
        assert_eq!(seen.broken, [""; 0], "{faults} faults, {crashes} crashes");
        assert!(!seen.unreached.contains(&AS_OFTEN), "{faults} faults, {crashes} crashes");
    }
}
