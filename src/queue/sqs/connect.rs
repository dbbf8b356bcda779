//! Finding the queue: settings, credentials, the clients, and what the queue says of itself.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{Builder, Region, StalledStreamProtectionConfig};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::QueueAttributeName;

use super::SqsSettings;
use super::address::{QueueAddress, QueueUrl};
use super::endpoint::{endpoint, region, told};
use crate::aws::caller::Caller;
use crate::aws::clock::ServerClock;
use crate::aws::endpoint::{CONNECT_TIMEOUT, UnusableSettings, look_for_credentials};
use crate::aws::failure::{explanation, failure, innermost};
use crate::message::QueueIdentity;
use crate::queue::{Fault, QueueError};
use crate::retry::Pauses;

/// The first pause of `wait_for_queue`, doubled after each look, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// What the queue says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueFacts {
    /// The URL that every call names the queue by.
    pub url: String,
    /// The queue's ARN; derived from the URL and the region where a server does not give it.
    pub identity: QueueIdentity,
    /// For how long a delivered message is hidden where a receive does not say otherwise.
    pub visibility_timeout: Option<Duration>,
    /// After how many receives the queue itself moves a message to its dead-letter queue; `None` without redrive.
    pub max_receive_count: Option<u32>,
    /// How long the queue keeps a message that nobody deletes.
    pub retention: Option<Duration>,
    /// Whether it is a FIFO queue.
    pub fifo: bool,
    /// Whether it drops what comes twice within five minutes in one message group only, and not in the whole queue
    /// (`DeduplicationScope`).
    pub deduplicates_by_group: bool,
    /// Whether it makes deduplication ids of bodies where a sender gives none (`ContentBasedDeduplication`).
    pub deduplicates_by_content: bool,
    /// Whether it encrypts at rest, with its own key or one of KMS.
    pub encrypted: bool,
}

/// Why a queue could not be connected to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No region in the environment, the profile or the instance.
    #[error("no AWS region is set")]
    NoRegion,
    /// No credentials in the environment, the profile, the container or the instance.
    #[error("no AWS credentials are available ({cause})")]
    NoCredentials {
        /// What the search ended with.
        cause: String,
    },
    /// The endpoint that the AWS settings give is not one.
    #[error("the endpoint {endpoint} of the AWS settings (AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_SQS) is not a URL")]
    NotAnEndpoint {
        /// As it is given, without a user and a password.
        endpoint: String,
    },
    /// The AWS settings would lead the calls elsewhere than the queue's URL.
    #[error(
        "the AWS settings give the endpoint {endpoint} (AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_SQS), and --queue names a queue at \
         {host}"
    )]
    EndpointOverride {
        /// Where the calls would go.
        endpoint: String,
        /// The host of the queue's URL.
        host: String,
    },
    /// The bodies would leave this machine in clear.
    #[error("the queue server at {endpoint} is reached in clear, and everybody on the way can read the logins")]
    InClear {
        /// Where the calls would go.
        endpoint: String,
    },
    /// The server is there and has no such queue.
    #[error("there is no queue {queue} at {place}")]
    NoQueue {
        /// The queue as the settings name it.
        queue: String,
        /// Region and endpoint.
        place: String,
    },
    /// No server answers.
    #[error("the queue server at {place} does not answer ({cause})")]
    Unreachable {
        /// Region and endpoint.
        place: String,
        /// What the connection ended with.
        cause: String,
    },
    /// The server answers and refuses.
    #[error("{error} at {place} ({cause})")]
    Refused {
        /// The call and its code.
        error: QueueError,
        /// Region and endpoint.
        place: String,
        /// The queue's own words.
        cause: String,
    },
}

impl From<UnusableSettings> for ConnectError {
    fn from(unusable: UnusableSettings) -> Self {
        match unusable {
            UnusableSettings::NoCredentials { cause } => Self::NoCredentials { cause },
            UnusableSettings::NotAnEndpoint { endpoint } => Self::NotAnEndpoint { endpoint },
            UnusableSettings::InClear { endpoint } => Self::InClear { endpoint },
        }
    }
}

impl ConnectError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        let remedy = match self {
            Self::NoRegion => {
                "set AWS_REGION (for example AWS_REGION=eu-central-1) or `region` in the AWS profile; a local SQS server \
                 accepts any value"
            }
            Self::NoCredentials { .. } => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a profile that has them, or run where a \
                 role provides them; a local SQS server accepts any value"
            }
            Self::NotAnEndpoint { .. } => "write http:// or https:// and a host",
            Self::EndpointOverride { .. } => {
                "unset the variable, or add --allow-endpoint-override if the calls are meant to go to that endpoint"
            }
            Self::InClear { .. } => "use https://, or add --allow-clear-queue where the way needs no protection",
            Self::NoQueue { .. } => "create the queue, or correct --queue, AWS_REGION or AWS_ENDPOINT_URL",
            Self::Unreachable { .. } => "check the network, AWS_ENDPOINT_URL, AWS_REGION and the host in --queue",
            Self::Refused { error, .. } => return error.remedy(),
        };
        remedy.to_owned()
    }
}

/// A way to the queue's server, and to the queue once it is found.
pub(super) struct Place {
    queue: QueueAddress,
    region: String,
    endpoint: Option<String>,
    call_deadline: Duration,
    aws: SdkConfig,
}

impl Place {
    /// Settles region and endpoint, and looks whether credentials are available at all.
    pub(super) async fn new(settings: &SqsSettings, aws: &SdkConfig) -> Result<Self, ConnectError> {
        let region = region(&settings.queue, aws)?;
        let endpoint = endpoint(settings, aws)?;
        look_for_credentials(aws).await?;
        Ok(Self {
            queue: settings.queue.clone(),
            region,
            endpoint,
            call_deadline: settings.call_deadline,
            aws: aws.clone(),
        })
    }

    /// Where the calls go, for people.
    pub(super) fn endpoint(&self) -> String {
        told(self.endpoint.as_deref(), &self.region, &self.aws)
    }

    /// The client for receives, which are at most `longest` long.
    ///
    /// It never repeats a receive by itself: the messages of a lost reply are hidden until their timeout, and a
    /// second try would hide more. The lane decides what follows a failure, and when.
    pub(super) fn receiver(&self, longest: Duration) -> Caller<Client> {
        self.client("turnstile-receive", RetryConfig::disabled(), longest, longest)
    }

    /// The client for deletes, visibility changes and questions: each may be repeated without harm, so it is, once,
    /// within the deadline.
    pub(super) fn controller(&self) -> Caller<Client> {
        let twice = RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(100));
        self.client("turnstile-control", twice, self.call_deadline / 2, self.call_deadline)
    }

    /// The client for sends. What was sent twice is in the queue twice: the job that sends decides, not the SDK.
    pub(super) fn sender(&self, deadline: Duration) -> Caller<Client> {
        self.client("turnstile-send", RetryConfig::disabled(), deadline, deadline)
    }

    /// A client with deadlines, for the SDK has none for a reply.
    ///
    /// The SDK's retry quota is one for all clients of the process that share a partition's name, so each kind of
    /// client has a name of its own: failing calls of one kind must not use up the retries of another.
    /// Its watch over stalled streams is off: the deadlines end whatever it would end.
    fn client(
        &self,
        partition: &'static str,
        retries: RetryConfig,
        attempt: Duration,
        whole: Duration,
    ) -> Caller<Client> {
        let deadlines = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(attempt)
            .operation_timeout(whole)
            .build();
        let mut config = Builder::from(&self.aws)
            .region(Region::new(self.region.clone()))
            .retry_partition(RetryPartition::new(partition))
            .retry_config(retries)
            .timeout_config(deadlines)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        // Also where there is none: the SDK would look for one by itself.
        config.set_endpoint_url(self.endpoint.clone());
        let clock = ServerClock::default();
        Caller::new(Client::from_conf(config.interceptor(clock.clone()).build()), clock)
    }

    /// The queue's URL. A URL in the settings is taken at its word.
    pub(super) async fn find(&self, caller: &Caller<Client>) -> Result<String, ConnectError> {
        match &self.queue {
            QueueAddress::Url(url) => Ok(url.as_str().to_owned()),
            QueueAddress::Name(name) => {
                let reply = caller.attempt().get_queue_url().queue_name(name).send().await;
                let found = reply.map_err(|error| self.failed("GetQueueUrl", &error))?;
                found.queue_url.ok_or_else(|| self.nameless_reply("GetQueueUrl"))
            }
        }
    }

    /// What the queue at this URL says of itself.
    pub(super) async fn ask(&self, caller: &Caller<Client>, url: String) -> Result<QueueFacts, ConnectError> {
        // All, because Amazon refuses a standard queue's request that names FifoQueue.
        let attempt = caller.attempt();
        let question = attempt.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::All);
        let reply = question.send().await;
        let said = reply.map_err(|error| self.failed("GetQueueAttributes", &error))?.attributes.unwrap_or_default();
        Ok(QueueFacts::read(&said, url, &self.region))
    }

    /// Looks for the queue, again and again for up to `patience`, as long as only its absence is in the way.
    pub(super) async fn wait_for<T, F>(&self, patience: Duration, look: impl Fn() -> F) -> Result<T, ConnectError>
    where
        F: Future<Output = Result<T, ConnectError>>,
    {
        let mut pauses = Pauses::new(PAUSES.0, PAUSES.1);
        let until = tokio::time::Instant::now() + patience;
        let mut said = false;
        loop {
            let error = match look().await {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() || !error.may_pass() {
                return Err(error);
            }
            if !said {
                tracing::info!(queue = %self.queue, "waiting for the queue: {error}");
                said = true;
            }
            tokio::time::sleep(pauses.next_pause().min(left)).await;
        }
    }

    fn failed<E>(&self, call: &'static str, error: &SdkError<E, HttpResponse>) -> ConnectError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let (place, cause, innermost) = (self.to_string(), explanation(error), innermost(error));
        let error = failure(call, error);
        match error.fault {
            Fault::Timeout | Fault::Unreachable | Fault::Connection => {
                ConnectError::Unreachable { place, cause: innermost }
            }
            Fault::Credentials => ConnectError::NoCredentials { cause },
            _ if error.names_no_queue() => ConnectError::NoQueue { queue: self.queue.to_string(), place },
            _ => ConnectError::Refused { error, place, cause },
        }
    }

    fn nameless_reply(&self, call: &'static str) -> ConnectError {
        let error = QueueError { call, fault: Fault::Response, status: None };
        ConnectError::Refused { error, place: self.to_string(), cause: "the reply holds no URL".to_owned() }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (region {})", self.endpoint(), self.region)
    }
}

impl ConnectError {
    /// Whether waiting can mend it: the queue or its server may still be on its way up.
    fn may_pass(&self) -> bool {
        match self {
            Self::NoQueue { .. } | Self::Unreachable { .. } => true,
            Self::Refused { error, .. } => !error.is_for_good(),
            Self::NoRegion
            | Self::NoCredentials { .. }
            | Self::NotAnEndpoint { .. }
            | Self::EndpointOverride { .. }
            | Self::InClear { .. } => false,
        }
    }
}

impl QueueFacts {
    fn read(said: &HashMap<QueueAttributeName, String>, url: String, region: &str) -> Self {
        let text = |name: QueueAttributeName| said.get(&name).map(String::as_str);
        let seconds = |name| text(name).and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let arn = match (text(QueueAttributeName::QueueArn), QueueUrl::parse(&url)) {
            (Some(arn), _) => arn.to_owned(),
            (None, Ok(parsed)) => parsed.arn(region),
            (None, Err(_)) => url.clone(),
        };
        let is_true = |name| text(name).is_some_and(|text| text.eq_ignore_ascii_case("true"));
        Self {
            identity: QueueIdentity::new(arn),
            visibility_timeout: seconds(QueueAttributeName::VisibilityTimeout),
            max_receive_count: text(QueueAttributeName::RedrivePolicy).and_then(max_receive_count),
            retention: seconds(QueueAttributeName::MessageRetentionPeriod),
            fifo: is_true(QueueAttributeName::FifoQueue) || url.ends_with(".fifo"),
            deduplicates_by_group: text(QueueAttributeName::DeduplicationScope) == Some("messageGroup"),
            deduplicates_by_content: is_true(QueueAttributeName::ContentBasedDeduplication),
            encrypted: is_true(QueueAttributeName::SqsManagedSseEnabled)
                || text(QueueAttributeName::KmsMasterKeyId).is_some(),
            url,
        }
    }
}

/// `maxReceiveCount` of a redrive policy: Amazon writes a number, some servers a text.
fn max_receive_count(policy: &str) -> Option<u32> {
    let policy: serde_json::Value = serde_json::from_str(policy).ok()?;
    let count = policy.get("maxReceiveCount")?;
    count.as_u64().or_else(|| count.as_str()?.parse().ok()).and_then(|count| u32::try_from(count).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Code;

    fn facts(said: &[(QueueAttributeName, &str)]) -> QueueFacts {
        let said = said.iter().map(|(name, value)| (name.clone(), (*value).to_owned())).collect();
        QueueFacts::read(&said, "http://localhost:9324/000000000000/logins".to_owned(), "eu-central-1")
    }

    #[test]
    fn the_queue_s_own_word_is_kept_and_what_it_does_not_say_is_left_open() {
        let said = facts(&[
            (QueueAttributeName::QueueArn, "arn:aws:sqs:eu-central-1:123456789012:logins"),
            (QueueAttributeName::VisibilityTimeout, "30"),
            (QueueAttributeName::MessageRetentionPeriod, "345600"),
            (QueueAttributeName::RedrivePolicy, r#"{"deadLetterTargetArn":"arn:…:dead","maxReceiveCount":5}"#),
            (QueueAttributeName::SqsManagedSseEnabled, "true"),
        ]);
        assert_eq!(said.identity.as_str(), "arn:aws:sqs:eu-central-1:123456789012:logins");
        assert_eq!(said.visibility_timeout, Some(Duration::from_secs(30)));
        assert_eq!(said.retention, Some(Duration::from_secs(4 * 86_400)));
        assert_eq!((said.max_receive_count, said.fifo, said.encrypted), (Some(5), false, true));

        let silent = facts(&[]);
        assert_eq!(silent.identity.as_str(), "arn:aws:sqs:eu-central-1:000000000000:logins");
        assert_eq!((silent.visibility_timeout, silent.max_receive_count), (None, None));
        assert!(!silent.fifo && !silent.encrypted && !silent.deduplicates_by_group);
        let fifo = facts(&[
            (QueueAttributeName::FifoQueue, "true"),
            (QueueAttributeName::DeduplicationScope, "messageGroup"),
            (QueueAttributeName::ContentBasedDeduplication, "true"),
        ]);
        assert!(fifo.fifo && fifo.deduplicates_by_group && fifo.deduplicates_by_content);
    }

    #[test]
    fn a_redrive_policy_may_write_its_count_as_number_or_text() {
        for (policy, count) in [
            (r#"{"maxReceiveCount":3}"#, Some(3)),
            (r#"{"maxReceiveCount":"3"}"#, Some(3)),
            (r#"{"maxReceiveCount":"many"}"#, None),
            (r#"{"maxReceiveCount":99999999999}"#, None),
            ("{}", None),
            ("", None),
        ] {
            assert_eq!(max_receive_count(policy), count, "{policy}");
        }
    }

    #[test]
    fn a_queue_is_waited_for_while_its_server_refuses_only_for_now() {
        let refused = |code: &str, status| ConnectError::Refused {
            error: QueueError {
                call: "GetQueueAttributes",
                fault: Fault::Refused(Code::new(code)),
                status: Some(status),
            },
            place: String::new(),
            cause: String::new(),
        };
        for (code, status, passes) in [
            ("ThrottlingException", 400, true),
            ("InternalError", 500, true),
            ("ServiceUnavailable", 503, true),
            ("AccessDenied", 403, false),
            ("InvalidAddress", 404, false),
        ] {
            assert_eq!(refused(code, status).may_pass(), passes, "{code}");
        }
    }
}
