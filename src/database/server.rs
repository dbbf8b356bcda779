//! What the server is, and what it lets this role do.

use time::OffsetDateTime;

use super::{Database, DatabaseError};

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

impl ServerFacts {
    /// Why nothing can be loaded into this server, with the way out; `None` where it can.
    pub fn refusal(&self) -> Option<String> {
        if self.version_number < OLDEST_SERVER {
            let (version, oldest) = (&self.version, OLDEST_SERVER / 10_000);
            return Some(format!(
                "PostgreSQL {version} cannot tell whether a commit holds (pg_xact_status of an xid8): \
                 use PostgreSQL {oldest} or newer"
            ));
        }
        let standby = "the server is a standby, which takes no rows: name the primary in the database URL";
        self.standby.then(|| standby.to_owned())
    }
}

/// The right to do something with a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privilege {
    /// `SELECT`, `INSERT` or `UPDATE`.
    pub action: &'static str,
    /// The table, found as statements find it: by the search path.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
}

impl Database {
    /// Asks the server what it is; a standby and an old server answer too.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn server_facts(&self) -> Result<ServerFacts, DatabaseError> {
        let sql = "SELECT current_setting('server_version'), current_setting('server_version_num')::integer,
                          pg_is_in_recovery(), current_user::text, current_setting('is_superuser') = 'on',
                          current_setting('synchronous_standby_names') <> '',
                          current_setting('max_connections')::bigint
                              - current_setting('superuser_reserved_connections')::bigint
                              - coalesce(current_setting('reserved_connections', true)::bigint, 0),
                          (SELECT coalesce(sum(numbackends), 1)::bigint - 1 FROM pg_stat_database)";
        let transaction = self.begin_snapshot().await?;
        let row = transaction.query_one("ask what the server is", sql, &[]).await?;
        let asked_at = OffsetDateTime::now_utc();
        let clock = transaction.query_one("ask for the time", "SELECT clock_timestamp()", &[]).await?;
        let answered_at = OffsetDateTime::now_utc();
        transaction.rollback().await?;
        Ok(ServerFacts {
            version: row.get(0),
            version_number: row.get(1),
            standby: row.get(2),
            role: row.get(3),
            superuser: row.get(4),
            has_synchronous_standbys: row.get(5),
            connection_limit: row.get(6),
            connections_in_use: row.get(7),
            clock_difference: clock.get::<_, OffsetDateTime>(0) - (asked_at + (answered_at - asked_at) / 2),
        })
    }

    /// Whether this role has each of the privileges, in their order; `None` where there is no such table or column.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn privileges(&self, wanted: &[Privilege]) -> Result<Vec<Option<bool>>, DatabaseError> {
        let actions: Vec<&str> = wanted.iter().map(|privilege| privilege.action).collect();
        let tables: Vec<&str> = wanted.iter().map(|privilege| privilege.table).collect();
        let columns: Vec<&str> = wanted.iter().map(|privilege| privilege.column).collect();
        let sql = "SELECT has_column_privilege(a.attrelid, a.attnum, w.action)
                   FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS w (action, tab, col, place)
                   LEFT JOIN pg_attribute a
                       ON a.attrelid = to_regclass(w.tab) AND a.attname = w.col AND NOT a.attisdropped
                   ORDER BY w.place";
        let transaction = self.begin_snapshot().await?;
        let rows = transaction.query("ask for privileges", sql, &[&actions, &tables, &columns]).await?;
        transaction.rollback().await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Those of the tables that are not written to the server's log: a crash of the server empties them.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn unlogged(&self, tables: &[&str]) -> Result<Vec<String>, DatabaseError> {
        let sql = "SELECT relname::text FROM unnest($1::text[]) AS t (name) JOIN pg_class ON oid = to_regclass(t.name)
                   WHERE relpersistence <> 'p'";
        let transaction = self.begin_snapshot().await?;
        let rows = transaction.query("ask which tables are logged", sql, &[&tables]).await?;
        transaction.rollback().await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}
