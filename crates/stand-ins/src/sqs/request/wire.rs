//! The requests as JSON writes them: every field may be absent, and each `check` turns one into what it asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{
    Entry, Page, Prompt, Receive, Request, SystemAttribute, check_batch, check_batch_size, queue_arn, queue_of_url,
    required, seconds_within, within,
};
use crate::sqs::error::{ApiError, ErrorCode};
use crate::sqs::message::{
    Attribute, AttributeFilter, AttributeValue, Attributes, NewMessage, check_attributes, check_characters,
};

/// Reads a body; an absent one is an empty object.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = if body.is_empty() { b"{}" } else { body };
    // serde also reads a struct from an array, which the protocol does not.
    let is_object = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    if !is_object {
        return Err(malformed());
    }
    serde_json::from_slice(body).map_err(|error| {
        // Half a surrogate pair, escaped: JSON can write it, but it is no character that a message may hold.
        if error.to_string().contains("hex escape") { unpaired_surrogate() } else { malformed() }
    })
}

/// Says nothing of the body: serde's own text would quote it.
fn malformed() -> ApiError {
    ApiError::new(ErrorCode::MalformedInput, "The request body is not the JSON that this operation takes.")
}

fn unpaired_surrogate() -> ApiError {
    ApiError::new(ErrorCode::InvalidMessageContents, "The message holds half a surrogate pair, which is no character.")
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OfQueue {
    queue_url: Option<String>,
}

impl OfQueue {
    pub(super) fn queue(self) -> Result<String, ApiError> {
        queue_of_url(self.queue_url)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateQueue {
    queue_name: Option<String>,
    attributes: Option<BTreeMap<String, String>>,
    #[serde(rename = "tags", alias = "Tags")]
    tags: Option<BTreeMap<String, String>>,
}

impl CreateQueue {
    pub(super) fn check(self) -> Result<Prompt, ApiError> {
        Ok(Prompt::CreateQueue {
            name: required(self.queue_name, "QueueName")?,
            attributes: self.attributes.unwrap_or_default(),
            tags: self.tags.unwrap_or_default(),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetQueueUrl {
    queue_name: Option<String>,
}

impl GetQueueUrl {
    pub(super) fn check(self) -> Result<Prompt, ApiError> {
        Ok(Prompt::GetQueueUrl { name: required(self.queue_name, "QueueName")? })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListQueues {
    queue_name_prefix: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

impl ListQueues {
    pub(super) fn check(self) -> Result<Prompt, ApiError> {
        let page = page(self.max_results, self.next_token)?;
        Ok(Prompt::ListQueues { prefix: self.queue_name_prefix.unwrap_or_default(), page })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListDeadLetterSourceQueues {
    queue_url: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

impl ListDeadLetterSourceQueues {
    pub(super) fn check(self) -> Result<Prompt, ApiError> {
        let page = page(self.max_results, self.next_token)?;
        Ok(Prompt::ListDeadLetterSourceQueues { queue: queue_of_url(self.queue_url)?, page })
    }
}

fn page(max: Option<i64>, token: Option<String>) -> Result<Page, ApiError> {
    let max = max.map(|max| within(max, "MaxResults", 1, 1000)).transpose()?;
    let after = match token.filter(|token| !token.is_empty()) {
        None => None,
        Some(token) => {
            let name = STANDARD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            Some(name.ok_or_else(|| ApiError::invalid("Invalid or expired next token."))?)
        }
    };
    Ok(Page { max: max.map(|max| max as usize), after })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetQueueAttributes {
    queue_url: Option<String>,
    attribute_names: Option<Vec<String>>,
}

impl GetQueueAttributes {
    pub(super) fn check(self) -> Result<Prompt, ApiError> {
        let names = self.attribute_names.unwrap_or_default();
        Ok(Prompt::GetQueueAttributes { queue: queue_of_url(self.queue_url)?, names })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SetQueueAttributes {
    queue_url: Option<String>,
    attributes: Option<BTreeMap<String, String>>,
}

impl SetQueueAttributes {
    pub(super) fn check(self) -> Result<Prompt, ApiError> {
        let queue = queue_of_url(self.queue_url)?;
        let attributes = self.attributes.ok_or_else(|| ApiError::missing("Attributes"))?;
        Ok(Prompt::SetQueueAttributes { queue, attributes })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagQueue {
    queue_url: Option<String>,
    tags: Option<BTreeMap<String, String>>,
}

impl TagQueue {
    pub(super) fn check(self) -> Result<Prompt, ApiError> {
        let tags = self.tags.filter(|tags| !tags.is_empty()).ok_or_else(|| ApiError::missing("Tags"))?;
        Ok(Prompt::TagQueue { queue: queue_of_url(self.queue_url)?, tags })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UntagQueue {
    queue_url: Option<String>,
    tag_keys: Option<Vec<String>>,
}

impl UntagQueue {
    pub(super) fn check(self) -> Result<Prompt, ApiError> {
        let keys = self.tag_keys.filter(|keys| !keys.is_empty()).ok_or_else(|| ApiError::missing("TagKeys"))?;
        Ok(Prompt::UntagQueue { queue: queue_of_url(self.queue_url)?, keys })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SendMessage {
    queue_url: Option<String>,
    message_body: Option<String>,
    delay_seconds: Option<i64>,
    message_attributes: Option<BTreeMap<String, WireAttribute>>,
    message_system_attributes: Option<BTreeMap<String, WireAttribute>>,
    message_group_id: Option<String>,
    message_deduplication_id: Option<String>,
}

impl SendMessage {
    pub(super) fn check(self) -> Result<Prompt, ApiError> {
        let queue = queue_of_url(self.queue_url)?;
        let message = Draft {
            body: self.message_body,
            delay_seconds: self.delay_seconds,
            attributes: self.message_attributes,
            system_attributes: self.message_system_attributes,
            group: self.message_group_id,
            deduplication_id: self.message_deduplication_id,
        };
        Ok(Prompt::SendMessage { queue, message: message.check()? })
    }
}

/// A batch of one operation's entries.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
#[serde(bound = "E: DeserializeOwned")]
pub(super) struct Batch<E> {
    queue_url: Option<String>,
    entries: Option<Vec<E>>,
}

impl<E> Batch<E> {
    fn parts(self, operation: &str, id: impl Fn(&E) -> &str) -> Result<(String, Vec<E>), ApiError> {
        let queue = queue_of_url(self.queue_url)?;
        let entries = self.entries.unwrap_or_default();
        check_batch(operation, entries.iter().map(id))?;
        Ok((queue, entries))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SendEntry {
    #[serde(default)]
    id: String,
    message_body: Option<String>,
    delay_seconds: Option<i64>,
    message_attributes: Option<BTreeMap<String, WireAttribute>>,
    message_system_attributes: Option<BTreeMap<String, WireAttribute>>,
    message_group_id: Option<String>,
    message_deduplication_id: Option<String>,
}

impl Batch<SendEntry> {
    pub(super) fn check(self) -> Result<Prompt, ApiError> {
        let (queue, entries) = self.parts("SendMessageBatch", |entry| &entry.id)?;
        let entries: Vec<Entry<NewMessage>> = entries.into_iter().map(SendEntry::check).collect();
        check_batch_size(&entries)?;
        Ok(Prompt::SendMessageBatch { queue, entries })
    }
}

impl SendEntry {
    fn check(self) -> Entry<NewMessage> {
        let message = Draft {
            body: self.message_body,
            delay_seconds: self.delay_seconds,
            attributes: self.message_attributes,
            system_attributes: self.message_system_attributes,
            group: self.message_group_id,
            deduplication_id: self.message_deduplication_id,
        };
        Entry { id: self.id, asked: message.check() }
    }
}

/// What a single send and an entry of a batch have in common.
struct Draft {
    body: Option<String>,
    delay_seconds: Option<i64>,
    attributes: Option<BTreeMap<String, WireAttribute>>,
    system_attributes: Option<BTreeMap<String, WireAttribute>>,
    group: Option<String>,
    deduplication_id: Option<String>,
}

impl Draft {
    fn check(self) -> Result<NewMessage, ApiError> {
        let body = required(self.body, "MessageBody")?;
        check_characters(&body)?;
        let attributes = self.attributes.unwrap_or_default();
        let attributes: Result<_, ApiError> =
            attributes.into_iter().map(|(name, attribute)| Ok((name, attribute.check()?))).collect();
        let attributes = Attributes(attributes?);
        check_attributes(&attributes)?;
        Ok(NewMessage {
            body: Bytes::from(body),
            attributes: (!attributes.0.is_empty()).then(|| Arc::new(attributes)),
            trace_header: trace_header(self.system_attributes.unwrap_or_default())?,
            delay: seconds_within(self.delay_seconds, "DelaySeconds", 900)?,
            group: token(self.group, "MessageGroupId")?,
            deduplication_id: token(self.deduplication_id, "MessageDeduplicationId")?,
        })
    }
}

fn trace_header(attributes: BTreeMap<String, WireAttribute>) -> Result<Option<Box<str>>, ApiError> {
    let mut header = None;
    for (name, attribute) in attributes {
        match (name.as_str(), attribute.check()?) {
            ("AWSTraceHeader", Attribute { data_type, value: AttributeValue::Text(text) }) if data_type == "String" => {
                header = Some(text.into_boxed_str());
            }
            _ => {
                let message = "The only message system attribute is AWSTraceHeader, of the type String.";
                return Err(ApiError::invalid(message));
            }
        }
    }
    Ok(header)
}

/// A group or deduplication id: up to 128 printable characters of ASCII without the space.
fn token(text: Option<String>, parameter: &str) -> Result<Option<Arc<str>>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    if (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(Some(text.into()));
    }
    Err(ApiError::invalid(format!(
        "Value for parameter {parameter} is invalid. Reason: {parameter} can only include alphanumeric and \
         punctuation characters. 1 to 128 in length."
    )))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct WireAttribute {
    data_type: Option<String>,
    string_value: Option<String>,
    binary_value: Option<String>,
}

impl WireAttribute {
    fn check(self) -> Result<Attribute, ApiError> {
        let data_type = self.data_type.unwrap_or_default();
        let value = match (self.string_value, self.binary_value) {
            (Some(text), None) => AttributeValue::Text(text),
            (None, Some(base64)) => AttributeValue::Binary(STANDARD.decode(base64).map_err(|_| malformed())?.into()),
            (None, None) => AttributeValue::Text(String::new()),
            (Some(_), Some(_)) => {
                let message = "A message attribute has either a StringValue or a BinaryValue.";
                return Err(ApiError::invalid(message));
            }
        };
        Ok(Attribute { data_type, value })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ReceiveMessage {
    queue_url: Option<String>,
    max_number_of_messages: Option<i64>,
    visibility_timeout: Option<i64>,
    wait_time_seconds: Option<i64>,
    attribute_names: Option<Vec<String>>,
    message_system_attribute_names: Option<Vec<String>>,
    message_attribute_names: Option<Vec<String>>,
    receive_request_attempt_id: Option<String>,
}

impl ReceiveMessage {
    pub(super) fn check(self) -> Result<Request, ApiError> {
        let queue = queue_of_url(self.queue_url)?;
        // Taken and not acted upon: a receive repeated under the same id brings the next messages.
        token(self.receive_request_attempt_id, "ReceiveRequestAttemptId")?;
        let mut names = self.attribute_names.unwrap_or_default();
        names.extend(self.message_system_attribute_names.unwrap_or_default());
        let receive = Receive {
            max: within(self.max_number_of_messages.unwrap_or(1), "MaxNumberOfMessages", 1, 10)? as usize,
            visibility_timeout: seconds_within(self.visibility_timeout, "VisibilityTimeout", 43_200)?,
            wait: seconds_within(self.wait_time_seconds, "WaitTimeSeconds", 20)?,
            system_attributes: system_attributes(&names)?,
            message_attributes: AttributeFilter::new(self.message_attribute_names.unwrap_or_default()),
        };
        Ok(Request::ReceiveMessage { queue, receive })
    }
}

fn system_attributes(names: &[String]) -> Result<BTreeSet<SystemAttribute>, ApiError> {
    let mut wanted = BTreeSet::new();
    for name in names {
        match SystemAttribute::ALL.iter().find(|(_, known)| known == name) {
            Some((attribute, _)) => {
                wanted.insert(*attribute);
            }
            None if name == "All" => wanted.extend(SystemAttribute::ALL.map(|(attribute, _)| attribute)),
            // Listed among the names by the API reference, but an attribute of the queue: no message carries it.
            None if name == "SqsManagedSseEnabled" => {}
            None => return Err(ApiError::unknown_attribute(name)),
        }
    }
    Ok(wanted)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteMessage {
    queue_url: Option<String>,
    receipt_handle: Option<String>,
}

impl DeleteMessage {
    pub(super) fn check(self) -> Result<Prompt, ApiError> {
        let queue = queue_of_url(self.queue_url)?;
        Ok(Prompt::DeleteMessage { queue, handle: required(self.receipt_handle, "ReceiptHandle")? })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteEntry {
    #[serde(default)]
    id: String,
    receipt_handle: Option<String>,
}

impl Batch<DeleteEntry> {
    pub(super) fn check(self) -> Result<Prompt, ApiError> {
        let (queue, entries) = self.parts("DeleteMessageBatch", |entry| &entry.id)?;
        let check = |entry: DeleteEntry| Entry { id: entry.id, asked: required(entry.receipt_handle, "ReceiptHandle") };
        Ok(Prompt::DeleteMessageBatch { queue, entries: entries.into_iter().map(check).collect() })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ChangeMessageVisibility {
    queue_url: Option<String>,
    receipt_handle: Option<String>,
    visibility_timeout: Option<i64>,
}

impl ChangeMessageVisibility {
    pub(super) fn check(self) -> Result<Prompt, ApiError> {
        let queue = queue_of_url(self.queue_url)?;
        let (handle, timeout) = visibility(self.receipt_handle, self.visibility_timeout)?;
        Ok(Prompt::ChangeMessageVisibility { queue, handle, timeout })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VisibilityEntry {
    #[serde(default)]
    id: String,
    receipt_handle: Option<String>,
    visibility_timeout: Option<i64>,
}

impl Batch<VisibilityEntry> {
    pub(super) fn check(self) -> Result<Prompt, ApiError> {
        let (queue, entries) = self.parts("ChangeMessageVisibilityBatch", |entry| &entry.id)?;
        let check = |entry: VisibilityEntry| Entry {
            id: entry.id,
            asked: visibility(entry.receipt_handle, entry.visibility_timeout),
        };
        Ok(Prompt::ChangeMessageVisibilityBatch { queue, entries: entries.into_iter().map(check).collect() })
    }
}

fn visibility(handle: Option<String>, timeout: Option<i64>) -> Result<(String, Duration), ApiError> {
    let handle = required(handle, "ReceiptHandle")?;
    let timeout = seconds_within(timeout, "VisibilityTimeout", 43_200)?;
    Ok((handle, timeout.ok_or_else(|| ApiError::missing("VisibilityTimeout"))?))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StartMessageMoveTask {
    source_arn: Option<String>,
    destination_arn: Option<String>,
    max_number_of_messages_per_second: Option<i64>,
}

impl StartMessageMoveTask {
    pub(super) fn check(self) -> Result<Prompt, ApiError> {
        let destination = self.destination_arn.filter(|arn| !arn.is_empty());
        let rate = self.max_number_of_messages_per_second;
        Ok(Prompt::StartMessageMoveTask {
            source_arn: queue_arn(self.source_arn, "SourceArn")?,
            destination_arn: destination.map(|arn| queue_arn(Some(arn), "DestinationArn")).transpose()?,
            max_per_second: rate.map(|rate| within(rate, "MaxNumberOfMessagesPerSecond", 1, 500)).transpose()?,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListMessageMoveTasks {
    source_arn: Option<String>,
    max_results: Option<i64>,
}

impl ListMessageMoveTasks {
    pub(super) fn check(self) -> Result<Prompt, ApiError> {
        Ok(Prompt::ListMessageMoveTasks {
            source_arn: queue_arn(self.source_arn, "SourceArn")?,
            max: within(self.max_results.unwrap_or(1), "MaxResults", 1, 10)? as usize,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CancelMessageMoveTask {
    task_handle: Option<String>,
}

impl CancelMessageMoveTask {
    pub(super) fn check(self) -> Result<Prompt, ApiError> {
        Ok(Prompt::CancelMessageMoveTask { task_handle: required(self.task_handle, "TaskHandle")? })
    }
}
