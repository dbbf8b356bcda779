//! `turnstile send`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek as _};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use clap::ValueHint;
use indicatif::{HumanCount, HumanDuration};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::terminal::{Progress, counted, note, say};
use super::{Failure, Outcome};
use crate::config::Given;
use crate::config::rows::{self, Format};
use crate::queue::Fault;
use crate::queue::sqs::{QueueAddress, Sender};
use crate::send::{Bodies, EndedEarly, Look, NotSent, SendReport, look, send};
use crate::shutdown::Signals;

/// What `turnstile send` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
A file is looked through before anything is sent: if one line of it is not a login, nothing is sent. Standard input \
cannot be read twice: there the lines before the first that is not a login are sent, and none after. jq turns JSON of \
another form into one login per line: `jq -c '.[]'` for an array, `jq -c .` for objects over several lines.

Sending is at least once: where a reply is lost, the same messages are sent again, and the last line says how many may \
be in the queue twice. Lines that are not logins, or that the queue does not take, are named by number and code, and \
never by content.")]
pub struct Args {
    /// The logins, one per line, each 1 byte to 1 MiB of UTF-8 (LF or CRLF; empty lines are skipped); - is standard input
    #[arg(value_name = "FILE|-", value_hint = ValueHint::FilePath)]
    file: String,
    /// Send every line, whatever it holds: a body that is not a login becomes a dead letter
    #[arg(long)]
    raw: bool,
    /// Look at every line and say what would be sent; no queue is asked or needed
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let mut mistakes = given.mistakes();
        let input = mistakes.take(
            "FILE",
            Input::open(&self.file),
            "give a file with one login per line, or - for standard input",
        );
        if self.dry_run {
            let format = given.read(&rows::FORMAT, &mut mistakes);
            let (input, format) = mistakes.or(input.zip(format))?;
            return self.rehearse(input, format).await;
        }
        let queue = given.queue(&mut mistakes);
        let group = given.read(&rows::GROUP, &mut mistakes);
        let format = given.read(&rows::FORMAT, &mut mistakes);
        let ((settings, group), (input, format)) = mistakes.or(queue.zip(group).zip(input.zip(format)))?;
        if input.bytes.is_some() && !self.raw {
            let looked = looked(&input, self.bodies()).await?;
            refuse_wrong(&looked, self.bodies())?;
        }
        let sender = Sender::connect(&settings, &group).await?;
        let stop = CancellationToken::new();
        let (began, mut progress) = (Instant::now(), Progress::of_bytes(input.bytes));
        let show = |report: &SendReport| {
            let not_sent = HumanCount(report.not_sent_count());
            progress.show(report.bytes_read, || format!("{} sent, {not_sent} not sent", HumanCount(report.sent)));
        };
        let sending =
            send(input.reader().map_err(Failure::of_system(UNREADABLE))?, self.bodies(), &sender, &stop, show);
        // The first signal lets the batches under way return, the second does not.
        let mut signals = Signals::listen().map_err(Failure::of_system("listening for signals"))?;
        let asked_to_end = OnceLock::new();
        let cut_off = async {
            let _first = asked_to_end.set(signals.next().await);
            stop.cancel();
            signals.next().await
        };
        let report = tokio::select! {
            report = sending => report,
            signal = cut_off => {
                note(&format!("cut off by a second signal ({signal}): some lines may be sent"));
                return Ok(Outcome::EndedBy(signal));
            }
        };
        progress.end();
        tell_lines("not sent", &report.not_sent, &report.not_sent_by_code);
        let place = place_of(&settings.queue, sender.endpoint());
        say(&match format {
            Format::Text => summary(&report, &place, began.elapsed()),
            Format::Json => json_of(&report, &place, began.elapsed()).to_string(),
        })?;
        match (asked_to_end.get(), &report.stopped) {
            _ if report.is_complete() => Ok(Outcome::Done),
            (Some(signal), _) => Ok(Outcome::EndedBy(*signal)),
            (None, None) => Ok(Outcome::Failed),
            (None, Some(stopped)) => Err(ended_early(&report, stopped, input.bytes, sender.endpoint())),
        }
    }

    fn bodies(&self) -> Bodies {
        if self.raw { Bodies::Raw } else { Bodies::Logins }
    }

    /// Looks at everything and sends nothing.
    async fn rehearse(&self, input: Input, format: Format) -> Result<Outcome, Failure> {
        let looked = looked(&input, self.bodies()).await?;
        let wrong = looked.wrong_count();
        let mut text = format!("{} to be sent", counted(looked.sendable, "message"));
        if looked.empty > 0 {
            text += &format!(", {} to be skipped", counted(looked.empty, "empty line"));
        }
        if format == Format::Json {
            text = json!({"sendable": looked.sendable, "wrong": wrong, "wrong_by_code": looked.wrong_by_code, "empty": looked.empty})
                .to_string();
        }
        say(&text)?;
        refuse_wrong(&looked, self.bodies()).map(|()| Outcome::Done)
    }
}

/// Where the bodies come from.
struct Input {
    /// Standard input, if there is none.
    file: Option<File>,
    /// How long it is, if it can be read twice.
    bytes: Option<u64>,
}

impl Input {
    fn open(name: &str) -> Result<Self, String> {
        if name == "-" {
            return Ok(Self { file: None, bytes: None });
        }
        let cannot = |error: &dyn std::fmt::Display| format!("{name:?} cannot be read ({error})");
        let opened = File::open(name).and_then(|opened| Ok((opened.metadata()?, opened)));
        let (about, opened) = opened.map_err(|error| cannot(&error))?;
        if about.is_dir() {
            return Err(cannot(&"it is a folder"));
        }
        // A pipe with a name is read once, as standard input is.
        Ok(Self { file: Some(opened), bytes: about.is_file().then_some(about.len()) })
    }

    /// Reads it, from its beginning where it has one.
    fn reader(&self) -> io::Result<Box<dyn BufRead + Send>> {
        let Some(file) = &self.file else { return Ok(Box::new(BufReader::new(io::stdin()))) };
        let mut file = file.try_clone()?;
        if self.bytes.is_some() {
            file.rewind()?;
        }
        Ok(Box::new(BufReader::with_capacity(256 * 1024, file)))
    }
}

const UNREADABLE: &str = "the file cannot be read";

/// Looks in a thread that may take its time.
async fn looked(input: &Input, bodies: Bodies) -> Result<Look, Failure> {
    let reader = input.reader().map_err(Failure::of_system(UNREADABLE))?;
    let looking = tokio::task::spawn_blocking(move || look(reader, bodies)).await;
    looking.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(Failure::of_system(UNREADABLE))
}

/// Refuses a file of which something cannot be sent.
fn refuse_wrong(looked: &Look, bodies: Bodies) -> Result<(), Failure> {
    let Some(first) = looked.wrong.first() else { return Ok(()) };
    if let Some(form) = looked.form {
        let remedy = format!("{}; --raw sends each line as it is", form.remedy());
        return Err(Failure::new(format!("nothing was sent: line {} {form}", first.line), remedy));
    }
    tell_lines("cannot be sent", &looked.wrong, &looked.wrong_by_code);
    let lines = counted(looked.wrong_count(), "line");
    Err(match bodies {
        Bodies::Logins => {
            Failure::new(format!("nothing was sent: {lines} cannot be"), "mend or remove them, or send with --raw")
        }
        Bodies::Raw => Failure::new(format!("nothing was sent: no queue takes {lines}"), "mend or remove them"),
    })
}

/// The first lines by their numbers, all by their codes, on standard error.
fn tell_lines(what: &str, first: &[NotSent], by_code: &BTreeMap<String, u64>) {
    for line in first {
        note(&format!("line {}: {what}: {}", line.line, line.code));
    }
    if by_code.values().sum::<u64>() > first.len() as u64 {
        let counts = by_code.iter().map(|(code, lines)| format!("{} {code}", HumanCount(*lines)));
        note(&format!("… in all: {}", counts.collect::<Vec<_>>().join(", ")));
    }
}

/// Why not all of it was sent, and from where on nothing was. `length` is the file's, where it is one.
fn ended_early(report: &SendReport, stopped: &EndedEarly, length: Option<u64>, endpoint: &str) -> Failure {
    let last = report.last_line;
    let until = match stopped {
        EndedEarly::Misfit(misfit) => format!("no line from {} on was sent", misfit.line),
        _ if report.sent + report.perhaps_sent == 0 => "nothing was sent".to_owned(),
        _ if length == Some(report.bytes_read) => format!("all lines were tried, up to the last, {last}"),
        _ => format!("no line after {last} was sent"),
    };
    let what = match stopped {
        EndedEarly::Queue(error) if error.fault == Fault::Unreachable => {
            format!("the queue server at {endpoint} cannot be reached")
        }
        EndedEarly::Queue(error) => format!("{error} at {endpoint}"),
        EndedEarly::File(_) | EndedEarly::Misfit(_) | EndedEarly::Signal => stopped.to_string(),
    };
    Failure::of([(format!("{what}: {until}"), stopped.remedy())])
}

fn json_of(report: &SendReport, queue: &str, took: Duration) -> serde_json::Value {
    json!({
        "queue": queue,
        "sent": report.sent,
        "not_sent": report.not_sent_count(),
        "not_sent_by_code": report.not_sent_by_code,
        "perhaps_sent": report.perhaps_sent,
        "perhaps_twice": report.perhaps_twice,
        "empty": report.empty,
        "last_line": report.last_line,
        "stopped": report.stopped.as_ref().map(ToString::to_string),
        "seconds": took.as_secs_f64(),
    })
}

/// The queue, and where it was called if its own URL does not say so.
fn place_of(queue: &QueueAddress, endpoint: &str) -> String {
    let queue = queue.to_string();
    match queue.starts_with(endpoint) {
        true => queue,
        false => format!("{queue} at {endpoint}"),
    }
}

fn summary(report: &SendReport, queue: &str, took: Duration) -> String {
    let rate = report.sent as f64 / took.as_secs_f64().max(0.001);
    let mut text = format!(
        "{} sent to {queue} in {} ({}/s), {} not sent",
        counted(report.sent, "message"),
        if took < Duration::from_secs(60) {
            format!("{:.1} s", took.as_secs_f64())
        } else {
            HumanDuration(took).to_string()
        },
        HumanCount(rate as u64),
        HumanCount(report.not_sent_count()),
    );
    if report.perhaps_sent > 0 {
        text += &format!(" (at most {} in the queue all the same)", HumanCount(report.perhaps_sent));
    }
    if report.empty > 0 {
        text += &format!(", {} skipped", counted(report.empty, "empty line"));
    }
    if report.perhaps_twice > 0 {
        text += &format!(", at most {} in the queue twice", HumanCount(report.perhaps_twice));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_says_what_was_sent_how_fast_and_what_was_not() {
        let mut report = SendReport { sent: 12_000, ..SendReport::default() };
        let queue = place_of(&"logins".parse().unwrap(), "http://localhost:9324");
        let text = summary(&report, &queue, Duration::from_secs(4));
        assert_eq!(text, "12,000 messages sent to logins at http://localhost:9324 in 4.0 s (3,000/s), 0 not sent");
        let queue = place_of(&"http://localhost:9324/1/logins".parse().unwrap(), "http://localhost:9324");
        (report.sent, report.empty) = (1, 1);
        let text = summary(&report, &queue, Duration::from_secs(4));
        assert_eq!(
            text,
            "1 message sent to http://localhost:9324/1/logins in 4.0 s (0/s), 0 not sent, 1 empty line skipped"
        );
        report.not_sent_by_code.insert("too-long".to_owned(), 3);
        (report.empty, report.perhaps_twice, report.perhaps_sent) = (2, 10, 2);
        let text = summary(&report, &queue, Duration::from_secs(4));
        let all =
            "3 not sent (at most 2 in the queue all the same), 2 empty lines skipped, at most 10 in the queue twice";
        assert!(text.ends_with(all), "{text}");
    }
}
