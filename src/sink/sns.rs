//! A topic of SNS, standard or FIFO. A FIFO topic takes an event once within five minutes: its deduplication id is the event's.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sns::Client;
use aws_sdk_sns::config::http::HttpResponse;
use aws_sdk_sns::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_sns::config::timeout::TimeoutConfig;
use aws_sdk_sns::config::{Builder, Region, StalledStreamProtectionConfig};
use aws_sdk_sns::error::{BuildError, ProvideErrorMetadata as _, SdkError};
use aws_sdk_sns::operation::publish_batch::PublishBatchError;
use aws_sdk_sns::types::{BatchResultErrorEntry, MessageAttributeValue, PublishBatchRequestEntry};

use super::envelope::{ATTRIBUTE_BYTES, ATTRIBUTES};
use super::sqs::carried;
use super::{Carried, Envelope, Limits, NoTarget, Sink, SinkError};
use crate::aws::caller::Caller;
use crate::aws::clock::ServerClock;
use crate::aws::endpoint::{CONNECT_TIMEOUT, UnusableSettings, aws_settings, configured, fit, look_for_credentials};
use crate::aws::{CallError, Code, Fault, names_content};
use crate::queue::Refusal;
use crate::queue::answers::in_order;

/// The most messages that one call publishes: the topic's own limit.
const MESSAGES_PER_CALL: usize = 10;

/// How large the messages of a call may be in all, where the topic says nothing else (its attribute `MaximumMessageSize`).
const USUAL_BYTES: usize = 256 * 1024;

/// What a topic may say of itself.
const MOST_BYTES: usize = 1024 * 1024;

/// What is cut off and repeated may be published twice: longer than other calls.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(20);

/// How long the topic may take to say how large a message may be.
const LOOK_DEADLINE: Duration = Duration::from_secs(5);

/// The ARN of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicArn {
    text: String,
    region: String,
}

impl TopicArn {
    /// Whether the topic keeps the order of what is published.
    pub fn is_fifo(&self) -> bool {
        self.text.ends_with(".fifo")
    }
}

impl FromStr for TopicArn {
    type Err = NoTarget;

    fn from_str(text: &str) -> Result<Self, NoTarget> {
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", partition, "sns", region, account, name] = parts[..] else { return Err(NoTarget::Unknown) };
        let is_of = |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
        let stem = name.strip_suffix(".fifo").unwrap_or(name);
        let is_arn = partition.starts_with("aws") && is_of(partition, "-") && !region.is_empty() && is_of(region, "-");
        let is_topic = !account.is_empty() && is_of(account, "") && !stem.is_empty() && is_of(stem, "-_");
        match is_arn && is_topic && name.len() <= 256 {
            true => Ok(Self { text: text.to_owned(), region: region.to_owned() }),
            false => Err(NoTarget::Unknown),
        }
    }
}

impl fmt::Display for TopicArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a topic cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The AWS settings lead to no server.
    #[error(transparent)]
    Settings(#[from] UnusableSettings),
    /// The server is there, and has no such topic.
    #[error("there is no topic {0}")]
    NoTopic(TopicArn),
}

impl TopicError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Settings(unusable) => unusable.remedy(),
            Self::NoTopic(_) => "create the topic, or correct its ARN or AWS_ENDPOINT_URL",
        }
    }
}

/// A topic.
#[derive(Debug)]
pub struct SnsSink {
    caller: Caller<Client>,
    topic: TopicArn,
    bytes: usize,
    /// Whether the topic did not say how large a message may be.
    said_nothing: bool,
    attributes: HashMap<String, MessageAttributeValue>,
}

impl SnsSink {
    /// A topic, reached with the standard AWS settings.
    ///
    /// # Errors
    ///
    /// [`TopicError`], which says what to do. A server that is away, or says nothing of the topic, is none.
    pub async fn connect(topic: TopicArn, allow_clear: bool) -> Result<Self, TopicError> {
        Self::connect_with(topic, allow_clear, &aws_settings().await).await
    }

    /// The same with AWS settings from elsewhere than the environment.
    ///
    /// # Errors
    ///
    /// As [`SnsSink::connect`].
    pub async fn connect_with(topic: TopicArn, allow_clear: bool, aws: &SdkConfig) -> Result<Self, TopicError> {
        let endpoint = configured(aws, "SNS").map(|endpoint| fit(endpoint, allow_clear)).transpose()?;
        look_for_credentials(aws).await?;
        let said = match most_bytes(&caller(aws, &topic, endpoint.clone(), LOOK_DEADLINE), &topic).await {
            Ok(bytes) => Some(bytes),
            Err(error) if matches!(error.fault.name(), Some("NotFound" | "NotFoundException")) => {
                return Err(TopicError::NoTopic(topic));
            }
            Err(error) => {
                tracing::info!(%error, bytes = USUAL_BYTES, "the topic does not say how large a message may be");
                None
            }
        };
        let attributes = ATTRIBUTES.iter().filter_map(|(name, text)| {
            let value = MessageAttributeValue::builder().data_type("String").string_value(*text).build().ok()?;
            Some(((*name).to_owned(), value))
        });
        let caller = caller(aws, &topic, endpoint, PUBLISH_DEADLINE);
        let (bytes, said_nothing) = (said.unwrap_or(USUAL_BYTES), said.is_none());
        Ok(Self { caller, topic, bytes, said_nothing, attributes: attributes.collect() })
    }

    /// Whether the topic did not say how large a message may be, so that the usual is taken for it.
    pub fn said_nothing(&self) -> bool {
        self.said_nothing
    }

    fn entry(&self, number: usize, event: &Envelope) -> Result<PublishBatchRequestEntry, BuildError> {
        let entry = PublishBatchRequestEntry::builder()
            .id(number.to_string())
            .message(&event.body)
            .set_message_attributes(Some(self.attributes.clone()));
        match self.topic.is_fifo() {
            false => entry.build(),
            true => entry
                .message_deduplication_id(event.id.to_string())
                .message_group_id(event.group().unwrap_or_else(|| "turnstile".to_owned()))
                .build(),
        }
    }
}

impl Sink for SnsSink {
    fn limits(&self) -> Limits {
        Limits { events: MESSAGES_PER_CALL, bytes: self.bytes.saturating_sub(MESSAGES_PER_CALL * ATTRIBUTE_BYTES) }
    }

    async fn carry(&self, events: &[Envelope]) -> Result<Vec<Carried>, SinkError> {
        const CALL: &str = "PublishBatch";
        let entries = events.iter().enumerate().map(|(number, event)| self.entry(number, event));
        let entries = entries.collect::<Result<Vec<_>, _>>().map_err(|error| SinkError::Away(error.to_string()))?;
        let attempt = self.caller.attempt();
        let call = attempt.publish_batch().topic_arn(&self.topic.text).set_publish_batch_request_entries(Some(entries));
        let reply = call.send().await.map_err(|error| {
            let refuses = refuses_messages(&error);
            let error = self.caller.failure(CALL, &attempt, &error);
            if refuses { SinkError::Refused(error.fault.to_string()) } else { SinkError::Away(error.to_string()) }
        })?;
        let successful = reply.successful.unwrap_or_default().into_iter().filter_map(|done| Some((done.id?, ())));
        let failed = reply.failed.unwrap_or_default().into_iter().map(refused);
        Ok(in_order(events.len(), successful, failed).into_iter().map(carried).collect())
    }
}

fn refused(entry: BatchResultErrorEntry) -> (String, Refusal) {
    (entry.id, Refusal::by(entry.code, entry.sender_fault))
}

/// Whether the topic refuses the call for its messages. The code is the same where it refuses the ARN.
fn refuses_messages(error: &SdkError<PublishBatchError, HttpResponse>) -> bool {
    error.as_service_error().is_some_and(|refusal| {
        let names_topic = refusal.message().is_some_and(|said| said.contains("TopicArn"));
        refusal.code().is_some_and(|code| names_content(&Code::new(code))) && !names_topic
    })
}

/// How large the messages of a call may be in all.
async fn most_bytes(caller: &Caller<Client>, topic: &TopicArn) -> Result<usize, CallError> {
    const CALL: &str = "GetTopicAttributes";
    let attempt = caller.attempt();
    let reply = attempt.get_topic_attributes().topic_arn(&topic.text).send().await;
    let said = reply.map_err(|error| caller.failure(CALL, &attempt, &error))?.attributes;
    let said = said.ok_or(CallError { call: CALL, fault: Fault::Response, status: None })?;
    let bytes = said.get("MaximumMessageSize").and_then(|bytes| bytes.parse().ok());
    Ok(bytes.unwrap_or(USUAL_BYTES).min(MOST_BYTES))
}

/// A client with a deadline, which repeats nothing by itself: the relay decides.
fn caller(aws: &SdkConfig, topic: &TopicArn, endpoint: Option<String>, deadline: Duration) -> Caller<Client> {
    let deadlines = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(deadline)
        .operation_timeout(deadline)
        .build();
    let clock = ServerClock::default();
    let mut config = Builder::from(aws)
        .region(Region::new(topic.region.clone()))
        .retry_partition(RetryPartition::new("turnstile-publish"))
        .retry_config(RetryConfig::disabled())
        .timeout_config(deadlines)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .interceptor(clock.clone());
    // Also where there is none: the SDK would look for one by itself.
    config.set_endpoint_url(endpoint);
    Caller::new(Client::from_conf(config.build()), clock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_of_a_topic_is_told_from_other_texts() {
        for (text, is_fifo) in [
            ("arn:aws:sns:eu-central-1:123456789012:logins", false),
            ("arn:aws-cn:sns:cn-north-1:123456789012:logins_2-b.fifo", true),
        ] {
            let topic: TopicArn = text.parse().unwrap();
            assert_eq!((topic.to_string().as_str(), topic.is_fifo()), (text, is_fifo));
        }
        for text in [
            "",
            "logins",
            "arn:aws:sqs:eu-central-1:123456789012:logins",
            "arn:aws:sns::123456789012:logins",
            "arn:aws:sns:eu-central-1::logins",
            "arn:aws:sns:eu-central-1:123456789012:",
            "arn:aws:sns:eu-central-1:123456789012:.fifo",
            "arn:aws:sns:eu-central-1:123456789012:logins:1e2f",
            "arn:aws:sns:eu/central:123456789012:logins",
        ] {
            assert_eq!(text.parse::<TopicArn>().err(), Some(NoTarget::Unknown), "{text}");
        }
    }
}
