//! Messages that an operator brings from elsewhere, recorded as dead letters.
//!
//! An operator's role writes no logins: whatever a message is, a replay loads it. The claim is the one that a loader makes, in the
//! same order: of a loader and an import, the second finds the message taken. The database claims and writes by one function of
//! its own.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use super::Committed;
use crate::batch::{Batch, DeadLetterRow, Entry};
use crate::database::{Database, DatabaseError, Patience, Transaction, persist};
use crate::decode::Rejection;
use crate::failpoint::{Step, around};
use crate::fault::Fault;
use crate::message::{MessageKey, QueueIdentity};
use crate::table::dead_letters::{self, NewLetter};
use crate::table::operator_actions::{self, Said};
use crate::table::{horizon, processed_messages};
use crate::verdict::Content;

/// What became of messages that were brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buried {
    /// New letters by their codes.
    pub new: BTreeMap<String, u64>,
    /// Messages that were recorded before: nothing changed for them.
    pub recorded: u64,
}

impl Buried {
    fn of<'l>(letters: impl Iterator<Item = &'l NewLetter>, recorded: u64) -> Self {
        let mut buried = Self { recorded, ..Self::default() };
        for letter in letters {
            *buried.new.entry(letter.code.clone()).or_default() += 1;
        }
        buried
    }

    /// The same and these.
    pub fn add(&mut self, other: &Self) {
        for (code, letters) in &other.new {
            *self.new.entry(code.clone()).or_default() += letters;
        }
        self.recorded += other.recorded;
    }

    /// How many new letters there are.
    pub fn letters(&self) -> u64 {
        self.new.values().sum()
    }
}

/// Records messages of one queue as dead letters, and gives back what lets their deliveries be deleted. A body that is a login
/// becomes [`Rejection::Redriven`].
///
/// # Errors
///
/// [`DatabaseError`], after half a minute if it might pass: what was recorded until then comes again, and is known.
pub async fn bury(
    database: &Database,
    said: &Said,
    queue: &QueueIdentity,
    batch: Batch,
) -> Result<(Committed, Buried), DatabaseError> {
    let as_letter = |entry: Entry| match entry.content {
        Content::Login(_) => entry.rejected(Rejection::Redriven),
        Content::Rejected(..) => entry,
    };
    let entries: Vec<Entry> = batch.into_entries().into_iter().map(as_letter).collect();
    let letters: Vec<NewLetter> = entries.iter().filter_map(|entry| letter(entry, queue)).collect();
    let buried = bury_letters(database, said, &letters).await?;
    let deliveries = entries.iter().flat_map(Entry::deliveries).cloned().collect();
    Ok((Committed { deliveries }, buried))
}

fn letter(entry: &Entry, queue: &QueueIdentity) -> Option<NewLetter> {
    let DeadLetterRow { key, delivery, rejection, fault, sealed_body } = entry.dead_letter_row()?;
    Some(NewLetter {
        key,
        queue: queue.clone(),
        code: rejection.code().to_owned(),
        detail: rejection.to_string(),
        field: rejection.field().map(|field| field.key.to_owned()),
        place: fault.as_ref().map(Fault::stored),
        body: sealed_body.clone(),
        body_hash: entry.body_hash,
        message_id: delivery.message_id.as_str().to_owned(),
        receive_count: dead_letters::receive_count(delivery),
        sent_timestamp: delivery.sent_at.of_queue(),
        received_at: delivery.received_at,
        is_discarded: false,
    })
}

/// Records letters in one transaction, each once and in the order of their keys. A message that is recorded already is left alone;
/// one that is older than what the tables remember becomes [`Rejection::OlderThanMemory`].
///
/// # Errors
///
/// [`DatabaseError`], after half a minute if it might pass.
pub async fn bury_letters(database: &Database, said: &Said, letters: &[NewLetter]) -> Result<Buried, DatabaseError> {
    let write = async |transaction: &Transaction| {
        operator_actions::say(transaction, said).await?;
        write(transaction, letters).await
    };
    persist(Patience::WHILE_SOMEBODY_WAITS, || database.transaction(&write)).await
}

/// What would become of letters, if nothing changed meanwhile. Nothing is written.
///
/// # Errors
///
/// [`DatabaseError`], after half a minute if it might pass.
pub async fn foresee(database: &Database, letters: &[NewLetter]) -> Result<Buried, DatabaseError> {
    let look = async |seen: &Transaction| {
        let (wanted, recorded) = judged(seen, letters).await?;
        let keys: Vec<MessageKey> = wanted.iter().map(|letter| letter.key).collect();
        let standing = processed_messages::recorded(seen, &keys).await?;
        let new = wanted.iter().filter(|letter| !standing.contains(&letter.key)).map(AsRef::as_ref);
        Ok(Buried::of(new, recorded + standing.len() as u64))
    };
    persist(Patience::WHILE_SOMEBODY_WAITS, || database.snapshot(&look)).await
}

async fn write(transaction: &Transaction, letters: &[NewLetter]) -> Result<Buried, DatabaseError> {
    let (mut wanted, mut recorded) = judged(transaction, letters).await?;
    wanted.sort_by_key(|letter| letter.key);
    let wanted: Vec<&NewLetter> = wanted.iter().map(AsRef::as_ref).collect();
    let new = around(Step::Import, dead_letters::import(transaction, &wanted)).await?;
    recorded += (wanted.len() - new.len()) as u64;
    if recorded > 0 {
        transaction.rely_on_earlier_commits().await?;
    }
    Ok(Buried::of(wanted.into_iter().filter(|letter| new.contains(&letter.key)), recorded))
}

/// The letters that may be new, those older than the horizon as such; and how many are recorded before it. Of these the claims may
/// be gone, but where one stands, it says more than the horizon.
async fn judged<'l>(
    transaction: &Transaction,
    letters: &'l [NewLetter],
) -> Result<(Vec<Cow<'l, NewLetter>>, u64), DatabaseError> {
    let horizon = horizon::retained_since(transaction).await?;
    let older = letters.iter().filter(|letter| letter.is_older_than(horizon));
    let older: Vec<MessageKey> = older.map(|letter| letter.key).collect();
    let standing: HashSet<MessageKey> = match older.is_empty() {
        true => HashSet::new(),
        false => processed_messages::recorded(transaction, &older).await?,
    };
    let may_be_new = letters.iter().filter(|letter| !standing.contains(&letter.key));
    let judged = may_be_new.map(|letter| match letter.is_older_than(horizon) {
        true => Cow::Owned(letter.forgotten()),
        false => Cow::Borrowed(letter),
    });
    Ok((judged.collect(), standing.len() as u64))
}
