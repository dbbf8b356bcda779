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
}

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
        let spell = spell.get_or_insert(Spell { since: begun, attempts: 0 });
        spell.attempts += 1;
        spell.lasted()
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
}
