//! What commands write: lines, safe texts, colours, tables' widths, progress.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use super::Failure;
use crate::config::rows::Colours;
pub(super) use crate::readable::{exact, printable, seconds};

/// Writes a line of a command's answer to standard output, at once.
///
/// A reader may stop before the end, as `head` does: what is written then is lost, and the command goes on to its end.
///
/// # Errors
///
/// When it cannot be written for another reason: a full disk.
pub(super) fn say(line: &str) -> Result<(), Failure> {
    write_out(format!("{line}\n").as_bytes())
}

/// Writes bytes as they are; else as [`say`].
pub(super) fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    is_read(bytes).map(|_| ())
}

/// Writes bytes as [`write_out`] does, and says whether somebody still reads: for a command that has no end of its own.
pub(super) fn is_read(bytes: &[u8]) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).map_err(Failure::of_system("the answer cannot be written")),
    }
}

/// Writes a line for people to standard error. The command goes on if nobody reads it.
pub(super) fn note(line: &str) {
    writeln!(io::stderr(), "{line}").unwrap_or_default();
}

/// Asks on the terminal whether to go on, unless that is said already.
///
/// # Errors
///
/// Where nobody can be asked.
pub(super) fn agreed(question: &str, is_said: bool) -> Result<bool, Failure> {
    if is_said {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        let what = format!("{question} Nobody can be asked: standard input is no terminal");
        return Err(Failure::new(what, "add --yes"));
    }
    write!(io::stderr(), "{question} [y/N] ").unwrap_or_default();
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(Failure::of_system("the answer cannot be read"))?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// `1 message`, `2 messages`.
pub(super) fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", HumanCount(count), if count == 1 { "" } else { "s" })
}

/// Rows as lines with aligned columns.
pub(super) fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// What `--color` said, for the whole process; the index of [`Colours::ALL`].
static COLOURS: AtomicU8 = AtomicU8::new(0);

/// Remembers what `--color` said.
pub(super) fn choose(colours: Colours) {
    COLOURS.store(colours as u8, Ordering::Relaxed);
}

/// Whether standard output is to be coloured.
pub(super) fn has_colours() -> bool {
    in_colour(io::stdout().is_terminal())
}

/// Whether a stream is to be coloured.
pub(super) fn in_colour(is_terminal: bool) -> bool {
    let chosen = Colours::ALL.into_iter().find(|colours| *colours as u8 == COLOURS.load(Ordering::Relaxed));
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let forced = is_set("CLICOLOR_FORCE") && std::env::var_os("CLICOLOR_FORCE").is_none_or(|value| value != "0");
    wanted(chosen.unwrap_or_default(), is_set("NO_COLOR"), forced, is_terminal)
}

/// `--color` wins, then `NO_COLOR`, then `CLICOLOR_FORCE`, then the terminal.
fn wanted(chosen: Colours, no_color: bool, forced: bool, is_terminal: bool) -> bool {
    match chosen {
        Colours::Always => true,
        Colours::Never => false,
        Colours::Auto => !no_color && (forced || is_terminal),
    }
}

/// How wide lines for people may be; none where standard output is not a terminal.
pub(super) fn width() -> Option<usize> {
    let (terminal_size::Width(width), _) = terminal_size::terminal_size_of(io::stdout())?;
    (width > 0).then_some(usize::from(width))
}

/// A line that fits: where it is longer than that, its end is cut off, which an ellipsis shows.
pub(super) fn fitted(line: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if line.chars().count() > width => {
            let kept: String = line.chars().take(width.saturating_sub(1)).collect();
            format!("{}…", kept.trim_end())
        }
        Some(_) | None => line.to_owned(),
    }
}

/// A text in lines of at most `width` characters, broken between words; all but the first begin with `indent` spaces.
pub(super) fn wrapped(text: &str, width: usize, indent: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for (at, word) in text.split(' ').enumerate() {
        let fits = line.chars().count() + 1 + word.chars().count() <= width;
        if !fits && !line.trim().is_empty() && !word.is_empty() {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
        } else if at > 0 {
            line.push(' ');
        }
        line += word;
    }
    lines.push(line);
    lines.join("\n")
}

/// How often a line tells of progress where no terminal shows a bar.
const PLAIN_PROGRESS: Duration = Duration::from_secs(5);

/// How far a command is, on standard error: a bar on a terminal, a line now and then elsewhere.
pub(super) struct Progress {
    bar: ProgressBar,
    said: Instant,
}

impl Progress {
    /// Of so many `what`; of bytes, or of what has no known end, as its template says.
    pub(super) fn of(total: u64, what: &str) -> Self {
        Self::with(
            ProgressBar::new(total),
            &format!("{{bar:30}} {{human_pos}}/{{human_len}} {what}  {{msg}}  {{elapsed}}"),
        )
    }

    /// Of so many bytes; none: nobody knows how many.
    pub(super) fn of_bytes(total: Option<u64>) -> Self {
        match total {
            Some(total) => Self::with(ProgressBar::new(total), "{wide_bar} {bytes}/{total_bytes}  {msg}  {eta} left"),
            None => Self::with(ProgressBar::new_spinner(), "{spinner} {bytes}  {msg}  {elapsed}"),
        }
    }

    fn with(bar: ProgressBar, template: &str) -> Self {
        let bar = bar.with_style(style(template));
        // It hides itself where standard error is not a terminal.
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { bar, said: Instant::now() }
    }

    /// Shows how far it is; `message` says it in words.
    pub(super) fn show(&mut self, position: u64, message: impl FnOnce() -> String) {
        self.bar.set_position(position);
        if !self.bar.is_hidden() {
            self.bar.set_message(message());
        } else if self.said.elapsed() >= PLAIN_PROGRESS {
            self.said = Instant::now();
            note(&message());
        }
    }

    /// Takes it from the terminal.
    pub(super) fn end(self) {
        self.bar.finish_and_clear();
    }
}

/// What a command waits for: a line on standard error, shown on a terminal only, until it is answered.
pub(super) struct Waiting(ProgressBar);

impl Waiting {
    /// For nothing yet.
    pub(super) fn for_nothing() -> Self {
        Self(ProgressBar::new_spinner().with_style(style("{spinner} {wide_msg}")))
    }

    /// Shows what is waited for from here on.
    pub(super) fn show(&self, what: &str) {
        self.0.set_message(format!("asking {what} …"));
        if !self.0.is_hidden() {
            self.0.enable_steady_tick(Duration::from_millis(100));
        }
    }

    /// Takes the line away while something else is written.
    pub(super) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.0.suspend(write)
    }

    /// Takes it from the terminal.
    pub(super) fn end(self) {
        self.0.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_shown_to_a_terminal_unless_somebody_says_otherwise() {
        for (chosen, no_color, forced, is_terminal, are_wanted) in [
            (Colours::Auto, false, false, true, true),
            (Colours::Auto, false, false, false, false),
            (Colours::Auto, true, true, true, false),
            (Colours::Auto, false, true, false, true),
            (Colours::Always, true, false, false, true),
            (Colours::Never, false, true, true, false),
        ] {
            assert_eq!(wanted(chosen, no_color, forced, is_terminal), are_wanted, "{chosen:?} {no_color} {forced}");
        }
    }

    #[test]
    fn a_long_line_is_broken_between_words_and_hangs() {
        assert_eq!(wrapped("ok  queue  it is on", 80, 11), "ok  queue  it is on");
        assert_eq!(wrapped("ok  queue  one two three", 15, 11), "ok  queue  one\n           two\n           three");
        assert_eq!(wrapped("averylongword and more", 5, 2), "averylongword\n  and\n  more");
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_says_so() {
        assert_eq!(fitted("zürich  open", None), "zürich  open");
        assert_eq!(fitted("zürich  open", Some(12)), "zürich  open");
        assert_eq!(fitted("zürich  open", Some(11)), "zürich  op…");
        assert_eq!(fitted("zürich  open", Some(9)), "zürich…");
        assert_eq!(fitted("zürich", Some(0)), "…");
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".to_owned(), "é".to_owned(), "x".to_owned()], vec!["bcd".to_owned(), "ef".to_owned()]];
        assert_eq!(aligned(&rows), ["a    é   x", "bcd  ef"]);
    }
}
