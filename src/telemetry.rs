//! What can be seen from outside: the log, and the counts and latencies behind its lines.

use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use time::OffsetDateTime;
use tracing::Metadata;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::field::{RecordFields, VisitFmt as _, VisitOutput as _};
use tracing_subscriber::filter::Directive;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultVisitor, Writer};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::acknowledge::Acknowledged;
use crate::load::Tally;

/// Libraries whose lower levels print bound parameters, bodies or credentials; they stay at these levels or above,
/// whatever `RUST_LOG` says. Everything that is not ours and not named here stays at `info` or above.
const CAPPED: [(&str, LevelFilter); 7] = [
    ("tokio_postgres", LevelFilter::INFO),
    ("postgres", LevelFilter::INFO),
    // That a connection is lost is said where it matters, by us.
    ("deadpool.postgres", LevelFilter::ERROR),
    // Their warnings dump requests and long chains of causes; what matters of them stands in errors of ours.
    ("aws_config", LevelFilter::ERROR),
    ("aws_runtime", LevelFilter::ERROR),
    ("aws_smithy_runtime", LevelFilter::ERROR),
    ("refinery_core", LevelFilter::WARN),
];

/// The level above which a library's own lines are never shown.
const LIBRARIES: LevelFilter = LevelFilter::INFO;

/// How the log is to be.
#[derive(Clone, Debug)]
pub struct Log {
    /// What is shown where no directive says otherwise.
    pub level: LevelFilter,
    /// JSON, and not lines for people.
    pub is_json: bool,
    /// Whether lines for people are coloured.
    pub has_colours: bool,
    /// What `RUST_LOG` holds: levels by module, which refine the level. They cannot lower the libraries that print values.
    pub directives: String,
}

/// Starts the log on standard error. A directive that is none is told and left out: it must not silence the program.
pub fn start(log: &Log) {
    let (directives, wrong) = directives(&log.directives);
    let wanted = EnvFilter::builder().parse_lossy(format!("{},{}", log.level, directives.join(",")));
    let format = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = match log.is_json {
        false => format.with_ansi(log.has_colours).with_target(false).fmt_fields(RemedyBelow).boxed(),
        true => format.json().flatten_event(true).boxed(),
    };
    // A second start (tests) keeps the first log.
    if tracing_subscriber::registry().with(NeverValues).with(wanted).with(lines).try_init().is_err() {
        tracing::debug!("the log was started before");
    }
    for directive in wrong {
        tracing::warn!(
            "RUST_LOG: {directive:?} is neither a level (error, warn, info, debug, trace, off) nor MODULE=LEVEL, and is not followed"
        );
    }
}

/// Writes the fields of a line as usual, and below them what to do about it, as the errors of every command do.
struct RemedyBelow;

impl<'w> FormatFields<'w> for RemedyBelow {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = WithoutRemedy { rest: DefaultVisitor::new(writer, true), remedy: None };
        fields.record(&mut line);
        if let Some(remedy) = line.remedy {
            write!(line.rest.writer(), "\n    {remedy}")?;
        }
        line.rest.finish()
    }
}

/// Writes every field but one.
struct WithoutRemedy<'w> {
    rest: DefaultVisitor<'w>,
    remedy: Option<String>,
}

impl Visit for WithoutRemedy<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.rest.record_debug(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "remedy" => self.remedy = Some(value.to_owned()),
            _ => self.rest.record_str(field, value),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.rest.record_error(field, value);
    }
}

/// The directives of a text that can be followed, and those that cannot.
///
/// A word alone that is no level names a module, says the library, and then nothing else is logged. It is a misspelt level
/// unless it names one of ours.
fn directives(text: &str) -> (Vec<&str>, Vec<&str>) {
    let all = text.split(',').map(str::trim).filter(|directive| !directive.is_empty());
    all.partition(|directive| {
        let names_ours = directive.split("::").next() == Some("turnstile");
        let is_level = directive.parse::<LevelFilter>().is_ok();
        let has_level = directive.contains('=') && directive.parse::<Directive>().is_ok();
        is_level || names_ours && directive.parse::<Directive>().is_ok() || has_level
    })
}

/// A filter over the whole log: what it refuses, no setting brings back.
struct NeverValues;

impl<S: tracing::Subscriber> Layer<S> for NeverValues {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        may_be_logged(metadata.target(), *metadata.level())
    }
}

fn may_be_logged(target: &str, level: tracing::Level) -> bool {
    let is_of = |name: &str| target.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    if is_of("turnstile") {
        return true;
    }
    let capped = CAPPED.iter().find(|(name, _)| is_of(name)).map_or(LIBRARIES, |(_, level)| *level);
    level <= capped
}

/// What one batch brought, from the lane that took it through.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchReport {
    /// Deliveries received.
    pub received: u64,
    /// What the transactions did.
    pub tally: Tally,
    /// Deliveries given back to the queue for another attempt.
    pub returned: u64,
    /// Transactions that ran again.
    pub attempts_repeated: u64,
    /// What became of the deletes.
    pub acknowledged: Acknowledged,
    /// Keys in bodies that are none of a login's.
    pub unknown_keys: u64,
}

/// The counts of a process since its start, and its latencies since the last time they were taken.
#[derive(Debug)]
pub struct Metrics(Mutex<State>);

#[derive(Debug)]
struct State {
    started: Instant,
    totals: Totals,
    latencies: Histogram<u64>,
    all_latencies: Histogram<u64>,
    last: (Instant, Totals),
}

/// Counts since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Deliveries received.
    pub received: u64,
    /// Logins loaded.
    pub loaded: u64,
    /// Messages dead-lettered.
    pub dead_lettered: u64,
    /// Deliveries that brought nothing new.
    pub duplicates: u64,
    /// Of these, messages whose login another message had brought under the same key.
    pub absorbed: u64,
    /// Messages that brought another login under a key that was taken.
    pub contradicting: u64,
    /// Deliveries given back to the queue for another attempt.
    pub returned: u64,
    /// Deliveries deleted from the queue.
    pub deleted: u64,
    /// Deliveries that the queue did not delete.
    pub not_deleted: u64,
    /// Keys in bodies that are none of a login's.
    pub unknown_keys: u64,
    /// Transactions that ran again.
    pub attempts_repeated: u64,
}

/// Counts and latencies over a stretch of time.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Counts since the start.
    pub totals: Totals,
    /// How long the stretch was.
    pub over: Duration,
    /// Logins loaded in it, a second.
    pub loaded_per_second: f64,
    /// Half of its logins took at most this long from the queue's SentTimestamp to the commit.
    pub p50: Duration,
    /// 99 of a hundred did.
    pub p99: Duration,
}

impl Default for Metrics {
    fn default() -> Self {
        let now = Instant::now();
        Self(Mutex::new(State {
            started: now,
            totals: Totals::default(),
            latencies: milliseconds(),
            all_latencies: milliseconds(),
            last: (now, Totals::default()),
        }))
    }
}

/// Three digits, from a millisecond to as long as a queue can hold a message.
fn milliseconds() -> Histogram<u64> {
    let fourteen_days = 14 * 24 * 60 * 60 * 1000;
    Histogram::new_with_max(fourteen_days, 3).unwrap_or_else(|_| unreachable!("the bounds are constants in order"))
}

impl Metrics {
    /// Adds what a batch brought.
    pub fn add(&self, batch: &BatchReport) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).totals.add(batch);
    }

    /// Adds the latencies of logins that were sent at these times and committed now.
    pub fn time(&self, sent: &[OffsetDateTime], committed_at: OffsetDateTime) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for sent_at in sent {
            let latency = u64::try_from((committed_at - *sent_at).whole_milliseconds()).unwrap_or(0);
            state.latencies.saturating_record(latency);
            state.all_latencies.saturating_record(latency);
        }
    }

    /// What happened since the last call, and starts a new stretch.
    pub fn take(&self) -> Summary {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, before) = state.last;
        let summary = summarize(&state.totals, before.loaded, since.elapsed(), &state.latencies);
        state.last = (Instant::now(), state.totals);
        state.latencies.reset();
        summary
    }

    /// What happened since the start.
    pub fn whole(&self) -> Summary {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        summarize(&state.totals, 0, state.started.elapsed(), &state.all_latencies)
    }
}

fn summarize(totals: &Totals, loaded_before: u64, over: Duration, latencies: &Histogram<u64>) -> Summary {
    let loaded = totals.loaded.saturating_sub(loaded_before);
    Summary {
        totals: *totals,
        over,
        loaded_per_second: loaded as f64 / over.as_secs_f64().max(0.001),
        p50: Duration::from_millis(latencies.value_at_quantile(0.5)),
        p99: Duration::from_millis(latencies.value_at_quantile(0.99)),
    }
}

impl Summary {
    /// Writes the line of the log that says what was done: counts since the start, rate and latencies of the stretch.
    pub fn log(&self, what: &str) {
        let milliseconds = |latency: Duration| u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            seconds = self.over.as_secs(),
            loaded_per_second = (self.loaded_per_second * 10.0).round() / 10.0,
            p50_ms = milliseconds(self.p50),
            p99_ms = milliseconds(self.p99),
            received = self.totals.received,
            loaded = self.totals.loaded,
            dead_lettered = self.totals.dead_lettered,
            duplicates = self.totals.duplicates,
            absorbed = self.totals.absorbed,
            contradicting = self.totals.contradicting,
            returned = self.totals.returned,
            not_deleted = self.totals.not_deleted,
            unknown_keys = self.totals.unknown_keys,
            attempts_repeated = self.totals.attempts_repeated,
            "{what}: {}",
            self.totals
        );
    }
}

impl Totals {
    fn add(&mut self, batch: &BatchReport) {
        self.received += batch.received;
        self.loaded += batch.tally.loaded;
        self.dead_lettered += batch.tally.dead_lettered;
        self.duplicates += batch.tally.duplicates();
        self.absorbed += batch.tally.absorbed;
        self.contradicting += batch.tally.contradicting;
        self.returned += batch.returned;
        self.deleted += batch.acknowledged.deleted;
        self.not_deleted += batch.acknowledged.not_deleted;
        self.unknown_keys += batch.unknown_keys;
        self.attempts_repeated += batch.attempts_repeated;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} received, {} loaded, {} dead-lettered, {} duplicates absorbed, {} returned for another attempt",
            self.received, self.loaded, self.dead_lettered, self.duplicates, self.returned
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use tracing::Level;

    #[test]
    fn libraries_that_print_values_stay_quiet_whatever_is_asked() {
        for (target, level, may) in [
            ("turnstile::load", Level::TRACE, true),
            ("tokio_postgres::query", Level::DEBUG, false),
            ("tokio_postgres::connection", Level::INFO, true),
            ("aws_smithy_runtime::client::orchestrator", Level::TRACE, false),
            ("aws_smithy_runtime::client::orchestrator", Level::DEBUG, false),
            ("aws_config::profile", Level::INFO, false),
            ("aws_config::profile", Level::WARN, false),
            ("aws_config::profile", Level::ERROR, true),
            ("deadpool.postgres", Level::WARN, false),
            ("hyper_util::client", Level::TRACE, false),
            ("turnstile_of_someone_else", Level::DEBUG, false),
        ] {
            assert_eq!(may_be_logged(target, level), may, "{target} {level}");
        }
    }

    /// Where a test finds what was written.
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_to_do_about_a_line_is_told_below_it() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let lines = tracing_subscriber::fmt::layer().without_time().with_ansi(false).with_target(false);
        let to = written.clone();
        let lines = lines.fmt_fields(RemedyBelow).with_writer(move || Shared(to.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            tracing::error!(remedy = "set it on", attempt = 2, "it is off");
            tracing::error!(remedy = None::<&str>, "so be it");
        });
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(written, "ERROR it is off attempt=2\n    set it on\nERROR so be it\n");
    }

    #[test]
    fn a_misspelt_directive_is_not_followed_and_the_rest_is() {
        for (text, followed, wrong) in [
            ("", &[][..], &[][..]),
            ("debug", &["debug"], &[]),
            ("debugg", &[], &["debugg"]),
            ("turnstile::load=debug, warn", &["turnstile::load=debug", "warn"], &[]),
            ("turnstile", &["turnstile"], &[]),
            ("turnstile=loud,hyper=trace", &["hyper=trace"], &["turnstile=loud"]),
            ("off", &["off"], &[]),
        ] {
            assert_eq!(directives(text), (followed.to_vec(), wrong.to_vec()), "{text:?}");
        }
    }

    #[test]
    fn a_stretch_counts_what_came_in_it_and_the_whole_counts_all() {
        let metrics = Metrics::default();
        let sent = OffsetDateTime::UNIX_EPOCH;
        let batch = |loaded| BatchReport { tally: Tally { loaded, ..Tally::default() }, ..BatchReport::default() };
        metrics.add(&batch(10));
        metrics.time(&[sent; 10], sent + Duration::from_millis(20));
        assert_eq!(metrics.take().p99.as_millis(), 20);
        metrics.add(&batch(5));
        metrics.time(&[sent; 5], sent + Duration::from_millis(80));
        let stretch = metrics.take();
        assert_eq!((stretch.totals.loaded, stretch.p50.as_millis()), (15, 80));
        assert_eq!(metrics.take().p99, Duration::ZERO);
        assert_eq!(metrics.whole().p50.as_millis(), 20);
    }
}
