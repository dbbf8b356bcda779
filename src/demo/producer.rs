//! Sends what is made up, and notes what the queue took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};

use super::DemoError;
use super::dispatched::Dispatched;
use super::logins::{Logins, MadeUp};
use super::world::{QUEUE, World};
use crate::message::{MessageHasher, MessageId, QueueIdentity};
use crate::queue::sqs::{Outgoing, Sender};
use crate::queue::{Answer, MESSAGES_PER_CALL, QueueError};
use crate::retry::Pauses;

/// How many send calls are under way at once.
const CALLS_AT_ONCE: usize = 4;

/// Nothing is sent while the queue holds more messages than this, or than a quarter of all: so that the latencies tell
/// of the loaders, not of a backlog, that the crash meets loaders at work, and that a million messages need not fit
/// into memory.
const BACKLOG: usize = 2_000;
/// A backlog that is never too long: the messages of some lost replies, hidden for a while, must not hold up the rest.
const SHORT_BACKLOG: usize = 50;

/// How long a producer waits before it looks again whether the backlog has become shorter.
const BACKLOG_PAUSE: Duration = Duration::from_millis(20);

/// The first and the longest pause before what the queue refused is sent again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Sends all of `logins`; `sent` counts along.
pub(super) async fn produce(
    world: &World,
    sender: &Sender,
    mut logins: Logins,
    sent: &AtomicU64,
) -> Result<Dispatched, DemoError> {
    let messages = MessageHasher::new(&QueueIdentity::new(world.queue.queue_arn(QUEUE)));
    let backlog = (logins.all() / 4).clamp(SHORT_BACKLOG, BACKLOG);
    let batches = std::iter::from_fn(|| {
        let batch: Vec<MadeUp> = logins.by_ref().take(MESSAGES_PER_CALL).collect();
        (!batch.is_empty()).then_some(batch)
    });
    let mut calls =
        stream::iter(batches).map(|batch| deliver(world, sender, backlog, batch)).buffer_unordered(CALLS_AT_ONCE);
    let mut dispatched = Dispatched::new(messages);
    while let Some(taken) = calls.next().await {
        for (id, made) in taken? {
            dispatched.note(&id, made);
            sent.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(dispatched)
}

/// Sends a batch, and what the queue refused of it again, until the queue has taken all.
async fn deliver(
    world: &World,
    sender: &Sender,
    backlog: usize,
    batch: Vec<MadeUp>,
) -> Result<Vec<(MessageId, MadeUp)>, DemoError> {
    let mut taken = Vec::with_capacity(batch.len());
    let mut left = batch;
    let mut pauses = Pauses::new(PAUSES.0, PAUSES.1);
    while world.messages_in_queue() > backlog {
        tokio::time::sleep(BACKLOG_PAUSE).await;
    }
    while !left.is_empty() {
        let outgoing: Vec<Outgoing> = left.iter().map(|made| Outgoing::of(made.body.clone())).collect();
        match sender.send(&outgoing).await {
            Ok(answers) => left = divide(left, answers, &mut taken)?,
            Err(error) if is_refusal(&error) => {}
            Err(error) => return Err(DemoError::Send(error)),
        }
        if !left.is_empty() {
            tokio::time::sleep(pauses.next_pause()).await;
        }
    }
    Ok(taken)
}

/// Moves what the queue took, and gives back the rest.
fn divide(
    batch: Vec<MadeUp>,
    answers: Vec<Answer<MessageId>>,
    taken: &mut Vec<(MessageId, MadeUp)>,
) -> Result<Vec<MadeUp>, DemoError> {
    let mut left = Vec::new();
    for (made, answer) in batch.into_iter().zip(answers) {
        match answer {
            Ok(id) => taken.push((id, made)),
            Err(refusal) if !refusal.is_for_good() => left.push(made),
            Err(refusal) => return Err(DemoError::Refused { code: refusal.fault.to_string() }),
        }
    }
    Ok(left)
}

/// Whether the queue said that it did not take the call, and may take it later. After no answer at all nobody could
/// tell which messages are in the queue, and the comparison would mean nothing.
fn is_refusal(error: &QueueError) -> bool {
    error.status.is_some() && !error.is_for_good()
}
