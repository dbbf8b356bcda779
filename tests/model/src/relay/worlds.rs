//! The worlds that are explored. In each the promise must hold, and some are where a mutant is let loose.

use crate::relay::world::{Quirk, World};

/// Transactions that overtake each other: what the gaps are for.
pub const OVERTAKEN: World = World {
    name: "three transactions, two relays",
    writers: &[1, 1, 1],
    prepares: 0,
    relays: &[0, 0],
    batch_size: 2,
    faults: 1,
    crashes: 0,
    refusals: 0,
    tries: 2,
    duties: 0,
    most: 0,
    subjects: 0,
    quirks: &[],
    mutant: None,
};
/// Gaps of more than one position, and transactions that have more than one.
pub const LONG: World =
    World { name: "transactions with two positions", writers: &[2, 2], batch_size: 3, faults: 2, ..OVERTAKEN };
/// Where nothing goes wrong, nothing is sent twice.
pub const UNDISTURBED: World =
    World { name: "no faults: nothing is sent twice", writers: &[2, 1, 1], faults: 0, most: 1, ..OVERTAKEN };
/// A server that crashes, and what is prepared.
pub const CRASH: World = World {
    name: "a crash, and a prepared transaction",
    prepares: 1,
    relays: &[0],
    faults: 0,
    crashes: 1,
    ..OVERTAKEN
};
const CRASH_AND_FAULT: World = World { name: "a crash, and a fault of the relay", prepares: 0, faults: 1, ..CRASH };
/// Two relays that survive a crash.
pub const CRASH_OF_TWO: World =
    World { name: "a crash, two relays", writers: &[1, 1], relays: &[0, 0], faults: 2, ..CRASH };
const CRASH_AMONG_THREE: World =
    World { name: "a crash, two relays, three transactions", relays: &[0, 0], prepares: 0, ..CRASH };
/// Crash after crash.
pub const CRASHES: World = World { name: "two crashes", crashes: 2, ..CRASH };
/// A log that has the sequence too, as PostgreSQL's.
pub const LOGGED: World =
    World { name: "a crash, the sequence is logged", quirks: &[Quirk::SequenceIsLogged], ..CRASH_OF_TWO };
/// Partitions that are dropped.
pub const PRUNED: World = World { name: "partitions are dropped", quirks: &[Quirk::Prunes], ..OVERTAKEN };
/// The same, and a server that crashes.
pub const PRUNED_AND_CRASH: World =
    World { name: "partitions are dropped, a crash", quirks: &[Quirk::Prunes], ..CRASH };
/// Events that the sink refuses.
pub const REFUSED: World = World {
    name: "refused events, sent again, set aside, dropped",
    writers: &[1, 1],
    faults: 2,
    refusals: 3,
    duties: 1,
    ..PRUNED
};
/// The same, and a server that crashes.
pub const REFUSED_AND_CRASH: World = World {
    name: "refused events, a crash",
    writers: &[1, 1],
    faults: 1,
    refusals: 2,
    quirks: &[Quirk::Prunes],
    ..CRASH
};
/// Two sinks.
pub const TWO_SINKS: World =
    World { name: "two sinks, partitions are dropped", writers: &[1, 1], relays: &[0, 1], ..PRUNED };
const TWO_SINKS_AND_CRASH: World =
    World { name: "two sinks, partitions are dropped, a crash", faults: 0, crashes: 1, ..TWO_SINKS };
/// A sink that comes later.
pub const LATE_SINK: World = World {
    name: "a sink is added while partitions are dropped",
    writers: &[1, 1],
    relays: &[0, 1],
    faults: 1,
    duties: 1,
    quirks: &[Quirk::Prunes, Quirk::LateSink],
    ..OVERTAKEN
};
/// How often an event is sent.
pub const REPEATED: World =
    World { name: "how often an event is sent", writers: &[1, 1], faults: 2, most: 3, ..OVERTAKEN };
/// A sink that recognises repeats.
pub const RECOGNISED: World = World {
    name: "a sink that recognises repeats",
    writers: &[1, 1],
    faults: 2,
    crashes: 1,
    most: 5,
    quirks: &[Quirk::RecognisesRepeats],
    ..OVERTAKEN
};

/// Order: transactions that overtake each other, and one subject.
pub const ORDERED: World = World { name: "in order: three transactions, two relays", subjects: 1, ..OVERTAKEN };
/// Order, and ranges of which a part is carried.
pub const ORDERED_LONG: World = World { name: "in order: transactions with two positions", subjects: 2, ..LONG };
/// Order: where nothing goes wrong, nothing is sent twice.
pub const ORDERED_UNDISTURBED: World = World { name: "in order: no faults", subjects: 1, ..UNDISTURBED };
/// Order, and a server that crashes.
pub const ORDERED_CRASH: World = World { name: "in order: a crash, and a prepared transaction", subjects: 1, ..CRASH };
/// Order, and two relays that survive a crash.
pub const ORDERED_CRASH_OF_TWO: World = World { name: "in order: a crash, two relays", subjects: 1, ..CRASH_OF_TWO };
/// Order, and events that the sink refuses.
pub const ORDERED_REFUSED: World = World {
    name: "in order: refused events, sent again, set aside, given up",
    writers: &[1, 2],
    batch_size: 2,
    faults: 1,
    refusals: 2,
    duties: 1,
    quirks: &[],
    subjects: 1,
    ..REFUSED
};
/// The same, and two subjects.
pub const ORDERED_SUBJECTS: World =
    World { name: "in order: refused events of two subjects", writers: &[2, 2], subjects: 2, ..ORDERED_REFUSED };
/// The same, and a server that crashes.
pub const ORDERED_REFUSED_AND_CRASH: World =
    World { name: "in order: refused events, a crash", writers: &[3], crashes: 1, ..ORDERED_REFUSED };
/// Order, and partitions that are dropped.
pub const ORDERED_PRUNED: World = World {
    name: "in order: refused events, partitions are dropped",
    writers: &[1, 1],
    batch_size: 1,
    quirks: &[Quirk::Prunes],
    ..ORDERED_REFUSED
};

/// Every one.
pub const ALL: [World; 27] = [
    OVERTAKEN,
    LONG,
    UNDISTURBED,
    CRASH,
    CRASH_AND_FAULT,
    CRASH_OF_TWO,
    CRASH_AMONG_THREE,
    CRASHES,
    LOGGED,
    PRUNED,
    PRUNED_AND_CRASH,
    REFUSED,
    REFUSED_AND_CRASH,
    TWO_SINKS,
    TWO_SINKS_AND_CRASH,
    LATE_SINK,
    REPEATED,
    RECOGNISED,
    ORDERED,
    ORDERED_LONG,
    ORDERED_UNDISTURBED,
    ORDERED_CRASH,
    ORDERED_CRASH_OF_TWO,
    ORDERED_REFUSED,
    ORDERED_SUBJECTS,
    ORDERED_REFUSED_AND_CRASH,
    ORDERED_PRUNED,
];
