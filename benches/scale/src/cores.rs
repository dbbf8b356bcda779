//! The cores of one machine, which take turns at what is to be computed on it.

use std::collections::VecDeque;

use crate::clock::{Nanos, millis};

/// How long one piece of work keeps a core while another waits.
const SLICE: Nanos = millis(1.0);

/// Something to compute, and what comes after it.
#[derive(Clone, Copy, Debug)]
pub struct Work<T> {
    /// How much is left, in time of one whole core.
    left: Nanos,
    /// What it is for.
    pub then: T,
}

/// The cores of one machine, or a part of one core.
#[derive(Debug)]
pub struct Cores<T> {
    free: usize,
    /// The share of each that may be used.
    share: f64,
    waiting: VecDeque<Work<T>>,
    /// Time of whole cores that was computed since the last look.
    pub computed: Nanos,
}

/// A slice of work that a core begins: it ends after so long.
#[derive(Debug)]
pub struct Begun<T> {
    /// The work, less the slice.
    pub work: Work<T>,
    /// How long the core takes for it.
    pub takes: Nanos,
}

impl<T> Cores<T> {
    /// So many cores; half a core is one of which half may be used.
    pub fn new(cores: f64) -> Self {
        let whole = cores.ceil().max(1.0);
        Self { free: whole as usize, share: cores / whole, waiting: VecDeque::new(), computed: 0 }
    }

    /// Takes work in; it begins at once if a core is free.
    pub fn take(&mut self, cost: Nanos, then: T) -> Option<Begun<T>> {
        self.waiting.push_back(Work { left: cost, then });
        self.begin()
    }

    /// Ends a slice. Gives the work if it is done, and the slice that begins on the core.
    pub fn end(&mut self, work: Work<T>) -> (Option<T>, Option<Begun<T>>) {
        self.free += 1;
        let done = match work.left {
            0 => Some(work.then),
            _ => {
                self.waiting.push_back(work);
                None
            }
        };
        (done, self.begin())
    }

    fn begin(&mut self) -> Option<Begun<T>> {
        if self.free == 0 {
            return None;
        }
        let work = self.waiting.pop_front()?;
        self.free -= 1;
        let slice = work.left.min(SLICE);
        self.computed += slice;
        Some(Begun { work: Work { left: work.left - slice, ..work }, takes: (slice as f64 / self.share) as Nanos })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pieces_of_work_share_one_core_by_turns_and_half_a_core_takes_twice_as_long() {
        let mut cores = Cores::new(0.5);
        let first = cores.take(millis(2.0), "long").unwrap();
        assert_eq!(first.takes, millis(2.0));
        assert!(cores.take(millis(0.5), "short").is_none());
        let (done, next) = cores.end(first.work);
        assert_eq!(done, None);
        let next = next.unwrap();
        assert_eq!((next.work.then, next.takes), ("short", millis(1.0)));
        let (done, last) = cores.end(next.work);
        assert_eq!((done, last.unwrap().work.then), (Some("short"), "long"));
        assert_eq!(cores.computed, millis(2.5));
    }
}
