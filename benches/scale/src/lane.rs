//! What a lane knows, and how it decides: the same rules as `src/receive.rs` and `src/lane/turns.rs` of the loader.

use std::collections::VecDeque;

use crate::clock::{Nanos, millis};
use crate::queue::MESSAGES_PER_CALL;

/// The most receive calls of one lane side by side.
const MOST_CALLS_AT_ONCE: usize = 8;
/// The most deletes of one lane side by side.
pub const MOST_DELETES_AT_ONCE: usize = 16;

/// The first and the longest pause while the queue or the database refuses.
const PAUSES_IN_AN_OUTAGE: (Nanos, Nanos) = (millis(100.0), millis(10_000.0));
/// The first and the longest pause after a receive that brought nothing, and did not wait for it either.
const PAUSES_OVER_NOTHING: (Nanos, Nanos) = (millis(50.0), millis(2_000.0));

/// Which round of calls a gathering is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// Several calls that do not wait, because the queue had more the last time.
    Remembered,
    /// One call that waits.
    LongPoll,
    /// Several calls that do not wait, because the round before came back full.
    More,
}

/// What a lane waits for when its pause is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Its turn.
    Turn,
    /// The end of a turn that brought nothing.
    EndOfTurn,
    /// A connection.
    Connection,
}

/// A lane of a process.
#[derive(Debug)]
pub struct Lane {
    /// Which process it is of.
    pub process: usize,
    /// How many calls are worth making side by side.
    pub calls: usize,
    /// When what it has in hand was sent.
    pub messages: Vec<Nanos>,
    /// When it began to receive, and since when it has something.
    pub begun: Nanos,
    /// Since when it gathers.
    pub since: Nanos,
    /// The round that is under way.
    pub round: Round,
    /// Calls of the round that have not come back, what they may bring, and what has come of it.
    pub outstanding: usize,
    /// What the round may bring.
    pub wanted: usize,
    /// What it has brought.
    pub came: usize,
    /// Whether the round before came back full.
    pub had_more: bool,
    /// Whether a call of this gathering was refused.
    pub failed: bool,
    /// Statements of the transaction that are answered.
    pub statements: u32,
    /// Whether it has a connection.
    pub connected: bool,
    /// Whether it holds messages that are not committed; the number of the gathering.
    pub holds: Option<u64>,
    /// How many gatherings there were.
    pub gatherings: u64,
    /// The deletes under way, and the messages whose deletes have not begun.
    pub deletes: usize,
    /// Messages committed whose deletes have not begun.
    pub to_delete: usize,
    /// Messages committed behind them.
    pub committed: usize,
    /// What comes after the pause.
    pub after: After,
    pauses: Pauses,
}

impl Lane {
    /// A lane that has done nothing.
    pub fn new(process: usize) -> Self {
        Self {
            process,
            calls: 1,
            messages: Vec::new(),
            begun: 0,
            since: 0,
            round: Round::LongPoll,
            outstanding: 0,
            wanted: 0,
            came: 0,
            had_more: false,
            failed: false,
            statements: 0,
            connected: false,
            holds: None,
            gatherings: 0,
            deletes: 0,
            to_delete: 0,
            committed: 0,
            after: After::Turn,
            pauses: Pauses::new(PAUSES_IN_AN_OUTAGE),
        }
    }

    /// How many messages each of the next calls may bring.
    pub fn calls_within(&self, batch: usize) -> Vec<usize> {
        let room = batch.saturating_sub(self.messages.len());
        let of_call = |n| room.saturating_sub(n * MESSAGES_PER_CALL).min(MESSAGES_PER_CALL);
        (0..self.calls).map(of_call).take_while(|most| *most > 0).collect()
    }

    /// Learns from a round that has ended.
    pub fn learn(&mut self) {
        let full = self.came > self.wanted / 2;
        self.had_more = full && !self.failed;
        self.calls = match full {
            true => (2 * self.calls).min(MOST_CALLS_AT_ONCE),
            false => self.came.div_ceil(MESSAGES_PER_CALL).max(1),
        };
    }

    /// How long to pause over a refusal.
    pub fn pause(&mut self) -> Nanos {
        self.pauses.next()
    }

    /// The queue or the database answered.
    pub fn answered(&mut self) {
        self.pauses = Pauses::new(PAUSES_IN_AN_OUTAGE);
    }
}

#[derive(Clone, Copy, Debug)]
struct Pauses {
    next: Nanos,
    longest: Nanos,
}

impl Pauses {
    fn new((first, longest): (Nanos, Nanos)) -> Self {
        Self { next: first, longest }
    }

    fn next(&mut self) -> Nanos {
        let pause = self.next;
        self.next = (2 * pause).min(self.longest);
        pause
    }
}

/// The turns at receiving that the lanes of a process take.
#[derive(Debug)]
pub struct Turns {
    lanes: usize,
    at_once: usize,
    free: usize,
    /// Lanes that wait for a turn, in the order in which they came.
    pub waiting: VecDeque<usize>,
    over_nothing: Pauses,
}

impl Turns {
    /// For so many lanes, the first of which may receive.
    pub fn among(lanes: usize) -> Self {
        let over_nothing = Pauses::new(PAUSES_OVER_NOTHING);
        Self { lanes, at_once: 1, free: 1, waiting: VecDeque::new(), over_nothing }
    }

    /// Takes a turn for the lane that has waited longest.
    pub fn take(&mut self) -> Option<usize> {
        if self.free == 0 {
            return None;
        }
        let lane = self.waiting.pop_front()?;
        self.free -= 1;
        Some(lane)
    }

    /// A turn ends; the queue had more, or had not.
    pub fn end(&mut self, had_more: bool) {
        let before = self.at_once;
        self.at_once = match had_more {
            true => (before + 1).min(self.lanes),
            false => (before - 1).max(1),
        };
        self.free += (1 + self.at_once).saturating_sub(before);
    }

    /// How long to keep a turn that brought nothing after so long.
    pub fn pause_over_nothing(&mut self, took: Nanos, wait: Nanos) -> Nanos {
        if took >= wait / 2 { 0 } else { self.over_nothing.next().min(wait) }
    }

    /// Something was loaded.
    pub fn loaded(&mut self) {
        self.over_nothing = Pauses::new(PAUSES_OVER_NOTHING);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_double_while_they_come_back_full_and_keep_to_the_batch() {
        let mut lane = Lane::new(0);
        for (wanted, came, calls) in [(10, 10, 2), (20, 20, 4), (40, 21, 8), (80, 80, 8), (80, 40, 4), (40, 1, 1)] {
            (lane.wanted, lane.came) = (wanted, came);
            lane.learn();
            assert_eq!((lane.calls, lane.had_more), (calls, came > wanted / 2), "{came} of {wanted}");
        }
        lane.calls = 8;
        lane.messages = vec![0; 485];
        assert_eq!(lane.calls_within(500), [10, 5]);
    }

    #[test]
    fn more_lanes_receive_while_the_queue_has_more_and_one_when_it_has_not() {
        let mut turns = Turns::among(4);
        turns.waiting.extend([1, 2, 3, 4]);
        assert_eq!((turns.take(), turns.take()), (Some(1), None));
        turns.end(true);
        assert_eq!((turns.take(), turns.take(), turns.take()), (Some(2), Some(3), None));
        turns.end(false);
        assert_eq!(turns.take(), None);
        turns.end(false);
        assert_eq!((turns.take(), turns.take()), (Some(4), None));
    }
}
