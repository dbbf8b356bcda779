//! Sending: a batch of bodies in one call.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry, SendMessageBatchResultEntry};

use super::connect::{ConnectError, Place};
use super::delivery::md5_is;
use super::{QueueAddress, SqsSettings, refused, unbuilt};
use crate::aws::caller::Caller;
use crate::aws::endpoint::aws_settings;
use crate::message::MessageId;
use crate::queue::answers::in_order;
use crate::queue::{Answer, Fault, QueueError, Refusal};

/// A send carries up to 1 MiB, which a slow line may need some seconds for: longer than other calls may take, because
/// a send that is cut off and repeated may put its messages into the queue twice.
const SEND_DEADLINE: Duration = Duration::from_secs(20);

/// A message to be sent. No `Debug`: it holds the body.
#[derive(Clone)]
pub struct Outgoing {
    /// The body: 1 byte to 1 MiB, without the characters that SQS refuses.
    pub body: String,
    /// What makes a repeated send of the same message one message within five minutes; FIFO queues only, and kept
    /// over every repetition. It must tell nothing of the body: it is not treated as personal data.
    pub deduplication_id: Option<String>,
    /// Its message group, where that is not the sender's; FIFO queues only.
    pub group: Option<String>,
    /// Message attributes of its own, beside those of the sender: texts where they are UTF-8, and else bytes.
    pub attributes: Vec<(String, Vec<u8>)>,
}

impl Outgoing {
    /// This body and nothing else.
    pub fn of(body: impl Into<String>) -> Self {
        Self { body: body.into(), deduplication_id: None, group: None, attributes: Vec::new() }
    }

    /// How many bytes it counts for in a call: its body and its own attributes, with their names and types.
    pub fn bytes(&self) -> usize {
        let attributes = self.attributes.iter().map(|(name, value)| name.len() + value.len() + BINARY.len());
        self.body.len() + attributes.sum::<usize>()
    }

    fn own_attributes(&self) -> impl Iterator<Item = (String, MessageAttributeValue)> {
        self.attributes.iter().filter_map(|(name, value)| {
            let of = MessageAttributeValue::builder();
            let of = match str::from_utf8(value) {
                Ok(text) => of.data_type(STRING).string_value(text),
                Err(_) => of.data_type(BINARY).binary_value(Blob::new(value.clone())),
            };
            Some((name.clone(), of.build().ok()?))
        })
    }
}

/// The types of attributes.
const STRING: &str = "String";
const BINARY: &str = "Binary";

/// Sends messages to one queue. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Sender {
    caller: Arc<Caller<Client>>,
    url: String,
    endpoint: String,
    group: Option<String>,
    attributes: Option<HashMap<String, MessageAttributeValue>>,
    /// Whether the server ever answered.
    reached: Arc<AtomicBool>,
}

impl Sender {
    /// Finds the queue with the standard AWS settings. `group` is the message group of what is sent to a FIFO queue.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], which says what to do.
    pub async fn connect(settings: &SqsSettings, group: &str) -> Result<Self, ConnectError> {
        Self::connect_with(settings, group, &aws_settings().await).await
    }

    /// The same with AWS settings from elsewhere than the environment.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], which says what to do.
    pub async fn connect_with(settings: &SqsSettings, group: &str, aws: &SdkConfig) -> Result<Self, ConnectError> {
        let place = Place::new(settings, aws).await?;
        let controller = place.controller();
        let url = match settings.wait_for_queue {
            // Finding needs no permission but to find; a role that may only send can send.
            Duration::ZERO => place.find(&controller).await?,
            patience => {
                let look = || async { place.ask(&controller, place.find(&controller).await?).await };
                place.wait_for(patience, look).await?.url
            }
        };
        let group = url.ends_with(".fifo").then(|| group.to_owned());
        let was_asked = matches!(settings.queue, QueueAddress::Name(_)) || !settings.wait_for_queue.is_zero();
        Ok(Self {
            caller: Arc::new(place.sender(SEND_DEADLINE)),
            url,
            endpoint: place.endpoint(),
            group,
            attributes: None,
            reached: Arc::new(AtomicBool::new(was_asked)),
        })
    }

    /// The same, that says these texts of every message in attributes.
    #[must_use]
    pub fn with_attributes(self, attributes: &[(&str, &str)]) -> Self {
        let texts = attributes.iter().filter_map(|(name, text)| {
            let value = MessageAttributeValue::builder().data_type(STRING).string_value(*text).build().ok()?;
            Some(((*name).to_owned(), value))
        });
        Self { attributes: Some(texts.collect()), ..self }
    }

    fn attributes_of(&self, message: &Outgoing) -> Option<HashMap<String, MessageAttributeValue>> {
        if message.attributes.is_empty() {
            return self.attributes.clone();
        }
        Some(
            self.attributes
                .iter()
                .flatten()
                .map(|(name, value)| (name.clone(), value.clone()))
                .chain(message.own_attributes())
                .collect(),
        )
    }

    /// Where the calls go.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Whether the queue's server has answered before: then it is away, and else perhaps not there at all.
    pub fn was_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// Whether the queue keeps the order of what is sent.
    pub fn is_fifo(&self) -> bool {
        self.group.is_some()
    }

    /// Sends up to ten messages of up to 1 MiB in all in one call; `Ok` says for each, in order, under which id it is in the
    /// queue, or why it is not.
    ///
    /// # Errors
    ///
    /// The call failed as a whole. Where [`QueueError::may_have_taken_effect`], the messages may be in the queue, and
    /// sending them again may put them there twice, unless a deduplication id prevents it.
    pub async fn send<M: Borrow<Outgoing>>(&self, messages: &[M]) -> Result<Vec<Answer<MessageId>>, QueueError> {
        const CALL: &str = "SendMessageBatch";
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let entries = messages.iter().map(Borrow::borrow).enumerate().map(|(index, message)| {
            SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(&message.body)
                .set_message_group_id(self.group.as_ref().map(|own| message.group.as_ref().unwrap_or(own).clone()))
                .set_message_deduplication_id(message.deduplication_id.clone())
                .set_message_attributes(self.attributes_of(message))
                .build()
        });
        let entries = entries.collect::<Result<Vec<_>, _>>().map_err(|error| unbuilt(CALL, &error))?;
        let attempt = self.caller.attempt();
        let call = attempt.send_message_batch().queue_url(&self.url).set_entries(Some(entries));
        let reply = call.send().await.map_err(|error| self.caller.failure(CALL, &attempt, &error));
        if reply.as_ref().map_or_else(|error| error.status.is_some(), |_| true) {
            self.reached.store(true, Ordering::Relaxed);
        }
        let reply = reply?;
        let successful = reply.successful.into_iter().map(|done| (done.id.clone(), done));
        let answers = in_order(messages.len(), successful, reply.failed.into_iter().map(refused)).into_iter();
        Ok(messages.iter().zip(answers).map(|(message, answer)| id_of(message.borrow(), answer?)).collect())
    }
}

fn id_of(message: &Outgoing, done: SendMessageBatchResultEntry) -> Answer<MessageId> {
    match md5_is(message.body.as_bytes(), &done.md5_of_message_body) {
        true => Ok(MessageId::new(done.message_id)),
        false => Err(Refusal { fault: Fault::OtherBody, sender_fault: true }),
    }
}
