//! `processed_messages`: the claims that make loading exactly-once.

use std::collections::HashSet;
use std::time::Duration;

use time::OffsetDateTime;
use tokio_postgres::Row;

use crate::batch::Entry;
use crate::database::{DatabaseError, Transaction};
use crate::message::MessageKey;
use crate::verdict::Content;

/// The name of the table.
pub const TABLE: &str = "processed_messages";

/// How many keys a statement looks for at once: it tries each time with each hash.
const KEYS_AT_ONCE: usize = 50;

/// Claims the messages for this transaction, and gives back those that were not claimed before.
///
/// Where another transaction is making the same claim, this waits until it ends: then the message is either taken or
/// free. Entries must come in the order of their keys, as in a [`Batch`](crate::batch::Batch).
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn claim(transaction: &Transaction, entries: &[Entry]) -> Result<Claimed, DatabaseError> {
    let (sent, hashes) = super::key_columns(entries.iter().map(|entry| &entry.key));
    let outcomes: Vec<&str> = entries.iter().map(|entry| outcome(&entry.content)).collect();
    let message_ids: Vec<&str> = entries.iter().map(|entry| entry.delivery.message_id.as_str()).collect();
    let body_hashes: Vec<&[u8]> = entries.iter().map(|entry| &entry.body_hash.as_bytes()[..]).collect();
    let received: Vec<OffsetDateTime> = entries.iter().map(|entry| entry.delivery.received_at).collect();
    // Side by side, which the server need not store before it inserts, as it would what comes FROM one unnest. The conflict
    // names its columns: without their index the statement fails, where it would insert again and again otherwise.
    let sql = format!(
        "INSERT INTO {}.processed_messages (sent_at, message_hash, outcome, message_id, body_hash, received_at)
         SELECT pg_catalog.unnest($1::timestamptz[]), pg_catalog.unnest($2::bytea[]), pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::text[]),
                pg_catalog.unnest($5::bytea[]), pg_catalog.unnest($6::timestamptz[])
         ON CONFLICT (sent_at, message_hash) DO NOTHING
         RETURNING sent_at, message_hash",
        transaction.schemas().own
    );
    let claimed = transaction
        .query("claim messages", &sql, &[&sent, &hashes, &outcomes, &message_ids, &body_hashes, &received])
        .await?;
    let claimed = keys_from(transaction, &claimed)?;
    match claimed.iter().eq(entries.iter().map(|entry| &entry.key)) {
        true => Ok(Claimed::All),
        false => Ok(Claimed::These(claimed.into_iter().collect())),
    }
}

/// The messages that a transaction claimed.
pub enum Claimed {
    /// All that it wanted to: nearly always.
    All,
    /// These of them.
    These(HashSet<MessageKey>),
}

impl Claimed {
    /// Whether this message is one of them.
    pub fn holds(&self, key: &MessageKey) -> bool {
        match self {
            Self::All => true,
            Self::These(keys) => keys.contains(key),
        }
    }
}

fn keys_from(transaction: &Transaction, rows: &[Row]) -> Result<Vec<MessageKey>, DatabaseError> {
    rows.iter().map(|row| super::key_from(transaction, row)).collect()
}

fn outcome(content: &Content) -> &'static str {
    match content {
        Content::Login(_) => "loaded",
        Content::Rejected(..) => "dead_lettered",
    }
}

/// Makes sure that the claims stand of messages that could not be claimed.
///
/// # Errors
///
/// [`DatabaseError`], also when a claim is not there: what was in the way of it has been removed meanwhile, so that the
/// transaction must run again ([`DatabaseError::is_unsettled`]).
pub async fn insist(transaction: &Transaction, claimed: &[MessageKey]) -> Result<(), DatabaseError> {
    let standing = recorded(transaction, claimed).await?;
    match claimed.iter().filter(|key| !standing.contains(key)).count() {
        0 => Ok(()),
        gone => Err(transaction.unsettled(
            LOOKING,
            format!(
                "{gone} of {} messages could not be claimed in processed_messages, and are not claimed",
                claimed.len()
            ),
        )),
    }
}

const LOOKING: &str = "look for claims";

/// Those of these messages that are recorded, whatever became of them.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn recorded(
    transaction: &Transaction,
    messages: &[MessageKey],
) -> Result<HashSet<MessageKey>, DatabaseError> {
    let sql = format!(
        "SELECT sent_at, message_hash FROM {}.processed_messages
         WHERE sent_at = ANY($1::timestamptz[]) AND message_hash = ANY($2::bytea[])",
        transaction.schemas().own
    );
    let mut standing = HashSet::new();
    for keys in messages.chunks(KEYS_AT_ONCE) {
        let (sent, hashes) = super::key_columns(keys);
        let rows = transaction.query(LOOKING, &sql, &[&sent, &hashes]).await?;
        standing.extend(keys_from(transaction, &rows)?);
    }
    Ok(standing)
}

/// Turns what this transaction claimed as loaded into something else: messages whose login another message brought, each
/// with that message, and messages that are dead letters.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn correct(
    transaction: &Transaction,
    absorbed: &[(MessageKey, MessageKey)],
    dead_lettered: &[MessageKey],
) -> Result<(), DatabaseError> {
    let sql = format!(
        "UPDATE {}.processed_messages AS p
         SET outcome = CASE WHEN m.owner IS NULL THEN 'dead_lettered' ELSE 'absorbed' END,
             absorbed_by = m.owner, absorbed_by_sent_at = m.owner_sent_at
         FROM unnest($1::timestamptz[], $2::bytea[], $3::timestamptz[], $4::bytea[])
             AS m (sent_at, message_hash, owner_sent_at, owner)
         WHERE p.sent_at = m.sent_at AND p.message_hash = m.message_hash
           AND p.sent_at = ANY($1) AND p.message_hash = ANY($2)",
        transaction.schemas().own
    );
    let letters = dead_lettered.iter().map(|key| (*key, None));
    let all: Vec<_> = absorbed.iter().map(|(key, owner)| (*key, Some(*owner))).chain(letters).collect();
    for some in all.chunks(KEYS_AT_ONCE) {
        let (sent, hashes) = super::key_columns(some.iter().map(|(key, _)| key));
        let owners_sent: Vec<Option<OffsetDateTime>> =
            some.iter().map(|(_, owner)| owner.map(|key| key.sent_at)).collect();
        let owners: Vec<Option<&[u8]>> =
            some.iter().map(|(_, owner)| owner.as_ref().map(|key| &key.hash.as_bytes()[..])).collect();
        let changed = transaction.execute("correct claims", &sql, &[&sent, &hashes, &owners_sent, &owners]).await?;
        super::insist_on_all(transaction, "processed_messages", changed, some.len())?;
    }
    Ok(())
}

/// Turns the outcome of dead-lettered messages into `loaded`, and gives back those of which it did: a message without a
/// claim, or with another outcome, is not among them.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn mark_loaded(
    transaction: &Transaction,
    messages: &[MessageKey],
) -> Result<HashSet<MessageKey>, DatabaseError> {
    let sql = format!(
        "UPDATE {}.processed_messages SET outcome = 'loaded'
         WHERE sent_at = ANY($1::timestamptz[]) AND message_hash = ANY($2::bytea[]) AND outcome = 'dead_lettered'
         RETURNING sent_at, message_hash",
        transaction.schemas().own
    );
    let mut marked = HashSet::new();
    for keys in messages.chunks(KEYS_AT_ONCE) {
        let (sent, hashes) = super::key_columns(keys);
        let rows = transaction.query("mark messages as loaded", &sql, &[&sent, &hashes]).await?;
        marked.extend(keys_from(transaction, &rows)?);
    }
    // One hash never stands under two times, so that no other pair of them is a message.
    Ok(marked)
}

/// Those of these messages that are recorded as dead-lettered.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn dead_lettered(
    transaction: &Transaction,
    messages: &[MessageKey],
) -> Result<HashSet<MessageKey>, DatabaseError> {
    let sql = format!(
        "SELECT sent_at, message_hash FROM {}.processed_messages
         WHERE sent_at = ANY($1::timestamptz[]) AND message_hash = ANY($2::bytea[]) AND outcome = 'dead_lettered'",
        transaction.schemas().own
    );
    let mut recorded = HashSet::new();
    for keys in messages.chunks(KEYS_AT_ONCE) {
        let (sent, hashes) = super::key_columns(keys);
        let rows = transaction.query("look for dead-lettered messages", &sql, &[&sent, &hashes]).await?;
        recorded.extend(keys_from(transaction, &rows)?);
    }
    Ok(recorded)
}

/// What is recorded of a message.
#[derive(Clone, Debug)]
pub struct Processed {
    /// Where it went: `loaded`, `dead_lettered` or `absorbed`.
    pub outcome: String,
    /// The message that brought its login, where it was absorbed.
    pub absorbed_by: Option<crate::message::MessageHash>,
    /// When the delivery that made the claim was received.
    pub received_at: OffsetDateTime,
    /// When the claim was made.
    pub processed_at: OffsetDateTime,
}

/// Reads what is recorded of a message, if it was claimed.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn read(transaction: &Transaction, key: MessageKey) -> Result<Option<Processed>, DatabaseError> {
    let sql = format!(
        "SELECT outcome, absorbed_by, received_at, processed_at FROM {}.processed_messages
         WHERE sent_at = $1 AND message_hash = $2",
        transaction.schemas().own
    );
    let rows = transaction.query("read a claim", &sql, &[&key.sent_at, &&key.hash.as_bytes()[..]]).await?;
    let read = |row: &Row| {
        let absorbed_by = row.get::<_, Option<&[u8]>>(1).map(|hash| super::hash_from(transaction, hash)).transpose()?;
        Ok(Processed { outcome: row.get(0), absorbed_by, received_at: row.get(2), processed_at: row.get(3) })
    };
    rows.first().map(read).transpose()
}

/// How many messages are recorded, whatever their outcome.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn count(transaction: &Transaction) -> Result<u64, DatabaseError> {
    let sql = format!("SELECT count(*) FROM {}.processed_messages", transaction.schemas().own);
    let row = transaction.query_one("count messages", &sql, &[]).await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}

/// The messages that were sent last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lately {
    /// All of them were sent after this time.
    pub after: OffsetDateTime,
    /// How many there are.
    pub messages: u64,
}

/// The messages that were sent last, and of which a time is known: at most so many. The index alone says it.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn lately(transaction: &Transaction, most: i64) -> Result<Lately, DatabaseError> {
    let own = &transaction.schemas().own;
    let sql = format!(
        "SELECT greatest('1970-01-01Z', (SELECT sent_at FROM {own}.processed_messages ORDER BY sent_at DESC OFFSET $1::bigint LIMIT 1))"
    );
    let after: OffsetDateTime = transaction.query_one("look for late messages", &sql, &[&most]).await?.get(0);
    // Two statements: of a distributed table, one cannot count what another part of it found.
    let sql = format!("SELECT count(*) FROM {own}.processed_messages WHERE sent_at > $1");
    let messages: i64 = transaction.query_one("count late messages", &sql, &[&after]).await?.get(0);
    Ok(Lately { after, messages: u64::try_from(messages).unwrap_or(0) })
}

/// How many messages were sent in a span of time, counted no further than to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// So many.
    pub messages: u64,
    /// Or more.
    pub or_more: bool,
}

/// How many of the recorded messages were sent in each of `spans` spans of this length, the first of which begins at `from`: of
/// each span at most `most` are counted. The index alone says it.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn sent(
    transaction: &Transaction,
    from: OffsetDateTime,
    span: Duration,
    spans: u16,
    most: u32,
) -> Result<Vec<Sent>, DatabaseError> {
    // A span at a time: of a distributed table, one statement cannot count a limited number for each.
    let sql = format!(
        "SELECT count(*) FROM (
             SELECT 1 FROM {}.processed_messages p WHERE p.sent_at >= $1 AND p.sent_at < $2 LIMIT $3) message",
        transaction.schemas().own
    );
    let mut sent = Vec::with_capacity(usize::from(spans));
    for number in 0..u32::from(spans) {
        let (since, until) = (from + span * number, from + span * (number + 1));
        let limit = i64::from(most) + 1;
        let counted: i64 =
            transaction.query_one("count messages by time", &sql, &[&since, &until, &limit]).await?.get(0);
        let messages = u64::try_from(counted.min(i64::from(most))).unwrap_or(0);
        sent.push(Sent { messages, or_more: counted > i64::from(most) });
    }
    Ok(sent)
}

/// When a message was recorded last, of those that were sent last; none where none is recorded.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn newest(transaction: &Transaction) -> Result<Option<OffsetDateTime>, DatabaseError> {
    let sql = format!(
        "SELECT max(processed_at) FROM (SELECT processed_at FROM {}.processed_messages ORDER BY sent_at DESC LIMIT 100) late",
        transaction.schemas().own
    );
    Ok(transaction.query_one("look for the newest claim", &sql, &[]).await?.get(0))
}

/// Finds up to `limit` claims of these hashes. Without the time at which their messages were sent, all claims are looked through.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn find(
    transaction: &Transaction,
    hashes: &[crate::message::MessageHash],
    since: Option<OffsetDateTime>,
    until: Option<OffsetDateTime>,
    limit: i64,
) -> Result<Vec<MessageKey>, DatabaseError> {
    let sql = format!(
        "SELECT sent_at, message_hash FROM {}.processed_messages
         WHERE message_hash = ANY($1::bytea[]) AND sent_at >= coalesce($2::timestamptz, '-infinity')
           AND sent_at < coalesce($3::timestamptz, 'infinity')
         ORDER BY sent_at LIMIT $4",
        transaction.schemas().own
    );
    let hashes: Vec<&[u8]> = hashes.iter().map(|hash| &hash.as_bytes()[..]).collect();
    let rows = transaction.query("look for a message", &sql, &[&hashes, &since, &until, &limit]).await?;
    keys_from(transaction, &rows)
}

/// How fast logins went from the queue into the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// From the first login's SentTimestamp to the last one's commit.
    pub over: Duration,
    /// Half of the logins took at most this long from their SentTimestamp to their commit.
    pub p50: Duration,
    /// 99 of a hundred did.
    pub p99: Duration,
}

/// The pace of all logins loaded. The server must keep the times of commits (`track_commit_timestamp`).
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn pace(transaction: &Transaction) -> Result<Pace, DatabaseError> {
    let sql = format!(
        "SELECT coalesce(extract(epoch FROM max(committed_at) - min(sent_at)), 0)::float8,
                coalesce(percentile_disc(0.5) WITHIN GROUP (ORDER BY took), 0)::float8,
                coalesce(percentile_disc(0.99) WITHIN GROUP (ORDER BY took), 0)::float8
         FROM (SELECT sent_at, pg_xact_commit_timestamp(xmin) AS committed_at,
                      extract(epoch FROM pg_xact_commit_timestamp(xmin) - sent_at) AS took
               FROM {}.processed_messages WHERE outcome = 'loaded') AS loaded",
        transaction.schemas().own
    );
    let row = transaction.query_one("measure the pace", &sql, &[]).await?;
    let seconds = |column: usize| Duration::try_from_secs_f64(row.get(column)).unwrap_or_default();
    Ok(Pace { over: seconds(0), p50: seconds(1), p99: seconds(2) })
}
