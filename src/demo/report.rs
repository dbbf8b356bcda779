//! What the demo found, in words for everybody.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use indicatif::HumanCount;
use stand_ins::sqs::FaultCounts;
use time::Date;

use super::dispatched::SentCount;
use super::{Announced, Settings};
use crate::audit::comparison::Discrepancies;
use crate::login::{MaskedLogin, Stored};
use crate::metrics::{Ended, Histogram, Label as _, Nth, Outcome, Snapshot};
use crate::stream::{Field, LOGIN};
use crate::table::processed_messages::Pace;

/// How many characters of a masked value are shown.
const MASKED_SHOWN: usize = 22;
/// How many of another text.
const TEXT_SHOWN: usize = 13;

/// What came of a demo. No `Debug`: it holds rows.
pub struct Report {
    /// What was asked for.
    pub settings: Settings,
    /// What the queue took.
    pub sent: SentCount,
    /// How many times the queue delivered a message.
    pub delivered: u64,
    /// Rows in `user_logins`.
    pub loaded: u64,
    /// Dead letters by code.
    pub dead_letters: BTreeMap<String, u64>,
    /// Deliveries beyond the first of a login, and beyond the granted attempts of a malformed message.
    pub absorbed: u64,
    /// How the tables, and the loaders' logs, differ from what was promised.
    pub discrepancies: Discrepancies,
    /// How fast it went.
    pub pace: Pace,
    /// The faults that the queue made.
    pub faults: FaultCounts,
    /// How many messages were recorded when a loader was killed, if one was.
    pub killed_at: Option<u64>,
    /// Some rows of `user_logins`.
    pub rows: Vec<(MaskedLogin, Date)>,
    /// What the loaders said of themselves together, at the end and before the crash.
    pub figures: Snapshot,
    /// What came of the events that were carried on.
    pub announced: Announced,
}

/// What a million calls to a standard queue cost, in dollars, after the first million of a month.
const DOLLARS_A_MILLION_CALLS: f64 = 0.40;

impl Report {
    /// Whether every message is where it belongs, once, and no clear value got out.
    pub fn promise_held(&self) -> bool {
        self.discrepancies.none() && self.announced.wrong == 0
    }

    fn counts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, delivered, loaded, absorbed, .. } = self;
        let Discrepancies { lost, doubled, unexpected, misrouted, leaked } = self.discrepancies;
        let dead: u64 = self.dead_letters.values().sum();
        let more = delivered.saturating_sub(sent.messages());
        let n = HumanCount;
        line(
            f,
            "sent",
            n(sent.messages()),
            format!("{} logins, {} malformed messages", n(sent.logins), n(sent.malformed)),
        )?;
        if sent.repeats > 0 {
            let repeats =
                format!("{} logins repeat another word for word: they are logins of their own", n(sent.repeats));
            line(f, "", "", repeats)?;
        }
        line(
            f,
            "delivered",
            n(*delivered),
            format!("times that the queue handed out a message: {} more than there are messages", n(more)),
        )?;
        line(f, "loaded", n(*loaded), "rows in user_logins")?;
        line(
            f,
            "dead-lettered",
            n(dead),
            "malformed messages, tried again in vain, then kept sealed for people to look at",
        )?;
        for (code, letters) in &self.dead_letters {
            line(f, "", "", format!("{:>6}  {code}", n(*letters)))?;
        }
        line(f, "duplicates absorbed", n(*absorbed), "deliveries of what was known already: they changed nothing")?;
        line(f, "lost", n(lost), "messages that are nowhere")?;
        line(f, "doubled", n(doubled), "messages that are there more than once")?;
        line(f, "unexpected", n(unexpected), "messages in the tables that nobody sent")?;
        line(f, "misrouted", n(misrouted), "malformed ones that were loaded, or logins that were not")?;
        line(
            f,
            "leaked",
            n(leaked),
            "clear addresses or device ids in any table, in the loaders' logs or in an event",
        )?;
        let Announced { events, repeats, .. } = self.announced;
        let carried = match repeats {
            0 => "events, one for each login: the outbox was drained into a file, a line of JSON for each".to_owned(),
            more => format!("events, drained from the outbox into a file; {} came again, under the same id", n(more)),
        };
        line(f, "announced", n(events), carried)?;
        let rate = *loaded as f64 / self.pace.over.as_secs_f64().max(0.001);
        line(
            f,
            "messages/s",
            n(rate as u64),
            format!("logins loaded, over {}, the crash and all faults included", seconds(self.pace.over)),
        )?;
        line(
            f,
            "latency p50",
            seconds(self.pace.p50),
            "half of the logins were in the table this long after they were sent",
        )?;
        line(
            f,
            "latency p99",
            seconds(self.pace.p99),
            "99 of 100 were; what the queue withheld or a crash interrupted takes longest",
        )
    }

    fn trouble(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FaultCounts {
            throttle,
            error_500,
            lost_reply,
            partial_batch_failure,
            early_redelivery,
            redelivery_after_delete,
            duplicate_in_receive,
            delay,
            // These are told to the queue, not left to chance, and the demo does not.
            expired_token: _,
            skewed_clock: _,
        } = self.faults;
        writeln!(f, "What went wrong, on purpose:")?;
        for (what, times) in [
            ("calls that the queue refused because they were too many", throttle),
            ("calls that failed inside the queue", error_500),
            ("calls that took effect, and whose answer got lost", lost_reply),
            ("single messages of a call that the queue failed to do", partial_batch_failure),
            ("messages delivered to a second loader while the first had them", early_redelivery),
            ("messages that came back after they had been deleted", redelivery_after_delete),
            ("answers that held one message twice", duplicate_in_receive),
            ("answers that came late", delay),
        ] {
            match times {
                0 => writeln!(f, "  {:>8}  {what} (none this time: chance)", "0")?,
                _ => writeln!(f, "  {:>8}  {what}", HumanCount(times).to_string())?,
            }
        }
        match self.killed_at {
            Some(recorded) => writeln!(
                f,
                "  {:>8}  loader killed in the middle of its work (kill -9, at {} messages), and started again",
                1,
                HumanCount(recorded)
            ),
            None => writeln!(f, "  {:>8}  loaders killed: they were done before half-time; send more --messages", 0),
        }
    }

    fn of_the_loaders(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.figures;
        let n = HumanCount;
        writeln!(f, "What the loaders said of themselves, at /metrics; the one that was killed, just before:")?;
        let ended: Vec<String> = Outcome::ALL
            .iter()
            .zip(Outcome::VALUES)
            .map(|(outcome, word)| (figures.messages.get((*outcome,)), word))
            .filter(|(messages, _)| *messages > 0)
            .map(|(messages, word)| format!("{} {}", n(messages), word.replace('_', "-")))
            .chain([format!("{} in hand", n(figures.in_hand.get(()).unwrap_or_default() as u64))])
            .collect();
        line(f, "books", n(figures.received.total()), format!("received = {}", ended.join(" + ")))?;
        let lag = figures.lag.get((Nth::First,));
        let lag = |share| lag.and_then(|lag| lag.quantile(share)).map_or("–".to_owned(), |lag| format!("{lag:.2} s"));
        let meaning = "p50 of first deliveries, from SentTimestamp to the verified commit";
        line(f, "lag", lag(0.5), format!("{meaning}; p99 {}", lag(0.99)))?;
        let (loaded, calls) = (figures.messages.get((Outcome::Loaded,)).max(1) as f64, figures.calls.total());
        let committed = figures.transactions.get((Ended::Committed,));
        let mean = figures.batch.get(()).and_then(Histogram::mean).unwrap_or_default();
        line(f, "transactions", n(committed), format!("committed, of {mean:.0} messages on average"))?;
        let a_message = format!("{:.2}", calls as f64 / loaded);
        line(f, "calls a message", a_message, format!("{} calls to the queue for what was loaded", n(calls)))?;
        let cost = figures.billed.total() as f64 / loaded * DOLLARS_A_MILLION_CALLS;
        let meaning =
            format!("dollars for a million logins like these, at {DOLLARS_A_MILLION_CALLS:.2} a million calls");
        line(f, "cost of a million", format!("{cost:.2}"), meaning)
    }

    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Rows of user_logins, as anyone with access to the table sees them (long values are cut here):")?;
        let mut lines = vec![LOGIN.columns().map(|column| column.name.to_owned()).collect::<Vec<_>>()];
        for (login, day) in &self.rows {
            lines.push(login.values().map(cell).chain([day.to_string()]).collect());
        }
        let mut widths = vec![0; LOGIN.fields.len() + 1];
        for cells in &lines {
            let of_line = cells.iter().map(|cell| cell.chars().count());
            widths.iter_mut().zip(of_line).for_each(|(width, of_cell)| *width = of_cell.max(*width));
        }
        for cells in &lines {
            let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            writeln!(f, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }

    fn conclusion(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.promise_held() {
            return write!(f, "The promise held: every message is in the tables, and none of them twice.");
        }
        let Discrepancies { lost, doubled, unexpected, misrouted, leaked } = self.discrepancies;
        write!(f, "THE PROMISE DID NOT HOLD:")?;
        for (times, what) in [
            (lost, "messages that are lost"),
            (doubled, "messages that are there more than once"),
            (unexpected, "messages in the tables that nobody sent"),
            (misrouted, "malformed messages that were loaded, or logins that were dead-lettered"),
            (self.announced.wrong, "events that were not carried on, or are of no login"),
            (leaked, "rows, events or log lines that hold a clear address or device id"),
        ] {
            if times > 0 {
                write!(f, "\n  {what}: {}", HumanCount(times))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counts(f)?;
        writeln!(f)?;
        self.trouble(f)?;
        writeln!(f)?;
        self.table(f)?;
        writeln!(f)?;
        self.of_the_loaders(f)?;
        writeln!(f)?;
        self.conclusion(f)
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, count: impl fmt::Display, meaning: impl fmt::Display) -> fmt::Result {
    writeln!(f, "{name:<20}{:>10}  {meaning}", count.to_string())
}

fn cell((field, stored): (&Field, &Stored)) -> String {
    match stored {
        Stored::Null => String::new(),
        Stored::Text(text) if field.is_masked() => shortened(text, MASKED_SHOWN),
        Stored::Text(text) => shortened(text, TEXT_SHOWN),
        Stored::Integer(integer) => integer.to_string(),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn shortened(text: &str, chars: usize) -> String {
    match text.chars().count() <= chars {
        true => text.to_owned(),
        false => text.chars().take(chars - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{CallOutcome, Metrics, Operation};
    use crate::stream::Kind;

    fn report(discrepancies: Discrepancies) -> Report {
        let login = MaskedLogin::from_stored(&LOGIN, |field| match field.kind {
            Kind::Version => Stored::Integer(2_003_001),
            Kind::Text { .. } if field.nullable => Stored::Null,
            Kind::Address | Kind::Text { .. } => {
                Stored::Text(format!("{}.bGHOycw017d81C5PbGHOycw017d81C5P", field.key))
            }
        });
        let day = time::macros::date!(2026 - 03 - 01);
        Report {
            settings: Settings { messages: 10_000, seed: 1 },
            sent: SentCount { logins: 9_950, repeats: 2_480, malformed: 50 },
            delivered: 10_830,
            loaded: 9_950,
            dead_letters: BTreeMap::from([("invalid_ip".to_owned(), 50)]),
            absorbed: 730,
            discrepancies,
            pace: Pace {
                over: Duration::from_secs(10),
                p50: Duration::from_millis(620),
                p99: Duration::from_millis(3_810),
            },
            faults: FaultCounts { lost_reply: 1_064, ..FaultCounts::default() },
            killed_at: Some(5_145),
            rows: vec![(login, day)],
            figures: figures_of_loaders(),
            announced: Announced { events: 9_950, ..Announced::default() },
        }
    }

    fn figures_of_loaders() -> Snapshot {
        let metrics = Metrics::default();
        let holding = metrics.hold(10_830, 0, |_| ());
        holding.settle(10_790, |figures| {
            figures.messages.add((Outcome::Loaded,), 9_950);
            figures.messages.add((Outcome::Absorbed,), 740);
            figures.messages.add((Outcome::DeadLettered,), 100);
            figures.lag.observe((Nth::First,), 0.6);
            figures.transactions.add((Ended::Committed,), 85);
            (0..85).for_each(|_| figures.batch.observe((), 117.0));
            figures.calls.add((Operation::Receive, CallOutcome::Ok), 1_990);
            figures.billed.add((Operation::Receive,), 1_990);
        });
        metrics.snapshot()
    }

    /// The first two words of each line.
    fn figures(report: &Report) -> Vec<String> {
        let words = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        report.to_string().lines().map(words).collect()
    }

    #[test]
    fn the_report_says_each_figure_behind_its_name() {
        let report = report(Discrepancies::default());
        let (text, figures) = (report.to_string(), figures(&report));
        for expected in [
            "sent 10,000",
            "delivered 10,830",
            "loaded 9,950",
            "announced 9,950",
            "dead-lettered 50",
            "lost 0",
            "doubled 0",
            "leaked 0",
            "messages/s 995",
            "books 10,830",
            "transactions 85",
        ] {
            assert!(figures.iter().any(|figure| figure == expected), "{expected}: {text}");
        }
        let books = "received = 9,950 loaded + 100 dead-lettered + 740 absorbed + 40 in hand";
        let (calls, cost) = ("0.20  1,990 calls", "0.08  dollars for a million logins");
        for expected in ["730  deliveries", "0.6 s", "3.8 s", "1,064  calls", "none this time", books, calls, cost] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        let row = text.lines().find(|line| line.ends_with("2026-03-01")).unwrap();
        let shown: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(
            shown,
            [
                "user_id.bGHO…",
                "2003001",
                "device_type.…",
                "ip.bGHOycw017d81C5PbG…",
                "device_id.bGHOycw017d…",
                "2026-03-01"
            ]
        );
        assert!(report.promise_held() && text.ends_with("none of them twice."), "{text}");
    }

    #[test]
    fn a_broken_promise_is_said_with_every_figure_that_breaks_it() {
        let broken = report(Discrepancies { lost: 3, doubled: 1, ..Discrepancies::default() });
        let text = broken.to_string();
        assert!(!broken.promise_held());
        assert!(
            text.ends_with(
                "THE PROMISE DID NOT HOLD:\n  messages that are lost: 3\n  messages that are there more than once: 1"
            ),
            "{text}"
        );
        for discrepancies in [
            Discrepancies { unexpected: 1, ..Discrepancies::default() },
            Discrepancies { misrouted: 1, ..Discrepancies::default() },
            Discrepancies { leaked: 1, ..Discrepancies::default() },
        ] {
            assert!(!report(discrepancies).promise_held());
        }
        let unannounced = Announced { wrong: 2, ..Announced::default() };
        let text = Report { announced: unannounced, ..report(Discrepancies::default()) }.to_string();
        assert!(
            text.ends_with("THE PROMISE DID NOT HOLD:\n  events that were not carried on, or are of no login: 2"),
            "{text}"
        );
    }
}
