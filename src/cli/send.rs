//! `turnstile send`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::{Outcome, refuse};
use crate::config::{Mistakes, QueueArgs, given};
use crate::queue::sqs::{QueueAddress, Sender};
use crate::send::{SendReport, send};
use crate::shutdown::Signals;

/// How often a line tells of the progress where no terminal shows a bar.
const PLAIN_PROGRESS: Duration = Duration::from_secs(5);

/// What `turnstile send` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Sending is at least once: where a reply is lost, the same messages are sent again, and the last line says how many may \
be in the queue twice. Lines that the queue does not take are named by number and error code, never by content.

Exit codes: 0 everything was sent, 1 something was not, 2 wrong use.

Examples:
  turnstile send --queue logins logins.ndjson
  zcat logins.ndjson.gz | turnstile send --queue https://sqs.eu-central-1.amazonaws.com/123456789012/logins -")]
pub struct Args {
    /// The bodies, one a line, each 1 byte to 1 MiB of UTF-8 (LF or CRLF; empty lines are skipped); - is standard input
    #[arg(value_name = "FILE|-")]
    file: String,
    #[command(flatten)]
    queue: QueueArgs,
    /// The message group of what is sent to a FIFO queue: 1 to 128 letters, digits and punctuation
    /// [default: turnstile]
    #[arg(long, env = "TURNSTILE_GROUP", value_name = "NAME")]
    group: Option<String>,
}

impl Args {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let mut mistakes = Mistakes::default();
        let queue = self.queue.read(&mut mistakes);
        let group = self.group(&mut mistakes);
        let input =
            mistakes.take("FILE", Input::open(&self.file), "give a file with one body a line, or - for standard input");
        let all = queue.zip(group).zip(input);
        let ((settings, group), input) = match mistakes.or(all) {
            Ok(settings) => settings,
            Err(mistakes) => return refuse(&mistakes),
        };
        let sender = Sender::connect(&settings, group).await?;
        let stop = CancellationToken::new();
        let mut progress = Progress::new(input.bytes);
        let sending = send(input.reader, &sender, &stop, |report| progress.show(report));
        // The first signal lets the batches under way come home, the second does not.
        let mut signals = Signals::listen()?;
        let cut_off = async {
            signals.next().await;
            stop.cancel();
            signals.next().await
        };
        let report = tokio::select! {
            report = sending => report,
            signal = cut_off => anyhow::bail!("cut off by a second signal ({signal}): some lines may be sent"),
        };
        tell(&report, input.bytes, &settings.queue, progress.end(&report))?;
        Ok(if report.is_complete() { Outcome::Done } else { Outcome::Failed })
    }

    fn group(&self, mistakes: &mut Mistakes) -> Option<&str> {
        let group = given(&self.group).unwrap_or("turnstile");
        if group.len() <= 128 && group.chars().all(|c| c.is_ascii_graphic()) {
            return Some(group);
        }
        let problem = format!("{group:?} is no message group");
        mistakes.note("--group (TURNSTILE_GROUP)", problem, "give 1 to 128 letters, digits and punctuation")
    }
}

/// Where the bodies come from.
struct Input {
    reader: Box<dyn BufRead + Send>,
    /// How long it is, if it is a file.
    bytes: Option<u64>,
}

impl Input {
    fn open(file: &str) -> Result<Self, String> {
        if file == "-" {
            return Ok(Self { reader: Box::new(BufReader::new(io::stdin())), bytes: None });
        }
        let cannot = |error: &dyn std::fmt::Display| format!("{file:?} cannot be read ({error})");
        let opened = File::open(file).and_then(|opened| Ok((opened.metadata()?, opened)));
        let (about, opened) = opened.map_err(|error| cannot(&error))?;
        if about.is_dir() {
            return Err(cannot(&"it is a folder"));
        }
        let bytes = about.is_file().then_some(about.len());
        Ok(Self { reader: Box::new(BufReader::with_capacity(256 * 1024, opened)), bytes })
    }
}

/// A bar on a terminal, a line now and then elsewhere; both on standard error.
struct Progress {
    began: Instant,
    said: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    fn new(bytes: Option<u64>) -> Self {
        let bar = io::stderr().is_terminal().then(|| match bytes {
            Some(bytes) => ProgressBar::new(bytes)
                .with_style(style("{wide_bar} {bytes}/{total_bytes}  {msg}  {eta} left", ProgressStyle::default_bar)),
            None => ProgressBar::new_spinner()
                .with_style(style("{spinner} {bytes}  {msg}  {elapsed}", ProgressStyle::default_spinner)),
        });
        Self { began: Instant::now(), said: Instant::now(), bar }
    }

    fn show(&mut self, report: &SendReport) {
        let message = || format!("{} sent, {} not", HumanCount(report.sent), HumanCount(report.not_sent_count()));
        match &self.bar {
            Some(bar) => {
                bar.set_message(message());
                bar.set_position(report.bytes_read);
            }
            None if self.said.elapsed() >= PLAIN_PROGRESS => {
                self.said = Instant::now();
                // Who does not read the progress still wants the messages sent.
                writeln!(io::stderr(), "{}", message()).ok();
            }
            None => {}
        }
    }

    /// How long it took.
    fn end(self, report: &SendReport) -> Duration {
        if let Some(bar) = self.bar {
            bar.set_position(report.bytes_read);
            bar.finish_and_clear();
        }
        self.began.elapsed()
    }
}

fn style(template: &str, otherwise: fn() -> ProgressStyle) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| otherwise())
}

/// What was not sent on standard error, what was on standard output. `length` is the file's, where it is one.
fn tell(report: &SendReport, length: Option<u64>, queue: &QueueAddress, took: Duration) -> io::Result<()> {
    let mut complaints = io::stderr().lock();
    for line in &report.not_sent {
        writeln!(complaints, "line {}: not sent: {}", line.line, line.code)?;
    }
    if report.not_sent_count() > report.not_sent.len() as u64 {
        let counts = report.not_sent_by_code.iter().map(|(code, lines)| format!("{} {code}", HumanCount(*lines)));
        writeln!(complaints, "… in all: {}", counts.collect::<Vec<_>>().join(", "))?;
    }
    if let Some(stopped) = &report.stopped {
        let last = report.last_line;
        match length == Some(report.bytes_read) {
            true => writeln!(complaints, "{stopped}: the file ends with line {last}")?,
            false => writeln!(complaints, "{stopped}: no line after {last} was sent")?,
        }
    }
    writeln!(io::stdout(), "{}", summary(report, queue, took))
}

fn summary(report: &SendReport, queue: &QueueAddress, took: Duration) -> String {
    let rate = report.sent as f64 / took.as_secs_f64().max(0.001);
    let mut text = format!(
        "{} {} sent to {queue} in {} ({}/s), {} not sent",
        HumanCount(report.sent),
        if report.sent == 1 { "message" } else { "messages" },
        if took < Duration::from_secs(60) {
            format!("{:.1} s", took.as_secs_f64())
        } else {
            HumanDuration(took).to_string()
        },
        HumanCount(rate as u64),
        HumanCount(report.not_sent_count()),
    );
    if report.empty > 0 {
        let lines = if report.empty == 1 { "line" } else { "lines" };
        text += &format!(", {} empty {lines} skipped", HumanCount(report.empty));
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
        let queue: QueueAddress = "logins".parse().unwrap();
        let text = summary(&report, &queue, Duration::from_secs(4));
        assert_eq!(text, "12,000 messages sent to logins in 4.0 s (3,000/s), 0 not sent");
        (report.sent, report.empty) = (1, 1);
        let text = summary(&report, &queue, Duration::from_secs(4));
        assert_eq!(text, "1 message sent to logins in 4.0 s (0/s), 0 not sent, 1 empty line skipped");
        report.not_sent_by_code.insert("too-long".to_owned(), 3);
        (report.empty, report.perhaps_twice) = (2, 10);
        let text = summary(&report, &queue, Duration::from_secs(4));
        assert!(text.ends_with("3 not sent, 2 empty lines skipped, at most 10 in the queue twice"), "{text}");
    }
}
