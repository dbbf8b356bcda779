//! How long something is away that is asked again and again: the log says since when, at which attempt, and when it is back.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is known of something that may be away. All that ask it share one of these.
#[derive(Debug, Default)]
pub struct Outage(Mutex<Option<Spell>>);

#[derive(Clone, Copy, Debug)]
struct Spell {
    since: Instant,
    attempts: u64,
    told: Option<Instant>,
}

/// How often an outage is told while it lasts, where it is not told at each attempt.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How an outage stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lasted {
    /// Since the first attempt of it failed.
    pub away: Duration,
    /// How many attempts have failed.
    pub attempts: u64,
}

impl Outage {
    /// Notes an attempt that failed, and which began at `begun`.
    pub fn failed(&self, begun: Instant) -> Lasted {
        let mut spell = self.spell();
        let spell = spell.get_or_insert(Spell { since: begun, attempts: 0, told: None });
        spell.attempts += 1;
        spell.lasted()
    }

    /// Notes an attempt that failed, where many are made at once: also says whether to tell it. The first of an outage is told,
    /// and then one a minute.
    pub fn failed_among_many(&self, begun: Instant) -> (Lasted, bool) {
        let lasted = self.failed(begun);
        let is_due = self.spell().as_mut().is_some_and(|spell| spell.is_due(Instant::now()));
        (lasted, is_due)
    }

    /// Notes an attempt that succeeded: where it ends an outage, gives how long that was.
    pub fn ended(&self) -> Option<Lasted> {
        self.spell().take().map(|spell| spell.lasted())
    }

    fn spell(&self) -> MutexGuard<'_, Option<Spell>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spell {
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.told.is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY);
        if is_due {
            self.told = Some(now);
        }
        is_due
    }

    fn lasted(&self) -> Lasted {
        Lasted { away: self.since.elapsed(), attempts: self.attempts }
    }
}

impl std::fmt::Display for Lasted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} s", self.away.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_counted_from_its_first_failure_and_ends_once() {
        let outage = Outage::default();
        assert_eq!(outage.ended(), None, "nothing was away");
        let begun = Instant::now().checked_sub(Duration::from_secs(7)).unwrap();
        assert_eq!(outage.failed(begun).attempts, 1);
        let lasted = outage.failed(Instant::now());
        assert!(lasted.attempts == 2 && lasted.away >= Duration::from_secs(7), "{lasted:?}");
        let ended = outage.ended().unwrap();
        assert!(ended.attempts == 2 && ended.to_string().starts_with("7."), "{ended}");
        assert_eq!(outage.ended(), None, "it is told once");
        assert_eq!(outage.failed(Instant::now()).attempts, 1, "the next is another one");
    }

    #[test]
    fn an_outage_is_told_when_it_begins_and_once_a_minute_and_so_is_the_next() {
        let outage = Outage::default();
        let is_told = || outage.failed_among_many(Instant::now()).1;
        assert_eq!([is_told(), is_told(), is_told()], [true, false, false]);
        assert_eq!(outage.ended().unwrap().attempts, 3);
        assert!(is_told(), "another one");
        let (mut spell, now) = (outage.spell().unwrap(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!([59, 61, 100, 122].map(|seconds| spell.is_due(after(seconds))), [false, true, false, true]);
    }
}
