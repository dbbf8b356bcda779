//! Each mistake breaks the promise, and is found: the model can fail.

// clippy.toml allows these in functions marked as tests, not in what those stand on.
#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;

use turnstile_model::exploration::{explore, shortest_way_to_break};
use turnstile_model::properties::ALWAYS;
use turnstile_model::world::{Body, Duty, Identity, Mutant, World};

const TWICE: &str = "no message is loaded twice";
const BOTH: &str = "no message is in both places";
const BURIED: &str = "no good login is dead-lettered";
const BAD: &str = "no bad body is loaded";
const DELETED: &str = "what is deleted is recorded";
const EVENT: &str = "every row has its event";
const AGREE: &str = "the tables agree";
const REST: &str = "at rest every message is recorded once";

/// No counterexample is longer.
const LONGEST: usize = 40;

/// Small enough to be explored to its end for every mutant.
const LOADING: World = World {
    name: "a login beside one that the database refuses",
    bodies: [Body::Login, Body::Refused],
    identity: Identity::MessageId,
    max_attempts: 2,
    faults: 2,
    duties: &[],
    mutant: None,
};
const REPLAYING: World = World {
    name: "a login beside a malformed body, upgraded lanes, replays",
    bodies: [Body::Login, Body::Malformed],
    faults: 1,
    duties: &[Duty::Upgrade, Duty::Replay, Duty::Discard, Duty::Prune],
    ..LOADING
};
const REPLAYING_BY_ID: World =
    World { name: "the same, with ids in the bodies", identity: Identity::OwnId, ..REPLAYING };

/// Where a mutant is let loose, and what it breaks: first what the shortest way is shown for.
fn damage(mutant: Mutant) -> (World, &'static [&'static str]) {
    match mutant {
        Mutant::DeleteBeforeCommit => (LOADING, &[DELETED, REST]),
        Mutant::ClaimInAnEarlierTransaction => (LOADING, &[DELETED, AGREE, REST]),
        Mutant::ClaimInALaterTransaction => (LOADING, &[TWICE, AGREE, REST]),
        Mutant::ClaimByReading => (LOADING, &[TWICE, REST]),
        Mutant::ClaimByOneHash => (REPLAYING_BY_ID, &[TWICE, BOTH, REST]),
        Mutant::CommitNotVerified => (LOADING, &[DELETED, REST]),
        Mutant::AmbiguousCommitTakenAsCommitted => (LOADING, &[DELETED, REST]),
        Mutant::AmbiguousCommitDeadLettered => (LOADING, &[BURIED]),
        Mutant::BatchErrorDeadLettersNeighbours => (LOADING, &[BURIED]),
        Mutant::HalfTakenForWhole => (LOADING, &[DELETED, REST]),
        Mutant::DeadLetterByReceiveCount => (LOADING, &[BURIED]),
        Mutant::EventsInLaterTransaction => (LOADING, &[EVENT]),
        Mutant::DeleteWithoutDeadLetter => (REPLAYING, &[DELETED, REST]),
        Mutant::ReplayWithoutLocks => (REPLAYING, &[TWICE, REST]),
        Mutant::ReplayWithoutDecoding => (REPLAYING, &[BAD]),
        Mutant::PruneTooEarly => (REPLAYING, &[TWICE, BOTH, AGREE, REST]),
    }
}

fn is_found(mutant: Mutant) {
    let (world, expected) = damage(mutant);
    let world = World { mutant: Some(mutant), ..world };
    let seen = explore(world, 1);
    let way = shortest_way_to_break(world, expected[0], LONGEST).unwrap_or_default();
    let way: Vec<String> = way.iter().map(|action| format!("{action:?}")).collect();
    println!(
        "{mutant:?}: {} states; breaks {:?}\n  in {} steps: {}",
        seen.states,
        seen.broken,
        way.len(),
        way.join(", ")
    );
    let expected: BTreeSet<_> = expected.iter().collect();
    assert_eq!(seen.broken.iter().collect::<BTreeSet<_>>(), expected, "{mutant:?}");
    assert!(!way.is_empty(), "{mutant:?}: no way to break it in {LONGEST} steps");
}

#[test]
fn without_a_mutant_nothing_breaks_in_the_same_worlds() {
    for world in [LOADING, REPLAYING, REPLAYING_BY_ID] {
        let seen = explore(world, 1);
        println!("no mutant: {} states; {}", seen.states, world.name);
        assert_eq!(seen.broken, [""; 0], "{}", world.name);
    }
}

#[test]
fn every_property_is_broken_by_some_mutant() {
    let broken: BTreeSet<_> = Mutant::ALL.iter().flat_map(|mutant| damage(*mutant).1).collect();
    assert_eq!(broken, ALWAYS.iter().map(|(name, _)| name).collect());
}

#[test]
fn deleting_before_the_commit_is_found() {
    is_found(Mutant::DeleteBeforeCommit);
}

#[test]
fn a_claim_in_an_earlier_transaction_is_found() {
    is_found(Mutant::ClaimInAnEarlierTransaction);
}

#[test]
fn a_claim_in_a_later_transaction_is_found() {
    is_found(Mutant::ClaimInALaterTransaction);
}

#[test]
fn a_claim_that_reads_before_it_writes_is_found() {
    is_found(Mutant::ClaimByReading);
}

#[test]
fn a_claim_by_one_hash_is_found() {
    is_found(Mutant::ClaimByOneHash);
}

#[test]
fn a_commit_that_is_not_verified_is_found() {
    is_found(Mutant::CommitNotVerified);
}

#[test]
fn an_ambiguous_commit_taken_as_committed_is_found() {
    is_found(Mutant::AmbiguousCommitTakenAsCommitted);
}

#[test]
fn an_ambiguous_commit_that_dead_letters_is_found() {
    is_found(Mutant::AmbiguousCommitDeadLettered);
}

#[test]
fn a_batch_error_that_dead_letters_the_neighbours_is_found() {
    is_found(Mutant::BatchErrorDeadLettersNeighbours);
}

#[test]
fn the_first_half_taken_for_the_whole_batch_is_found() {
    is_found(Mutant::HalfTakenForWhole);
}

#[test]
fn a_delete_without_a_dead_letter_is_found() {
    is_found(Mutant::DeleteWithoutDeadLetter);
}

#[test]
fn dead_lettering_whatever_was_received_too_often_is_found() {
    is_found(Mutant::DeadLetterByReceiveCount);
}

#[test]
fn events_in_a_later_transaction_are_found() {
    is_found(Mutant::EventsInLaterTransaction);
}

#[test]
fn a_replay_without_locks_is_found() {
    is_found(Mutant::ReplayWithoutLocks);
}

#[test]
fn a_replay_without_decoding_is_found() {
    is_found(Mutant::ReplayWithoutDecoding);
}

#[test]
fn pruning_too_early_is_found() {
    is_found(Mutant::PruneTooEarly);
}
