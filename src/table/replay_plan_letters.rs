//! `replay_plan_letters`: the list of each plan, with what was foreseen and what became.

mod fate;

use std::collections::BTreeMap;

use time::OffsetDateTime;
use tokio_postgres::Row;

pub use self::fate::{Fate, Obstacle};
use super::plan_id::PlanId;
use crate::database::{DatabaseError, Transaction};
use crate::message::MessageKey;

/// A letter of a plan that is being drawn up.
pub struct Foreseen {
    /// The letter.
    pub key: MessageKey,
    /// The code of its rejection.
    pub code: String,
    /// The plan whose edited body is replayed; none: the body as it was delivered.
    pub revision: Option<PlanId>,
    /// What is foreseen.
    pub fate: Fate,
    /// Where the body is wrong, as it is stored.
    pub place: Option<String>,
}

/// Adds letters to a plan; those that it has stay as they are.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn insert(transaction: &Transaction, plan: PlanId, letters: &[&Foreseen]) -> Result<(), DatabaseError> {
    let (sent, hashes) = super::key_columns(letters.iter().map(|letter| &letter.key));
    let codes: Vec<&str> = letters.iter().map(|letter| letter.code.as_str()).collect();
    let revisions: Vec<Option<i64>> = letters.iter().map(|letter| letter.revision.map(|plan| plan.0)).collect();
    let fates: Vec<&str> = letters.iter().map(|letter| letter.fate.word()).collect();
    let details: Vec<Option<&str>> = letters.iter().map(|letter| letter.fate.detail()).collect();
    let places: Vec<Option<&str>> = letters.iter().map(|letter| letter.place.as_deref()).collect();
    let sql = format!(
        "INSERT INTO {}.replay_plan_letters
             (plan, sent_at, message_hash, code, revision, foreseen, foreseen_detail, foreseen_place)
         SELECT $1, * FROM unnest($2::timestamptz[], $3::bytea[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[])
         ON CONFLICT (plan, sent_at, message_hash) DO NOTHING",
        transaction.schemas().own
    );
    transaction
        .execute(
            "add letters to a plan",
            &sql,
            &[&plan.0, &sent, &hashes, &codes, &revisions, &fates, &details, &places],
        )
        .await
        .map(drop)
}

/// Up to `limit` letters of a plan of which nothing has become, in the order of their keys and after `after`.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn left(
    transaction: &Transaction,
    plan: PlanId,
    after: Option<MessageKey>,
    limit: u64,
) -> Result<Vec<MessageKey>, DatabaseError> {
    let sql = format!(
        "SELECT sent_at, message_hash FROM {}.replay_plan_letters
         WHERE plan = $1 AND became IS NULL
           AND (sent_at, message_hash) > (coalesce($2::timestamptz, '-infinity'), coalesce($3::bytea, ''))
         ORDER BY sent_at, message_hash LIMIT $4",
        transaction.schemas().own
    );
    let after_hash = after.as_ref().map(|key| &key.hash.as_bytes()[..]);
    let (after_sent, limit) = (after.map(|key| key.sent_at), i64::try_from(limit).unwrap_or(i64::MAX));
    let rows =
        transaction.query("read what is left of a plan", &sql, &[&plan.0, &after_sent, &after_hash, &limit]).await?;
    rows.iter().map(|row| super::key_from(transaction, row)).collect()
}

/// How many letters a plan has.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn count(transaction: &Transaction, plan: PlanId) -> Result<u64, DatabaseError> {
    let sql = format!("SELECT count(*) FROM {}.replay_plan_letters WHERE plan = $1", transaction.schemas().own);
    let row = transaction.query_one("count letters of a plan", &sql, &[&plan.0]).await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}

/// What is done with letters that another transaction has locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    /// They are left to it.
    Skip,
    /// It is waited for: then they are done with, or free.
    Await,
}

/// A letter that this transaction has locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The letter.
    pub key: MessageKey,
    /// The plan whose edited body is replayed; none: the body as it was delivered.
    pub revision: Option<PlanId>,
    /// What was foreseen.
    pub foreseen: Fate,
}

/// Locks those of these letters of which nothing has become.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn lock(
    transaction: &Transaction,
    plan: PlanId,
    keys: &[MessageKey],
    locked: Locked,
) -> Result<Vec<Left>, DatabaseError> {
    let skip = match locked {
        Locked::Skip => "SKIP LOCKED",
        Locked::Await => "",
    };
    let sql = format!(
        "SELECT l.sent_at, l.message_hash, l.revision, l.foreseen, l.foreseen_detail
         FROM unnest($2::timestamptz[], $3::bytea[]) AS m (sent_at, message_hash)
         JOIN {}.replay_plan_letters l ON l.plan = $1 AND l.sent_at = m.sent_at AND l.message_hash = m.message_hash
         WHERE l.became IS NULL
         ORDER BY l.sent_at, l.message_hash FOR UPDATE OF l {skip}",
        transaction.schemas().own
    );
    let (sent, hashes) = super::key_columns(keys);
    let rows = transaction.query("lock letters of a plan", &sql, &[&plan.0, &sent, &hashes]).await?;
    let left = |row: &Row| {
        Ok(Left {
            key: super::key_from(transaction, row)?,
            revision: row.get::<_, Option<i64>>(2).map(PlanId),
            foreseen: fate(transaction, Fate::read(row.get(3), row.get(4)))?,
        })
    };
    rows.iter().map(left).collect()
}

/// Records what became of letters, in the transaction in which it does.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn record(
    transaction: &Transaction,
    plan: PlanId,
    letters: &[(MessageKey, Fate)],
) -> Result<(), DatabaseError> {
    let (sent, hashes) = super::key_columns(letters.iter().map(|(key, _)| key));
    let fates: Vec<&str> = letters.iter().map(|(_, fate)| fate.word()).collect();
    let details: Vec<Option<&str>> = letters.iter().map(|(_, fate)| fate.detail()).collect();
    let sql = format!(
        "UPDATE {}.replay_plan_letters AS l
         SET became = m.fate, became_detail = m.detail, became_at = pg_catalog.clock_timestamp()
         FROM unnest($2::timestamptz[], $3::bytea[], $4::text[], $5::text[]) AS m (sent_at, message_hash, fate, detail)
         WHERE l.plan = $1 AND l.sent_at = m.sent_at AND l.message_hash = m.message_hash AND l.became IS NULL",
        transaction.schemas().own
    );
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 5] = [&plan.0, &sent, &hashes, &fates, &details];
    let recorded = transaction.execute("record what became of letters", &sql, &parameters).await?;
    super::insist_on_all(transaction, "replay_plan_letters", recorded, letters.len())
}

/// How many letters of a plan had this foreseen, and became that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// What was foreseen.
    pub foreseen: Fate,
    /// What became; nothing yet.
    pub became: Option<Fate>,
    /// How many letters.
    pub letters: u64,
    /// Where the body of one of them is wrong, if all are alike in that.
    pub pointer: Option<String>,
}

/// Compares what was foreseen of the letters of a plan with what became of them.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn compare(transaction: &Transaction, plan: PlanId) -> Result<Vec<Compared>, DatabaseError> {
    let sql = format!(
        "SELECT foreseen, foreseen_detail, became, became_detail, pointer, count(*)
         FROM (SELECT *, nullif(pg_catalog.split_part(foreseen_place, '#', 2), '') AS pointer FROM {}.replay_plan_letters WHERE plan = $1) l
         GROUP BY foreseen, foreseen_detail, became, became_detail, pointer
         ORDER BY foreseen <> 'replayed', count(*) DESC, 1, 2, 3, 4, 5",
        transaction.schemas().own
    );
    let rows = transaction.query("compare a plan with what became", &sql, &[&plan.0]).await?;
    let compared = |row: &Row| {
        let became = row.get::<_, Option<&str>>(2).map(|word| Fate::read(word, row.get(3)));
        Ok(Compared {
            foreseen: fate(transaction, Fate::read(row.get(0), row.get(1)))?,
            became: became.map(|became| fate(transaction, became)).transpose()?,
            pointer: row.get(4),
            letters: u64::try_from(row.get::<_, i64>(5)).unwrap_or(0),
        })
    };
    rows.iter().map(compared).collect()
}

fn fate(transaction: &Transaction, read: Option<Fate>) -> Result<Fate, DatabaseError> {
    read.ok_or_else(|| transaction.broken("read a letter of a plan", "what is said of it is unknown".to_owned()))
}

/// A letter of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanLetter {
    /// The letter.
    pub key: MessageKey,
    /// The code of its rejection.
    pub code: String,
    /// The plan whose edited body is replayed; none: the body as it was delivered.
    pub revision: Option<PlanId>,
    /// What was foreseen.
    pub foreseen: Fate,
    /// Where the body is wrong, as it is stored.
    pub place: Option<String>,
    /// What became; nothing yet.
    pub became: Option<Fate>,
    /// When it became so.
    pub became_at: Option<OffsetDateTime>,
}

/// Reads up to `limit` letters of a plan, in the order of their keys and after `after`.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn page(
    transaction: &Transaction,
    plan: PlanId,
    after: Option<MessageKey>,
    limit: u64,
) -> Result<Vec<PlanLetter>, DatabaseError> {
    let sql = format!(
        "SELECT sent_at, message_hash, code, revision, foreseen, foreseen_detail, foreseen_place, became, became_detail, became_at
         FROM {}.replay_plan_letters
         WHERE plan = $1 AND (sent_at, message_hash) > (coalesce($2::timestamptz, '-infinity'), coalesce($3::bytea, ''))
         ORDER BY sent_at, message_hash LIMIT $4",
        transaction.schemas().own
    );
    let after_hash = after.as_ref().map(|key| &key.hash.as_bytes()[..]);
    let (after_sent, limit) = (after.map(|key| key.sent_at), i64::try_from(limit).unwrap_or(i64::MAX));
    let rows = transaction.query("read letters of a plan", &sql, &[&plan.0, &after_sent, &after_hash, &limit]).await?;
    let letter = |row: &Row| {
        let became = row.get::<_, Option<&str>>(7).map(|word| Fate::read(word, row.get(8)));
        Ok(PlanLetter {
            key: super::key_from(transaction, row)?,
            code: row.get(2),
            revision: row.get::<_, Option<i64>>(3).map(PlanId),
            foreseen: fate(transaction, Fate::read(row.get(4), row.get(5)))?,
            place: row.get(6),
            became: became.map(|became| fate(transaction, became)).transpose()?,
            became_at: row.get(9),
        })
    };
    rows.iter().map(letter).collect()
}

/// What became of the letters of a code that were replayed last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastReplays {
    /// How many were tried.
    pub tried: u64,
    /// How many of them were loaded, or had been brought by another message.
    pub worked: u64,
}

/// How many of the last replays are looked at.
const LATELY: i64 = 200;

/// What became of the last two hundred letters of each code that were tried to be replayed.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn last_replays(
    transaction: &Transaction,
    codes: &[&str],
) -> Result<BTreeMap<String, LastReplays>, DatabaseError> {
    let sql = format!(
        "SELECT c.code, count(l.became), count(*) FILTER (WHERE l.became IN ('replayed', 'absorbed'))
         FROM unnest($1::text[]) AS c (code) CROSS JOIN LATERAL (
             SELECT became FROM {}.replay_plan_letters p
             WHERE p.code = c.code AND p.became IS NOT NULL ORDER BY p.became_at DESC LIMIT $2) l
         WHERE l.became <> 'no_longer_open'
         GROUP BY c.code",
        transaction.schemas().own
    );
    let rows = transaction.query("look at the last replays", &sql, &[&codes, &LATELY]).await?;
    let count = |row: &Row, column: usize| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    Ok(rows.iter().map(|row| (row.get(0), LastReplays { tried: count(row, 1), worked: count(row, 2) })).collect())
}
