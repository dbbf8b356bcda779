//! `turnstile migrate`.

use super::{Outcome, refuse, say};
use crate::config::{DatabaseArgs, Mistakes};
use crate::database::{Database, migrate as migrations};

/// What `turnstile migrate` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: DatabaseArgs,
}

impl Args {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let mut mistakes = Mistakes::default();
        let settings = self.database.read(1, &mut mistakes);
        match mistakes.or(settings) {
            Ok(settings) => migrate(&Database::new(&settings)?).await.map(|()| Outcome::Done),
            Err(mistakes) => refuse(&mistakes),
        }
    }
}

/// Migrates, and says what was applied.
pub(super) async fn migrate(database: &Database) -> anyhow::Result<()> {
    let migrated = database.migrate().await?;
    for name in &migrated.applied {
        say(&format!("applied {name}"))?;
    }
    let version = migrated.version;
    match migrated.is_newer() {
        false => say(&format!("the tables are at version {version}")),
        true => {
            let ours = migrations::newest_version();
            say(&format!("the tables are at version {version}, newer than this program's {ours}: nothing to do"))
        }
    }
}

/// Refuses tables that are older than this program; on newer ones that lack what it relies on, it stops when it loads.
pub(super) async fn refuse_older(database: &Database) -> anyhow::Result<()> {
    const WAY_OUT: &str = "run `turnstile migrate` (or `turnstile run --migrate`)";
    let needed = migrations::newest_version();
    match database.schema_version().await? {
        Some(version) if version >= needed => Ok(()),
        Some(version) => {
            anyhow::bail!("the tables are at version {version} and this program needs {needed}: {WAY_OUT}")
        }
        None => anyhow::bail!("the database has no tables of Turnstile: {WAY_OUT}"),
    }
}
