//! `turnstile check`.

use super::terminal::{Waiting, counted, say, wrapped};
use super::{Failure, Outcome, terminal};
use crate::check::{Event, Finding, Judgement, Level, check, looked_at};
use crate::config::rows::{self, Format};
use crate::config::{Given, RunSettings};
use crate::records::findings::finding_json;

/// What `turnstile check` takes: the settings of the run that it looks ahead to.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Takes what `turnstile run` takes, and looks at everything that this run would depend on; with --to, also at where \
                       a relay would carry events to, and at how the sinks of the outbox stand. Changes nothing."
)]
pub struct Args {}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let mut mistakes = given.mistakes();
        let settings = RunSettings::read(given, &mut mistakes);
        let to = given.optional(&rows::TO, &mut mistakes).zip(given.optional(&rows::RELAY_TO, &mut mistakes));
        let to = to.map(|(to, relay_to)| to.or(relay_to));
        let aim = to.and_then(|to| match to {
            Some(target) => given.sink_at(target, &mut mistakes).map(Some),
            None => Some(None),
        });
        let format = given.read(&rows::FORMAT, &mut mistakes);
        let ((settings, aim), format) = mistakes.or(settings.zip(aim).zip(format))?;
        let (waiting, form) = (Waiting::for_nothing(), Form::of_terminal());
        let (mut errors, mut warnings, mut written) = (0, 0, Ok(()));
        let tell = |event| match event {
            Event::Asking(what) => waiting.show(&what),
            Event::Found(finding) => {
                errors += u64::from(finding.judgement.level == Level::Error);
                warnings += u64::from(finding.judgement.level == Level::Warning);
                let line = match format {
                    Format::Json => finding_json(&finding).to_string(),
                    Format::Text => form.line(&finding),
                };
                if written.is_ok() {
                    written = waiting.aside(|| say(&line));
                }
            }
        };
        check(&settings, aim.as_ref(), tell).await;
        waiting.end();
        written?;
        if format == Format::Text {
            say(&format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")))?;
        }
        Ok(if errors > 0 { Outcome::Failed } else { Outcome::Done })
    }
}

/// How a finding is written for people: one line, its columns aligned with those of the others.
struct Form {
    /// The longest name of what is looked at.
    longest: usize,
    has_colours: bool,
    /// How wide a line may be; it is broken between words.
    width: Option<usize>,
}

impl Form {
    fn of_terminal() -> Self {
        let longest = looked_at().map(str::len).max().unwrap_or(0);
        Self { longest, has_colours: terminal::has_colours(), width: terminal::width() }
    }

    fn line(&self, Finding { what, judgement }: &Finding) -> String {
        const LONGEST_LEVEL: usize = "warning".len();
        let (Judgement { level, found, remedy }, longest) = (judgement, self.longest);
        let word = format!("{:<LONGEST_LEVEL$}", level.as_str());
        let remedy = remedy.as_ref().map(|remedy| format!(" → {remedy}")).unwrap_or_default();
        let line = format!("{word}  {what:<longest$}  {found}{remedy}");
        let line = self.width.map_or(line.clone(), |width| wrapped(&line, width, LONGEST_LEVEL + longest + 4));
        // The colour comes last: it has no width.
        match line.strip_prefix(&word) {
            Some(rest) if self.has_colours => format!("\x1b[{}m{word}\x1b[0m{rest}", colour(*level)),
            Some(_) | None => line,
        }
    }
}

/// Green, yellow, red and faint, as ECMA-48 numbers them ("select graphic rendition").
fn colour(level: Level) -> u8 {
    match level {
        Level::Ok => 32,
        Level::Warning => 33,
        Level::Error => 31,
        Level::Skipped => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_aligned_line_and_coloured_only_where_asked() {
        let finding = |what, level, found: &str, remedy: Option<&str>| Finding {
            what,
            judgement: Judgement { level, found: found.to_owned(), remedy: remedy.map(str::to_owned) },
        };
        let findings = [
            finding("queue", Level::Ok, "it is on", None),
            finding("database clock", Level::Error, "it is off", Some("set it on")),
            finding("tables", Level::Skipped, "no database", None),
        ];
        let expected = [
            "ok       queue           it is on",
            "error    database clock  it is off → set it on",
            "skipped  tables          no database",
        ];
        let form = |has_colours| Form { longest: "database clock".len(), has_colours, width: None };
        assert_eq!(findings.each_ref().map(|finding| form(false).line(finding)), expected);
        let coloured = form(true).line(&findings[1]);
        assert_eq!(coloured, "\x1b[31merror  \x1b[0m  database clock  it is off → set it on");
    }
}
