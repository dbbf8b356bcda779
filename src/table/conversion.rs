//! How a partitioned table takes the place of an ordinary one: step by step, beside loaders and readers, and without writing a
//! row anew.

use std::time::Duration;

use time::OffsetDateTime;
use time::macros::format_description;

use super::partitions::{Place, SHORT, quoted};
use super::time_partitions::{Parent, Period};
use crate::database::{DatabaseError, Limits, LoneSession};

/// What does not go along when a table is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is, in PostgreSQL's words.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// What stands in the way of partitioning this table.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn obstacles(session: &LoneSession, parent: Parent) -> Result<Vec<Found>, DatabaseError> {
    let table = whole(session, parent).partition();
    let rows = session
        .query("look for what is in the way", include_str!("conversion/obstacles.sql"), &[&table, &parent.column()])
        .await?;
    let mut found: Vec<Found> = rows.iter().map(|row| Found { kind: row.get(0), name: row.get(1) }).collect();
    // A date is what rows are sorted by; claims and keys have their time by NOT NULL.
    if parent == Parent::UserLogins {
        let sql = format!("SELECT count(*) FROM {table} WHERE create_date IS NULL");
        let without: i64 = session.query_one("look for rows without a date", &sql, &[]).await?.get(0);
        if without > 0 {
            found.push(Found { kind: "rows without create_date".to_owned(), name: without.to_string() });
        }
    }
    Ok(found)
}

/// Whether it is a partitioned table already.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn is_partitioned(session: &LoneSession, parent: Parent) -> Result<bool, DatabaseError> {
    let sql = "SELECT c.relkind = 'p' FROM pg_catalog.pg_class c WHERE c.oid = $1::text::pg_catalog.regclass";
    Ok(session.query_one("look at a table", sql, &[&whole(session, parent).partition()]).await?.get(0))
}

/// Whether keys carry a time of their own, or will: otherwise none could leave by it.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn keys_carry_time(session: &LoneSession) -> Result<bool, DatabaseError> {
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM {own}.queues q WHERE q.scheme ~ '^(uuidv7|ulid):')
             OR EXISTS (SELECT 1 FROM {own}.identities i WHERE i.key_time > '1970-01-01 00:00:00Z')",
        own = session.schemas().own
    );
    Ok(session.query_one("ask whether keys carry their time", &sql, &[]).await?.get(0))
}

/// Until when the first partition is to last: the first end of a period that is at least a week away, so that there is time to
/// prepare it, in UTC.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn first_cut(session: &LoneSession, period: Period) -> Result<OffsetDateTime, DatabaseError> {
    let unit = match period {
        Period::Monthly => "month",
        Period::Daily => "day",
    };
    let sql = format!(
        "SELECT pg_catalog.timezone('UTC', pg_catalog.date_trunc('{unit}', pg_catalog.timezone('UTC', pg_catalog.now())
                    + '7 days'::interval) + '1 {unit}'::interval)"
    );
    Ok(session.query_one("reckon the first partition", &sql, &[]).await?.get(0))
}

/// Notes that this table is being made ready.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn begin(
    session: &LoneSession,
    parent: Parent,
    period: Period,
    cut: OffsetDateTime,
) -> Result<(), DatabaseError> {
    let sql = format!(
        "INSERT INTO {}.partitioning (parent, period, made_until) VALUES ($1, $2, $3)
         ON CONFLICT (parent) DO UPDATE SET period = excluded.period, made_until = excluded.made_until",
        session.schemas().own
    );
    session.query("note what is prepared", &sql, &[&parent.as_str(), &period.as_str(), &cut]).await.map(drop)
}

/// Builds the unique index that a partitioned `user_logins` needs, beside writers. One that was not built to its end is
/// built anew. It waits for transactions that began before, for each at most for so long.
///
/// # Errors
///
/// [`DatabaseError`]; see [`DatabaseError::gave_way`]
pub async fn build_index(session: &LoneSession, patience: Duration) -> Result<(), DatabaseError> {
    let limits = Limits { statement: Duration::ZERO, lock: patience };
    let logins = &session.schemas().logins;
    let index = format!("{logins}.{DAY_KEY}");
    let sql = "SELECT i.indisvalid AND i.indisunique AND i.indrelid = pg_catalog.to_regclass($2)
                      AND i.indpred IS NULL AND i.indnkeyatts = 3
                      AND ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (number, place)
                                JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number ORDER BY k.place)
                          = ARRAY['message_sent_at', 'message_hash', 'create_date']
               FROM pg_catalog.pg_index i WHERE i.indexrelid = pg_catalog.to_regclass($1)";
    let table = whole(session, Parent::UserLogins).partition();
    let standing = session.query("look for the index", sql, &[&index, &table]).await?;
    match standing.first().map(|row| row.get(0)) {
        Some(true) => return Ok(()),
        Some(false) => {
            let sql = format!("DROP INDEX CONCURRENTLY {index}");
            session.run_within("drop a broken index", &sql, limits).await?;
        }
        None => {}
    }
    let sql = format!(
        "CREATE UNIQUE INDEX CONCURRENTLY {DAY_KEY} ON {logins}.user_logins (message_sent_at, message_hash, create_date)"
    );
    session.run_within("build an index", &sql, limits).await
}

const DAY_KEY: &str = "user_logins_message_day_key";

/// Says of the rows that they belong into the first partition, for those that are written from now on. Tried for 50 ms.
///
/// # Errors
///
/// [`DatabaseError`]; see [`DatabaseError::gave_way`]
pub async fn try_promise(session: &LoneSession, parent: Parent, cut: OffsetDateTime) -> Result<(), DatabaseError> {
    let (table, column) = (whole(session, parent).partition(), parent.column());
    let sql = format!(
        "ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {constraint},
             ADD CONSTRAINT {constraint} CHECK ({column} IS NOT NULL AND {column} < '{}') NOT VALID",
        written(parent, cut),
        constraint = constraint(parent)
    );
    session.run_within("prepare the first partition", &sql, SHORT).await
}

/// Makes sure of it for the rows that stand there: reads all of them, and nobody waits.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn validate(session: &LoneSession, parent: Parent) -> Result<(), DatabaseError> {
    let sql = format!("ALTER TABLE {} VALIDATE CONSTRAINT {}", whole(session, parent).partition(), constraint(parent));
    session.run_within("look at every row", &sql, Limits::default()).await
}

/// Takes that back, so that it refuses no row when its time has come. Tried for 50 ms.
///
/// # Errors
///
/// [`DatabaseError`]; see [`DatabaseError::gave_way`]
pub async fn try_take_back(session: &LoneSession, parent: Parent) -> Result<(), DatabaseError> {
    let sql =
        format!("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}", whole(session, parent).partition(), constraint(parent));
    session.run_within("take the preparation back", &sql, SHORT).await?;
    let sql = format!("DELETE FROM {}.partitioning WHERE parent = $1 AND since IS NULL", session.schemas().own);
    session.query("note that nothing is prepared", &sql, &[&parent.as_str()]).await.map(drop)
}

/// Everybody waits while it runs. It takes some milliseconds, unless something in the table is other than it was thought to be.
const SWAP: Limits = Limits { statement: Duration::from_millis(500), lock: SHORT.lock };

/// Puts the partitioned table in the place of the ordinary one. Tried for 50 ms.
///
/// # Errors
///
/// [`DatabaseError`]; see [`DatabaseError::gave_way`]
pub async fn try_swap(session: &LoneSession, parent: Parent, cut: OffsetDateTime) -> Result<(), DatabaseError> {
    let schema = parent.schema(session.schemas());
    let suffix = suffix(cut);
    let old = format!("{}{suffix}", parent.as_str());
    let drop_key = match parent {
        Parent::UserLogins => format!("DROP INDEX IF EXISTS {schema}.user_logins_message_key;"),
        Parent::ProcessedMessages | Parent::Identities => String::new(),
    };
    let unique = match parent {
        Parent::UserLogins => format!(
            "CREATE UNIQUE INDEX user_logins_message_key ON {schema}.user_logins (message_sent_at, message_hash, create_date);"
        ),
        Parent::ProcessedMessages | Parent::Identities => String::new(),
    };
    let sql = include_str!("conversion/swap.sql")
        .replace("{table}", &whole(session, parent).partition())
        .replace("{old_table}", &format!("{schema}.{}", quoted(&old)))
        .replace("{old_ident}", &quoted(&old))
        .replace("{suffix}", &suffix)
        .replace("{schema}", &schema.to_string())
        .replace("{own}", &session.schemas().own.to_string())
        .replace("{parent}", parent.as_str())
        .replace("{column}", parent.column())
        .replace("{constraint}", &constraint(parent))
        .replace("{unique_index}", &unique)
        .replace("{drop_key}", &drop_key)
        .replace("{cut}", &written(parent, cut));
    session.run_within("put the partitioned table in its place", &sql, SWAP).await
}

fn whole(session: &LoneSession, parent: Parent) -> Place<'_> {
    parent.place(session.schemas(), parent.as_str())
}

fn constraint(parent: Parent) -> String {
    format!("{}_first_partition", parent.as_str())
}

/// A bound, as statements write it.
fn written(parent: Parent, cut: OffsetDateTime) -> String {
    let day = cut.date();
    match parent {
        Parent::UserLogins => day.to_string(),
        Parent::ProcessedMessages | Parent::Identities => format!("{day} 00:00:00Z"),
    }
}

fn suffix(cut: OffsetDateTime) -> String {
    let day = cut.date().format(format_description!("[year][month][day]")).unwrap_or_default();
    format!("_before_{day}")
}
