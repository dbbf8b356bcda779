//! All queues of one server, and what each call does to them.

mod moves;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use rand::random;
use tokio::sync::Notify;

use super::clock::Moment;
use super::error::{ApiError, ErrorCode};
use super::faults::{Dice, Faults};
use super::gate::Gate;
use super::move_task::MoveTask;
use super::reply::Reply;
use super::request::{Page, Prompt};
use super::settings::{ACCOUNT, QueueSettings, queue_of_arn, refused_policy};
use super::state::{QueueStats, State};

pub(super) use traffic::Received;

/// How long a deleted queue's name stays taken, and how long a queue may not be purged again.
const QUIET: Duration = Duration::from_secs(60);

/// The most queues that one answer lists.
const MAX_LISTED: usize = 1000;

/// The queues, the faults that befall calls to them, and what has been served.
pub(super) struct Service {
    region: String,
    queues: BTreeMap<String, Queue>,
    deleted: BTreeMap<String, Moment>,
    moves: Vec<MoveTask>,
    pub(super) dice: Dice,
    pub(super) gate: Gate,
    pub(super) served: Served,
}

/// A queue: its messages, and what the service knows of it besides.
struct Queue {
    state: State,
    arn: Arc<str>,
    tags: BTreeMap<String, String>,
    created: Moment,
    modified: Moment,
    purged: Option<Moment>,
    wake: Arc<Notify>,
}

impl Queue {
    /// Wakes the receives that wait, where they have reason to look again.
    fn announce(&mut self) {
        if self.state.take_news() {
            self.wake.notify_waiters();
        }
    }
}

/// What a server has done since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Calls, the refused ones too.
    pub calls: u64,
    /// Messages taken from producers.
    pub sent: u64,
    /// Deliveries, repeated ones too.
    pub delivered: u64,
    /// Deletes that were answered with success.
    pub deleted: u64,
    /// Deletes by a receipt of an earlier delivery, or of a message that was gone, however they were answered.
    pub stale_deletes: u64,
    /// Deletes by the last receipt of a message that was visible again, because its visibility timeout was over.
    pub late_deletes: u64,
    /// Messages moved to a dead-letter queue.
    pub dead_lettered: u64,
}

impl Service {
    pub(super) fn new(region: String, faults: Faults) -> Self {
        Self {
            region,
            queues: BTreeMap::new(),
            deleted: BTreeMap::new(),
            moves: Vec::new(),
            dice: Dice::new(faults),
            gate: Gate::default(),
            served: Served::default(),
        }
    }

    /// Does what a call asks.
    pub(super) fn call(&mut self, request: Prompt, now: Moment) -> Result<Reply, ApiError> {
        match request {
            Prompt::CreateQueue { name, attributes, tags } => self.create_queue(name, &attributes, tags, now),
            Prompt::GetQueueUrl { name } => self.queue(&name).map(|_| Reply::QueueUrl(name)),
            Prompt::ListQueues { prefix, page } => Ok(self.list_queues(&prefix, page)),
            Prompt::ListDeadLetterSourceQueues { queue, page } => self.list_sources(&queue, page),
            Prompt::DeleteQueue { queue } => self.delete_queue(&queue, now),
            Prompt::PurgeQueue { queue } => self.purge_queue(&queue, now),
            Prompt::GetQueueAttributes { queue, names } => self.queue_attributes(&queue, &names, now),
            Prompt::SetQueueAttributes { queue, attributes } => self.set_queue_attributes(&queue, &attributes, now),
            Prompt::ListQueueTags { queue } => Ok(Reply::Tags(self.queue(&queue)?.tags.clone())),
            Prompt::TagQueue { queue, tags } => {
                self.queue(&queue)?.tags.extend(tags);
                Ok(Reply::Empty)
            }
            Prompt::UntagQueue { queue, keys } => {
                let keys: BTreeSet<String> = keys.into_iter().collect();
                self.queue(&queue)?.tags.retain(|key, _| !keys.contains(key));
                Ok(Reply::Empty)
            }
            Prompt::SendMessage { queue, message } => self.send(&queue, message, now),
            Prompt::SendMessageBatch { queue, entries } => self.send_batch(&queue, entries, now),
            Prompt::DeleteMessage { queue, handle } => self.delete(&queue, &handle, now),
            Prompt::DeleteMessageBatch { queue, entries } => self.delete_batch(&queue, entries, now),
            Prompt::ChangeMessageVisibility { queue, handle, timeout } => {
                self.change_visibility(&queue, &handle, timeout, now)
            }
            Prompt::ChangeMessageVisibilityBatch { queue, entries } => {
                self.change_visibility_batch(&queue, entries, now)
            }
            Prompt::StartMessageMoveTask { source_arn, destination_arn, max_per_second } => {
                self.start_move(source_arn, destination_arn, max_per_second, now)
            }
            Prompt::ListMessageMoveTasks { source_arn, max } => self.list_moves(&source_arn, max),
            Prompt::CancelMessageMoveTask { task_handle } => self.cancel_move(&task_handle),
        }
    }

    fn queue(&mut self, name: &str) -> Result<&mut Queue, ApiError> {
        self.queues.get_mut(name).ok_or_else(ApiError::no_such_queue)
    }

    pub(super) fn arn(&self, name: &str) -> String {
        format!("arn:aws:sqs:{}:{ACCOUNT}:{name}", self.region)
    }

    /// The name of the queue with this ARN, where there is one.
    fn named_by(&self, arn: &str) -> Option<&str> {
        let (name, queue) = self.queues.get_key_value(queue_of_arn(arn)?)?;
        (*queue.arn == *arn).then_some(name.as_str())
    }

    pub(super) fn stats(&mut self, name: &str, now: Moment) -> Option<QueueStats> {
        let queue = self.queues.get_mut(name)?;
        queue.state.advance(now);
        Some(queue.state.stats())
    }

    pub(super) fn create_queue(
        &mut self,
        name: String,
        attributes: &BTreeMap<String, String>,
        tags: BTreeMap<String, String>,
        now: Moment,
    ) -> Result<Reply, ApiError> {
        let settings = QueueSettings::create(&name, attributes)?;
        if let Some(existing) = self.queues.get(&name) {
            same_attributes(&existing.state.settings, &settings, attributes)?;
            return Ok(Reply::QueueUrl(name));
        }
        if self.deleted.get(&name).is_some_and(|deleted| now < deleted.after(QUIET)) {
            let message = "You must wait 60 seconds after deleting a queue before you can create another with the \
                           same name.";
            return Err(ApiError::new(ErrorCode::QueueDeletedRecently, message));
        }
        self.check_redrive(&name, &settings)?;
        let queue = Queue {
            state: State::new(settings, random()),
            arn: self.arn(&name).into(),
            tags,
            created: now,
            modified: now,
            purged: None,
            wake: Arc::new(Notify::new()),
        };
        self.queues.insert(name.clone(), queue);
        Ok(Reply::QueueUrl(name))
    }

    /// A dead-letter queue must exist, be of the same kind, and allow it.
    fn check_redrive(&self, name: &str, settings: &QueueSettings) -> Result<(), ApiError> {
        let Some(redrive) = &settings.redrive else { return Ok(()) };
        let refuse = |reason: &str| Err(refused_policy("RedrivePolicy", &redrive.dead_letter_target_arn, reason));
        let Some(target) = self.named_by(&redrive.dead_letter_target_arn).and_then(|name| self.queues.get(name)) else {
            return refuse("Dead letter target does not exist.");
        };
        if target.state.settings.fifo != settings.fifo {
            return refuse("Dead-letter queue must be same type of queue as the source.");
        }
        let source_arn = self.arn(name);
        if target.state.settings.redrive_allow.as_ref().is_some_and(|allow| !allow.allows(&source_arn)) {
            return refuse("The dead-letter queue's RedriveAllowPolicy does not allow this source queue.");
        }
        Ok(())
    }

    fn list_queues(&self, prefix: &str, page: Page) -> Reply {
        let names = self.queues.range::<str, _>((Bound::Included(prefix), Bound::Unbounded)).map(|(name, _)| name);
        let names = names.take_while(|name| name.starts_with(prefix)).filter(|name| is_after(name, &page));
        listed("QueueUrls", names.cloned(), &page)
    }

    fn list_sources(&mut self, name: &str, page: Page) -> Result<Reply, ApiError> {
        let arn = Arc::clone(&self.queue(name)?.arn);
        let names = self.queues.iter().filter(|(_, queue)| targets(queue, &arn)).map(|(name, _)| name);
        // The service's model spells this one with a small letter.
        Ok(listed("queueUrls", names.filter(|name| is_after(name, &page)).cloned(), &page))
    }

    fn delete_queue(&mut self, name: &str, now: Moment) -> Result<Reply, ApiError> {
        let queue = self.queues.remove(name).ok_or_else(ApiError::no_such_queue)?;
        // Those who wait for its messages must learn that it is gone.
        queue.wake.notify_waiters();
        self.deleted.retain(|_, deleted| now < deleted.after(QUIET));
        self.deleted.insert(name.to_owned(), now);
        Ok(Reply::Empty)
    }

    fn purge_queue(&mut self, name: &str, now: Moment) -> Result<Reply, ApiError> {
        let queue = self.queue(name)?;
        if queue.purged.is_some_and(|purged| now < purged.after(QUIET)) {
            let message = format!("Only one PurgeQueue operation on {name} is allowed every 60 seconds.");
            return Err(ApiError::new(ErrorCode::PurgeQueueInProgress, message));
        }
        queue.state.purge();
        queue.purged = Some(now);
        Ok(Reply::Empty)
    }

    fn queue_attributes(&mut self, name: &str, wanted: &[String], now: Moment) -> Result<Reply, ApiError> {
        let queue = self.queue(name)?;
        if let Some(unknown) = wanted.iter().find(|wanted| !queue.state.settings.knows(wanted)) {
            return Err(ApiError::unknown_attribute(unknown));
        }
        queue.state.advance(now);
        let stats = queue.state.stats();
        let mut attributes = queue.state.settings.list();
        attributes.insert("QueueArn", queue.arn.to_string());
        attributes.insert("CreatedTimestamp", queue.created.as_secs().to_string());
        attributes.insert("LastModifiedTimestamp", queue.modified.as_secs().to_string());
        attributes.insert("ApproximateNumberOfMessages", stats.visible.to_string());
        attributes.insert("ApproximateNumberOfMessagesNotVisible", stats.in_flight.to_string());
        attributes.insert("ApproximateNumberOfMessagesDelayed", stats.delayed.to_string());
        if !wanted.iter().any(|name| name == "All") {
            attributes.retain(|name, _| wanted.iter().any(|wanted| wanted == name));
        }
        Ok(Reply::Attributes(attributes))
    }

    pub(super) fn set_queue_attributes(
        &mut self,
        name: &str,
        attributes: &BTreeMap<String, String>,
        now: Moment,
    ) -> Result<Reply, ApiError> {
        let settings = self.queue(name)?.state.settings.changed(attributes)?;
        self.check_redrive(name, &settings)?;
        let queue = self.queue(name)?;
        queue.state.settings = settings;
        queue.modified = now;
        Ok(Reply::Empty)
    }
}

/// A queue that exists is given again to those who ask for it as it is.
fn same_attributes(
    existing: &QueueSettings,
    wanted: &QueueSettings,
    attributes: &BTreeMap<String, String>,
) -> Result<(), ApiError> {
    let (existing, wanted) = (existing.list(), wanted.list());
    match attributes.keys().find(|name| existing.get(name.as_str()) != wanted.get(name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let message =
                format!("A queue already exists with the same name and a different value for attribute {name}");
            Err(ApiError::new(ErrorCode::QueueNameExists, message))
        }
    }
}

fn targets(queue: &Queue, arn: &str) -> bool {
    queue.state.settings.redrive.as_ref().is_some_and(|redrive| redrive.dead_letter_target_arn == arn)
}

fn is_after(name: &str, page: &Page) -> bool {
    page.after.as_ref().is_none_or(|after| name > after.as_str())
}

fn listed(field: &'static str, names: impl Iterator<Item = String>, page: &Page) -> Reply {
    let limit = page.max.unwrap_or(MAX_LISTED);
    let mut names: Vec<String> = names.take(limit + 1).collect();
    let has_more = names.len() > limit;
    names.truncate(limit);
    let next = names.last().filter(|_| has_more && page.max.is_some()).cloned();
    Reply::QueueUrls { field, names, next }
}
