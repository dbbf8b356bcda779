//! `turnstile migrate`.

use std::time::Duration;

use serde_json::json;

use super::terminal::{counted, say};
use super::{Failure, Outcome};
use crate::config::Given;
use crate::config::rows::{self, Format};
use crate::database::migrate::{self as migrations, Migrated};
use crate::database::{Database, DatabaseSettings, Patience, persist};
use crate::distribution::{DistributeError, Spread, distribute};
use crate::keyring::Keyring;
use crate::keys;
use crate::mask::MaskKind;
use crate::retention::{ConvertError, Converted, partition};
use crate::seal::KeyId;
use crate::table::outbox;
use crate::table::time_partitions::{self, Period};

/// How long a table waits to be partitioned or distributed for those who hold it.
const PATIENCE: Duration = Duration::from_secs(600);

/// What `turnstile migrate` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Makes the schema of Turnstile's own tables where there is none, and the tables in it; user_logins is made in --logins-schema, \
or adopted there. With a keyring, its keys are registered with new tables; without one, `turnstile keys register` does it.")]
pub struct Args {
    /// Only say at which version the tables are, and which one this program needs
    #[arg(long)]
    status: bool,

    /// Only say which migrations would be applied
    #[arg(long, conflicts_with = "status")]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let mut mistakes = given.mistakes();
        let settings = given.database(1, &mut mistakes);
        let keyring = given.keyring_if_any(&mut mistakes);
        let mask = given.read(&rows::MASK, &mut mistakes);
        let format = given.read(&rows::FORMAT, &mut mistakes);
        let period = given.optional(&rows::PARTITION, &mut mistakes);
        let shards = given.optional(&rows::SHARDS, &mut mistakes);
        let ((settings, keyring), ((mask, format), (period, shards))) =
            mistakes.or(settings.zip(keyring).zip(mask.zip(format).zip(period.zip(shards))))?;
        let database = Database::new(&settings)?;
        if self.status || self.dry_run {
            tell_state(&database, self.dry_run, format).await?;
            return Ok(Outcome::Done);
        }
        let keys = keyring.as_ref().map(|keyring| (keyring, mask));
        let mut done = migrate(&database, keys).await?;
        if let Some(period) = period.filter(|_| !done.migrated.is_newer()) {
            done.converted = Some((period, partition(&database, period, PATIENCE).await?));
        }
        if given.is_on(&rows::DISTRIBUTE) && !done.migrated.is_newer() {
            done.spread = Some(distribute(&database, shards, PATIENCE).await?);
        }
        done.tell(format).map(|()| Outcome::Done)
    }
}

/// Says where the tables are, and what a migration would do.
async fn tell_state(database: &Database, is_dry_run: bool, format: Format) -> Result<(), Failure> {
    let (version, needed) = (database.schema_version().await?, migrations::newest_version());
    let pending = migrations::newer_than(version.unwrap_or(0));
    if format == Format::Json {
        return say(&json!({"version": version, "needed": needed, "pending": pending}).to_string());
    }
    if is_dry_run {
        pending.iter().try_for_each(|name| say(&format!("would apply {name}")))?;
    }
    match version {
        None => say(&format!("the database has no tables of Turnstile; this program needs version {needed}")),
        Some(version) => say(&format!("the tables are at version {version}; this program needs {needed}")),
    }
}

/// What a migration did.
pub(super) struct Done {
    migrated: Migrated,
    registered: Vec<KeyId>,
    lacks_keys: bool,
    converted: Option<(Period, Converted)>,
    spread: Option<Spread>,
}

/// Migrates, and registers the keys with tables that know none.
pub(super) async fn migrate(database: &Database, keys: Option<(&Keyring, MaskKind)>) -> Result<Done, Failure> {
    let migrated = database.migrate().await?;
    let mut done = Done { migrated, registered: Vec::new(), lacks_keys: false, converted: None, spread: None };
    if done.migrated.is_newer() {
        return Ok(done);
    }
    outbox::extend(database).await?;
    time_partitions::extend(database).await?;
    if !keys::registered(database).await?.is_empty() {
        return Ok(done);
    }
    match keys {
        None => done.lacks_keys = true,
        Some((keyring, mask)) => done.registered = keys::register(database, keyring, mask, false).await?.registered,
    }
    Ok(done)
}

impl Done {
    pub(super) fn tell(&self, format: Format) -> Result<(), Failure> {
        let Self { migrated, registered, lacks_keys, converted, spread } = self;
        let (version, ours) = (migrated.version, migrations::newest_version());
        if format == Format::Json {
            let registered: Vec<&str> = registered.iter().map(KeyId::as_str).collect();
            let partitioned = converted.as_ref().map(|(period, converted)| {
                let tables: Vec<&str> = converted.converted.iter().map(|(parent, _)| parent.as_str()).collect();
                json!({"period": period.as_str(), "tables": tables, "partitions": converted.made})
            });
            let done = json!({
                "version": version,
                "needed": ours,
                "applied": migrated.applied,
                "registered": registered,
                "partitioned": partitioned,
                "distributed": spread.map(|Spread { workers, shards }| json!({"workers": workers, "shards": shards})),
            });
            return say(&done.to_string());
        }
        migrated.applied.iter().try_for_each(|name| say(&format!("applied {name}")))?;
        if migrated.is_newer() {
            return say(&format!(
                "the tables are at version {version}, newer than this program's {ours}: nothing to do"
            ));
        }
        say(&format!("the tables are at version {version}"))?;
        if *lacks_keys {
            say("no key is registered: run `turnstile keys register` before the first loader starts")?;
        }
        registered.iter().try_for_each(|id| say(&format!("registered the key {id}")))?;
        if let Some((period, Converted { converted, made })) = converted {
            for (parent, until) in converted {
                let name = parent.as_str();
                say(&format!(
                    "{name} is partitioned now: what stood there is its first partition, until {}",
                    until.date()
                ))?;
            }
            say(&format!("new partitions are {}; {} made", period.as_str(), counted(u64::from(*made), "partition")))?;
        }
        let Some(Spread { workers, shards }) = spread else { return Ok(()) };
        let over = counted(u64::from(*workers), "worker");
        match shards {
            Some(shards) => say(&format!("the tables are distributed now, in {shards} shards over {over}")),
            None => say(&format!("the tables were distributed before, over {over}")),
        }
    }
}

/// A database whose tables are no older than this program.
pub(super) async fn open(settings: &DatabaseSettings) -> Result<Database, Failure> {
    let database = Database::new(settings)?;
    refuse_older(&database, Patience::attempts(1)).await?;
    Ok(database)
}

/// Refuses tables that are older than this program; on newer ones that lack what it relies on, it stops when it loads.
pub(super) async fn refuse_older(database: &Database, patience: Patience) -> Result<(), Failure> {
    const REMEDY: &str = "run `turnstile migrate` (or `turnstile run --migrate`)";
    let needed = migrations::newest_version();
    match persist(patience, || database.schema_version()).await? {
        Some(version) if version >= needed => Ok(()),
        Some(version) => {
            let what = format!("the tables are at version {version} and this program needs {needed}");
            Err(Failure::new(what, REMEDY))
        }
        None => Err(Failure::new("the database has no tables of Turnstile", REMEDY)),
    }
}

impl From<ConvertError> for Failure {
    fn from(error: ConvertError) -> Self {
        let remedy = error.remedy();
        Self::new(error.to_string(), remedy)
    }
}

impl From<DistributeError> for Failure {
    fn from(error: DistributeError) -> Self {
        let remedy = error.remedy();
        Self::new(error.to_string(), remedy)
    }
}
