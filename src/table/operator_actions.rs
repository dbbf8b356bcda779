//! `operator_actions`: what was done with dead letters and loaders, by whom and why. The database writes the rows; here they are read, and
//! said what is to stand in them.

use std::collections::BTreeMap;
use std::str::FromStr;

use time::OffsetDateTime;
use tokio_postgres::Row;

use super::plan_id::PlanId;
pub use super::said::{Said, say};
use crate::database::{DatabaseError, Transaction};
use crate::message::{MessageHash, MessageKey};

/// Makes the actions: the word of each in its column.
macro_rules! actions {
    ($($(#[$doc:meta])+ $name:ident => $word:literal,)+) => {
        /// What was done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Action {
            $($(#[$doc])+ $name,)+
        }

        impl Action {
            /// Every word that [`Action::as_str`] can give.
            pub const WORDS: &'static [&'static str] = &[$($word,)+];

            /// The word in the column.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }
        }

        impl FromStr for Action {
            type Err = NoAction;

            fn from_str(word: &str) -> Result<Self, NoAction> {
                match word {
                    $($word => Ok(Self::$name),)+
                    _ => Err(NoAction),
                }
            }
        }
    };
}

actions! {
    /// Sealed bodies were read to replay them.
    Taken => "taken",
    /// A sealed body was read to be shown.
    Revealed => "revealed",
    /// An edited body was added.
    Edited => "edited",
    /// Its body was read to be sent back to its queue.
    Requeued => "requeued",
    /// The login was loaded.
    Replayed => "replayed",
    /// A replay found that another message had brought the login.
    Absorbed => "absorbed",
    /// The letter was resolved as not worth replaying.
    Discarded => "discarded",
    /// A discarded letter was opened again.
    Reopened => "reopened",
    /// Sealed bodies were read to be written to a file.
    Exported => "exported",
    /// The letter came from a file, or from another queue.
    Imported => "imported",
    /// Something was noted about all letters of a code.
    Noted => "noted",
    /// A plan was cancelled.
    Cancelled => "cancelled",
    /// Receiving was paused.
    Paused => "paused",
    /// A pause was ended.
    Resumed => "resumed",
    /// Masked values were recovered.
    Unmasked => "unmasked",
}

/// A text is no action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no action of an operator")]
pub struct NoAction;

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The number of the row: later actions have higher ones.
    pub id: i64,
    /// When, by the database's clock.
    pub at: OffsetDateTime,
    /// The database role that had logged in.
    pub role: String,
    /// Who it said it was.
    pub person: Option<String>,
    /// What was done.
    pub action: Action,
    /// With how many letters.
    pub letters: i32,
    /// With which letter, where it was one.
    pub letter: Option<MessageKey>,
    /// With what else: a code, a queue, a loader, or all of them.
    pub subject: Option<String>,
    /// Why, as the person said.
    pub reason: Option<String>,
    /// The plan of which it was a part.
    pub plan: Option<PlanId>,
}

/// Which actions are meant; the default means all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only with these letters.
    pub hashes: Option<Vec<MessageHash>>,
    /// Only of this role, or of who said to be this person.
    pub by: Option<String>,
    /// Only at or after this time.
    pub since: Option<OffsetDateTime>,
    /// Only this.
    pub action: Option<Action>,
    /// Only as a part of this plan.
    pub plan: Option<PlanId>,
    /// Only those before this one, by their numbers.
    pub before: Option<i64>,
}

/// Notes that so many masked values are about to be recovered; refused where no reason was said.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn note_unmasking(transaction: &Transaction, values: usize) -> Result<(), DatabaseError> {
    let sql = format!("SELECT {}.note_unmasking($1)", transaction.schemas().own);
    let values = i64::try_from(values).unwrap_or(i64::MAX);
    transaction.query("note what is unmasked", &sql, &[&values]).await.map(drop)
}

/// Notes what was said about the dead letters of a code; refused where nothing was said.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn note_code(transaction: &Transaction, code: &str) -> Result<(), DatabaseError> {
    let sql = format!("SELECT {}.note_code($1)", transaction.schemas().own);
    transaction.query("note something about a code", &sql, &[&code]).await.map(drop)
}

/// The last note of each of these codes.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn last_notes(transaction: &Transaction, codes: &[&str]) -> Result<BTreeMap<String, Done>, DatabaseError> {
    let sql = format!(
        "SELECT a.sent_at, a.message_hash, a.id, a.done_at, a.role, a.person, a.action, a.letters, a.reason, a.plan, a.subject
         FROM unnest($1::text[]) AS c (code) CROSS JOIN LATERAL (
             SELECT n.* FROM {}.operator_actions n WHERE n.action = 'noted' AND n.subject = c.code
             ORDER BY n.id DESC LIMIT 1) a",
        transaction.schemas().own
    );
    let rows = transaction.query(READING, &sql, &[&codes]).await?;
    let notes = rows.iter().map(|row| Ok((row.get(10), done(transaction, row)?)));
    notes.collect()
}

/// Reads up to `limit` actions, the newest first.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn newest(transaction: &Transaction, filter: &Filter, limit: u64) -> Result<Vec<Done>, DatabaseError> {
    let sql = format!(
        "SELECT sent_at, message_hash, id, done_at, role, person, action, letters, reason, plan, subject
         FROM {}.operator_actions
         WHERE ($1::bytea[] IS NULL OR message_hash = ANY($1)) AND ($2::text IS NULL OR role = $2 OR person = $2)
           AND ($3::timestamptz IS NULL OR done_at >= $3) AND ($4::text IS NULL OR action = $4)
           AND ($5::bigint IS NULL OR plan = $5) AND ($6::bigint IS NULL OR id < $6)
         ORDER BY id DESC LIMIT $7",
        transaction.schemas().own
    );
    let hashes: Option<Vec<&[u8]>> =
        filter.hashes.as_ref().map(|hashes| hashes.iter().map(|hash| &hash.as_bytes()[..]).collect());
    let (action, limit) = (filter.action.map(Action::as_str), i64::try_from(limit).unwrap_or(i64::MAX));
    let plan = filter.plan.map(|plan| plan.0);
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
        [&hashes, &filter.by, &filter.since, &action, &plan, &filter.before, &limit];
    let rows = transaction.query(READING, &sql, &parameters).await?;
    rows.iter().map(|row| done(transaction, row)).collect()
}

/// The highest number of an action; 0 where there is none.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn highest(transaction: &Transaction) -> Result<i64, DatabaseError> {
    let sql = format!("SELECT coalesce(max(id), 0) FROM {}.operator_actions", transaction.schemas().own);
    Ok(transaction.query_one(COUNTING, &sql, &[]).await?.get(0))
}

/// How often each action was done, of those with numbers above `from` and up to `to`.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn count_between(transaction: &Transaction, from: i64, to: i64) -> Result<Vec<(Action, u64)>, DatabaseError> {
    let sql = format!(
        "SELECT action, count(*) FROM {}.operator_actions WHERE id > $1 AND id <= $2 GROUP BY action",
        transaction.schemas().own
    );
    let rows = transaction.query(COUNTING, &sql, &[&from, &to]).await?;
    let count = |row: &Row| {
        let action = row.get::<_, &str>(0).parse();
        let action = action.map_err(|NoAction| transaction.broken(COUNTING, "an action is unknown".to_owned()))?;
        Ok((action, u64::try_from(row.get::<_, i64>(1)).unwrap_or(0)))
    };
    rows.iter().map(count).collect()
}

const COUNTING: &str = "count what operators did";
const READING: &str = "read what operators did";

fn done(transaction: &Transaction, row: &Row) -> Result<Done, DatabaseError> {
    let is_of_one = row.get::<_, Option<&[u8]>>(1).is_some();
    let action = row.get::<_, &str>(6).parse();
    Ok(Done {
        letter: is_of_one.then(|| super::key_from(transaction, row)).transpose()?,
        id: row.get(2),
        at: row.get(3),
        role: row.get(4),
        person: row.get(5),
        action: action.map_err(|NoAction| transaction.broken(READING, "an action is unknown".to_owned()))?,
        letters: row.get(7),
        reason: row.get(8),
        plan: row.get::<_, Option<i64>>(9).map(PlanId),
        subject: row.get(10),
    })
}
