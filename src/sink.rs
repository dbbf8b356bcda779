//! Where events are carried to.

pub mod any;
pub mod envelope;
pub mod http;
pub mod lines;
pub mod sns;
pub mod sqs;

use std::fmt;
use std::future::Future;
use std::str::FromStr;

pub use self::any::{AnySink, OpenError, SinkSettings};
pub use self::envelope::{Envelope, EnvelopeError};
use self::http::HttpAddress;
use self::sns::TopicArn;
use crate::queue::sqs::QueueAddress;

/// Something that takes events. Every call ends within a deadline of its own; one that failed may have taken effect.
pub trait Sink: Send + Sync + 'static {
    /// How much one call takes.
    fn limits(&self) -> Limits;

    /// Carries events in one call, which keeps to the limits; `Ok` says for each, in order, what became of it. They may arrive
    /// in any order.
    ///
    /// # Errors
    ///
    /// [`SinkError`]: the call failed as a whole.
    fn carry(&self, events: &[Envelope]) -> impl Future<Output = Result<Vec<Carried>, SinkError>> + Send;
}

/// Where a sink is. Prints no secret.
#[derive(Clone, Debug)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A queue of SQS, standard or FIFO.
    Sqs(QueueAddress),
    /// A topic of SNS, standard or FIFO.
    Sns(TopicArn),
    /// A receiver over HTTP.
    Http(HttpAddress),
}

impl FromStr for Target {
    type Err = NoTarget;

    fn from_str(text: &str) -> Result<Self, NoTarget> {
        match text.split_once(':') {
            Some(("stdout", "")) => Ok(Self::Stdout),
            Some(("sqs", queue)) => queue.parse().map(Self::Sqs).map_err(|_| NoTarget::Unknown),
            Some(("sns", topic)) => topic.parse().map(Self::Sns),
            Some(("http" | "https", _)) => text.parse().map(Self::Http),
            _ => Err(NoTarget::Unknown),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout:"),
            Self::Sqs(queue) => write!(f, "sqs:{queue}"),
            Self::Sns(topic) => write!(f, "sns:{topic}"),
            Self::Http(address) => write!(f, "{address}"),
        }
    }
}

/// A text does not say where a sink is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTarget {
    /// It names no kind of sink, or none that there can be.
    #[error("is not a sink that events can be carried to")]
    Unknown,
    /// It holds a user, and perhaps a password.
    #[error("holds a user before its host, which would be written down with it")]
    HoldsUser,
}

/// How much one call takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most events.
    pub events: usize,
    /// The most bytes of their bodies. One event alone may have more: the sink says what it makes of it.
    pub bytes: usize,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// The sink has it.
    Taken,
    /// The sink did not take it, and may take it later.
    Again,
    /// The sink refuses it for what it is; the code says why, and holds no value.
    Refused(String),
}

/// A call failed as a whole. Holds nothing of an event.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SinkError {
    /// The sink is away, busy, or does not let this program in: the same again later, as often as it takes.
    #[error("{0}")]
    Away(String),
    /// The sink refuses the call for one of its events, or because they are too many: fewer at once may be taken.
    #[error("the sink refuses the events: {0}")]
    Refused(String),
    /// Nobody will ever take an event here again.
    #[error("the sink is gone: {0}")]
    Gone(String),
}

/// The events of each call, in order.
pub fn calls(events: Vec<Envelope>, limits: Limits) -> Vec<Vec<Envelope>> {
    let mut calls: Vec<Vec<Envelope>> = Vec::new();
    let mut bytes = 0;
    for event in events {
        let fits = bytes + event.body.len() <= limits.bytes;
        match calls.last_mut().filter(|call| fits && call.len() < limits.events) {
            Some(call) => {
                bytes += event.body.len();
                call.push(event);
            }
            None => {
                bytes = event.body.len();
                calls.push(vec![event]);
            }
        }
    }
    calls
}
