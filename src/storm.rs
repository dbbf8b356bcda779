//! Whether so many messages are not logins that taking more of them would only make dead letters.
//!
//! ```text
//!          more than the greatest share of the last messages is rejected
//!   calm ───────────────────────────────────────────────────────────────▶ storm
//!        ◀───────────────────────────────────────────────────────────────
//!          no more than that share of the last messages of probes is
//! ```
//!
//! In a storm nothing is received but probes: a few messages now and then. A pure state machine, to which the time is given.

mod quota;

use std::collections::{BTreeMap, VecDeque};
use std::str::FromStr;
use std::time::{Duration, Instant};

pub use self::quota::{Quota, Room};

/// The greatest share of rejections that is borne (`--max-rejection-rate`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxRejectionRate {
    /// So many messages in a hundred.
    Percent(u8),
    /// Any.
    Off,
}

impl MaxRejectionRate {
    /// When a storm begins and ends; nothing where none ever does.
    pub fn limits(self) -> Option<Limits> {
        match self {
            Self::Percent(percent) => Some(Limits::above(percent)),
            Self::Off => None,
        }
    }
}

/// A text does not say which share is borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is neither a share from 1% to 100% nor off")]
pub struct NoRate;

impl FromStr for MaxRejectionRate {
    type Err = NoRate;

    fn from_str(text: &str) -> Result<Self, NoRate> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let percent = text.strip_suffix('%').unwrap_or(text).trim_end().parse().map_err(|_| NoRate)?;
        if (1..=100).contains(&percent) { Ok(Self::Percent(percent)) } else { Err(NoRate) }
    }
}

/// When a storm begins and ends, and what is tried meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The greatest share of rejections that is borne, in a hundred.
    pub max_percent: u8,
    /// How many of the last messages are looked at.
    pub window: usize,
    /// How many of them there must be before a storm can begin: three bad messages in a quiet queue are none.
    pub least: usize,
    /// How many messages a probe takes at most.
    pub probe: usize,
    /// How many of the last messages of probes decide whether it is over.
    pub calm_after: usize,
    /// The first and the longest pause between two probes.
    pub pauses: (Duration, Duration),
    /// How long a rejected message is hidden that is met in a storm, so that the next probe takes others.
    pub hidden_for: Duration,
}

impl Limits {
    /// A storm begins above this share. A probe of ten messages every half minute touches twenty messages a minute at most.
    pub fn above(max_percent: u8) -> Self {
        Self {
            max_percent,
            window: 1_000,
            least: 200,
            probe: 10,
            calm_after: 20,
            pauses: (Duration::from_secs(1), Duration::from_secs(30)),
            hidden_for: Duration::from_secs(15 * 60),
        }
    }

    fn bears(&self, rejected: usize, judged: usize) -> bool {
        100 * rejected <= usize::from(self.max_percent) * judged
    }
}

/// What is known of a message that was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Why it is not a login; nothing where it is one.
    pub rejected: Option<&'static str>,
    /// Whether this was its first delivery.
    pub is_first: bool,
}

/// What may be received now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// As much as there is.
    All,
    /// A few messages, once: it is a storm.
    Probe,
    /// Nothing for so long: it is a storm.
    Nothing(Duration),
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A storm has begun.
    Begun {
        /// How many of the last messages were rejected.
        rejected: usize,
        /// Of how many.
        of: usize,
        /// The most frequent reason.
        mostly: &'static str,
    },
    /// It is over.
    Over {
        /// How long it lasted.
        lasted: Duration,
    },
}

/// Knows whether there is a storm.
#[derive(Debug)]
pub struct Storm {
    limits: Limits,
    last: Last,
    raging: Option<Raging>,
}

/// A storm that is not over.
#[derive(Debug)]
struct Raging {
    since: Instant,
    next_probe: Instant,
    pause: Duration,
    probed: Last,
}

impl Storm {
    /// None yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, last: Last::default(), raging: None }
    }

    /// What may be received now. What a probe brought is said with [`Self::judged`]; the next is not before the pause is over,
    /// whatever becomes of this one.
    pub fn permit(&mut self, now: Instant) -> Permit {
        let Some(raging) = &mut self.raging else { return Permit::All };
        match raging.next_probe.saturating_duration_since(now) {
            Duration::ZERO => {
                raging.next_probe = now + raging.pause;
                Permit::Probe
            }
            pause => Permit::Nothing(pause),
        }
    }

    /// Whether there is one.
    pub fn is_raging(&self) -> bool {
        self.raging.is_some()
    }

    /// Notes the verdicts on what one gathering brought. A rejection that comes again says nothing new and is not counted.
    /// In a storm only what a probe brought counts; the rest was received before it began.
    pub fn judged(
        &mut self,
        is_probe: bool,
        verdicts: impl IntoIterator<Item = Judged>,
        now: Instant,
    ) -> Option<Change> {
        let news = verdicts.into_iter().filter(|judged| judged.is_first || judged.rejected.is_none());
        let news = news.map(|judged| judged.rejected);
        match &mut self.raging {
            None => self.in_calm(news, now),
            Some(_) if !is_probe => None,
            Some(raging) => {
                let change = raging.probed(news, &self.limits, now);
                if change.is_some() {
                    self.raging = None;
                }
                change
            }
        }
    }

    fn in_calm(&mut self, news: impl Iterator<Item = Option<&'static str>>, now: Instant) -> Option<Change> {
        let (limits, last) = (&self.limits, &mut self.last);
        news.for_each(|rejected| last.add(rejected, limits.window));
        let (rejected, of) = (last.rejected, last.judged.len());
        if of < limits.least || limits.bears(rejected, of) {
            return None;
        }
        let mostly = last.most_frequent();
        let pause = limits.pauses.0;
        self.last = Last::default();
        self.raging = Some(Raging { since: now, next_probe: now + pause, pause, probed: Last::default() });
        Some(Change::Begun { rejected, of, mostly })
    }
}

impl Raging {
    /// Probes come sooner after one that was borne, and later after one that was not; one that brought nothing new says
    /// nothing.
    fn probed(
        &mut self,
        news: impl Iterator<Item = Option<&'static str>>,
        limits: &Limits,
        now: Instant,
    ) -> Option<Change> {
        let (mut rejected, mut of) = (0, 0);
        for reason in news {
            rejected += usize::from(reason.is_some());
            of += 1;
            self.probed.add(reason, limits.calm_after);
        }
        if of > 0 {
            let (first, longest) = limits.pauses;
            self.pause = if limits.bears(rejected, of) { first } else { (2 * self.pause).min(longest) };
            self.next_probe = now + self.pause;
        }
        let is_over =
            self.probed.judged.len() >= limits.calm_after && limits.bears(self.probed.rejected, limits.calm_after);
        is_over.then(|| Change::Over { lasted: now.saturating_duration_since(self.since) })
    }
}

/// The last verdicts.
#[derive(Debug, Default)]
struct Last {
    /// Why each was rejected, where it was.
    judged: VecDeque<Option<&'static str>>,
    rejected: usize,
}

impl Last {
    fn add(&mut self, rejected: Option<&'static str>, most: usize) {
        self.rejected += usize::from(rejected.is_some());
        self.judged.push_back(rejected);
        if self.judged.len() > most && self.judged.pop_front().flatten().is_some() {
            self.rejected -= 1;
        }
    }

    fn most_frequent(&self) -> &'static str {
        let mut times: BTreeMap<&'static str, usize> = BTreeMap::new();
        self.judged.iter().flatten().for_each(|reason| *times.entry(reason).or_default() += 1);
        times.into_iter().max_by_key(|(_, times)| *times).map(|(reason, _)| reason).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOGIN: Judged = Judged { rejected: None, is_first: true };
    const REJECTED: Judged = Judged { rejected: Some("invalid_json"), is_first: true };
    const AGAIN: Judged = Judged { rejected: Some("invalid_json"), is_first: false };
    const SECOND: Duration = Duration::from_secs(1);

    /// So many logins, and after them so many rejections.
    fn some(logins: usize, rejected: usize) -> impl Iterator<Item = Judged> {
        std::iter::repeat_n(LOGIN, logins).chain(std::iter::repeat_n(REJECTED, rejected))
    }

    /// A storm that began at this time.
    fn raging(now: Instant) -> Storm {
        let mut storm = Storm::new(Limits::above(50));
        assert!(storm.judged(false, some(0, 200), now).is_some());
        storm
    }

    #[test]
    fn a_storm_begins_when_more_than_the_greatest_share_of_enough_messages_is_rejected() {
        for (max_percent, logins, rejected, begins) in [
            (50, 0, 199, false),
            (50, 0, 200, true),
            (50, 100, 100, false),
            (50, 99, 101, true),
            // Of the last thousand only.
            (50, 5_000, 500, false),
            (50, 5_000, 501, true),
            (1, 990, 10, false),
            (1, 989, 11, true),
            (100, 0, 2_000, false),
        ] {
            let mut storm = Storm::new(Limits::above(max_percent));
            let change = storm.judged(false, some(logins, rejected), Instant::now());
            assert_eq!(change.is_some(), begins, "{rejected} after {logins}, {max_percent}% are borne: {change:?}");
            assert_eq!(storm.is_raging(), begins);
        }
    }

    #[test]
    fn a_rejection_that_comes_again_begins_no_storm_and_keeps_none_up() {
        let now = Instant::now();
        let mut storm = Storm::new(Limits::above(50));
        assert_eq!(storm.judged(false, std::iter::repeat_n(AGAIN, 5_000), now), None);
        let mut storm = raging(now);
        assert_eq!(storm.judged(true, std::iter::repeat_n(AGAIN, 500).chain(some(19, 0)), now), None);
        assert!(storm.judged(true, some(1, 0), now).is_some());
    }

    #[test]
    fn the_most_frequent_reason_is_told() {
        let rejected = |reason, times| std::iter::repeat_n(Judged { rejected: Some(reason), is_first: true }, times);
        let mixed = rejected("wrong_type", 90).chain(rejected("null_field", 110)).chain(some(50, 0));
        let change = Storm::new(Limits::above(50)).judged(false, mixed, Instant::now());
        assert_eq!(change, Some(Change::Begun { rejected: 200, of: 250, mostly: "null_field" }));
    }

    #[test]
    fn probes_come_less_and_less_often_while_they_bring_rejections_and_often_once_they_do_not() {
        let start = Instant::now();
        let (mut storm, mut now) = (raging(start), start);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(storm.permit(now), Permit::Nothing(seconds * SECOND));
            now += seconds * SECOND;
            assert_eq!(storm.permit(now), Permit::Probe);
            assert!(matches!(storm.permit(now), Permit::Nothing(_)), "another lane, at the same time");
            assert_eq!(storm.judged(true, some(0, 10), now), None);
        }
        now += 30 * SECOND;
        assert_eq!(storm.permit(now), Permit::Probe);
        assert_eq!(storm.judged(true, some(9, 1), now), None, "eleven of the last twenty are rejected");
        assert_eq!(storm.permit(now), Permit::Nothing(SECOND));
        now += SECOND;
        assert_eq!(storm.permit(now), Permit::Probe);
        assert_eq!(storm.judged(true, some(10, 0), now), Some(Change::Over { lasted: now - start }));
        assert_eq!(storm.permit(now), Permit::All);
        assert_eq!(storm.judged(false, some(0, 199), now), None, "what was before is forgotten");
    }

    #[test]
    fn what_was_in_hand_when_the_storm_began_and_probes_that_bring_nothing_change_nothing() {
        let now = Instant::now();
        let mut storm = raging(now);
        assert_eq!(storm.judged(false, some(500, 0), now), None);
        assert_eq!(storm.judged(true, [], now), None);
        assert_eq!(storm.permit(now), Permit::Nothing(SECOND));
    }

    #[test]
    fn a_share_is_read_as_it_is_typed() {
        let read = |text: &str| text.parse::<MaxRejectionRate>();
        for (text, rate) in [("1%", 1), ("50%", 50), ("50", 50), ("100 %", 100)] {
            assert_eq!(read(text), Ok(MaxRejectionRate::Percent(rate)), "{text}");
        }
        assert_eq!(read("off"), Ok(MaxRejectionRate::Off));
        for text in ["", "0%", "101%", "0.5", "-1%", "%", "Off", "5%%"] {
            assert_eq!(read(text), Err(NoRate), "{text}");
        }
    }

    proptest! {
        #[test]
        fn however_verdicts_come_a_storm_begins_and_ends_within_its_limits(
            max_percent in 1_u8..=100,
            gatherings in prop::collection::vec((0_usize..150, 0_usize..150, 0_u64..40_000), 1..60),
        ) {
            let limits = Limits::above(max_percent);
            let (mut storm, mut now) = (Storm::new(limits), Instant::now());
            let (mut in_calm, mut probed, mut last_probe) = (0, 0, None);
            for (logins, rejected, pause) in gatherings {
                now += Duration::from_millis(pause);
                let permit = storm.permit(now);
                prop_assert_eq!(permit == Permit::All, !storm.is_raging());
                let is_probe = permit == Permit::Probe;
                if is_probe {
                    let rested = last_probe.is_none_or(|last| now - last >= limits.pauses.0);
                    prop_assert!(rested, "two probes within {:?}", limits.pauses.0);
                    last_probe = Some(now);
                }
                if let Permit::Nothing(rest) = permit {
                    prop_assert!(rest > Duration::ZERO && rest <= limits.pauses.1);
                    continue;
                }
                *(if is_probe { &mut probed } else { &mut in_calm }) += logins + rejected;
                match storm.judged(is_probe, some(logins, rejected), now) {
                    None => {}
                    Some(Change::Begun { rejected, of, .. }) => {
                        prop_assert!(!is_probe && of >= limits.least && of <= limits.window && of <= in_calm);
                        prop_assert!(rejected <= of && 100 * rejected > usize::from(max_percent) * of);
                        (in_calm, probed) = (0, 0);
                    }
                    Some(Change::Over { .. }) => {
                        prop_assert!(is_probe && probed >= limits.calm_after);
                        (in_calm, probed) = (0, 0);
                    }
                }
            }
        }
    }
}
