//! The table `outbox`: its sequence, and the transactions that write to it. A loader is one of them; what it loads
//! besides makes no difference here.

use crate::relay::mutant::Mutant;
use crate::relay::protocol::{Action, State};
use crate::relay::world::{Position, WRITERS, World};
use crate::set::Set;

/// The prepared transactions that have come through a crash have ids from here on.
const RECOVERED: usize = 9;

/// The sequence, and who writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Outbox {
    /// The position that was handed out last.
    pub sequence: Position,
    /// Events up to this position are dropped with their partitions.
    pub pruned: Position,
    /// Those up to this one are noted as dropped, or to be dropped next.
    pub noted: Position,
    /// The transactions.
    pub writers: [Writer; WRITERS],
    /// The virtual id of the next transaction; a server that starts counts from zero.
    next_id: usize,
    /// How many more may be prepared.
    pub prepares_left: u8,
}

/// A transaction that writes events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Writer {
    /// Where it stands.
    pub stage: Stage,
    /// How many positions it has yet to take.
    pub wants: u8,
    /// Its positions.
    pub positions: Set,
    /// Its virtual id, while it holds the lock on the table.
    pub id: Option<usize>,
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It has ended, or is none.
    #[default]
    Ended,
    /// It has not begun.
    Waiting,
    /// It writes.
    Open,
    /// It is prepared: no process has it.
    Prepared,
    /// Its end is visible, and it still holds its lock.
    Ending,
    /// A mutant's: its lock is released, and its commit is not visible yet.
    Released,
}

/// What a transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// It begins, and locks the table, as the first INSERT does before it evaluates a default.
    Locks,
    /// It takes the next position, and inserts a row.
    Takes,
    /// It is prepared.
    Prepares,
    /// Its rows are visible, and flushed.
    Commits,
    /// It is rolled back.
    RollsBack,
    /// It releases its lock.
    Releases,
}

/// Who holds the lock that writers take (`pg_locks`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locks {
    /// The virtual ids of all.
    pub all: Set,
    /// Those without a pid: the prepared ones.
    pub prepared: Set,
}

impl Writer {
    /// One that will write so many events.
    pub fn of(wants: u8) -> Self {
        Self { stage: Stage::Waiting, wants, ..Self::default() }
    }

    /// Whether it was prepared before the server crashed, and is still there.
    pub fn is_recovered(&self) -> bool {
        self.stage == Stage::Prepared && self.id.is_some_and(|id| id >= RECOVERED)
    }

    /// Whether nobody can see yet how it ends.
    pub fn is_undecided(&self) -> bool {
        matches!(self.stage, Stage::Waiting | Stage::Open | Stage::Prepared | Stage::Released)
    }
}

impl Outbox {
    /// Who holds the lock now.
    pub fn locks(&self) -> Locks {
        let ids = |writers: &mut dyn Iterator<Item = &Writer>| writers.filter_map(|writer| writer.id).collect();
        Locks {
            all: ids(&mut self.writers.iter()),
            prepared: ids(&mut self.writers.iter().filter(|writer| writer.stage == Stage::Prepared)),
        }
    }

    /// The positions of transactions that are not decided.
    pub fn undecided(&self) -> Set {
        let open = self.writers.iter().filter(|writer| writer.is_undecided());
        open.fold(Set::default(), |all, writer| all | writer.positions)
    }

    /// The server has crashed: what ran is dead, and what is prepared comes back under another id.
    pub fn crash(&mut self, sequence: Position) {
        self.next_id = 0;
        self.sequence = sequence;
        for writer in &mut self.writers {
            match (writer.stage, writer.positions.first()) {
                (Stage::Prepared, Some(position)) => writer.id = Some(RECOVERED + position),
                (Stage::Waiting, None) => {}
                _ => *writer = Writer::default(),
            }
        }
    }

    /// The last position that a prepared transaction has.
    pub fn last_prepared(&self) -> Position {
        let prepared = self.writers.iter().filter(|writer| writer.stage == Stage::Prepared);
        prepared.filter_map(|writer| writer.positions.last()).max().unwrap_or(0)
    }

    fn begin(&mut self, writer: usize) {
        self.writers[writer].id = Some(self.next_id);
        self.writers[writer].stage = Stage::Open;
        self.next_id += 1;
    }
}

/// What the transactions can do now.
pub fn moves(world: &World, state: &State, moves: &mut Vec<Action>) {
    for (place, writer) in state.outbox.writers.iter().enumerate() {
        // Which of several that are alike begins makes no difference.
        let has_twin = |stage| stage == Stage::Waiting && state.outbox.writers[..place].contains(writer);
        let mut add = |step| moves.push(Action::Writer(place, step));
        match writer.stage {
            Stage::Ended => {}
            Stage::Waiting if has_twin(writer.stage) => {}
            Stage::Waiting if world.has(Mutant::PositionBeforeLock) && writer.wants > 0 => add(Move::Takes),
            Stage::Waiting => add(Move::Locks),
            Stage::Open if writer.wants > 0 => {
                add(Move::Takes);
                if !writer.positions.is_empty() {
                    add(Move::RollsBack);
                }
            }
            Stage::Open => {
                add(Move::RollsBack);
                add(if world.has(Mutant::ReleasedBeforeVisible) { Move::Releases } else { Move::Commits });
                if state.outbox.prepares_left > 0 {
                    add(Move::Prepares);
                }
            }
            Stage::Prepared => {
                add(Move::RollsBack);
                add(Move::Commits);
            }
            Stage::Ending => add(Move::Releases),
            Stage::Released => add(Move::Commits),
        }
    }
}

/// The state after a move of a transaction.
pub fn make(world: &World, state: &mut State, place: usize, step: Move) {
    state.stir();
    let State { store, outbox, .. } = state;
    match step {
        Move::Locks => outbox.begin(place),
        Move::Takes => {
            outbox.sequence += 1;
            let writer = &mut outbox.writers[place];
            writer.positions |= Set::of(outbox.sequence);
            writer.wants -= 1;
        }
        Move::Prepares => {
            outbox.writers[place].stage = Stage::Prepared;
            outbox.prepares_left -= 1;
            store.flush(outbox.sequence);
        }
        Move::Commits => {
            let writer = &mut outbox.writers[place];
            let positions = writer.positions;
            match writer.stage {
                Stage::Released => *writer = Writer::default(),
                _ => writer.stage = Stage::Ending,
            }
            if world.has(Mutant::WritersNotFlushed) {
                store.commit(outbox.sequence, |tables| tables.committed |= positions);
            } else {
                store.now.committed |= positions;
                store.flush(outbox.sequence);
            }
        }
        Move::RollsBack => outbox.writers[place].stage = Stage::Ending,
        Move::Releases => {
            let writer = &mut outbox.writers[place];
            match writer.stage {
                Stage::Open => {
                    writer.stage = Stage::Released;
                    writer.id = None;
                }
                _ => *writer = Writer::default(),
            }
        }
    }
}
