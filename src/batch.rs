//! Verdicts in; one ordered, duplicate-free batch out, and what goes back to the queue.

use time::{Date, OffsetDateTime, UtcOffset};

use crate::decode::Rejection;
use crate::login::MaskedLogin;
use crate::message::{BodyHash, Delivery, MessageHash, ReceiptHandle};
use crate::seal::SealedBody;
use crate::verdict::{Content, Verdict};

/// One message of a batch, with every delivery of it that is in hand.
pub struct Entry {
    /// The message.
    pub hash: MessageHash,
    /// The hash under which the delivery that is recorded must be claimed too, where its hashes alone claim it; without
    /// one, its hash claims it together with when it was sent.
    pub second_hash: Option<MessageHash>,
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
}

impl Entry {
    /// The row to load, where the message is a login.
    pub fn login_row(&self) -> Option<LoginRow<'_>> {
        match &self.content {
            Content::Login(login) => Some(LoginRow { hash: self.hash, sent_at: self.delivery.sent_at.time(), login }),
            Content::Rejected(_) => None,
        }
    }

    /// The dead letter to write, where the message is none.
    pub fn dead_letter_row(&self) -> Option<DeadLetterRow<'_>> {
        match &self.content {
            Content::Login(_) => None,
            Content::Rejected(rejection) => {
                let Self { hash, delivery, sealed_body, .. } = self;
                Some(DeadLetterRow { hash: *hash, delivery, rejection, sealed_body })
            }
        }
    }

    /// Every delivery of the message that is in hand.
    pub fn deliveries(&self) -> impl Iterator<Item = &Delivery> {
        std::iter::once(&self.delivery).chain(&self.repeats)
    }

    /// The same message as a dead letter.
    pub fn rejected(self, rejection: Rejection) -> Self {
        Self { content: Content::Rejected(rejection), ..self }
    }

    /// Where the message stands among others, by what claims it: that is the same for whoever has it in hand.
    fn place(&self) -> (Option<OffsetDateTime>, MessageHash) {
        (self.second_hash.is_none().then_some(self.delivery.sent_at.time()), self.hash)
    }

    fn of(verdict: Verdict) -> Self {
        let Verdict { delivery, hash, second_hash, body_hash, sealed_body, content, unknown_keys: _ } = verdict;
        Self { hash, second_hash, delivery, repeats: Vec::new(), body_hash, sealed_body, content }
    }
}

/// A login with what its row needs beside it.
#[derive(Clone, Copy)]
pub struct LoginRow<'e> {
    /// The message that brought it.
    pub hash: MessageHash,
    /// When the message was sent: the nearest thing to the login's own time that a message carries.
    pub sent_at: OffsetDateTime,
    /// The login.
    pub login: &'e MaskedLogin,
}

impl LoginRow<'_> {
    /// The UTC day of the login.
    pub fn create_date(&self) -> Date {
        utc_day(self.sent_at)
    }
}

/// A rejection with what its dead letter needs beside it.
pub struct DeadLetterRow<'e> {
    /// The message.
    pub hash: MessageHash,
    /// Its last delivery.
    pub delivery: &'e Delivery,
    /// Why it is no login.
    pub rejection: &'e Rejection,
    /// Its body.
    pub sealed_body: &'e SealedBody,
}

/// The UTC day of a time.
pub fn utc_day(time: OffsetDateTime) -> Date {
    time.to_offset(UtcOffset::UTC).date()
}

/// Messages to be recorded in one transaction: each hash once, in the order of what claims them. First those that their
/// hashes alone claim, by hash; then those that are claimed together with when they were sent, by that time and hash, so
/// that they come to lie side by side at the end of the index.
///
/// The order is what keeps two loaders with the same messages in hand from a deadlock: whoever comes second waits at
/// the first claim they share, holding none that the other still wants. Only second hashes stand in no order: where two
/// releases judge the same messages differently, the server ends one of the transactions, and it runs again.
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
            if matches!(verdict.content, Content::Rejected(_)) && has_attempts_left {
                returned.push(verdict.delivery);
            } else {
                entries.push(Entry::of(verdict));
            }
        }
        // By keys, because entries are large: each is moved once, and not at every comparison. The sort is stable.
        entries.sort_by_cached_key(Entry::place);
        entries.dedup_by(|later, first| {
            let is_repeat = later.place() == first.place();
            if is_repeat {
                first.repeats.push(later.delivery.clone());
            }
            is_repeat
        });
        Self { batch: Batch(entries), returned }
    }
}

impl Batch {
    /// The messages, in the order of what claims them.
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

    /// Splits the batch in the middle; a batch of one message gives that message back.
    pub fn split(mut self) -> Split {
        match self.0.len() {
            0 | 1 => self.0.pop().map_or(Split::Nothing, |entry| Split::One(Box::new(entry))),
            length => {
                let second = self.0.split_off(length / 2);
                Split::Halves(self, Self(second))
            }
        }
    }

    /// The same messages in batches half the size, the last of them first; a batch of one message stays one.
    pub fn into_smaller(self) -> Vec<Self> {
        match self.split() {
            Split::Halves(first, second) => vec![second, first],
            Split::One(entry) => vec![Self::of_one(*entry)],
            Split::Nothing => Vec::new(),
        }
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

/// What splitting a batch gives.
pub enum Split {
    /// Two batches, neither empty, every message of the first before every one of the second.
    Halves(Batch, Batch),
    /// The only message.
    One(Box<Entry>),
    /// The batch was empty.
    Nothing,
}
