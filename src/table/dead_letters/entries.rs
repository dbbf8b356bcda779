//! Single dead letters in the order of time, page by page.

use std::str::FromStr;

use time::OffsetDateTime;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::search::{MATCHES, OF_COMBINATION, Search, Terms, combinations};
use super::{COLUMNS, DeadLetter, dead_letter_from};
use crate::database::schemas::Schemas;
use crate::database::{DatabaseError, Transaction};
use crate::message::MessageHash;

/// Which comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// What became a dead letter last.
    #[default]
    Newest,
    /// What became a dead letter first.
    Oldest,
}

/// A text is no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is neither newest nor oldest")]
pub struct NoOrder;

impl FromStr for Order {
    type Err = NoOrder;

    fn from_str(word: &str) -> Result<Self, NoOrder> {
        match word {
            "newest" => Ok(Self::Newest),
            "oldest" => Ok(Self::Oldest),
            _ => Err(NoOrder),
        }
    }
}

/// Where a page ends, and the next begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageEnd {
    /// When the last letter of the page became one.
    pub dead_lettered_at: OffsetDateTime,
    /// Its hash, by which letters of one moment are ordered.
    pub hash: MessageHash,
}

impl PageEnd {
    /// That of a letter.
    pub fn of(letter: &DeadLetter) -> Self {
        Self { dead_lettered_at: letter.dead_lettered_at, hash: letter.key.hash }
    }
}

/// A page of single dead letters.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// What is looked for.
    pub search: Search,
    /// Only of this MessageId.
    pub message_id: Option<String>,
    /// Which comes first.
    pub order: Order,
    /// What the page before ended with; none: it is the first.
    pub after: Option<PageEnd>,
    /// The most letters.
    pub limit: u64,
}

/// Reads a page, without bodies.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn page(transaction: &Transaction, page: &Page) -> Result<Vec<DeadLetter>, DatabaseError> {
    let terms = Terms::of(&page.search);
    let (at, hash) = page.after.map(|after| (after.dead_lettered_at, *after.hash.as_bytes())).unzip();
    let hash = hash.as_ref().map(<[u8; 32]>::as_slice);
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
    let common = terms.parameters().into_iter().chain([&at as &(dyn ToSql + Sync), &hash, &limit]);
    let rows = match &page.message_id {
        None => {
            let sql = in_order(transaction.schemas(), page.order);
            transaction.query("read dead letters", &sql, &common.collect::<Vec<_>>()).await?
        }
        Some(id) => {
            let parameters: Vec<_> = common.chain([id as &(dyn ToSql + Sync)]).collect();
            transaction.query("read dead letters", &of_message(transaction.schemas(), page.order), &parameters).await?
        }
    };
    rows.iter().map(|row: &Row| dead_letter_from(transaction, row)).collect()
}

/// How an order is written: what is asked of a time and a hash, the ends of time, and the sort.
struct Words {
    beyond: &'static str,
    start: &'static str,
    up_to: &'static str,
    end: &'static str,
    sort: &'static str,
}

impl Order {
    fn words(self) -> Words {
        match self {
            Self::Newest => Words { beyond: "<", start: "infinity", up_to: ">=", end: "-infinity", sort: "DESC" },
            Self::Oldest => Words { beyond: ">", start: "-infinity", up_to: "<=", end: "infinity", sort: "ASC" },
        }
    }
}

/// Looks through the index first for the time at which the page is full, whichever combinations fill it, and then reads the
/// letters up to there. Those that share the time of the page before are few: one transaction wrote them.
fn in_order(schemas: &Schemas, order: Order) -> String {
    let Words { beyond, start, up_to, end, sort } = order.words();
    format!(
        "{combinations},
         filled AS (
             SELECT letter.at FROM meant m CROSS JOIN LATERAL (
                 SELECT d.dead_lettered_at AS at FROM {own}.dead_letters d
                 WHERE {OF_COMBINATION} AND d.dead_lettered_at {beyond} coalesce($7::timestamptz, '{start}')
                 ORDER BY d.dead_lettered_at {sort} LIMIT $9::bigint) letter
             ORDER BY letter.at {sort} OFFSET $9 - 1 LIMIT 1)
         SELECT letter.* FROM meant m CROSS JOIN LATERAL (
             SELECT {COLUMNS} FROM {own}.dead_letters d
             WHERE {OF_COMBINATION} AND d.dead_lettered_at {up_to} coalesce((SELECT at FROM filled), '{end}')
               AND {after}
             ORDER BY d.dead_lettered_at {sort}, d.message_hash {sort} LIMIT $9) letter
         ORDER BY dead_lettered_at {sort}, message_hash {sort} LIMIT $9",
        combinations = combinations(schemas),
        own = schemas.own,
        after = after(beyond, start),
    )
}

fn of_message(schemas: &Schemas, order: Order) -> String {
    let Words { beyond, start, sort, .. } = order.words();
    format!(
        "SELECT {COLUMNS} FROM {own}.dead_letters c
         WHERE message_id = $10 AND {MATCHES}
           AND dead_lettered_at >= coalesce($5::timestamptz, '-infinity')
           AND dead_lettered_at < coalesce($6::timestamptz, 'infinity')
           AND {after}
         ORDER BY dead_lettered_at {sort}, message_hash {sort} LIMIT $9::bigint",
        own = schemas.own,
        after = after(beyond, start),
    )
}

fn after(beyond: &str, start: &str) -> String {
    format!("(dead_lettered_at, message_hash) {beyond} (coalesce($7::timestamptz, '{start}'), coalesce($8::bytea, ''))")
}
