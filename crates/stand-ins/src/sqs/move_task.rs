//! A move task: what a client is told of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::clock::Moment;

/// A task that moves the messages of a dead-letter queue.
#[derive(Clone)]
pub(super) struct MoveTask {
    pub(super) id: String,
    pub(super) source_arn: String,
    pub(super) destination_arn: Option<String>,
    pub(super) max_per_second: Option<u32>,
    pub(super) started: Moment,
    pub(super) moved: u64,
    pub(super) to_move: u64,
    pub(super) status: MoveStatus,
}

/// How far a move task has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MoveStatus {
    Running,
    Completed,
    Cancelled,
    /// With SQS's word for the reason.
    Failed(&'static str),
}

impl MoveTask {
    /// A task that has moved nothing yet.
    pub(super) fn start(
        source_arn: String,
        destination_arn: Option<String>,
        max_per_second: Option<u32>,
        to_move: u64,
        now: Moment,
    ) -> Self {
        Self {
            id: Uuid::new_v4().to_string(),
            source_arn,
            destination_arn,
            max_per_second,
            started: now,
            moved: 0,
            to_move,
            status: MoveStatus::Running,
        }
    }

    /// The handle by which a client names the task.
    pub(super) fn handle(&self) -> String {
        TaskHandle { task_id: self.id.clone(), source_arn: self.source_arn.clone() }.write()
    }
}

/// What a task handle says, in base64 as SQS's own do.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TaskHandle {
    pub(super) task_id: String,
    pub(super) source_arn: String,
}

impl TaskHandle {
    pub(super) fn read(text: &str) -> Option<Self> {
        serde_json::from_slice(&STANDARD.decode(text).ok()?).ok()
    }

    fn write(&self) -> String {
        STANDARD.encode(serde_json::to_vec(self).unwrap_or_default())
    }
}
