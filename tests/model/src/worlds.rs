//! The worlds that are explored. In each the promise must hold, and some are where a mutant is let loose.

use crate::world::{Basis, Body, Duty, Quirk, Scheme, Sent, Start, World};

const fn login(key: usize, login: u8) -> Sent {
    Sent { body: Body::Login, key, login }
}

const fn malformed(key: usize, login: u8) -> Sent {
    Sent { body: Body::Malformed, key, login }
}

const fn refused(key: usize, login: u8) -> Sent {
    Sent { body: Body::Refused, key, login }
}

/// What the others are made of.
const LOADING: World = World {
    name: "two logins",
    sent: &[login(0, 0), login(1, 1)],
    lanes: &[Scheme::MessageId; 2],
    basis: Basis::SentTimestamp,
    start: Start::Empty,
    batch_size: 2,
    max_attempts: 2,
    faults: 2,
    replays: 0,
    imports: 0,
    duties: &[],
    quirks: &[],
    mutant: None,
};
const BY_KEY: World = World { lanes: &[Scheme::Field; 2], ..LOADING };

/// The messages alone make the claims.
pub const REFUSED_ROW: World = World {
    name: "a login beside one that the database refuses",
    sent: &[login(0, 0), refused(1, 1)],
    faults: 4,
    ..LOADING
};
/// The smallest world in which one message absorbs another.
pub const SENT_TWICE: World =
    World { name: "a login sent twice", sent: &[login(0, 0), login(0, 0)], faults: 5, ..BY_KEY };
/// The smallest world with a contradiction.
pub const CONTRADICTION: World =
    World { name: "two logins with one key", sent: &[login(0, 0), login(0, 1)], faults: 4, ..BY_KEY };
/// A dead letter whose key another message needs.
pub const REFUSED_AND_RESENT: World = World {
    name: "a login that the database refuses, and its resend",
    sent: &[refused(0, 0), login(0, 0)],
    faults: 4,
    ..BY_KEY
};
/// Who claims in what order.
pub const CROSSING: World = World {
    name: "three lanes with any batches of a login sent twice and another",
    sent: &[login(0, 0), login(1, 1), login(0, 0)],
    lanes: &[Scheme::Field; 3],
    start: Start::AnyBatch,
    batch_size: 3,
    faults: 1,
    ..LOADING
};
const CROSSING_CONTRADICTION: World = World {
    name: "three lanes with any batches of two logins with one key, one of them twice",
    sent: &[login(0, 0), login(0, 1), login(0, 0)],
    faults: 0,
    ..CROSSING
};
const CROSSING_SPLIT: World = World {
    name: "two lanes with any batches of a refused login, its resend, and another",
    sent: &[refused(0, 0), login(0, 0), login(1, 1)],
    lanes: &[Scheme::Field; 2],
    faults: 1,
    ..CROSSING
};
/// Replay by message alone.
pub const REPLAY_BY_MESSAGE: World = World {
    name: "replays of a malformed body, by message",
    sent: &[malformed(0, 0), login(1, 1)],
    faults: 2,
    replays: 2,
    duties: &[Duty::Upgrade, Duty::Discard],
    ..LOADING
};
/// Replay against the loader for one key.
pub const REPLAY_AND_RESEND: World = World {
    name: "a replay of a malformed body beside its resend",
    sent: &[malformed(0, 0), login(0, 0)],
    faults: 3,
    replays: 1,
    duties: &[Duty::Upgrade, Duty::Discard],
    ..BY_KEY
};
const REPLAY_AND_CONTRADICTION: World = World {
    name: "a replay of a malformed body beside another login with its key",
    sent: &[malformed(0, 0), login(0, 1)],
    faults: 2,
    ..REPLAY_AND_RESEND
};
/// More than one replay, one of which may be in doubt.
pub const REPLAY_OF_REFUSED: World = World {
    name: "replays of a refused row beside its resend",
    sent: &[refused(0, 0), login(0, 0)],
    faults: 3,
    replays: 2,
    duties: &[Duty::DropConstraint, Duty::Discard],
    ..BY_KEY
};
/// A replay of more than one letter.
pub const REPLAY_OF_TWINS: World = World {
    name: "replays of two letters with one key beside a resend",
    sent: &[malformed(0, 0), malformed(0, 0), login(0, 0)],
    start: Start::AnyBatch,
    max_attempts: 1,
    faults: 1,
    replays: 2,
    duties: &[Duty::Upgrade],
    ..BY_KEY
};
/// A letter that is sent back, beside a replay of it.
pub const REQUEUED: World = World {
    name: "a malformed body is sent back to the queue, beside a replay",
    sent: &[malformed(0, 0)],
    faults: 2,
    replays: 1,
    duties: &[Duty::Upgrade, Duty::Discard, Duty::Requeue(2)],
    ..LOADING
};
/// A letter that is sent back, and another message with its key.
pub const REQUEUED_AND_RESEND: World = World {
    name: "a malformed body is sent back to the queue, beside its resend",
    sent: &[malformed(0, 0), login(0, 0)],
    faults: 1,
    replays: 1,
    duties: &[Duty::Upgrade, Duty::Requeue(1)],
    ..BY_KEY
};
const REQUEUED_AND_CONTRADICTION: World = World {
    name: "a malformed body is sent back to the queue, beside another login with its key",
    sent: &[malformed(0, 0), login(0, 1)],
    replays: 0,
    ..REQUEUED_AND_RESEND
};
/// What is sent back, and outlives what the tables remember.
pub const REQUEUED_AND_RETENTION: World = World {
    name: "the horizon moves past what was sent back to the queue",
    sent: &[malformed(0, 0)],
    faults: 2,
    replays: 1,
    duties: &[Duty::Upgrade, Duty::Discard, Duty::Retain, Duty::Requeue(2)],
    ..LOADING
};
/// Claims of two schemes must meet in the message.
pub const TWO_SCHEMES: World = World {
    name: "two schemes at once",
    sent: &[login(0, 0), login(0, 0)],
    lanes: &[Scheme::MessageId, Scheme::Field],
    faults: 4,
    ..LOADING
};
const THREE_SCHEMES: World = World {
    name: "three schemes at once, any batches",
    lanes: &[Scheme::MessageId, Scheme::Field, Scheme::OtherField],
    start: Start::AnyBatch,
    faults: 1,
    ..TWO_SCHEMES
};
const SWITCHED: World = World {
    name: "a scheme switched in flight, a replay",
    sent: &[malformed(0, 0), login(0, 0)],
    faults: 2,
    replays: 1,
    duties: &[Duty::Switch(Scheme::Field), Duty::Upgrade],
    ..LOADING
};
const SWITCHED_KEYS: World = World {
    name: "a key read from elsewhere in flight",
    sent: &[login(0, 0), login(0, 0)],
    faults: 2,
    duties: &[Duty::Switch(Scheme::OtherField)],
    ..BY_KEY
};
/// Retention by its rule, beside letters.
pub const RETENTION_AND_LETTERS: World = World {
    name: "the horizon moves, claims are dropped, letters are replayed",
    sent: &[malformed(0, 0), login(0, 0)],
    faults: 2,
    replays: 1,
    duties: &[Duty::Retain, Duty::Upgrade, Duty::Discard, Duty::Reopen],
    ..BY_KEY
};
/// Retention by its rule, of both tables.
pub const RETENTION: World = World {
    name: "the horizon moves, claims and identities are forgotten",
    sent: &[login(0, 0), login(0, 0)],
    faults: 3,
    duties: &[Duty::Retain, Duty::PruneIdentities],
    ..BY_KEY
};
/// Keys that carry their own time, and leave behind the horizon.
pub const DATED_KEYS: World = World {
    name: "keys with a time of their own are forgotten behind the horizon",
    sent: &[login(0, 0), login(0, 0)],
    faults: 2,
    duties: &[Duty::Retain],
    quirks: &[Quirk::DatedKeys],
    ..BY_KEY
};
/// The same, beside letters whose messages are younger than their keys.
pub const DATED_KEYS_AND_LETTERS: World = World {
    name: "keys with a time of their own are forgotten beside letters",
    sent: &[login(0, 0), malformed(0, 0)],
    faults: 1,
    replays: 1,
    duties: &[Duty::Retain, Duty::Upgrade, Duty::Requeue(1)],
    ..DATED_KEYS
};
/// Retention where its rule does not hold.
pub const OUTLIVED: World = World {
    name: "the horizon moves past what is still delivered or held",
    sent: &[login(0, 0), login(0, 0)],
    faults: 2,
    replays: 1,
    duties: &[Duty::Retain],
    quirks: &[Quirk::OutlivesRetention],
    ..BY_KEY
};
/// The same, of what becomes a letter.
pub const OUTLIVED_LETTER: World = World {
    name: "the horizon moves past a malformed body that is still delivered or held",
    sent: &[malformed(0, 0)],
    duties: &[Duty::Retain, Duty::Discard, Duty::Reopen],
    replays: 0,
    ..OUTLIVED
};
const FORGOTTEN_KEYS: World = World {
    name: "identities are forgotten beside a replay",
    sent: &[malformed(0, 0), login(0, 0)],
    faults: 2,
    replays: 1,
    duties: &[Duty::PruneIdentities, Duty::Upgrade],
    ..BY_KEY
};
/// A queue without times, where a message may meet its own key.
pub const NO_TIMES: World = World {
    name: "no SentTimestamp, claims pruned, delivered after all",
    sent: &[login(0, 0), login(0, 0)],
    basis: Basis::Constant,
    faults: 3,
    duties: &[Duty::PruneClaims],
    quirks: &[Quirk::OutlivesRetention, Quirk::RowsAreUnique],
    ..BY_KEY
};
/// A queue without times, and letters.
pub const NO_TIMES_AND_LETTERS: World = World {
    name: "no SentTimestamp, claims pruned, letters are replayed",
    sent: &[malformed(0, 0), login(1, 1)],
    basis: Basis::Constant,
    faults: 2,
    replays: 1,
    duties: &[Duty::PruneClaims, Duty::Upgrade],
    ..LOADING
};
/// A queue whose times are sometimes missing.
pub const MISSING_TIMES: World = World {
    name: "deliveries that lack the SentTimestamp of their queue",
    sent: &[login(0, 0), login(0, 0)],
    faults: 3,
    quirks: &[Quirk::LacksSentTimestamp],
    ..BY_KEY
};
/// Two hash keys at once.
pub const NEW_HASH_KEY: World = World {
    name: "a new hash key beside running lanes",
    sent: &[login(0, 0), login(0, 0)],
    faults: 2,
    duties: &[Duty::ReplaceHashKey],
    ..BY_KEY
};
const NEW_HASH_KEY_AND_REPLAY: World = World {
    name: "a new hash key beside running lanes and a replay",
    sent: &[malformed(0, 0), login(0, 0)],
    faults: 1,
    replays: 1,
    duties: &[Duty::ReplaceHashKey, Duty::Upgrade],
    ..BY_KEY
};

/// What the queue gives up, beside lanes that have it in hand still.
pub const REDRIVEN: World = World {
    name: "a login and a malformed body are given up by the queue, and imported",
    sent: &[login(0, 0), malformed(1, 1)],
    max_attempts: 1,
    faults: 3,
    duties: &[Duty::Redrive],
    ..LOADING
};
const REDRIVEN_AND_REPLAYED: World = World {
    name: "a login that the queue gave up is imported and replayed",
    sent: &[login(0, 0)],
    faults: 4,
    replays: 1,
    duties: &[Duty::Redrive, Duty::Discard],
    ..LOADING
};
/// Letters from a file, beside lanes that load the same messages.
pub const FROM_A_FILE: World = World {
    name: "letters of two logins come from a file, and are replayed",
    faults: 2,
    replays: 1,
    imports: 2,
    ..LOADING
};
const FROM_A_FILE_AND_RETENTION: World = World {
    name: "letters come from a file while the horizon moves and claims are dropped",
    faults: 2,
    imports: 2,
    duties: &[Duty::Retain],
    ..LOADING
};

/// Tables over several servers, whose transactions end in two phases.
pub const DISTRIBUTED: World = World {
    name: "tables over several servers, a login that is sent twice, a replay",
    sent: &[malformed(0, 0), login(0, 0)],
    faults: 2,
    replays: 1,
    duties: &[Duty::Upgrade],
    quirks: &[Quirk::Distributed],
    ..BY_KEY
};

const EVERYTHING: World = World {
    name: "everything that can change, in flight",
    sent: &[malformed(0, 0), login(0, 0)],
    start: Start::AnyBatch,
    max_attempts: 1,
    faults: 0,
    replays: 1,
    duties: &[
        Duty::Upgrade,
        Duty::Switch(Scheme::Field),
        Duty::ReplaceHashKey,
        Duty::Retain,
        Duty::PruneIdentities,
        Duty::Discard,
    ],
    quirks: &[Quirk::OutlivesRetention],
    ..LOADING
};

/// Every one.
pub const ALL: [World; 38] = [
    REFUSED_ROW,
    SENT_TWICE,
    CONTRADICTION,
    REFUSED_AND_RESENT,
    CROSSING,
    CROSSING_CONTRADICTION,
    CROSSING_SPLIT,
    REPLAY_BY_MESSAGE,
    REPLAY_AND_RESEND,
    REPLAY_AND_CONTRADICTION,
    REPLAY_OF_REFUSED,
    REPLAY_OF_TWINS,
    REQUEUED,
    REQUEUED_AND_RESEND,
    REQUEUED_AND_CONTRADICTION,
    REQUEUED_AND_RETENTION,
    TWO_SCHEMES,
    THREE_SCHEMES,
    SWITCHED,
    SWITCHED_KEYS,
    RETENTION,
    RETENTION_AND_LETTERS,
    DATED_KEYS,
    DATED_KEYS_AND_LETTERS,
    OUTLIVED,
    OUTLIVED_LETTER,
    FORGOTTEN_KEYS,
    NO_TIMES,
    NO_TIMES_AND_LETTERS,
    MISSING_TIMES,
    NEW_HASH_KEY,
    NEW_HASH_KEY_AND_REPLAY,
    REDRIVEN,
    REDRIVEN_AND_REPLAYED,
    FROM_A_FILE,
    FROM_A_FILE_AND_RETENTION,
    DISTRIBUTED,
    EVERYTHING,
];
