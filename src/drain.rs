//! A dead-letter queue of SQS into the table: each message as a dead letter, exactly once.
//!
//! A standard queue that gives a message up moves it with its MessageId and its SentTimestamp, and says from where it came. So the
//! message is claimed here as a loader of that queue claims it: one that was recorded before it was moved, or by a loader that still
//! had it in hand, is known, and is only deleted. What is new becomes a dead letter, whatever it is: a login becomes one that a
//! replay loads. It is deleted once the server says that this is committed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::acknowledge::{self, Deletes, DeletesRefused, acknowledge};
use crate::batch::Sorted;
use crate::database::{Database, DatabaseError, Patience, Transaction, persist};
use crate::decode::Form;
use crate::failpoint::{Step, around};
use crate::lease::{self, InHand};
use crate::load::Committed;
use crate::load::bury::{Buried, bury};
use crate::mask::Masker;
use crate::message::{Attributes, Identity, QueueIdentity, ReceivedMessage, TimeBasis};
use crate::metrics::Metrics;
use crate::queue::sqs::{SOURCE_QUEUE, SqsQueue};
use crate::queue::{Queue, QueueError};
use crate::receive::{ReceiveLimits, Received, Stride, by_time, receive};
use crate::retry::Pauses;
use crate::seal::{BodySealer, HashKey};
use crate::table::operator_actions::Said;
use crate::table::queues;
use crate::verdict::{Judge, Verdict};

/// How many long polls in a row bring nothing before the queue counts as empty: one of a queue that is spread over many servers
/// may miss a message.
const EMPTY_POLLS: u32 = 3;

/// How often in a row a receive may fail in passing.
const RECEIVES: u32 = 10;

/// How much a person who waits has taken at once, and for how long it is hidden from others.
pub const LIMITS: ReceiveLimits = ReceiveLimits {
    batch_size: 100,
    batch_bytes: 4 << 20,
    linger: Duration::from_secs(1),
    wait: Duration::from_secs(2),
    visibility_timeout: Duration::from_secs(60),
};

/// A queue that is drained.
pub struct Drain {
    /// The queue. It was asked for the sources of its messages.
    pub queue: SqsQueue,
    /// Where the letters go.
    pub database: Database,
    /// Hashes messages, as loaders do.
    pub hash_key: Arc<HashKey>,
    /// What the bodies are.
    pub form: Form,
    /// Masks what is looked at.
    pub masker: Masker,
    /// Seals the bodies.
    pub sealer: BodySealer,
    /// The scheme of a queue that no loader has loaded from.
    pub identity: Identity,
    /// How much is taken at once, and for how long it is hidden from others: [`LIMITS`], where nothing else is said.
    pub limits: ReceiveLimits,
    /// Who drains it, and why.
    pub said: Said,
}

/// What became of the messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Deliveries that came.
    pub received: u64,
    /// New letters, and messages that were recorded before.
    pub buried: Buried,
    /// Deliveries that were deleted.
    pub deleted: u64,
    /// Deliveries whose messages are recorded, and that the queue did not delete: they come again, and are known.
    pub not_deleted: u64,
    /// Deliveries without the time under which the messages of their queue are claimed: they stay in the queue.
    pub timeless: u64,
    /// How many messages the queue said it still hides at the end: somebody has them in hand, or was killed with them.
    pub hidden: Option<u64>,
}

/// Why a queue was not drained to its end. What was recorded until then stays so, and what was not deleted comes again.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// A FIFO queue gives what it moves another time.
    #[error(
        "--from-queue: {0} is a FIFO queue, and such a queue gives a message another SentTimestamp when it moves it"
    )]
    Fifo(String),
    /// The queue refuses.
    #[error("--from-queue: the queue cannot be received from: {0}")]
    Queue(#[from] QueueError),
    /// The queue refuses to delete.
    #[error(transparent)]
    Deletes(#[from] DeletesRefused),
    /// The database refuses.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl DrainError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Fifo(_) => {
                "nobody can tell which of its messages were loaded before: move them back to their queue (StartMessageMoveTask) under \
                 an --identity by which a login is known, as attribute:MessageDeduplicationId"
                    .to_owned()
            }
            Self::Queue(error) => error.remedy(),
            Self::Deletes(refused) => refused.remedy().to_owned(),
            Self::Database(error) => error.remedy().to_owned(),
        }
    }
}

impl Drain {
    /// Takes messages until the queue is empty, `limit` have come, or it is told to stop. `progress` is told after each batch.
    ///
    /// # Errors
    ///
    /// [`DrainError`]
    pub async fn run(
        &self,
        limit: Option<u64>,
        stopping: &CancellationToken,
        mut progress: impl FnMut(&Drained),
    ) -> Result<Drained, DrainError> {
        self.refuse_fifo()?;
        let deletes = Deletes::new(acknowledge::PATIENCE, self.limits.visibility_timeout, stopping.clone());
        let mut judges = Judges { drain: self, known: HashMap::new() };
        let mut drained = Drained::default();
        let (mut stride, mut pauses) = (Stride::default(), Pauses::through_an_outage());
        let (mut empty, mut failed) = (0, 0);
        while empty < EMPTY_POLLS && !stopping.is_cancelled() {
            deletes.settled().await?;
            let left = limit.map_or(u64::MAX, |limit| limit.saturating_sub(drained.received));
            if left == 0 {
                break;
            }
            let batch_size = self.limits.batch_size.min(usize::try_from(left).unwrap_or(usize::MAX));
            let limits = ReceiveLimits { batch_size, ..self.limits };
            let receiving = receive(&self.queue, &limits, &mut stride, stopping);
            match around(Step::Receive, receiving).await {
                Ok(received) if received.messages.is_empty() => empty += 1,
                Ok(received) => {
                    (empty, failed) = (0, 0);
                    pauses.reset();
                    self.take(received, &mut judges, &deletes, &mut drained).await?;
                    progress(&drained);
                }
                Err(error) if error.is_for_good() || failed == RECEIVES => return Err(error.into()),
                Err(error) => {
                    failed += 1;
                    tracing::warn!(%error, "the queue is asked again");
                    let pause = tokio::time::sleep(pauses.next_pause());
                    let _stopped = stopping.run_until_cancelled(pause).await;
                }
            }
        }
        drained.hidden = self.queue.depth().await.ok().map(|depth| depth.in_flight);
        Ok(drained)
    }

    fn refuse_fifo(&self) -> Result<(), DrainError> {
        match self.queue.facts().fifo {
            true => Err(DrainError::Fifo(self.queue.identity().as_str().to_owned())),
            false => Ok(()),
        }
    }

    /// The way of the messages of one gathering, queue by queue from which they were moved.
    async fn take(
        &self,
        received: Received,
        judges: &mut Judges<'_>,
        deletes: &Deletes,
        drained: &mut Drained,
    ) -> Result<(), DrainError> {
        let Received { messages, since, .. } = received;
        drained.received += messages.len() as u64;
        // What is in hand is counted for nobody: this is no loader.
        let holding = Metrics::default().hold(messages.len() as u64, 0, |_| {});
        let in_hand = InHand::new(messages.iter().map(|message| message.delivery.receipt.clone()), holding);
        let mut by_source: HashMap<QueueIdentity, Vec<ReceivedMessage>> = HashMap::new();
        for message in messages {
            by_source.entry(self.source_of(&message)).or_default().push(message);
        }
        for (source, messages) in by_source {
            let recording = self.record(&source, messages, judges, drained);
            let timeout = self.limits.visibility_timeout;
            let committed = lease::hold(&self.queue, &in_hand, timeout, since, recording).await?;
            in_hand.let_go(committed.deliveries(), |_, _| {});
            let acknowledged = around(Step::Delete, acknowledge(&self.queue, committed, deletes)).await;
            drained.deleted += acknowledged.deleted;
            drained.not_deleted += acknowledged.not_deleted;
        }
        Ok(())
    }

    /// The queue that gave a message up; what was sent here directly is of this queue itself.
    fn source_of(&self, message: &ReceivedMessage) -> QueueIdentity {
        let arn = message.attributes.get(SOURCE_QUEUE).and_then(|arn| str::from_utf8(arn).ok());
        arn.map_or_else(|| self.queue.identity().clone(), QueueIdentity::new)
    }

    async fn record(
        &self,
        source: &QueueIdentity,
        messages: Vec<ReceivedMessage>,
        judges: &mut Judges<'_>,
        drained: &mut Drained,
    ) -> Result<Committed, DrainError> {
        let seen = TimeBasis::of_first(messages.iter().map(|message| &message.delivery));
        let (basis, judge) = judges.of(source, seen).await?;
        let (messages, timeless) = by_time(messages, basis);
        drained.timeless += timeless.len() as u64;
        let verdicts: Vec<Verdict> =
            messages.into_iter().map(|message| judge.judge(of_scheme(message, judge))).collect();
        // Nobody tries again what is here.
        let batch = Sorted::from_verdicts(verdicts, 0).batch;
        let (committed, buried) = bury(&self.database, &self.said, source, batch).await?;
        drained.buried.add(&buried);
        Ok(committed)
    }
}

/// The message with the attribute that a loader of its queue would have asked for, and no other: they are sealed with the body.
fn of_scheme(message: ReceivedMessage, judge: &Judge) -> ReceivedMessage {
    let wanted = judge.identifier.identity().attribute();
    let attributes = message.attributes.iter().filter(|(name, _)| Some(*name) == wanted);
    let attributes: Attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    ReceivedMessage { attributes, ..message }
}

/// What makes verdicts of the messages of each queue, and what these are claimed under.
struct Judges<'d> {
    drain: &'d Drain,
    known: HashMap<QueueIdentity, (TimeBasis, Judge)>,
}

impl Judges<'_> {
    async fn of(&mut self, queue: &QueueIdentity, seen: TimeBasis) -> Result<(TimeBasis, &Judge), DatabaseError> {
        let (basis, judge) = match self.known.entry(queue.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(self.drain.judge_of(queue, seen).await?),
        };
        Ok((*basis, judge))
    }
}

impl Drain {
    /// By what a loader of the queue has recorded; where none has, it is recorded now.
    async fn judge_of(&self, queue: &QueueIdentity, seen: TimeBasis) -> Result<(TimeBasis, Judge), DatabaseError> {
        let ask = async |transaction: &Transaction| {
            let basis = queues::note(transaction, queue, &self.identity, seen).await?;
            Ok((basis, queues::read(transaction, queue).await?))
        };
        let (basis, record) = persist(Patience::WHILE_SOMEBODY_WAITS, || self.database.transaction(&ask)).await?;
        let scheme = record.map_or_else(|| self.identity.clone(), |record| record.scheme);
        let judge = Judge {
            form: self.form.clone(),
            identifier: self.hash_key.identifier(scheme, queue),
            masker: self.masker.clone(),
            sealer: self.sealer.clone(),
            max_attempts: 0,
        };
        Ok((basis, judge))
    }
}
