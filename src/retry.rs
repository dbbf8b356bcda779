//! What a failure means for the messages in hand, which the core decides, and how long to wait until the next attempt, for
//! which chance is needed and a clock.

use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
pub use turnstile_core::retry::*;

/// Growing pauses between attempts at the same thing: exponential, with jitter, without end.
#[derive(Debug)]
pub struct Pauses(ExponentialBackoff);

impl Pauses {
    /// Pauses that start around `first`, double, and stay around `longest`; each is drawn from ±50 % of its length,
    /// so that many loaders do not come back as one.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self(
            ExponentialBackoffBuilder::new()
                .with_initial_interval(first)
                .with_max_interval(longest)
                .with_multiplier(2.0)
                .with_randomization_factor(0.5)
                .with_max_elapsed_time(None)
                .build(),
        )
    }

    /// Pauses for what may be away for a while: from a tenth of a second to ten.
    pub fn through_an_outage() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(10))
    }

    /// How long to wait before the next attempt.
    pub fn next_pause(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(self.0.max_interval)
    }

    /// The same, counted from the beginning of the attempt that failed after `taken`: one that waited for its deadline
    /// has paused enough, and whatever is back by then is used at once.
    pub fn next_pause_after(&mut self, taken: Duration) -> Duration {
        self.next_pause().saturating_sub(taken)
    }

    /// Starts again from the first length, after a success.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_start_again_after_a_success() {
        let mut pauses = Pauses::new(Duration::from_millis(100), Duration::from_secs(2));
        let drawn: Vec<Duration> = (0..20).map(|_| pauses.next_pause()).collect();
        for (n, pause) in drawn.iter().enumerate() {
            let middle = Duration::from_millis(100 << n.min(10)).min(Duration::from_secs(2));
            assert!(*pause >= middle / 2 && *pause <= middle * 3 / 2 + Duration::from_millis(1), "{n}: {pause:?}");
        }
        pauses.reset();
        assert!(pauses.next_pause() <= Duration::from_millis(151));
    }

    #[test]
    fn an_attempt_that_took_longer_than_its_pause_is_followed_at_once() {
        let mut pauses = Pauses::new(Duration::from_secs(4), Duration::from_secs(4));
        assert_eq!(pauses.next_pause_after(Duration::from_secs(7)), Duration::ZERO);
        let rest = pauses.next_pause_after(Duration::from_secs(1));
        assert!(
            rest >= Duration::from_secs(1) && rest <= Duration::from_secs(5) + Duration::from_millis(1),
            "{rest:?}"
        );
    }
}
