//! `dead_letters`: the messages that are no logins, sealed, until somebody resolves them.

use std::str::FromStr;

use time::OffsetDateTime;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::batch::DeadLetterRow;
use crate::database::{DatabaseError, Transaction};
use crate::message::{Delivery, MessageHash};
use crate::seal::SealedBody;

/// Writes dead letters. A message that already has one keeps it.
///
/// # Errors
///
/// [`DatabaseError`], also when a row is missing afterwards.
pub async fn insert(transaction: &Transaction, letters: &[DeadLetterRow<'_>]) -> Result<(), DatabaseError> {
    if letters.is_empty() {
        return Ok(());
    }
    let hashes: Vec<&[u8]> = letters.iter().map(|letter| &letter.hash.as_bytes()[..]).collect();
    let codes: Vec<&str> = letters.iter().map(|letter| letter.rejection.code()).collect();
    let details: Vec<String> = letters.iter().map(|letter| letter.rejection.to_string()).collect();
    let bodies: Vec<&[u8]> = letters.iter().map(|letter| letter.sealed_body.as_bytes()).collect();
    let message_ids: Vec<&str> = letters.iter().map(|letter| letter.delivery.message_id.as_str()).collect();
    let counts: Vec<i32> = letters.iter().map(|letter| receive_count(letter.delivery)).collect();
    let sent: Vec<OffsetDateTime> = letters.iter().map(|letter| letter.delivery.sent_at.time()).collect();
    let received: Vec<OffsetDateTime> = letters.iter().map(|letter| letter.delivery.received_at).collect();
    let sql = "INSERT INTO dead_letters
                   (message_hash, code, detail, sealed_body, message_id, receive_count, sent_at, received_at)
               SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::integer[], $7::timestamptz[], $8::timestamptz[])
               ON CONFLICT (message_hash) DO NOTHING";
    let inserted = transaction
        .execute(
            "insert dead letters",
            sql,
            &[&hashes, &codes, &details, &bodies, &message_ids, &counts, &sent, &received],
        )
        .await?;
    let count = "SELECT count(*) FROM dead_letters WHERE message_hash = ANY($1::bytea[])";
    super::insist(transaction, "dead_letters", inserted, &hashes, count).await
}

fn receive_count(delivery: &Delivery) -> i32 {
    i32::try_from(delivery.receive_count.max(1)).unwrap_or(i32::MAX)
}

/// Where a dead letter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nobody has resolved it.
    Open,
    /// Its login was loaded by a replay.
    Replayed,
    /// Somebody decided that it is worth nothing.
    Discarded,
}

impl Status {
    /// The word in the column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        }
    }
}

/// A text is no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is none of open, replayed, discarded")]
pub struct NoStatus;

impl FromStr for Status {
    type Err = NoStatus;

    fn from_str(word: &str) -> Result<Self, NoStatus> {
        let all = [Self::Open, Self::Replayed, Self::Discarded];
        all.into_iter().find(|status| status.as_str() == word).ok_or(NoStatus)
    }
}

/// Which dead letters are meant; the default means all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only with this rejection code.
    pub code: Option<String>,
    /// Only where it stands like this.
    pub status: Option<Status>,
    /// Only dead-lettered at or after this time.
    pub since: Option<OffsetDateTime>,
    /// Only these messages.
    pub hashes: Option<Vec<MessageHash>>,
}

/// The condition that a [`Filter`] puts on parameters 1 to 4, which [`Conditions::parameters`] are.
const MATCHES: &str = "($1::text IS NULL OR code = $1) AND ($2::text IS NULL OR status = $2)
               AND ($3::timestamptz IS NULL OR dead_lettered_at >= $3)
               AND ($4::bytea[] IS NULL OR message_hash = ANY($4))";

struct Conditions<'f> {
    code: Option<&'f str>,
    status: Option<&'static str>,
    since: Option<OffsetDateTime>,
    hashes: Option<Vec<&'f [u8]>>,
}

impl<'f> Conditions<'f> {
    fn of(filter: &'f Filter) -> Self {
        Self {
            code: filter.code.as_deref(),
            status: filter.status.map(Status::as_str),
            since: filter.since,
            hashes: filter.hashes.as_deref().map(keys),
        }
    }

    fn parameters(&self) -> [&(dyn ToSql + Sync); 4] {
        [&self.code, &self.status, &self.since, &self.hashes]
    }
}

fn keys(hashes: &[MessageHash]) -> Vec<&[u8]> {
    hashes.iter().map(|hash| &hash.as_bytes()[..]).collect()
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
         FROM dead_letters WHERE {MATCHES}
         GROUP BY status, code ORDER BY status <> 'open', status, count(*) DESC, code"
    );
    let rows = transaction.query("count dead letters", &sql, &Conditions::of(filter).parameters()).await?;
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
    pub hash: MessageHash,
    /// Code of the rejection.
    pub code: String,
    /// The rejection in words.
    pub detail: String,
    /// SQS MessageId.
    pub message_id: String,
    /// Receive count at the last delivery.
    pub receive_count: i32,
    /// When the message was sent.
    pub sent_at: OffsetDateTime,
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

/// Reads up to `limit` dead letters without their bodies, the newest first.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn newest(transaction: &Transaction, filter: &Filter, limit: u64) -> Result<Vec<DeadLetter>, DatabaseError> {
    let sql = format!(
        "SELECT message_hash, code, detail, message_id, receive_count, sent_at, received_at, dead_lettered_at,
                status, resolved_at, resolved_by
         FROM dead_letters WHERE {MATCHES}
         ORDER BY dead_lettered_at DESC, message_hash LIMIT $5"
    );
    let conditions = Conditions::of(filter);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let parameters: Vec<&(dyn ToSql + Sync)> = conditions.parameters().into_iter().chain([&limit as _]).collect();
    let rows = transaction.query("read dead letters", &sql, &parameters).await?;
    rows.iter().map(|row| dead_letter_from(transaction, row)).collect()
}

fn dead_letter_from(transaction: &Transaction, row: &Row) -> Result<DeadLetter, DatabaseError> {
    Ok(DeadLetter {
        hash: super::hash_from(transaction, row.get(0))?,
        code: row.get(1),
        detail: row.get(2),
        message_id: row.get(3),
        receive_count: row.get(4),
        sent_at: row.get(5),
        received_at: row.get(6),
        dead_lettered_at: row.get(7),
        status: status_from(transaction, row.get(8))?,
        resolved_at: row.get(9),
        resolved_by: row.get(10),
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
    let sql = "SELECT message_hash FROM dead_letters WHERE message_hash BETWEEN $1 AND $2
               ORDER BY message_hash LIMIT $3";
    let (first, last) = (&first.as_bytes()[..], &last.as_bytes()[..]);
    let rows = transaction.query("find dead letters", sql, &[&first, &last, &limit]).await?;
    rows.iter().map(|row| super::hash_from(transaction, row.get(0))).collect()
}

/// The messages of up to `limit` dead letters, in the order of their hashes and after `after`.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn next(
    transaction: &Transaction,
    filter: &Filter,
    after: Option<MessageHash>,
    limit: u64,
) -> Result<Vec<MessageHash>, DatabaseError> {
    let sql = format!(
        "SELECT message_hash FROM dead_letters WHERE {MATCHES} AND ($5::bytea IS NULL OR message_hash > $5)
         ORDER BY message_hash LIMIT $6"
    );
    let conditions = Conditions::of(filter);
    let after = after.as_ref().map(|hash| &hash.as_bytes()[..]);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let parameters: Vec<&(dyn ToSql + Sync)> =
        conditions.parameters().into_iter().chain([&after as _, &limit as _]).collect();
    let rows = transaction.query("find dead letters", &sql, &parameters).await?;
    rows.iter().map(|row| super::hash_from(transaction, row.get(0))).collect()
}

/// What a replay needs of a dead letter.
pub struct Sealed {
    /// The message.
    pub hash: MessageHash,
    /// When the message was sent.
    pub sent_at: OffsetDateTime,
    /// Its body.
    pub body: SealedBody,
}

/// Reads the body of a dead letter of any status.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn body(transaction: &Transaction, hash: MessageHash) -> Result<SealedBody, DatabaseError> {
    let sql = "SELECT sealed_body FROM dead_letters WHERE message_hash = $1";
    let row = transaction.query_one("read a dead letter's body", sql, &[&&hash.as_bytes()[..]]).await?;
    Ok(SealedBody::from_bytes(row.get(0)))
}

/// Reads those that are open, in the order of their hashes.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn read_open(transaction: &Transaction, hashes: &[MessageHash]) -> Result<Vec<Sealed>, DatabaseError> {
    open(transaction, hashes, "").await
}

/// Reads those that are open, in the order of their hashes, and keeps others from resolving them until this
/// transaction ends. Where another transaction is resolving one, this waits until it ends: then the letter is either
/// resolved, and not among them, or still open.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn take_open(transaction: &Transaction, hashes: &[MessageHash]) -> Result<Vec<Sealed>, DatabaseError> {
    open(transaction, hashes, "FOR UPDATE").await
}

async fn open(transaction: &Transaction, hashes: &[MessageHash], lock: &str) -> Result<Vec<Sealed>, DatabaseError> {
    let sql = format!(
        "SELECT message_hash, sent_at, sealed_body FROM dead_letters
         WHERE message_hash = ANY($1::bytea[]) AND status = 'open' ORDER BY message_hash {lock}"
    );
    let rows = transaction.query("read open dead letters", &sql, &[&keys(hashes)]).await?;
    let sealed = |row: &Row| {
        let hash = super::hash_from(transaction, row.get(0))?;
        Ok(Sealed { hash, sent_at: row.get(1), body: SealedBody::from_bytes(row.get(2)) })
    };
    rows.iter().map(sealed).collect()
}

/// Resolves open dead letters. `by` is written after the database role's name.
///
/// # Errors
///
/// [`DatabaseError`], also when one of them is not open.
pub async fn resolve(
    transaction: &Transaction,
    hashes: &[MessageHash],
    status: Status,
    by: &str,
) -> Result<(), DatabaseError> {
    let sql = "UPDATE dead_letters
               SET status = $2::text, resolved_at = now(), resolved_by = concat_ws(': ', current_user, nullif($3::text, ''))
               WHERE message_hash = ANY($1::bytea[]) AND status = 'open'";
    let changed = transaction.execute("resolve dead letters", sql, &[&keys(hashes), &status.as_str(), &by]).await?;
    match changed == hashes.len() as u64 {
        true => Ok(()),
        false => Err(transaction.broken("resolve dead letters", format!("{changed} of {} are open", hashes.len()))),
    }
}
