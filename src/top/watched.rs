//! A loader that is watched: what it said last, and since when it is silent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::asking::Answer;
use super::{INTERVAL, Moment, OLD, WINDOW};
use crate::metrics::{Build, Snapshot};

/// A loader, and what is known of it.
#[derive(Debug)]
pub struct Watched {
    /// What it is called.
    pub name: String,
    /// Its snapshots of the window, none from before a restart, and when each came.
    seen: VecDeque<(Instant, Snapshot)>,
    answered_at: Option<Instant>,
    /// Why it did not answer when it was last asked.
    error: Option<String>,
    build: Option<Build>,
    restarted_at: Option<Instant>,
}

/// Whether what is known of a loader is of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was asked, and has not had the time to answer.
    Asked,
    /// It answers, and its figures move.
    Live,
    /// It does not answer.
    Away {
        /// How long ago it last did; nothing if it never has.
        answered: Option<Duration>,
        /// Why.
        why: String,
    },
    /// It answers, but with figures that were read so long ago.
    Frozen(Duration),
}

/// What came in a stretch of time.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// What came; gauges are as they are now.
    pub figures: Snapshot,
    /// In how long.
    pub over: Duration,
}

impl Watched {
    /// A loader of which nothing is known yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            seen: VecDeque::new(),
            answered_at: None,
            error: None,
            build: None,
            restarted_at: None,
        }
    }

    /// Takes an answer.
    pub fn hear(&mut self, answer: Answer, at: Instant) {
        match answer {
            Ok((snapshot, build)) => {
                (self.answered_at, self.error, self.build) = (Some(at), None, Some(build));
                self.see(snapshot, at);
            }
            Err(error) => self.error = Some(error),
        }
    }

    fn see(&mut self, snapshot: Snapshot, at: Instant) {
        if let Some((_, before)) = self.seen.back() {
            if snapshot.continues(before) && snapshot.taken_at == before.taken_at {
                // The same figures again: they are as old as they were.
                return;
            }
            if !snapshot.continues(before) {
                self.restarted_at = Some(at);
                self.seen.clear();
            } else if snapshot.taken_at < before.taken_at {
                // Its clock was set back: no time can be measured across that.
                self.seen.clear();
            }
        }
        let is_too_old = |then: Instant| at.saturating_duration_since(then) > WINDOW + INTERVAL / 2;
        while self.seen.front().is_some_and(|(then, _)| is_too_old(*then)) {
            self.seen.pop_front();
        }
        self.seen.push_back((at, snapshot));
    }

    /// Whether what is known of it is of now.
    pub fn standing(&self, now: Moment) -> Standing {
        let answered = self.answered_at.map(|at| now.since(at));
        if let Some(why) = self.error.clone() {
            return Standing::Away { answered, why };
        }
        match (answered, self.age(now)) {
            (Some(answered), _) if answered >= OLD => {
                Standing::Away { answered: Some(answered), why: "no answer yet".to_owned() }
            }
            (Some(_), Some(age)) if age >= OLD => Standing::Frozen(age),
            (Some(_), Some(_)) => Standing::Live,
            (_, _) => Standing::Asked,
        }
    }

    /// Its last figures, however old.
    pub fn last(&self) -> Option<&Snapshot> {
        self.seen.back().map(|(_, snapshot)| snapshot)
    }

    /// How old its last figures are.
    pub fn age(&self, now: Moment) -> Option<Duration> {
        self.seen.back().map(|(at, _)| now.since(*at))
    }

    /// What it was built from.
    pub fn build(&self) -> Option<&Build> {
        self.build.as_ref()
    }

    /// How long ago it was seen to have been restarted.
    pub fn restarted(&self, now: Moment) -> Option<Duration> {
        self.restarted_at.map(|at| now.since(at))
    }

    /// What came in the window until now. Nothing unless it is live and was seen twice.
    pub fn stretch(&self, now: Moment) -> Option<Stretch> {
        self.stretch_of(now, WINDOW + INTERVAL)
    }

    /// The same over a shorter window, as far as there are figures from its beginning.
    pub fn stretch_of(&self, now: Moment, window: Duration) -> Option<Stretch> {
        if self.standing(now) != Standing::Live {
            return None;
        }
        let (at, last) = self.seen.back()?;
        let is_within = |(then, _): &&(Instant, Snapshot)| at.saturating_duration_since(*then) <= window + INTERVAL / 2;
        let (_, before) = self.seen.iter().find(is_within)?;
        let over = Duration::try_from(last.taken_at - before.taken_at).ok().filter(|over| !over.is_zero())?;
        Some(Stretch { figures: last.since(before), over })
    }
}

impl Stretch {
    /// How often a second something happened that was counted so many times.
    pub fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.over.as_secs_f64()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::metrics::{Metrics, unix_seconds};

    pub(in crate::top) fn moment() -> Moment {
        Moment { at: Instant::now(), clock: OffsetDateTime::from_unix_timestamp(1_795_685_467).unwrap() }
    }

    impl Moment {
        pub(in crate::top) fn plus(self, seconds: f64) -> Self {
            let later = Duration::from_secs_f64(seconds);
            Self { at: self.at + later, clock: self.clock + later }
        }
    }

    pub(in crate::top) fn build() -> Build {
        let [version, revision, mask, identity] = ["0.1.0", "b6c2f76", "keyed", "message-id"].map(str::to_owned);
        Build { version, revision, mask, identity }
    }

    /// What a loader that started then shows at `now`: read from its page, as top does.
    pub(in crate::top) fn shown(started: Moment, now: Moment, count: impl FnOnce(&mut Snapshot)) -> Answer {
        shown_by(&Metrics::default(), started, now, count)
    }

    /// The same of any process.
    pub(in crate::top) fn shown_by(
        metrics: &Metrics,
        started: Moment,
        now: Moment,
        count: impl FnOnce(&mut Snapshot),
    ) -> Answer {
        let mut snapshot = metrics.snapshot();
        snapshot.started_at.set((), unix_seconds(started.clock));
        count(&mut snapshot);
        snapshot.read_at.set((), unix_seconds(now.clock));
        Ok(Snapshot::read(&snapshot.exposition(&build()).unwrap()).unwrap())
    }

    fn seen_at(watched: &mut Watched, started: Moment, now: Moment, received: u64) {
        watched.hear(shown(started, now, |figures| figures.received.add((), received)), now.at);
    }

    fn rate(watched: &Watched, now: Moment) -> Option<f64> {
        watched.stretch(now).map(|stretch| stretch.per_second(stretch.figures.received.total()).round())
    }

    #[test]
    fn a_rate_is_of_the_last_ten_seconds_and_needs_two_answers() {
        let (start, mut watched) = (moment(), Watched::new("a"));
        assert_eq!((watched.standing(start), rate(&watched, start)), (Standing::Asked, None));
        for second in 0..=30u32 {
            let now = start.plus(f64::from(second));
            // Ten a second at first, then a hundred.
            let received = if second <= 20 { 10 * second } else { 200 + 100 * (second - 20) };
            seen_at(&mut watched, start, now, u64::from(received));
            let expected = match second {
                0 => None,
                1..=20 => Some(10.0),
                _ => Some(f64::from(10 * (30 - second) + 100 * (second - 20)) / 10.0),
            };
            assert_eq!(rate(&watched, now), expected, "after {second} s");
            assert_eq!(watched.standing(now), Standing::Live);
        }
    }

    #[test]
    fn a_loader_that_was_restarted_has_no_rate_until_it_was_seen_twice_and_never_a_negative_one() {
        let (start, mut watched) = (moment(), Watched::new("a"));
        seen_at(&mut watched, start, start.plus(100.0), 5_000);
        seen_at(&mut watched, start, start.plus(101.0), 5_100);
        assert_eq!(rate(&watched, start.plus(101.0)), Some(100.0));
        let restarted = start.plus(101.5);
        seen_at(&mut watched, restarted, start.plus(102.0), 5_150);
        assert_eq!(rate(&watched, start.plus(102.0)), None, "it has counted more, but it is another process");
        assert_eq!(watched.restarted(start.plus(104.0)), Some(Duration::from_secs(2)));
        seen_at(&mut watched, restarted, start.plus(103.0), 5_157);
        assert_eq!(rate(&watched, start.plus(103.0)), Some(7.0));
        seen_at(&mut watched, restarted, start.plus(104.0), 3);
        assert_eq!(rate(&watched, start.plus(104.0)), None, "a count has fallen, whatever it says of its start");
    }

    #[test]
    fn a_loader_that_fails_to_answer_is_away_at_once_and_one_that_is_slow_when_its_figures_are_old() {
        let (start, mut watched) = (moment(), Watched::new("a"));
        watched.hear(Err("Connection refused".to_owned()), start.at);
        let away = |answered, why: &str| Standing::Away { answered, why: why.to_owned() };
        assert_eq!(watched.standing(start.plus(5.0)), away(None, "Connection refused"));
        for second in 0..2 {
            seen_at(&mut watched, start, start.plus(f64::from(second)), 10);
        }
        assert_eq!(watched.standing(start.plus(3.9)), Standing::Live);
        assert_eq!(watched.standing(start.plus(4.0)), away(Some(Duration::from_secs(3)), "no answer yet"));
        assert_eq!(rate(&watched, start.plus(4.0)), None);
        watched.hear(Err("reset".to_owned()), start.plus(2.0).at);
        assert_eq!(watched.standing(start.plus(2.0)), away(Some(Duration::from_secs(1)), "reset"));
        seen_at(&mut watched, start, start.plus(60.0), 400);
        assert_eq!(rate(&watched, start.plus(60.0)), None, "no rate spans a long silence");
        assert_eq!(watched.standing(start.plus(60.0)), Standing::Live);
    }

    #[test]
    fn figures_that_stand_still_are_frozen_though_they_are_answered() {
        let (start, mut watched) = (moment(), Watched::new("a"));
        for second in 0..=4 {
            let now = start.plus(f64::from(second));
            watched.hear(shown(start, start.plus(0.5), |figures| figures.received.add((), 10)), now.at);
        }
        assert_eq!(watched.standing(start.plus(4.0)), Standing::Frozen(Duration::from_secs(4)));
        assert_eq!(rate(&watched, start.plus(4.0)), None);
        seen_at(&mut watched, start, start.plus(5.0), 10);
        assert_eq!((watched.standing(start.plus(5.0)), rate(&watched, start.plus(5.0))), (Standing::Live, Some(0.0)));
    }
}
