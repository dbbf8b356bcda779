//! What the tables must say of each other for the promise to hold: the rules that `turnstile audit` proves.
//!
//! The one room that reads several tables at once. Every rule is a statement over whole tables (hash or merge
//! anti-joins of the server, by the key that all of them carry), so that no table has to fit into anyone's memory.

use time::OffsetDateTime;

use crate::database::schemas::Schemas;
use crate::database::{DatabaseError, Transaction};
use crate::message::MessageHash;

/// What must not be, and the statement that finds it.
#[derive(Debug)]
pub struct Rule {
    /// Stable name, for people and scripts.
    pub name: &'static str,
    /// What is said of a message that breaks it.
    pub broken_by: &'static str,
    /// Gives the hashes that break it; `own.` and `logins.` stand for the schemas.
    sql: &'static str,
    /// The same where tables are distributed, for a rule over rows that are on different servers. `:until`, `:horizon` and
    /// `:pruned` stand for the times of [`Distributed`].
    distributed: Option<&'static str>,
}

/// What an audit of distributed tables knows beforehand. They have no snapshot in common: so rules over several servers ask
/// only for what was decided on all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distributed {
    /// Each transaction that began before has ended, on every server.
    until: String,
    horizon: String,
    pruned: String,
}

/// The rule that asks for the event of each login that was loaded later than all that were pruned.
pub const LOADED_WITHOUT_EVENT: &str = "loaded_without_event";

/// Every rule. Together they say: a message recorded as loaded has one row, one event and no unresolved dead letter; one
/// recorded as dead-lettered has one dead letter that is open or discarded, no row, no event and no key; one recorded as
/// absorbed has nothing, and was absorbed by one that is loaded; a key belongs to a message that is loaded, and stands once; no message is
/// recorded twice; and nothing stands in a table for a message that is not recorded. What was sent before the horizon may be gone
/// from every table, and so may events that were pruned. The time of a claim under the constant time is when it was received.
pub const RULES: [Rule; 23] = [
    Rule {
        name: "loaded_without_row",
        broken_by: "is recorded as loaded, but has no row in user_logins",
        sql: "SELECT message_hash FROM own.processed_messages p, own.horizon h WHERE outcome = 'loaded'
              AND (p.sent_at >= h.retained_since OR p.sent_at = 'epoch' AND p.received_at >= h.retained_since)
              AND NOT EXISTS (SELECT FROM logins.user_logins u
                              WHERE u.message_sent_at = p.sent_at AND u.message_hash = p.message_hash)",
        distributed: None,
    },
    Rule {
        name: LOADED_WITHOUT_EVENT,
        broken_by: "is recorded as loaded, but has no event in outbox",
        // An event is written when the message is claimed or, after a replay, when its dead letter is resolved.
        sql: "SELECT p.message_hash FROM own.processed_messages p
              LEFT JOIN own.dead_letters d
                  ON d.sent_at = p.sent_at AND d.message_hash = p.message_hash AND d.status = 'replayed'
              CROSS JOIN own.horizon h
              WHERE p.outcome = 'loaded'
              AND (p.sent_at >= h.retained_since OR p.sent_at = 'epoch' AND p.received_at >= h.retained_since)
              AND coalesce(d.resolved_at, p.processed_at)
                  > (SELECT coalesce(max(g.written_until), '-infinity') FROM own.outbox_pruned g)
              AND NOT EXISTS (SELECT FROM own.outbox o
                              WHERE o.message_sent_at = p.sent_at AND o.event_id = p.message_hash)",
        distributed: Some(
            "WITH events AS MATERIALIZED (SELECT o.message_sent_at, o.event_id FROM own.outbox o),
             letters AS MATERIALIZED
                 (SELECT d.sent_at, d.message_hash, d.resolved_at FROM own.dead_letters d WHERE d.status = 'replayed')
             SELECT p.message_hash FROM own.processed_messages p
             LEFT JOIN letters d ON d.sent_at = p.sent_at AND d.message_hash = p.message_hash
             LEFT JOIN events e ON e.message_sent_at = p.sent_at AND e.event_id = p.message_hash
             WHERE p.outcome = 'loaded' AND (p.sent_at >= :horizon OR p.sent_at = 'epoch' AND p.received_at >= :horizon)
             AND coalesce(d.resolved_at, p.processed_at) > :pruned AND coalesce(d.resolved_at, p.processed_at) < :until
             AND e.event_id IS NULL",
        ),
    },
    Rule {
        name: "loaded_with_unreplayed_letter",
        broken_by: "is recorded as loaded, but has a dead letter that is not replayed",
        sql: "SELECT message_hash FROM own.processed_messages p JOIN own.dead_letters d USING (sent_at, message_hash)
              WHERE p.outcome = 'loaded' AND d.status <> 'replayed'",
        distributed: Some(
            "WITH letters AS MATERIALIZED
                 (SELECT d.sent_at, d.message_hash FROM own.dead_letters d WHERE d.status <> 'replayed')
             SELECT p.message_hash FROM own.processed_messages p JOIN letters d USING (sent_at, message_hash)
             WHERE p.outcome = 'loaded'",
        ),
    },
    Rule {
        name: "dead_lettered_without_letter",
        broken_by: "is recorded as dead-lettered, but has no dead letter",
        sql: "SELECT message_hash FROM own.processed_messages p, own.horizon h WHERE outcome = 'dead_lettered'
              AND (p.sent_at >= h.retained_since OR p.sent_at = 'epoch' AND p.received_at >= h.retained_since)
              AND NOT EXISTS (SELECT FROM own.dead_letters d
                              WHERE d.sent_at = p.sent_at AND d.message_hash = p.message_hash)",
        distributed: Some(
            "WITH letters AS MATERIALIZED (SELECT d.sent_at, d.message_hash FROM own.dead_letters d)
             SELECT p.message_hash FROM own.processed_messages p LEFT JOIN letters d USING (sent_at, message_hash)
             WHERE p.outcome = 'dead_lettered' AND p.processed_at < :until AND d.message_hash IS NULL
             AND (p.sent_at >= :horizon OR p.sent_at = 'epoch' AND p.received_at >= :horizon)",
        ),
    },
    Rule {
        name: "dead_lettered_with_replayed_letter",
        broken_by: "is recorded as dead-lettered, but its dead letter is replayed or absorbed",
        sql: "SELECT message_hash FROM own.processed_messages p JOIN own.dead_letters d USING (sent_at, message_hash)
              WHERE p.outcome = 'dead_lettered' AND d.status IN ('replayed', 'absorbed')",
        distributed: Some(
            "WITH letters AS MATERIALIZED
                 (SELECT d.sent_at, d.message_hash FROM own.dead_letters d
                  WHERE d.status IN ('replayed', 'absorbed') AND d.resolved_at < :until)
             SELECT p.message_hash FROM own.processed_messages p JOIN letters d USING (sent_at, message_hash)
             WHERE p.outcome = 'dead_lettered'",
        ),
    },
    Rule {
        name: "dead_lettered_with_row",
        broken_by: "is recorded as dead-lettered, but has a row in user_logins",
        sql: "SELECT message_hash FROM own.processed_messages p WHERE outcome = 'dead_lettered'
              AND EXISTS (SELECT FROM logins.user_logins u
                          WHERE u.message_sent_at = p.sent_at AND u.message_hash = p.message_hash)",
        distributed: None,
    },
    Rule {
        name: "dead_lettered_with_event",
        broken_by: "is recorded as dead-lettered, but has an event in outbox",
        sql: "SELECT message_hash FROM own.processed_messages p WHERE outcome = 'dead_lettered'
              AND EXISTS (SELECT FROM own.outbox o
                          WHERE o.message_sent_at = p.sent_at AND o.event_id = p.message_hash)",
        distributed: Some(
            "WITH events AS MATERIALIZED
                 (SELECT o.message_sent_at, o.event_id FROM own.outbox o WHERE o.created_at < :until)
             SELECT p.message_hash FROM own.processed_messages p
             JOIN events e ON e.message_sent_at = p.sent_at AND e.event_id = p.message_hash
             WHERE p.outcome = 'dead_lettered'",
        ),
    },
    Rule {
        name: "absorbed_with_row",
        broken_by: "is recorded as absorbed, but has a row in user_logins",
        sql: "SELECT message_hash FROM own.processed_messages p WHERE outcome = 'absorbed'
              AND EXISTS (SELECT FROM logins.user_logins u
                          WHERE u.message_sent_at = p.sent_at AND u.message_hash = p.message_hash)",
        distributed: None,
    },
    Rule {
        name: "absorbed_with_event",
        broken_by: "is recorded as absorbed, but has an event in outbox",
        sql: "SELECT message_hash FROM own.processed_messages p WHERE outcome = 'absorbed'
              AND EXISTS (SELECT FROM own.outbox o
                          WHERE o.message_sent_at = p.sent_at AND o.event_id = p.message_hash)",
        distributed: Some(
            "WITH events AS MATERIALIZED
                 (SELECT o.message_sent_at, o.event_id FROM own.outbox o WHERE o.created_at < :until)
             SELECT p.message_hash FROM own.processed_messages p
             JOIN events e ON e.message_sent_at = p.sent_at AND e.event_id = p.message_hash
             WHERE p.outcome = 'absorbed'",
        ),
    },
    Rule {
        name: "absorbed_with_unabsorbed_letter",
        broken_by: "is recorded as absorbed, but has a dead letter that says something else",
        sql: "SELECT message_hash FROM own.processed_messages p JOIN own.dead_letters d USING (sent_at, message_hash)
              WHERE p.outcome = 'absorbed' AND d.status <> 'absorbed'",
        distributed: Some(
            "WITH letters AS MATERIALIZED
                 (SELECT d.sent_at, d.message_hash FROM own.dead_letters d WHERE d.status <> 'absorbed')
             SELECT p.message_hash FROM own.processed_messages p JOIN letters d USING (sent_at, message_hash)
             WHERE p.outcome = 'absorbed'",
        ),
    },
    Rule {
        name: "absorbed_by_itself",
        broken_by: "is recorded as absorbed by itself",
        sql: "SELECT message_hash FROM own.processed_messages WHERE absorbed_by = message_hash",
        distributed: None,
    },
    Rule {
        name: "absorbed_by_nothing",
        broken_by: "is recorded as absorbed by a message that is not recorded as loaded",
        sql: "SELECT message_hash FROM own.processed_messages p, own.horizon h
              WHERE outcome = 'absorbed' AND absorbed_by_sent_at >= h.retained_since
              AND NOT EXISTS (SELECT FROM own.processed_messages o
                              WHERE o.sent_at = p.absorbed_by_sent_at AND o.message_hash = p.absorbed_by
                                AND o.outcome = 'loaded')",
        distributed: Some(
            "WITH absorbed AS MATERIALIZED
                 (SELECT a.message_hash, a.absorbed_by, a.absorbed_by_sent_at FROM own.processed_messages a
                  WHERE a.outcome = 'absorbed' AND a.absorbed_by_sent_at >= :horizon AND a.processed_at < :until),
             owners AS MATERIALIZED
                 (SELECT p.sent_at, p.message_hash FROM own.processed_messages p
                  JOIN absorbed a ON p.sent_at = a.absorbed_by_sent_at AND p.message_hash = a.absorbed_by
                  WHERE p.outcome = 'loaded')
             SELECT a.message_hash FROM absorbed a
             WHERE NOT EXISTS (SELECT 1 FROM owners o
                               WHERE o.sent_at = a.absorbed_by_sent_at AND o.message_hash = a.absorbed_by)",
        ),
    },
    Rule {
        name: "identity_of_unloaded",
        broken_by: "owns a key, but is not recorded as loaded",
        sql: "SELECT DISTINCT owner FROM own.identities i, own.horizon h
              WHERE owner_sent_at >= h.retained_since
              AND NOT EXISTS (SELECT FROM own.processed_messages p
                              WHERE p.sent_at = i.owner_sent_at AND p.message_hash = i.owner AND p.outcome = 'loaded')",
        distributed: Some(
            "WITH keys AS MATERIALIZED
                 (SELECT i.owner_sent_at, i.owner FROM own.identities i
                  WHERE i.owner_sent_at >= :horizon AND i.claimed_at < :until),
             owners AS MATERIALIZED
                 (SELECT p.sent_at, p.message_hash FROM own.processed_messages p
                  JOIN keys k ON p.sent_at = k.owner_sent_at AND p.message_hash = k.owner WHERE p.outcome = 'loaded')
             SELECT DISTINCT k.owner FROM keys k
             WHERE NOT EXISTS (SELECT 1 FROM owners o WHERE o.sent_at = k.owner_sent_at AND o.message_hash = k.owner)",
        ),
    },
    Rule {
        name: "identity_twice",
        broken_by: "owns a key that stands under two times",
        sql: "SELECT DISTINCT owner FROM own.identities WHERE hash IN
                  (SELECT hash FROM own.identities GROUP BY hash HAVING count(*) > 1)",
        distributed: None,
    },
    Rule {
        name: "recorded_twice",
        broken_by: "is recorded more than once",
        sql: "SELECT message_hash FROM own.processed_messages GROUP BY message_hash HAVING count(*) > 1",
        distributed: None,
    },
    Rule {
        name: "recorded_without_time",
        broken_by: "is recorded without its SentTimestamp, although every queue gives one",
        sql: "SELECT message_hash FROM own.processed_messages p, own.horizon h WHERE sent_at = 'epoch'
              AND p.received_at >= h.retained_since
              AND NOT EXISTS (SELECT 1 FROM own.queues WHERE time_basis = 'none')
              AND NOT EXISTS (SELECT FROM own.dead_letters d WHERE d.sent_at = p.sent_at
                              AND d.message_hash = p.message_hash AND d.code = 'older_than_memory')",
        distributed: Some(
            "WITH letters AS MATERIALIZED
                 (SELECT d.sent_at, d.message_hash FROM own.dead_letters d WHERE d.code = 'older_than_memory'),
             untimed AS MATERIALIZED
                 (SELECT p.message_hash FROM own.processed_messages p LEFT JOIN letters d USING (sent_at, message_hash)
                  WHERE p.sent_at = 'epoch' AND p.received_at >= :horizon AND p.processed_at < :until AND d.message_hash IS NULL)
             SELECT u.message_hash FROM untimed u
             WHERE NOT EXISTS (SELECT 1 FROM own.queues WHERE time_basis = 'none')",
        ),
    },
    Rule {
        name: "row_without_claim",
        broken_by: "has a row in user_logins, but is not recorded in processed_messages",
        sql: "SELECT DISTINCT message_hash FROM logins.user_logins u, own.horizon h
              WHERE message_hash IS NOT NULL AND message_sent_at >= h.retained_since
              AND NOT EXISTS (SELECT FROM own.processed_messages p
                              WHERE p.sent_at = u.message_sent_at AND p.message_hash = u.message_hash)",
        distributed: None,
    },
    Rule {
        name: "row_twice",
        broken_by: "has more than one row in user_logins",
        sql: "SELECT message_hash FROM logins.user_logins WHERE message_hash IS NOT NULL
              GROUP BY message_hash HAVING count(*) > 1",
        distributed: None,
    },
    Rule {
        name: "row_without_time",
        broken_by: "has a row in user_logins that does not say when it was sent",
        sql: "SELECT message_hash FROM logins.user_logins WHERE message_hash IS NOT NULL AND message_sent_at IS NULL",
        distributed: None,
    },
    Rule {
        name: "letter_without_claim",
        broken_by: "has a dead letter, but is not recorded in processed_messages",
        sql: "SELECT message_hash FROM own.dead_letters d, own.horizon h WHERE d.sent_at >= h.retained_since
              AND NOT EXISTS (SELECT FROM own.processed_messages p
                              WHERE p.sent_at = d.sent_at AND p.message_hash = d.message_hash)",
        distributed: Some(
            "WITH letters AS MATERIALIZED
                 (SELECT d.sent_at, d.message_hash FROM own.dead_letters d
                  WHERE d.sent_at >= :horizon AND d.dead_lettered_at < :until),
             claims AS MATERIALIZED
                 (SELECT p.sent_at, p.message_hash FROM own.processed_messages p
                  JOIN letters d ON d.sent_at = p.sent_at AND d.message_hash = p.message_hash)
             SELECT d.message_hash FROM letters d
             WHERE NOT EXISTS (SELECT 1 FROM claims c WHERE c.sent_at = d.sent_at AND c.message_hash = d.message_hash)",
        ),
    },
    Rule {
        name: "letter_resolved_otherwise",
        broken_by: "has a dead letter that is replayed or absorbed, but is recorded as something else",
        sql: "SELECT message_hash FROM own.dead_letters d JOIN own.processed_messages p USING (sent_at, message_hash)
              WHERE d.status = 'replayed' AND p.outcome = 'absorbed' OR d.status = 'absorbed' AND p.outcome = 'loaded'",
        distributed: Some(
            "WITH letters AS MATERIALIZED
                 (SELECT d.sent_at, d.message_hash, d.status FROM own.dead_letters d
                  WHERE d.status IN ('replayed', 'absorbed') AND d.resolved_at < :until)
             SELECT p.message_hash FROM own.processed_messages p JOIN letters d USING (sent_at, message_hash)
             WHERE d.status = 'replayed' AND p.outcome = 'absorbed' OR d.status = 'absorbed' AND p.outcome = 'loaded'",
        ),
    },
    Rule {
        name: "event_without_claim",
        broken_by: "has an event in outbox, but is not recorded in processed_messages",
        sql: "SELECT event_id FROM own.outbox o, own.horizon h WHERE o.message_sent_at >= h.retained_since
              AND NOT EXISTS (SELECT FROM own.processed_messages p
                              WHERE p.sent_at = o.message_sent_at AND p.message_hash = o.event_id)",
        distributed: Some(
            "WITH events AS MATERIALIZED
                 (SELECT o.message_sent_at, o.event_id FROM own.outbox o
                  WHERE o.message_sent_at >= :horizon AND o.created_at < :until),
             claims AS MATERIALIZED
                 (SELECT p.sent_at, p.message_hash FROM own.processed_messages p
                  JOIN events e ON e.message_sent_at = p.sent_at AND e.event_id = p.message_hash)
             SELECT e.event_id FROM events e
             WHERE NOT EXISTS (SELECT 1 FROM claims c WHERE c.sent_at = e.message_sent_at AND c.message_hash = e.event_id)",
        ),
    },
    Rule {
        name: "event_twice",
        broken_by: "has more than one event in outbox",
        sql: "SELECT event_id FROM own.outbox GROUP BY event_id HAVING count(*) > 1",
        distributed: None,
    },
];

/// A statement with the schemas in the place of `own.` and `logins.`.
fn qualified(sql: &str, schemas: &Schemas) -> String {
    sql.replace("own.", &format!("{}.", schemas.own)).replace("logins.", &format!("{}.", schemas.logins))
}

impl Distributed {
    /// Reads what is known of tables of which everything that began before `until` has ended.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn read(transaction: &Transaction, until: OffsetDateTime) -> Result<Self, DatabaseError> {
        let sql = "SELECT (SELECT pg_catalog.quote_literal(h.retained_since) FROM own.horizon h),
                          (SELECT pg_catalog.quote_literal(coalesce(max(g.written_until), '-infinity')) FROM own.outbox_pruned g),
                          pg_catalog.quote_literal($1::timestamptz)";
        let sql = qualified(sql, transaction.schemas());
        let row = transaction.query_one("read the horizon", &sql, &[&until]).await?;
        Ok(Self { horizon: row.get(0), pruned: row.get(1), until: row.get(2) })
    }

    fn written_into(&self, sql: &str) -> String {
        let of = |literal: &str| format!("{literal}::timestamptz");
        sql.replace(":until", &of(&self.until))
            .replace(":horizon", &of(&self.horizon))
            .replace(":pruned", &of(&self.pruned))
    }
}

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
pub async fn breaks(
    transaction: &Transaction,
    rule: &Rule,
    distributed: Option<&Distributed>,
    most: u32,
) -> Result<Breaks, DatabaseError> {
    let sql = match distributed.zip(rule.distributed) {
        Some((known, sql)) => known.written_into(sql),
        None => rule.sql.to_owned(),
    };
    let sql = format!(
        "SELECT count(*) OVER (), pg_catalog.encode(message_hash, 'hex') FROM ({}) AS broken (message_hash)
         ORDER BY message_hash LIMIT $1",
        qualified(&sql, transaction.schemas())
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
    /// Messages recorded as absorbed.
    pub absorbed: u64,
    /// Keys of producers that are remembered.
    pub identities: u64,
    /// Rows of `user_logins` that a message brought.
    pub rows: u64,
    /// Rows of `user_logins` that stood there before Turnstile.
    pub adopted_rows: u64,
    /// Dead letters that are open.
    pub open: u64,
    /// Dead letters that were replayed.
    pub replayed: u64,
    /// Dead letters whose login another message had brought.
    pub letters_absorbed: u64,
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
    let sql = "SELECT p.loaded, p.dead_lettered, p.absorbed, i.identities, u.brought, u.adopted,
                      d.open, d.replayed, d.absorbed, d.discarded, o.events
               FROM (SELECT count(*) FILTER (WHERE outcome = 'loaded') AS loaded,
                            count(*) FILTER (WHERE outcome = 'dead_lettered') AS dead_lettered,
                            count(*) FILTER (WHERE outcome = 'absorbed') AS absorbed
                     FROM own.processed_messages) AS p,
                    (SELECT count(*) AS identities FROM own.identities) AS i,
                    (SELECT pg_catalog.count(message_hash) AS brought, count(*) - pg_catalog.count(message_hash) AS adopted
                     FROM logins.user_logins) AS u,
                    (SELECT count(*) FILTER (WHERE status = 'open') AS open,
                            count(*) FILTER (WHERE status = 'replayed') AS replayed,
                            count(*) FILTER (WHERE status = 'absorbed') AS absorbed,
                            count(*) FILTER (WHERE status = 'discarded') AS discarded
                     FROM own.dead_letters) AS d,
                    (SELECT count(*) AS events FROM own.outbox) AS o";
    let sql = qualified(sql, transaction.schemas());
    let row = transaction.query_one("count the tables", &sql, &[]).await?;
    let count = |column: usize| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    Ok(Counts {
        loaded: count(0),
        dead_lettered: count(1),
        absorbed: count(2),
        identities: count(3),
        rows: count(4),
        adopted_rows: count(5),
        open: count(6),
        replayed: count(7),
        letters_absorbed: count(8),
        discarded: count(9),
        events: count(10),
    })
}

/// Where `processed_messages` says that a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A row of `user_logins`.
    Loaded,
    /// A row of `dead_letters`.
    DeadLettered,
    /// The row of another message, which brought the same login.
    Absorbed,
}

/// What one message has left in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traces {
    /// What its claim says; none: it is not claimed.
    pub outcome: Option<Outcome>,
    /// The message that its claim says it was absorbed by.
    pub absorbed_by: Option<MessageHash>,
    /// Its claims.
    pub claims: u64,
    /// Rows in `user_logins`.
    pub rows: u64,
    /// Dead letters that are open or discarded: the others say that the message went elsewhere after all.
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
               SELECT message_hash, max(outcome), sum(claims), sum(rows), sum(letters), sum(events),
                      (array_agg(owner) FILTER (WHERE owner IS NOT NULL))[1]
               FROM (SELECT message_hash, outcome, absorbed_by AS owner, 1 AS claims, 0 AS rows, 0 AS letters, 0 AS events
                     FROM own.processed_messages
                     UNION ALL
                     SELECT message_hash, NULL, NULL, 0, 1, 0, 0 FROM logins.user_logins WHERE message_hash IS NOT NULL
                     UNION ALL
                     SELECT message_hash, NULL, NULL, 0, 0, 1, 0 FROM own.dead_letters
                     WHERE status IN ('open', 'discarded')
                     UNION ALL
                     SELECT event_id, NULL, NULL, 0, 0, 0, 1 FROM own.outbox) AS left_behind
               GROUP BY message_hash";
    let sql = qualified(sql, transaction.schemas());
    transaction.execute("read what messages left", &sql, &[]).await.map(drop)
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
            Some("absorbed") => Some(Outcome::Absorbed),
            Some(_) => return Err(transaction.broken(attempted, "an outcome is unknown".to_owned())),
        };
        let absorbed_by = row.get::<_, Option<&[u8]>>(6).map(|hash| super::hash_from(transaction, hash)).transpose()?;
        let traces =
            Traces { outcome, absorbed_by, claims: count(2), rows: count(3), letters: count(4), events: count(5) };
        Ok((super::hash_from(transaction, row.get(0))?, traces))
    };
    rows.iter().map(read).collect()
}
