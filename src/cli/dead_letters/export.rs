//! `turnstile dead-letters export`.

use std::path::PathBuf;

use super::{count, in_words, open, said, said_with_reason, which};
use crate::carry::export::Export;
use crate::carry::manifest::{Bodies, Manifest};
use crate::cli::terminal::{Progress, agreed, counted, say};
use crate::cli::{Failure, Outcome};
use crate::config::rows::{self, Format, Statuses};
use crate::config::{Given, Mistakes};
use crate::database::DatabaseSettings;
use crate::keyring::Keyring;
use crate::table::dead_letters::Status;
use crate::table::operator_actions::Said;

/// What `turnstile dead-letters export` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
The file has a line of JSON for each letter: all that is known of it, and its body as it was delivered, in Base64. What an edit made \
of the body that was tried last is there too; earlier edits and the history stay in the tables. The file is readable by its owner \
only, overwrites nothing, and counts only with its manifest, which is written last. What becomes a dead letter meanwhile is not in \
it.\n\n\
Sealed bodies are of use to those who have the keyring. With --reveal they are in clear: personal data, for as long as the file \
exists.")]
pub(super) struct Args {
    #[command(flatten)]
    which: which::Letters,

    /// Write the bodies in clear; needs the keyring and a --reason, and each body is noted in the history of its letter
    #[arg(long)]
    reveal: bool,

    /// Do not ask before bodies are revealed
    #[arg(long)]
    yes: bool,
}

struct Settings {
    database: DatabaseSettings,
    which: which::Which,
    to: PathBuf,
    keyring: Option<Keyring>,
    said: Said,
    format: Format,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let Settings { database, which, to, keyring, said, format } = self.read(given)?;
        let database = open(&database).await?;
        let filter = which.find(&database).await?;
        let found = count(&database, &filter).await?;
        let question = format!("Write the bodies of {} in clear?", in_words(found));
        if keyring.is_some() && found.letters > 0 && !agreed(&question, self.yes)? {
            say("nothing is exported")?;
            return Ok(Outcome::Failed);
        }
        let mut progress = Progress::of(found.letters, "dead letters");
        let export = Export {
            database: &database,
            filter: &filter,
            meant: format!("{}, {}", which.in_words(), filter.search.status.map_or("of any status", Status::as_str)),
            said: &said,
            keyring: keyring.as_ref(),
            to: &to,
        };
        let made = export.run(|written| progress.show(written, || format!("{written} are written"))).await;
        progress.end();
        let made = made?;
        say(&match format {
            Format::Json => {
                let written = serde_json::to_string(&made);
                written.map_err(|error| Failure::without_remedy(format!("the manifest cannot be written: {error}")))?
            }
            Format::Text => summary(&made, &to),
        })?;
        Ok(Outcome::Done)
    }

    fn read(&self, given: &Given) -> Result<Settings, Mistakes> {
        let mut mistakes = given.mistakes();
        let database = given.database(1, &mut mistakes);
        // Who names letters one by one means them however they stand.
        let unasked = Statuses((!self.which.names_any()).then_some(Status::Open));
        let which = self.which.read_any(given, unasked, &mut mistakes);
        let to = given.optional(&rows::EXPORT_TO, &mut mistakes);
        let to = to.and_then(|to| to.or_else(|| mistakes.note("--to", "is not given", "name the file to write")));
        let (keyring, said) = match self.reveal {
            false => (Some(None), said(given, &mut mistakes)),
            true => {
                let keyring = given.keyring(&mut mistakes);
                (keyring.map(Some), said_with_reason(given, &mut mistakes))
            }
        };
        let format = given.read(&rows::FORMAT, &mut mistakes);
        let all = || {
            Some(Settings {
                database: database?,
                which: which?,
                to: to?,
                keyring: keyring?,
                said: said?,
                format: format?,
            })
        };
        mistakes.or(all())
    }
}

fn summary(made: &Manifest, to: &std::path::Path) -> String {
    let Manifest { letters, bodies, keys, counts, .. } = made;
    let bodies = match bodies {
        Bodies::Revealed => "their bodies are in clear".to_owned(),
        Bodies::Sealed if keys.is_empty() => "their bodies are sealed".to_owned(),
        Bodies::Sealed => {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            format!("their bodies are sealed, and open with: {}", keys.join(", "))
        }
    };
    let by_code = counts.iter().map(|count| format!("\n  {} {} {}", count.letters, count.status, count.code));
    format!("{} in {}; {bodies}{}", counted(*letters, "dead letter"), to.display(), by_code.collect::<String>())
}
