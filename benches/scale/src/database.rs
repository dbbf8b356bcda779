//! A PostgreSQL, as far as a loader waits for it: its connections, its log and its disk. Its cores are a machine of their own.

use crate::clock::Nanos;
use crate::random::{Random, Spread};

/// How large a database is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Cores.
    pub cores: f64,
    /// The most connections that loaders may have.
    pub connections: usize,
    /// How long the disk takes to make a piece of log last.
    pub flush: Spread,
    /// What the disk writes in a second, in bytes.
    pub disk: f64,
}

/// A database at work.
#[derive(Debug)]
pub struct Database {
    size: Size,
    /// Until when the disk is busy with what it was given.
    written_at: Nanos,
    /// Who waits for the next flush, and for the one under way.
    next: Vec<usize>,
    under_way: Vec<usize>,
    /// Connections that are open.
    pub open: usize,
    /// Connections that were refused since the last look.
    pub refused: u64,
    /// Bytes that the disk was given since the last look.
    pub bytes: f64,
}

impl Database {
    /// One that nobody is connected to.
    pub fn new(size: Size) -> Self {
        Self { size, written_at: 0, next: vec![], under_way: vec![], open: 0, refused: 0, bytes: 0.0 }
    }

    /// Opens a connection, if one may be.
    pub fn connect(&mut self) -> bool {
        let may = self.open < self.size.connections;
        self.open += usize::from(may);
        self.refused += u64::from(!may);
        may
    }

    /// Rows are written: their bytes go to the disk behind those before them.
    pub fn write(&mut self, now: Nanos, bytes: f64) {
        self.bytes += bytes;
        self.written_at = self.written_at.max(now) + (bytes / self.size.disk * 1e9) as Nanos;
    }

    /// A transaction asks for its commit. Gives how long the flush takes that this begins; while one is under way, those
    /// who ask wait for the next together.
    pub fn commit(&mut self, who: usize, now: Nanos, random: &mut Random) -> Option<Nanos> {
        self.next.push(who);
        if self.under_way.is_empty() { self.begin(now, random) } else { None }
    }

    /// A flush has ended. Gives whose commits last by it, and how long the next takes.
    pub fn flushed(&mut self, now: Nanos, random: &mut Random) -> (Vec<usize>, Option<Nanos>) {
        let last = std::mem::take(&mut self.under_way);
        (last, self.begin(now, random))
    }

    fn begin(&mut self, now: Nanos, random: &mut Random) -> Option<Nanos> {
        self.under_way = std::mem::take(&mut self.next);
        let takes = random.time(self.size.flush).max(self.written_at.saturating_sub(now));
        (!self.under_way.is_empty()).then_some(takes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::millis;

    #[test]
    fn commits_that_come_during_a_flush_share_the_next_and_wait_for_the_bytes_before_them() {
        let size = Size { cores: 1.0, connections: 1, flush: Spread::always(millis(1.0)), disk: 1e6 };
        let (mut database, mut random) = (Database::new(size), Random::new(1));
        assert!(database.connect() && !database.connect());
        assert_eq!(database.commit(1, 0, &mut random), Some(millis(1.0)));
        database.write(0, 4_000.0);
        assert_eq!(database.commit(2, 0, &mut random), None);
        assert_eq!(database.commit(3, 0, &mut random), None);
        assert_eq!(database.flushed(millis(1.0), &mut random), (vec![1], Some(millis(3.0))));
        assert_eq!(database.flushed(millis(4.0), &mut random), (vec![2, 3], None));
    }
}
