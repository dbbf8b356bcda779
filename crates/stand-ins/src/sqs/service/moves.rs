//! Move tasks: messages out of a dead-letter queue, back to where they came from or to a queue of one's choice.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Service, targets};
use crate::sqs::clock::Moment;
use crate::sqs::error::{ApiError, ErrorCode};
use crate::sqs::reply::Reply;

/// How many messages a task without a rate moves before it lets others have their turn.
const MOVED_AT_ONCE: u64 = 100;

/// The tasks that are remembered of each source queue: the most that SQS lists.
const REMEMBERED: usize = 10;

/// A task that moves the messages of a dead-letter queue.
#[derive(Clone)]
pub(in crate::sqs) struct MoveTask {
    id: String,
    pub(in crate::sqs) source_arn: String,
    pub(in crate::sqs) destination_arn: Option<String>,
    pub(in crate::sqs) max_per_second: Option<u32>,
    pub(in crate::sqs) started: Moment,
    pub(in crate::sqs) moved: u64,
    pub(in crate::sqs) to_move: u64,
    pub(in crate::sqs) status: MoveStatus,
}

/// How far a move task has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::sqs) enum MoveStatus {
    Running,
    Completed,
    Cancelled,
    /// With SQS's word for the reason.
    Failed(&'static str),
}

/// What a task handle says, in base64 as SQS's own do.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Handle {
    task_id: String,
    source_arn: String,
}

impl MoveTask {
    /// The handle by which a client names the task.
    pub(in crate::sqs) fn handle(&self) -> String {
        let handle = Handle { task_id: self.id.clone(), source_arn: self.source_arn.clone() };
        STANDARD.encode(serde_json::to_vec(&handle).unwrap_or_default())
    }
}

impl Service {
    pub(super) fn start_move(
        &mut self,
        source_arn: String,
        destination_arn: Option<String>,
        max_per_second: Option<u32>,
        now: Moment,
    ) -> Result<Reply, ApiError> {
        let source = self.named_by(&source_arn).ok_or_else(|| no_such_resource("SourceArn"))?.to_owned();
        if destination_arn.as_ref().is_some_and(|arn| self.named_by(arn).is_none()) {
            return Err(no_such_resource("DestinationArn"));
        }
        if !self.queues.values().any(|queue| targets(queue, &source_arn)) {
            return Err(ApiError::invalid("Source queue must be configured as a Dead Letter Queue."));
        }
        let is_running = |task: &MoveTask| task.source_arn == source_arn && task.status == MoveStatus::Running;
        if self.moves.iter().any(is_running) {
            let message = "There is already a task running. Only one active task is allowed for a source queue arn at \
                           a given time.";
            return Err(ApiError::invalid(message));
        }
        let to_move = self.stats(&source, now).map_or(0, |stats| stats.visible as u64);
        let task = MoveTask {
            id: Uuid::new_v4().to_string(),
            source_arn,
            destination_arn,
            max_per_second,
            started: now,
            moved: 0,
            to_move,
            status: MoveStatus::Running,
        };
        let handle = task.handle();
        self.remember(task);
        Ok(Reply::MoveStarted(handle))
    }

    fn remember(&mut self, task: MoveTask) {
        let mut of_source = self.moves.iter().enumerate().filter(|(_, known)| known.source_arn == task.source_arn);
        let oldest = of_source.next().map(|(index, _)| index);
        if let Some(oldest) = oldest.filter(|_| of_source.count() + 1 >= REMEMBERED) {
            self.moves.remove(oldest);
        }
        self.moves.push(task);
    }

    pub(super) fn list_moves(&mut self, source_arn: &str, max: usize) -> Result<Reply, ApiError> {
        self.named_by(source_arn).ok_or_else(|| no_such_resource("SourceArn"))?;
        let newest_first = self.moves.iter().rev().filter(|task| task.source_arn == source_arn);
        Ok(Reply::Moves(newest_first.take(max).cloned().collect()))
    }

    pub(super) fn cancel_move(&mut self, handle: &str) -> Result<Reply, ApiError> {
        let invalid = || ApiError::invalid("Value for parameter TaskHandle is invalid.");
        let read = STANDARD.decode(handle).map_err(|_| invalid())?;
        let handle: Handle = serde_json::from_slice(&read).map_err(|_| invalid())?;
        self.named_by(&handle.source_arn).ok_or_else(|| no_such_resource("SourceArn"))?;
        let task = self
            .moves
            .iter_mut()
            .find(|task| task.id == handle.task_id)
            .ok_or_else(|| ApiError::new(ErrorCode::ResourceNotFoundException, "Task does not exist."))?;
        if task.status != MoveStatus::Running {
            return Err(ApiError::invalid("Only active tasks can be cancelled."));
        }
        task.status = MoveStatus::Cancelled;
        Ok(Reply::MoveCancelled(task.moved))
    }

    /// Carries the task of this handle on; answers after which time it wants to be carried on again.
    pub(in crate::sqs) fn carry_on(&mut self, handle: &str, now: Moment) -> Option<Duration> {
        let index = self.moves.iter().position(|task| task.handle() == handle)?;
        let mut task = self.moves.get(index)?.clone();
        if task.status != MoveStatus::Running {
            return None;
        }
        let may_have_moved = match task.max_per_second {
            Some(rate) => u64::from(rate) * now.since(task.started).as_millis() as u64 / 1000,
            None => task.moved + MOVED_AT_ONCE,
        };
        while task.status == MoveStatus::Running && task.moved < may_have_moved.min(task.to_move) {
            match self.move_one(&task, now) {
                Ok(()) => task.moved += 1,
                Err(status) => task.status = status,
            }
        }
        if task.moved >= task.to_move && task.status == MoveStatus::Running {
            task.status = MoveStatus::Completed;
        }
        let next = match task.max_per_second {
            Some(rate) => Duration::from_millis(1000 / u64::from(rate.max(1)) + 1),
            None => Duration::ZERO,
        };
        let is_running = task.status == MoveStatus::Running;
        if let Some(known) = self.moves.get_mut(index) {
            *known = task;
        }
        is_running.then_some(next)
    }

    fn move_one(&mut self, task: &MoveTask, now: Moment) -> Result<(), MoveStatus> {
        let gone = MoveStatus::Failed("AWS.SimpleQueueService.NonExistentQueue");
        let source = self.named_by(&task.source_arn).ok_or(gone)?.to_owned();
        let source = self.queues.get_mut(&source).ok_or(gone)?;
        // Received or deleted by somebody since the task began.
        let message = source.state.withdraw(now).ok_or(MoveStatus::Completed)?;
        let Some(arn) = task.destination_arn.clone().or(message.dead_letter_source_arn.as_deref().map(str::to_owned))
        else {
            source.state.put_back(message);
            return Err(MoveStatus::Failed("CouldNotDetermineMessageSource"));
        };
        let Some(destination) = self.named_by(&arn).map(str::to_owned) else {
            if let Some(source) = self.named_by(&task.source_arn).map(str::to_owned) {
                self.queue(&source).map_err(|_| gone)?.state.put_back(message);
            }
            return Err(gone);
        };
        let destination = self.queues.get_mut(&destination).ok_or(gone)?;
        destination.state.adopt(message, now);
        destination.announce();
        Ok(())
    }
}

fn no_such_resource(parameter: &str) -> ApiError {
    let message = format!("The resource that you specified for the {parameter} parameter doesn't exist.");
    ApiError::new(ErrorCode::ResourceNotFoundException, message)
}
