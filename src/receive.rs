//! Calls out, side by side while they come back full; one bounded gathering of messages in.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::message::{Delivery, ReceivedMessage, SentAt, TimeBasis};
use crate::queue::{MESSAGES_PER_CALL, Queue, QueueError};

/// The most receive calls of one lane side by side.
const MOST_CALLS_AT_ONCE: usize = 8;

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
    /// How long a call waits for the first message; at most 20 s.
    pub wait: Duration,
    /// How long the messages are hidden from others.
    pub visibility_timeout: Duration,
}

/// Messages in hand.
pub struct Received {
    /// The messages.
    pub messages: Vec<ReceivedMessage>,
    /// When the first of them came, or shortly before.
    pub since: Instant,
    /// Whether the queue had more: the last calls came back full, and the limits ended the gathering.
    pub had_more: bool,
    /// What ended the gathering early; the messages are good all the same.
    pub failure: Option<QueueError>,
}

/// Gathers messages: one long poll, and as long as the queue has more, several calls at once that do not wait. Where it
/// had more the last time, these come first, and the long poll only if they bring nothing.
///
/// No call is begun once `stopping` is cancelled. Every call that is begun is waited for: its messages are hidden from
/// others from then on, and cutting it off would keep them so, unread, until their visibility timeout.
///
/// # Errors
///
/// [`QueueError`] when a call fails before there is a message.
pub async fn receive<Q: Queue>(
    queue: &Q,
    limits: &ReceiveLimits,
    stride: &mut Stride,
    stopping: &CancellationToken,
) -> Result<Received, QueueError> {
    let mut received = Received { messages: Vec::new(), since: Instant::now(), had_more: false, failure: None };
    // A long poll beside calls that do not wait could be left with nothing, and keep what they brought waiting.
    if stride.calls > 1 {
        received.add_calls(queue, limits, stride, Duration::ZERO).await;
    }
    if received.messages.is_empty() && received.failure.is_none() && !stopping.is_cancelled() {
        received.add_calls(queue, limits, stride, limits.wait).await;
        received.since = Instant::now();
    }
    while received.had_more && received.since.elapsed() < limits.linger && !stopping.is_cancelled() {
        if !received.add_calls(queue, limits, stride, Duration::ZERO).await {
            break;
        }
    }
    match received.failure.take() {
        Some(error) if received.messages.is_empty() => Err(error),
        failure => Ok(Received { failure, ..received }),
    }
}

impl Received {
    /// Makes calls side by side, where there is room for what they may bring. Says whether there was.
    async fn add_calls<Q: Queue>(
        &mut self,
        queue: &Q,
        limits: &ReceiveLimits,
        stride: &mut Stride,
        wait: Duration,
    ) -> bool {
        let held = self.messages.len();
        let calls = stride.calls_within(limits, held, self.bytes());
        if calls.is_empty() {
            return false;
        }
        let wanted: usize = calls.iter().sum();
        let replies = calls.into_iter().map(|max| queue.receive(max, wait, limits.visibility_timeout));
        for reply in join_all(replies).await {
            match reply {
                Ok(more) => self.messages.extend(more),
                Err(error) => self.failure = Some(error),
            }
        }
        let came = self.messages.len() - held;
        self.had_more = came_full(wanted, came) && self.failure.is_none();
        *stride = stride.after(wanted, came);
        if let Some(mean) = self.bytes().checked_div(self.messages.len()) {
            stride.body_bytes = mean;
        }
        true
    }

    fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.body.len()).sum()
    }
}

/// The messages that can be claimed as their queue's are, and the deliveries that cannot: on a queue that gives a
/// SentTimestamp they lack one, and would be claimed a second time when they come with it.
pub fn by_time(mut messages: Vec<ReceivedMessage>, basis: TimeBasis) -> (Vec<ReceivedMessage>, Vec<Delivery>) {
    match basis {
        TimeBasis::None => {
            for ReceivedMessage { delivery, .. } in &mut messages {
                delivery.sent_at = SentAt::Receipt(delivery.received_at);
            }
            (messages, Vec::new())
        }
        TimeBasis::SentTimestamp => {
            let (timed, timeless): (Vec<_>, Vec<_>) =
                messages.into_iter().partition(|message| message.delivery.sent_at.of_queue().is_some());
            if !timeless.is_empty() {
                tracing::warn!(
                    messages = timeless.len(),
                    "messages came without a SentTimestamp that can be read, which this queue gave before: they go back"
                );
            }
            (timed, timeless.into_iter().map(|message| message.delivery).collect())
        }
    }
}

/// How a lane goes about its next calls, learnt from what its last ones brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stride {
    /// How many calls are worth making side by side.
    calls: usize,
    /// How large a body is to be expected.
    body_bytes: usize,
}

impl Default for Stride {
    /// Nothing is known: one call.
    fn default() -> Self {
        Self { calls: 1, body_bytes: 0 }
    }
}

impl Stride {
    /// Twice as many calls after such that came back full; otherwise as many as would have done.
    fn after(self, wanted: usize, came: usize) -> Self {
        let calls = match came_full(wanted, came) {
            true => (2 * self.calls).min(MOST_CALLS_AT_ONCE),
            false => came.div_ceil(MESSAGES_PER_CALL).max(1),
        };
        Self { calls, ..self }
    }

    /// How many messages each of the next calls may bring, such that the limits are kept with so much in hand, if
    /// bodies are as large as expected.
    fn calls_within(self, limits: &ReceiveLimits, held: usize, held_bytes: usize) -> Vec<usize> {
        let room_in_bytes = limits.batch_bytes.saturating_sub(held_bytes) / self.body_bytes.max(1);
        let room = limits.batch_size.saturating_sub(held).min(room_in_bytes);
        // Nothing in hand: one whole call is made however large the bodies.
        let room = if held == 0 { room.max(MESSAGES_PER_CALL.min(limits.batch_size)) } else { room };
        let of_call = |n| room.saturating_sub(n * MESSAGES_PER_CALL).min(MESSAGES_PER_CALL);
        (0..self.calls).map(of_call).take_while(|max| *max > 0).collect()
    }
}

/// More than half full: a queue that is spread over many servers seldom fills every call.
fn came_full(wanted: usize, came: usize) -> bool {
    came > wanted / 2
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::message::{Attributes, MessageId, RawBody, ReceiptHandle};

    const LIMITS: ReceiveLimits = ReceiveLimits {
        batch_size: 500,
        batch_bytes: 4 << 20,
        linger: Duration::ZERO,
        wait: Duration::ZERO,
        visibility_timeout: Duration::ZERO,
    };

    fn stride(calls: usize, body_bytes: usize) -> Stride {
        Stride { calls, body_bytes }
    }

    #[test]
    fn calls_double_while_they_come_back_full_and_are_as_many_as_would_have_done_otherwise() {
        for (calls, wanted, came, next) in [
            (1, 10, 10, 2),
            (1, 10, 6, 2),
            (1, 10, 5, 1),
            (1, 10, 0, 1),
            (1, 1, 1, 2),
            (2, 20, 20, 4),
            (4, 40, 21, 8),
            (8, 80, 80, 8),
            (8, 80, 40, 4),
            (8, 80, 31, 4),
            (8, 80, 1, 1),
            (8, 80, 0, 1),
            // The room was small, the queue deep.
            (8, 20, 20, 8),
            (8, 3, 3, 8),
        ] {
            assert_eq!(stride(calls, 100).after(wanted, came), stride(next, 100), "{calls} calls, {came} of {wanted}");
        }
    }

    #[test]
    fn calls_keep_to_the_limits() {
        let mib = 1 << 20;
        for (stride, held, held_bytes, calls) in [
            (Stride::default(), 0, 0, &[10][..]),
            (stride(3, 100), 0, 0, &[10, 10, 10]),
            (stride(8, 100), 480, 48_000, &[10, 10]),
            (stride(8, 100), 485, 48_500, &[10, 5]),
            (stride(1, 100), 485, 48_500, &[10]),
            (stride(8, 100), 500, 50_000, &[]),
            (stride(8, 100), 510, 51_000, &[]),
            (stride(8, mib / 4), 0, 0, &[10, 6]),
            (stride(8, mib / 4), 10, 10 * mib / 4, &[6]),
            (stride(8, mib), 0, 0, &[10]),
            (stride(8, mib), 10, 10 * mib, &[]),
            (stride(8, 0), 3, 0, &[10; 8]),
        ] {
            assert_eq!(stride.calls_within(&LIMITS, held, held_bytes), calls, "{stride:?}, {held} in hand");
        }
        let three = ReceiveLimits { batch_size: 3, ..LIMITS };
        assert_eq!(stride(8, mib).calls_within(&three, 0, 0), [3]);
        assert_eq!(stride(8, 100).calls_within(&three, 2, 200), [1]);
    }

    fn message(sent_at: SentAt) -> ReceivedMessage {
        let delivery = Delivery {
            message_id: MessageId::new("m"),
            receipt: ReceiptHandle::new("r"),
            sent_at,
            received_at: OffsetDateTime::UNIX_EPOCH,
            receive_count: 1,
        };
        ReceivedMessage {
            delivery,
            body: RawBody::new("{}"),
            attributes: Attributes::default(),
            producer: None,
            requeued: None,
        }
    }

    #[test]
    fn what_a_message_is_claimed_under_is_a_matter_of_its_queue_and_never_of_the_message() {
        let time = OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000);
        let both = || vec![message(SentAt::Queue(time)), message(SentAt::Receipt(time))];
        let (timed, timeless) = by_time(both(), TimeBasis::SentTimestamp);
        assert_eq!((timed.len(), timeless.len()), (1, 1));
        assert_eq!(timed[0].delivery.sent_at, SentAt::Queue(time));
        let (all, none) = by_time(both(), TimeBasis::None);
        assert!(none.is_empty() && all.iter().all(|message| message.delivery.sent_at.of_queue().is_none()));
    }
}
