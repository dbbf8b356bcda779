//! Amazon SQS, by what its documentation says of its limits.

use std::collections::VecDeque;

use crate::clock::Nanos;
use crate::random::Spread;

/// The most messages of a call.
pub const MESSAGES_PER_CALL: usize = 10;

/// What a queue allows, and how long it takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most messages that are received and not yet deleted.
    pub in_flight: usize,
    /// The most calls a second of each kind; none: as many as are made.
    pub calls_a_second: Option<f64>,
    /// How long a call takes, there and back, where it waits for nothing.
    pub call: Spread,
}

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Messages, and for how long to wait for the first.
    Receive {
        /// The most.
        most: usize,
        /// How long to wait for one.
        wait: Nanos,
    },
    /// That so many be deleted.
    Delete(usize),
    /// That so many stay hidden.
    Renew(usize),
}

/// What a call is answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// What came: the times at which the messages were sent. Nothing for other calls.
    Done(Vec<Nanos>),
    /// Too many calls, or too much in flight.
    Refused,
    /// Nothing yet: the call waits.
    Waits,
}

/// A queue.
#[derive(Debug)]
pub struct Queue {
    limits: Limits,
    /// When the messages that wait were sent; none: there is no end of them.
    visible: Option<VecDeque<Nanos>>,
    /// Calls that wait for a message, and how many each takes.
    polls: VecDeque<(usize, usize)>,
    /// What each kind of call may still be made of this second.
    allowed: [Allowance; 3],
    /// What it was asked.
    pub counts: Counts,
    in_flight: usize,
}

/// What a queue was asked since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Calls that are paid for.
    pub calls: u64,
    /// Calls refused because too much was in flight (OverLimit), or that waited for that reason.
    pub over_limit: u64,
    /// Calls refused because there were too many a second.
    pub throttled: u64,
    /// The most in flight.
    pub most_in_flight: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Allowance {
    left: f64,
    at: Nanos,
}

impl Allowance {
    fn takes(&mut self, now: Nanos, a_second: f64) -> bool {
        self.left = (self.left + (now - self.at) as f64 / 1e9 * a_second).min(a_second / 10.0);
        self.at = now;
        let enough = self.left >= 1.0;
        if enough {
            self.left -= 1.0;
        }
        enough
    }
}

impl Queue {
    /// An empty queue, or one whose messages have no end.
    pub fn new(limits: Limits, endless: bool) -> Self {
        Self {
            limits,
            visible: (!endless).then(VecDeque::new),
            polls: VecDeque::new(),
            allowed: Default::default(),
            counts: Counts::default(),
            in_flight: 0,
        }
    }

    /// How long a call takes.
    pub fn call(&self) -> Spread {
        self.limits.call
    }

    /// Messages are sent. Gives the waiting calls that are answered by them, and how.
    pub fn send(&mut self, now: Nanos, messages: usize) -> Vec<(usize, Answer)> {
        if let Some(visible) = &mut self.visible {
            visible.extend(std::iter::repeat_n(now, messages));
        }
        self.wake(now)
    }

    /// Answers a call.
    pub fn ask(&mut self, now: Nanos, call: usize, ask: Ask) -> Answer {
        self.counts.calls += 1;
        let kind = match ask {
            Ask::Receive { .. } => 0,
            Ask::Delete(_) => 1,
            Ask::Renew(_) => 2,
        };
        if self.limits.calls_a_second.is_some_and(|a_second| !self.allowed[kind].takes(now, a_second)) {
            self.counts.throttled += 1;
            return Answer::Refused;
        }
        match ask {
            Ask::Delete(messages) => {
                self.in_flight -= messages;
                Answer::Done(Vec::new())
            }
            Ask::Renew(_) => Answer::Done(Vec::new()),
            Ask::Receive { most, wait } => {
                let full = self.in_flight >= self.limits.in_flight;
                self.counts.over_limit += u64::from(full);
                match self.given(now, most) {
                    came if !came.is_empty() => Answer::Done(came),
                    // Behind its limit a queue refuses a short poll, and lets a long one wait.
                    came if wait == 0 => {
                        if full {
                            Answer::Refused
                        } else {
                            Answer::Done(came)
                        }
                    }
                    _ => {
                        self.polls.push_back((call, most));
                        Answer::Waits
                    }
                }
            }
        }
    }

    /// Answers the calls that wait, as far as there is something.
    pub fn wake(&mut self, now: Nanos) -> Vec<(usize, Answer)> {
        let mut answered = Vec::new();
        while let Some(&(call, most)) = self.polls.front() {
            let came = self.given(now, most);
            if came.is_empty() {
                break;
            }
            self.polls.pop_front();
            answered.push((call, Answer::Done(came)));
        }
        answered
    }

    /// A call has waited for long enough; says whether it still did.
    pub fn give_up(&mut self, call: usize) -> bool {
        let before = self.polls.len();
        self.polls.retain(|(waiting, _)| *waiting != call);
        self.polls.len() < before
    }

    fn given(&mut self, now: Nanos, most: usize) -> Vec<Nanos> {
        let room = self.limits.in_flight.saturating_sub(self.in_flight).min(most);
        let given: Vec<Nanos> = match &mut self.visible {
            None => vec![now; room],
            Some(visible) => visible.drain(..room.min(visible.len())).collect(),
        };
        self.in_flight += given.len();
        self.counts.most_in_flight = self.counts.most_in_flight.max(self.in_flight);
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::millis;

    const LIMITS: fn(usize, Option<f64>) -> Limits =
        |in_flight, calls_a_second| Limits { in_flight, calls_a_second, call: Spread::always(0) };
    const POLL: Ask = Ask::Receive { most: 10, wait: 0 };
    const LONG_POLL: Ask = Ask::Receive { most: 10, wait: millis(5_000.0) };

    #[test]
    fn past_what_may_be_in_flight_a_short_poll_is_refused_and_a_long_one_waits_for_a_delete() {
        let mut queue = Queue::new(LIMITS(15, None), true);
        assert_eq!(queue.ask(0, 0, POLL), Answer::Done(vec![0; 10]));
        assert_eq!(queue.ask(0, 0, POLL), Answer::Done(vec![0; 5]));
        assert_eq!(queue.ask(0, 0, POLL), Answer::Refused);
        assert_eq!(queue.ask(0, 7, LONG_POLL), Answer::Waits);
        assert_eq!(queue.ask(0, 0, Ask::Delete(3)), Answer::Done(vec![]));
        assert_eq!(queue.wake(9), [(7, Answer::Done(vec![9; 3]))]);
        assert_eq!((queue.counts.over_limit, queue.counts.most_in_flight), (2, 15));
    }

    #[test]
    fn a_long_poll_is_answered_by_the_next_message_and_gives_up_once() {
        let mut queue = Queue::new(LIMITS(15, None), false);
        assert_eq!(queue.ask(0, 1, POLL), Answer::Done(vec![]));
        assert_eq!(queue.ask(0, 1, LONG_POLL), Answer::Waits);
        assert_eq!(queue.ask(0, 2, LONG_POLL), Answer::Waits);
        assert_eq!(queue.send(5, 2), [(1, Answer::Done(vec![5, 5]))]);
        assert!(queue.give_up(2));
        assert!(!queue.give_up(2) && !queue.give_up(1));
    }

    #[test]
    fn more_calls_a_second_than_are_allowed_are_throttled_each_kind_by_itself() {
        let mut queue = Queue::new(LIMITS(1_000_000, Some(300.0)), true);
        let taken = |queue: &mut Queue, ask: fn() -> Ask| {
            let asked = (0..2_000).map(|n| queue.ask(millis(1_000.0 + f64::from(n)), 0, ask()));
            asked.filter(|answer| *answer != Answer::Refused).count()
        };
        let received = taken(&mut queue, || POLL);
        assert!((590..=640).contains(&received), "{received} in two seconds");
        assert_eq!(queue.counts.throttled, 2_000 - received as u64);
    }
}
