//! What the operator and retention do beside the lanes: new releases and settings, a constraint that is dropped, dead
//! letters that are given up, a new hash key, and what is forgotten. A replay is in [`replay`](crate::replay).

use crate::database::Letter;
use crate::lane::is_in_hand;
use crate::mutant::Mutant;
use crate::protocol::{Action, State};
use crate::queue::Place;
use crate::set::Set;
use crate::waits::{Party, others};
use crate::world::{Basis, CLAIMS, Claim, Duty, IDENTITIES, Identity, KEYS, LANES, MESSAGES, Message, Quirk, World};

/// What the operator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// A lane that has nothing in hand goes on as one of the next release.
    Upgrades(usize),
    /// A lane that has nothing in hand goes on under the next scheme.
    Switches(usize),
    /// The database's constraint is dropped.
    DropsConstraint,
    /// A dead letter is discarded.
    Discards(Claim),
    /// The message of a dead letter is sent back to the queue.
    Requeues(Message),
    /// A new hash key is registered.
    ReplacesHashKey,
    /// The horizon moves past one more message.
    MovesHorizon,
    /// A letter that was discarded is opened again.
    Reopens(Claim),
    /// The letters of one time that are resolved are removed, and no other is found.
    ClearsLetters(Message),
    /// The claims of one time are dropped. Their time stays open for new ones.
    DropsClaims(Message),
    /// A claim under the constant time is removed.
    PrunesClaim(Claim),
    /// An identity is removed.
    PrunesIdentity(Identity),
    /// An identity is removed whose own time is before the horizon.
    DropsKey(Identity),
}

/// What the operator can do now, if the world lets it.
pub fn moves(world: &World, state: &State, moves: &mut Vec<Action>) {
    let mut add = |step| moves.push(Action::Operator(step));
    for duty in world.duties {
        match duty {
            Duty::Upgrade => idle(state, |lane| !state.lanes[lane].release.decodes_more, Move::Upgrades, &mut add),
            Duty::Switch(scheme) => {
                idle(state, |lane| state.lanes[lane].release.scheme != *scheme, Move::Switches, &mut add);
            }
            Duty::DropConstraint if !state.constraint_dropped => add(Move::DropsConstraint),
            Duty::DropConstraint => {}
            Duty::Discard => {
                let open = |claim: &Claim| state.database.record(*claim).letter == Letter::Open;
                let locked = |claim: &Claim| everything(state).any(|transaction| transaction.letters.has(*claim));
                (0..CLAIMS).filter(|claim| open(claim) && !locked(claim)).map(Move::Discards).for_each(&mut add);
            }
            Duty::Reopen => {
                let discarded = |claim: &Claim| state.database.record(*claim).letter == Letter::Discarded;
                let locked = |claim: &Claim| everything(state).any(|transaction| transaction.letters.has(*claim));
                let can = |claim: &Claim| discarded(claim) && !locked(claim) && !state.database.reopened.has(*claim);
                (0..CLAIMS).filter(can).map(Move::Reopens).for_each(&mut add);
            }
            Duty::Requeue(times) => {
                let can = |message: &Message| can_requeue(state, *message, *times);
                world.messages().filter(can).map(Move::Requeues).for_each(&mut add);
            }
            Duty::ReplaceHashKey if can_replace_hash_key(world, state) => add(Move::ReplacesHashKey),
            // In [`importer`](crate::importer).
            Duty::ReplaceHashKey | Duty::Redrive => {}
            Duty::Retain => {
                if can_move_horizon(world, state) {
                    add(Move::MovesHorizon);
                }
                let can = |time: &Message| can_clear(world, state, *time);
                world.messages().filter(can).map(Move::ClearsLetters).for_each(&mut add);
                world.messages().filter(|time| can_drop(world, state, *time)).map(Move::DropsClaims).for_each(&mut add);
                let can = |identity: &Identity| can_drop_key(world, state, *identity);
                (0..IDENTITIES).filter(can).map(Move::DropsKey).for_each(&mut add);
            }
            Duty::PruneClaims => {
                let can = |message: &Message| can_prune_claim(world, state, *message);
                world.messages().filter(can).map(Move::PrunesClaim).for_each(&mut add);
            }
            Duty::PruneIdentities => {
                let can = |identity: &Identity| can_prune_identity(world, state, *identity);
                (0..IDENTITIES).filter(can).map(Move::PrunesIdentity).for_each(&mut add);
            }
        }
    }
}

/// The state after a move of the operator.
pub fn make(world: &World, state: &mut State, step: Move) {
    match step {
        Move::Upgrades(lane) => state.lanes[lane].release.decodes_more = true,
        Move::Switches(lane) => state.lanes[lane].release.scheme = world.next_scheme().unwrap_or_default(),
        Move::DropsConstraint => state.constraint_dropped = true,
        Move::Discards(claim) => state.database.discard(claim),
        Move::Requeues(message) => {
            state.queue.requeue(message);
            if message < state.database.horizon {
                state.queue.outlive(message);
            }
        }
        Move::ReplacesHashKey => {
            state.database.key_replaced = true;
            // Nothing meets the hashes of the old key any more.
            (0..KEYS).for_each(|identity| state.database.forget(identity));
        }
        Move::MovesHorizon => {
            let message = state.database.horizon;
            state.database.horizon += 1;
            if is_past(state, message) {
                state.queue.forget(message);
            } else if world.shows(Quirk::OutlivesRetention) || state.queue.requeued(message) > 0 {
                state.queue.outlive(message);
            }
        }
        Move::Reopens(claim) => state.database.reopen(claim),
        Move::ClearsLetters(message) => {
            state.database.cleared |= Set::of(message);
            if !world.has(Mutant::ResolvedLettersKept) {
                state.database.forget_letter(MESSAGES + message);
            }
        }
        Move::DropsClaims(message) => {
            state.database.dropped |= Set::of(message);
            state.database.prune(MESSAGES + message);
            if is_past(state, message) {
                state.queue.forget(message);
            }
        }
        Move::PrunesClaim(claim) => {
            state.database.prune(claim);
            if is_past(state, claim) {
                state.queue.forget(claim);
            }
        }
        Move::DropsKey(identity) => state.database.forget(identity),
        Move::PrunesIdentity(identity) => {
            state.database.forget(identity);
            let messages = world.messages_with(identity % KEYS);
            if messages.iter().all(|message| is_past(state, message)) {
                messages.iter().for_each(|message| state.queue.forget(message));
            }
        }
    }
}

fn idle(state: &State, may: impl Fn(usize) -> bool, to: fn(usize) -> Move, add: &mut impl FnMut(Move)) {
    let lanes = (0..LANES).filter(|lane| state.lanes[*lane].release.runs && state.lanes[*lane].is_idle());
    lanes.filter(|lane| may(*lane)).map(to).for_each(add);
}

/// Only letters of messages with a time of their own: claims under the constant time may be removed while what was sent back
/// is still in the queue. Nobody locks anything for it.
fn can_requeue(state: &State, message: Message, times: u8) -> bool {
    let record = state.database.record(MESSAGES + message);
    record.letter == Letter::Open && state.queue.requeued(message) < times
}

/// It locks `identities` first, which one that inserts there holds until the end of its transaction.
fn can_replace_hash_key(world: &World, state: &State) -> bool {
    let waits = everything(state).any(|transaction| transaction.holds_identities());
    !state.database.key_replaced && (!waits || world.has(Mutant::HashKeyWithoutLock))
}

/// The rule of the horizon: it is no nearer than the queue's retention and the longest hold of a loader.
fn can_move_horizon(world: &World, state: &State) -> bool {
    let message = state.database.horizon;
    // What was sent back may be in the queue for as long again as the queue keeps a message.
    let is_requeued = world.messages().contains(&message) && state.queue.requeued(message) > 0;
    let may = world.shows(Quirk::OutlivesRetention) || world.has(Mutant::HorizonWithinRetention) || is_requeued;
    world.messages().contains(&message) && (may || is_past(state, message))
}

/// It waits for the transactions that hold claims when the horizon has moved: they may have read it before. Whoever claims
/// after that writes no letter of that time, and a letter that is gone is not opened again.
fn can_clear(world: &World, state: &State, message: Message) -> bool {
    let claim = MESSAGES + message;
    let is_old = is_forgotten(world, state, message) || world.has(Mutant::ClearBeforeHorizon);
    let waits = holds(state, claim) && !world.has(Mutant::ClearWithoutWaiting);
    is_old && !waits && !is_needed(world, state, claim) && !state.database.cleared.has(message)
}

/// Only what is older than the horizon is dropped, and only once no letter can need it. What a transaction holds that is not
/// committed, it does not see; so it waits for that once more.
fn can_drop(world: &World, state: &State, message: Message) -> bool {
    let cleared = state.database.cleared.has(message) && !state.database.dropped.has(message);
    is_forgotten(world, state, message) && cleared && !holds(state, MESSAGES + message)
}

fn is_forgotten(world: &World, state: &State, message: Message) -> bool {
    message < state.database.horizon || world.has(Mutant::DropBeforeHorizon)
}

fn holds(state: &State, claim: Claim) -> bool {
    everything(state).any(|transaction| transaction.messages.has(claim) || transaction.letters.has(claim))
}

/// Claims under the constant time have no order of arrival: they go when they were processed long enough ago.
fn can_prune_claim(world: &World, state: &State, message: Message) -> bool {
    let may = is_past(state, message) || world.has(Mutant::PruneWithinRetention);
    let keeps = everything(state).any(|transaction| transaction.holds_message(message));
    let is_claimed = state.database.record(message).is_claimed();
    world.basis == Basis::Constant && may && !keeps && is_claimed && !is_needed(world, state, message)
}

/// Identities are remembered at least as long as the messages that carry their key can be delivered.
fn can_prune_identity(world: &World, state: &State, identity: Identity) -> bool {
    let past = || world.messages_with(identity % KEYS).iter().all(|message| is_past(state, message));
    state.database.owners[identity].is_some() && (world.has(Mutant::IdentityPrunedWithinRetention) || past())
}

/// A key goes once it is older than the horizon, and no transaction runs any more that read the horizon before it moved. Later ones
/// load nothing under such a key.
fn can_drop_key(world: &World, state: &State, identity: Identity) -> bool {
    let carriers = world.messages_with(identity % KEYS);
    let horizon = state.database.horizon;
    let is_old = carriers.first().is_some_and(|first| world.has_old_key(first, horizon))
        || world.shows(Quirk::DatedKeys) && world.has(Mutant::KeysDroppedBeforeHorizon);
    let holds = |transaction: &crate::database::Transaction| carriers.iter().any(|one| transaction.holds_message(one));
    let waits = everything(state).any(holds) && !world.has(Mutant::KeysDroppedWithoutWaiting);
    state.database.owners[identity].is_some() && is_old && !waits
}

fn is_needed(world: &World, state: &State, claim: Claim) -> bool {
    state.database.record(claim).letter == Letter::Open && !world.has(Mutant::DropUnderOpenLetter)
}

/// Whether a message is past the queue's retention, and in the hand of no loader, not even of one that is gone. A replay
/// may have it at any time.
fn is_past(state: &State, message: Message) -> bool {
    let gone = matches!(state.queue.place(message), Place::Deleted | Place::Gone);
    let held = || others(state, Party::Replay).any(|transaction| transaction.holds_message(message));
    gone && !is_in_hand(state, message) && !held()
}

/// Every transaction that is not decided.
fn everything(state: &State) -> impl Iterator<Item = &crate::database::Transaction> {
    others(state, Party::Replay).chain([&state.replay.attempt.transaction])
}
