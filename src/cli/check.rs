//! `turnstile check`.

use std::io::IsTerminal;

use super::{Outcome, say};
use crate::check::{Finding, Judgement, Level, check};
use crate::config::{Given, Mistakes, RunSettings};

/// What `turnstile check` takes: the settings of the run that it looks ahead to.
#[derive(Debug, clap::Args)]
#[command(after_help = "Takes what `turnstile run` takes, and looks at what that run would meet; changes nothing.
Exit codes: 0 a run would work (warnings or not), 1 an error was found, 2 wrong use.")]
pub struct Args {}

impl Args {
    pub(super) async fn run(self, given: &Given) -> anyhow::Result<Outcome> {
        let mut mistakes = Mistakes::default();
        let settings = RunSettings::read(given, &mut mistakes);
        let settings = mistakes.or(settings)?;
        let findings = check(&settings).await;
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        for line in lines(&findings, colours) {
            say(&line)?;
        }
        let has_error = findings.iter().any(|finding| finding.judgement.level == Level::Error);
        Ok(if has_error { Outcome::Failed } else { Outcome::Done })
    }
}

/// One line a finding, their columns aligned.
fn lines(findings: &[Finding], colours: bool) -> Vec<String> {
    const LONGEST_LEVEL: usize = "warning".len();
    let longest = findings.iter().map(|finding| finding.what.len()).max().unwrap_or(0);
    let line = |Finding { what, judgement }: &Finding| {
        let Judgement { level, found, remedy } = judgement;
        let word = format!("{:<LONGEST_LEVEL$}", level.as_str());
        let word = if colours { format!("\x1b[{}m{word}\x1b[0m", colour(*level)) } else { word };
        let remedy = remedy.as_ref().map(|remedy| format!(" → {remedy}")).unwrap_or_default();
        format!("{word}  {what:<longest$}  {found}{remedy}")
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
        assert_eq!(lines(&findings, false), expected);
        let coloured = lines(&findings, true);
        assert_eq!(coloured[1], "\x1b[31merror  \x1b[0m  database clock  it is off → set it on");
    }
}
