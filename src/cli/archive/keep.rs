//! `turnstile archive` itself.

use indicatif::HumanBytes;
use serde_json::json;

use super::{open, place, storage};
use crate::archive::keep::{KeepSettings, Kept, archive};
use crate::archive::storage::Place;
use crate::cli::terminal::{counted, say};
use crate::cli::{Failure, Outcome};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::database::DatabaseSettings;

pub(super) async fn run(given: &Given, dry_run: bool) -> Result<Outcome, Failure> {
    let (database, to, format) = read(given)?;
    let storage = storage(&to).await?;
    let database = open(&database).await?;
    let settings = KeepSettings { dry_run, ..KeepSettings::default() };
    let mut said = Ok(());
    let kept = archive(&database, storage, &to, &settings, |kept| {
        if said.is_ok() {
            said = say(&line_of(kept, format));
        }
    });
    let kept = kept.await?;
    said?;
    match format {
        Format::Json => say(&summary(&kept).to_string())?,
        Format::Text if kept.is_empty() => say("no partition waits for the archive")?,
        Format::Text => {}
    }
    Ok(Outcome::Done)
}

fn read(given: &Given) -> Result<(DatabaseSettings, Place, Format), Mistakes> {
    let mut mistakes = given.mistakes();
    let database = given.database(1, &mut mistakes);
    let to = place(given, &rows::ARCHIVE_TO, &mut mistakes);
    let format = given.read(&rows::FORMAT, &mut mistakes);
    let all = || Some((database?, to?, format?));
    mistakes.or(all())
}

fn line_of(kept: &Kept, format: Format) -> String {
    let Kept { partition, table, label, rows, bytes, digest, manifest } = kept;
    match format {
        Format::Json => json!({
            "partition": partition,
            "table": table,
            "label": label,
            "dropped": manifest.is_some(),
            "rows": rows,
            "bytes": bytes,
            "digest": digest,
            "manifest": manifest,
        })
        .to_string(),
        Format::Text => match manifest {
            None => format!("would archive and drop {partition} ({label}): {}", counted(*rows, "row")),
            Some(manifest) => format!(
                "archived and dropped {partition} ({label}): {}, {}, {manifest}",
                counted(*rows, "row"),
                HumanBytes(*bytes)
            ),
        },
    }
}

fn summary(kept: &[Kept]) -> serde_json::Value {
    let (rows, bytes): (u64, u64) = kept.iter().fold((0, 0), |(rows, bytes), one| (rows + one.rows, bytes + one.bytes));
    json!({"partitions": kept.len(), "rows": rows, "bytes": bytes})
}
