//! What can be seen from outside: the log, the line in it that says what was done, and traces.

mod report;
#[cfg_attr(not(feature = "traces"), path = "telemetry/no_traces.rs")]
pub mod traces;

use std::fmt;
use std::io;
use std::sync::OnceLock;

use tracing::Metadata;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing_subscriber::field::{RecordFields, VisitFmt as _, VisitOutput as _};
use tracing_subscriber::filter::{Directive, FilterExt as _, filter_fn};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultVisitor, Writer};
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

pub use self::report::Report;
use crate::metrics::{LogLevel, count_log_line};
use crate::spans;

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
    /// Whether the command sends traces, where the standard variables ask for them.
    pub has_traces: bool,
}

/// Whether the log is JSON, once it was started.
static IS_JSON: OnceLock<bool> = OnceLock::new();

/// Starts the log on standard error, and the traces. A directive that is none is told and left out: it must not silence
/// the program; and traces that cannot be had keep nobody from loading.
pub fn start(log: &Log) {
    let (directives, wrong) = directives(&log.directives);
    let wanted = EnvFilter::builder().parse_lossy(format!("{},{}", log.level, directives.join(",")));
    let format = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = match log.is_json {
        false => format.with_ansi(log.has_colours).with_target(false).fmt_fields(RemedyBelow).boxed(),
        true => format.json().flatten_event(true).boxed(),
    };
    IS_JSON.get_or_init(|| log.is_json);
    let lines = tracing_subscriber::registry().with(lines.and_then(Counted).with_filter(lines_only(wanted)));
    let (started, unusable) = match if log.has_traces { traces::layer() } else { Ok(None) } {
        Ok(Some(traces)) => (lines.with(traces).try_init(), None),
        Ok(None) => (lines.try_init(), None),
        Err(unusable) => (lines.try_init(), Some(unusable)),
    };
    // A second start (tests) keeps the first log.
    if started.is_err() {
        tracing::debug!("the log was started before");
    }
    for directive in wrong {
        tracing::warn!(
            "RUST_LOG: {directive:?} is neither a level (error, warn, info, debug, trace, off) nor MODULE=LEVEL, and is not followed"
        );
    }
    if let Some(unusable) = unusable {
        tracing::warn!(remedy = unusable.remedy, "traces are not sent: {}", unusable.what);
    }
}

/// What is wanted of the log, but for what is never shown. Spans are no lines, nor a part of them.
fn lines_only<S>(wanted: impl Filter<S>) -> impl Filter<S> {
    let no_spans = filter_fn(|metadata| metadata.target() != spans::TARGET).with_max_level_hint(LevelFilter::TRACE);
    NeverValues.and(no_spans).and(wanted)
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

/// A filter before everything that leaves the program, log and traces: what it refuses, no setting brings back.
struct NeverValues;

impl<S> Filter<S> for NeverValues {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        may_be_logged(metadata.target(), *metadata.level())
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        match may_be_logged(metadata.target(), *metadata.level()) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    /// Of ours it refuses nothing.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }
}

/// Counts what is logged.
struct Counted;

impl<S: tracing::Subscriber> Layer<S> for Counted {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        match *event.metadata().level() {
            tracing::Level::ERROR => count_log_line(LogLevel::Error),
            tracing::Level::WARN => count_log_line(LogLevel::Warn),
            tracing::Level::INFO => count_log_line(LogLevel::Info),
            tracing::Level::DEBUG | tracing::Level::TRACE => {}
        }
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

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::message::QueueIdentity;
    use tracing::{Level, Subscriber as _};

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

    /// What the log says of what happens, without times.
    pub(super) fn logged(happens: impl FnOnce()) -> String {
        let written = Arc::new(Mutex::new(Vec::new()));
        let lines = tracing_subscriber::fmt::layer().without_time().with_ansi(false).with_target(false);
        let to = written.clone();
        let lines = lines.fmt_fields(RemedyBelow).with_writer(move || Shared(to.clone()));
        let lines = lines.with_filter(lines_only(EnvFilter::new("info")));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), happens);
        let written = written.lock().unwrap().clone();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn what_to_do_about_a_line_is_told_below_it() {
        let written = logged(|| {
            tracing::error!(remedy = "set it on", attempt = 2, "it is off");
            tracing::error!(remedy = None::<&str>, "so be it");
        });
        assert_eq!(written, "ERROR it is off attempt=2\n    set it on\nERROR so be it\n");
    }

    #[test]
    fn a_span_is_no_part_of_a_line() {
        let queue = QueueIdentity::new("logins");
        let written = logged(|| {
            let span = spans::receive(&queue);
            span.in_scope(|| tracing::info!("within"));
        });
        assert_eq!(written, " INFO within\n");
    }

    /// Or each line of a library that is below it would be looked at.
    #[test]
    fn what_is_below_the_level_of_the_log_is_refused_before_it_is_looked_at() {
        let lines = tracing_subscriber::fmt::layer().with_filter(lines_only(EnvFilter::new("info")));
        let log = tracing_subscriber::registry().with(lines);
        assert_eq!(log.max_level_hint(), Some(LevelFilter::INFO));
    }

    #[test]
    fn nobody_is_interested_in_a_span_unless_traces_are_sent() {
        let make = || spans::receive(&QueueIdentity::new("logins"));
        let seen = tracing::subscriber::with_default(tracing_subscriber::registry(), || make().metadata()).unwrap();
        let lines = || tracing_subscriber::fmt::layer().with_filter(lines_only(EnvFilter::new("turnstile=trace")));
        let alone = tracing_subscriber::registry().with(lines());
        assert!(alone.register_callsite(seen).is_never());
        tracing::subscriber::with_default(alone, || assert!(make().is_disabled()));

        let ours = filter_fn(|metadata| metadata.target() == spans::TARGET);
        let traced = tracing_subscriber::fmt::layer().with_filter(ours);
        assert!(!tracing_subscriber::registry().with(lines()).with(traced).register_callsite(seen).is_never());
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
}
