//! Amazon SQS, and every server that speaks its protocol, through the AWS SDK.
//!
//! Region, credentials and endpoint come from the standard AWS settings (environment, profile, container, instance).
//! The SDK sets no deadline for a reply, checks no MD5 and reads no reply that holds invalid UTF-8; here it does.

mod address;
mod calls;
mod connect;
mod delivery;
mod endpoint;
mod odd_reply;
mod send;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{BuildError, SdkError};
use aws_sdk_sqs::operation::receive_message::{ReceiveMessageError, ReceiveMessageOutput};
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    MessageSystemAttributeName, QueueAttributeName,
};
use time::OffsetDateTime;

pub use self::address::{NoQueueAddress, QueueAddress, QueueUrl};
pub use self::connect::{ConnectError, QueueFacts};
pub use self::delivery::{DEDUPLICATION_ID, SOURCE_QUEUE, deduplication_of};
pub use self::send::{Outgoing, Sender};

use self::calls::Begun;
use self::connect::Place;
use self::delivery::{Damaged, Delivered, Producers};
use super::answers::in_order;
use super::{Answer, Depth, Fault, MAX_WAIT, MESSAGES_PER_CALL, Queue, QueueError, Refusal};
use crate::aws::caller::Caller;
use crate::aws::endpoint::aws_settings;
use crate::message::{QueueIdentity, REQUEUED, ReceiptHandle, ReceivedMessage};
use crate::metrics::{Metrics, Operation, Outcome};

/// Which queue to connect to, and how.
#[derive(Clone, Debug)]
pub struct SqsSettings {
    /// The queue's name or URL.
    pub queue: QueueAddress,
    /// The message attribute that [`Identity::attribute`](crate::message::Identity::attribute) wants with each
    /// message; no other is asked for.
    pub identity_attribute: Option<String>,
    /// How long to wait for a queue that does not exist yet, or whose server does not answer yet. Zero: not at all.
    pub wait_for_queue: Duration,
    /// Whether to ask which span of its producer sent each message.
    pub asks_producers: bool,
    /// Whether to ask which queue gave each message up ([`SOURCE_QUEUE`]), and for all of its attributes: which of them is the
    /// login's key depends on that queue.
    pub asks_sources: bool,
    /// Whether the endpoint of the AWS settings may lead the calls elsewhere than the host of the queue's URL.
    pub allow_endpoint_override: bool,
    /// Whether a server elsewhere than on this machine may be reached in clear.
    pub allow_clear_queue: bool,
    /// How long a call may take in all; a receive may take as long as it waits, and this.
    pub call_deadline: Duration,
    /// Where the calls are counted.
    pub metrics: Metrics,
}

impl SqsSettings {
    /// No attribute, no producers, no waiting, the queue's own host, nothing in clear over a network, 5 s a call.
    pub fn new(queue: QueueAddress) -> Self {
        Self {
            queue,
            identity_attribute: None,
            asks_producers: false,
            asks_sources: false,
            wait_for_queue: Duration::ZERO,
            allow_endpoint_override: false,
            allow_clear_queue: false,
            call_deadline: Duration::from_secs(5),
            metrics: Metrics::default(),
        }
    }
}

/// A queue of Amazon SQS. Clones share their connections.
#[derive(Clone, Debug)]
pub struct SqsQueue(Arc<Connected>);

#[derive(Debug)]
struct Connected {
    receiver: Caller<Client>,
    controller: Caller<Client>,
    endpoint: String,
    facts: QueueFacts,
    call_deadline: Duration,
    system_attributes: Vec<MessageSystemAttributeName>,
    message_attributes: Vec<String>,
    producers: Producers,
    metrics: Metrics,
    /// Whether it was said that the server does not tell the system's attributes.
    silence_told: AtomicBool,
}

impl SqsQueue {
    /// Finds the queue with the standard AWS settings, and asks it for its attributes.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], which says what to do.
    pub async fn connect(settings: &SqsSettings) -> Result<Self, ConnectError> {
        Self::connect_with(settings, &aws_settings().await).await
    }

    /// The same with AWS settings from elsewhere than the environment.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], which says what to do.
    pub async fn connect_with(settings: &SqsSettings, aws: &SdkConfig) -> Result<Self, ConnectError> {
        let place = Place::new(settings, aws).await?;
        let controller = place.controller();
        let look = || async { place.ask(&controller, place.find(&controller).await?).await };
        let facts = place.wait_for(settings.wait_for_queue, look).await?;
        let (mut system_attributes, mut message_attributes) =
            wanted(settings.identity_attribute.clone(), facts.deduplicates_by_group);
        if settings.asks_sources {
            system_attributes.push(MessageSystemAttributeName::DeadLetterQueueSourceArn);
            message_attributes = vec!["All".to_owned()];
        }
        let producers = match settings.asks_producers {
            true => Producers::asked_for(&mut system_attributes, &mut message_attributes),
            false => Producers::Unasked,
        };
        Ok(Self(Arc::new(Connected {
            receiver: place.receiver(MAX_WAIT + settings.call_deadline),
            controller,
            endpoint: place.endpoint(),
            facts,
            call_deadline: settings.call_deadline,
            system_attributes,
            message_attributes,
            producers,
            metrics: settings.metrics.clone(),
            silence_told: AtomicBool::new(false),
        })))
    }

    /// Where the calls go.
    pub fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    /// What the queue said of itself when it was connected to.
    pub fn facts(&self) -> &QueueFacts {
        &self.0.facts
    }

    /// By how much the server's clock was ahead of ours, if its reply told its time: right to about a second and the
    /// time that the reply took.
    pub fn clock_difference(&self) -> Option<time::Duration> {
        self.0.controller.clock_difference()
    }

    /// How many received messages were not delivered on since the start, because their bodies did not match their
    /// MD5 or they had no id.
    pub fn damaged(&self) -> u64 {
        self.0.metrics.snapshot().messages.get((Outcome::Damaged,))
    }

    fn deliver(&self, delivered: Vec<Delivered>) -> Vec<ReceivedMessage> {
        let received_at = OffsetDateTime::now_utc();
        if is_told_for_the_first_time(&self.0.silence_told, &delivered) {
            tracing::warn!(
                "the queue says neither when a message was sent nor how often it was received: what is not a login \
                 comes again until the queue drops it, and never becomes a dead letter"
            );
        }
        let mut messages = Vec::with_capacity(delivered.len());
        for message in delivered {
            match message.into_message(received_at, self.0.producers) {
                Ok(message) => messages.push(message),
                Err(damaged) => self.count_damaged(&damaged),
            }
        }
        messages
    }

    fn count_damaged(&self, damaged: &Damaged) {
        self.0.metrics.count(|figures| {
            figures.received.add((), 1);
            figures.messages.add((Outcome::Damaged,), 1);
        });
        let message_id = damaged.message_id.as_ref().map_or("unknown", |id| id.as_str());
        tracing::warn!(
            message_id,
            "a message arrived damaged (its MD5 does not match, or it has no id): it will come again"
        );
    }
}

impl Queue for SqsQueue {
    fn identity(&self) -> &QueueIdentity {
        &self.0.facts.identity
    }

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        visibility_timeout: Duration,
    ) -> Result<Vec<ReceivedMessage>, QueueError> {
        let begun = Begun::now(Operation::Receive);
        let answer = self.receive_uncounted(max, wait, visibility_timeout).await;
        begun.ended(&self.0.metrics, answer)
    }

    async fn delete(&self, receipts: &[ReceiptHandle]) -> Result<Vec<Answer<()>>, QueueError> {
        if receipts.is_empty() {
            return Ok(Vec::new());
        }
        let begun = Begun::now(Operation::Delete);
        let answer = self.delete_uncounted(receipts).await;
        begun.ended(&self.0.metrics, answer)
    }

    async fn change_visibility(&self, changes: &[(ReceiptHandle, Duration)]) -> Result<Vec<Answer<()>>, QueueError> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let begun = Begun::now(Operation::ChangeVisibility);
        let answer = self.change_visibility_uncounted(changes).await;
        begun.ended(&self.0.metrics, answer)
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        let begun = Begun::now(Operation::Attributes);
        let answer = self.depth_uncounted().await;
        begun.ended(&self.0.metrics, answer)
    }
}

/// The calls themselves.
impl SqsQueue {
    async fn receive_uncounted(
        &self,
        max: usize,
        wait: Duration,
        visibility_timeout: Duration,
    ) -> Result<Vec<ReceivedMessage>, QueueError> {
        const CALL: &str = "ReceiveMessage";
        let wait = Duration::from_secs(wait.min(MAX_WAIT).as_secs());
        let attempt = self.0.receiver.attempt();
        #[expect(deprecated, reason = "servers from before the list was renamed read only the older one")]
        let call = (attempt.receive_message())
            .queue_url(&self.0.facts.url)
            .max_number_of_messages(max.clamp(1, MESSAGES_PER_CALL) as i32)
            .wait_time_seconds(whole_seconds(wait))
            .visibility_timeout(whole_seconds(visibility_timeout))
            .set_message_system_attribute_names(Some(self.0.system_attributes.clone()))
            .set_attribute_names(Some(by_their_older_list(&self.0.system_attributes)))
            .set_message_attribute_names(Some(self.0.message_attributes.clone()))
            .send();
        // The client's own deadline allows for the longest wait; this call's is tighter.
        let Ok(reply) = tokio::time::timeout(wait + self.0.call_deadline, call).await else {
            return Err(self.0.receiver.unanswered(CALL, &attempt));
        };
        match reply {
            Ok(reply) => Ok(self.deliver(read(reply))),
            Err(error) => match read_again(&error) {
                Some(delivered) => Ok(self.deliver(delivered)),
                None => Err(self.0.receiver.failure(CALL, &attempt, &error)),
            },
        }
    }

    async fn delete_uncounted(&self, receipts: &[ReceiptHandle]) -> Result<Vec<Answer<()>>, QueueError> {
        const CALL: &str = "DeleteMessageBatch";
        let entries = receipts.iter().enumerate().map(|(index, receipt)| {
            DeleteMessageBatchRequestEntry::builder().id(index.to_string()).receipt_handle(receipt.as_str()).build()
        });
        let entries = entries.collect::<Result<Vec<_>, _>>().map_err(|error| unbuilt(CALL, &error))?;
        let attempt = self.0.controller.attempt();
        let call = attempt.delete_message_batch().queue_url(&self.0.facts.url).set_entries(Some(entries));
        let reply = call.send().await.map_err(|error| self.0.controller.failure(CALL, &attempt, &error))?;
        let deleted = reply.successful.into_iter().map(|done| (done.id, ()));
        Ok(in_order(receipts.len(), deleted, reply.failed.into_iter().map(refused)))
    }

    async fn change_visibility_uncounted(
        &self,
        changes: &[(ReceiptHandle, Duration)],
    ) -> Result<Vec<Answer<()>>, QueueError> {
        const CALL: &str = "ChangeMessageVisibilityBatch";
        let entries = changes.iter().enumerate().map(|(index, (receipt, hidden))| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(receipt.as_str())
                .visibility_timeout(whole_seconds(*hidden))
                .build()
        });
        let entries = entries.collect::<Result<Vec<_>, _>>().map_err(|error| unbuilt(CALL, &error))?;
        let attempt = self.0.controller.attempt();
        let call = attempt.change_message_visibility_batch().queue_url(&self.0.facts.url).set_entries(Some(entries));
        let reply = call.send().await.map_err(|error| self.0.controller.failure(CALL, &attempt, &error))?;
        let changed = reply.successful.into_iter().map(|done| (done.id, ()));
        Ok(in_order(changes.len(), changed, reply.failed.into_iter().map(refused)))
    }

    async fn depth_uncounted(&self) -> Result<Depth, QueueError> {
        const CALL: &str = "GetQueueAttributes";
        let attempt = self.0.controller.attempt();
        let call = (attempt.get_queue_attributes())
            .queue_url(&self.0.facts.url)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesDelayed);
        let reply = call.send().await.map_err(|error| self.0.controller.failure(CALL, &attempt, &error))?;
        let said = reply.attributes.unwrap_or_default();
        // Silence is not zero: a queue that does not say what it holds must not be taken for empty.
        let unsaid = || QueueError { call: CALL, fault: Fault::Response, status: None };
        let count = |name| said.get(&name).and_then(|text| text.parse().ok()).ok_or_else(unsaid);
        Ok(Depth {
            visible: count(QueueAttributeName::ApproximateNumberOfMessages)?,
            in_flight: count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)?,
            delayed: count(QueueAttributeName::ApproximateNumberOfMessagesDelayed)?,
        })
    }
}

/// The system's attributes and the message's own ones to ask for with each message: of these always the one that says which
/// message it was that an operator sent back. Where a queue tells repeats by message
/// group, a deduplication id alone names no message.
fn wanted(identity: Option<String>, by_group: bool) -> (Vec<MessageSystemAttributeName>, Vec<String>) {
    let mut system =
        vec![MessageSystemAttributeName::SentTimestamp, MessageSystemAttributeName::ApproximateReceiveCount];
    let mut own = vec![REQUEUED.to_owned()];
    match identity {
        Some(name) if name == DEDUPLICATION_ID => {
            system.push(MessageSystemAttributeName::MessageDeduplicationId);
            if by_group {
                system.push(MessageSystemAttributeName::MessageGroupId);
            }
        }
        Some(name) => own.push(name),
        None => {}
    }
    (system, own)
}

/// The same attributes for the list that had them before, `AttributeNames`; the SDK types it as that of a queue's.
fn by_their_older_list(system: &[MessageSystemAttributeName]) -> Vec<QueueAttributeName> {
    system.iter().map(|name| QueueAttributeName::from(name.as_str())).collect()
}

/// Whether one of these came with neither of the two attributes that are always asked for, and none did before.
fn is_told_for_the_first_time(told: &AtomicBool, delivered: &[Delivered]) -> bool {
    let is_silent = |message: &Delivered| message.sent_timestamp.is_none() && message.receive_count.is_none();
    delivered.iter().any(is_silent) && !told.swap(true, Ordering::Relaxed)
}

fn read(reply: ReceiveMessageOutput) -> Vec<Delivered> {
    reply.messages.unwrap_or_default().into_iter().map(Delivered::from).collect()
}

/// A successful reply that the SDK could not read (see [`odd_reply`]).
fn read_again(error: &SdkError<ReceiveMessageError>) -> Option<Vec<Delivered>> {
    let reply = error.raw_response().filter(|reply| reply.status().is_success())?;
    odd_reply::messages(reply.body().bytes()?)
}

/// An entry that failed, by its id.
fn refused(entry: BatchResultErrorEntry) -> (String, Refusal) {
    (entry.id, Refusal::by(entry.code, entry.sender_fault))
}

fn unbuilt(call: &'static str, _: &BuildError) -> QueueError {
    QueueError { call, fault: Fault::Request, status: None }
}

/// Rounded up, within what SQS takes.
fn whole_seconds(time: Duration) -> i32 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_attributes_that_the_identity_needs_are_asked_for() {
        let (system, own) = wanted(None, true);
        assert_eq!((system.len(), own), (2, vec![REQUEUED.to_owned()]));
        let (system, own) = wanted(Some("EventId".to_owned()), true);
        assert_eq!((system.len(), own), (2, vec![REQUEUED.to_owned(), "EventId".to_owned()]));
        let (system, own) = wanted(Some(DEDUPLICATION_ID.to_owned()), false);
        let id = MessageSystemAttributeName::MessageDeduplicationId;
        assert_eq!((system.last(), own), (Some(&id), vec![REQUEUED.to_owned()]));
        let (system, _) = wanted(Some(DEDUPLICATION_ID.to_owned()), true);
        assert_eq!(system.last(), Some(&MessageSystemAttributeName::MessageGroupId));
    }

    #[test]
    fn a_server_that_says_nothing_of_its_messages_is_told_of_once() {
        let told = AtomicBool::new(false);
        let silent = || Delivered { message_id: Some("m".to_owned()), ..Delivered::default() };
        let counted = Delivered { receive_count: Some("1".to_owned()), ..silent() };
        assert!(!is_told_for_the_first_time(&told, &[counted]));
        let times = (0..5).filter(|_| is_told_for_the_first_time(&told, &[silent()])).count();
        assert_eq!(times, 1);
    }

    #[test]
    fn times_are_rounded_up_to_the_whole_seconds_that_the_queue_takes() {
        for (time, seconds) in [(0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2), (30_000, 30)] {
            assert_eq!(whole_seconds(Duration::from_millis(time)), seconds);
        }
        assert_eq!(whole_seconds(Duration::MAX.saturating_sub(Duration::from_secs(1))), i32::MAX);
    }
}
