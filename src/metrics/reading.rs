//! A snapshot of another process, from the text that it serves.

use std::collections::HashMap;

use time::OffsetDateTime;

use super::catalogue::{PREFIX, Snapshot};
use super::exposition::Build;
use super::work::Work;

/// A text has no figures of a Turnstile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoFigures {
    /// What every Turnstile shows is not there.
    #[error("these are no figures of a Turnstile: {PREFIX}{0} is missing")]
    Missing(&'static str),
    /// A line has another form.
    #[error("these are no figures of a Turnstile: line {0} cannot be read")]
    Line(usize),
}

impl Snapshot {
    /// Takes back what [`Self::exposition`] shows.
    ///
    /// Series and labels that this program does not know are left out: the other may be newer. What the other does not show
    /// is unknown. Of a histogram, the buckets are known and not what lies where inside them.
    ///
    /// # Errors
    ///
    /// [`NoFigures`]
    pub fn read(text: &str) -> Result<(Self, Build), NoFigures> {
        let page = Page::of(text)?;
        let build = page.build().ok_or(NoFigures::Missing("build_info"))?;
        let taken_at = page.time("snapshot_timestamp_seconds")?;
        page.time("start_timestamp_seconds")?;
        Ok((Self::shown(taken_at, &page), build))
    }
}

/// The series of a page, by name without [`PREFIX`].
pub(super) struct Page<'a>(HashMap<&'a str, Vec<Series<'a>>>);

struct Series<'a> {
    labels: Vec<(&'a str, String)>,
    value: &'a str,
}

impl<'a> Page<'a> {
    fn of(text: &'a str) -> Result<Self, NoFigures> {
        let mut page: HashMap<&str, Vec<Series<'_>>> = HashMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let Some(line) = line.strip_prefix(PREFIX) else { continue };
            let (name, series) = series(line).ok_or(NoFigures::Line(number))?;
            page.entry(name).or_default().push(series);
        }
        Ok(Self(page))
    }

    /// The value of the series with exactly these labels, and this bound where it is a bucket's.
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)], bound: Option<f64>) -> Option<&'a str> {
        let is_it = |series: &&Series<'a>| {
            let has = |key: &str, value: &str| series.label(key) == Some(value);
            series.labels.len() == labels.len() + usize::from(bound.is_some())
                && labels.iter().all(|(key, value)| has(key, value))
                && bound.is_none_or(|bound| series.label("le").and_then(|le| le.parse().ok()) == Some(bound))
        };
        self.0.get(name)?.iter().find(is_it).map(|series| series.value)
    }

    /// What the process is there for, as far as its figures tell. An older program says nothing of it: it loads.
    pub(super) fn work(&self) -> Work {
        let of_relay = self.0.iter().filter(|(name, _)| name.starts_with("relay_")).flat_map(|(_, series)| series);
        let sink = of_relay.filter_map(|series| series.label("sink")).next();
        match sink {
            None if self.0.contains_key("http_requests_total") => Work::serving_console(),
            None => Work::loading(),
            Some(sink) => Work { loads: self.0.contains_key("messages_received_total"), ..Work::relaying(sink) },
        }
    }

    fn time(&self, name: &'static str) -> Result<OffsetDateTime, NoFigures> {
        let seconds = self.value(name, &[], None).and_then(|seconds| seconds.parse::<f64>().ok());
        let time = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp_nanos((seconds * 1e9) as i128).ok());
        time.ok_or(NoFigures::Missing(name))
    }

    fn build(&self) -> Option<Build> {
        let info = self.0.get("build_info")?.first()?;
        let label = |key| Some(info.label(key)?.to_owned());
        Some(Build {
            version: label("version")?,
            revision: label("revision")?,
            mask: label("mask")?,
            identity: label("identity")?,
        })
    }
}

impl Series<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| *label == key).map(|(_, value)| value.as_str())
    }
}

/// `name{key="value",…} value`, and a time that is not heeded.
fn series(line: &str) -> Option<(&str, Series<'_>)> {
    let end_of_name = line.find(['{', ' '])?;
    let (name, rest) = line.split_at_checked(end_of_name)?;
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    Some((name, Series { labels, value: rest.split_whitespace().next()? }))
}

type Labels<'a> = Vec<(&'a str, String)>;

/// The labels up to the closing brace, and what comes after it.
fn labels(mut rest: &str) -> Option<(Labels<'_>, &str)> {
    let mut labels = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (key, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.push((key, value));
        rest = after.strip_prefix(',').unwrap_or(after);
    }
}

/// The text up to the closing quote, and what comes after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::metrics::{Code, Metrics, Nth, Operation, Outcome, Peer, Phase, Whereabouts};

    fn build() -> Build {
        Build {
            version: "0.1.0".to_owned(),
            revision: "a\\b\"c\nd, {e}".to_owned(),
            mask: "keyed".to_owned(),
            identity: "field:event_id".to_owned(),
        }
    }

    /// What a process says of itself besides its figures changes from one page to the next.
    fn without_process(text: &str) -> String {
        text.lines().filter(|line| !line.contains("process_")).map(|line| format!("{line}\n")).collect()
    }

    fn page(count: impl FnOnce(&mut Snapshot)) -> String {
        let metrics = Metrics::default();
        metrics.count(count);
        metrics.snapshot().exposition(&build()).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_read_shows_what_was_read(
            counts in prop::collection::vec(any::<u32>(), 8),
            huge in (1u64 << 53)..u64::MAX,
            values in prop::collection::vec(prop::num::f64::NORMAL, 4),
            lags in prop::collection::vec(0.0..100_000.0f64, 0..60),
        ) {
            let metrics = Metrics::default();
            metrics.count(|figures| {
                for (outcome, count) in Outcome::ALL.iter().zip(&counts) {
                    figures.messages.add((*outcome,), u64::from(*count));
                }
                figures.received.add((), huge);
                figures.dead_letters.add((Code("invalid_json"),), u64::from(counts[7]));
                figures.billed.add((Operation::Delete,), 3);
                figures.retention.set((), values[0]);
                figures.depth.set((Whereabouts::Visible,), values[1]);
                figures.away_since.set((Peer::Queue,), values[2]);
                for lag in &lags {
                    figures.lag.observe((Nth::Repeat,), *lag);
                    figures.phases.observe((Phase::Commit,), lag / 1_000.0);
                }
            });
            let text = metrics.snapshot().exposition(&build()).unwrap();
            let (read, of) = Snapshot::read(&text).unwrap();
            prop_assert_eq!(&of, &build());
            prop_assert_eq!(without_process(&read.exposition(&of).unwrap()), without_process(&text));
        }

        #[test]
        fn a_text_of_any_kind_is_read_or_refused(
            lines in prop::collection::vec("(turnstile_)?[a-z_]{0,12}[{]?[a-z]{0,3}=?[\"{},\\\\ a-zé0-9.+-]{0,20}", 0..20),
        ) {
            let _either = Snapshot::read(&(page(|_| ()) + &lines.join("\n")));
        }

        #[test]
        fn a_quantile_that_is_read_lies_in_the_bucket_of_the_true_one_whatever_came_before(
            before in prop::collection::vec(0.0..10.0f64, 0..40),
            after in prop::collection::vec(0.0..10.0f64, 1..40),
            share in 0.01..1.0f64,
        ) {
            let metrics = Metrics::default();
            let observe = |lags: &[f64]| {
                metrics.count(|figures| lags.iter().for_each(|lag| figures.lag.observe((Nth::First,), *lag)));
                metrics.snapshot()
            };
            let [earlier, later] = [observe(&before), observe(&after)];
            let read = |of: &Snapshot| Snapshot::read(&of.exposition(&build()).unwrap()).unwrap().0;
            let of = |stretch: Snapshot| {
                let lag = stretch.lag.get((Nth::First,)).unwrap();
                (lag.count(), lag.quantile(share).unwrap())
            };
            let ((count, exact), (read_count, found)) =
                (of(later.since(&earlier)), of(read(&later).since(&read(&earlier))));
            prop_assert_eq!(read_count, count);
            let bucket = |value: f64| [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0].partition_point(|bound| *bound < value - 1e-9);
            prop_assert_eq!(bucket(found), bucket(exact), "{} for {}", found, exact);
        }
    }

    #[test]
    fn what_this_program_does_not_know_is_left_out_and_what_the_other_does_not_know_is_unknown() {
        let text = page(|figures| figures.received.add((), 7));
        let lines = text.lines().filter(|line| !line.contains("_messages_total") && !line.contains("lease_renewals"));
        let newer = "turnstile_lanes{state=\"dreaming\"} 4\nturnstile_dreams_total{about=\"sheep\"} 9 1700000000\n";
        let text = lines.map(|line| format!("{line}\n")).collect::<String>() + newer;
        let (read, _) = Snapshot::read(&text).unwrap();
        assert!(!read.renewals.is_known() && read.received.is_known());
        let again = read.exposition(&build()).unwrap();
        assert!(again.contains("turnstile_messages_received_total 7"), "{again}");
        let samples = |name: &str| again.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!((samples("turnstile_lease_renewals_total"), samples("turnstile_dreams")), (0, 0));
    }

    #[test]
    fn a_page_of_something_else_is_told_from_that_of_a_turnstile() {
        let text = page(|_| ());
        for (text, problem) in [
            ("<html>hello</html>", "turnstile_build_info is missing"),
            ("go_goroutines 7\n", "turnstile_build_info is missing"),
            (&text.replace("turnstile_start_timestamp_seconds ", "x "), "turnstile_start_timestamp_seconds is missing"),
            (&text.replace("turnstile_snapshot_timestamp_seconds ", "x "), "turnstile_snapshot_timestamp_seconds"),
            (&format!("turnstile_lanes{{state=\"loading 4\n{text}"), "line 1 cannot be read"),
            ("turnstile_lanes", "line 1 cannot be read"),
        ] {
            let error = Snapshot::read(text).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(problem), "{error:?} for {problem}");
        }
    }

    #[test]
    fn a_process_that_was_restarted_does_not_continue_the_one_before() {
        let at = |started: f64, received| {
            let text = page(|figures| {
                figures.started_at.set((), started);
                figures.received.add((), received);
            });
            Snapshot::read(&text).unwrap().0
        };
        for (earlier, later, continues) in
            [((1.5, 10), (1.5, 10), true), ((1.5, 10), (1.5, 9), false), ((1.5, 10), (2.5, 30), false)]
        {
            assert_eq!(at(later.0, later.1).continues(&at(earlier.0, earlier.1)), continues, "{earlier:?} {later:?}");
        }
    }

    #[test]
    fn two_processes_add_up_and_what_the_queue_holds_does_not() {
        let of = |loaded, visible: f64, said_at: f64| {
            let metrics = Metrics::default();
            let holding = metrics.hold(loaded, 10, |_| ());
            holding.settle(loaded as usize - 1, |figures| figures.messages.add((Outcome::Loaded,), loaded - 1));
            metrics.count(|figures| {
                figures.depth.set((Whereabouts::Visible,), visible);
                figures.depth_at.set((), said_at);
            });
            metrics.snapshot()
        };
        let sum = of(10, 100.0, 5.0).together(&of(20, 90.0, 6.0));
        let (loaded, in_hand) = (sum.messages.get((Outcome::Loaded,)), sum.in_hand.get(()));
        assert_eq!((loaded, in_hand, sum.imbalance()), (28, Some(2.0), 0));
        assert_eq!((sum.depth.get((Whereabouts::Visible,)), sum.depth_at.get(())), (Some(90.0), Some(6.0)));
        let unknown: BTreeMap<_, _> =
            sum.figures().into_iter().map(|(row, figure)| (row.name, figure.samples())).collect();
        assert_eq!(unknown["start_timestamp_seconds"], []);
    }
}
