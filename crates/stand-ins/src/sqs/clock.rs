//! Time as the queue's rules see it: a value that the caller hands in, so that no rule waits and no test sleeps.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point in time, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// The moment this many milliseconds after the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch, as SQS writes a message's timestamps.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, as SQS writes a queue's timestamps.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// The moment this much later; the end of time where that overflows.
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero where it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// The running server's clock: wall time at its start, monotonic from there, so that a clock set back
/// neither hides nor revives a message.
pub(super) struct Clock {
    started: Instant,
    started_at: Moment,
}

impl Clock {
    pub(super) fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), started_at: Moment::default().after(since_epoch) }
    }

    pub(super) fn now(&self) -> Moment {
        self.started_at.after(self.started.elapsed())
    }
}
