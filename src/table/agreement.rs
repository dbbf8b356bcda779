//! What the tables must say of each other for the promise to hold: the rules that `turnstile audit` proves.
//!
//! The one room that reads several tables at once. Every rule is a statement over whole tables (hash or merge
//! anti-joins of the server), so that no table has to fit into anyone's memory. That a hash stands at most once in
//! `dead_letters` is what its primary key says; in the other tables it is a rule, as no index of theirs knows hashes alone.

use crate::database::{DatabaseError, Transaction};
use crate::message::MessageHash;

/// What must not be, and the statement that finds it.
#[derive(Debug)]
pub struct Rule {
    /// Stable name, for people and scripts.
    pub name: &'static str,
    /// What is said of a message that breaks it.
    pub broken_by: &'static str,
    /// Gives the hashes that break it.
    sql: &'static str,
}

/// Every rule. Together they say: a message recorded as loaded has one row, one event and no unresolved dead letter; one
/// recorded as dead-lettered has one unreplayed dead letter, no row and no event; no message is recorded twice; and nothing
/// stands in a table for a message that is not recorded.
pub const RULES: [Rule; 14] = [
    Rule {
        name: "loaded_without_row",
        broken_by: "is recorded as loaded, but has no row in user_logins",
        sql: "SELECT message_hash FROM processed_messages p WHERE outcome = 'loaded'
              AND NOT EXISTS (SELECT FROM user_logins u WHERE u.message_hash = p.message_hash)",
    },
    Rule {
        name: "loaded_without_event",
        broken_by: "is recorded as loaded, but has no event in outbox",
        sql: "SELECT message_hash FROM processed_messages p WHERE outcome = 'loaded'
              AND NOT EXISTS (SELECT FROM outbox o WHERE o.event_id = p.message_hash)",
    },
    Rule {
        name: "loaded_with_unreplayed_letter",
        broken_by: "is recorded as loaded, but has a dead letter that is open or discarded",
        sql: "SELECT message_hash FROM processed_messages p JOIN dead_letters d USING (message_hash)
              WHERE p.outcome = 'loaded' AND d.status <> 'replayed'",
    },
    Rule {
        name: "dead_lettered_without_letter",
        broken_by: "is recorded as dead-lettered, but has no dead letter",
        sql: "SELECT message_hash FROM processed_messages p WHERE outcome = 'dead_lettered'
              AND NOT EXISTS (SELECT FROM dead_letters d WHERE d.message_hash = p.message_hash)",
    },
    Rule {
        name: "dead_lettered_with_replayed_letter",
        broken_by: "is recorded as dead-lettered, but its dead letter is replayed",
        sql: "SELECT message_hash FROM processed_messages p JOIN dead_letters d USING (message_hash)
              WHERE p.outcome = 'dead_lettered' AND d.status = 'replayed'",
    },
    Rule {
        name: "dead_lettered_with_row",
        broken_by: "is recorded as dead-lettered, but has a row in user_logins",
        sql: "SELECT message_hash FROM processed_messages p WHERE outcome = 'dead_lettered'
              AND EXISTS (SELECT FROM user_logins u WHERE u.message_hash = p.message_hash)",
    },
    Rule {
        name: "dead_lettered_with_event",
        broken_by: "is recorded as dead-lettered, but has an event in outbox",
        sql: "SELECT message_hash FROM processed_messages p WHERE outcome = 'dead_lettered'
              AND EXISTS (SELECT FROM outbox o WHERE o.event_id = p.message_hash)",
    },
    Rule {
        name: "recorded_twice",
        broken_by: "is recorded more than once",
        sql: "SELECT message_hash FROM processed_messages GROUP BY message_hash HAVING count(*) > 1",
    },
    Rule {
        name: "claimed_twice",
        broken_by: "is recorded under another hash too, and is no dead letter that is discarded",
        sql: "SELECT other.message_hash FROM processed_messages p JOIN processed_messages other
              ON other.message_hash = p.second_hash WHERE p.message_hash <> p.second_hash AND p.second_hash IS NOT NULL
              AND NOT EXISTS (SELECT FROM dead_letters d
                              WHERE d.message_hash = other.message_hash AND d.status = 'discarded')",
    },
    Rule {
        name: "row_without_claim",
        broken_by: "has a row in user_logins, but is not recorded in processed_messages",
        sql: "SELECT DISTINCT message_hash FROM user_logins u WHERE message_hash IS NOT NULL
              AND NOT EXISTS (SELECT FROM processed_messages p WHERE p.message_hash = u.message_hash)",
    },
    Rule {
        name: "row_twice",
        broken_by: "has more than one row in user_logins",
        sql: "SELECT message_hash FROM user_logins WHERE message_hash IS NOT NULL
              GROUP BY message_hash HAVING count(*) > 1",
    },
    Rule {
        name: "letter_without_claim",
        broken_by: "has a dead letter, but is not recorded in processed_messages",
        sql: "SELECT message_hash FROM dead_letters d
              WHERE NOT EXISTS (SELECT FROM processed_messages p WHERE p.message_hash = d.message_hash)",
    },
    Rule {
        name: "event_without_claim",
        broken_by: "has an event in outbox, but is not recorded in processed_messages",
        sql: "SELECT event_id FROM outbox o
              WHERE NOT EXISTS (SELECT FROM processed_messages p WHERE p.message_hash = o.event_id)",
    },
    Rule {
        name: "event_twice",
        broken_by: "has more than one event in outbox",
        sql: "SELECT event_id FROM outbox GROUP BY event_id HAVING count(*) > 1",
    },
];

/// The messages that break a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaks {
    /// How many.
    pub total: u64,
    /// The first of them in hexadecimal digits, in the order of their hashes.
    pub first: Vec<String>,
}

/// Finds the messages that break a rule, and names up to `most` of them.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn breaks(transaction: &Transaction, rule: &Rule, most: u32) -> Result<Breaks, DatabaseError> {
    let sql = format!(
        "SELECT count(*) OVER (), encode(message_hash, 'hex') FROM ({}) AS broken (message_hash)
         ORDER BY message_hash LIMIT $1",
        rule.sql
    );
    let rows = transaction.query(rule.name, &sql, &[&i64::from(most)]).await?;
    let total = rows.first().map_or(0, |row| row.get::<_, i64>(0));
    Ok(Breaks { total: u64::try_from(total).unwrap_or(0), first: rows.iter().map(|row| row.get(1)).collect() })
}

/// How much stands in the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages recorded as loaded.
    pub loaded: u64,
    /// Messages recorded as dead-lettered.
    pub dead_lettered: u64,
    /// Rows of `user_logins` that a message brought.
    pub rows: u64,
    /// Rows of `user_logins` that stood there before Turnstile.
    pub adopted_rows: u64,
    /// Dead letters that are open.
    pub open: u64,
    /// Dead letters that were replayed.
    pub replayed: u64,
    /// Dead letters that were discarded.
    pub discarded: u64,
    /// Events.
    pub events: u64,
}

/// Counts what stands in the tables.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn count(transaction: &Transaction) -> Result<Counts, DatabaseError> {
    let sql = "SELECT p.loaded, p.dead_lettered, u.brought, u.adopted, d.open, d.replayed, d.discarded, o.events
               FROM (SELECT count(*) FILTER (WHERE outcome = 'loaded') AS loaded,
                            count(*) FILTER (WHERE outcome = 'dead_lettered') AS dead_lettered
                     FROM processed_messages) AS p,
                    (SELECT count(message_hash) AS brought, count(*) - count(message_hash) AS adopted
                     FROM user_logins) AS u,
                    (SELECT count(*) FILTER (WHERE status = 'open') AS open,
                            count(*) FILTER (WHERE status = 'replayed') AS replayed,
                            count(*) FILTER (WHERE status = 'discarded') AS discarded
                     FROM dead_letters) AS d,
                    (SELECT count(*) AS events FROM outbox) AS o";
    let row = transaction.query_one("count the tables", sql, &[]).await?;
    let count = |column: usize| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    Ok(Counts {
        loaded: count(0),
        dead_lettered: count(1),
        rows: count(2),
        adopted_rows: count(3),
        open: count(4),
        replayed: count(5),
        discarded: count(6),
        events: count(7),
    })
}

/// Where `processed_messages` says that a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A row of `user_logins`.
    Loaded,
    /// A row of `dead_letters`.
    DeadLettered,
}

/// What one message has left in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traces {
    /// What its claim says; none: it is not claimed.
    pub outcome: Option<Outcome>,
    /// Its claims.
    pub claims: u64,
    /// Rows in `user_logins`.
    pub rows: u64,
    /// Dead letters that were not replayed: the place of a message that was loaded after all is its row.
    pub letters: u64,
    /// Events in `outbox`.
    pub events: u64,
}

/// How many messages are read at once.
const TRACES_AT_ONCE: &str = "FETCH 10000 FROM traces";

/// Begins to read what every message has left, for [`next_traces`].
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn begin_traces(transaction: &Transaction) -> Result<(), DatabaseError> {
    let sql = "DECLARE traces CURSOR FOR
               SELECT message_hash, max(outcome), sum(claims), sum(rows), sum(letters), sum(events)
               FROM (SELECT message_hash, outcome, 1 AS claims, 0 AS rows, 0 AS letters, 0 AS events FROM processed_messages
                     UNION ALL
                     SELECT message_hash, NULL, 0, 1, 0, 0 FROM user_logins WHERE message_hash IS NOT NULL
                     UNION ALL
                     SELECT message_hash, NULL, 0, 0, 1, 0 FROM dead_letters WHERE status <> 'replayed'
                     UNION ALL
                     SELECT event_id, NULL, 0, 0, 0, 1 FROM outbox) AS left_behind
               GROUP BY message_hash";
    transaction.execute("read what messages left", sql, &[]).await.map(drop)
}

/// What some more messages have left, in no order that means anything; nothing, when these were all. Each fits into memory.
///
/// # Errors
///
/// [`DatabaseError`], also when an outcome is none that Turnstile writes.
pub async fn next_traces(transaction: &Transaction) -> Result<Vec<(MessageHash, Traces)>, DatabaseError> {
    let attempted = "read what messages left";
    let rows = transaction.query(attempted, TRACES_AT_ONCE, &[]).await?;
    let read = |row: &tokio_postgres::Row| {
        let count = |column: usize| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
        let outcome = match row.get::<_, Option<&str>>(1) {
            None => None,
            Some("loaded") => Some(Outcome::Loaded),
            Some("dead_lettered") => Some(Outcome::DeadLettered),
            Some(_) => return Err(transaction.broken(attempted, "an outcome is unknown".to_owned())),
        };
        let traces = Traces { outcome, claims: count(2), rows: count(3), letters: count(4), events: count(5) };
        Ok((super::hash_from(transaction, row.get(0))?, traces))
    };
    rows.iter().map(read).collect()
}
