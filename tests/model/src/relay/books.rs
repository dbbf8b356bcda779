//! What the relays write down: marks, chunks, gaps and failures of each sink; and what of it a crash would take back,
//! because they do not wait until it is flushed.

use crate::relay::world::{POSITIONS, Position, SINKS, World};
use crate::set::Set;

/// The tables, as they are and as a crash may leave them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Store {
    /// What is committed.
    pub now: Tables,
    /// What was committed before, since somebody last waited for a flush, the oldest first; nothing where no crash is
    /// left.
    pub past: Vec<Tables>,
    /// Whether the server may yet crash.
    pub may_crash: bool,
    /// Whether the log has the sequence too.
    pub logs_sequence: bool,
}

/// What commits can change.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tables {
    /// The positions whose rows are committed.
    pub committed: Set,
    /// The books of each sink.
    pub books: [Books; SINKS],
    /// Where the sequence stood, where the log has it.
    pub sequence: Position,
}

/// The books of one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Books {
    /// Whether the sink is there.
    pub exists: bool,
    /// Where it began: what was dropped before is not for it.
    pub begins: Position,
    /// The newest of `relay_marks`.
    pub frontier: Position,
    /// `relay_chunks`, by their ids.
    pub chunks: Vec<Chunk>,
    /// `relay_gaps`, in the order of their positions.
    pub gaps: Vec<Gap>,
    /// `relay_failures`, by position.
    pub failures: [Failure; POSITIONS + 1],
}

/// A row of `relay_chunks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chunk {
    /// Its key.
    pub id: u8,
    /// The positions that it covers, those of holes among them.
    pub covers: Set,
    /// Who has it.
    pub lease: Lease,
}

/// Who has a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lease {
    /// Nobody who still knows of it: its relay died, or let it go. That its time is over is only a matter of time.
    Nobodys,
    /// This relay.
    Of(usize),
    /// This relay, whose time is over: another may take it.
    Overdue(usize),
}

/// A row of `relay_gaps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gap {
    /// Its positions.
    pub positions: Set,
    /// The ids of those who may still write them; none, if nobody has looked yet.
    pub writers: Option<Set>,
}

/// A row of `relay_failures`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// There is none.
    #[default]
    None,
    /// The sink has refused it so often, and it will be sent again.
    Waiting(u8),
    /// It was refused for the last time.
    SetAside,
    /// An operator has given it up. Under order only.
    Discarded,
}

impl Failure {
    /// What an event is that was refused so often.
    pub fn after(refusals: u8, tries: u8) -> Self {
        if refusals < tries { Self::Waiting(refusals) } else { Self::SetAside }
    }
}

impl Lease {
    /// Whether the chunk is this relay's.
    pub fn is_of(self, relay: usize) -> bool {
        self == Self::Of(relay) || self == Self::Overdue(relay)
    }

    fn swapped(self) -> Self {
        match self {
            Self::Nobodys => Self::Nobodys,
            Self::Of(relay) => Self::Of(1 - relay),
            Self::Overdue(relay) => Self::Overdue(1 - relay),
        }
    }
}

impl Store {
    /// A relay commits, and does not wait until it is flushed.
    pub fn commit(&mut self, sequence: Position, change: impl FnOnce(&mut Tables)) {
        let before = self.now.clone();
        change(&mut self.now);
        if self.now != before && self.may_crash {
            self.log(sequence);
            self.past.push(before);
        }
    }

    /// Everything so far is flushed.
    pub fn flush(&mut self, sequence: Position) {
        self.log(sequence);
        self.past.clear();
    }

    /// The server has crashed, and only so many of the commits since the last flush are in the log.
    pub fn crash(&mut self, keeps: usize, may_crash_again: bool) {
        let kept = self.past.drain(..).nth(keeps);
        self.now = kept.unwrap_or_else(|| std::mem::take(&mut self.now));
        self.may_crash = may_crash_again;
    }

    fn log(&mut self, sequence: Position) {
        if self.logs_sequence {
            self.now.sequence = sequence;
        }
    }

    /// The time of a relay is over, in whatever chunk it has.
    pub fn run_out(&mut self, relay: usize) {
        self.each_lease(|lease| {
            if *lease == Lease::Of(relay) {
                *lease = Lease::Overdue(relay)
            }
        });
    }

    /// A relay does not know any more of its chunks: who had them is of no account.
    pub fn let_go(&mut self, relay: usize) {
        self.each_lease(|lease| {
            if lease.is_of(relay) {
                *lease = Lease::Nobodys
            }
        });
    }

    /// Two relays change places.
    pub fn swap_relays(&mut self) {
        self.each_lease(|lease| *lease = lease.swapped());
    }

    fn each_lease(&mut self, change: impl Fn(&mut Lease)) {
        let books = std::iter::once(&mut self.now).chain(&mut self.past).flat_map(|tables| &mut tables.books);
        books.flat_map(|books| &mut books.chunks).for_each(|chunk| change(&mut chunk.lease));
    }

    /// The ids of chunks that are there, or were before a crash would take something back.
    pub fn chunk_ids(&self) -> Set {
        let tables = std::iter::once(&self.now).chain(&self.past);
        let chunks = tables.flat_map(|tables| &tables.books).flat_map(|books| &books.chunks);
        chunks.map(|chunk| usize::from(chunk.id)).collect()
    }
}

impl Books {
    /// The chunk with this id.
    pub fn chunk(&self, id: u8) -> Option<&Chunk> {
        self.chunks.iter().find(|chunk| chunk.id == id)
    }

    /// Another relay takes a chunk.
    pub fn lease(&mut self, id: u8, relay: usize) {
        self.chunks.iter_mut().filter(|chunk| chunk.id == id).for_each(|chunk| chunk.lease = Lease::Of(relay));
    }

    /// Removes a chunk.
    pub fn close(&mut self, id: u8) {
        self.chunks.retain(|chunk| chunk.id != id);
    }

    /// A sink has refused an event for the first time; or again, of which it makes nothing here.
    pub fn record(&mut self, position: Position, tries: u8) {
        if self.failures[position] == Failure::None {
            self.failures[position] = Failure::after(1, tries);
        }
    }

    /// An event stood behind a refused one of its subject: it was not sent.
    pub fn record_behind(&mut self, position: Position) {
        if self.failures[position] == Failure::None {
            self.failures[position] = Failure::Waiting(0);
        }
    }

    /// A new chunk of a relay.
    pub fn open(&mut self, id: u8, covers: Set, relay: usize) {
        self.chunks.push(Chunk { id, covers, lease: Lease::Of(relay) });
        self.chunks.sort_unstable();
    }

    /// New gaps, of whose writers nothing is known: one for each row of holes.
    pub fn note(&mut self, holes: Set) {
        let mut before = None;
        for hole in holes.iter() {
            match self.gaps.last_mut() {
                Some(gap) if before.is_some_and(|before| before + 1 == hole) => gap.positions |= Set::of(hole),
                _ => self.gaps.push(Gap { positions: Set::of(hole), writers: None }),
            }
            before = Some(hole);
        }
        self.gaps.sort_unstable();
    }

    /// Everything in chunks.
    pub fn covered(&self) -> Set {
        self.chunks.iter().fold(Set::default(), |all, chunk| all | chunk.covers)
    }

    /// Everything in gaps.
    pub fn in_gaps(&self) -> Set {
        self.gaps.iter().fold(Set::default(), |all, gap| all | gap.positions)
    }

    /// The failures that the condition is true of.
    pub fn failed(&self, is: impl Fn(Failure) -> bool) -> Set {
        (1..=POSITIONS).filter(|position| is(self.failures[*position])).collect()
    }

    /// What is refused, and will be sent again.
    pub fn waiting(&self) -> Set {
        self.failed(|failure| matches!(failure, Failure::Waiting(_)))
    }

    /// What was refused for the last time.
    pub fn set_aside(&self) -> Set {
        self.failed(|failure| failure == Failure::SetAside)
    }

    /// What an operator has given up.
    pub fn discarded(&self) -> Set {
        self.failed(|failure| failure == Failure::Discarded)
    }

    /// The events that keep the later ones of their subjects waiting.
    pub fn blocking(&self) -> Set {
        self.waiting() | self.set_aside()
    }

    /// The waiting failures behind one that was set aside.
    pub fn stuck(&self, world: &World) -> Set {
        self.waiting().iter().filter(|position| world.earlier(*position).meets(self.set_aside())).collect()
    }

    /// What is open: chunks, gaps and waiting failures.
    pub fn open_positions(&self) -> Set {
        self.covered() | self.in_gaps() | self.waiting()
    }

    /// Up to where everything is sent or set aside.
    pub fn low_water(&self) -> Position {
        self.open_positions().first().unwrap_or(self.frontier + 1).min(self.frontier + 1) - 1
    }
}
