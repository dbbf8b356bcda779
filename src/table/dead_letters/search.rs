//! Which dead letters are listed, and how they are found among millions.
//!
//! An index holds them by queue, code, grounds, status and time. There are few combinations of the first four, which a search
//! finds by leaping from each to the next; within one, letters stand in the order of time. So no list reads more than it shows,
//! and none reads a body.

use time::OffsetDateTime;
use tokio_postgres::types::ToSql;

use super::Status;
use crate::database::schemas::Schemas;
use crate::database::{DatabaseError, Transaction};

/// What is looked for; the default means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Only with this rejection code.
    pub code: Option<String>,
    /// Only where this field of a login is wrong.
    pub field: Option<String>,
    /// Only where it stands like this.
    pub status: Option<Status>,
    /// Only delivered by this queue: an ARN, or the name at its end.
    pub queue: Option<String>,
    /// Only dead-lettered at or after this time.
    pub since: Option<OffsetDateTime>,
    /// Only dead-lettered before this time.
    pub until: Option<OffsetDateTime>,
}

/// Begins a statement: `meant` are the combinations that a [`Search`] means, of which [`Terms::parameters`] are the first six
/// parameters.
pub(super) fn combinations(schemas: &Schemas) -> String {
    format!(
        "WITH RECURSIVE combinations AS (
             (SELECT queue, code, grounds, status FROM {own}.dead_letters
              ORDER BY queue, code, grounds, status LIMIT 1)
             UNION ALL
             SELECT next.* FROM combinations c, LATERAL
                 (SELECT d.queue, d.code, d.grounds, d.status FROM {own}.dead_letters d
                  WHERE (d.queue, d.code, d.grounds, d.status) > (c.queue, c.code, c.grounds, c.status)
                  ORDER BY d.queue, d.code, d.grounds, d.status LIMIT 1) next),
         meant AS (
             SELECT * FROM combinations c WHERE {MATCHES})",
        own = schemas.own
    )
}

/// The condition on a combination, or on a letter.
pub(super) const MATCHES: &str = "($1::text IS NULL OR c.code = $1)
               AND ($2::text IS NULL OR c.grounds = $2 AND c.code <> 'refused_by_database')
               AND ($3::text IS NULL OR c.status = $3)
               AND ($4::text IS NULL OR c.queue = $4 OR right(c.queue, length($4) + 1) = ':' || $4)";

/// The condition on the letters `d` of a combination `m`, in the order of the index.
pub(super) const OF_COMBINATION: &str =
    "d.queue = m.queue AND d.code = m.code AND d.grounds = m.grounds AND d.status = m.status
               AND d.dead_lettered_at >= coalesce($5::timestamptz, '-infinity')
               AND d.dead_lettered_at < coalesce($6::timestamptz, 'infinity')";

/// A search as parameters.
pub(super) struct Terms<'s> {
    search: &'s Search,
    status: Option<&'static str>,
}

impl<'s> Terms<'s> {
    pub(super) fn of(search: &'s Search) -> Self {
        Self { search, status: search.status.map(Status::as_str) }
    }

    pub(super) fn parameters(&self) -> [&(dyn ToSql + Sync); 6] {
        let Search { code, field, status: _, queue, since, until } = self.search;
        [code, field, &self.status, queue, since, until]
    }
}

/// The most letters that are counted of a group, or of a list: more of them take no longer.
pub(super) const MOST_COUNTED: u64 = 10_000;

/// How many there are, counted no further than to some limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// So many.
    pub letters: u64,
    /// Or more.
    pub or_more: bool,
}

impl Counted {
    /// What a statement counted that stops at one more than the most.
    pub(super) fn up_to_the_most(counted: i64) -> Self {
        let counted = u64::try_from(counted).unwrap_or(0);
        Self { letters: counted.min(MOST_COUNTED), or_more: counted > MOST_COUNTED }
    }

    /// Whether there are none.
    pub fn is_none(self) -> bool {
        self.letters == 0
    }
}

/// Counts what a search means.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn count_some(transaction: &Transaction, search: &Search) -> Result<Counted, DatabaseError> {
    let sql = format!(
        "{combinations}
         SELECT count(*) FROM (
             SELECT FROM meant m, LATERAL (SELECT FROM {own}.dead_letters d WHERE {OF_COMBINATION} LIMIT {limit}) letter
             LIMIT {limit}) letters",
        combinations = combinations(transaction.schemas()),
        own = transaction.schemas().own,
        limit = MOST_COUNTED + 1,
    );
    let row = transaction.query_one("count dead letters", &sql, &Terms::of(search).parameters()).await?;
    Ok(Counted::up_to_the_most(row.get(0)))
}

/// The codes of what a search means: few, and found without reading the letters.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn codes(transaction: &Transaction, search: &Search) -> Result<Vec<String>, DatabaseError> {
    let sql = format!("{} SELECT DISTINCT code FROM meant ORDER BY code", combinations(transaction.schemas()));
    let terms = Terms::of(search);
    // The two times, which come last, are of letters and not of combinations.
    let [code, field, status, queue, _, _] = terms.parameters();
    let rows = transaction.query("find codes", &sql, &[code, field, status, queue]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The queues that have dead letters.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn queues(transaction: &Transaction) -> Result<Vec<String>, DatabaseError> {
    let sql = format!(
        "WITH RECURSIVE queues AS (
             SELECT min(queue) AS queue FROM {own}.dead_letters
             UNION ALL
             SELECT (SELECT min(d.queue) FROM {own}.dead_letters d WHERE d.queue > q.queue) FROM queues q
             WHERE q.queue IS NOT NULL)
         SELECT queue FROM queues WHERE queue IS NOT NULL ORDER BY queue",
        own = transaction.schemas().own
    );
    let rows = transaction.query("find queues", &sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
