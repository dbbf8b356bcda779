//! `turnstile dead-letters discard` and `reopen`.

use serde_json::json;

use super::{find, open, prefixes, said_with_reason};
use crate::cli::prefix::Prefix;
use crate::cli::terminal::say;
use crate::cli::{Failure, Outcome};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::database::DatabaseSettings;
use crate::discard::{discard, reopen};
use crate::table::operator_actions::Said;

/// What `turnstile dead-letters discard` and `reopen` take.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The hashes, or at least their first 8 digits
    #[arg(value_name = "HASH", required = true)]
    hashes: Vec<String>,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Discard,
    Reopen,
}

impl Kind {
    /// What a letter is, once it is done.
    fn done(self) -> &'static str {
        match self {
            Self::Discard => "discarded",
            Self::Reopen => "reopened",
        }
    }

    /// What a letter must be before.
    fn before(self) -> &'static str {
        match self {
            Self::Discard => "open",
            Self::Reopen => "discarded",
        }
    }
}

struct Settings {
    database: DatabaseSettings,
    prefixes: Vec<Prefix>,
    said: Said,
    format: Format,
}

impl Args {
    pub(super) async fn run(self, given: &Given, kind: Kind) -> Result<Outcome, Failure> {
        let Settings { database, prefixes, said, format } = self.read(given)?;
        let database = open(&database).await?;
        let hashes = find(&database, &prefixes).await?;
        let changed = match kind {
            Kind::Discard => discard(&database, &hashes, &said).await?,
            Kind::Reopen => reopen(&database, &hashes, &said).await?,
        };
        for hash in &hashes {
            let is_done = changed.contains(hash);
            say(&match format {
                Format::Json => json!({"hash": hash.to_string(), kind.done(): is_done}).to_string(),
                Format::Text if is_done => format!("{} {hash}", kind.done()),
                Format::Text => format!("{hash} is not {}", kind.before()),
            })?;
        }
        Ok(if changed.len() == hashes.len() { Outcome::Done } else { Outcome::Failed })
    }

    fn read(&self, given: &Given) -> Result<Settings, Mistakes> {
        let mut mistakes = given.mistakes();
        let database = given.database(1, &mut mistakes);
        let prefixes = prefixes(&self.hashes, &mut mistakes);
        let said = said_with_reason(given, &mut mistakes);
        let format = given.read(&rows::FORMAT, &mut mistakes);
        let all = || Some(Settings { database: database?, prefixes, said: said?, format: format? });
        mistakes.or(all())
    }
}
