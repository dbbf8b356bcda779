//! `dead_letters`: the messages that are not logins, sealed, until somebody resolves them.

mod carried;
mod entries;
mod groups;
mod pages;
mod requeued;
mod search;

use std::str::FromStr;

use time::OffsetDateTime;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::plan_id::PlanId;
use crate::batch::DeadLetterRow;
use crate::database::{DatabaseError, Transaction};
use crate::fault::Fault;
use crate::message::{Delivery, MessageHash, MessageKey, QueueIdentity};
use crate::seal::{KeyId, SealedBody};

pub use self::carried::{Exported, NewLetter, export, import};
pub use self::entries::{Order, Page, PageEnd, page};
pub use self::groups::{Became, Group, became, groups};
pub use self::pages::Pages;
pub use self::requeued::{Returned, requeue, resolve_requeued, take_requeued};
pub use self::search::{Counted, Search, codes, count_some, queues};
use self::search::{MATCHES, Terms};

/// How many bytes the table takes, with its indexes and what belongs to rows that are gone.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn bytes(transaction: &Transaction) -> Result<u64, DatabaseError> {
    let sql = format!(
        "SELECT pg_catalog.pg_total_relation_size('{}.dead_letters'::pg_catalog.regclass)",
        transaction.schemas().own
    );
    let row = transaction.query_one("measure the dead letters", &sql, &[]).await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}

/// Writes dead letters of messages that this queue delivered. A message that already has one keeps it.
///
/// # Errors
///
/// [`DatabaseError`], also when a row is missing afterwards.
pub async fn insert(
    transaction: &Transaction,
    queue: &QueueIdentity,
    letters: &[DeadLetterRow<'_>],
) -> Result<(), DatabaseError> {
    if letters.is_empty() {
        return Ok(());
    }
    let hashes: Vec<&[u8]> = letters.iter().map(|letter| &letter.key.hash.as_bytes()[..]).collect();
    let codes: Vec<&str> = letters.iter().map(|letter| letter.rejection.code()).collect();
    let details: Vec<String> = letters.iter().map(|letter| letter.rejection.to_string()).collect();
    let fields: Vec<Option<&str>> =
        letters.iter().map(|letter| letter.rejection.field().map(|field| field.key)).collect();
    let places: Vec<Option<String>> = letters.iter().map(|letter| letter.fault.as_ref().map(Fault::stored)).collect();
    let bodies: Vec<&[u8]> = letters.iter().map(|letter| letter.sealed_body.as_bytes()).collect();
    let message_ids: Vec<&str> = letters.iter().map(|letter| letter.delivery.message_id.as_str()).collect();
    let counts: Vec<i32> = letters.iter().map(|letter| receive_count(letter.delivery)).collect();
    let sent: Vec<OffsetDateTime> = letters.iter().map(|letter| letter.key.sent_at).collect();
    let by_queue: Vec<Option<OffsetDateTime>> =
        letters.iter().map(|letter| letter.delivery.sent_at.of_queue()).collect();
    let received: Vec<OffsetDateTime> = letters.iter().map(|letter| letter.delivery.received_at).collect();
    let own = &transaction.schemas().own;
    let sql = format!(
        "INSERT INTO {own}.dead_letters
             (message_hash, code, detail, sealed_body, message_id, receive_count, sent_at, sent_timestamp, received_at, field, place,
              queue)
         SELECT *, $12::text FROM unnest($1::bytea[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::integer[],
                                         $7::timestamptz[], $8::timestamptz[], $9::timestamptz[], $10::text[], $11::text[])
         ON CONFLICT (sent_at, message_hash) DO NOTHING"
    );
    let queue = queue.as_str();
    let inserted = transaction
        .execute(
            "insert dead letters",
            &sql,
            &[
                &hashes,
                &codes,
                &details,
                &bodies,
                &message_ids,
                &counts,
                &sent,
                &by_queue,
                &received,
                &fields,
                &places,
                &queue,
            ],
        )
        .await?;
    if inserted == letters.len() as u64 {
        return Ok(());
    }
    let sql = format!("SELECT count(*) FROM {own}.dead_letters WHERE message_hash = ANY($1::bytea[])");
    let standing: i64 = transaction.query_one("count dead letters", &sql, &[&hashes]).await?.get(0);
    super::insist_on_all(transaction, "dead_letters", u64::try_from(standing).unwrap_or(0), letters.len())
}

/// How often a delivery's message was received, as the column holds it.
pub fn receive_count(delivery: &Delivery) -> i32 {
    i32::try_from(delivery.receive_count.max(1)).unwrap_or(i32::MAX)
}

/// Where a dead letter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nobody has resolved it.
    Open,
    /// Its login was loaded by a replay.
    Replayed,
    /// A replay found that another message had brought its login.
    Absorbed,
    /// Somebody decided that it is not worth replaying.
    Discarded,
}

impl Status {
    /// The word in the column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Absorbed => "absorbed",
            Self::Discarded => "discarded",
        }
    }
}

/// A text is no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not open, replayed, absorbed or discarded")]
pub struct NoStatus;

impl FromStr for Status {
    type Err = NoStatus;

    fn from_str(word: &str) -> Result<Self, NoStatus> {
        let all = [Self::Open, Self::Replayed, Self::Absorbed, Self::Discarded];
        all.into_iter().find(|status| status.as_str() == word).ok_or(NoStatus)
    }
}

/// Which dead letters are meant; the default means all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only what is looked for.
    pub search: Search,
    /// Only these messages.
    pub hashes: Option<Vec<MessageHash>>,
}

impl Filter {
    /// Only these messages.
    pub fn of(hashes: Vec<MessageHash>) -> Self {
        Self { search: Search::default(), hashes: Some(hashes) }
    }

    /// Those of them that have this status.
    pub fn with_status(self, status: Status) -> Self {
        Self { search: Search { status: Some(status), ..self.search }, ..self }
    }

    fn bytes_of_hashes(&self) -> Option<Vec<&[u8]>> {
        Some(self.hashes.as_ref()?.iter().map(|hash| &hash.as_bytes()[..]).collect())
    }
}

/// The condition that a [`Filter`] puts on letters `c`: of its search on parameters 1 to 6, of its hashes on 7.
fn matches(search: &Search) -> String {
    // What is asked for is said plainly, so that an index finds it.
    let code = if search.code.is_some() { " AND c.code = $1" } else { "" };
    let status = if search.status.is_some() { " AND c.status = $3" } else { "" };
    format!(
        "{MATCHES}{code}{status} AND c.dead_lettered_at >= coalesce($5::timestamptz, '-infinity')
               AND c.dead_lettered_at < coalesce($6::timestamptz, 'infinity')
               AND ($7::bytea[] IS NULL OR c.message_hash = ANY($7))"
    )
}

/// How many dead letters there are of one code and status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// The status.
    pub status: Status,
    /// Code of the rejection.
    pub code: String,
    /// How many.
    pub letters: u64,
    /// When the first of them became a dead letter.
    pub first: OffsetDateTime,
    /// When the last of them became a dead letter.
    pub last: OffsetDateTime,
}

/// Counts dead letters by status and code, open ones first, the most frequent code first.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn count(transaction: &Transaction, filter: &Filter) -> Result<Vec<Count>, DatabaseError> {
    let sql = format!(
        "SELECT status, code, count(*), min(dead_lettered_at), max(dead_lettered_at)
         FROM {}.dead_letters c WHERE {}
         GROUP BY status, code ORDER BY status <> 'open', status, count(*) DESC, code",
        transaction.schemas().own,
        matches(&filter.search)
    );
    let (terms, hashes) = (Terms::of(&filter.search), filter.bytes_of_hashes());
    let parameters: Vec<&(dyn ToSql + Sync)> = terms.parameters().into_iter().chain([&hashes as _]).collect();
    let rows = transaction.query("count dead letters", &sql, &parameters).await?;
    let count = |row: &Row| {
        Ok(Count {
            status: status_from(transaction, row.get(0))?,
            code: row.get(1),
            letters: u64::try_from(row.get::<_, i64>(2)).unwrap_or(0),
            first: row.get(3),
            last: row.get(4),
        })
    };
    rows.iter().map(count).collect()
}

/// A dead letter without its body.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The message.
    pub key: MessageKey,
    /// ARN of the queue that delivered it.
    pub queue: String,
    /// Code of the rejection.
    pub code: String,
    /// The rejection in words.
    pub detail: String,
    /// The field of the login that is wrong, where it is a single one.
    pub field: Option<String>,
    /// Where the body is wrong, as it is stored: [`Fault::read`] reads it.
    pub place: Option<String>,
    /// SQS MessageId.
    pub message_id: String,
    /// Receive count at the last delivery.
    pub receive_count: i32,
    /// When the message was sent, where its queue said so.
    pub sent_timestamp: Option<OffsetDateTime>,
    /// When its last delivery was received.
    pub received_at: OffsetDateTime,
    /// When it became a dead letter.
    pub dead_lettered_at: OffsetDateTime,
    /// Where it stands.
    pub status: Status,
    /// When it was resolved.
    pub resolved_at: Option<OffsetDateTime>,
    /// Who resolved it.
    pub resolved_by: Option<String>,
}

/// What [`dead_letter_from`] reads.
const COLUMNS: &str =
    "sent_at, message_hash, queue, code, detail, field, place, message_id, receive_count, sent_timestamp,
     received_at, dead_lettered_at, status, resolved_at, resolved_by";

/// Reads up to `limit` dead letters without their bodies, the newest first.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn newest(transaction: &Transaction, filter: &Filter, limit: u64) -> Result<Vec<DeadLetter>, DatabaseError> {
    let sql = format!(
        "SELECT {COLUMNS}
         FROM {}.dead_letters c WHERE {}
         ORDER BY dead_lettered_at DESC, message_hash LIMIT $8",
        transaction.schemas().own,
        matches(&filter.search)
    );
    let (terms, hashes) = (Terms::of(&filter.search), filter.bytes_of_hashes());
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let parameters: Vec<&(dyn ToSql + Sync)> =
        terms.parameters().into_iter().chain([&hashes as _, &limit as _]).collect();
    let rows = transaction.query("read dead letters", &sql, &parameters).await?;
    rows.iter().map(|row| dead_letter_from(transaction, row)).collect()
}

fn dead_letter_from(transaction: &Transaction, row: &Row) -> Result<DeadLetter, DatabaseError> {
    Ok(DeadLetter {
        key: super::key_from(transaction, row)?,
        queue: row.get(2),
        code: row.get(3),
        detail: row.get(4),
        field: row.get(5),
        place: row.get(6),
        message_id: row.get(7),
        receive_count: row.get(8),
        sent_timestamp: row.get(9),
        received_at: row.get(10),
        dead_lettered_at: row.get(11),
        status: status_from(transaction, row.get(12))?,
        resolved_at: row.get(13),
        resolved_by: row.get(14),
    })
}

fn status_from(transaction: &Transaction, word: &str) -> Result<Status, DatabaseError> {
    word.parse().map_err(|_: NoStatus| transaction.broken("read a dead letter", "its status is unknown".to_owned()))
}

/// The messages of up to `limit` dead letters whose hashes are `first`, `last` or between them.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn between(
    transaction: &Transaction,
    first: MessageHash,
    last: MessageHash,
    limit: i64,
) -> Result<Vec<MessageHash>, DatabaseError> {
    let sql = format!(
        "SELECT DISTINCT message_hash FROM {}.dead_letters WHERE message_hash BETWEEN $1 AND $2
         ORDER BY message_hash LIMIT $3",
        transaction.schemas().own
    );
    let (first, last) = (&first.as_bytes()[..], &last.as_bytes()[..]);
    let rows = transaction.query("find dead letters", &sql, &[&first, &last, &limit]).await?;
    rows.iter().map(|row| super::hash_from(transaction, row.get(0))).collect()
}

/// The messages of up to `limit` dead letters, in the order of their keys and after `after`. Among millions, it is fast where
/// the filter names a code and a status, or hashes: see [`codes`].
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn next(
    transaction: &Transaction,
    filter: &Filter,
    after: Option<MessageKey>,
    limit: u64,
) -> Result<Vec<MessageKey>, DatabaseError> {
    let sql = format!(
        "SELECT sent_at, message_hash FROM {}.dead_letters c
         WHERE {} AND (sent_at, message_hash) > (coalesce($8::timestamptz, '-infinity'), coalesce($9::bytea, ''))
         ORDER BY sent_at, message_hash LIMIT $10",
        transaction.schemas().own,
        matches(&filter.search)
    );
    let (terms, hashes) = (Terms::of(&filter.search), filter.bytes_of_hashes());
    let after_hash = after.as_ref().map(|key| &key.hash.as_bytes()[..]);
    let after_sent = after.map(|key| key.sent_at);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let parameters: Vec<&(dyn ToSql + Sync)> =
        terms.parameters().into_iter().chain([&hashes as _, &after_sent as _, &after_hash as _, &limit as _]).collect();
    let rows = transaction.query("find dead letters", &sql, &parameters).await?;
    rows.iter().map(|row| super::key_from(transaction, row)).collect()
}

impl Filter {
    /// The same, divided by code where it names a status, and neither a code nor hashes: so each part is found fast among millions.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn by_code(&self, transaction: &Transaction) -> Result<Vec<Self>, DatabaseError> {
        if self.hashes.is_some() || self.search.code.is_some() || self.search.status.is_none() {
            return Ok(vec![self.clone()]);
        }
        let codes = codes(transaction, &self.search).await?;
        let of = |code| Self { search: Search { code: Some(code), ..self.search.clone() }, hashes: None };
        Ok(codes.into_iter().map(of).collect())
    }
}

/// What a replay needs of a dead letter.
pub struct Sealed {
    /// The message.
    pub key: MessageKey,
    /// The queue that delivered it.
    pub queue: QueueIdentity,
    /// The code of its rejection.
    pub code: String,
    /// When the message was sent, else when it was received.
    pub sent_at: OffsetDateTime,
    /// The plan that edited its body; none: it is the one that was delivered.
    pub revision: Option<PlanId>,
    /// Its body.
    pub body: SealedBody,
}

/// What is known of a sealed body without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyFacts {
    /// How long it is.
    pub bytes: i32,
    /// The id of the key that sealed it.
    pub key_id: Option<KeyId>,
}

/// What is known of the body of a dead letter of any status.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn describe_body(transaction: &Transaction, key: MessageKey) -> Result<BodyFacts, DatabaseError> {
    let sql = format!("SELECT bytes, head FROM {}.describe_body($1, $2)", transaction.schemas().own);
    let hash = &key.hash.as_bytes()[..];
    let row = transaction.query_one("describe a dead letter's body", &sql, &[&key.sent_at, &hash]).await?;
    Ok(BodyFacts { bytes: row.get(0), key_id: SealedBody::from_bytes(row.get(1)).key_id() })
}

/// Reads the body of a dead letter of any status, to show it. The database notes who does, and refuses where no reason was said.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn reveal_body(transaction: &Transaction, key: MessageKey) -> Result<SealedBody, DatabaseError> {
    let sql = format!("SELECT {}.reveal_body($1, $2)", transaction.schemas().own);
    let hash = &key.hash.as_bytes()[..];
    let row = transaction.query_one("reveal a dead letter's body", &sql, &[&key.sent_at, &hash]).await?;
    Ok(SealedBody::from_bytes(row.get(0)))
}

/// What every transaction that resolves dead letters locks first, and holds to its end: so they come one after the other,
/// and none waits for a letter while it holds another.
const RESOLVING: i64 = i64::from_be_bytes(*b"letters.");

/// Waits until nobody else resolves dead letters, and keeps others from it until this transaction ends.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn lock(transaction: &Transaction) -> Result<(), DatabaseError> {
    transaction.query("lock dead letters", "SELECT pg_catalog.pg_advisory_xact_lock($1)", &[&RESOLVING]).await.map(drop)
}

/// Which body of a letter is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The one that was edited and tried last; the delivered one if none ever was.
    Latest,
    /// The one that was delivered.
    Delivered,
    /// The one that this plan edited.
    Edited(PlanId),
}

impl Version {
    /// The one of a plan's edit; without an edit the delivered one.
    pub fn of(revision: Option<PlanId>) -> Self {
        revision.map_or(Self::Delivered, Self::Edited)
    }

    /// No plan has the number 0.
    fn parameter(self) -> Option<i64> {
        match self {
            Self::Latest => None,
            Self::Delivered => Some(0),
            Self::Edited(plan) => Some(plan.0),
        }
    }
}

/// Reads those that are open, in the order of their keys, to replay them: the database notes who does. Under the [`lock`] they
/// stay open.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn take_open(
    transaction: &Transaction,
    wanted: &[(MessageKey, Version)],
) -> Result<Vec<Sealed>, DatabaseError> {
    let sql = format!(
        "SELECT sent_at, message_hash, queue, code, login_sent_at, revision, sealed_body FROM {}.take_letters($1, $2, $3)",
        transaction.schemas().own
    );
    let (sent, hashes) = super::key_columns(wanted.iter().map(|(key, _)| key));
    let plans: Vec<Option<i64>> = wanted.iter().map(|(_, version)| version.parameter()).collect();
    let rows = transaction.query("take open dead letters", &sql, &[&hashes, &sent, &plans]).await?;
    let sealed = |row: &Row| {
        Ok(Sealed {
            key: super::key_from(transaction, row)?,
            queue: QueueIdentity::new(row.get::<_, &str>(2)),
            code: row.get(3),
            sent_at: row.get(4),
            revision: row.get::<_, Option<i64>>(5).map(PlanId),
            body: SealedBody::from_bytes(row.get(6)),
        })
    };
    rows.iter().map(sealed).collect()
}

/// Resolves open dead letters, or opens discarded ones again, under the [`lock`]. The database notes who does.
///
/// # Errors
///
/// [`DatabaseError`], also when one of them does not stand at `from`, or no letter goes from there to `to`.
pub async fn set_status(
    transaction: &Transaction,
    keys: &[MessageKey],
    from: Status,
    to: Status,
) -> Result<(), DatabaseError> {
    const ATTEMPTED: &str = "set the status of dead letters";
    let sql = format!("SELECT {}.set_status($1, $2, $3, $4)", transaction.schemas().own);
    let (sent, hashes) = super::key_columns(keys);
    let row = transaction.query_one(ATTEMPTED, &sql, &[&hashes, &sent, &from.as_str(), &to.as_str()]).await?;
    let changed = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
    match changed == keys.len() as u64 {
        true => Ok(()),
        false => Err(transaction.broken(ATTEMPTED, format!("{changed} of {} are {}", keys.len(), from.as_str()))),
    }
}
