//! The protocol holds: in every state of every world below, and sooner or later for every message.

// clippy.toml allows these in functions marked as tests, not in what those stand on.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use turnstile_model::exploration::{explore, has_endless_path};
use turnstile_model::world::{Body, Duty, Identity, World};

/// What a run must visit at least.
const STATES: usize = 3_000_000;

const EVERY_DUTY: &[Duty] = &[Duty::Upgrade, Duty::DropConstraint, Duty::Replay, Duty::Discard, Duty::Prune];

const WORLDS: [World; 8] = [
    World {
        name: "a login beside one that the database refuses",
        bodies: [Body::Login, Body::Refused],
        faults: 4,
        ..LOADING
    },
    World { name: "a login beside a malformed body", bodies: [Body::Login, Body::Malformed], faults: 3, ..LOADING },
    World { name: "two logins with one id", identity: Identity::SharedId, faults: 3, ..LOADING },
    World {
        name: "a malformed body, upgraded lanes, replays",
        bodies: [Body::Login, Body::Malformed],
        duties: EVERY_DUTY,
        ..LOADING
    },
    World {
        name: "a refused login, a dropped constraint, replays",
        bodies: [Body::Login, Body::Refused],
        duties: &[Duty::DropConstraint, Duty::Replay, Duty::Discard, Duty::Prune],
        ..LOADING
    },
    World {
        name: "a malformed body beside a refused login, replays",
        bodies: [Body::Malformed, Body::Refused],
        duties: EVERY_DUTY,
        faults: 1,
        ..LOADING
    },
    World {
        name: "ids in the bodies, a malformed one, upgraded lanes, replays",
        bodies: [Body::Login, Body::Malformed],
        identity: Identity::OwnId,
        duties: EVERY_DUTY,
        ..LOADING
    },
    World {
        name: "ids in the bodies, a dropped constraint, replays",
        bodies: [Body::Login, Body::Refused],
        identity: Identity::OwnId,
        duties: &[Duty::DropConstraint, Duty::Replay, Duty::Prune],
        ..LOADING
    },
];

const LOADING: World = World {
    name: "two logins",
    bodies: [Body::Login, Body::Login],
    identity: Identity::MessageId,
    max_attempts: 2,
    faults: 2,
    duties: &[],
    mutant: None,
};

#[test]
fn the_promise_holds_in_every_state_of_every_world() {
    let (mut states, mut steps) = (0, 0);
    for world in WORLDS.map(with_more_faults) {
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
    for world in WORLDS {
        assert!(!has_endless_path(World { faults: 1, ..world }), "{}", world.name);
    }
}

/// `TURNSTILE_TEST_MORE_FAULTS=1` lets one more fault strike in every world: five to eight times the states.
fn with_more_faults(world: World) -> World {
    let more = std::env::var("TURNSTILE_TEST_MORE_FAULTS").ok().and_then(|more| more.parse().ok());
    World { faults: world.faults + more.unwrap_or(0), ..world }
}
