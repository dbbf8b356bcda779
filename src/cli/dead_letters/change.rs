//! `turnstile dead-letters discard` and `reopen`.

use serde_json::json;

use super::{count, in_words, open, said_with_reason, which};
use crate::cli::terminal::{Progress, agreed, counted, say};
use crate::cli::{Failure, Outcome};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::database::{Database, DatabaseSettings};
use crate::discard::{Becomes, change, change_all};
use crate::message::MessageHash;
use crate::table::dead_letters::Filter;
use crate::table::operator_actions::Said;

/// What `turnstile dead-letters discard` and `reopen` take.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Where the letters are not named one by one, it says how many there are and asks first. What comes meanwhile stays as it is.")]
pub(super) struct Args {
    #[command(flatten)]
    which: which::Letters,

    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Becomes {
    fn verb(self) -> &'static str {
        match self {
            Self::Discarded => "Discard",
            Self::Open => "Reopen",
        }
    }

    /// What a letter is, once it is done.
    fn done(self) -> &'static str {
        match self {
            Self::Discarded => "discarded",
            Self::Open => "reopened",
        }
    }
}

struct Settings {
    database: DatabaseSettings,
    which: which::Which,
    said: Said,
    format: Format,
}

impl Args {
    pub(super) async fn run(self, given: &Given, becomes: Becomes) -> Result<Outcome, Failure> {
        let Settings { database, which, said, format } = self.read(given, becomes)?;
        let database = open(&database).await?;
        let filter = which.find(&database).await?;
        match &filter.hashes {
            Some(hashes) => change_named(&database, hashes, &said, becomes, format).await,
            None => self.change_all(&database, &filter, &said, becomes, format).await,
        }
    }

    async fn change_all(
        &self,
        database: &Database,
        filter: &Filter,
        said: &Said,
        becomes: Becomes,
        format: Format,
    ) -> Result<Outcome, Failure> {
        let found = count(database, &filter.clone().with_status(becomes.from())).await?;
        let question = format!("{} {}?", becomes.verb(), in_words(found));
        if found.letters > 0 && !agreed(&question, self.yes)? {
            say("nothing is changed")?;
            return Ok(Outcome::Failed);
        }
        let mut progress = Progress::of(found.letters, "dead letters");
        let changed = change_all(database, filter, said, becomes, |changed| {
            progress.show(changed, || format!("{} are {}", changed, becomes.done()));
        });
        let changed = changed.await;
        progress.end();
        let changed = changed?;
        let done = becomes.done();
        say(&match format {
            Format::Json => json!({ done: changed }).to_string(),
            Format::Text => format!("{} {done}", counted(changed, "dead letter")),
        })?;
        Ok(Outcome::Done)
    }

    fn read(&self, given: &Given, becomes: Becomes) -> Result<Settings, Mistakes> {
        let mut mistakes = given.mistakes();
        let database = given.database(1, &mut mistakes);
        let which = self.which.read(given, becomes.from(), &mut mistakes);
        let said = said_with_reason(given, &mut mistakes);
        let format = given.read(&rows::FORMAT, &mut mistakes);
        let all = || Some(Settings { database: database?, which: which?, said: said?, format: format? });
        mistakes.or(all())
    }
}

async fn change_named(
    database: &Database,
    hashes: &[MessageHash],
    said: &Said,
    becomes: Becomes,
    format: Format,
) -> Result<Outcome, Failure> {
    let changed = change(database, hashes, said, becomes).await?;
    for hash in hashes {
        let is_done = changed.contains(hash);
        say(&match format {
            Format::Json => json!({"hash": hash.to_string(), becomes.done(): is_done}).to_string(),
            Format::Text if is_done => format!("{} {hash}", becomes.done()),
            Format::Text => format!("{hash} is not {}", becomes.from().as_str()),
        })?;
    }
    Ok(if changed.len() == hashes.len() { Outcome::Done } else { Outcome::Failed })
}
