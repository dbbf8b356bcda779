//! Brings the tables to this version: refinery's migrations, one migrator at a time.

use std::time::Duration;

use tokio_postgres::Client;

use super::error::Phase;
use super::schemas::Schemas;
use super::server::{Shortcoming, shortcoming_of_encoding};
use super::{Database, DatabaseError};
use crate::failpoint::{Step, around};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The advisory lock under which migrations run: refinery takes none itself, and two migrators at once make one fail.
const MIGRATION_LOCK: i64 = i64::from_be_bytes(*b"turnstil");

/// How often it is asked for while another migrator has it.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// The schemas that the migrations name, in whose place the chosen ones are written.
const WRITTEN: [&str; 2] = ["turnstile.", "public."];

/// The table that may stand there already.
const ADOPTED: &str = "user_logins";

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
    /// The database is not one to migrate, or a migration was refused; none of its statements holds.
    #[error("{found}")]
    Refused {
        /// What is in the way.
        found: String,
        /// What to do about it.
        remedy: String,
    },
}

impl MigrateError {
    /// What to do about it.
    pub fn remedy(&self) -> &str {
        match self {
            Self::Database(error) => error.remedy(),
            Self::Refused { remedy, .. } => remedy,
        }
    }
}

/// The version of the tables that this program needs: the number of its last migration.
pub fn newest_version() -> i32 {
    embedded::migrations::runner().get_migrations().iter().map(refinery::Migration::version).max().unwrap_or(0)
}

/// The names of the migrations after a version, in order.
pub fn newer_than(version: i32) -> Vec<String> {
    let embedded = embedded::migrations::runner();
    let mut newer: Vec<_> = embedded.get_migrations().iter().filter(|one| one.version() > version).collect();
    newer.sort_by_key(|one| one.version());
    newer.into_iter().map(ToString::to_string).collect()
}

/// How many migrations this program carries.
pub fn migration_count() -> usize {
    embedded::migrations::runner().get_migrations().len()
}

impl Database {
    /// Applies the migrations that are missing, under an advisory lock and on a connection of its own, without a
    /// deadline: an index on an adopted table may take its time. Makes the schema where there is none. Tables at a newer
    /// version are left alone.
    ///
    /// # Errors
    ///
    /// [`MigrateError`]; migrations before the refused one hold.
    pub async fn migrate(&self) -> Result<Migrated, MigrateError> {
        let mut client = self.connect_without_deadlines().await?;
        lock(&client).await?;
        // Nothing is found by a path into which others may write.
        let pinned = client.batch_execute("SET search_path = pg_catalog, pg_temp").await;
        pinned.map_err(failed)?;
        insist_on_encoding(&client).await?;
        self.insist_on_own_relations(&client).await?;
        self.insist_on_own_schema(&client).await?;
        match self.version_seen_by(&client).await.map_err(failed)? {
            Some(version) if version > newest_version() => return Ok(Migrated { applied: Vec::new(), version }),
            Some(_) | None => {}
        }
        let mut runner = refinery::Runner::new(&self.migrations()?);
        runner.set_migration_table_name(format!("{}.{HISTORY}", self.schemas().own));
        let report = around(Step::Migrate, runner.run_async(&mut client)).await.map_err(refused)?;
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
        let attempted = "read schema version";
        self.snapshot(async |seen| {
            let exists: bool = seen.query_one(attempted, &self.has_history(), &[]).await?.get(0);
            match exists {
                true => Ok(seen.query_one(attempted, &self.newest_applied(), &[]).await?.get(0)),
                false => Ok(None),
            }
        })
        .await
    }

    fn has_history(&self) -> String {
        format!("SELECT pg_catalog.to_regclass('{}.{HISTORY}') IS NOT NULL", self.schemas().own)
    }

    fn newest_applied(&self) -> String {
        format!("SELECT pg_catalog.max(version) FROM {}.{HISTORY}", self.schemas().own)
    }

    /// The version as a migrator sees it that has the lock.
    async fn version_seen_by(&self, client: &Client) -> Result<Option<i32>, tokio_postgres::Error> {
        match client.query_one(&self.has_history(), &[]).await?.get(0) {
            true => Ok(client.query_one(&self.newest_applied(), &[]).await?.get(0)),
            false => Ok(None),
        }
    }

    /// The embedded migrations, with the chosen schemas in them.
    fn migrations(&self) -> Result<Vec<refinery::Migration>, MigrateError> {
        let embedded = embedded::migrations::runner();
        let written = |migration: &refinery::Migration| {
            let name = format!("V{}__{}", migration.version(), migration.name());
            let sql = self.with_schemas(migration.sql().unwrap_or_default());
            refinery::Migration::unapplied(&name, &sql).map_err(refused)
        };
        embedded.get_migrations().iter().map(written).collect()
    }

    fn with_schemas(&self, sql: &str) -> String {
        let [own, logins] = WRITTEN;
        let Schemas { own: own_schema, logins: logins_schema } = self.schemas();
        // Twice, so that a schema which is called like the other default is not replaced again.
        let marked = sql.replace(own, "\u{1}.").replace(logins, "\u{2}.");
        marked.replace("\u{1}.", &format!("{own_schema}.")).replace("\u{2}.", &format!("{logins_schema}."))
    }

    /// Makes the schema, or makes sure that nobody else can put something into it that would run as its owner.
    async fn insist_on_own_schema(&self, client: &Client) -> Result<(), MigrateError> {
        let own = &self.schemas().own;
        let sql = format!(
            "SELECT pg_get_userbyid(nspowner)::text, {},
                    (SELECT string_agg(CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee)::text END, ', ')
                     FROM aclexplode(nspacl) WHERE privilege_type = 'CREATE' AND grantee <> nspowner)
             FROM pg_namespace WHERE nspname = $1",
            is_ours("nspowner")
        );
        let Some(row) = client.query_opt(&sql, &[&own.name()]).await.map_err(failed)? else {
            let made = client.batch_execute(&format!("CREATE SCHEMA {own}")).await;
            return made.map_err(|error| match error.code().map(tokio_postgres::error::SqlState::code) {
                Some("42501") => MigrateError::Refused {
                    found: format!("the schema {own} is not there, and this role may not make it"),
                    remedy: format!(
                        "let the owner of the database run CREATE SCHEMA {own} AUTHORIZATION with this role, or GRANT CREATE \
                         ON DATABASE to it"
                    ),
                },
                _ => failed(error),
            });
        };
        let (owner, is_ours, creators): (&str, bool, Option<&str>) = (row.get(0), row.get(1), row.get(2));
        if !is_ours {
            return Err(MigrateError::Refused {
                found: format!("the schema {own} belongs to {owner}"),
                remedy: "migrate as that role, or choose another schema with --schema".to_owned(),
            });
        }
        match creators {
            None => Ok(()),
            Some(creators) => Err(MigrateError::Refused {
                found: format!("others may create objects in the schema {own}, which would run as its owner"),
                remedy: format!("REVOKE CREATE ON SCHEMA {own} FROM {creators}"),
            }),
        }
    }

    /// Makes sure that nobody else's table is taken for one of ours: its owner could change and read what stands in it.
    async fn insist_on_own_relations(&self, client: &Client) -> Result<(), MigrateError> {
        let Schemas { own, logins } = self.schemas();
        let sql = format!(
            "SELECT format('%I.%I', n.nspname, c.relname), pg_get_userbyid(c.relowner)::text
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE (n.nspname = $1 AND $1 <> $2 OR n.nspname = $2 AND c.relname = $3)
               AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT ({})
             ORDER BY 1 LIMIT 1",
            is_ours("c.relowner")
        );
        let foreign = client.query_opt(&sql, &[&own.name(), &logins.name(), &ADOPTED]).await.map_err(failed)?;
        let Some(row) = foreign else { return Ok(()) };
        let (name, owner): (&str, &str) = (row.get(0), row.get(1));
        Err(MigrateError::Refused {
            found: format!("{name} belongs to {owner}, who could change what it holds"),
            remedy: format!(
                "migrate as that role, give {name} to this one (ALTER TABLE {name} OWNER TO …), or choose other schemas \
                 with --schema and --logins-schema"
            ),
        })
    }
}

/// Whether what belongs to this owner may be trusted: the migrator may act as it. A superuser may act as anybody, so of
/// strangers it trusts other superusers and the owner of the database only.
fn is_ours(owner: &str) -> String {
    format!(
        "CASE WHEN current_setting('is_superuser') = 'on'
              THEN pg_get_userbyid({owner}) IN (current_user, 'pg_database_owner')
                   OR EXISTS (SELECT FROM pg_roles r WHERE r.oid = {owner} AND r.rolsuper)
                   OR EXISTS (SELECT FROM pg_database d WHERE d.datname = current_database() AND d.datdba = {owner})
              ELSE pg_has_role({owner}, 'USAGE') END"
    )
}

/// What is refused half-way leaves half of the tables behind.
async fn insist_on_encoding(client: &Client) -> Result<(), MigrateError> {
    let row = client.query_one("SELECT current_setting('server_encoding')", &[]).await.map_err(failed)?;
    match shortcoming_of_encoding(row.get(0)) {
        None => Ok(()),
        Some(Shortcoming { found, remedy }) => Err(MigrateError::Refused { found, remedy }),
    }
}

/// The table in which refinery keeps the versions.
const HISTORY: &str = "refinery_schema_history";

fn failed(error: tokio_postgres::Error) -> MigrateError {
    MigrateError::Database(DatabaseError::from_driver(Phase::Working("migrate"), &error))
}

/// Waits for other migrators, and says so.
async fn lock(client: &Client) -> Result<(), MigrateError> {
    for asked in 0_u64.. {
        let taken = client.query_one("SELECT pg_try_advisory_lock($1)", &[&MIGRATION_LOCK]).await.map_err(failed)?;
        if taken.get(0) {
            break;
        }
        if asked.is_multiple_of(100) {
            tracing::warn!("another session holds the advisory lock of migrations (see pg_locks): waiting for it");
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(())
}

/// What to do where a role may not migrate.
const MAY_NOT_MIGRATE: &str = "migrate as the owner of the tables, which may create tables in --schema and --logins-schema \
     (GRANT CREATE ON SCHEMA), and not as a loader or an operator";

/// What to do about any other refusal.
const MEND_AND_MIGRATE: &str = "mend what is in the way, and run `turnstile migrate` again: what it did before holds";

/// What PostgreSQL says of a refused migration is about tables and columns, so it may be shown whole.
fn refused(error: refinery::Error) -> MigrateError {
    let mut found = error.to_string();
    let mut remedy = MEND_AND_MIGRATE;
    let mut source: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(&error);
    while let Some(cause) = source {
        if let Some(refusal) = cause.downcast_ref::<tokio_postgres::error::DbError>() {
            found = format!("{found}: {} (SQLSTATE {})", refusal.message(), refusal.code().code());
            if let Some(hint) = refusal.hint() {
                found = format!("{found}. {hint}");
            }
            if refusal.code() == &tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE {
                remedy = MAY_NOT_MIGRATE;
            }
        }
        source = cause.source();
    }
    MigrateError::Refused { found, remedy: remedy.to_owned() }
}
