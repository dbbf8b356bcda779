//! Time in the simulation, and what is due when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A time or a span of it, in nanoseconds since the start.
pub type Nanos = u64;

/// Nanoseconds in so many microseconds.
pub const fn micros(micros: f64) -> Nanos {
    (micros * 1e3) as Nanos
}

/// Nanoseconds in so many milliseconds.
pub const fn millis(millis: f64) -> Nanos {
    micros(millis * 1e3)
}

/// Nanoseconds in so many seconds.
pub const fn seconds(seconds: f64) -> Nanos {
    millis(seconds * 1e3)
}

/// What is due, and when; what is due at the same time, in the order in which it was noted.
#[derive(Debug)]
pub struct Clock<E> {
    now: Nanos,
    noted: u64,
    due: BinaryHeap<Reverse<Entry<E>>>,
}

#[derive(Debug)]
struct Entry<E> {
    at: (Nanos, u64),
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl<E> Default for Clock<E> {
    fn default() -> Self {
        Self { now: 0, noted: 0, due: BinaryHeap::new() }
    }
}

impl<E> Clock<E> {
    /// The time of what happens now.
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// Notes what is due after so long.
    pub fn after(&mut self, wait: Nanos, event: E) {
        self.noted += 1;
        self.due.push(Reverse(Entry { at: (self.now + wait, self.noted), event }));
    }

    /// What is due next, no later than `end`; it is that time then.
    pub fn next(&mut self, end: Nanos) -> Option<E> {
        let Reverse(next) = self.due.peek()?;
        if next.at.0 > end {
            return None;
        }
        let Reverse(Entry { at, event }) = self.due.pop()?;
        self.now = at.0;
        Some(event)
    }
}
