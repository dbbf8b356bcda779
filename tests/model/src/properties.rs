//! What must hold in every state: the promise, and what the audit asks of the tables.

use crate::database::{Claimed, Letter, Reason, Record};
use crate::exploration::is_at_rest;
use crate::protocol::State;
use crate::waits::{any_circle, any_runs_in_vain};
use crate::world::{Body, Duty, KEYS, Message, Quirk, World, message_of};

/// Of a state of a world.
type Condition = fn(&World, &State) -> bool;

/// What holds in every state of every world.
pub const ALWAYS: [(&str, Condition); 14] = [
    ("no message is loaded twice", no_message_is_loaded_twice),
    ("no key is loaded twice", no_key_is_loaded_twice),
    ("no message is in two places", no_message_is_in_two_places),
    ("no good login is dead-lettered", no_good_login_is_dead_lettered),
    ("no bad body is loaded", no_bad_body_is_loaded),
    ("what is deleted is recorded", what_is_deleted_is_recorded),
    ("every row has its event", every_row_has_its_event),
    ("the tables agree", the_tables_agree),
    ("what a plan says became of a letter did", what_a_plan_says_became_of_a_letter_did),
    ("what absorbs is loaded", what_absorbs_is_loaded),
    ("only the same login absorbs", only_the_same_login_absorbs),
    ("what owns a key is loaded", what_owns_a_key_is_loaded),
    ("nobody waits or tries for ever", nobody_waits_or_tries_for_ever),
    ("at rest every message is recorded once", at_rest_every_message_is_recorded_once),
];

fn no_message_is_loaded_twice(world: &World, state: &State) -> bool {
    world.messages().all(|message| rows(world, state, message) <= 1)
}

/// Where all lanes, at all times, have one scheme; and of keys that are remembered. What a replay loads of a key that
/// retention has forgotten, or that a new hash key has, is told beforehand (docs/PROTOCOL.md). Keys with a time of their own are
/// never forgotten.
fn no_key_is_loaded_twice(world: &World, state: &State) -> bool {
    let may_forget = world.replays > 0 && !world.shows(Quirk::DatedKeys) || world.allows(Duty::ReplaceHashKey);
    !world.has_one_scheme()
        || (0..KEYS)
            .filter(|key| !may_forget || !state.database.forgotten.has(*key))
            .all(|key| world.messages_with(key).iter().map(|message| rows(world, state, message)).sum::<u8>() <= 1)
}

fn no_message_is_in_two_places(world: &World, state: &State) -> bool {
    world.messages().all(|message| places(world, state, message) <= 1)
}

fn no_good_login_is_dead_lettered(world: &World, state: &State) -> bool {
    let is_good = |message: &Message| world.sent[*message].body == Body::Login;
    world.messages().filter(is_good).all(|message| {
        counted(world, state, message).all(|record| match (record.letter, record.reason) {
            (Letter::None, _) => true,
            (_, Reason::Contradicts) => is_contradicted(world, state, message),
            (_, Reason::Redriven) => true,
            (_, Reason::OlderThanMemory) => world.has_old_key(message, state.database.horizon),
            (_, Reason::Refused) => false,
        })
    })
}

/// Whether another login with the same key is loaded.
fn is_contradicted(world: &World, state: &State, message: Message) -> bool {
    let twins = world.messages_with(world.sent[message].key);
    twins.iter().any(|twin| !world.is_same_login(twin, message) && rows(world, state, twin) > 0)
}

fn no_bad_body_is_loaded(world: &World, state: &State) -> bool {
    world.messages().all(|message| state.accepts(world.sent[message].body) || rows(world, state, message) == 0)
}

fn what_is_deleted_is_recorded(world: &World, state: &State) -> bool {
    world.messages().all(|message| state.queue.holds(message) || is_recorded(world, state, message))
}

fn every_row_has_its_event(_: &World, state: &State) -> bool {
    state.database.records().all(|record| record.rows == record.events)
}

/// The rules of `turnstile audit` about one claim, and that no message has two.
fn the_tables_agree(world: &World, state: &State) -> bool {
    let agrees = |record: &Record| match record.claimed {
        Claimed::Free => record.rows == 0 && record.letter == Letter::None,
        Claimed::Loaded => record.rows > 0 && matches!(record.letter, Letter::None | Letter::Replayed),
        Claimed::DeadLettered => record.rows == 0 && record.has_letter(),
        Claimed::Absorbed(_) => record.rows == 0 && matches!(record.letter, Letter::None | Letter::Absorbed),
        Claimed::Pruned | Claimed::PrunedAbsorbed => record.letter != Letter::Open,
    };
    let once = |message| counted(world, state, message).filter(|record| record.claimed != Claimed::Free).count() <= 1;
    state.database.records().all(agrees) && world.messages().all(once)
}

/// A plan that goes on after a crash passes over what it has recorded.
fn what_a_plan_says_became_of_a_letter_did(_: &World, state: &State) -> bool {
    state.database.records().all(|record| !record.is_recorded_in_plan || record.letter != Letter::Open)
}

fn what_absorbs_is_loaded(world: &World, state: &State) -> bool {
    absorbed(world, state).all(|(message, owner)| message != owner && was_loaded(world, state, owner))
}

fn only_the_same_login_absorbs(world: &World, state: &State) -> bool {
    absorbed(world, state).all(|(message, owner)| world.is_same_login(message, owner))
}

fn what_owns_a_key_is_loaded(world: &World, state: &State) -> bool {
    state.database.owners.iter().flatten().all(|owner| was_loaded(world, state, owner.message()))
}

/// No circle of waits; and no claim under a time that is gone, whose loader would claim the same again.
fn nobody_waits_or_tries_for_ever(world: &World, state: &State) -> bool {
    !any_circle(world, state) && !any_runs_in_vain(world, state)
}

/// Where nothing moves by itself any more, the queue is empty and every message has come to its place. Whatever faults
/// are left may strike then; they start it again.
fn at_rest_every_message_is_recorded_once(world: &World, state: &State) -> bool {
    let settled = |message| !state.queue.holds(message) && is_recorded_once(world, state, message);
    !is_at_rest(world, state) || world.messages().all(settled)
}

/// A message that came after its retention may be a letter `older_than_memory` beside what it was recorded as before:
/// nobody remembers, and the letter says so.
fn is_recorded_once(world: &World, state: &State, message: Message) -> bool {
    let places = places(world, state, message);
    places == 1 || places == 0 && state.queue.outlived_retention(message) && is_recorded(world, state, message)
}

/// Whether a message is recorded at all.
pub(crate) fn is_recorded(world: &World, state: &State, message: Message) -> bool {
    records(world, state, message).any(|record| record.claimed != Claimed::Free && record.places() > 0)
}

/// What the tables say of a message.
pub(crate) fn records<'s>(world: &World, state: &'s State, message: Message) -> impl Iterator<Item = &'s Record> {
    world.claims_of(message).into_iter().map(|claim| state.database.record(claim))
}

/// The same without the letter of a message that came after its retention.
fn counted<'s>(world: &World, state: &'s State, message: Message) -> impl Iterator<Item = &'s Record> {
    let outlived = state.queue.outlived_retention(message);
    let is_forgotten = move |record: &Record| outlived && record.reason == Reason::OlderThanMemory;
    records(world, state, message).filter(move |record| !is_forgotten(record))
}

fn places(world: &World, state: &State, message: Message) -> u8 {
    counted(world, state, message).map(Record::places).sum()
}

fn rows(world: &World, state: &State, message: Message) -> u8 {
    records(world, state, message).map(|record| record.rows).sum()
}

fn was_loaded(world: &World, state: &State, message: Message) -> bool {
    records(world, state, message).any(Record::was_loaded)
}

/// What is absorbed, and by whom.
fn absorbed(_: &World, state: &State) -> impl Iterator<Item = (Message, Message)> {
    state.database.records().enumerate().filter_map(|(claim, record)| match record.claimed {
        Claimed::Absorbed(owner) => Some((message_of(claim), owner.message())),
        _ => None,
    })
}
