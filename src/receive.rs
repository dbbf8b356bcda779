//! Long polls in, one bounded gathering of messages out.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::message::ReceivedMessage;
use crate::queue::{MESSAGES_PER_CALL, Queue, QueueError};

/// The most receive calls of one lane side by side.
const CALLS_AT_ONCE: usize = 8;

/// How much one gathering may hold, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveLimits {
    /// The most messages.
    pub batch_size: usize,
    /// No call is made once this many bytes of bodies are in hand. The calls under way may exceed it: by at most
    /// eight calls of ten messages of 1 MiB, and by one such call where bodies are large.
    pub batch_bytes: usize,
    /// How long to gather once there is a message.
    pub linger: Duration,
    /// How long the first call waits for a message; at most 20 s.
    pub wait: Duration,
    /// How long the messages are hidden from others.
    pub visibility_timeout: Duration,
}

/// Messages in hand.
pub struct Received {
    /// The messages.
    pub messages: Vec<ReceivedMessage>,
    /// When the first of them came.
    pub since: Instant,
    /// What ended the gathering early; the messages are good all the same.
    pub failure: Option<QueueError>,
}

/// Gathers messages: one long poll, and as long as the queue has more, several calls at once that do not wait.
///
/// No call is begun once `stopping` is cancelled. Every call that is begun comes home: its messages are hidden from others from then on, and cutting it off would
/// keep them so, unread, until their visibility timeout.
///
/// # Errors
///
/// [`QueueError`] when the first call fails.
pub async fn receive<Q: Queue>(
    queue: &Q,
    limits: &ReceiveLimits,
    stopping: &CancellationToken,
) -> Result<Received, QueueError> {
    let first = MESSAGES_PER_CALL.min(limits.batch_size);
    let mut messages = queue.receive(first, limits.wait, limits.visibility_timeout).await?;
    let since = Instant::now();
    let mut failure = None;
    let mut came_full = messages.len() == first;
    while came_full && failure.is_none() && since.elapsed() < limits.linger && !stopping.is_cancelled() {
        let calls = calls_to_make(&messages, limits);
        if calls.is_empty() {
            break;
        }
        let wanted: usize = calls.iter().sum();
        let held = messages.len();
        let replies = calls.into_iter().map(|max| queue.receive(max, Duration::ZERO, limits.visibility_timeout));
        for reply in join_all(replies).await {
            match reply {
                Ok(more) => messages.extend(more),
                Err(error) => failure = Some(error),
            }
        }
        came_full = messages.len() - held > wanted / 2;
    }
    Ok(Received { messages, since, failure })
}

/// How many messages each of the next calls may bring, such that the limits are kept if bodies stay as large as they
/// have been; the messages in hand are at least one.
fn calls_to_make(in_hand: &[ReceivedMessage], limits: &ReceiveLimits) -> Vec<usize> {
    let bytes: usize = in_hand.iter().map(|message| message.body.len()).sum();
    let mean = (bytes / in_hand.len().max(1)).max(1);
    let room_in_bytes = limits.batch_bytes.saturating_sub(bytes) / mean;
    let room = limits.batch_size.saturating_sub(in_hand.len()).min(room_in_bytes);
    let full_calls = room / MESSAGES_PER_CALL;
    let mut calls = vec![MESSAGES_PER_CALL; full_calls.min(CALLS_AT_ONCE)];
    if full_calls < CALLS_AT_ONCE && !room.is_multiple_of(MESSAGES_PER_CALL) {
        calls.push(room % MESSAGES_PER_CALL);
    }
    calls
}
