//! `relay_failures` as an operator sees and changes them: events that a sink refuses, found by what they are. Never a value of
//! an event.

use std::str::FromStr;

use time::OffsetDateTime;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::database::{DatabaseError, Transaction};
use crate::message::MessageHash;

/// Where an event stands that a sink has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is tried again.
    Waiting,
    /// It was refused too often, and waits for an operator.
    SetAside,
    /// An operator has given it up.
    Discarded,
}

impl Status {
    /// The word in the column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::SetAside => "set_aside",
            Self::Discarded => "discarded",
        }
    }

    /// The same for people.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::SetAside => "set aside",
            Self::Discarded => "discarded",
        }
    }
}

/// A text is no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not waiting, set_aside or discarded")]
pub struct NoStatus;

impl FromStr for Status {
    type Err = NoStatus;

    fn from_str(word: &str) -> Result<Self, NoStatus> {
        let all = [Self::Waiting, Self::SetAside, Self::Discarded];
        all.into_iter().find(|status| status.as_str() == word).ok_or(NoStatus)
    }
}

/// Which refused events are meant; the default means all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only of this sink.
    pub sink: Option<String>,
    /// Only those that stand like this.
    pub status: Option<Status>,
    /// Only with this code.
    pub code: Option<String>,
    /// Only these events.
    pub events: Option<Vec<MessageHash>>,
}

/// The condition that a [`Filter`] puts on parameters 1 to 4.
const MATCHES: &str = "($1::text IS NULL OR f.sink = $1) AND ($2::text IS NULL OR f.status = $2)
               AND ($3::text IS NULL OR f.code = $3) AND ($4::bytea[] IS NULL OR f.event_id = ANY($4))";

struct Conditions<'f> {
    sink: Option<&'f str>,
    status: Option<&'static str>,
    code: Option<&'f str>,
    events: Option<Vec<&'f [u8]>>,
}

impl<'f> Conditions<'f> {
    fn of(filter: &'f Filter) -> Self {
        let bytes = |events: &'f Vec<MessageHash>| events.iter().map(|event| &event.as_bytes()[..]).collect();
        Self {
            sink: filter.sink.as_deref(),
            status: filter.status.map(Status::as_str),
            code: filter.code.as_deref(),
            events: filter.events.as_ref().map(bytes),
        }
    }

    fn parameters(&self) -> [&(dyn ToSql + Sync); 4] {
        [&self.sink, &self.status, &self.code, &self.events]
    }
}

/// An event that a sink has refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The sink.
    pub sink: String,
    /// Its position.
    pub position: i64,
    /// Its id.
    pub event: MessageHash,
    /// Where it stands.
    pub status: Status,
    /// What the sink says of it.
    pub code: String,
    /// How often it was tried.
    pub attempts: i32,
    /// Since when it is refused.
    pub since: OffsetDateTime,
    /// When it is tried next, if it waits.
    pub next_at: OffsetDateTime,
}

const COLUMNS: &str = "f.sink, f.position, f.event_id, f.status, f.code, f.attempts, f.since, f.next_at";

fn refused(transaction: &Transaction, row: &Row) -> Result<Refused, DatabaseError> {
    let unknown = |_: NoStatus| transaction.broken("read a failure", "its status is unknown".to_owned());
    Ok(Refused {
        sink: row.get(0),
        position: row.get(1),
        event: super::hash_from(transaction, row.get(2))?,
        status: row.get::<_, &str>(3).parse().map_err(unknown)?,
        code: row.get(4),
        attempts: row.get(5),
        since: row.get(6),
        next_at: row.get(7),
    })
}

/// Reads up to `limit` of them, those that are refused the longest first.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn list(seen: &Transaction, filter: &Filter, limit: u64) -> Result<Vec<Refused>, DatabaseError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM {}.relay_failures f WHERE {MATCHES} ORDER BY f.since, f.sink, f.position LIMIT $5",
        seen.schemas().own
    );
    let conditions = Conditions::of(filter);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let parameters: Vec<&(dyn ToSql + Sync)> = conditions.parameters().into_iter().chain([&limit as _]).collect();
    let rows = seen.query("read failures", &sql, &parameters).await?;
    rows.iter().map(|row| refused(seen, row)).collect()
}

/// Counts them.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn count(seen: &Transaction, filter: &Filter) -> Result<u64, DatabaseError> {
    let sql = format!("SELECT count(*) FROM {}.relay_failures f WHERE {MATCHES}", seen.schemas().own);
    let row = seen.query_one("count failures", &sql, &Conditions::of(filter).parameters()).await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}

/// Up to `limit` events that are refused, and whose ids are `first`, `last` or between them.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn between(
    seen: &Transaction,
    first: MessageHash,
    last: MessageHash,
    limit: i64,
) -> Result<Vec<MessageHash>, DatabaseError> {
    let sql = format!(
        "SELECT DISTINCT event_id FROM {}.relay_failures WHERE event_id BETWEEN $1 AND $2 ORDER BY event_id LIMIT $3",
        seen.schemas().own
    );
    let (first, last) = (&first.as_bytes()[..], &last.as_bytes()[..]);
    let rows = seen.query("find failures", &sql, &[&first, &last, &limit]).await?;
    rows.iter().map(|row| super::hash_from(seen, row.get(0))).collect()
}

/// A refused event that is locked.
#[derive(Clone, Debug)]
pub struct Locked {
    /// The event.
    pub refused: Refused,
    /// Whether it is still in the outbox.
    pub is_there: bool,
    /// Whether its sink keeps order.
    pub in_order: bool,
}

/// Locks them, in the order of their keys.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn lock(transaction: &Transaction, filter: &Filter) -> Result<Vec<Locked>, DatabaseError> {
    let own = &transaction.schemas().own;
    let sql = format!(
        "SELECT {COLUMNS}, EXISTS (SELECT FROM {own}.outbox o WHERE o.position = f.position AND o.event_id = f.event_id),
                EXISTS (SELECT FROM {own}.relay_sinks s WHERE s.sink = f.sink AND s.ordered)
         FROM {own}.relay_failures f WHERE {MATCHES} ORDER BY f.sink, f.position FOR UPDATE OF f"
    );
    let rows = transaction.query("lock failures", &sql, &Conditions::of(filter).parameters()).await?;
    let locked =
        |row: &Row| Ok(Locked { refused: refused(transaction, row)?, is_there: row.get(8), in_order: row.get(9) });
    rows.iter().map(locked).collect()
}

/// Lets these be tried again at once, as if for the first time.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn retry(transaction: &Transaction, these: &[Refused]) -> Result<(), DatabaseError> {
    let sql = format!(
        "UPDATE {}.relay_failures AS f SET status = 'waiting', attempts = 1, next_at = pg_catalog.clock_timestamp()
         FROM unnest($1::text[], $2::bigint[]) AS k (sink, position)
         WHERE f.sink = k.sink AND f.position = k.position",
        transaction.schemas().own
    );
    let (sinks, positions) = keys(these);
    transaction.execute("retry failures", &sql, &[&sinks, &positions]).await.map(drop)
}

/// Gives these up.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn discard(transaction: &Transaction, these: &[Refused]) -> Result<(), DatabaseError> {
    let sql = format!(
        "UPDATE {}.relay_failures AS f SET status = 'discarded'
         FROM unnest($1::text[], $2::bigint[]) AS k (sink, position)
         WHERE f.sink = k.sink AND f.position = k.position",
        transaction.schemas().own
    );
    let (sinks, positions) = keys(these);
    transaction.execute("discard failures", &sql, &[&sinks, &positions]).await.map(drop)
}

fn keys(these: &[Refused]) -> (Vec<&str>, Vec<i64>) {
    these.iter().map(|refused| (&*refused.sink, refused.position)).unzip()
}
