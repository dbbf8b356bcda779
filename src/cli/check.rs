//! `turnstile check`.

use serde_json::json;

use super::terminal::{counted, say, wrapped};
use super::{Failure, Outcome, terminal};
use crate::check::{Finding, Judgement, Level, check};
use crate::config::rows::{self, Format};
use crate::config::{Given, RunSettings};

/// What `turnstile check` takes: the settings of the run that it looks ahead to.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Takes what `turnstile run` takes, and looks at everything that this run would depend on. Changes nothing."
)]
pub struct Args {}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let mut mistakes = given.mistakes();
        let settings = RunSettings::read(given, &mut mistakes);
        let format = given.read(&rows::FORMAT, &mut mistakes);
        let (settings, format) = mistakes.or(settings.zip(format))?;
        let findings = check(&settings).await;
        let of = |level| findings.iter().filter(|finding| finding.judgement.level == level).count();
        let (errors, warnings) = (of(Level::Error), of(Level::Warning));
        match format {
            Format::Json => findings.iter().try_for_each(|finding| say(&json_of(finding).to_string()))?,
            Format::Text => {
                let lines = lines(&findings, terminal::has_colours(), terminal::width());
                lines.iter().try_for_each(|line| say(line))?;
                say(&format!("{}, {}", counted(errors as u64, "error"), counted(warnings as u64, "warning")))?;
            }
        }
        Ok(if errors > 0 { Outcome::Failed } else { Outcome::Done })
    }
}

fn json_of(Finding { what, judgement }: &Finding) -> serde_json::Value {
    let Judgement { level, found, remedy } = judgement;
    json!({"what": what, "level": level.as_str(), "found": found, "remedy": remedy})
}

/// One line a finding, their columns aligned; broken between words where a terminal is narrower.
fn lines(findings: &[Finding], colours: bool, width: Option<usize>) -> Vec<String> {
    const LONGEST_LEVEL: usize = "warning".len();
    let longest = findings.iter().map(|finding| finding.what.len()).max().unwrap_or(0);
    let line = |Finding { what, judgement }: &Finding| {
        let Judgement { level, found, remedy } = judgement;
        let word = format!("{:<LONGEST_LEVEL$}", level.as_str());
        let remedy = remedy.as_ref().map(|remedy| format!(" → {remedy}")).unwrap_or_default();
        let line = format!("{word}  {what:<longest$}  {found}{remedy}");
        let line = width.map_or(line.clone(), |width| wrapped(&line, width, LONGEST_LEVEL + longest + 4));
        // The colour comes last: it has no width.
        match line.strip_prefix(&word) {
            Some(rest) if colours => format!("\x1b[{}m{word}\x1b[0m{rest}", colour(*level)),
            Some(_) | None => line,
        }
    };
    findings.iter().map(line).collect()
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
        assert_eq!(lines(&findings, false, None), expected);
        let coloured = lines(&findings, true, None);
        assert_eq!(coloured[1], "\x1b[31merror  \x1b[0m  database clock  it is off → set it on");
    }
}
