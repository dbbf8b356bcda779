//! Dead letters back to their queue, under the identity that they had.
//!
//! The message of a letter is sent again as it was delivered, or as it was edited and tried last, and says which message it was.
//! The letter stays open: what loads it is a loader that receives the message, and resolves the letter as a replay does. So
//! nothing can be lost or doubled here, whatever fails: what is sent twice is recognised, and what is not sent is open still.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::database::{Database, DatabaseError, Patience, Transaction, persist};
use crate::failpoint::{Step, around};
use crate::message::{Attributes, Identifier, Identity, MessageKey, Original, REQUEUED, queue_name};
use crate::queue::QueueError;
use crate::queue::sqs::{
    ConnectError, DEDUPLICATION_ID, Outgoing, QueueAddress, QueueFacts, Sender, SqsQueue, SqsSettings, deduplication_of,
};
use crate::seal::{BodyOpener, HashKey};
use crate::send::{EndedEarly, send_all};
use crate::table::dead_letters::{self, Filter, Pages, Returned, Status};
use crate::table::operator_actions::{self, Said};

/// How many letters are read at once. It bounds memory: a body is at most 1 MiB, and stands there twice or three times.
const CHUNK: u64 = 50;

const PATIENCE: Patience = Patience::WHILE_SOMEBODY_WAITS;

/// The message group of what is sent back to a FIFO queue, where its own is not known.
pub const GROUP: &str = "turnstile-requeued";

/// Sends dead letters back.
pub struct Requeue {
    /// Where they are.
    pub database: Database,
    /// Opens their bodies.
    pub opener: BodyOpener,
    /// Signs what is sent. Loaders with another one do not believe it.
    pub hash_key: Arc<HashKey>,
    /// Who sends them back, and why.
    pub said: Said,
    /// Whether an edited letter is sent as it was delivered.
    pub as_delivered: bool,
}

/// What became of the letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Messages that the queue took.
    pub sent: u64,
    /// Of these, at most so many are in the queue twice.
    pub perhaps_twice: u64,
    /// Letters that were not sent, by the queue's code, and what stood in their way.
    pub not_sent: BTreeMap<String, u64>,
}

impl Report {
    /// How many letters were not sent.
    pub fn not_sent_count(&self) -> u64 {
        self.not_sent.values().sum()
    }

    fn miss(&mut self, why: impl Into<String>, letters: u64) {
        if letters > 0 {
            *self.not_sent.entry(why.into()).or_default() += letters;
        }
    }
}

/// It did not come to its end. What the report says holds.
#[derive(Debug, thiserror::Error)]
#[error("sending back stopped: {error}")]
pub struct Unfinished {
    /// What became of the letters before.
    pub report: Report,
    /// What stopped it.
    #[source]
    pub error: Stopped,
}

/// What stopped it.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The queue of the letters cannot be sent to.
    #[error(transparent)]
    Origin(#[from] NoOrigin),
    /// The queue takes nothing.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl Stopped {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Database(error) => error.remedy().to_owned(),
            Self::Origin(error) => error.remedy(),
            Self::Queue(error) => error.remedy(),
        }
    }
}

/// Why a letter is not sent.
const OLD_OR_UNTIMED: &str = "may-be-loaded";
const SEALED: &str = "sealed";
const OTHER_MESSAGE: &str = "other-message";
const NOT_UTF8: &str = "not-utf-8";

/// What [`Report::not_sent`] means by a word that is no code of the queue's.
pub fn in_words(why: &str) -> Option<&'static str> {
    match why {
        OLD_OR_UNTIMED => Some("resolved meanwhile, older than memory, or of a queue without SentTimestamps"),
        SEALED => Some("their bodies do not open with this keyring"),
        OTHER_MESSAGE => Some("their hashes are not those of their queue and MessageId"),
        NOT_UTF8 => Some("their bodies are not UTF-8, which no queue takes"),
        _ => None,
    }
}

impl Requeue {
    /// Sends back the open letters that match, queue by queue; `settings` are those for a queue at an address. `progress` is told
    /// after each chunk how many were dealt with. What becomes a dead letter meanwhile is not sent.
    ///
    /// # Errors
    ///
    /// [`Unfinished`]
    pub async fn run(
        &self,
        filter: &Filter,
        settings: impl Fn(QueueAddress) -> SqsSettings,
        mut progress: impl FnMut(u64),
    ) -> Result<Report, Unfinished> {
        let mut report = Report::default();
        match self.send_back(filter, settings, &mut report, &mut progress).await {
            Ok(()) => Ok(report),
            Err(error) => Err(Unfinished { report, error }),
        }
    }

    async fn send_back(
        &self,
        filter: &Filter,
        settings: impl Fn(QueueAddress) -> SqsSettings,
        report: &mut Report,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), Stopped> {
        let queues = persist(PATIENCE, || self.database.snapshot(dead_letters::queues)).await?;
        let wanted = filter.search.queue.as_deref();
        let is_meant = |arn: &String| wanted.is_none_or(|queue| arn == queue || queue_name(arn) == queue);
        for arn in queues.into_iter().filter(is_meant) {
            let mut meant = filter.clone().with_status(Status::Open);
            meant.search.queue = Some(arn.clone());
            let mut pages = Pages::of(&self.database, &meant, CHUNK).await?;
            let mut page = pages.next().await?;
            if page.is_none() {
                continue;
            }
            let queue = Origin::find(&arn, &settings).await?;
            let identifier = self.hash_key.identifier(Identity::MessageId, &queue.facts.identity);
            while let Some(keys) = page {
                self.send_chunk(&keys, &queue, &identifier, report).await?;
                progress(report.sent + report.not_sent_count());
                page = pages.next().await?;
            }
        }
        Ok(())
    }

    async fn send_chunk(
        &self,
        keys: &[MessageKey],
        queue: &Origin,
        identifier: &Identifier,
        report: &mut Report,
    ) -> Result<(), Stopped> {
        let read = async |transaction: &Transaction| {
            operator_actions::say(transaction, &self.said).await?;
            around(Step::RequeueRead, dead_letters::requeue(transaction, keys, self.as_delivered)).await
        };
        let letters = persist(PATIENCE, || self.database.transaction(&read)).await?;
        report.miss(OLD_OR_UNTIMED, (keys.len() - letters.len()) as u64);
        let mut messages = Vec::with_capacity(letters.len());
        for letter in &letters {
            match self.message(letter, queue, identifier) {
                Ok(message) => messages.push(message),
                Err(why) => report.miss(why, 1),
            }
        }
        let sent = around(Step::RequeueSend, send_all(messages, &queue.sender)).await;
        report.sent += sent.sent;
        report.perhaps_twice += sent.perhaps_twice;
        sent.not_sent_by_code.into_iter().for_each(|(code, letters)| report.miss(code, letters));
        match sent.stopped {
            Some(EndedEarly::Queue(error)) => Err(error.into()),
            // There is no file, nobody looks at the bodies, and no signal is heeded.
            Some(EndedEarly::File(_) | EndedEarly::Misfit(_) | EndedEarly::Signal) | None => Ok(()),
        }
    }

    fn message(&self, letter: &Returned, queue: &Origin, identifier: &Identifier) -> Result<Outgoing, &'static str> {
        let hash = letter.key.hash;
        if identifier.message(&letter.message_id) != hash {
            return Err(OTHER_MESSAGE);
        }
        let opened = self.opener.open_version(hash, letter.revision.map(|plan| plan.0), &letter.body);
        let (body, attributes) = opened.map_err(|_| SEALED)?;
        let original = Original { message_id: letter.message_id.clone(), sent_at: letter.key.sent_at };
        let note = identifier.requeue_note(&original, &body, &attributes);
        let text = str::from_utf8(body.as_bytes()).map_err(|_| NOT_UTF8)?;
        let (group, deduplication_id) = queue.deduplication(&attributes);
        let own = attributes.iter().filter(|(name, _)| !queue.is_of_system(name));
        let own = own.map(|(name, value)| (name.to_owned(), value.to_vec()));
        let attributes = own.chain([(REQUEUED.to_owned(), note.as_str().as_bytes().to_vec())]).collect();
        Ok(Outgoing { deduplication_id, group, attributes, ..Outgoing::of(text) })
    }
}

/// The queue that delivered the letters.
#[derive(Clone, Debug)]
struct Origin {
    facts: QueueFacts,
    sender: Sender,
}

/// Why a queue cannot be sent to.
#[derive(Debug, thiserror::Error)]
pub enum NoOrigin {
    /// It cannot be connected to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There is another one of its name.
    #[error("the queue {name} has the ARN {found}, and the letters are of {wanted}")]
    Another {
        /// The name.
        name: String,
        /// The ARN of the queue that was found.
        found: String,
        /// The ARN of the letters.
        wanted: String,
    },
}

impl NoOrigin {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Connect(error) => error.remedy(),
            Self::Another { .. } => {
                "set the region, account and endpoint of their queue (AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL)"
                    .to_owned()
            }
        }
    }
}

impl Origin {
    /// Finds the queue of this ARN by its name, with the standard AWS settings; `settings` are those for a queue at an address.
    ///
    /// # Errors
    ///
    /// [`NoOrigin`]
    async fn find(arn: &str, settings: impl FnOnce(QueueAddress) -> SqsSettings) -> Result<Self, NoOrigin> {
        let name = queue_name(arn).to_owned();
        let settings = settings(QueueAddress::Name(name.clone()));
        let facts = SqsQueue::connect(&settings).await?.facts().clone();
        let found = facts.identity.as_str();
        if found != arn {
            return Err(NoOrigin::Another { name, found: found.to_owned(), wanted: arn.to_owned() });
        }
        Ok(Self { facts, sender: Sender::connect(&settings, GROUP).await? })
    }

    /// Group and deduplication id for a FIFO queue: those that the message had, where its key was made of them. Within five minutes
    /// of the first sending, such a queue takes it and delivers nothing; the letter is open still.
    fn deduplication(&self, attributes: &Attributes) -> (Option<String>, Option<String>) {
        if !self.facts.fifo {
            return (None, None);
        }
        match deduplication_of(attributes, self.facts.deduplicates_by_group) {
            Some((group, id)) => (group, Some(id)),
            None => (None, Some(uuid::Uuid::new_v4().to_string())),
        }
    }

    fn is_of_system(&self, name: &str) -> bool {
        self.facts.fifo && name == DEDUPLICATION_ID
    }
}
