//! `turnstile migrate`.

use super::Outcome;
use super::failure::Failure;
use super::terminal::say;
use crate::config::{Given, rows};
use crate::database::{Database, migrate as migrations};
use crate::keyring::Keyring;
use crate::keys;
use crate::mask::MaskKind;
use crate::table::outbox;

/// What `turnstile migrate` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Makes the schema of Turnstile's own tables where there is none, and the tables in it; user_logins is made in --logins-schema, \
or adopted there. With a keyring, its keys are registered with new tables; without one, `turnstile keys register` does it.")]
pub struct Args {}

impl Args {
    pub(super) async fn run(self, given: &Given) -> anyhow::Result<Outcome> {
        let mut mistakes = given.mistakes();
        let settings = given.database(1, &mut mistakes);
        let keyring = given.keyring_if_any(&mut mistakes);
        let mask = given.read(&rows::MASK, &mut mistakes);
        let ((settings, keyring), mask) = mistakes.or(settings.zip(keyring).zip(mask))?;
        let keys = keyring.as_ref().map(|keyring| (keyring, mask));
        migrate(&Database::new(&settings)?, keys).await.map(|()| Outcome::Done)
    }
}

/// Migrates, registers the keys with tables that know none, and says what was done.
pub(super) async fn migrate(database: &Database, keys: Option<(&Keyring, MaskKind)>) -> anyhow::Result<()> {
    let migrated = database.migrate().await?;
    for name in &migrated.applied {
        say(&format!("applied {name}"))?;
    }
    let version = migrated.version;
    if migrated.is_newer() {
        let ours = migrations::newest_version();
        return say(&format!("the tables are at version {version}, newer than this program's {ours}: nothing to do"));
    }
    say(&format!("the tables are at version {version}"))?;
    outbox::extend(database).await?;
    if !keys::registered(database).await?.is_empty() {
        return Ok(());
    }
    match keys {
        None => say("no key is registered: run `turnstile keys register` before the first loader starts"),
        Some((keyring, mask)) => {
            let done = keys::register(database, keyring, mask, false).await?;
            done.registered.iter().try_for_each(|id| say(&format!("registered the key {id}")))
        }
    }
}

/// Refuses tables that are older than this program; on newer ones that lack what it relies on, it stops when it loads.
pub(super) async fn refuse_older(database: &Database) -> anyhow::Result<()> {
    const REMEDY: &str = "run `turnstile migrate` (or `turnstile run --migrate`)";
    let needed = migrations::newest_version();
    match database.schema_version().await? {
        Some(version) if version >= needed => Ok(()),
        Some(version) => {
            let what = format!("the tables are at version {version} and this program needs {needed}");
            Err(Failure::new(what, REMEDY).into())
        }
        None => Err(Failure::new("the database has no tables of Turnstile", REMEDY).into()),
    }
}
