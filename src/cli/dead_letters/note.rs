//! `turnstile dead-letters note`.

use serde_json::json;

use super::{open, said_with_reason};
use crate::cli::terminal::say;
use crate::cli::{Failure, Outcome};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::database::{DatabaseSettings, Transaction};
use crate::table::operator_actions::{self, Said, note_code};

/// What `turnstile dead-letters note` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
The last note of a code stands beside its letters, in lists and in the console, with who wrote it and when. Earlier notes stay in \
the history.")]
pub(super) struct Args {}

struct Settings {
    database: DatabaseSettings,
    code: String,
    said: Said,
    format: Format,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let Settings { database, code, said, format } = read(given)?;
        let database = open(&database).await?;
        let work = async |transaction: &Transaction| {
            operator_actions::say(transaction, &said).await?;
            note_code(transaction, &code).await
        };
        database.transaction(work).await?;
        say(&match format {
            Format::Json => json!({"noted": code}).to_string(),
            Format::Text => format!("noted about {code}"),
        })?;
        Ok(Outcome::Done)
    }
}

fn read(given: &Given) -> Result<Settings, Mistakes> {
    let mut mistakes = given.mistakes();
    let database = given.database(1, &mut mistakes);
    let code = given.optional(&rows::NOTED_CODE, &mut mistakes).and_then(|code| {
        let remedy = "name the code that the note is about, as `turnstile dead-letters list` shows it";
        code.or_else(|| mistakes.note("--code", "is not given", remedy))
    });
    let said = said_with_reason(given, &mut mistakes);
    let format = given.read(&rows::FORMAT, &mut mistakes);
    mistakes.or((|| Some(Settings { database: database?, code: code?, said: said?, format: format? }))())
}
