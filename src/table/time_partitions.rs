//! The tables that are partitioned by time: which partitions they have, and how more are made. `partitioning` says which tables
//! these are.

use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;
use tokio_postgres::Row;

use super::distribution;
use super::partitions::Place;
use crate::database::schemas::{Schema, Schemas};
use crate::database::{Database, DatabaseError, LoneSession, Transaction};

/// A table that can be partitioned by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parent {
    /// The logins, by `create_date`.
    UserLogins,
    /// The claims, by `sent_at`.
    ProcessedMessages,
    /// The keys of producers, by `key_time`: where they carry one.
    Identities,
}

impl Parent {
    /// Every one, in the order in which their rows leave.
    pub const ALL: [Self; 3] = [Self::UserLogins, Self::ProcessedMessages, Self::Identities];

    /// Those that must be partitioned before anything leaves.
    pub const OF_MESSAGES: [Self; 2] = [Self::UserLogins, Self::ProcessedMessages];

    /// Whether an archive keeps its rows.
    pub fn is_archived(self) -> bool {
        match self {
            Self::UserLogins | Self::ProcessedMessages => true,
            Self::Identities => false,
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserLogins => "user_logins",
            Self::ProcessedMessages => "processed_messages",
            Self::Identities => "identities",
        }
    }

    /// The column that says to which partition a row belongs.
    pub fn column(self) -> &'static str {
        match self {
            Self::UserLogins => "create_date",
            Self::ProcessedMessages => "sent_at",
            Self::Identities => "key_time",
        }
    }

    /// Where it stands.
    pub fn schema(self, schemas: &Schemas) -> &Schema {
        match self {
            Self::UserLogins => &schemas.logins,
            Self::ProcessedMessages | Self::Identities => &schemas.own,
        }
    }

    /// A partition of it.
    pub fn place<'n>(self, schemas: &'n Schemas, name: &'n str) -> Place<'n> {
        Place { schema: self.schema(schemas), parent: self.as_str(), name }
    }

    /// The columns of its key: the time of a message or of a producer's key, and its hash.
    pub fn key(self) -> [&'static str; 2] {
        match self {
            Self::UserLogins => ["message_sent_at", "message_hash"],
            Self::ProcessedMessages => ["sent_at", "message_hash"],
            Self::Identities => ["key_time", "hash"],
        }
    }
}

impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Parent {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|parent| parent.as_str() == name).ok_or(())
    }
}

/// How much time a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// A month.
    Monthly,
    /// A day.
    Daily,
}

impl Period {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Monthly => "monthly",
            Self::Daily => "daily",
        }
    }
}

impl FromStr for Period {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        [Self::Monthly, Self::Daily].into_iter().find(|period| period.as_str() == word).ok_or(())
    }
}

/// How a partition belongs to its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is a partition.
    Attached,
    /// It was to be detached, and that has not come to its end: nobody sees its rows any more.
    Pending,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its table.
    pub parent: Parent,
    /// Its name, in the schema of its table.
    pub name: String,
    /// How it belongs to its table.
    pub state: State,
    /// With which time it begins; none where it holds whatever is older.
    pub since: Option<OffsetDateTime>,
    /// Before which time it ends.
    pub until: OffsetDateTime,
    /// How many bytes it takes, with its indexes.
    pub bytes: u64,
}

/// The partitions of all tables, the oldest first; none of a table that is not partitioned by time. A partition that somebody
/// else has made of another form, and one of a constant time, are not among them.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn read(session: &LoneSession) -> Result<Vec<Partition>, DatabaseError> {
    let Schemas { own, logins } = session.schemas();
    let size = distribution::size_of(distribution::cluster(session).await?.is_some(), "c.oid");
    // PostgreSQL 13 has no column inhdetachpending.
    let sql = format!(
        "SELECT p.relname::text, c.relname::text,
                coalesce((pg_catalog.to_jsonb(i) ->> 'inhdetachpending')::boolean, false),
                {size}, b.since, b.until
         FROM pg_catalog.pg_class p JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
         JOIN pg_catalog.pg_inherits i ON i.inhparent = p.oid JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
         {BOUNDS}
         WHERE p.relkind = 'p' AND c.relkind = 'r' AND b.until IS NOT NULL AND b.until > '1970-01-02 00:00:00Z'
           AND (p.relname IN ('processed_messages', 'identities') AND n.nspname = $1 OR p.relname = 'user_logins' AND n.nspname = $2)
         ORDER BY b.until, p.relname DESC"
    );
    let rows = session.query("read the partitions", &sql, &[&own.name(), &logins.name()]).await?;
    Ok(rows.iter().filter_map(partition_from).collect())
}

/// The bound of a partition `c` of a table `p`, and the times that it says. A bound prints as the session's time zone has it, and is
/// read in the same session.
pub(super) const BOUNDS: &str =
    "CROSS JOIN LATERAL (SELECT pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS bound) AS e
    CROSS JOIN LATERAL (
        SELECT CASE p.relname WHEN 'user_logins' THEN pg_catalog.timezone('UTC', s.since::date::timestamp)
                              ELSE s.since::timestamptz END AS since,
               CASE p.relname WHEN 'user_logins' THEN pg_catalog.timezone('UTC', s.until::date::timestamp)
                              ELSE s.until::timestamptz END AS until
        FROM (SELECT pg_catalog.substring(e.bound, 'FROM \\(''([^'']*)''\\)') AS since,
                     pg_catalog.substring(e.bound, 'TO \\(''([^'']*)''\\)') AS until) AS s
    ) AS b";

fn partition_from(row: &Row) -> Option<Partition> {
    Some(Partition {
        parent: row.get::<_, &str>(0).parse().ok()?,
        name: row.get(1),
        state: if row.get(2) { State::Pending } else { State::Attached },
        bytes: u64::try_from(row.get::<_, i64>(3)).unwrap_or(0),
        since: row.get(4),
        until: row.get(5),
    })
}

/// How many rows a table holds, which is read from one end to the other.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn count(session: &LoneSession, place: Place<'_>) -> Result<u64, DatabaseError> {
    let sql = format!("SELECT count(*) FROM {}", place.partition());
    let row = session.query_one("count the rows of a partition", &sql, &[]).await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}

/// About how many rows a table holds, as the server last reckoned; none where it never did.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn reckoned(session: &LoneSession, place: Place<'_>) -> Result<Option<u64>, DatabaseError> {
    let sql = "SELECT c.reltuples::bigint FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass($1) AND c.reltuples > 0";
    let rows = session.query("ask how large a partition is", sql, &[&place.partition()]).await?;
    Ok(rows.first().map(|row| u64::try_from(row.get::<_, i64>(0)).unwrap_or(0)))
}

/// When the last message was sent that brought a row of this partition of the logins; none where none did.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn last_message(session: &LoneSession, place: Place<'_>) -> Result<Option<OffsetDateTime>, DatabaseError> {
    let sql = format!("SELECT pg_catalog.max(message_sent_at) FROM {}", place.partition());
    Ok(session.query_one("look at the last row of a partition", &sql, &[]).await?.get(0))
}

/// Whether one of the tables has a default partition, beside which none can be detached while others write.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn has_default(session: &LoneSession) -> Result<bool, DatabaseError> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_partitioned_table t
                   WHERE t.partdefid <> 0
                     AND t.partrelid = ANY (SELECT pg_catalog.to_regclass(name) FROM pg_catalog.unnest($1::text[]) AS name))";
    let tables = Parent::ALL.map(|parent| parent.place(session.schemas(), parent.as_str()).partition());
    Ok(session.query_one("look for a default partition", sql, &[&tables.as_slice()]).await?.get(0))
}

/// Whether a table of this name stands there, partition or not.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn stands(session: &LoneSession, place: Place<'_>) -> Result<bool, DatabaseError> {
    let sql = "SELECT pg_catalog.to_regclass($1) IS NOT NULL";
    Ok(session.query_one("look for a table", sql, &[&place.partition()]).await?.get(0))
}

/// Makes the partitions that are missing, also for some time ahead. Gives their number.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn extend(database: &Database) -> Result<u32, DatabaseError> {
    let sql = format!("SELECT {}.extend_partitions()", database.schemas().own);
    let extend = async |transaction: &Transaction| transaction.query_one("make partitions by time", &sql, &[]).await;
    let made = database.transaction(extend).await?;
    Ok(made.get::<_, i32>(0).unsigned_abs())
}

/// Puts the claims under the constant time into a partition of their own and detaches the first partition, in which they stood,
/// in one transaction: there is no moment in which such a claim is not there. It locks the whole table, and is tried for 50 ms
/// only.
///
/// # Errors
///
/// [`DatabaseError`]; see [`DatabaseError::gave_way`]
pub async fn try_detach_first_claims(session: &LoneSession, name: &str) -> Result<(), DatabaseError> {
    let place = Parent::ProcessedMessages.place(session.schemas(), name);
    let timeless = Parent::ProcessedMessages.place(session.schemas(), TIMELESS);
    let (parent, first, timeless) = (place.parent(), place.partition(), timeless.partition());
    // One by one: what changes a distributed table must stand alone.
    let statements = [
        "BEGIN".to_owned(),
        format!("LOCK TABLE {parent} IN ACCESS EXCLUSIVE MODE"),
        format!("ALTER TABLE {parent} DETACH PARTITION {first}"),
        format!("CREATE TABLE {timeless} (LIKE {parent} INCLUDING ALL EXCLUDING INDEXES)"),
        format!("INSERT INTO {timeless} SELECT * FROM {first} WHERE sent_at = '1970-01-01 00:00:00Z'"),
        format!(
            "ALTER TABLE {parent} ATTACH PARTITION {timeless}
             FOR VALUES FROM ('1970-01-01 00:00:00Z') TO ('1970-01-02 00:00:00Z')"
        ),
        format!("DELETE FROM {first} WHERE sent_at = '1970-01-01 00:00:00Z'"),
        "COMMIT".to_owned(),
    ];
    let limits = super::partitions::short(session).await?;
    session.run_all_within("detach the first claims", &statements, limits).await
}

/// The partition of the claims under the constant time, once the first partition has left.
const TIMELESS: &str = "processed_messages_timeless";

/// How many claims stand under the constant time in the first partition: they are copied while everybody waits.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn timeless_claims(session: &LoneSession, place: Place<'_>) -> Result<u64, DatabaseError> {
    let sql = format!("SELECT count(*) FROM {} WHERE sent_at = '1970-01-01 00:00:00Z'", place.partition());
    let row = session.query_one("count claims under the constant time", &sql, &[]).await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}
