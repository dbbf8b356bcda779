//! Dead letters that leave the table for a file, and those that come into it from elsewhere. The database writes the rows; here
//! they are handed to it.

use std::collections::HashSet;

use time::OffsetDateTime;
use tokio_postgres::Row;

use crate::database::{DatabaseError, Transaction};
use crate::decode::Rejection;
use crate::message::{BodyHash, MessageKey, NO_TIME, QueueIdentity};
use crate::seal::SealedBody;
use crate::table::plan_id::PlanId;
use crate::table::{key_columns, key_from};

/// The bodies of a letter, as they are sealed.
pub struct Exported {
    /// The message.
    pub key: MessageKey,
    /// The body as it was delivered.
    pub body: SealedBody,
    /// What an edit made of it that was tried last, with the plan that it is sealed for.
    pub edited: Option<(PlanId, SealedBody)>,
}

/// Reads the sealed bodies of letters of any status, to write them to a file. The database notes who does.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn export(transaction: &Transaction, keys: &[MessageKey]) -> Result<Vec<Exported>, DatabaseError> {
    let sql = format!(
        "SELECT sent_at, message_hash, sealed_body, revision, edited_body FROM {}.export_letters($1, $2)",
        transaction.schemas().own
    );
    let (sent, hashes) = key_columns(keys);
    let rows = transaction.query("export dead letters", &sql, &[&hashes, &sent]).await?;
    let exported = |row: &Row| {
        let edited = row.get::<_, Option<i64>>(3).map(PlanId);
        Ok(Exported {
            key: key_from(transaction, row)?,
            body: SealedBody::from_bytes(row.get(2)),
            edited: edited.map(|plan| (plan, SealedBody::from_bytes(row.get(4)))),
        })
    };
    rows.iter().map(exported).collect()
}

/// A letter that comes from elsewhere.
#[derive(Clone)]
pub struct NewLetter {
    /// The message.
    pub key: MessageKey,
    /// The queue that delivered it.
    pub queue: QueueIdentity,
    /// Code of the rejection.
    pub code: String,
    /// The rejection in words.
    pub detail: String,
    /// The field of the login that is wrong.
    pub field: Option<String>,
    /// Where the body is wrong, as it is stored.
    pub place: Option<String>,
    /// The body, sealed for this message.
    pub body: SealedBody,
    /// The keyed hash of the body.
    pub body_hash: BodyHash,
    /// SQS MessageId.
    pub message_id: String,
    /// Receive count at the last delivery.
    pub receive_count: i32,
    /// When the message was sent, where its queue said so.
    pub sent_timestamp: Option<OffsetDateTime>,
    /// When its last delivery was received.
    pub received_at: OffsetDateTime,
    /// Whether somebody discarded it elsewhere: it is discarded here too.
    pub is_discarded: bool,
}

impl NewLetter {
    /// Whether the message was sent before this time, by what its queue says.
    pub fn is_older_than(&self, horizon: OffsetDateTime) -> bool {
        self.key.sent_at != NO_TIME && self.key.sent_at < horizon
    }

    /// The letter of the same message where the tables may have forgotten that it was loaded.
    pub fn forgotten(&self) -> Self {
        let rejection = Rejection::OlderThanMemory;
        Self {
            key: self.key.forgotten(),
            code: rejection.code().to_owned(),
            detail: rejection.to_string(),
            field: None,
            place: None,
            ..self.clone()
        }
    }
}

/// Claims the messages that are not recorded, writes their letters, and gives back which they are: both of a message, or neither.
/// They come in the order of their keys, each once. The database notes it for each.
///
/// Where another transaction is making the same claim, this waits until it ends.
///
/// # Errors
///
/// [`DatabaseError`], also where the horizon has moved past one of them meanwhile: the transaction must run again.
pub async fn import(transaction: &Transaction, letters: &[&NewLetter]) -> Result<HashSet<MessageKey>, DatabaseError> {
    let sql = format!(
        "SELECT sent_at, message_hash FROM {}.import_letters($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        transaction.schemas().own
    );
    let (sent, hashes) = key_columns(letters.iter().map(|letter| &letter.key));
    let queues: Vec<&str> = letters.iter().map(|letter| letter.queue.as_str()).collect();
    let codes: Vec<&str> = letters.iter().map(|letter| letter.code.as_str()).collect();
    let details: Vec<&str> = letters.iter().map(|letter| letter.detail.as_str()).collect();
    let fields: Vec<Option<&str>> = letters.iter().map(|letter| letter.field.as_deref()).collect();
    let places: Vec<Option<&str>> = letters.iter().map(|letter| letter.place.as_deref()).collect();
    let bodies: Vec<&[u8]> = letters.iter().map(|letter| letter.body.as_bytes()).collect();
    let body_hashes: Vec<&[u8]> = letters.iter().map(|letter| &letter.body_hash.as_bytes()[..]).collect();
    let message_ids: Vec<&str> = letters.iter().map(|letter| letter.message_id.as_str()).collect();
    let counts: Vec<i32> = letters.iter().map(|letter| letter.receive_count).collect();
    let by_queue: Vec<Option<OffsetDateTime>> = letters.iter().map(|letter| letter.sent_timestamp).collect();
    let received: Vec<OffsetDateTime> = letters.iter().map(|letter| letter.received_at).collect();
    let discarded: Vec<bool> = letters.iter().map(|letter| letter.is_discarded).collect();
    let rows = transaction
        .query(
            "import dead letters",
            &sql,
            &[
                &sent,
                &hashes,
                &queues,
                &codes,
                &details,
                &fields,
                &places,
                &bodies,
                &body_hashes,
                &message_ids,
                &counts,
                &by_queue,
                &received,
                &discarded,
            ],
        )
        .await?;
    rows.iter().map(|row| key_from(transaction, row)).collect()
}
