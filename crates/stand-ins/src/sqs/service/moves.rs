//! Move tasks: messages out of a dead-letter queue, back to where they came from or to a queue of one's choice.

use std::time::Duration;

use super::{Service, targets};
use crate::sqs::clock::Moment;
use crate::sqs::error::{ApiError, ErrorCode};
use crate::sqs::move_task::{MoveStatus, MoveTask, TaskHandle};
use crate::sqs::reply::Reply;

/// How many messages a task without a rate moves before it lets others have their turn.
const MOVED_AT_ONCE: u64 = 100;

/// The tasks that are remembered of each source queue: the most that SQS lists.
const REMEMBERED: usize = 10;

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
        let task = MoveTask::start(source_arn, destination_arn, max_per_second, to_move, now);
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
        let handle = TaskHandle::read(handle).ok_or_else(invalid)?;
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
