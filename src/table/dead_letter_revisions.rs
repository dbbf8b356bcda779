//! `dead_letter_revisions`: the bodies that people have edited. The database adds the rows; here they are handed to it.

use time::OffsetDateTime;
use tokio_postgres::Row;

use super::plan_id::PlanId;
use crate::database::{DatabaseError, Transaction};
use crate::message::MessageKey;
use crate::seal::SealedBody;

/// An edited body that is to be added.
pub struct NewRevision {
    /// The letter.
    pub key: MessageKey,
    /// The JSON pointers of what was changed; an empty one means the whole body.
    pub paths: Vec<String>,
    /// The body, sealed for the letter and its plan.
    pub body: SealedBody,
}

/// Adds what a plan makes of letters that are open; what it has added before stays. The database notes who does, and refuses
/// where no reason was said.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn add(transaction: &Transaction, plan: PlanId, revisions: &[NewRevision]) -> Result<(), DatabaseError> {
    if revisions.is_empty() {
        return Ok(());
    }
    let sql = format!("SELECT {}.add_revisions($1, $2, $3, $4, $5)", transaction.schemas().own);
    let (sent, hashes) = super::key_columns(revisions.iter().map(|revision| &revision.key));
    let paths: Vec<String> = revisions.iter().map(|revision| revision.paths.join("\n")).collect();
    let bodies: Vec<&[u8]> = revisions.iter().map(|revision| revision.body.as_bytes()).collect();
    transaction.query("add edited bodies", &sql, &[&plan.0, &sent, &hashes, &paths, &bodies]).await.map(drop)
}

/// Notes that a plan tries what it made of these letters: later edits start from there.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn note_tried(transaction: &Transaction, plan: PlanId, keys: &[MessageKey]) -> Result<(), DatabaseError> {
    if keys.is_empty() {
        return Ok(());
    }
    let sql = format!("SELECT {}.try_revisions($1, $2, $3)", transaction.schemas().own);
    let (sent, hashes) = super::key_columns(keys);
    transaction.query("note what is tried", &sql, &[&plan.0, &sent, &hashes]).await.map(drop)
}

/// An edited body without the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The plan that made it, and its number among the letter's revisions.
    pub plan: PlanId,
    /// When it was made.
    pub made_at: OffsetDateTime,
    /// The database role that made it.
    pub role: String,
    /// Who it said it was.
    pub person: Option<String>,
    /// Why.
    pub reason: String,
    /// The JSON pointers of what was changed; an empty one means the whole body.
    pub paths: Vec<String>,
    /// When its plan first tried it.
    pub tried_at: Option<OffsetDateTime>,
}

/// The most revisions of a letter that are read.
const MOST: i64 = 100;

/// Reads the last hundred revisions of a letter, the newest first.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn of_letter(transaction: &Transaction, key: MessageKey) -> Result<Vec<Revision>, DatabaseError> {
    let sql = format!(
        "SELECT plan, made_at, role, person, reason, paths, tried_at FROM {}.dead_letter_revisions
         WHERE sent_at = $1 AND message_hash = $2 ORDER BY plan DESC LIMIT $3",
        transaction.schemas().own
    );
    let hash = &key.hash.as_bytes()[..];
    let rows = transaction.query("read edited bodies", &sql, &[&key.sent_at, &hash, &MOST]).await?;
    let revision = |row: &Row| Revision {
        plan: PlanId(row.get(0)),
        made_at: row.get(1),
        role: row.get(2),
        person: row.get(3),
        reason: row.get(4),
        paths: row.get(5),
        tried_at: row.get(6),
    };
    Ok(rows.iter().map(revision).collect())
}

/// Reads an edited body, to show it. The database notes who does, and refuses where no reason was said.
///
/// # Errors
///
/// [`DatabaseError`], also where there is no such revision.
pub async fn reveal(transaction: &Transaction, key: MessageKey, plan: PlanId) -> Result<SealedBody, DatabaseError> {
    let sql = format!("SELECT {}.reveal_revision($1, $2, $3)", transaction.schemas().own);
    let hash = &key.hash.as_bytes()[..];
    let row = transaction.query_one("reveal an edited body", &sql, &[&key.sent_at, &hash, &plan.0]).await?;
    Ok(SealedBody::from_bytes(row.get(0)))
}
