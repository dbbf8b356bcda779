//! All that is said of one loader or relay, or of all together: sections of lines, the most important first.

mod of_relay;

use std::time::Duration;

use indicatif::HumanCount;

use super::row::{has_books, lanes_of};
use super::watched::Stretch;
use super::words::{UNKNOWN, known, latency, rate, seconds, window};
use crate::metrics::{
    Bounds, CallOutcome, Code, Deletion, Ended, Histogram, Label, LogLevel, Nth, Operation, Outcome, Part, Peer, Phase,
    Quick, Renewal, Snapshot, Whereabouts,
};
use crate::rejection::Rejection;

/// A section: its name, and its lines.
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) lines: Vec<String>,
}

/// What is looked at.
pub(super) struct Subject<'a> {
    /// The last figures.
    pub(super) figures: &'a Snapshot,
    /// What came in the window; nothing where the figures are not of now.
    pub(super) stretch: Option<&'a Stretch>,
    /// Whether the figures are of now.
    pub(super) is_live: bool,
    /// How old the figures are.
    pub(super) age: Duration,
    /// Whether it is the sum of several.
    pub(super) is_sum: bool,
}

impl Subject<'_> {
    /// All sections, in lines of this width. The short ones fit a screen of 24 lines, and the long ones have a line for each
    /// number. Of figures that are old, only what is counted since the start is told, and what was true then.
    pub(super) fn sections(&self, is_long: bool, width: usize) -> Vec<Section> {
        let mut sections = Vec::new();
        if self.figures.work.has(Part::Loader) {
            sections.extend(self.sections_of_loader(is_long, width));
        }
        if self.figures.work.has(Part::Relay) {
            sections.extend(self.sections_of_relay());
        }
        sections
    }

    fn sections_of_loader(&self, is_long: bool, width: usize) -> Vec<Section> {
        let section = |name, lines| Section { name, lines };
        let mut sections = vec![section("books", if is_long { self.books_line_by_line() } else { self.books(width) })];
        if self.is_live {
            sections.push(section("lag", self.lags()));
        }
        sections.push(section("lanes", vec![self.lanes()]));
        if !self.is_sum {
            let (last_commit, last_receive) = (self.figures.last_commit.get(()), self.figures.last_receive.get(()));
            sections.push(section("database", vec![self.peer(Peer::Database, "last commit", last_commit)]));
            sections.push(section("queue", vec![self.peer(Peer::Queue, "last receive", last_receive)]));
        }
        sections.extend([section("holds", vec![self.depth()]), section("log", vec![self.log()])]);
        if self.is_live {
            let (phases, calls) = match is_long {
                true => (self.phases_line_by_line(), self.calls_line_by_line()),
                false => (self.phases(), self.calls()),
            };
            sections.extend([
                section("commits", vec![self.commits()]),
                section("phases", phases),
                section("calls", calls),
            ]);
        }
        if is_long || !self.is_live {
            sections.extend([section("deletes", vec![self.deletes()]), section("refused", self.refused())]);
        }
        sections
    }

    fn over(&self) -> String {
        known(self.stretch, |stretch| format!("over {}", window(stretch.over)))
    }

    /// `12/s over 10s`, or that it is not known.
    fn rate(&self, count: impl FnOnce(&Snapshot) -> u64) -> String {
        known(self.stretch, |stretch| format!("{}/s", rate(stretch.per_second(count(&stretch.figures)))))
    }

    fn books(&self, width: usize) -> Vec<String> {
        let mut lines =
            vec![format!("{} received since start; {}", HumanCount(self.figures.received.total()), self.balance())];
        let ended = Outcome::ALL.iter().map(|outcome| {
            format!("{} {}", HumanCount(self.figures.messages.get((*outcome,))), words(Outcome::VALUES, outcome))
        });
        let mut line = String::new();
        for term in ended.chain([format!("{} in hand", self.in_hand())]) {
            if line.len() + 3 + term.len() > width {
                lines.push(std::mem::take(&mut line));
            }
            let sign = if lines.len() == 1 && line.is_empty() { "= " } else { "+ " };
            line = format!("{line}{}{sign}{term}", if line.is_empty() { "" } else { " " });
        }
        lines.push(line);
        lines
    }

    fn books_line_by_line(&self) -> Vec<String> {
        let line = |name: &str, count: String| format!("{count:>15} {name}");
        let mut lines = vec![line("received since start", HumanCount(self.figures.received.total()).to_string())];
        lines.extend(Outcome::ALL.iter().map(|outcome| {
            line(&words(Outcome::VALUES, outcome), HumanCount(self.figures.messages.get((*outcome,))).to_string())
        }));
        let since = self.figures.in_hand_since.get(()).map(|since| self.ago(since));
        let oldest = since.map_or_else(String::new, |since| format!(", the oldest for {since}"));
        lines.push(line(&format!("in hand{oldest}"), self.in_hand()));
        lines.push(line(&self.balance(), String::new()));
        lines
    }

    fn in_hand(&self) -> String {
        known(self.figures.in_hand.get(()), |messages| HumanCount(messages as u64).to_string())
    }

    fn balance(&self) -> String {
        match self.figures.imbalance() {
            _ if !has_books(self.figures) => "not all of the books is known".to_owned(),
            0 => "the books balance".to_owned(),
            off if off > 0 => format!("BOOKS ARE OFF: {off} neither ended nor are in hand"),
            off => format!("BOOKS ARE OFF: {} more ended than were received", off.unsigned_abs()),
        }
    }

    fn lags(&self) -> Vec<String> {
        let lag = |delivery| self.stretch.and_then(|stretch| stretch.figures.lag.get((delivery,)));
        let wait = self.stretch.and_then(|stretch| stretch.figures.wait.get(()));
        vec![
            format!("{} {}, sent to committed (first deliveries)", quantiles(lag(Nth::First)), self.over()),
            format!("{} {}, sent to first received", quantiles(wait), self.over()),
        ]
    }

    fn lanes(&self) -> String {
        let lanes = lanes_of(self.figures);
        let words: Vec<String> = lanes.iter().map(|(doing, lanes)| format!("{lanes} {}", doing.in_words())).collect();
        if words.is_empty() { "none yet".to_owned() } else { words.join(", ") }
    }

    fn peer(&self, peer: Peer, last: &str, at: Option<f64>) -> String {
        let attempts = self.figures.attempts.get((peer,)).unwrap_or_default();
        let answers = match (self.figures.away_since.get((peer,)), self.figures.reachable.get((peer,))) {
            (Some(since), _) if self.is_live => format!("AWAY for {}, {attempts:.0} attempts failed", self.ago(since)),
            (Some(since), _) => format!("was away, from {} ago on", self.ago(since)),
            (None, Some(_)) if self.is_live => "answers".to_owned(),
            (None, Some(_)) => "answered".to_owned(),
            (None, None) => "not asked yet".to_owned(),
        };
        let ago = at.map_or_else(|| "none yet".to_owned(), |at| format!("{} ago", self.ago(at)));
        format!("{answers}; {last} {ago}")
    }

    fn depth(&self) -> String {
        let Some(said_at) = self.figures.depth_at.get(()) else {
            return "nobody asked the queue what it holds".to_owned();
        };
        let holds = Whereabouts::ALL.iter().map(|place| {
            let messages = known(self.figures.depth.get((*place,)), |n| HumanCount(n as u64).to_string());
            format!("{messages} {}", words(Whereabouts::VALUES, place))
        });
        // The clock of a sum is none.
        let said = if self.is_sum { "said last".to_owned() } else { format!("said {} ago", self.ago(said_at)) };
        format!("about {}; {said}", holds.collect::<Vec<_>>().join(", "))
    }

    fn log(&self) -> String {
        let lines = |level| self.figures.log_lines.get((level,));
        let [errors, warnings] = [(LogLevel::Error, "error"), (LogLevel::Warn, "warning")].map(|(level, word)| {
            format!("{} {word}{}", HumanCount(lines(level)), if lines(level) == 1 { "" } else { "s" })
        });
        format!("{errors}, {warnings} since start")
    }

    fn commits(&self) -> String {
        let committed = self.rate(|figures| figures.transactions.get((Ended::Committed,)));
        let again = known(self.stretch, |stretch| {
            let transactions = &stretch.figures.transactions;
            (transactions.total() - transactions.get((Ended::Committed,))).to_string()
        });
        let batch = self.stretch.and_then(|stretch| stretch.figures.batch.get(())?.mean());
        let batch = known(batch, |messages| format!("{messages:.0}"));
        format!("{committed}, of {batch} messages on average, {again} attempts failed {}", self.over())
    }

    fn phase(&self, phase: Phase) -> Option<&Histogram<Quick>> {
        self.stretch?.figures.phases.get((phase,))
    }

    fn phases(&self) -> Vec<String> {
        let at = |(name, share): (&str, f64)| {
            let phase =
                |phase: &Phase| format!("{} {:>5}", words(Phase::VALUES, phase), quantile(self.phase(*phase), share));
            format!("{name} {} {}", Phase::ALL.iter().map(phase).collect::<Vec<_>>().join(", "), self.over())
        };
        [("p50", 0.5), ("p99", 0.99)].map(at).to_vec()
    }

    fn phases_line_by_line(&self) -> Vec<String> {
        let line = |phase: &Phase| format!("{:<18}{}", words(Phase::VALUES, phase), quantiles(self.phase(*phase)));
        let waited = self.stretch.and_then(|stretch| stretch.figures.connection_wait.get(()));
        let waited = format!("{:<18}{}", "connection waited", quantiles(waited));
        std::iter::once(format!("of a transaction {}", self.over()))
            .chain(Phase::ALL.iter().map(line))
            .chain([waited])
            .collect()
    }

    fn calls(&self) -> Vec<String> {
        let calls = |operation: &Operation| {
            let name = short(*operation);
            format!("{name} {}", self.rate(|figures| all_calls(figures, *operation)))
        };
        let rates = Operation::ALL.iter().map(calls).collect::<Vec<_>>().join(" ");
        let failed = known(self.stretch, |stretch| {
            Operation::ALL.iter().map(|operation| failed_calls(&stretch.figures, *operation)).sum::<u64>().to_string()
        });
        vec![format!("{rates}; {failed} failed {}", self.over())]
    }

    fn calls_line_by_line(&self) -> Vec<String> {
        let line = |operation: &Operation| {
            let duration = self.stretch.and_then(|stretch| stretch.figures.call_duration.get((*operation,)));
            let made = self.rate(|figures| all_calls(figures, *operation));
            let failed = known(self.stretch, |stretch| failed_calls(&stretch.figures, *operation).to_string());
            let name = words(Operation::VALUES, operation);
            format!("{name:<18}{} {made:>8} {failed:>5} failed", quantiles(duration))
        };
        let why = CallOutcome::ALL.iter().skip(1).filter_map(|outcome| {
            let stretch = self.stretch?;
            let of = |operation: &Operation| stretch.figures.calls.get((*operation, *outcome));
            let failed: u64 = Operation::ALL.iter().map(of).sum();
            (failed > 0).then(|| format!("{failed} {}", words(CallOutcome::VALUES, outcome)))
        });
        let why: Vec<String> = why.collect();
        let why = (!why.is_empty()).then(|| format!("failed by: {}", why.join(", ")));
        let empty = self.rate(|figures| figures.empty_receives.total());
        let billed = self.rate(|figures| figures.billed.total());
        let rest = format!("of the receives {empty} brought nothing; {billed} requests are billed");
        std::iter::once(format!("to the queue {}", self.over()))
            .chain(Operation::ALL.iter().map(line))
            .chain(why)
            .chain([rest])
            .collect()
    }

    fn deletes(&self) -> String {
        let (deletes, renewals) = (&self.figures.deletes, &self.figures.renewals);
        format!(
            "{} deleted, {} not; leases: {} renewed, {} not; since start",
            HumanCount(deletes.get((Deletion::Deleted,))),
            HumanCount(deletes.get((Deletion::NotDeleted,))),
            HumanCount(renewals.get((Renewal::Renewed,))),
            HumanCount(renewals.get((Renewal::Failed,))),
        )
    }

    fn refused(&self) -> Vec<String> {
        let code = |code: &&'static str| {
            let (seen, dead) =
                (self.figures.rejections.get((Code(code),)), self.figures.dead_letters.get((Code(code),)));
            (seen + dead > 0)
                .then(|| format!("{code}: {} deliveries, {} dead letters", HumanCount(seen), HumanCount(dead)))
        };
        let unknown = format!("{} unknown keys in bodies since start", HumanCount(self.figures.unknown_keys.total()));
        let codes: Vec<String> = Rejection::CODES.iter().filter_map(code).collect();
        let codes = if codes.is_empty() { vec!["nothing since start".to_owned()] } else { codes };
        codes.into_iter().chain([unknown]).collect()
    }

    /// How long ago something was, by the clock of the loader: it goes on while the loader is silent.
    fn ago(&self, unix: f64) -> String {
        match self.figures.read_at.get(()) {
            Some(read_at) => seconds(read_at - unix + self.age.as_secs_f64()),
            None => UNKNOWN.to_owned(),
        }
    }
}

/// The value of a label, in words.
fn words(values: &[&str], label: &impl Label) -> String {
    values.get(label.index()).map(|word| word.replace('_', " ")).unwrap_or_default()
}

fn short(operation: Operation) -> &'static str {
    match operation {
        Operation::Receive => "receive",
        Operation::Delete => "delete",
        Operation::ChangeVisibility => "lease",
        Operation::Attributes => "ask",
    }
}

fn all_calls(figures: &Snapshot, operation: Operation) -> u64 {
    CallOutcome::ALL.iter().map(|outcome| figures.calls.get((operation, *outcome))).sum()
}

fn failed_calls(figures: &Snapshot, operation: Operation) -> u64 {
    all_calls(figures, operation) - figures.calls.get((operation, CallOutcome::Ok))
}

fn quantile<B: Bounds>(histogram: Option<&Histogram<B>>, share: f64) -> String {
    known(histogram.and_then(|histogram| histogram.quantile(share)), latency)
}

fn quantiles<B: Bounds>(histogram: Option<&Histogram<B>>) -> String {
    format!("p50 {:>5} p99 {:>5}", quantile(histogram, 0.5), quantile(histogram, 0.99))
}
