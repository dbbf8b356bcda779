//! `processed_messages`: the claims that make loading exactly-once.

use std::collections::HashSet;
use std::time::Duration;

use time::OffsetDateTime;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::batch::Entry;
use crate::database::{DatabaseError, Transaction};
use crate::message::MessageHash;
use crate::verdict::Content;

/// What finds the claim `c` of a message `m` that is claimed by its hashes alone.
const BY_HASH: &str = "(c.second_hash IS NOT NULL OR c.claimed_before_v6) AND c.message_hash = m.message_hash";

/// What finds the claim `c` of a message `m` that is claimed by its hash together with the queue's SentTimestamp.
///
/// Messages come in the order in which they were sent, more or less: their claims are made side by side at one end of
/// the index, which costs the same however many claims there are. A hash alone falls anywhere.
const BY_TIME: &str =
    "(c.second_hash IS NULL OR c.claimed_before_v6) AND c.sent_at = m.sent_at AND c.message_hash = m.message_hash";

/// Claims the messages for this transaction, each under both of its hashes where it has two, else under its hash and the
/// time when it was sent; gives back those that were not claimed before.
///
/// Where another transaction is making the same claim, this waits until it ends: then the message is either taken or
/// free. Entries must come in the order of what claims them, as in a [`Batch`](crate::batch::Batch).
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn claim(transaction: &Transaction, entries: &[Entry]) -> Result<Claimed, DatabaseError> {
    let hashes: Vec<&[u8]> = entries.iter().map(|entry| &entry.hash.as_bytes()[..]).collect();
    let second_hashes: Vec<Option<&[u8]>> = entries.iter().map(second_hash).collect();
    let outcomes: Vec<&str> = entries.iter().map(|entry| outcome(&entry.content)).collect();
    let message_ids: Vec<&str> = entries.iter().map(|entry| entry.delivery.message_id.as_str()).collect();
    let body_hashes: Vec<&[u8]> = entries.iter().map(|entry| &entry.body_hash.as_bytes()[..]).collect();
    let sent = sent_at(entries);
    let received: Vec<OffsetDateTime> = entries.iter().map(|entry| entry.delivery.received_at).collect();
    // Side by side, which the server need not store before it inserts, as it would what comes FROM one unnest.
    let sql = "INSERT INTO processed_messages
                   (message_hash, second_hash, outcome, first_message_id, body_hash, sent_at, received_at)
               SELECT unnest($1::bytea[]), unnest($2::bytea[]), unnest($3::text[]), unnest($4::text[]), unnest($5::bytea[]),
                      unnest($6::timestamptz[]), unnest($7::timestamptz[])
               ON CONFLICT DO NOTHING
               RETURNING message_hash";
    let claimed = transaction
        .query(
            "claim messages",
            sql,
            &[&hashes, &second_hashes, &outcomes, &message_ids, &body_hashes, &sent, &received],
        )
        .await?;
    let hash_of = |row: &Row| super::hash_from(transaction, row.get(0));
    let claimed = claimed.iter().map(hash_of).collect::<Result<Vec<_>, _>>()?;
    match claimed.iter().eq(entries.iter().map(|entry| &entry.hash)) {
        true => Ok(Claimed::All),
        false => Ok(Claimed::These(claimed.into_iter().collect())),
    }
}

/// The messages that a transaction claimed.
pub enum Claimed {
    /// All that it wanted to: nearly always.
    All,
    /// These of them.
    These(HashSet<MessageHash>),
}

impl Claimed {
    /// Whether this message is one of them.
    pub fn holds(&self, hash: &MessageHash) -> bool {
        match self {
            Self::All => true,
            Self::These(hashes) => hashes.contains(hash),
        }
    }
}

fn sent_at<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Vec<OffsetDateTime> {
    entries.into_iter().map(|entry| entry.delivery.sent_at.time()).collect()
}

fn second_hash(entry: &Entry) -> Option<&[u8]> {
    entry.second_hash.as_ref().map(|hash| &hash.as_bytes()[..])
}

fn outcome(content: &Content) -> &'static str {
    match content {
        Content::Login(_) => "loaded",
        Content::Rejected(_) => "dead_lettered",
    }
}

/// How the deliveries of claimed messages relate to the ones that made the claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repeats {
    /// The same message again.
    pub redelivered: u64,
    /// Another message with the same identity and the same body.
    pub resent: u64,
    /// Another message with the same identity and a different body: the producer uses one id for two things, or the
    /// key that hashes bodies has changed.
    pub contradicting: u64,
}

/// Tells how messages that could not be claimed relate to the claims that stand in their way.
///
/// # Errors
///
/// [`DatabaseError`], also when there is no claim in the way of one: it is no duplicate, and must not be deleted.
pub async fn compare(transaction: &Transaction, repeated: &[&Entry]) -> Result<Repeats, DatabaseError> {
    let hashes: Vec<&[u8]> = repeated.iter().map(|entry| &entry.hash.as_bytes()[..]).collect();
    let second_hashes: Vec<Option<&[u8]>> = repeated.iter().map(|entry| second_hash(entry)).collect();
    let message_ids: Vec<&str> = repeated.iter().map(|entry| entry.delivery.message_id.as_str()).collect();
    let body_hashes: Vec<&[u8]> = repeated.iter().map(|entry| &entry.body_hash.as_bytes()[..]).collect();
    let sent = sent_at(repeated.iter().copied());
    // Who has the second hash has the MessageId; who has a hash and its SentTimestamp too. Where no claim is in the way,
    // is_same is null, and nothing is counted.
    let sql = format!(
        "SELECT count(*) FILTER (WHERE is_same),
                count(*) FILTER (WHERE NOT is_same AND has_same_body),
                count(*) FILTER (WHERE NOT is_same AND NOT has_same_body)
         FROM (SELECT CASE WHEN m.second_hash IS NULL THEN t.message_hash = m.message_hash
                           ELSE c.first_message_id = m.message_id OR s.second_hash IS NOT NULL END AS is_same,
                      c.body_hash = m.body_hash AS has_same_body
               FROM unnest($1::bytea[], $2::bytea[], $3::text[], $4::bytea[], $5::timestamptz[])
                   AS m (message_hash, second_hash, message_id, body_hash, sent_at)
               LEFT JOIN processed_messages t ON m.second_hash IS NULL AND (t.second_hash IS NULL OR t.claimed_before_v6)
                   AND t.sent_at = m.sent_at AND t.message_hash = m.message_hash
               LEFT JOIN processed_messages c ON m.second_hash IS NOT NULL AND {BY_HASH}
               LEFT JOIN processed_messages s ON s.second_hash = m.second_hash) AS compared"
    );
    let parameters: [&(dyn ToSql + Sync); 5] = [&hashes, &second_hashes, &message_ids, &body_hashes, &sent];
    let row = transaction.query_one("compare repeats", &sql, &parameters).await?;
    let count = |column: usize| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    let repeats = Repeats { redelivered: count(0), resent: count(1), contradicting: count(2) };
    let compared = repeats.redelivered + repeats.resent + repeats.contradicting;
    match compared == repeated.len() as u64 {
        true => Ok(repeats),
        false => Err(transaction.broken(
            "compare repeats",
            format!(
                "of {} messages that could not be claimed, {compared} were claimed before: look for a trigger, rule or \
                 index that drops rows of processed_messages",
                repeated.len()
            ),
        )),
    }
}

/// Turns the outcome of dead-lettered messages, each with the time when it was sent, into `loaded` and gives back those of
/// which it did: a message without a claim, or with one that says `loaded` already, is not among them.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn mark_loaded(
    transaction: &Transaction,
    messages: &[(MessageHash, OffsetDateTime)],
) -> Result<HashSet<MessageHash>, DatabaseError> {
    let (hashes, sent): (Vec<&[u8]>, Vec<OffsetDateTime>) =
        messages.iter().map(|(hash, sent_at)| (&hash.as_bytes()[..], *sent_at)).unzip();
    let mut marked = HashSet::new();
    // One index at a time: PostgreSQL takes neither where either may do.
    for claim_of_message in [BY_HASH, BY_TIME] {
        let sql = format!(
            "UPDATE processed_messages c SET outcome = 'loaded'
             FROM unnest($1::bytea[], $2::timestamptz[]) AS m (message_hash, sent_at)
             WHERE {claim_of_message} AND c.outcome = 'dead_lettered'
             RETURNING c.message_hash"
        );
        for row in transaction.query("mark messages as loaded", &sql, &[&hashes, &sent]).await? {
            marked.insert(super::hash_from(transaction, row.get(0))?);
        }
    }
    Ok(marked)
}

/// What is recorded of a message.
#[derive(Clone, Debug)]
pub struct Processed {
    /// Where it went: `loaded` or `dead_lettered`.
    pub outcome: String,
    /// SQS MessageId of the delivery that made the claim.
    pub first_message_id: String,
    /// When that message was sent.
    pub sent_at: OffsetDateTime,
    /// When that delivery was received.
    pub received_at: OffsetDateTime,
    /// When the claim was made.
    pub processed_at: OffsetDateTime,
}

/// Reads what is recorded of a message that was sent at this time, if it was claimed.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn read(
    transaction: &Transaction,
    hash: MessageHash,
    sent_at: OffsetDateTime,
) -> Result<Option<Processed>, DatabaseError> {
    let one = "SELECT c.outcome, c.first_message_id, c.sent_at, c.received_at, c.processed_at
               FROM processed_messages c, (SELECT $1::bytea AS message_hash, $2::timestamptz AS sent_at) AS m";
    let sql = format!("{one} WHERE {BY_HASH} UNION {one} WHERE {BY_TIME}");
    let rows = transaction.query("read a claim", &sql, &[&&hash.as_bytes()[..], &sent_at]).await?;
    Ok(rows.first().map(|row| Processed {
        outcome: row.get(0),
        first_message_id: row.get(1),
        sent_at: row.get(2),
        received_at: row.get(3),
        processed_at: row.get(4),
    }))
}

/// How many messages are recorded, whatever their outcome.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn count(transaction: &Transaction) -> Result<u64, DatabaseError> {
    let row = transaction.query_one("count messages", "SELECT count(*) FROM processed_messages", &[]).await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
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
    let sql = "SELECT coalesce(extract(epoch FROM max(committed_at) - min(sent_at)), 0)::float8,
                      coalesce(percentile_disc(0.5) WITHIN GROUP (ORDER BY took), 0)::float8,
                      coalesce(percentile_disc(0.99) WITHIN GROUP (ORDER BY took), 0)::float8
               FROM (SELECT sent_at, pg_xact_commit_timestamp(xmin) AS committed_at,
                            extract(epoch FROM pg_xact_commit_timestamp(xmin) - sent_at) AS took
                     FROM processed_messages WHERE outcome = 'loaded') AS loaded";
    let row = transaction.query_one("measure the pace", sql, &[]).await?;
    let seconds = |column: usize| Duration::try_from_secs_f64(row.get(column)).unwrap_or_default();
    Ok(Pace { over: seconds(0), p50: seconds(1), p99: seconds(2) })
}
