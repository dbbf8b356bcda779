//! What the server is, and what it lets this role do.

use time::OffsetDateTime;

use super::{Database, DatabaseError, Transaction};

/// The oldest server that this program runs on, as `server_version_num` counts: `pg_current_xact_id`, `xid8` and
/// `pg_xact_status(xid8)`, by which a commit is verified, came with PostgreSQL 13.
pub const OLDEST_SERVER: i32 = 130_000;

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its version, as people write it.
    pub version: String,
    /// Its version as a number: 150018 is 15.18.
    pub version_number: i32,
    /// Whether it is a standby, which takes no rows.
    pub standby: bool,
    /// Whether transactions of this role are read-only where they do not say otherwise.
    pub read_only: bool,
    /// The encoding in which it stores text.
    pub encoding: String,
    /// Whether it spreads tables over other servers: it has the extension `citus`.
    pub sharded: bool,
    /// The role as which statements run.
    pub role: String,
    /// Whether that role may do everything.
    pub superuser: bool,
    /// Whether it is told to wait for synchronous standbys.
    pub has_synchronous_standbys: bool,
    /// The most connections that roles without special rights may hold at once.
    pub connection_limit: i64,
    /// How many connections there were, this one not counted.
    pub connections_in_use: i64,
    /// By how much its clock is ahead of ours, right to half the time that the reply took.
    pub clock_difference: time::Duration,
}

/// What tells this cluster, and physical copies of it, from every other.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn cluster_id(transaction: &Transaction) -> Result<i64, DatabaseError> {
    let sql = "SELECT system_identifier FROM pg_catalog.pg_control_system()";
    Ok(transaction.query_one("ask for the cluster's id", sql, &[]).await?.get(0))
}

impl ServerFacts {
    /// Why nothing can be loaded into this server; `None` where it can.
    pub fn shortcoming(&self) -> Option<Shortcoming> {
        if self.version_number < OLDEST_SERVER {
            let (version, oldest) = (&self.version, OLDEST_SERVER / 10_000);
            return Some(Shortcoming {
                found: format!("PostgreSQL {version} cannot tell whether a commit holds (pg_xact_status of an xid8)"),
                remedy: format!("use PostgreSQL {oldest} or newer"),
            });
        }
        if self.standby {
            return Some(Shortcoming::new(
                "the server is a standby, which takes no rows",
                "name the primary in the database URL",
            ));
        }
        if self.read_only {
            return Some(Shortcoming::new(
                "default_transaction_read_only is on, so that no row can be written",
                "set default_transaction_read_only = off for this server, database and role (some services set it on when \
                 the disk is full)",
            ));
        }
        shortcoming_of_encoding(&self.encoding)
    }
}

/// What a server lacks that the promise needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortcoming {
    /// What it lacks.
    pub found: String,
    /// What to do about it.
    pub remedy: String,
}

impl Shortcoming {
    fn new(found: &str, remedy: &str) -> Self {
        Self { found: found.to_owned(), remedy: remedy.to_owned() }
    }
}

/// Why texts cannot be stored in this encoding; `None` where they can.
pub(super) fn shortcoming_of_encoding(encoding: &str) -> Option<Shortcoming> {
    (encoding != "UTF8").then(|| {
        Shortcoming::new(
            &format!("the database stores text as {encoding}, which cannot hold what apps send"),
            "make another database with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
        )
    })
}

/// Whether the server has the extension `citus`, as a statement asks.
pub const HAS_CITUS: &str = "EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'citus')";

impl Database {
    /// Asks the server what it is; a standby and an old server answer too.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn server_facts(&self) -> Result<ServerFacts, DatabaseError> {
        let sql = format!(
            "SELECT pg_catalog.current_setting('server_version'),
                          pg_catalog.current_setting('server_version_num')::integer,
                          pg_catalog.pg_is_in_recovery(), current_user::text,
                          pg_catalog.current_setting('is_superuser') = 'on',
                          pg_catalog.current_setting('synchronous_standby_names') <> '',
                          pg_catalog.current_setting('max_connections')::bigint
                              - pg_catalog.current_setting('superuser_reserved_connections')::bigint
                              - coalesce(pg_catalog.current_setting('reserved_connections', true)::bigint, 0::bigint),
                          (SELECT coalesce(pg_catalog.sum(numbackends)::bigint, 1::bigint) - 1::bigint
                           FROM pg_catalog.pg_stat_database),
                          pg_catalog.current_setting('default_transaction_read_only') = 'on',
                          pg_catalog.current_setting('server_encoding'),
                          {HAS_CITUS}"
        );
        let ask = async |seen: &Transaction| {
            let row = seen.query_one("ask what the server is", &sql, &[]).await?;
            let asked_at = OffsetDateTime::now_utc();
            let clock = seen.clock().await?;
            Ok((row, clock, asked_at, OffsetDateTime::now_utc()))
        };
        let (row, clock, asked_at, answered_at) = self.snapshot(ask).await?;
        Ok(ServerFacts {
            version: row.get(0),
            version_number: row.get(1),
            standby: row.get(2),
            role: row.get(3),
            superuser: row.get(4),
            has_synchronous_standbys: row.get(5),
            connection_limit: row.get(6),
            connections_in_use: row.get(7),
            read_only: row.get(8),
            encoding: row.get(9),
            sharded: row.get(10),
            clock_difference: clock - (asked_at + (answered_at - asked_at) / 2),
        })
    }
}
