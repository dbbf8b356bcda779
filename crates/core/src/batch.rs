//! Verdicts in; one ordered, duplicate-free batch out, and what goes back to the queue.

use time::{Date, OffsetDateTime, UtcOffset};

use crate::decode::Rejection;
use crate::fault::Fault;
use crate::login::MaskedLogin;
use crate::message::{BodyHash, Delivery, MessageKey, NO_TIME, ProducerContext, ReceiptHandle};
use crate::seal::SealedBody;
use crate::verdict::{Content, LoginIdentity, Verdict};

/// One message of a batch, with every delivery of it that is in hand.
pub struct Entry {
    /// What claims the message.
    pub key: MessageKey,
    /// The key of the login, where the message is one that has a key.
    pub identity: Option<LoginIdentity>,
    /// The delivery that is recorded.
    pub delivery: Delivery,
    /// The other deliveries of the same message in the same batch.
    pub repeats: Vec<Delivery>,
    /// The keyed hash of the body.
    pub body_hash: BodyHash,
    /// The sealed body.
    pub sealed_body: SealedBody,
    /// The login to load, or the rejection to dead-letter.
    pub content: Content,
    /// Which span of its producer sent it, where that is kept.
    pub origin: Option<ProducerContext>,
    /// Whether an operator sent it back to the queue: if its letter is open, it is loaded as a replay loads it.
    pub is_requeued: bool,
}

impl Entry {
    /// The row to load, where the message is a login.
    pub fn login_row(&self) -> Option<LoginRow<'_>> {
        match &self.content {
            Content::Login(login) => {
                let sent_at = self.delivery.sent_at.time();
                Some(LoginRow { key: self.key, sent_at, login, origin: self.origin })
            }
            Content::Rejected(..) => None,
        }
    }

    /// The dead letter to write, where the message is none.
    pub fn dead_letter_row(&self) -> Option<DeadLetterRow<'_>> {
        match &self.content {
            Content::Login(_) => None,
            Content::Rejected(rejection, fault) => {
                Some(DeadLetterRow { fault: fault.as_deref().copied(), ..self.as_dead_letter(rejection) })
            }
        }
    }

    /// The dead letter to write where this is what is wrong with the message, and its body is right.
    pub fn as_dead_letter<'e>(&'e self, rejection: &'e Rejection) -> DeadLetterRow<'e> {
        let Self { key, delivery, sealed_body, .. } = self;
        DeadLetterRow { key: *key, delivery, rejection, fault: None, sealed_body }
    }

    /// Every delivery of the message that is in hand.
    pub fn deliveries(&self) -> impl Iterator<Item = &Delivery> {
        std::iter::once(&self.delivery).chain(&self.repeats)
    }

    /// The same message as a dead letter whose body is not at fault, and which claims no login's key.
    pub fn rejected(self, rejection: Rejection) -> Self {
        Self { content: Content::Rejected(rejection, None), identity: None, ..self }
    }

    /// The same message as a dead letter of its own kind, where the tables may have forgotten that it was loaded.
    pub fn forgotten(self) -> Self {
        let key = self.key.forgotten();
        Self { key, ..self.rejected(Rejection::OlderThanMemory) }
    }

    /// Whether the message was sent before this time, by what its queue says.
    pub fn is_older_than(&self, horizon: OffsetDateTime) -> bool {
        self.key.sent_at != NO_TIME && self.key.sent_at < horizon
    }

    fn of(verdict: Verdict) -> Self {
        let Verdict { delivery, hash, identity, body_hash, sealed_body, content, unknown_keys: _, origin, is_requeued } =
            verdict;
        let key = MessageKey::of(&delivery, hash);
        let identity = identity.filter(|_| matches!(content, Content::Login(_)));
        Self { key, identity, delivery, repeats: Vec::new(), body_hash, sealed_body, content, origin, is_requeued }
    }
}

/// A login with what its row needs beside it.
#[derive(Clone, Copy)]
pub struct LoginRow<'e> {
    /// The message that brought it.
    pub key: MessageKey,
    /// When the message was sent, else when it was received: the nearest thing to the login's own time that a message
    /// carries.
    pub sent_at: OffsetDateTime,
    /// The login.
    pub login: &'e MaskedLogin,
    /// Which span of its producer sent the message, where that is kept.
    pub origin: Option<ProducerContext>,
}

impl LoginRow<'_> {
    /// The UTC day of the login: that on which its message was sent, unless the body says another.
    pub fn day(&self) -> Date {
        self.login.day().unwrap_or_else(|| utc_day(self.sent_at))
    }
}

/// A rejection with what its dead letter needs beside it.
#[derive(Clone, Copy)]
pub struct DeadLetterRow<'e> {
    /// The message.
    pub key: MessageKey,
    /// Its last delivery.
    pub delivery: &'e Delivery,
    /// Why it is not a login.
    pub rejection: &'e Rejection,
    /// Where its body is wrong, where it is.
    pub fault: Option<Fault>,
    /// Its body.
    pub sealed_body: &'e SealedBody,
}

/// The UTC day of a time.
pub fn utc_day(time: OffsetDateTime) -> Date {
    time.to_offset(UtcOffset::UTC).date()
}

/// Messages to be recorded in one transaction, each once, in the order of their keys: by time and hash.
///
/// The order is what keeps two loaders with the same messages in hand from a deadlock: the second one waits at
/// the first claim they share, holding none that the other still wants.
pub struct Batch(Vec<Entry>);

/// Verdicts, sorted into what is recorded now and what goes back to the queue.
pub struct Sorted {
    /// Logins, and rejections that had their last attempt.
    pub batch: Batch,
    /// Rejections with attempts left.
    pub returned: Vec<Delivery>,
}

impl Sorted {
    /// Sorts verdicts. Every delivery is in the outcome once.
    ///
    /// A rejection has attempts left while its receive count is below `max_attempts`.
    pub fn from_verdicts(verdicts: impl IntoIterator<Item = Verdict>, max_attempts: u32) -> Self {
        let mut returned = Vec::new();
        let mut entries = Vec::new();
        for verdict in verdicts {
            let has_attempts_left = verdict.delivery.receive_count < max_attempts;
            if matches!(verdict.content, Content::Rejected(..)) && has_attempts_left {
                returned.push(verdict.delivery);
            } else {
                entries.push(Entry::of(verdict));
            }
        }
        // By keys, because entries are large: each is moved once, and not at every comparison. The sort is stable. Of a message
        // that was sent back, it is that delivery which is recorded, and not an older one.
        entries.sort_by_cached_key(|entry: &Entry| (entry.key, !entry.is_requeued));
        entries.dedup_by(|later, first| {
            let is_repeat = later.key == first.key;
            if is_repeat {
                first.repeats.push(later.delivery.clone());
            }
            is_repeat
        });
        Self { batch: Batch(entries), returned }
    }
}

impl Batch {
    /// The messages, in the order of their keys.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The number of messages.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The handles of every delivery in the batch.
    pub fn receipts(&self) -> impl Iterator<Item = &ReceiptHandle> {
        self.0.iter().flat_map(Entry::deliveries).map(|delivery| &delivery.receipt)
    }

    /// Splits the batch into so many parts of about the same size, none of them empty; a batch of one message stays one.
    pub fn split(self, parts: usize) -> Vec<Self> {
        let size = self.0.len().div_ceil(parts.max(1)).max(1);
        let mut rest = self.0.into_iter().peekable();
        let mut split = Vec::with_capacity(parts);
        while rest.peek().is_some() {
            split.push(Self(rest.by_ref().take(size).collect()));
        }
        split
    }

    /// The messages that an operator sent back to the queue, and the others.
    pub fn divide_requeued(self) -> (Self, Self) {
        let (requeued, others) = self.0.into_iter().partition(|entry| entry.is_requeued);
        (Self(requeued), Self(others))
    }

    /// The only message; the batch itself where it has another number of them.
    ///
    /// # Errors
    ///
    /// The batch.
    pub fn into_single(mut self) -> Result<Box<Entry>, Self> {
        match self.0.pop() {
            Some(entry) if self.0.is_empty() => Ok(Box::new(entry)),
            Some(entry) => {
                self.0.push(entry);
                Err(self)
            }
            None => Err(self),
        }
    }

    /// The same messages, those older than the horizon as dead letters. A message that is not new, because its claim still
    /// stands, stays as it is, however old it is.
    pub fn judged_by(self, horizon: OffsetDateTime, is_new: impl Fn(&MessageKey) -> bool) -> Self {
        let is_forgotten = |entry: &Entry| entry.is_older_than(horizon) && is_new(&entry.key);
        let judged = |entry: Entry| if is_forgotten(&entry) { entry.forgotten() } else { entry };
        let entries = self.0.into_iter().map(judged);
        let mut entries: Vec<Entry> = entries.collect();
        entries.sort_by_cached_key(|entry: &Entry| entry.key);
        Self(entries)
    }

    /// A batch of one message.
    pub fn of_one(entry: Entry) -> Self {
        Self(vec![entry])
    }

    /// The messages themselves, when the batch has served.
    pub fn into_entries(self) -> Vec<Entry> {
        self.0
    }
}
