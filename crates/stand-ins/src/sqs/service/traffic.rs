//! Messages in and out: send, receive, delete, hide.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use super::Service;
use crate::sqs::clock::Moment;
use crate::sqs::error::{ApiError, ErrorCode};
use crate::sqs::message::{NewMessage, md5, system_attributes_md5};
use crate::sqs::reply::{BatchReply, Reply, SentReply};
use crate::sqs::request::{Entry, Receive};
use crate::sqs::settings::QueueSettings;
use crate::sqs::state::{Age, DeliveredMessage, Terms};

/// What a receive found.
pub(in crate::sqs) enum Received {
    /// At least one message.
    Messages(Vec<DeliveredMessage>),
    /// None: look again when the queue wakes its receives, or when the next hidden message becomes visible.
    Nothing { next_visible: Option<Moment> },
}

impl Service {
    pub(super) fn send(&mut self, queue: &str, message: NewMessage, now: Moment) -> Result<Reply, ApiError> {
        self.accept(queue, message, now).map(Reply::Sent)
    }

    pub(super) fn send_batch(
        &mut self,
        queue: &str,
        entries: Vec<Entry<NewMessage>>,
        now: Moment,
    ) -> Result<Reply, ApiError> {
        let settings = &self.queue(queue)?.state.settings;
        for message in entries.iter().filter_map(|entry| entry.asked.as_ref().ok()) {
            check_fifo_batch(settings, message)?;
        }
        let mut reply = BatchReply::default();
        for entry in entries {
            let sent = match entry.asked {
                Ok(_) if self.dice.batch_entry_fails("SendMessageBatch") => Err(failed_on_purpose()),
                Ok(message) => self.accept(queue, message, now),
                Err(refused) => Err(refused),
            };
            reply.add(entry.id, sent.map(Some));
        }
        Ok(Reply::Batch(reply))
    }

    fn accept(&mut self, queue: &str, mut message: NewMessage, now: Moment) -> Result<SentReply, ApiError> {
        let queue = self.queue(queue)?;
        let settings = &queue.state.settings;
        if message.size() > settings.max_message_bytes {
            let limit = settings.max_message_bytes;
            let reason = format!("Message must be shorter than {limit} bytes.");
            return Err(ApiError::invalid(format!("One or more parameters are invalid. Reason: {reason}")));
        }
        check_kind(settings, &message)?;
        if settings.fifo && message.deduplication_id.is_none() {
            message.deduplication_id = Some(content_id(&message.body));
        }
        if settings.fifo {
            message.delay = None;
        }
        let (body_md5, attributes_md5) = (md5(&message.body), message.attributes.as_ref().map(|all| all.md5()));
        let system_attributes_md5 = message.trace_header.as_deref().map(system_attributes_md5);
        let accepted = queue.state.send(message, now);
        queue.announce();
        self.served.sent += 1;
        Ok(SentReply { accepted, body_md5, attributes_md5, system_attributes_md5 })
    }

    /// Puts any bytes into a queue, also those that a send refuses.
    pub(in crate::sqs) fn insert_raw(&mut self, queue: &str, body: Bytes, now: Moment) -> Option<String> {
        let queue = self.queues.get_mut(queue)?;
        let mut message = NewMessage::of_body(body);
        if queue.state.settings.fifo {
            message.group = Some("raw".into());
        }
        let sent = queue.state.send(message, now);
        queue.announce();
        self.served.sent += 1;
        Some(sent.id.to_string())
    }

    /// Looks for messages, once. `waits` says that the caller would wait for one.
    pub(in crate::sqs) fn receive(
        &mut self,
        name: &str,
        ask: &Receive,
        waits: bool,
        now: Moment,
    ) -> Result<Received, ApiError> {
        let (target, max_receive_count) = match self.queue(name)?.state.settings.redrive.clone() {
            None => (None, None),
            Some(policy) => {
                let target = self.named_by(&policy.dead_letter_target_arn).map(str::to_owned);
                (target.clone(), target.map(|_| policy.max_receive_count))
            }
        };
        let queue = self.queues.get_mut(name).ok_or_else(ApiError::no_such_queue)?;
        let visibility_timeout = ask.visibility_timeout.unwrap_or(queue.state.settings.visibility_timeout);
        let terms = Terms { max: ask.max, visibility_timeout, max_receive_count };
        let (mut deliveries, dead) = queue.state.receive(&terms, now, &mut self.dice);
        for delivery in &mut deliveries {
            delivery.sent = self.gate.told(delivery.sent);
            delivery.first_received = self.gate.told(delivery.first_received);
        }
        queue.announce();
        let is_over_limit = deliveries.is_empty() && queue.state.is_at_limit() && !queue.state.settings.fifo;
        let (source_arn, next_visible) = (Arc::clone(&queue.arn), queue.state.next_visible());
        if let Some(target) = target.and_then(|target| self.queues.get_mut(&target)) {
            self.served.dead_lettered += dead.len() as u64;
            dead.into_iter().for_each(|message| target.state.bury(message, &source_arn, now));
            target.announce();
        }
        // Developer guide, standard queue quotas: a short poll is told of the limit, a long poll is not.
        if is_over_limit && !waits {
            return Err(ApiError::new(ErrorCode::OverLimit, "Too many messages in flight."));
        }
        self.served.delivered += deliveries.len() as u64;
        Ok(if deliveries.is_empty() { Received::Nothing { next_visible } } else { Received::Messages(deliveries) })
    }

    /// How long a receive waits that does not say so itself.
    pub(in crate::sqs) fn wait_of(&mut self, queue: &str) -> Result<Duration, ApiError> {
        Ok(self.queue(queue)?.state.settings.wait)
    }

    /// What a receive that waits listens to.
    pub(in crate::sqs) fn wake_of(&mut self, queue: &str) -> Result<Arc<Notify>, ApiError> {
        Ok(Arc::clone(&self.queue(queue)?.wake))
    }

    pub(super) fn delete(&mut self, name: &str, handle: &str, now: Moment) -> Result<Reply, ApiError> {
        let queue = self.queues.get_mut(name).ok_or_else(ApiError::no_such_queue)?;
        match queue.state.age_of(handle, now)? {
            Age::Current => {}
            Age::Late => self.served.late_deletes += 1,
            Age::Stale => self.served.stale_deletes += 1,
        }
        queue.state.delete(handle, now, &mut self.dice)?;
        queue.announce();
        self.served.deleted += 1;
        Ok(Reply::Empty)
    }

    pub(super) fn delete_batch(
        &mut self,
        queue: &str,
        entries: Vec<Entry<String>>,
        now: Moment,
    ) -> Result<Reply, ApiError> {
        self.batch("DeleteMessageBatch", queue, entries, |service, handle| service.delete(queue, &handle, now))
    }

    pub(super) fn change_visibility(
        &mut self,
        name: &str,
        handle: &str,
        timeout: Duration,
        now: Moment,
    ) -> Result<Reply, ApiError> {
        let queue = self.queue(name)?;
        queue.state.change_visibility(handle, timeout, now)?;
        queue.announce();
        Ok(Reply::Empty)
    }

    pub(super) fn change_visibility_batch(
        &mut self,
        queue: &str,
        entries: Vec<Entry<(String, Duration)>>,
        now: Moment,
    ) -> Result<Reply, ApiError> {
        self.batch("ChangeMessageVisibilityBatch", queue, entries, |service, (handle, timeout)| {
            service.change_visibility(queue, &handle, timeout, now)
        })
    }

    fn batch<T>(
        &mut self,
        name: &str,
        queue: &str,
        entries: Vec<Entry<T>>,
        mut call: impl FnMut(&mut Self, T) -> Result<Reply, ApiError>,
    ) -> Result<Reply, ApiError> {
        self.queue(queue)?;
        let mut reply = BatchReply::default();
        for entry in entries {
            let done = match entry.asked {
                Ok(_) if self.dice.batch_entry_fails(name) => Err(failed_on_purpose()),
                Ok(asked) => call(self, asked).map(|_| None),
                Err(refused) => Err(refused),
            };
            reply.add(entry.id, done);
        }
        Ok(Reply::Batch(reply))
    }
}

fn failed_on_purpose() -> ApiError {
    ApiError::new(ErrorCode::InternalError, "The entry failed because of an unknown internal error.")
}

/// What only one kind of queue takes.
fn check_kind(settings: &QueueSettings, message: &NewMessage) -> Result<(), ApiError> {
    let wrong = |value: &str, parameter: &str| {
        let reason = "The request include parameter that is not valid for this queue type.";
        Err(ApiError::invalid(format!("Value {value} for parameter {parameter} is invalid. Reason: {reason}")))
    };
    match (settings.fifo, &message.group, message.delay.filter(|delay| !delay.is_zero())) {
        (false, _, _) => match &message.deduplication_id {
            Some(id) => wrong(id, "MessageDeduplicationId"),
            None => Ok(()),
        },
        (true, None, _) => Err(ApiError::missing("MessageGroupId")),
        (true, Some(_), Some(delay)) => wrong(&delay.as_secs().to_string(), "DelaySeconds"),
        (true, Some(_), None) => check_deduplication(settings, message),
    }
}

/// SQS refuses a whole batch in which an entry lacks what a FIFO queue needs.
fn check_fifo_batch(settings: &QueueSettings, message: &NewMessage) -> Result<(), ApiError> {
    if !settings.fifo {
        return Ok(());
    }
    if message.group.is_none() {
        return Err(ApiError::invalid("The request must contain the parameter MessageGroupId."));
    }
    check_deduplication(settings, message)
}

fn check_deduplication(settings: &QueueSettings, message: &NewMessage) -> Result<(), ApiError> {
    if message.deduplication_id.is_none() && !settings.content_based_deduplication {
        let message = "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId \
                       provided explicitly";
        return Err(ApiError::invalid(message));
    }
    Ok(())
}

/// The deduplication id that a FIFO queue makes of a body: its SHA-256.
fn content_id(body: &[u8]) -> Arc<str> {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}
