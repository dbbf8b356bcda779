//! Each mistake breaks what the relay promises, and is found: its model can fail.

// clippy.toml allows these in functions marked as tests, not in what those stand on.
#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;

use turnstile_model::exploration::{explore, shortest_way_to_break};
use turnstile_model::relay::mutant::Mutant;
use turnstile_model::relay::properties::ALWAYS;
use turnstile_model::relay::world::{Quirk, World};
use turnstile_model::relay::worlds::*;

const LOST: &str = "no event is lost";
const HOLE: &str = "no open hole is forgotten";
const DROPPED: &str = "nothing is dropped unsent";
const INVENTED: &str = "nothing is invented";
const FAILURE: &str = "only what was refused is a failure";
const OFTEN: &str = "no event is sent too often";
const ONCE: &str = "each event arrives once";
const ORDER: &str = "the events of a subject arrive in order";
const REST: &str = "at rest everything is sent or set aside";

const ONE_RELAY: World = World { writers: &[1, 1], relays: &[0], faults: 0, ..OVERTAKEN };
const ONE_RELAY_DIES: World = World { faults: 1, ..ONE_RELAY };
const TWO_RELAYS: World = World { relays: &[0, 0], ..ONE_RELAY };
const ONE_EVENT: World = World { writers: &[1], ..UNDISTURBED };
const TWO_EVENTS: World = World { writers: &[1, 1], ..UNDISTURBED };
const CRASH_ALONE: World = World { prepares: 0, ..CRASH };
const SMALL_CRASH: World = World { writers: &[1, 1], ..CRASH };
const CRASH_WHILE_SENDING: World = World { faults: 1, prepares: 0, ..CRASH_OF_TWO };
const SMALL_PRUNED: World = World { writers: &[1, 1], ..PRUNED };
const SMALL_REFUSED: World = World { writers: &[1], faults: 1, ..REFUSED };
const SMALL_REFUSED_AND_CRASH: World = World { writers: &[1], faults: 0, ..REFUSED_AND_CRASH };
const SMALL_TWO_SINKS: World = World { crashes: 0, faults: 0, ..TWO_SINKS };
const SMALL_LATE_SINK: World = World { faults: 0, ..LATE_SINK };
const SMALL_RECOGNISED: World = World { faults: 1, crashes: 0, ..RECOGNISED };
const IN_ORDER: World = World { writers: &[1, 1], relays: &[0], faults: 0, ..ORDERED };
const TWO_IN_ORDER: World = World { relays: &[0, 0], ..IN_ORDER };
const THREE_IN_ORDER: World = World { writers: &[1, 1, 1], ..IN_ORDER };
const AGAIN_IN_ORDER: World = World { writers: &[2, 1, 1], ..IN_ORDER };
const REFUSED_IN_ORDER: World = World { writers: &[2], batch_size: 1, faults: 0, ..ORDERED_REFUSED };
const SMALL_REFUSED_IN_ORDER: World = World { relays: &[0], duties: 0, ..REFUSED_IN_ORDER };
const REFUSED_ONCE_IN_ORDER: World = World { relays: &[0, 0], refusals: 1, ..SMALL_REFUSED_IN_ORDER };
const REFUSED_IN_A_CHUNK: World = World { batch_size: 2, ..REFUSED_ONCE_IN_ORDER };
const LEFT_IN_ORDER: World = World { faults: 1, ..REFUSED_ONCE_IN_ORDER };
const OVERDUE_IN_ORDER: World = World { faults: 1, refusals: 3, ..REFUSED_IN_ORDER };
const CRASH_IN_ORDER: World = World { relays: &[0], crashes: 1, ..REFUSED_IN_ORDER };

/// One test for each mutant: in which world, and exactly what it breaks there, first what the shortest way is shown
/// for.
macro_rules! mutants {
    ($($test:ident: $mutant:ident, $world:ident, [$($breaks:ident),*];)*) => {
        // Without an arm for each mutant this does not compile.
        fn damage(mutant: Mutant) -> (World, &'static [&'static str]) {
            match mutant {
                $(Mutant::$mutant => ($world, &[$($breaks),*]),)*
            }
        }

        const MUTANTS: &[Mutant] = &[$(Mutant::$mutant),*];

        $(#[test]
        fn $test() {
            is_found(Mutant::$mutant);
        })*
    };
}

mutants! {
    holes_that_are_not_noted_are_found: HolesNotNoted, ONE_RELAY, [LOST, HOLE, REST];
    a_hole_that_is_dead_at_first_sight_is_found: DeadAtFirstSight, ONE_RELAY, [LOST, HOLE, REST];
    rows_that_are_read_before_the_locks_are_found: RowsReadBeforeLocks, ONE_RELAY, [LOST, REST];
    locks_that_are_read_before_the_gaps_are_found: LocksReadBeforeGaps, TWO_RELAYS, [LOST, HOLE, REST];
    prepared_transactions_known_by_their_id_are_found: PreparedKnownById, SMALL_CRASH, [LOST, HOLE, REST];
    writers_in_the_memory_of_a_relay_are_found: WritersInMemory, ONE_RELAY_DIES, [LOST, HOLE, REST];
    a_mark_before_its_chunk_is_found: MarkBeforeChunk, ONE_RELAY_DIES, [LOST, REST];
    claims_without_the_advisory_lock_are_found: ClaimsWithoutLock, ONE_EVENT, [OFTEN];
    gaps_that_are_not_locked_are_found: GapsWithoutLock, TWO_EVENTS, [OFTEN];
    a_claim_up_to_the_last_value_is_found: UpToLastValue, SMALL_CRASH, [LOST, HOLE, REST];
    a_frontier_in_the_memory_of_a_relay_is_found: FrontierInMemory, CRASH_ALONE, [LOST, REST];
    a_close_without_its_owner_is_found: CloseWithoutOwner, CRASH_WHILE_SENDING, [LOST, REST];
    a_close_before_sending_is_found: CloseBeforeSending, ONE_RELAY_DIES, [LOST, REST];
    failures_after_the_close_are_found: FailuresAfterClose, SMALL_REFUSED, [LOST, DROPPED, REST];
    failures_of_a_lost_chunk_are_found: FailuresOfALostChunk, SMALL_REFUSED, [REST];
    a_sink_that_is_down_taken_for_one_that_refuses_is_found: DownTakenForRefused, SMALL_REFUSED, [FAILURE];
    pruning_up_to_the_frontier_is_found: PruneUpToFrontier, SMALL_PRUNED, [DROPPED, REST];
    a_low_water_in_two_reads_is_found: LowWaterInTwoReads, SMALL_PRUNED, [DROPPED, REST];
    the_low_water_of_one_sink_is_found: LowWaterOfOneSink, SMALL_TWO_SINKS, [DROPPED, REST];
    a_low_water_kept_over_a_crash_is_found: LowWaterKeptOverCrash, SMALL_REFUSED_AND_CRASH, [DROPPED, REST];
    a_note_taken_for_the_low_water_is_found: NotedTakenForLowWater, SMALL_REFUSED, [DROPPED, REST];
    a_note_after_the_drop_is_found: NotedAfterDrop, LATE_SINK, [DROPPED, REST];
    a_sink_added_while_pruning_is_found: SinkAddedWhilePruning, SMALL_LATE_SINK, [DROPPED, REST];
    a_retry_of_what_is_dropped_is_found: RetryOfTheDropped, SMALL_REFUSED, [DROPPED, REST];
    a_hole_that_is_passed_in_order_is_found: HolePassed, IN_ORDER, [LOST, HOLE, REST];
    locks_that_are_read_before_the_rows_in_order_are_found: LocksBeforeRows, THREE_IN_ORDER, [LOST, HOLE, REST];
    a_range_that_is_not_read_again_in_order_is_found: RangeNotReadAgain, IN_ORDER, [LOST, REST];
    a_range_that_grows_in_order_is_found: RangeGrows, AGAIN_IN_ORDER, [LOST, HOLE, REST];
    a_second_chunk_in_order_is_found: SecondChunk, TWO_IN_ORDER, [ORDER];
    what_is_held_read_first_in_order_is_found: HeldReadFirst, REFUSED_ONCE_IN_ORDER, [ORDER];
    what_is_held_not_read_in_order_is_found: HeldNotRead, REFUSED_ONCE_IN_ORDER, [ORDER];
    what_is_held_not_read_again_in_order_is_found: HeldNotReadAgain, LEFT_IN_ORDER, [ORDER];
    a_refused_event_that_is_passed_in_order_is_found: RefusedPassed, REFUSED_IN_A_CHUNK, [ORDER];
    what_stands_behind_forgotten_in_order_is_found: BehindForgotten, REFUSED_ONCE_IN_ORDER, [LOST, REST];
    two_of_a_subject_in_a_call_in_order_are_found: TwoInACall, IN_ORDER, [ORDER];
    a_retry_out_of_order_is_found: RetryOutOfOrder, REFUSED_ONCE_IN_ORDER, [ORDER];
    a_retry_past_what_is_set_aside_in_order_is_found: RetryPastSetAside, REFUSED_IN_ORDER, [ORDER];
    a_discarded_event_that_blocks_in_order_is_found: DiscardedBlocks, REFUSED_IN_ORDER, [REST];
    a_refusal_that_revives_what_is_discarded_in_order_is_found: RefusalRevivesDiscarded, OVERDUE_IN_ORDER, [ORDER];
    a_discard_that_is_not_flushed_in_order_is_found: DiscardNotFlushed, CRASH_IN_ORDER, [ORDER];
    a_lock_released_before_its_rows_are_visible_is_found: ReleasedBeforeVisible, ONE_RELAY, [LOST, HOLE, REST];
    a_position_before_its_lock_is_found: PositionBeforeLock, ONE_RELAY, [LOST, HOLE, REST];
    writers_that_do_not_wait_for_the_flush_are_found: WritersNotFlushed, SMALL_CRASH, [INVENTED];
    a_window_that_is_too_short_is_found: WindowTooShort, SMALL_RECOGNISED, [ONCE];
}

fn is_found(mutant: Mutant) {
    let (world, expected) = damage(mutant);
    assert_eq!(explore(world, 1).broken, [""; 0], "{mutant:?}: broken without it");
    let world = World { mutant: Some(mutant), ..world };
    let seen = explore(world, 1);
    let (_, way) = shortest_way_to_break(world, expected[0]).unwrap_or_default();
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
    assert!(!way.is_empty(), "{mutant:?}: no way to break it");
}

#[test]
fn without_either_lock_events_are_only_repeated() {
    let quirks = &[Quirk::Prunes];
    for mutant in [Mutant::ClaimsWithoutLock, Mutant::GapsWithoutLock] {
        let world = World { mutant: Some(mutant), faults: 0, quirks, ..CRASH_OF_TWO };
        assert_eq!(explore(world, 1).broken, [""; 0], "{mutant:?}");
    }
}

#[test]
fn some_mistakes_lose_nothing_until_something_else_happens() {
    let harmless = [
        // Whatever took a mark into the log took the positions before it too.
        World { mutant: Some(Mutant::UpToLastValue), relays: &[0], faults: 0, ..LOGGED },
        // Without a crash no chunk has an id that another had.
        World { mutant: Some(Mutant::CloseWithoutOwner), ..SMALL_REFUSED },
        // What a crash takes back was sent, unless it was set aside.
        World { mutant: Some(Mutant::LowWaterKeptOverCrash), writers: &[1, 1], ..PRUNED_AND_CRASH },
    ];
    for world in harmless {
        assert_eq!(explore(world, 1).broken, [""; 0], "{:?}", world.mutant);
    }
}

#[test]
fn every_property_is_broken_by_some_mutant() {
    let broken: BTreeSet<_> = MUTANTS.iter().flat_map(|mutant| damage(*mutant).1).collect();
    assert_eq!(broken, ALWAYS.iter().map(|(name, _)| name).collect());
}
