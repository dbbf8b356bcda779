//! What must be reached in some state of each world in which it is possible: otherwise the model could keep the promise
//! by doing nothing.

use crate::attempt::{Attempt, Lock, Stage};
use crate::database::{Claimed, Letter, Outcome, Reason, Record, Transaction};
use crate::exploration::{Sometimes, is_at_rest};
use crate::lane::Lane;
use crate::load::outcomes;
use crate::properties::{is_recorded, records};
use crate::protocol::State;
use crate::queue::Place;
use crate::waits::{Holder, Party, parties, waits_for, wanted};
use crate::world::{Basis, Body, Duty, KEYS, LANES, MESSAGES, Message, Quirk, Scheme, Start, World, message_of};

/// What is reached in some state.
pub(crate) const SOMETIMES: [Sometimes<World>; 55] = [
    (
        "everything is at rest and every fault has struck",
        |_| true,
        |world, state| state.faults_left == 0 && is_at_rest(world, state),
    ),
    ("a commit in doubt holds", has_faults, |_, state| {
        lanes(state, |lane| lane.in_doubt && lane.attempt.stage == Stage::Record && lane.attempt.new.is_empty())
    }),
    ("a commit in doubt does not hold", has_faults, |_, state| {
        let whole = |attempt: &Attempt| attempt.stage == Stage::Record && attempt.new == attempt.batch;
        lanes(state, |lane| lane.in_doubt && whole(&lane.attempt))
    }),
    ("a commit in doubt is not decided when it runs again", has_faults, |world, state| {
        waits(world, state, |state, me| {
            waits_for(world, state, me) == Some(Holder::Orphan) && in_lane(me, |lane| state.lanes[lane].in_doubt)
        })
    }),
    ("a lane waits for a rival's message", overlaps, |world, state| {
        waits(world, state, |state, me| in_lane(me, |_| matches!(wanted(state, me), Some(Lock::Message(_)))))
    }),
    ("a lane waits for a rival's key", may_share_key, |world, state| {
        waits(world, state, |state, me| in_lane(me, |_| matches!(wanted(state, me), Some(Lock::Identity(_)))))
    }),
    (
        "three wait in a row",
        |world| world.lanes.len() == LANES && world.start == Start::AnyBatch,
        |world, state| {
            let next = |party| match waits_for(world, state, party) {
                Some(Holder::Party(next)) => Some(next),
                Some(Holder::Orphan) | None => None,
            };
            parties().any(|party| next(party).is_some_and(|other| next(other).is_some()))
        },
    ),
    ("two lanes have one message in hand", overlaps, |_, state| {
        let hands = |message: Message| state.lanes.iter().filter(|lane| !lane.hand[message].is_empty()).count();
        (0..MESSAGES).any(|message| hands(message) > 1)
    }),
    (
        "a batch has one message twice",
        |world| has_faults(world) && has_good(world),
        |_, state| {
            let twice = |lane: &Lane| (0..MESSAGES).any(|message| lane.hand[message].len() > 1);
            lanes(state, |lane| lane.attempt.stage == Stage::Record && twice(lane))
        },
    ),
    ("a delete is about to use an old receipt", has_faults, |_, state| {
        lanes(state, |lane| {
            let is_old = |message| !state.queue.is_current(message, lane.hand[message]);
            lane.in_hand(lane.committed).is_some_and(|message| state.queue.holds(message) && is_old(message))
        })
    }),
    ("a message comes after its delete", has_faults, |_, state| {
        (0..MESSAGES).any(|message| state.queue.came_after_delete(message) && state.queue.holds(message))
    }),
    ("a recorded message is in flight and in nobody's hand", has_faults, |world, state| {
        let in_hand = |message: Message| state.lanes.iter().any(|lane| !lane.hand[message].is_empty());
        let flies = |message: &Message| state.queue.place(*message) == Place::InFlight && !in_hand(*message);
        world.messages().filter(flies).any(|message| is_recorded(world, state, message))
    }),
    (
        "a good login is received too often for a bad one",
        |world| has_good(world) && usize::from(world.faults) >= world.max_attempts,
        |world, state| {
            let is_good = |message: &Message| world.sent[*message].body == Body::Login;
            let too_often = |message| state.queue.receives(message) > world.max_attempts && state.queue.holds(message);
            world.messages().filter(is_good).any(too_often)
        },
    ),
    ("a redelivery changes nothing", overlaps, |_, state| {
        lanes(state, |lane| lane.attempt.stage == Stage::Record && lane.attempt.new != lane.attempt.batch)
    }),
    ("a neighbour of a refused row lands", splits, |_, state| {
        let both = |lane: &Lane| lane.committed.len() > 1 && lane.committed.meets(lane.letters);
        lanes(state, |lane| both(lane) && !lane.committed.is_within(lane.letters))
    }),
    ("a bad body is dead-lettered", has_bad, |_, state| any_letter(state, Letter::Open)),
    ("a message is absorbed", may_absorb, |world, state| {
        world.messages().any(|message| records(world, state, message).any(|record| record.was_absorbed()))
    }),
    (
        "a twin in one batch is absorbed",
        |world| may_absorb(world) && !has_malformed(world),
        |_, state| lanes(state, |lane| lane.attempt.absorbed_by_twins().next().is_some()),
    ),
    (
        "a letter contradicts",
        |world| may_share_key(world) && has_rivals(world),
        |_, state| state.database.records().any(|record| record.reason == Reason::Contradicts),
    ),
    (
        "a twin in one batch contradicts",
        |world| may_share_key(world) && has_rivals(world) && !has_malformed(world),
        |_, state| {
            let contradicts = |outcome| outcome == Outcome::DeadLettered(Reason::Contradicts);
            lanes(state, |lane| lane.attempt.new.len() > 1 && !outcomes(&lane.attempt, contradicts).is_empty())
        },
    ),
    ("a letter is replayed", replays, |_, state| any_letter(state, Letter::Replayed)),
    ("a letter is replayed while its message is in a hand", replays_redelivered, |world, state| {
        let replayed = |message| records(world, state, message).any(|record| record.letter == Letter::Replayed);
        let in_hand = |message: Message| state.lanes.iter().any(|lane| !lane.hand[message].is_empty());
        world.messages().any(|message| in_hand(message) && replayed(message))
    }),
    ("a lane waits for a message that is replayed", replays_redelivered, |world, state| {
        waits(world, state, |state, me| {
            let replay = waits_for(world, state, me) == Some(Holder::Party(Party::Replay));
            replay && matches!(wanted(state, me), Some(Lock::Message(_)))
        })
    }),
    ("a lane waits for the key of a replay", replays_keys, |world, state| {
        waits(world, state, |state, me| {
            let replay = waits_for(world, state, me) == Some(Holder::Party(Party::Replay));
            replay && matches!(wanted(state, me), Some(Lock::Identity(_)))
        })
    }),
    ("a replay waits for the key of a lane", replays_keys, |world, state| {
        let lane = |holder| matches!(holder, Some(Holder::Party(Party::Lane(_))));
        lane(waits_for(world, state, Party::Replay))
    }),
    (
        "a replay finds its login loaded",
        |world| replays_keys(world) && !has_rivals(world),
        |_, state| any_letter(state, Letter::Absorbed),
    ),
    (
        "a replay finds its key taken by another login",
        |world| replays_keys(world) && has_rivals(world),
        |_, state| {
            let Attempt { stage, new, transaction, .. } = &state.replay.attempt;
            *stage == Stage::Record && new.iter().any(|claim| transaction.outcomes[claim] == Outcome::None)
        },
    ),
    (
        "two letters with one key are replayed together",
        |world| letters(world) > 1,
        |_, state| state.replay.attempt.absorbed_by_twins().next().is_some(),
    ),
    ("a message that was sent back is loaded", requeues, |_, state| {
        let loads = |attempt: &Attempt| {
            attempt.transaction.letters.iter().any(|claim| attempt.transaction.outcomes[claim] == Outcome::Loaded)
        };
        lanes(state, |lane| lane.attempt.stage == Stage::Record && loads(&lane.attempt))
    }),
    ("a message that was sent back finds its letter resolved", requeues, |_, state| {
        let resolved = |message: Message| {
            let letter = state.database.record(MESSAGES + message).letter;
            matches!(letter, Letter::Replayed | Letter::Discarded)
        };
        lanes(state, |lane| lane.requeued.iter().any(resolved))
    }),
    (
        "a lane waits for a letter that is replayed",
        |world| requeues(world) && replays_redelivered(world),
        |world, state| {
            waits(world, state, |state, me| in_lane(me, |_| matches!(wanted(state, me), Some(Lock::Letter(_)))))
        },
    ),
    (
        "a replay waits for a letter that was sent back",
        |world| requeues(world) && replays(world),
        |world, state| {
            let letter = matches!(wanted(state, Party::Replay), Some(Lock::Letter(_)));
            letter && matches!(waits_for(world, state, Party::Replay), Some(Holder::Party(Party::Lane(_))))
        },
    ),
    (
        "a message that was sent back is absorbed",
        |world| requeues(world) && may_absorb(world),
        |_, state| lanes(state, |lane| absorbs(&lane.attempt)),
    ),
    (
        "a message that was sent back finds its key taken by another login",
        |world| requeues(world) && may_share_key(world) && has_rivals(world),
        |_, state| {
            let stays = |attempt: &Attempt| {
                let locked = attempt.transaction.letters & attempt.new;
                locked.iter().any(|claim| attempt.transaction.outcomes[claim] == Outcome::None)
            };
            lanes(state, |lane| lane.attempt.stage == Stage::Record && stays(&lane.attempt))
        },
    ),
    ("a letter is discarded", |world| world.allows(Duty::Discard), |_, state| any_letter(state, Letter::Discarded)),
    ("a message is in two hands that know different schemes", has_schemes, |_, state| {
        let holds = |lane: &Lane, message: Message| !lane.hand[message].is_empty();
        let differ = |one: &Lane, other: &Lane| one.release.scheme != other.release.scheme;
        pairs(state, |one, other| {
            differ(one, other) && (0..MESSAGES).any(|message| holds(one, message) && holds(other, message))
        })
    }),
    (
        "a key is loaded under two schemes",
        |world| has_schemes(world) && !has_malformed(world),
        |world, state| {
            let loaded = |message| records(world, state, message).any(|record| record.rows > 0);
            (0..KEYS).any(|key| world.messages_with(key).iter().filter(|message| loaded(*message)).count() > 1)
        },
    ),
    ("a claim is dropped with its time", retains, |_, state| {
        state.database.records().any(|record| matches!(record.claimed, Claimed::Pruned | Claimed::PrunedAbsorbed))
    }),
    (
        "an open letter outlasts the horizon",
        |world| retains(world) && has_malformed(world),
        |world, state| {
            let open = |message| records(world, state, message).any(|record| record.letter == Letter::Open);
            (0..state.database.horizon).any(open)
        },
    ),
    ("a letter that was given up is forgotten with its claim", reopens, |_, state| {
        state.database.records().any(|record| record.letter == Letter::Forgotten && record.claimed == Claimed::Pruned)
    }),
    ("a message is older than memory", outlives_horizon, |_, state| {
        state.database.records().any(|record| record.reason == Reason::OlderThanMemory)
    }),
    ("the horizon moves between a lane's beginning and its claim", outlives_horizon, |world, state| {
        lanes(state, |lane| match lane.attempt.next_lock(true) {
            Some(Lock::Message(claim)) => claim >= MESSAGES && world.is_old(message_of(claim), state.database.horizon),
            _ => false,
        })
    }),
    (
        "a claim under the constant time is pruned",
        |world| world.allows(Duty::PruneClaims),
        |_, state| state.database.records().any(|record| record.claimed == Claimed::Pruned),
    ),
    ("a message meets its own key", outlives_constant, |_, state| {
        let own = |lane: &Lane| {
            let Transaction { outcomes, rows, .. } = &lane.attempt.transaction;
            lane.attempt.new.iter().any(|claim| outcomes[claim] == Outcome::Loaded && !rows.has(claim))
        };
        lanes(state, |lane| lane.attempt.stage == Stage::Record && own(lane))
    }),
    (
        "an identity is forgotten",
        |world| world.allows(Duty::PruneIdentities),
        |_, state| !state.database.forgotten.is_empty(),
    ),
    (
        "an owner is gone before it is read",
        |world| world.allows(Duty::PruneIdentities) && replays_keys(world),
        |_, state| {
            let keys = |transaction: &Transaction| transaction.holds_identities();
            let attempt = &state.replay.attempt;
            attempt.stage == Stage::Owners && !keys(&attempt.transaction) && !state.database.forgotten.is_empty()
        },
    ),
    ("a key with a time of its own is forgotten", dates_keys, |_, state| !state.database.forgotten.is_empty()),
    (
        "a good login is a letter because its key is older than memory",
        |world| dates_keys(world) && !has_malformed(world),
        |_, state| {
            let old = |record: &Record| record.reason == Reason::OlderThanMemory && record.letter == Letter::Open;
            (MESSAGES..2 * MESSAGES).any(|claim| old(state.database.record(claim)))
        },
    ),
    (
        "a replay leaves a letter whose key is older than memory",
        |world| dates_keys(world) && replays_keys(world),
        |_, state| {
            let Attempt { stage, old_keys, .. } = &state.replay.attempt;
            *stage == Stage::Record && !old_keys.is_empty()
        },
    ),
    ("a message is imported", imports, |_, state| {
        state.database.records().any(|record| record.reason == Reason::Redriven && record.letter == Letter::Open)
    }),
    ("an import finds a message recorded", imports, |_, state| {
        let attempt = &state.importer.attempt;
        attempt.stage == Stage::Record && attempt.new != attempt.batch
    }),
    ("an import waits for a message of a lane", imports, |world, state| {
        matches!(waits_for(world, state, Party::Importer), Some(Holder::Party(Party::Lane(_))))
    }),
    ("a lane waits for a message that is imported", imports, |world, state| {
        waits(world, state, |state, me| {
            let import = waits_for(world, state, me) == Some(Holder::Party(Party::Importer));
            import && in_lane(me, |_| true)
        })
    }),
    (
        "an imported letter is replayed",
        |world| imports(world) && world.replays > 0,
        |_, state| {
            state
                .database
                .records()
                .any(|record| record.reason == Reason::Redriven && record.letter == Letter::Replayed)
        },
    ),
    ("a lane claims a key by a hash key that was replaced", replaces_hash_key, |_, state| {
        lanes(state, |lane| {
            lane.attempt.stage == Stage::Keys && lane.release.key_replaced != state.database.key_replaced
        })
    }),
];

fn lanes(state: &State, is_it: impl Fn(&Lane) -> bool) -> bool {
    state.lanes.iter().any(is_it)
}

fn pairs(state: &State, are_they: impl Fn(&Lane, &Lane) -> bool) -> bool {
    state.lanes.iter().enumerate().any(|(at, one)| state.lanes[..at].iter().any(|other| are_they(one, other)))
}

fn waits(world: &World, state: &State, is_it: impl Fn(&State, Party) -> bool) -> bool {
    parties().any(|party| waits_for(world, state, party).is_some() && is_it(state, party))
}

fn in_lane(party: Party, is_it: impl Fn(usize) -> bool) -> bool {
    match party {
        Party::Lane(lane) => is_it(lane),
        Party::Replay | Party::Importer => false,
    }
}

fn any_letter(state: &State, letter: Letter) -> bool {
    state.database.records().any(|record| record.letter == letter)
}

fn has_faults(world: &World) -> bool {
    world.faults > 0
}

fn overlaps(world: &World) -> bool {
    world.lanes.len() > 1 && (has_faults(world) || world.start == Start::AnyBatch)
}

fn has(world: &World, body: Body) -> bool {
    world.sent.iter().any(|sent| sent.body == body)
}

fn has_good(world: &World) -> bool {
    has(world, Body::Login)
}

fn has_malformed(world: &World) -> bool {
    has(world, Body::Malformed)
}

fn has_bad(world: &World) -> bool {
    has_malformed(world) || has(world, Body::Refused)
}

/// A refused row beside a login that lands whatever becomes of the row.
fn splits(world: &World) -> bool {
    has(world, Body::Refused) && has_good(world) && (has_faults(world) || world.max_attempts < 2)
}

fn letters(world: &World) -> usize {
    world.sent.iter().filter(|sent| sent.body == Body::Malformed && world.replays > 0).count()
}

fn has_schemes(world: &World) -> bool {
    let differ = world.lanes.iter().any(|scheme| *scheme != world.lanes[0]);
    differ && overlaps(world) || world.next_scheme().is_some() && has_faults(world)
}

fn has_rivals(world: &World) -> bool {
    let rivals = |one: Message, other: Message| world.sent[one].key == world.sent[other].key;
    world.messages().any(|one| world.messages().any(|other| rivals(one, other) && !world.is_same_login(one, other)))
}

fn may_share_key(world: &World) -> bool {
    let shares = |one: Message, other: Message| one != other && world.sent[one].key == world.sent[other].key;
    let shared = world.messages().any(|one| world.messages().any(|other| shares(one, other)));
    let decode = !has_malformed(world) || world.allows(Duty::Upgrade);
    shared && decode && world.lanes.iter().filter(|scheme| **scheme == Scheme::Field).count() > 1
}

fn may_absorb(world: &World) -> bool {
    may_share_key(world) && !has_rivals(world)
}

fn replays(world: &World) -> bool {
    world.replays > 0 && has_bad(world)
}

fn requeues(world: &World) -> bool {
    world.requeues() > 0
}

fn absorbs(attempt: &Attempt) -> bool {
    let Transaction { letters, outcomes, .. } = &attempt.transaction;
    letters.iter().any(|claim| matches!(outcomes[claim], Outcome::Absorbed(_)))
}

fn replays_redelivered(world: &World) -> bool {
    replays(world) && overlaps(world)
}

fn replays_keys(world: &World) -> bool {
    replays(world) && may_share_key(world)
}

fn imports(world: &World) -> bool {
    world.imports > 0 || world.allows(Duty::Redrive)
}

fn retains(world: &World) -> bool {
    world.allows(Duty::Retain)
}

fn dates_keys(world: &World) -> bool {
    retains(world) && world.shows(Quirk::DatedKeys)
}

fn reopens(world: &World) -> bool {
    retains(world) && world.allows(Duty::Reopen)
}

fn outlives_horizon(world: &World) -> bool {
    retains(world) && world.shows(Quirk::OutlivesRetention)
}

fn outlives_constant(world: &World) -> bool {
    world.basis == Basis::Constant && world.shows(Quirk::OutlivesRetention)
}

fn replaces_hash_key(world: &World) -> bool {
    world.allows(Duty::ReplaceHashKey) && !has_malformed(world)
}
