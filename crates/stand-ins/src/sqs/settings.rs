//! A queue's attributes: what a client can set, within the limits of SQS.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::error::{ApiError, ErrorCode, shortened};
use super::limits::MAX_MESSAGE_BYTES;

/// The account that every queue belongs to.
pub const ACCOUNT: &str = "000000000000";

/// The attributes of a queue that a client can set.
#[derive(Clone)]
pub(super) struct QueueSettings {
    pub(super) fifo: bool,
    pub(super) visibility_timeout: Duration,
    pub(super) delay: Duration,
    pub(super) retention: Duration,
    pub(super) wait: Duration,
    pub(super) max_message_bytes: usize,
    pub(super) redrive: Option<RedrivePolicy>,
    pub(super) redrive_allow: Option<RedriveAllowPolicy>,
    pub(super) content_based_deduplication: bool,
    pub(super) deduplication_by_group: bool,
    throughput_by_group: bool,
    /// Attributes that are kept and given back, and change nothing here: policies and encryption.
    kept: BTreeMap<&'static str, String>,
}

/// Where messages go that were received too often.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct RedrivePolicy {
    pub(super) dead_letter_target_arn: String,
    pub(super) max_receive_count: u32,
}

/// Which queues may name this one as their dead-letter queue.
#[derive(Clone)]
pub(super) struct RedriveAllowPolicy {
    text: String,
    permission: RedrivePermission,
}

#[derive(Clone)]
enum RedrivePermission {
    AllowAll,
    DenyAll,
    ByQueue(Vec<String>),
}

impl RedriveAllowPolicy {
    pub(super) fn allows(&self, source_arn: &str) -> bool {
        match &self.permission {
            RedrivePermission::AllowAll => true,
            RedrivePermission::DenyAll => false,
            RedrivePermission::ByQueue(arns) => arns.iter().any(|arn| arn == source_arn),
        }
    }
}

/// The attributes that only a FIFO queue has.
const FIFO_ONLY: [&str; 4] = ["ContentBasedDeduplication", "DeduplicationScope", "FifoQueue", "FifoThroughputLimit"];

/// The attributes that are kept and given back only.
const KEPT: [&str; 4] = ["KmsDataKeyReusePeriodSeconds", "KmsMasterKeyId", "Policy", "SqsManagedSseEnabled"];

impl QueueSettings {
    /// A queue's attributes where nothing else was asked for: the defaults of SQS.
    pub(super) fn new(fifo: bool) -> Self {
        Self {
            fifo,
            visibility_timeout: Duration::from_secs(30),
            delay: Duration::ZERO,
            retention: Duration::from_secs(345_600),
            wait: Duration::ZERO,
            max_message_bytes: MAX_MESSAGE_BYTES,
            redrive: None,
            redrive_allow: None,
            content_based_deduplication: false,
            deduplication_by_group: false,
            throughput_by_group: false,
            kept: BTreeMap::from([("SqsManagedSseEnabled", "true".to_owned())]),
        }
    }

    /// The attributes of a new queue of this name.
    pub(super) fn create(name: &str, attributes: &BTreeMap<String, String>) -> Result<Self, ApiError> {
        let fifo = match attributes.get("FifoQueue").map(String::as_str) {
            Some("true") => true,
            None => false,
            Some("false") => return Err(ApiError::unknown_attribute("FifoQueue")),
            Some(_) => return Err(invalid_value("FifoQueue")),
        };
        check_name(name, fifo)?;
        let mut settings = Self::new(fifo);
        for (name, value) in attributes.iter().filter(|(name, _)| *name != "FifoQueue") {
            settings.set(name, value)?;
        }
        settings.check_throughput()?;
        Ok(settings)
    }

    /// These attributes with some changed; nothing changes where one is refused.
    pub(super) fn changed(&self, attributes: &BTreeMap<String, String>) -> Result<Self, ApiError> {
        let mut settings = self.clone();
        for (name, value) in attributes {
            settings.set(name, value)?;
        }
        settings.check_throughput()?;
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), ApiError> {
        if !self.fifo && FIFO_ONLY.contains(&name) {
            return Err(ApiError::unknown_attribute(name));
        }
        match name {
            "VisibilityTimeout" => self.visibility_timeout = seconds(name, value, 0, 43_200)?,
            "DelaySeconds" => self.delay = seconds(name, value, 0, 900)?,
            "MessageRetentionPeriod" => self.retention = seconds(name, value, 60, 1_209_600)?,
            "ReceiveMessageWaitTimeSeconds" => self.wait = seconds(name, value, 0, 20)?,
            "MaximumMessageSize" => self.max_message_bytes = number(name, value, 1024, MAX_MESSAGE_BYTES)?,
            "RedrivePolicy" => self.redrive = redrive_policy(value)?,
            "RedriveAllowPolicy" => self.redrive_allow = redrive_allow_policy(value)?,
            "ContentBasedDeduplication" => {
                self.content_based_deduplication = one_of(name, value, "false", "true")?;
            }
            "DeduplicationScope" => self.deduplication_by_group = one_of(name, value, "queue", "messageGroup")?,
            "FifoThroughputLimit" => {
                self.throughput_by_group = one_of(name, value, "perQueue", "perMessageGroupId")?;
            }
            "FifoQueue" if value == "true" => {}
            "FifoQueue" => return Err(invalid_value(name)),
            _ => self.keep(name, value)?,
        }
        Ok(())
    }

    fn keep(&mut self, name: &str, value: &str) -> Result<(), ApiError> {
        let kept = KEPT.into_iter().find(|known| *known == name).ok_or_else(|| ApiError::unknown_attribute(name))?;
        if value.is_empty() {
            self.kept.remove(kept);
        } else {
            self.kept.insert(kept, value.to_owned());
        }
        Ok(())
    }

    fn check_throughput(&self) -> Result<(), ApiError> {
        if self.throughput_by_group && !self.deduplication_by_group {
            let message = "The perMessageGroupId value is allowed only when the value for DeduplicationScope is \
                           messageGroup.";
            return Err(ApiError::invalid(message));
        }
        Ok(())
    }

    /// The attributes as SQS gives them back.
    pub(super) fn list(&self) -> BTreeMap<&'static str, String> {
        let mut list = self.kept.clone();
        list.insert("VisibilityTimeout", self.visibility_timeout.as_secs().to_string());
        list.insert("DelaySeconds", self.delay.as_secs().to_string());
        list.insert("MessageRetentionPeriod", self.retention.as_secs().to_string());
        list.insert("ReceiveMessageWaitTimeSeconds", self.wait.as_secs().to_string());
        list.insert("MaximumMessageSize", self.max_message_bytes.to_string());
        if let Some(redrive) = &self.redrive {
            let text = serde_json::json!({
                "deadLetterTargetArn": redrive.dead_letter_target_arn,
                "maxReceiveCount": redrive.max_receive_count,
            });
            list.insert("RedrivePolicy", text.to_string());
        }
        if let Some(allow) = &self.redrive_allow {
            list.insert("RedriveAllowPolicy", allow.text.clone());
        }
        if self.fifo {
            list.insert("FifoQueue", "true".to_owned());
            list.insert("ContentBasedDeduplication", self.content_based_deduplication.to_string());
            let scope = if self.deduplication_by_group { "messageGroup" } else { "queue" };
            list.insert("DeduplicationScope", scope.to_owned());
            let limit = if self.throughput_by_group { "perMessageGroupId" } else { "perQueue" };
            list.insert("FifoThroughputLimit", limit.to_owned());
        }
        list
    }

    /// Whether a client may ask a queue of this kind for the attribute of this name.
    pub(super) fn knows(&self, name: &str) -> bool {
        const OTHERS: [&str; 14] = [
            "All",
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesDelayed",
            "ApproximateNumberOfMessagesNotVisible",
            "CreatedTimestamp",
            "DelaySeconds",
            "LastModifiedTimestamp",
            "MaximumMessageSize",
            "MessageRetentionPeriod",
            "QueueArn",
            "ReceiveMessageWaitTimeSeconds",
            "RedriveAllowPolicy",
            "RedrivePolicy",
            "VisibilityTimeout",
        ];
        OTHERS.contains(&name) || KEPT.contains(&name) || (self.fifo && FIFO_ONLY.contains(&name))
    }
}

/// Refuses names that SQS refuses: 1 to 80 letters, digits, hyphens and underscores, a FIFO queue's ending in `.fifo`.
pub(super) fn check_name(name: &str, fifo: bool) -> Result<(), ApiError> {
    let stem = if fifo { name.strip_suffix(".fifo") } else { Some(name) };
    let is_valid =
        |stem: &str| !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if name.len() <= 80 && stem.is_some_and(is_valid) {
        return Ok(());
    }
    Err(ApiError::invalid(if fifo {
        "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with \
         .fifo suffix and be 1 to 80 in length."
    } else {
        "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length."
    }))
}

fn seconds(name: &str, value: &str, min: usize, max: usize) -> Result<Duration, ApiError> {
    number(name, value, min, max).map(|seconds| Duration::from_secs(seconds as u64))
}

fn number(name: &str, value: &str, min: usize, max: usize) -> Result<usize, ApiError> {
    value.parse().ok().filter(|number| (min..=max).contains(number)).ok_or_else(|| invalid_value(name))
}

/// False for the first of two allowed values, true for the second.
fn one_of(name: &str, value: &str, first: &str, second: &str) -> Result<bool, ApiError> {
    if value != first && value != second {
        return Err(invalid_value(name));
    }
    Ok(value == second)
}

fn invalid_value(name: &str) -> ApiError {
    ApiError::new(ErrorCode::InvalidAttributeValue, format!("Invalid value for the parameter {name}."))
}

fn redrive_policy(value: &str) -> Result<Option<RedrivePolicy>, ApiError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wire {
        dead_letter_target_arn: Option<String>,
        max_receive_count: Option<serde_json::Value>,
    }
    if value.is_empty() {
        return Ok(None);
    }
    let refuse = |reason: &str| refused_policy("RedrivePolicy", value, reason);
    let wire: Wire = serde_json::from_str(value).map_err(|_| refuse("Redrive policy is not a valid JSON map."))?;
    let arn = wire
        .dead_letter_target_arn
        .ok_or_else(|| refuse("Redrive policy does not contain mandatory attribute: deadLetterTargetArn."))?;
    if queue_of_arn(&arn).is_none() {
        return Err(refuse("Invalid value for deadLetterTargetArn."));
    }
    let count = match wire.max_receive_count {
        // The API reference gives ten as the default.
        None => Some(10),
        Some(serde_json::Value::Number(number)) => number.as_u64(),
        Some(serde_json::Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    let max_receive_count = count
        .and_then(|count| u32::try_from(count).ok())
        .filter(|count| (1..=1000).contains(count))
        .ok_or_else(|| refuse("Invalid value for maxReceiveCount, valid values are from 1 to 1000 both inclusive."))?;
    Ok(Some(RedrivePolicy { dead_letter_target_arn: arn, max_receive_count }))
}

fn redrive_allow_policy(value: &str) -> Result<Option<RedriveAllowPolicy>, ApiError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wire {
        redrive_permission: Option<String>,
        source_queue_arns: Option<Vec<String>>,
    }
    if value.is_empty() {
        return Ok(None);
    }
    let refuse = |reason: &str| refused_policy("RedriveAllowPolicy", value, reason);
    let wire: Wire = serde_json::from_str(value).map_err(|_| refuse("It is not a valid JSON map."))?;
    let permission = match (wire.redrive_permission.as_deref(), wire.source_queue_arns) {
        (Some("allowAll") | None, None) => RedrivePermission::AllowAll,
        (Some("denyAll"), None) => RedrivePermission::DenyAll,
        (Some("byQueue"), Some(arns)) if (1..=10).contains(&arns.len()) => RedrivePermission::ByQueue(arns),
        _ => {
            return Err(refuse(
                "redrivePermission is allowAll or denyAll, or byQueue with 1 to 10 entries in sourceQueueArns.",
            ));
        }
    };
    Ok(Some(RedriveAllowPolicy { text: value.to_owned(), permission }))
}

pub(super) fn refused_policy(name: &str, value: &str, reason: &str) -> ApiError {
    ApiError::invalid(format!("Value {} for parameter {name} is invalid. Reason: {reason}", shortened(value)))
}

/// The name of the queue that an ARN names.
pub(super) fn queue_of_arn(arn: &str) -> Option<&str> {
    let mut parts = arn.split(':');
    let mut next_is = |wanted: &str| parts.next() == Some(wanted);
    let is_queue = next_is("arn") && next_is("aws") && next_is("sqs");
    let name = parts.nth(2).filter(|name| !name.is_empty())?;
    (is_queue && parts.next().is_none()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn refusal<const N: usize>(name: &str, pairs: [(&str, &str); N]) -> ErrorCode {
        QueueSettings::create(name, &map(pairs)).map(|_| ()).unwrap_err().code
    }

    #[test]
    fn attributes_outside_their_limits_are_refused() {
        use ErrorCode::{InvalidAttributeName, InvalidAttributeValue, InvalidParameterValue};
        for (name, value) in [
            ("VisibilityTimeout", "43201"),
            ("VisibilityTimeout", "-1"),
            ("VisibilityTimeout", "x"),
            ("DelaySeconds", "901"),
            ("MessageRetentionPeriod", "59"),
            ("MessageRetentionPeriod", "1209601"),
            ("MaximumMessageSize", "1023"),
            ("MaximumMessageSize", "1048577"),
            ("ReceiveMessageWaitTimeSeconds", "21"),
        ] {
            assert_eq!(refusal("q", [(name, value)]), InvalidAttributeValue, "{name}={value}");
        }
        for name in ["Nonsense", "QueueArn", "FifoThroughputLimit", "ContentBasedDeduplication"] {
            assert_eq!(refusal("q", [(name, "true")]), InvalidAttributeName, "{name}");
        }
        let target = "arn:aws:sqs:us-east-1:000000000000:dead";
        for policy in [
            "[]".to_owned(),
            "{\"maxReceiveCount\":1}".to_owned(),
            "{\"deadLetterTargetArn\":\"dummy\",\"maxReceiveCount\":42}".to_owned(),
            format!("{{\"deadLetterTargetArn\":\"{target}\",\"maxReceiveCount\":0}}"),
            format!("{{\"deadLetterTargetArn\":\"{target}\",\"maxReceiveCount\":1001}}"),
        ] {
            assert_eq!(refusal("q", [("RedrivePolicy", policy.as_str())]), InvalidParameterValue, "{policy}");
        }
    }

    #[test]
    fn a_queue_is_fifo_exactly_when_name_and_attribute_agree() {
        assert!(QueueSettings::create("q.fifo", &map([("FifoQueue", "true")])).is_ok_and(|settings| settings.fifo));
        assert!(QueueSettings::create("q", &map([])).is_ok_and(|settings| !settings.fifo));
        assert_eq!(refusal("q.fifo", []), ErrorCode::InvalidParameterValue);
        assert_eq!(refusal("q", [("FifoQueue", "true")]), ErrorCode::InvalidParameterValue);
        assert_eq!(refusal(".fifo", [("FifoQueue", "true")]), ErrorCode::InvalidParameterValue);
        for name in ["", "a b", "é", &"x".repeat(81)] {
            assert_eq!(refusal(name, []), ErrorCode::InvalidParameterValue, "{name}");
        }
    }

    #[test]
    fn an_arn_names_its_queue() {
        assert_eq!(queue_of_arn("arn:aws:sqs:eu-west-1:000000000000:q"), Some("q"));
        for other in ["", "q", "arn:aws:sns:r:a:q", "arn:aws:sqs:r:a:", "arn:aws:sqs:r:a:q:more"] {
            assert_eq!(queue_of_arn(other), None, "{other}");
        }
    }
}
