//! What is fixed before the first step: writers, relays, sinks, bounds, and the mutant, if any.

use crate::relay::mutant::Mutant;
use crate::set::Set;

/// How many positions are handed out at most; the first is 1.
pub const POSITIONS: usize = 5;

/// How many transactions write events at most.
pub const WRITERS: usize = 4;

/// How many relays there are at most.
pub const RELAYS: usize = 2;

/// How many sinks there are at most.
pub const SINKS: usize = 2;

/// The `position` of an event.
pub type Position = usize;

/// A world to explore: everything that can happen with these writers and relays within these bounds.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// What it is about, for the reader of a report.
    pub name: &'static str,
    /// The transactions that write events, by how many each writes.
    pub writers: &'static [u8],
    /// How many of them are prepared at most.
    pub prepares: u8,
    /// The relays, by the sink that each serves.
    pub relays: &'static [usize],
    /// How many rows a claim reads at most.
    pub batch_size: usize,
    /// How many faults strike the relays at most, of whatever kinds and wherever.
    pub faults: u8,
    /// How often the server crashes at most.
    pub crashes: u8,
    /// How often a sink refuses an event at most.
    pub refusals: u8,
    /// After how many refusals an event is set aside.
    pub tries: u8,
    /// How often the operator does something at most.
    pub duties: u8,
    /// How often an event is sent at most, where that is counted; else 0.
    pub most: u8,
    /// How many subjects the events have, turn by turn, where the order of each is kept; else 0.
    pub subjects: usize,
    /// What more there is than in every world.
    pub quirks: &'static [Quirk],
    /// The mistake that is built in.
    pub mutant: Option<Mutant>,
}

/// What there is in some worlds only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quirk {
    /// Partitions are dropped; each position is a partition of its own.
    Prunes,
    /// The second sink is added at some time.
    LateSink,
    /// The sinks know each event again for a while, by its id.
    RecognisesRepeats,
    /// After a crash the sequence is where the log says, and not lower. Elsewhere it may fall back over everything that
    /// is neither committed nor prepared, which is more than PostgreSQL does.
    SequenceIsLogged,
}

impl World {
    /// Whether this mistake is built in.
    pub fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Whether there is this.
    pub fn shows(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    /// Whether the events of a subject are carried in the order of their positions.
    pub fn is_ordered(&self) -> bool {
        self.subjects > 0
    }

    /// The events of the same subject at lower positions; none where no order is kept.
    pub fn earlier(&self, position: Position) -> Set {
        (1..position).filter(|other| self.is_sibling(*other, position)).collect()
    }

    /// The events of the same subject at higher positions; none where no order is kept.
    pub fn later(&self, position: Position) -> Set {
        (position + 1..=POSITIONS).filter(|other| self.is_sibling(*other, position)).collect()
    }

    fn is_sibling(&self, one: Position, other: Position) -> bool {
        self.is_ordered() && one % self.subjects == other % self.subjects
    }

    /// How far it counts how often an event is sent: to one more than is allowed.
    pub fn counted(&self) -> u8 {
        self.most + 1
    }
}
