//! `turnstile config`.

use serde_json::json;

use super::terminal::{aligned, printable, say};
use super::{Failure, Outcome};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes, Origin, Row};

/// What `turnstile config` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show every setting with its value and where it comes from; secrets are hidden
    ///
    /// Takes the flags of `turnstile run`: put it in the place of `run` to see what that run would use. A value that its
    /// setting does not accept is reported.
    Show {},
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let Command::Show {} = self.command;
        let mut mistakes = given.mistakes();
        let format = given.read(&rows::FORMAT, &mut mistakes).unwrap_or_default();
        let shown: Vec<Shown> = rows::settings().map(|row| Shown::of(row, given, &mut mistakes)).collect();
        match format {
            Format::Text => {
                let head = ["setting", "value", "from"].map(str::to_owned).to_vec();
                let rows = std::iter::once(head).chain(shown.into_iter().map(Shown::line)).collect::<Vec<_>>();
                aligned(&rows).iter().try_for_each(|line| say(line))?;
            }
            Format::Json => shown.iter().try_for_each(|shown| say(&shown.json().to_string()))?,
        }
        Ok(mistakes.or(Some(Outcome::Done))?)
    }
}

/// A setting as it is shown.
struct Shown {
    key: String,
    value: Option<String>,
    from: &'static str,
    by: Option<String>,
}

impl Shown {
    fn of(row: &'static dyn Row, given: &Given, mistakes: &mut Mistakes) -> Self {
        let key = row.key().unwrap_or_default();
        let Some((text, origin)) = given.text(row) else {
            return Self { key, value: None, from: "default", by: row.default().text() };
        };
        if let Some(unfit) = row.unfit(text) {
            mistakes.unfit::<()>(given.name_of(row), text, &unfit);
        }
        let is_hidden = row.is_secret() || row.unfit(text).is_some_and(|unfit| !unfit.is_shown);
        let value = match row.shown(text) {
            _ if is_hidden => "(hidden)".to_owned(),
            Some(shown) => shown,
            None => printable(text.as_encoded_bytes()),
        };
        let (from, by) = match origin {
            Origin::Flag => ("flag", row.flag().map(|flag| format!("--{flag}"))),
            Origin::Variable => ("variable", row.variable().map(str::to_owned)),
            Origin::File => ("file", given.file().map(|path| path.display().to_string())),
            Origin::Default => ("default", None),
        };
        Self { key, value: Some(value), from, by }
    }

    fn line(self) -> Vec<String> {
        let Self { key, value, from, by } = self;
        let from = match (&value, by) {
            (None, Some(found)) => format!("{from}: {found}"),
            (None, None) => "not set".to_owned(),
            (Some(_), Some(by)) => format!("{from} {by}"),
            (Some(_), None) => from.to_owned(),
        };
        vec![key, value.unwrap_or_default(), from]
    }

    fn json(&self) -> serde_json::Value {
        let Self { key, value, from, by } = self;
        json!({"setting": key, "value": value, "from": from, "by": by})
    }
}
