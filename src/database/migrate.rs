//! Brings the tables to this version: refinery's migrations, one migrator at a time.

use tokio_postgres::Client;

use super::{Database, DatabaseError};
use crate::failpoint::{Step, around};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The advisory lock under which migrations run: refinery takes none itself, and two migrators at once make one fail.
const MIGRATION_LOCK: i64 = i64::from_be_bytes(*b"turnstil");

const HAS_HISTORY: &str = "SELECT to_regclass('refinery_schema_history') IS NOT NULL";

const NEWEST_APPLIED: &str = "SELECT max(version) FROM refinery_schema_history";

/// What a migration did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The names of the migrations that were applied now, in order.
    pub applied: Vec<String>,
    /// The version at which the tables are: this program's or, where a newer one migrated them, a newer one.
    pub version: i32,
}

impl Migrated {
    /// Whether a newer program migrated the tables. Where they lack what this one relies on, it stops when it loads.
    pub fn is_newer(&self) -> bool {
        self.version > newest_version()
    }
}

/// The tables could not be brought to this version.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database cannot be reached or does not answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A migration was refused; none of its statements holds.
    #[error("{0}")]
    Refused(String),
}

/// The version of the tables that this program needs: the number of its last migration.
pub fn newest_version() -> i32 {
    embedded::migrations::runner().get_migrations().iter().map(refinery::Migration::version).max().unwrap_or(0)
}

/// How many migrations this program carries.
pub fn migration_count() -> usize {
    embedded::migrations::runner().get_migrations().len()
}

impl Database {
    /// Applies the migrations that are missing, under an advisory lock and on a connection of its own, without a
    /// deadline: an index on an adopted table may take its time. Tables at a newer version are left alone.
    ///
    /// # Errors
    ///
    /// [`MigrateError`]; migrations before the refused one hold.
    pub async fn migrate(&self) -> Result<Migrated, MigrateError> {
        let mut client = self.connect_without_deadlines().await?;
        let failed = |error| MigrateError::Database(DatabaseError::from_driver("migrate", &error));
        client.execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await.map_err(failed)?;
        match version_of(&client).await.map_err(failed)? {
            Some(version) if version > newest_version() => return Ok(Migrated { applied: Vec::new(), version }),
            Some(_) | None => {}
        }
        let report =
            around(Step::Migrate, embedded::migrations::runner().run_async(&mut client)).await.map_err(refused)?;
        Ok(Migrated {
            applied: report.applied_migrations().iter().map(ToString::to_string).collect(),
            version: newest_version(),
        })
    }

    /// The version at which the tables are; `None` where no migration ever ran.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn schema_version(&self) -> Result<Option<i32>, DatabaseError> {
        let transaction = self.begin_snapshot().await?;
        let exists: bool = transaction.query_one("read schema version", HAS_HISTORY, &[]).await?.get(0);
        let version = match exists {
            true => transaction.query_one("read schema version", NEWEST_APPLIED, &[]).await?.get(0),
            false => None,
        };
        transaction.rollback().await?;
        Ok(version)
    }
}

/// The version as a migrator sees it that has the lock.
async fn version_of(client: &Client) -> Result<Option<i32>, tokio_postgres::Error> {
    match client.query_one(HAS_HISTORY, &[]).await?.get(0) {
        true => Ok(client.query_one(NEWEST_APPLIED, &[]).await?.get(0)),
        false => Ok(None),
    }
}

/// What PostgreSQL says of a refused migration is about tables and columns, so it may be shown whole.
fn refused(error: refinery::Error) -> MigrateError {
    let mut said = error.to_string();
    let mut source: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(&error);
    while let Some(cause) = source {
        if let Some(refusal) = cause.downcast_ref::<tokio_postgres::error::DbError>() {
            said = format!("{said}: {} (SQLSTATE {})", refusal.message(), refusal.code().code());
            if let Some(hint) = refusal.hint() {
                said = format!("{said}. {hint}");
            }
        }
        source = cause.source();
    }
    MigrateError::Refused(said)
}
