//! The line that says what was done: short for people, whole for programs. A process that loads and carries events on has two.

mod of_relay;

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::IS_JSON;
use crate::metrics::{Deletion, Ended, Metrics, Nth, Outcome, Part, Peer, Snapshot};

/// What a process has done since its start, and in a stretch of time.
pub struct Report {
    whole: Snapshot,
    stretch: Snapshot,
    over: Duration,
}

impl Report {
    /// What was done between two snapshots, and until the second.
    pub fn between(before: &Snapshot, now: &Snapshot) -> Self {
        let over = (now.taken_at - before.taken_at).unsigned_abs();
        Self { whole: now.clone(), stretch: now.since(before), over }
    }

    /// Writes such a line again and again, each of what was done since the last.
    pub async fn keep_logging(metrics: &Metrics, every: Duration) -> Infallible {
        let mut before = metrics.snapshot();
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = metrics.snapshot();
            Self::between(&before, &now).log("so far");
            before = now;
        }
    }

    /// Writes the line. On a terminal it says each figure once; as JSON it has all of them.
    pub fn log(&self, what: &str) {
        if !IS_JSON.get().copied().unwrap_or_default() {
            tracing::info!("{what}: {self}");
            return;
        }
        if self.whole.work.has(Part::Loader) {
            self.log_fields(what);
        }
        if self.whole.work.has(Part::Relay) {
            self.log_fields_of_relay(what);
        }
    }

    fn log_fields(&self, what: &str) {
        let ended = |outcome| self.whole.messages.get((outcome,));
        let committed = self.whole.transactions.get((Ended::Committed,));
        tracing::info!(
            seconds = round(self.over.as_secs_f64()),
            loaded_per_second = round(self.per_second()),
            p50_ms = self.lag(0.5).map(milliseconds),
            p99_ms = self.lag(0.99).map(milliseconds),
            received = self.whole.received.total(),
            loaded = ended(Outcome::Loaded),
            dead_lettered = ended(Outcome::DeadLettered),
            absorbed = ended(Outcome::Absorbed),
            contradicting = ended(Outcome::Contradicting),
            returned = ended(Outcome::Returned),
            released = ended(Outcome::Released),
            damaged = ended(Outcome::Damaged),
            in_hand = self.in_hand(),
            not_deleted = self.whole.deletes.get((Deletion::NotDeleted,)),
            unknown_keys = self.whole.unknown_keys.total(),
            transactions = committed,
            attempts_repeated = self.whole.transactions.total() - committed,
            database_away_s = self.whole.away(Peer::Database).map(round),
            queue_away_s = self.whole.away(Peer::Queue).map(round),
            storm_s = self.whole.storm().map(round),
            dead_letters_full_s = self.whole.dead_letters_full().map(round),
            paused_s = self.whole.pause().map(round),
            "{what}"
        );
    }

    /// Logins loaded a second, in the stretch.
    pub fn per_second(&self) -> f64 {
        self.rate(self.stretch.messages.get((Outcome::Loaded,)))
    }

    /// Deliveries that came a second, in the stretch.
    pub fn received_per_second(&self) -> f64 {
        self.rate(self.stretch.received.total())
    }

    fn rate(&self, count: u64) -> f64 {
        count as f64 / self.over.as_secs_f64().max(0.001)
    }

    /// How late the logins of the stretch were that this share of the first deliveries did not exceed, in seconds.
    pub fn lag(&self, share: f64) -> Option<f64> {
        self.stretch.lag.get((Nth::First,))?.quantile(share)
    }

    fn in_hand(&self) -> u64 {
        self.whole.in_hand.get(()).unwrap_or_default() as u64
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.whole.work.has(Part::Loader) {
            self.write_of_loader(f)?;
        }
        if self.whole.work.has(Part::Relay) {
            f.write_str(if self.whole.work.has(Part::Loader) { "; on to the sink: " } else { "" })?;
            self.write_of_relay(f)?;
        }
        self.write_away(f, Peer::Database, "database")
    }
}

impl Report {
    fn write_of_loader(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lag(0.99) {
            Some(p99) => write!(f, "{:.0}/s, p99 {:.1} s", self.per_second(), p99)?,
            None => f.write_str("nothing came in")?,
        }
        let ended = |outcome| self.whole.messages.get((outcome,));
        let dead = ended(Outcome::DeadLettered) + ended(Outcome::Contradicting);
        write!(f, "; {} loaded, {dead} dead, {} in hand", ended(Outcome::Loaded), self.in_hand())?;
        if let Some(lasting) = self.whole.storm() {
            write!(f, "; too many rejections for {lasting:.0} s")?;
        }
        if let Some(lasting) = self.whole.dead_letters_full() {
            write!(f, "; no room for dead letters for {lasting:.0} s")?;
        }
        if let Some(lasting) = self.whole.pause() {
            write!(f, "; paused for {lasting:.0} s")?;
        }
        self.write_away(f, Peer::Queue, "queue")
    }

    fn write_away(&self, f: &mut fmt::Formatter<'_>, peer: Peer, name: &str) -> fmt::Result {
        match self.whole.away(peer) {
            Some(away) => write!(f, "; {name} away {away:.0} s"),
            None => Ok(()),
        }
    }
}

fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1_000.0).round() as u64
}

/// To a tenth.
fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Metrics, unix_seconds};
    use crate::outage::Lasted;

    #[test]
    fn the_line_fits_a_terminal_and_shows_no_latency_where_nothing_was_loaded() {
        let metrics = Metrics::default();
        let before = metrics.snapshot();
        let idle = Report::between(&before, &metrics.snapshot());
        assert_eq!(idle.to_string(), "nothing came in; 0 loaded, 0 dead, 0 in hand");
        metrics.count(|figures| {
            figures.messages.add((Outcome::Loaded,), 12_345_678);
            figures.messages.add((Outcome::DeadLettered,), 4_321);
            figures.lag.observe((Nth::First,), 3.2);
        });
        let holding = metrics.hold(12_345, 0, |_| ());
        let lasting = Lasted { away: Duration::from_secs(3_600), attempts: 400 };
        metrics.count(|figures| figures.unanswered(Peer::Database, lasting));
        let busy = Report::between(&before, &metrics.snapshot()).to_string();
        assert!(busy.ends_with("12345678 loaded, 4321 dead, 12345 in hand; database away 3600 s"), "{busy}");
        // What stands before it: the time, the level and "so far: ".
        let before_it = "2026-11-26T06:05:28.123456Z  INFO so far: ".len();
        assert!(before_it + "675/s, p99 3.2 s; 12345678 loaded, 4321 dead, 12345 in hand".len() <= 102, "{busy}");
        drop(holding);
    }

    #[test]
    fn the_line_says_for_how_long_too_many_messages_have_been_rejected() {
        let metrics = Metrics::default();
        let before = metrics.snapshot();
        let since = unix_seconds(before.taken_at) - 90.0;
        metrics.count(|figures| figures.storm_since.set((), since));
        let line = Report::between(&before, &metrics.snapshot()).to_string();
        assert!(line.ends_with("0 in hand; too many rejections for 90 s"), "{line}");
    }
}
