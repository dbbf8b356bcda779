//! Whether the loader or the relay is alive, and whether it is ready.
//!
//! Alive means that a restart would mend nothing: every lane still moves, whatever it waits for. The database is not asked: while
//! it is away, loaders that are started anew only add to the storm.

use std::time::Duration;

use crate::metrics::{Doing, LaneState, Metrics, Part, Peer, RelayLane};

/// For how long a lane may do one thing before it is taken to be stuck.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    /// One receive, or one gathering.
    pub receiving: Duration,
    /// One attempt at a transaction, from its beginning to its end.
    pub loading: Duration,
    /// One call to the sink.
    pub carrying: Duration,
    /// A pause between two attempts.
    pub pausing: Duration,
}

impl Patience {
    /// For a process with lanes of both kinds.
    #[must_use]
    pub fn or_longer(self, other: Self) -> Self {
        Self {
            receiving: self.receiving.max(other.receiving),
            loading: self.loading.max(other.loading),
            carrying: self.carrying.max(other.carrying),
            pausing: self.pausing.max(other.pausing),
        }
    }
}

/// What the probes know besides the figures.
#[derive(Clone, Debug)]
pub struct Health {
    /// When a lane is stuck.
    pub patience: Patience,
    /// For how long database, queue and sink may be away.
    pub away_within: Duration,
}

/// One thing that a probe looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it is called.
    pub name: &'static str,
    /// What is wrong, where something is.
    pub failure: Option<String>,
    /// What is to be known although nothing is wrong.
    pub note: Option<String>,
}

impl Check {
    fn of(name: &'static str, failure: Option<String>) -> Self {
        Self { name, failure, note: None }
    }

    fn well(name: &'static str, note: Option<String>) -> Self {
        Self { name, failure: None, note }
    }
}

impl Health {
    /// Whether every lane still moves.
    pub fn live(&self, metrics: &Metrics) -> Vec<Check> {
        let stuck = metrics.lanes().into_iter().find_map(|(doing, since)| {
            let (for_long, limit) = (since.elapsed(), self.limit(doing)?);
            (for_long > limit).then(|| format!("a lane is {} for {} s", doing.in_words(), for_long.as_secs()))
        });
        vec![Check::of("lanes", stuck)]
    }

    /// Whether the loader loads, or would if there were something to load; and the same of a relay.
    pub fn ready(&self, metrics: &Metrics) -> Vec<Check> {
        let figures = metrics.snapshot();
        let (work, is_draining) = (&figures.work, figures.draining.get(()).is_some_and(|draining| draining > 0.0));
        let for_too_long = |away: Option<f64>| {
            let away = away.filter(|away| *away > self.away_within.as_secs_f64())?;
            Some(format!("away for {away:.0} s"))
        };
        let mut checks = vec![
            Check::of("draining", is_draining.then(|| format!("the {} is ending", work.word()))),
            Check::of("database", for_too_long(figures.away(Peer::Database))),
        ];
        if work.has(Part::Loader) || work.has(Part::Relay) {
            let none = metrics.lanes().is_empty().then(|| "no lane is at work".to_owned());
            checks.insert(1, Check::of("lanes", none));
        }
        if work.has(Part::Loader) {
            checks.push(Check::of("queue", for_too_long(figures.away(Peer::Queue))));
            let storm =
                |lasting| format!("too many messages have not been logins for {lasting:.0} s, and few are taken");
            checks.push(Check::of("storm", figures.storm().map(storm)));
            let full =
                |lasting| format!("without room (--dead-letter-quota) for {lasting:.0} s, and few messages are taken");
            checks.push(Check::of("dead letters", figures.dead_letters_full().map(full)));
            // Somebody wants it so: it is healthy, and goes on once it is resumed.
            let pause = |lasting| format!("paused by an operator for {lasting:.0} s, and nothing is received");
            checks.push(Check::well("receiving", figures.pause().map(pause)));
        }
        // A loader that is a relay besides goes on loading while the sink is away.
        if work.has(Part::Relay) && !work.has(Part::Loader) {
            checks.push(Check::of("sink", for_too_long(figures.sink_away())));
        }
        checks
    }

    /// For how long a lane may be so; as long as it likes where nothing is given.
    fn limit(&self, doing: Doing) -> Option<Duration> {
        let patience = match doing {
            // It waits for its turn: whether the others move is what counts.
            Doing::Load(LaneState::Resting) | Doing::Relay(RelayLane::Resting) => return None,
            Doing::Load(LaneState::Receiving) => self.patience.receiving,
            Doing::Load(LaneState::Loading) | Doing::Relay(RelayLane::Noting) => self.patience.loading,
            Doing::Relay(RelayLane::Carrying) => self.patience.carrying,
            Doing::Load(LaneState::WaitingForDatabase | LaneState::WaitingForQueue)
            | Doing::Relay(RelayLane::WaitingForDatabase | RelayLane::WaitingForSink) => self.patience.pausing,
        };
        Some(3 * patience)
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::metrics::{Work, unix_seconds};
    use crate::outage::Lasted;

    fn health(limit: Duration) -> Health {
        let patience = Patience { receiving: limit, loading: limit, carrying: limit, pausing: limit };
        Health { patience, away_within: Duration::from_secs(30) }
    }

    fn failures(checks: Vec<Check>) -> Vec<&'static str> {
        checks.into_iter().filter(|check| check.failure.is_some()).map(|check| check.name).collect()
    }

    #[test]
    fn a_lane_that_does_one_thing_for_too_long_is_stuck_and_one_that_rests_is_not() {
        let metrics = Metrics::default();
        let lane = metrics.lane();
        let impatient = health(Duration::ZERO);
        assert_eq!(failures(impatient.live(&metrics)), [""; 0]);
        for doing in [LaneState::Receiving, LaneState::Loading, LaneState::WaitingForDatabase] {
            lane.is(doing);
            assert_eq!(failures(impatient.live(&metrics)), ["lanes"], "{doing:?}");
            assert_eq!(failures(health(Duration::from_secs(60)).live(&metrics)), [""; 0], "{doing:?}");
        }
    }

    #[test]
    fn a_loader_is_not_ready_while_it_ends_or_a_peer_has_been_away_for_long_and_is_alive_all_the_same() {
        let metrics = Metrics::default();
        let health = health(Duration::from_secs(60));
        assert_eq!(failures(health.ready(&metrics)), ["lanes"], "nothing has begun");
        let _lane = metrics.lane();
        assert_eq!(failures(health.ready(&metrics)), [""; 0]);
        for (seconds, failing) in [(10, &[][..]), (60, &["database"][..])] {
            let lasting = Lasted { away: Duration::from_secs(seconds), attempts: 1 };
            metrics.count(|figures| figures.unanswered(Peer::Database, lasting));
            assert_eq!(failures(health.ready(&metrics)), failing, "{seconds} s");
        }
        metrics.count(|figures| figures.answered(Peer::Database));
        metrics.count(|figures| figures.draining.set((), 1));
        assert_eq!(failures(health.ready(&metrics)), ["draining"]);
        assert_eq!(failures(health.live(&metrics)), [""; 0]);
    }

    #[test]
    fn a_loader_that_takes_few_because_too_many_are_rejected_is_not_ready_and_is_alive() {
        let (metrics, health) = (Metrics::default(), health(Duration::from_secs(60)));
        let _lane = metrics.lane();
        metrics.count(|figures| figures.storm_since.set((), unix_seconds(OffsetDateTime::now_utc())));
        assert_eq!(failures(health.ready(&metrics)), ["storm"]);
        assert_eq!(failures(health.live(&metrics)), [""; 0]);
        metrics.count(|figures| figures.storm_since.clear(()));
        assert_eq!(failures(health.ready(&metrics)), [""; 0]);
    }

    #[test]
    fn a_loader_that_an_operator_has_paused_is_alive_and_ready_and_says_it() {
        let (metrics, health) = (Metrics::default(), health(Duration::from_secs(60)));
        let _lane = metrics.lane();
        let note = |metrics: &Metrics| health.ready(metrics).into_iter().find_map(|check| check.note);
        assert_eq!(note(&metrics), None);
        metrics.count(|figures| figures.paused_since.set((), unix_seconds(OffsetDateTime::now_utc())));
        assert_eq!((failures(health.ready(&metrics)), failures(health.live(&metrics))), (vec![], vec![]));
        assert!(note(&metrics).unwrap().starts_with("paused by an operator for"));
    }

    #[test]
    fn a_relay_is_asked_for_its_sink_and_not_for_a_queue_that_it_does_not_have() {
        let metrics = Metrics::of(Work::relaying("warehouse"));
        let lane = metrics.lane_of_relay();
        let health = health(Duration::ZERO);
        assert!(health.ready(&metrics).iter().map(|check| check.name).eq(["draining", "lanes", "database", "sink"]));
        let lasting = Lasted { away: Duration::from_secs(31), attempts: 9 };
        metrics.count(|figures| figures.sink_is_away(lasting));
        assert_eq!(failures(health.ready(&metrics)), ["sink"]);
        assert_eq!(failures(health.live(&metrics)), [""; 0]);
        metrics.count(|figures| figures.sink_takes());
        assert_eq!(failures(health.ready(&metrics)), [""; 0]);
        for doing in [RelayLane::Noting, RelayLane::Carrying, RelayLane::WaitingForDatabase, RelayLane::WaitingForSink]
        {
            lane.is(doing);
            assert_eq!(failures(health.live(&metrics)), ["lanes"], "{doing:?}");
        }
    }
}
