//! A queue of SQS, standard or FIFO. A FIFO queue takes an event once within five minutes: its deduplication id is the event's.

use super::envelope::{ATTRIBUTE_BYTES, ATTRIBUTES};
use super::{Carried, Envelope, Limits, Sink, SinkError};
use crate::queue::sqs::{Outgoing, Sender};
use crate::queue::{Answer, MAX_MESSAGE_BYTES, MESSAGES_PER_CALL, QueueError};

/// A queue.
#[derive(Clone, Debug)]
pub struct SqsSink(Sender);

impl SqsSink {
    /// What this sends to.
    pub fn of(sender: Sender) -> Self {
        Self(sender.with_attributes(&ATTRIBUTES))
    }
}

impl Sink for SqsSink {
    fn limits(&self) -> Limits {
        Limits { events: MESSAGES_PER_CALL, bytes: MAX_MESSAGE_BYTES - MESSAGES_PER_CALL * ATTRIBUTE_BYTES }
    }

    async fn carry(&self, events: &[Envelope]) -> Result<Vec<Carried>, SinkError> {
        let outgoing: Vec<Outgoing> = events.iter().map(|event| self.outgoing(event)).collect();
        let answers = self.0.send(&outgoing).await.map_err(error)?;
        Ok(answers.into_iter().map(carried).collect())
    }
}

impl SqsSink {
    fn outgoing(&self, event: &Envelope) -> Outgoing {
        let deduplication_id = self.0.is_fifo().then(|| event.id.to_string());
        Outgoing { deduplication_id, group: event.group(), ..Outgoing::of(event.body.clone()) }
    }
}

/// An entry that may not be sent, or whose queue has no key just now, may be sent later.
pub(super) fn carried<T>(answer: Answer<T>) -> Carried {
    match answer {
        Ok(_) => Carried::Taken,
        Err(refusal) if refusal.is_of_content() => Carried::Refused(refusal.fault.to_string()),
        Err(_) => Carried::Again,
    }
}

/// Only what the bodies are is the events' fault: a queue that is gone, or closed to us, may be there again.
fn error(error: QueueError) -> SinkError {
    match error.names_bodies() {
        true => SinkError::Refused(error.fault.to_string()),
        false => SinkError::Away(error.to_string()),
    }
}
