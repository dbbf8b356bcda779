//! What loaders ask of their queues, and what that costs: SQS is paid by the request.

use std::collections::BTreeMap;

use super::loaders::{by_kind, lanes};
use crate::table::loaders::Seen;

/// The hours of a month, as price lists count them.
pub const HOURS_OF_A_MONTH: f64 = 730.0;
/// Below this age a loader's calls say little of its hour.
const YOUNG_SECONDS: f64 = 60.0;
/// From this share of receives on, those that bring nothing are worth a word.
const MANY_EMPTY: f64 = 0.5;
/// From this share of all requests on, a kind that moves no message is worth a word.
const MANY_OTHERS: f64 = 0.2;
/// Below this number of messages, a receive that brings any is worth a word. Ten fit in.
const FEW_MESSAGES: f64 = 5.0;
/// Before so many messages were received, nothing is made of how they came.
const ENOUGH_MESSAGES: u64 = 1_000;

/// Calls to queues, summed over some loaders, of each since its start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calls {
    /// How many loaders.
    pub loaders: usize,
    /// How many lanes they have.
    pub lanes: usize,
    /// Calls by kind.
    pub made: BTreeMap<String, u64>,
    /// The requests that these are billed as, by kind.
    pub billed: BTreeMap<String, u64>,
    /// Receives that brought nothing.
    pub empty_receives: u64,
    /// Deliveries.
    pub received: u64,
    /// Logins loaded.
    pub loaded: u64,
    /// Requests an hour: the sum of what each was billed on average since its start.
    pub an_hour: f64,
}

/// What can be done about the bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saving {
    /// Most receives bring nothing: wait longer for messages.
    WaitLonger,
    /// Receives bring few messages: let fewer lanes ask.
    FewerLanes,
    /// The queue is often asked what it holds: let one loader ask.
    AskDepthOnce,
    /// Leases are often renewed: batches wait for the database.
    WaitLessForDatabase,
}

impl Saving {
    /// The word for scripts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WaitLonger => "wait_longer",
            Self::FewerLanes => "fewer_lanes",
            Self::AskDepthOnce => "ask_depth_once",
            Self::WaitLessForDatabase => "wait_less_for_database",
        }
    }
}

impl Calls {
    /// Those of these loaders.
    pub fn of<'l>(loaders: impl IntoIterator<Item = &'l Seen>) -> Self {
        loaders.into_iter().fold(Self::default(), Self::and)
    }

    fn and(mut self, loader: &Seen) -> Self {
        let (beat, count) = (&loader.beat, |count: i64| u64::try_from(count).unwrap_or(0));
        let billed = by_kind(&beat.sqs_billed);
        let seconds = (loader.seen_at - loader.started_at).as_seconds_f64().max(YOUNG_SECONDS);
        self.an_hour += billed.values().sum::<u64>() as f64 / seconds * 3_600.0;
        for (sums, counts) in [(&mut self.made, by_kind(&beat.sqs_calls)), (&mut self.billed, billed)] {
            counts.into_iter().for_each(|(kind, count)| *sums.entry(kind).or_default() += count);
        }
        self.loaders += 1;
        self.lanes += lanes(beat).len();
        self.empty_receives += count(beat.sqs_empty_receives);
        self.received += count(beat.received);
        self.loaded += count(beat.ended.loaded);
        self
    }

    /// All requests that are billed.
    pub fn requests(&self) -> u64 {
        self.billed.values().sum()
    }

    fn receives(&self) -> u64 {
        self.made.get("receive").copied().unwrap_or(0)
    }

    /// Which share of the receives brought nothing; none: there was no receive.
    pub fn empty_share(&self) -> Option<f64> {
        share(self.empty_receives, self.receives())
    }

    /// How many messages a receive brought that brought any.
    pub fn messages_a_receive(&self) -> Option<f64> {
        share(self.received, self.receives().saturating_sub(self.empty_receives))
    }

    /// Requests for each million logins that were loaded; none: there was no login.
    pub fn per_million_logins(&self) -> Option<f64> {
        share(self.requests(), self.loaded).map(|requests| requests * 1e6)
    }

    /// What would lower the bill.
    pub fn savings(&self) -> Vec<Saving> {
        let of_all = |kind: &str| share(self.billed.get(kind).copied().unwrap_or(0), self.requests()).unwrap_or(0.0);
        let brings_little = self.messages_a_receive().is_some_and(|messages| messages < FEW_MESSAGES);
        [
            (Saving::WaitLonger, self.empty_share().is_some_and(|share| share >= MANY_EMPTY)),
            (Saving::FewerLanes, brings_little && self.received >= ENOUGH_MESSAGES && self.lanes > self.loaders),
            (Saving::AskDepthOnce, of_all("attributes") >= MANY_OTHERS),
            (Saving::WaitLessForDatabase, of_all("change_visibility") >= MANY_OTHERS),
        ]
        .into_iter()
        .filter_map(|(saving, is_worth_it)| is_worth_it.then_some(saving))
        .collect()
    }
}

fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

/// What so many requests cost, at a price in dollars for a million.
pub fn dollars(requests: f64, price: f64) -> f64 {
    requests * price / 1e6
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::super::loaders::tests::seen;
    use super::*;
    use crate::table::loaders::State;

    fn loader(hours: i64, calls: &str, empty: i64, received: i64) -> Seen {
        let mut loader = seen(State::Running, 1.0);
        loader.seen_at = loader.started_at + Duration::hours(hours);
        (loader.beat.sqs_calls, loader.beat.sqs_billed) = (calls.to_owned(), calls.to_owned());
        (loader.beat.sqs_empty_receives, loader.beat.received) = (empty, received);
        loader.beat.ended.loaded = received;
        loader
    }

    #[test]
    fn calls_are_summed_and_an_hour_is_the_average_of_each_loader() {
        let (one, other) = (loader(2, r#"{"receive":100,"delete":50}"#, 20, 800), loader(1, r#"{"receive":7}"#, 7, 0));
        let calls = Calls::of([&one, &other]);
        assert_eq!((calls.loaders, calls.requests(), calls.made["receive"]), (2, 157, 107));
        assert!((calls.an_hour - 82.0).abs() < 1e-9, "{calls:?}");
        assert_eq!((calls.empty_share(), calls.messages_a_receive()), (Some(27.0 / 107.0), Some(10.0)));
        assert_eq!(calls.per_million_logins(), Some(157.0 / 800.0 * 1e6));
        assert!((dollars(2.0e6, 0.4) - 0.8).abs() < 1e-9);
        assert_eq!(Calls::of([]).per_million_logins(), None);
        let young = Calls::of([&loader(0, r#"{"receive":2}"#, 0, 0)]);
        assert!((young.an_hour - 120.0).abs() < 1e-9, "a loader of a second does not stand for an hour");
    }

    #[test]
    fn what_would_lower_the_bill_follows_from_what_is_paid() {
        let savings = |calls: &str, empty, received| {
            let mut loader = loader(1, calls, empty, received);
            loader.beat.lanes = r#"[{"doing":"resting"},{"doing":"resting"}]"#.to_owned();
            Calls::of([&loader]).savings()
        };
        assert_eq!(savings(r#"{"receive":1000,"delete":1000}"#, 100, 9_000), []);
        assert_eq!(savings(r#"{"receive":1000,"delete":10}"#, 900, 1_000), [Saving::WaitLonger]);
        assert_eq!(savings(r#"{"receive":1000,"delete":1000}"#, 0, 2_000), [Saving::FewerLanes]);
        assert_eq!(savings(r#"{"receive":10,"attributes":10}"#, 0, 100), [Saving::AskDepthOnce]);
        assert_eq!(savings(r#"{"receive":10,"change_visibility":10}"#, 0, 100), [Saving::WaitLessForDatabase]);
        assert_eq!(savings("{}", 0, 0), []);
    }
}
