//! What must hold in every state, and what must be reached in some: the one is the promise, the other says that the
//! model does not keep it by doing nothing.

use stateright::Property;

use crate::database::{Claim, Letter, Record};
use crate::lane::{Lane, Step};
use crate::protocol::State;
use crate::queue::Place;
use crate::set::Set;
use crate::world::{Body, Duty, HASHES, Identity, LANES, MESSAGES, Message, World};

/// Of a state of a world.
type Condition = fn(&World, &State) -> bool;

/// What is to be reached, in which worlds that is possible, and whether a state is it.
type Reached = (&'static str, fn(&World) -> bool, Condition);

/// What holds in every state of every world.
pub const ALWAYS: [(&str, Condition); 8] = [
    ("no message is loaded twice", no_message_is_loaded_twice),
    ("no message is in both places", no_message_is_in_both_places),
    ("no good login is dead-lettered", no_good_login_is_dead_lettered),
    ("no bad body is loaded", no_bad_body_is_loaded),
    ("what is deleted is recorded", what_is_deleted_is_recorded),
    ("every row has its event", every_row_has_its_event),
    ("the tables agree", the_tables_agree),
    ("at rest every message is recorded once", at_rest_every_message_is_recorded_once),
];

fn no_message_is_loaded_twice(world: &World, state: &State) -> bool {
    (0..MESSAGES).all(|message| rows(world, state, message) <= 1)
}

fn no_message_is_in_both_places(world: &World, state: &State) -> bool {
    (0..MESSAGES).all(|message| {
        let has_letter = records(world, state, message).any(Record::has_letter);
        rows(world, state, message) == 0 || !has_letter
    })
}

fn no_good_login_is_dead_lettered(world: &World, state: &State) -> bool {
    let no_letter = |message| records(world, state, message).all(|record| record.letter == Letter::None);
    logins(world).all(no_letter)
}

fn no_bad_body_is_loaded(world: &World, state: &State) -> bool {
    (0..MESSAGES).all(|message| state.accepts(world.bodies[message]) || rows(world, state, message) == 0)
}

fn what_is_deleted_is_recorded(world: &World, state: &State) -> bool {
    (0..MESSAGES).all(|message| state.queue.holds(message) || is_recorded(world, state, message))
}

fn every_row_has_its_event(_: &World, state: &State) -> bool {
    all_records(state).all(|record| record.rows == record.events)
}

/// The rules of `turnstile audit`, and that a claim outlives nothing that it stands for.
fn the_tables_agree(_: &World, state: &State) -> bool {
    all_records(state).all(|record| match record.claim {
        Claim::Free => record.rows == 0 && record.letter == Letter::None,
        Claim::Loaded => record.rows > 0 && matches!(record.letter, Letter::None | Letter::Replayed),
        Claim::DeadLettered => record.rows == 0 && record.has_letter(),
        Claim::Pruned => record.places() > 0,
    })
}

/// Where nothing moves by itself any more, the queue is empty and every message has come to its place. Whatever faults
/// are left may strike then; they start it again.
fn at_rest_every_message_is_recorded_once(world: &World, state: &State) -> bool {
    let places = |message| records(world, state, message).map(Record::places).sum::<u8>();
    let settled = || (0..MESSAGES).all(|message| !state.queue.holds(message) && places(message) == 1);
    !is_at_rest(world, state) || settled()
}

/// What is reached in some state.
const SOMETIMES: [Reached; 20] = [
    (
        "everything is at rest and every fault has struck",
        |_| true,
        |world, state| state.faults_left == 0 && is_at_rest(world, state),
    ),
    ("a commit in doubt holds", has_faults, a_commit_in_doubt_holds),
    ("a commit in doubt does not hold", has_faults, a_commit_in_doubt_does_not_hold),
    ("a commit in doubt is not decided when it runs again", has_faults, a_commit_in_doubt_is_not_decided),
    ("a claim waits for a rival's", has_faults, a_claim_waits_for_a_rival),
    ("both lanes have one message in hand", has_faults, both_lanes_have_one_message_in_hand),
    ("a batch has one message twice", has_faults, a_batch_has_one_message_twice),
    ("a delete is about to use an old receipt", has_faults, a_delete_is_about_to_use_an_old_receipt),
    ("a message comes after its delete", has_faults, |_, state| {
        (0..MESSAGES).any(|message| state.queue.came_after_delete(message) && state.queue.holds(message))
    }),
    ("a recorded message is in flight and in nobody's hand", has_faults, a_recorded_message_is_in_nobodys_hand),
    ("a good login is received too often for a bad one", received_too_often_possible, |world, state| {
        let too_often = |message| state.queue.receives(message) > world.max_attempts;
        logins(world).any(|message| too_often(message) && state.queue.holds(message))
    }),
    ("a duplicate is absorbed", has_faults, |_, state| {
        state.lanes.iter().any(|lane| lane.step == Step::Record && lane.new != lane.batch)
    }),
    ("a duplicate is absorbed by its second hash", judged_both_ways, a_duplicate_is_absorbed_by_its_second_hash),
    ("a neighbour of a refused row lands", |world| has_body(world, Body::Refused), a_neighbour_of_a_refused_row_lands),
    ("a bad body is dead-lettered", has_bad_body, |_, state| any_letter(state, Letter::Open)),
    ("a letter is replayed while its message is in a hand", replays, |world, state| {
        let replayed = |message| records(world, state, message).any(|record| record.letter == Letter::Replayed);
        state.lanes.iter().any(|lane| (0..MESSAGES).any(|message| !lane.hand[message].is_empty() && replayed(message)))
    }),
    ("a letter is replayed", replays, |_, state| any_letter(state, Letter::Replayed)),
    ("a letter is discarded", |world| world.allows(Duty::Discard), |_, state| any_letter(state, Letter::Discarded)),
    (
        "a claim is pruned",
        |world| world.allows(Duty::Prune),
        |_, state| all_records(state).any(|record| record.claim == Claim::Pruned),
    ),
    (
        "two messages share one row",
        |world| world.identity == Identity::SharedId,
        |world, state| state.database.record(0).rows == 1 && is_at_rest(world, state),
    ),
];

fn a_commit_in_doubt_holds(_: &World, state: &State) -> bool {
    let holds = |lane: &Lane| in_doubt_at(lane, Step::Record) && lane.new.is_empty();
    state.lanes.iter().any(holds)
}

fn a_commit_in_doubt_does_not_hold(_: &World, state: &State) -> bool {
    state.lanes.iter().any(|lane| in_doubt_at(lane, Step::Record) && lane.new == lane.batch)
}

fn a_commit_in_doubt_is_not_decided(_: &World, state: &State) -> bool {
    let orphaned = state.database.locked_by_orphans();
    state.lanes.iter().any(|lane| in_doubt_at(lane, Step::Claim) && orphaned.meets(lane.batch))
}

fn a_claim_waits_for_a_rival(_: &World, state: &State) -> bool {
    let [one, other] = &state.lanes;
    one.step == Step::Claim && other.transaction.locks().meets(one.batch)
}

fn both_lanes_have_one_message_in_hand(_: &World, state: &State) -> bool {
    let [one, other] = &state.lanes;
    (0..MESSAGES).any(|message| !one.hand[message].is_empty() && !other.hand[message].is_empty())
}

fn a_batch_has_one_message_twice(_: &World, state: &State) -> bool {
    let twice = |lane: &Lane| (0..MESSAGES).any(|message| lane.hand[message].len() > 1);
    state.lanes.iter().any(|lane| lane.step == Step::SendCommit && twice(lane))
}

fn a_delete_is_about_to_use_an_old_receipt(_: &World, state: &State) -> bool {
    state.lanes.iter().filter(|lane| lane.step == Step::Acknowledge).any(|lane| {
        let is_old = |message| !state.queue.is_current(message, lane.hand[message]);
        lane.in_hand(lane.committed).any(|message| state.queue.holds(message) && is_old(message))
    })
}

fn a_recorded_message_is_in_nobodys_hand(world: &World, state: &State) -> bool {
    let in_hand = |message: Message| (0..LANES).any(|lane| !state.lanes[lane].hand[message].is_empty());
    (0..MESSAGES).any(|message| {
        state.queue.place(message) == Place::InFlight && !in_hand(message) && is_recorded(world, state, message)
    })
}

fn a_duplicate_is_absorbed_by_its_second_hash(_: &World, state: &State) -> bool {
    let is_claimed = |hash| state.database.record(hash).is_claimed();
    let recording = |lane: &&Lane| lane.step == Step::Record;
    state.lanes.iter().filter(recording).any(|lane| (lane.batch - lane.new).iter().any(|hash| !is_claimed(hash)))
}

fn a_neighbour_of_a_refused_row_lands(_: &World, state: &State) -> bool {
    let both = |lane: &Lane| lane.committed.len() == 2 && lane.committed.meets(lane.letters);
    state.lanes.iter().any(|lane| both(lane) && !lane.committed.is_within(lane.letters))
}

/// The properties of a world.
pub(crate) fn of(world: &World) -> Vec<Property<World>> {
    let always = ALWAYS.iter().map(|(name, condition)| Property::always(name, *condition));
    let possible = SOMETIMES.iter().filter(|(_, applies, _)| applies(world));
    always.chain(possible.map(|(name, _, condition)| Property::sometimes(name, *condition))).collect()
}

fn has_faults(world: &World) -> bool {
    world.faults > 0
}

fn has_body(world: &World, body: Body) -> bool {
    world.bodies.contains(&body)
}

fn has_bad_body(world: &World) -> bool {
    has_body(world, Body::Malformed) || has_body(world, Body::Refused)
}

fn judged_both_ways(world: &World) -> bool {
    has_faults(world)
        && has_body(world, Body::Malformed)
        && world.allows(Duty::Upgrade)
        && world.identity != Identity::MessageId
}

fn received_too_often_possible(world: &World) -> bool {
    has_body(world, Body::Login) && usize::from(world.faults) >= world.max_attempts
}

fn replays(world: &World) -> bool {
    world.allows(Duty::Replay) && has_bad_body(world)
}

/// Nothing moves by itself: only a fault or the operator could change anything. It also holds of a lane that waits for
/// ever, so that a deadlock is seen as well.
fn is_at_rest(world: &World, state: &State) -> bool {
    let mut moves = Vec::new();
    world.moves(state, &mut moves);
    moves.is_empty()
}

fn is_recorded(world: &World, state: &State, message: Message) -> bool {
    records(world, state, message).any(|record| record.claim != Claim::Free && record.places() > 0)
}

fn rows(world: &World, state: &State, message: Message) -> u8 {
    records(world, state, message).map(|record| record.rows).sum()
}

fn records<'s>(world: &World, state: &'s State, message: Message) -> impl Iterator<Item = &'s Record> {
    let hashes: Set = world.hashes(message);
    hashes.iter().map(|hash| state.database.record(hash))
}

fn all_records(state: &State) -> impl Iterator<Item = &Record> {
    (0..HASHES).map(|hash| state.database.record(hash))
}

fn any_letter(state: &State, letter: Letter) -> bool {
    all_records(state).any(|record| record.letter == letter)
}

fn logins(world: &World) -> impl Iterator<Item = Message> {
    (0..MESSAGES).filter(|message| world.bodies[*message] == Body::Login)
}

fn in_doubt_at(lane: &Lane, step: Step) -> bool {
    lane.in_doubt && lane.step == step
}
