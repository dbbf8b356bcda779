//! `turnstile archive restore`.

use serde_json::json;

use super::{open, place, storage};
use crate::archive::restore::{Restored, restore};
use crate::archive::storage::Place;
use crate::cli::terminal::{counted, say};
use crate::cli::{Failure, Outcome};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::database::DatabaseSettings;

/// What `turnstile archive restore` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which time, as the archive names it: 2026-11, 2026-11-27 where it has days, or before-2026-11-01
    #[arg(value_name = "MONTH")]
    month: String,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let (database, from, format) = read(given)?;
        let storage = storage(&from).await?;
        let database = open(&database).await?;
        let mut said = Ok(());
        let restored = restore(&database, &storage, &self.month, |restored| {
            if said.is_ok() {
                said = say(&line_of(restored, format));
            }
        });
        restored.await?;
        said?;
        Ok(Outcome::Done)
    }
}

fn read(given: &Given) -> Result<(DatabaseSettings, Place, Format), Mistakes> {
    let mut mistakes = given.mistakes();
    let database = given.database(1, &mut mistakes);
    let from = place(given, &rows::ARCHIVE_FROM, &mut mistakes);
    let format = given.read(&rows::FORMAT, &mut mistakes);
    let all = || Some((database?, from?, format?));
    mistakes.or(all())
}

fn line_of(restored: &Restored, format: Format) -> String {
    let Restored { table, rows } = restored;
    match format {
        Format::Json => json!({"table": table, "rows": rows}).to_string(),
        Format::Text => format!("restored {table}: {}", counted(*rows, "row")),
    }
}
