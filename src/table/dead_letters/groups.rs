//! Dead letters in groups, by what is wrong with them.

use time::OffsetDateTime;
use tokio_postgres::Row;

use super::search::{Counted, MATCHES, OF_COMBINATION, Search, Terms, combinations};
use super::{Status, status_from};
use crate::database::{DatabaseError, Transaction};

/// Dead letters of one code, status and detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Where they stand.
    pub status: Status,
    /// Code of the rejection.
    pub code: String,
    /// The field that is wrong, where it is one.
    pub field: Option<String>,
    /// Of `refused_by_database`: the SQLSTATE and the constraint, in words.
    pub detail: Option<String>,
    /// How many.
    pub letters: Counted,
    /// When the first of them became a dead letter.
    pub first: OffsetDateTime,
    /// When the last of them became a dead letter.
    pub last: OffsetDateTime,
    /// How many of them are of messages that were sent lately.
    pub recent: u64,
}

impl Group {
    fn from_row(transaction: &Transaction, row: &Row) -> Result<Self, DatabaseError> {
        let code: String = row.get(1);
        let grounds = Some(row.get(2)).filter(|grounds: &String| !grounds.is_empty());
        let (field, detail) = if code == "refused_by_database" { (None, grounds) } else { (grounds, None) };
        Ok(Self {
            status: status_from(transaction, row.get(0))?,
            code,
            field,
            detail,
            letters: Counted { letters: u64::try_from(row.get::<_, i64>(3)).unwrap_or(0), or_more: row.get(4) },
            first: row.get(5),
            last: row.get(6),
            recent: u64::try_from(row.get::<_, i64>(7)).unwrap_or(0),
        })
    }
}

/// The groups of what a search means: open ones first, and the groups of a code together. `lately` is after which time messages
/// were sent lately.
///
/// The fewer combinations there are, the further each is counted, to 100,000, 10,000 or 1,000 letters: about a million in all.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn groups(
    transaction: &Transaction,
    search: &Search,
    lately: OffsetDateTime,
) -> Result<Vec<Group>, DatabaseError> {
    let sql = format!(
        "{combinations},
         most AS (
             SELECT CASE WHEN count(*) <= 10 THEN 100000 WHEN count(*) <= 100 THEN 10000 ELSE 1000 END AS most FROM meant),
         counted AS (
             SELECT m.*, least(letters, most) AS letters, letters > most AS or_more, first, last FROM meant m
             CROSS JOIN most
             CROSS JOIN LATERAL (
                 SELECT count(*) AS letters FROM (
                     SELECT FROM {own}.dead_letters d WHERE {OF_COMBINATION} LIMIT (SELECT most + 1 FROM most)) letter) number
             CROSS JOIN LATERAL (
                 SELECT d.dead_lettered_at AS first FROM {own}.dead_letters d WHERE {OF_COMBINATION}
                 ORDER BY d.dead_lettered_at LIMIT 1) oldest
             CROSS JOIN LATERAL (
                 SELECT d.dead_lettered_at AS last FROM {own}.dead_letters d WHERE {OF_COMBINATION}
                 ORDER BY d.dead_lettered_at DESC LIMIT 1) newest),
         recent AS (
             SELECT status, code, grounds, count(*) AS recent FROM {own}.dead_letters c
             WHERE sent_at > $7::timestamptz AND {MATCHES}
               AND dead_lettered_at >= coalesce($5, '-infinity') AND dead_lettered_at < coalesce($6, 'infinity')
             GROUP BY status, code, grounds)
         SELECT status, code, grounds, sum(letters)::bigint, bool_or(or_more), min(first), max(last),
                coalesce(min(recent), 0)
         FROM counted LEFT JOIN recent USING (status, code, grounds)
         GROUP BY status, code, grounds
         ORDER BY status <> 'open', status, sum(sum(letters)) OVER (PARTITION BY status, code) DESC, code,
                  sum(letters) DESC, grounds",
        combinations = combinations(transaction.schemas()),
        own = transaction.schemas().own,
    );
    let terms = Terms::of(search);
    let parameters: Vec<_> = terms.parameters().into_iter().chain([&lately as _]).collect();
    let rows = transaction.query("group dead letters", &sql, &parameters).await?;
    rows.iter().map(|row| Group::from_row(transaction, row)).collect()
}

/// How many letters became ones in each of `spans` spans of `seconds` seconds, the first of which begins at `from`, by status,
/// code and grounds, as [`Group`] tells them apart: of each at most `most` are counted.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn became(
    transaction: &Transaction,
    search: &Search,
    (from, seconds, spans): (OffsetDateTime, f64, i32),
    most: i64,
) -> Result<Vec<Became>, DatabaseError> {
    let sql = format!(
        "{combinations}
         SELECT m.status, m.code, m.grounds, n, sum(letters)::bigint
         FROM meant m CROSS JOIN pg_catalog.generate_series(0, $9::integer - 1) AS n
         CROSS JOIN LATERAL (
             SELECT count(*) AS letters FROM (
                 SELECT FROM {own}.dead_letters d
                 WHERE {OF_COMBINATION}
                   AND d.dead_lettered_at >= $7::timestamptz + n * pg_catalog.make_interval(secs => $8)
                   AND d.dead_lettered_at < $7 + (n + 1) * pg_catalog.make_interval(secs => $8)
                 LIMIT $10::bigint) letter) counted
         GROUP BY m.status, m.code, m.grounds, n ORDER BY m.status, m.code, m.grounds, n",
        combinations = combinations(transaction.schemas()),
        own = transaction.schemas().own,
    );
    let terms = Terms::of(search);
    let parameters: Vec<_> =
        terms.parameters().into_iter().chain([&from as _, &seconds as _, &spans as _, &most as _]).collect();
    let mut became: Vec<Became> = Vec::new();
    for row in transaction.query("count dead letters by time", &sql, &parameters).await? {
        let (status, code, grounds) = (status_from(transaction, row.get(0))?, row.get(1), row.get(2));
        let letters = u64::try_from(row.get::<_, i64>(4)).unwrap_or(0);
        match became.last_mut().filter(|last| (last.status, &last.code, &last.grounds) == (status, &code, &grounds)) {
            Some(last) => last.letters.push(letters),
            None => became.push(Became { status, code, grounds, letters: vec![letters] }),
        }
    }
    Ok(became)
}

/// How many letters of a group became ones, span by span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Became {
    /// Where they stand.
    pub status: Status,
    /// Code of the rejection.
    pub code: String,
    /// The field, or the detail of `refused_by_database`.
    pub grounds: String,
    /// How many, the first span first.
    pub letters: Vec<u64>,
}
