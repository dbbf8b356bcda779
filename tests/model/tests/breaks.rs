//! Each mistake breaks the promise, and is found: the model can fail.

// clippy.toml allows these in functions marked as tests, not in what those stand on.
#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;

use turnstile_model::exploration::{explore, has_endless_path, shortest_way_to_break};
use turnstile_model::mutant::Mutant;
use turnstile_model::properties::ALWAYS;
use turnstile_model::world::World;
use turnstile_model::worlds::*;

const TWICE: &str = "no message is loaded twice";
const KEY: &str = "no key is loaded twice";
const PLACES: &str = "no message is in two places";
const BURIED: &str = "no good login is dead-lettered";
const BAD: &str = "no bad body is loaded";
const DELETED: &str = "what is deleted is recorded";
const EVENT: &str = "every row has its event";
const AGREE: &str = "the tables agree";
const PLAN: &str = "what a plan says became of a letter did";
const ABSORBED: &str = "what absorbs is loaded";
const SAME: &str = "only the same login absorbs";
const OWNER: &str = "what owns a key is loaded";
const FOREVER: &str = "nobody waits or tries for ever";
const REST: &str = "at rest every message is recorded once";

/// One test for each mutant: how many faults it takes in which world, and exactly what it breaks there, first what the
/// shortest way is shown for.
macro_rules! mutants {
    ($($test:ident: $mutant:ident, $world:ident, $faults:literal, [$($breaks:ident),*];)*) => {
        const MUTANTS: &[Mutant] = &[$(Mutant::$mutant),*];

        // Without an arm for each mutant this does not compile.
        fn damage(mutant: Mutant) -> (World, &'static [&'static str]) {
            match mutant {
                $(Mutant::$mutant => (World { faults: $faults, ..$world }, &[$($breaks),*]),)*
            }
        }

        $(#[test]
        fn $test() {
            is_found(Mutant::$mutant);
        })*
    };
}

mutants! {
    deleting_before_the_commit_is_found: DeleteBeforeCommit, REFUSED_ROW, 1, [DELETED, REST];
    claims_in_an_earlier_transaction_are_found: ClaimInAnEarlierTransaction, REFUSED_ROW, 1, [DELETED, AGREE, REST];
    claims_in_a_later_transaction_are_found: ClaimInALaterTransaction, REFUSED_ROW, 1, [TWICE, PLACES, AGREE, REST];
    claims_that_read_before_they_write_are_found: ClaimByReading, REFUSED_ROW, 1, [TWICE, PLACES, REST];
    a_commit_that_is_not_verified_is_found: CommitNotVerified, REFUSED_ROW, 1, [DELETED, REST];
    an_ambiguous_commit_taken_as_committed_is_found: AmbiguousCommitTakenAsCommitted, REFUSED_ROW, 1, [DELETED, REST];
    an_ambiguous_commit_that_dead_letters_is_found: AmbiguousCommitDeadLettered, REFUSED_ROW, 1, [BURIED];
    a_batch_error_that_dead_letters_the_neighbours_is_found: BatchErrorDeadLettersNeighbours, REFUSED_ROW, 1, [BURIED];
    the_first_part_taken_for_the_whole_batch_is_found: HalfTakenForWhole, REFUSED_ROW, 1, [DELETED, REST];
    dead_lettering_whatever_was_received_too_often_is_found: DeadLetterByReceiveCount, REFUSED_ROW, 2, [BURIED];
    events_in_a_later_transaction_are_found: EventsInLaterTransaction, REFUSED_ROW, 1, [EVENT];
    a_delete_without_a_dead_letter_is_found: DeleteWithoutDeadLetter, REPLAY_BY_MESSAGE, 1, [DELETED, REST];
    a_replay_without_locks_is_found: ReplayWithoutLocks, REPLAY_BY_MESSAGE, 1, [TWICE, PLACES, REST];
    a_plan_that_records_before_it_replays_is_found: PlanRecordsBeforeReplay, REPLAY_BY_MESSAGE, 1, [PLAN];
    a_replay_without_decoding_is_found: ReplayWithoutDecoding, REPLAY_BY_MESSAGE, 1, [BAD];
    a_requeue_as_a_new_message_is_found: RequeueAsNew, REQUEUED, 1, [PLACES, AGREE, REST];
    a_requeue_of_a_resolved_letter_is_found: RequeueOfResolved, REQUEUED, 1, [PLACES, AGREE, REST];
    a_requeue_without_locks_is_found: RequeueWithoutLocks, REQUEUED, 1, [TWICE, PLACES, REST];
    a_requeue_that_locks_letters_last_is_found: RequeueLocksLettersLast, REQUEUED, 1, [FOREVER, PLACES, AGREE, REST];
    claims_of_two_schemes_that_never_meet_are_found: ClaimsOfOneScheme, TWO_SCHEMES, 1, [TWICE, PLACES, AGREE, REST];
    twins_grouped_before_their_claims_are_found: TwinsGroupedBeforeClaims, REFUSED_AND_RESENT, 1, [ABSORBED];
    keys_of_messages_that_are_not_new_are_found: KeysOfAllMessages, REPLAY_AND_RESEND, 1, [ABSORBED, OWNER];
    an_owner_that_is_not_read_is_found: OwnerNotRead, SENT_TWICE, 1, [KEY];
    an_owner_that_is_read_before_the_wait_is_found: OwnerReadBeforeTheWait, SENT_TWICE, 1, [KEY];
    a_letter_that_keeps_its_identity_is_found: LetterKeepsIdentity, REFUSED_AND_RESENT, 1, [ABSORBED, OWNER];
    absorbing_in_one_statement_is_found: AbsorbedInOneStatement, SENT_TWICE, 1, [DELETED, AGREE, REST];
    a_message_absorbed_by_itself_is_found: SelfTakenForAnother, NO_TIMES, 1, [ABSORBED, PLACES, AGREE, OWNER, REST];
    a_key_that_absorbs_any_login_is_found: KeyAbsorbsAnyLogin, CONTRADICTION, 1, [SAME];
    one_phase_over_several_servers_is_found: OnePhase, DISTRIBUTED, 1, [EVENT];
    not_waiting_for_what_is_prepared_is_found: PreparedNotWaitedFor, DISTRIBUTED, 1,
        [TWICE, KEY, PLACES, AGREE, PLAN, ABSORBED, OWNER, REST];
    absorbing_by_what_is_not_committed_is_found: AbsorbedByUncommitted, SENT_TWICE, 1, [ABSORBED];
    a_replay_without_identity_is_found: ReplayWithoutIdentity, REPLAY_AND_RESEND, 1, [KEY];
    a_replay_by_another_scheme_is_found: ReplayByAnotherScheme, REPLAY_AND_RESEND, 1, [KEY];
    keys_before_messages_are_found: KeysBeforeMessages, REPLAY_AND_RESEND, 1, [FOREVER, ABSORBED, OWNER, REST];
    a_lane_that_does_not_sort_is_found: OneLaneUnsorted, CROSSING, 0, [FOREVER, REST];
    the_old_under_their_own_time_are_found: OldUnderItsOwnTime, OUTLIVED, 1, [FOREVER];
    a_horizon_by_the_local_clock_is_found: HorizonByLocalClock, RETENTION, 1, [PLACES, BURIED, AGREE, REST];
    a_horizon_within_the_retention_is_found: HorizonWithinRetention, RETENTION, 1, [PLACES, BURIED, AGREE, REST];
    a_drop_before_the_horizon_is_found: DropBeforeHorizon, RETENTION, 1, [TWICE, KEY, PLACES, REST];
    a_horizon_that_is_read_before_the_claims_is_found: HorizonReadBeforeClaims, OUTLIVED, 1, [TWICE, KEY, PLACES, REST];
    a_drop_under_an_open_letter_is_found: DropUnderOpenLetter, RETENTION_AND_LETTERS, 1, [AGREE];
    letters_cleared_before_the_horizon_are_found: ClearBeforeHorizon, RETENTION_AND_LETTERS, 1, [AGREE];
    letters_cleared_beside_others_are_found: ClearWithoutWaiting, OUTLIVED_LETTER, 1, [AGREE];
    resolved_letters_that_are_kept_are_found: ResolvedLettersKept, RETENTION_AND_LETTERS, 1, [AGREE];
    pruning_within_the_retention_is_found: PruneWithinRetention, NO_TIMES_AND_LETTERS, 1, [TWICE, PLACES, AGREE, PLAN, REST];
    identities_pruned_within_the_retention_are_found: IdentityPrunedWithinRetention, RETENTION, 1, [KEY];
    a_login_under_an_old_key_is_found: OldKeysClaimed, DATED_KEYS, 1, [KEY];
    a_replay_under_an_old_key_is_found: ReplayUnderOldKeys, DATED_KEYS_AND_LETTERS, 1, [KEY];
    keys_dropped_before_the_horizon_are_found: KeysDroppedBeforeHorizon, DATED_KEYS, 1, [KEY];
    keys_dropped_beside_others_are_found: KeysDroppedWithoutWaiting, DATED_KEYS, 1, [KEY];
    a_replay_of_the_forgotten_is_found: ReplayOfTheForgotten, OUTLIVED, 1, [TWICE, KEY];
    a_time_by_the_delivery_is_found: TimeOfTheDelivery, MISSING_TIMES, 2, [TWICE, KEY, PLACES, AGREE, REST];
    a_hash_key_that_is_not_checked_is_found: HashKeyNotChecked, NEW_HASH_KEY, 1, [KEY];
    a_hash_key_that_waits_for_nobody_is_found: HashKeyWithoutLock, NEW_HASH_KEY, 1, [KEY];
    an_import_that_deletes_before_the_commit_is_found: ImportDeletesBeforeCommit, REDRIVEN, 2, [DELETED, REST];
    an_import_without_a_claim_is_found: ImportWithoutClaim, FROM_A_FILE, 1, [PLACES, TWICE, AGREE, PLAN, REST];
    an_import_under_another_time_is_found: ImportUnderAnotherTime, REDRIVEN, 2, [PLACES, AGREE, REST];
}

fn is_found(mutant: Mutant) {
    let (world, expected) = damage(mutant);
    let world = World { mutant: Some(mutant), ..world };
    let seen = explore(world, 1);
    let (start, way) = shortest_way_to_break(world, expected[0]).unwrap_or_default();
    let way: Vec<String> = way.iter().map(|action| format!("{action:?}")).collect();
    let hands: Vec<_> = start.lanes.iter().map(|lane| lane.hand).collect();
    println!(
        "{mutant:?}: {} states; breaks {:?}\n  in {} steps: {}",
        seen.states,
        seen.broken,
        way.len(),
        way.join(", ")
    );
    if hands.as_flattened().iter().any(|receipts| !receipts.is_empty()) {
        println!("  with these receipts in hand from the start, by lane and message: {hands:?}");
    }
    let expected: BTreeSet<_> = expected.iter().collect();
    assert_eq!(seen.broken.iter().collect::<BTreeSet<_>>(), expected, "{mutant:?}");
    assert!(!way.is_empty(), "{mutant:?}: no way to break it");
}

#[test]
fn without_a_mutant_nothing_breaks_in_the_same_worlds() {
    let worlds: BTreeSet<_> = MUTANTS.iter().map(|mutant| (damage(*mutant).0.name, damage(*mutant).0.faults)).collect();
    let within = |(name, faults): &(&str, u8)| ALL.iter().any(|world| world.name == *name && world.faults >= *faults);
    // In holds.rs each of them holds with at least as many faults.
    assert!(worlds.iter().all(within), "{worlds:?}");
}

#[test]
fn an_endless_path_is_found() {
    let world = World { faults: 0, ..OUTLIVED };
    assert!(!has_endless_path(world));
    assert!(has_endless_path(World { mutant: Some(Mutant::OldUnderItsOwnTime), ..world }));
}

#[test]
fn every_property_is_broken_by_some_mutant() {
    let broken: BTreeSet<_> = MUTANTS.iter().flat_map(|mutant| damage(*mutant).1).collect();
    assert_eq!(broken, ALWAYS.iter().map(|(name, _)| name).collect());
}
