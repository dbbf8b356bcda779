//! `turnstile dead-letters discard`.

use serde_json::json;

use super::{by, find, open, prefixes};
use crate::cli::prefix::Prefix;
use crate::cli::terminal::say;
use crate::cli::{Failure, Outcome};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::database::DatabaseSettings;
use crate::discard::discard;

/// What `turnstile dead-letters discard` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The hashes, or at least their first 8 digits
    #[arg(value_name = "HASH", required = true)]
    hashes: Vec<String>,
}

struct Settings {
    database: DatabaseSettings,
    prefixes: Vec<Prefix>,
    by: String,
    format: Format,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let Settings { database, prefixes, by, format } = self.read(given)?;
        let database = open(&database).await?;
        let hashes = find(&database, &prefixes).await?;
        let discarded = discard(&database, &hashes, &by).await?;
        for hash in &hashes {
            let is_discarded = discarded.contains(hash);
            say(&match format {
                Format::Json => json!({"hash": hash.to_string(), "discarded": is_discarded}).to_string(),
                Format::Text if is_discarded => format!("discarded {hash}"),
                Format::Text => format!("{hash} is not open"),
            })?;
        }
        Ok(if discarded.len() == hashes.len() { Outcome::Done } else { Outcome::Failed })
    }

    fn read(&self, given: &Given) -> Result<Settings, Mistakes> {
        let mut mistakes = given.mistakes();
        let database = given.database(1, &mut mistakes);
        let prefixes = prefixes(&self.hashes, &mut mistakes);
        let by = by(given, &mut mistakes);
        let format = given.read(&rows::FORMAT, &mut mistakes);
        let all = || Some(Settings { database: database?, prefixes, by: by?, format: format? });
        mistakes.or(all())
    }
}
