//! `turnstile archive forget`.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::{open, place, storage};
use crate::archive::forget::{ForgetSettings, Forgotten, People, forget};
use crate::archive::storage::Place;
use crate::cli::terminal::{agreed, counted, say};
use crate::cli::{Failure, Outcome};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::database::DatabaseSettings;

/// How long the lock is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `turnstile archive forget` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only say how many logins would go
    #[arg(long)]
    dry_run: bool,

    /// Do not ask before files are written anew
    #[arg(long)]
    yes: bool,
}

struct Settings {
    database: DatabaseSettings,
    from: Place,
    people: PathBuf,
    format: Format,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let Settings { database, from, people, format } = read(given)?;
        let people = People::of_lines(&lines_of(&people)?);
        let storage = storage(&from).await?;
        let database = open(&database).await?;
        let question = format!("Remove every login of {} from {from}?", counted(people.count() as u64, "user_id"));
        if !self.dry_run && people.count() > 0 && !agreed(&question, self.yes)? {
            say("nothing is removed")?;
            return Ok(Outcome::Failed);
        }
        let settings = ForgetSettings { dry_run: self.dry_run, patience: PATIENCE };
        let mut said = Ok(());
        let forgotten = forget(&database, storage, &from, &people, &settings, |forgotten| {
            if said.is_ok() {
                said = say(&line_of(forgotten, format));
            }
        });
        let forgotten = forgotten.await?;
        said?;
        if forgotten.is_empty() && format == Format::Text {
            say("the archive holds no login of theirs")?;
        }
        Ok(Outcome::Done)
    }
}

fn read(given: &Given) -> Result<Settings, Mistakes> {
    let mut mistakes = given.mistakes();
    let database = given.database(1, &mut mistakes);
    let from = place(given, &rows::ARCHIVE_FROM, &mut mistakes);
    let people = given.optional(&rows::USER_ID_FILE, &mut mistakes);
    let people = people.and_then(|people| {
        people.or_else(|| {
            mistakes.note("--user-id-file", "is not given", "name a file with a user_id on each line, or -")
        })
    });
    let format = given.read(&rows::FORMAT, &mut mistakes);
    let all = || Some(Settings { database: database?, from: from?, people: people?, format: format? });
    mistakes.or(all())
}

fn lines_of(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut lines = Vec::new();
    let read = match path == Path::new("-") {
        true => std::io::stdin().read_to_end(&mut lines).map(drop),
        false => std::fs::read(path).map(|text| lines = text),
    };
    read.map_err(Failure::of_system(format!("--user-id-file: {path:?} cannot be read")))?;
    Ok(lines)
}

fn line_of(forgotten: &Forgotten, format: Format) -> String {
    let Forgotten { label, rows, left, manifest } = forgotten;
    match format {
        Format::Json => {
            json!({"label": label, "removed": manifest.is_some(), "rows": rows, "left": left, "manifest": manifest})
                .to_string()
        }
        Format::Text => {
            let does = if manifest.is_some() { "removed" } else { "would remove" };
            let of = manifest.as_ref().map(|manifest| format!(", {manifest}")).unwrap_or_default();
            format!("{does} {} of {label}; {} are left{of}", counted(*rows, "login"), counted(*left, "login"))
        }
    }
}
