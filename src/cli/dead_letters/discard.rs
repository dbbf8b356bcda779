//! `turnstile dead-letters discard`.

use super::{Prefix, by, find, open};
use crate::cli::Outcome;
use crate::cli::terminal::say;
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
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> anyhow::Result<Outcome> {
        let Settings { database, prefixes, by } = self.read(given)?;
        let database = open(&database).await?;
        let hashes = find(&database, &prefixes).await?;
        let discarded = discard(&database, &hashes, &by).await?;
        for hash in &hashes {
            match discarded.contains(hash) {
                true => say(&format!("discarded {hash}"))?,
                false => say(&format!("{hash} is not open"))?,
            }
        }
        Ok(if discarded.len() == hashes.len() { Outcome::Done } else { Outcome::Failed })
    }

    fn read(&self, given: &Given) -> Result<Settings, Mistakes> {
        let mut mistakes = given.mistakes();
        let database = given.database(1, &mut mistakes);
        let prefixes = Prefix::read_all(&self.hashes, &mut mistakes);
        let by = by(given, &mut mistakes);
        let all = || Some(Settings { database: database?, prefixes, by: by? });
        mistakes.or(all())
    }
}
