//! What a relay has done: what it carried, what is left, and how its sink is.

use std::fmt;

use super::{Report, milliseconds, round};
use crate::metrics::{Carriage, Peer, Standing, TakenUp, unix_seconds};

impl Report {
    /// `120/s, p99 0.1 s; 4711 carried, 0 refused, 0 set aside; backlog 7, oldest 2 s; sink away 40 s`.
    pub(super) fn write_of_relay(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.delay(0.99) {
            Some(p99) => write!(f, "{:.0}/s, p99 {p99:.1} s", self.carried_per_second())?,
            None => f.write_str("nothing carried")?,
        }
        let ended = |how| self.whole.relay_events.get((how,));
        write!(f, "; {} carried, {} refused", ended(Carriage::Carried), ended(Carriage::Refused))?;
        if let Some(set_aside) = self.set_aside().filter(|events| *events > 0.0) {
            write!(f, ", {set_aside} set aside")?;
        }
        match self.whole.relay_backlog.get(()) {
            Some(backlog) => write!(f, "; backlog {backlog}")?,
            None => f.write_str("; backlog unknown")?,
        }
        if let Some(oldest) = self.oldest() {
            write!(f, ", oldest {oldest:.0} s")?;
        }
        if let Some(age) = self.unobserved() {
            write!(f, ", {age:.0} s ago")?;
        }
        match self.whole.sink_away() {
            Some(away) => write!(f, "; sink away {away:.0} s"),
            None => Ok(()),
        }
    }

    pub(super) fn log_fields_of_relay(&self, what: &str) {
        let ended = |how| self.whole.relay_events.get((how,));
        let events = |gauge: Option<f64>| gauge.map(|events| events as i64);
        tracing::info!(
            sink = self.whole.work.relays_to.as_deref(),
            seconds = round(self.over.as_secs_f64()),
            carried_per_second = round(self.carried_per_second()),
            p50_ms = self.delay(0.5).map(milliseconds),
            p99_ms = self.delay(0.99).map(milliseconds),
            taken_up = self.whole.relay_taken_up.total(),
            taken_over = self.whole.relay_taken_up.get((TakenUp::TakenOver,)),
            carried = ended(Carriage::Carried),
            refused = ended(Carriage::Refused),
            left = ended(Carriage::Left),
            in_hand = events(self.whole.relay_in_hand.get(())),
            set_aside = events(self.set_aside()),
            backlog = events(self.whole.relay_backlog.get(())),
            oldest_s = self.oldest().map(round),
            old_gaps = events(self.whole.relay_old_gaps.get(())),
            database_away_s = self.whole.away(Peer::Database).map(round),
            sink_away_s = self.whole.sink_away().map(round),
            "{what}"
        );
    }

    fn carried_per_second(&self) -> f64 {
        self.stretch.relay_events.get((Carriage::Carried,)) as f64 / self.over.as_secs_f64().max(0.001)
    }

    /// How late the events were that this share of those that were carried did not exceed.
    fn delay(&self, share: f64) -> Option<f64> {
        self.stretch.relay_delay.get(())?.quantile(share)
    }

    fn set_aside(&self) -> Option<f64> {
        self.whole.relay_failures.get((Standing::SetAside,))
    }

    /// How old the oldest event was that was not carried when the database said so: it may be carried by now.
    fn oldest(&self) -> Option<f64> {
        Some((self.whole.relay_observed_at.get(())? - self.whole.relay_oldest.get(())?).max(0.0))
    }

    /// How old the database's word is, where it is old.
    fn unobserved(&self) -> Option<f64> {
        let age = unix_seconds(self.whole.taken_at) - self.whole.relay_observed_at.get(())?;
        (age > OLD).then_some(age)
    }
}

/// From what age on, in seconds, the database's word is told to be old: it is asked every 15 s.
const OLD: f64 = 60.0;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::{Metrics, Work};
    use crate::outage::Lasted;

    #[test]
    fn the_line_of_a_relay_says_what_it_carried_what_is_left_and_how_its_sink_is() {
        let metrics = Metrics::of(Work::relaying("warehouse"));
        let before = metrics.snapshot();
        let line = || Report::between(&before, &metrics.snapshot()).to_string();
        assert_eq!(line(), "nothing carried; 0 carried, 0 refused; backlog unknown");
        metrics.count(|figures| {
            figures.settle_events(Carriage::Carried, 12);
            figures.relay_delay.observe((), 0.9);
            figures.relay_backlog.set((), 7);
            figures.relay_failures.set((Standing::SetAside,), 2);
            figures.relay_oldest.set((), unix_seconds(figures.taken_at) - 190.0);
            figures.relay_observed_at.set((), unix_seconds(figures.taken_at) - 100.0);
            let lasting = Lasted { away: Duration::from_secs(40), attempts: 9 };
            figures.sink_is_away(lasting);
            figures.unanswered(Peer::Database, lasting);
        });
        let said = line();
        let expected = "p99 0.9 s; 12 carried, 0 refused, 2 set aside; backlog 7, oldest 90 s, 100 s ago; sink away 40 s; \
                        database away 40 s";
        assert!(said.ends_with(expected), "{said}");
    }

    #[test]
    fn a_process_that_does_both_says_both() {
        let metrics = Metrics::of(Work::loading().and_relaying("warehouse"));
        let both = Report::between(&metrics.snapshot(), &metrics.snapshot()).to_string();
        let expected = "nothing came in; 0 loaded, 0 dead, 0 in hand; on to the sink: nothing carried; 0 carried, 0 refused; \
                        backlog unknown";
        assert_eq!(both, expected);
    }
}
