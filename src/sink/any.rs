//! Any of the sinks, opened from settings.

use tokio::io::Stdout;

use super::http::{HttpSettings, HttpSink, ReceiverError};
use super::lines::Lines;
use super::sns::{SnsSink, TopicError};
use super::sqs::SqsSink;
use super::{Carried, Envelope, Limits, Sink, SinkError, Target};
use crate::queue::sqs::{ConnectError, QueueAddress, Sender, SqsSettings};

/// Which sink, and how it is reached.
#[derive(Clone, Debug)]
pub struct SinkSettings {
    /// Where it is.
    pub target: Target,
    /// Whether the endpoint of the AWS settings may lead the calls elsewhere than the host of a queue's URL.
    pub allow_endpoint_override: bool,
    /// Whether a server of AWS's protocols elsewhere than on this machine may be reached in clear.
    pub allow_clear_queue: bool,
    /// How a receiver over HTTP is reached.
    pub http: HttpSettings,
}

/// A sink of any kind.
#[derive(Debug)]
pub enum AnySink {
    /// Standard output.
    Stdout(Lines<Stdout>),
    /// A queue of SQS.
    Sqs(SqsSink),
    /// A topic of SNS.
    Sns(SnsSink),
    /// A receiver over HTTP.
    Http(Box<HttpSink>),
}

/// Why a sink cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The queue cannot be connected to.
    #[error(transparent)]
    Queue(#[from] ConnectError),
    /// The topic cannot be used.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The receiver cannot be used.
    #[error(transparent)]
    Receiver(#[from] ReceiverError),
}

impl OpenError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Queue(error) => error.remedy(),
            Self::Topic(error) => error.remedy().to_owned(),
            Self::Receiver(error) => error.remedy().to_owned(),
        }
    }
}

impl SinkSettings {
    /// How a queue is reached.
    pub fn queue(&self, address: &QueueAddress) -> SqsSettings {
        SqsSettings {
            allow_endpoint_override: self.allow_endpoint_override,
            allow_clear_queue: self.allow_clear_queue,
            ..SqsSettings::new(address.clone())
        }
    }
}

impl AnySink {
    /// Opens the sink that the settings name.
    ///
    /// # Errors
    ///
    /// [`OpenError`], which says what to do.
    pub async fn open(settings: &SinkSettings) -> Result<Self, OpenError> {
        match &settings.target {
            Target::Stdout => Ok(Self::Stdout(Lines::to(tokio::io::stdout()))),
            Target::Sqs(queue) => {
                Ok(Self::Sqs(SqsSink::of(Sender::connect(&settings.queue(queue), "turnstile").await?)))
            }
            Target::Sns(topic) => Ok(Self::Sns(SnsSink::connect(topic.clone(), settings.allow_clear_queue).await?)),
            Target::Http(address) => Ok(Self::Http(Box::new(HttpSink::at(address.clone(), settings.http.clone())?))),
        }
    }
}

impl Sink for AnySink {
    fn limits(&self) -> Limits {
        match self {
            Self::Stdout(sink) => sink.limits(),
            Self::Sqs(sink) => sink.limits(),
            Self::Sns(sink) => sink.limits(),
            Self::Http(sink) => sink.limits(),
        }
    }

    async fn carry(&self, events: &[Envelope]) -> Result<Vec<Carried>, SinkError> {
        match self {
            Self::Stdout(sink) => sink.carry(events).await,
            Self::Sqs(sink) => sink.carry(events).await,
            Self::Sns(sink) => sink.carry(events).await,
            Self::Http(sink) => sink.carry(events).await,
        }
    }
}
