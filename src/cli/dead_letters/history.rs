//! `turnstile dead-letters history`.

use super::text::{hash_in_table, seconds, table};
use super::{find, open, prefixes};
use crate::cli::prefix::Prefix;
use crate::cli::terminal::{note, printable, say};
use crate::cli::{Failure, Outcome};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::database::DatabaseSettings;
use crate::records::actions::action_json;
use crate::table::operator_actions::{self, Done, Filter};

/// What `turnstile dead-letters history` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
The database writes each line itself, in the transaction of what was done, and keeps all of them. The role is the one that had \
logged in; the name after it is what was given with --by.")]
pub(super) struct Args {
    /// Of which letters: hashes, or at least their first 8 digits; without any, of all
    #[arg(value_name = "HASH")]
    hashes: Vec<String>,
}

struct Settings {
    database: DatabaseSettings,
    prefixes: Vec<Prefix>,
    filter: Filter,
    limit: u64,
    format: Format,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let Settings { database, prefixes, mut filter, limit, format } = self.read(given)?;
        let database = open(&database).await?;
        if !prefixes.is_empty() {
            filter.hashes = Some(find(&database, &prefixes).await?);
        }
        let mut done = database
            .snapshot(async |seen| operator_actions::newest(seen, &filter, limit.saturating_add(1)).await)
            .await?;
        let has_more = done.len() as u64 > limit;
        done.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let more = has_more.then(|| format!("these are the newest {limit}, and there are more: --limit N shows more"));
        match format {
            Format::Json => {
                done.iter().try_for_each(|done| say(&action_json(done).to_string()))?;
                more.iter().for_each(|more| note(more));
            }
            Format::Text if done.is_empty() => say("nothing was done, or nothing of this kind")?,
            Format::Text => {
                table(&["when", "action", "of", "role", "name", "plan", "reason"], done.iter().map(row))?;
                more.map_or(Ok(()), |more| say(&more))?;
            }
        }
        Ok(Outcome::Done)
    }

    fn read(&self, given: &Given) -> Result<Settings, Mistakes> {
        let mut mistakes = given.mistakes();
        let database = given.database(1, &mut mistakes);
        let prefixes = prefixes(&self.hashes, &mut mistakes);
        let by = given.optional(&rows::DONE_BY, &mut mistakes);
        let since = given.optional(&rows::DONE_SINCE, &mut mistakes);
        let action = given.optional(&rows::DONE_ACTION, &mut mistakes);
        let limit = given.read(&rows::HISTORY_LIMIT, &mut mistakes);
        let format = given.read(&rows::FORMAT, &mut mistakes);
        let all = || {
            let filter = Filter { hashes: None, by: by?, since: since?, action: action?, plan: None, before: None };
            Some(Settings { database: database?, prefixes, filter, limit: limit?, format: format? })
        };
        mistakes.or(all())
    }
}

fn row(done: &Done) -> Vec<String> {
    let text = |text: &Option<String>| printable(text.as_deref().unwrap_or("-").as_bytes());
    let letter = match (done.letter, &done.subject) {
        (Some(key), _) => hash_in_table(key.hash),
        (None, Some(subject)) => printable(subject.as_bytes()),
        (None, None) => format!("{} of them", done.letters),
    };
    let role = printable(done.role.as_bytes());
    let plan = done.plan.map_or_else(|| "-".to_owned(), |plan| plan.to_string());
    vec![seconds(done.at), done.action.as_str().to_owned(), letter, role, text(&done.person), plan, text(&done.reason)]
}
