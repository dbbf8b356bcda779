//! What the server answers, as JSON.

use std::collections::BTreeMap;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::message::{Attribute, AttributeValue, attributes_md5};
use super::move_task::{MoveStatus, MoveTask};
use super::request::{Receive, SystemAttribute};
use super::settings::ACCOUNT;
use super::state::{Accepted, DeliveredMessage};

/// Whom every message names as its sender.
const SENDER_ID: &str = "AIDALOCALQUEUEPRODUCER";

/// The answer to a call that was not refused.
pub(super) enum Reply {
    Empty,
    /// By the queue's name.
    QueueUrl(String),
    QueueUrls {
        field: &'static str,
        names: Vec<String>,
        next: Option<String>,
    },
    Attributes(BTreeMap<&'static str, String>),
    Tags(BTreeMap<String, String>),
    Sent(SentReply),
    Batch(BatchReply),
    Received(Vec<DeliveredMessage>, Receive),
    MoveStarted(String),
    Moves(Vec<MoveTask>),
    MoveCancelled(u64),
}

/// The answer to a send.
pub(super) struct SentReply {
    pub(super) accepted: Accepted,
    pub(super) body_md5: [u8; 16],
    pub(super) attributes_md5: Option<[u8; 16]>,
    pub(super) system_attributes_md5: Option<[u8; 16]>,
}

/// The answer to a batch, entry by entry.
#[derive(Default)]
pub(super) struct BatchReply {
    successful: Vec<(String, Option<SentReply>)>,
    failed: Vec<(String, ApiError)>,
}

impl BatchReply {
    /// Notes how an entry ended; a send says more than that it did.
    pub(super) fn add(&mut self, id: String, done: Result<Option<SentReply>, ApiError>) {
        match done {
            Ok(sent) => self.successful.push((id, sent)),
            Err(error) => self.failed.push((id, error)),
        }
    }
}

impl Reply {
    /// The body of the answer. `base` is scheme, host and port as the client wrote them, for the queues' URLs.
    pub(super) fn to_json(&self, base: &str) -> Vec<u8> {
        let url = |name: &String| format!("{base}/{ACCOUNT}/{name}");
        let value = match self {
            Self::Empty => return b"{}".to_vec(),
            Self::Received(deliveries, ask) => return received(deliveries, ask),
            Self::QueueUrl(name) => json!({ "QueueUrl": url(name) }),
            Self::QueueUrls { field, names, next } => {
                let mut value = Map::new();
                value.insert((*field).to_owned(), names.iter().map(url).collect());
                if let Some(next) = next {
                    value.insert("NextToken".to_owned(), STANDARD.encode(next).into());
                }
                Value::Object(value)
            }
            Self::Attributes(attributes) if attributes.is_empty() => json!({}),
            Self::Attributes(attributes) => json!({ "Attributes": attributes }),
            Self::Tags(tags) => json!({ "Tags": tags }),
            Self::Sent(sent) => Value::Object(sent_json(sent)),
            Self::Batch(batch) => batch_json(batch),
            Self::MoveStarted(handle) => json!({ "TaskHandle": handle }),
            Self::Moves(tasks) => json!({ "Results": tasks.iter().map(move_json).collect::<Vec<_>>() }),
            Self::MoveCancelled(moved) => json!({ "ApproximateNumberOfMessagesMoved": moved }),
        };
        value.to_string().into_bytes()
    }
}

/// The body of a refusal.
pub(super) fn refusal(error: &ApiError) -> Vec<u8> {
    json!({ "__type": error.code.shape(), "message": error.message }).to_string().into_bytes()
}

fn sent_json(reply: &SentReply) -> Map<String, Value> {
    let mut value = Map::new();
    value.insert("MessageId".to_owned(), reply.accepted.id.to_string().into());
    value.insert("MD5OfMessageBody".to_owned(), hex(&reply.body_md5).into());
    if let Some(md5) = &reply.attributes_md5 {
        value.insert("MD5OfMessageAttributes".to_owned(), hex(md5).into());
    }
    if let Some(md5) = &reply.system_attributes_md5 {
        value.insert("MD5OfMessageSystemAttributes".to_owned(), hex(md5).into());
    }
    if let Some(number) = &reply.accepted.sequence_number {
        value.insert("SequenceNumber".to_owned(), number.clone().into());
    }
    value
}

fn batch_json(batch: &BatchReply) -> Value {
    let done = |(id, sent): &(String, Option<SentReply>)| {
        let mut value = sent.as_ref().map(sent_json).unwrap_or_default();
        value.insert("Id".to_owned(), id.clone().into());
        Value::Object(value)
    };
    let failed = |(id, error): &(String, ApiError)| {
        json!({
            "Id": id,
            "SenderFault": error.code.sender_fault(),
            "Code": error.code.query_code(),
            "Message": error.message,
        })
    };
    // Both lists are required members of the answer, empty or not.
    json!({
        "Successful": batch.successful.iter().map(done).collect::<Vec<_>>(),
        "Failed": batch.failed.iter().map(failed).collect::<Vec<_>>(),
    })
}

fn move_json(task: &MoveTask) -> Value {
    let (status, reason) = match task.status {
        MoveStatus::Running => ("RUNNING", None),
        MoveStatus::Completed => ("COMPLETED", None),
        MoveStatus::Cancelled => ("CANCELLED", None),
        MoveStatus::Failed(reason) => ("FAILED", Some(reason)),
    };
    let mut value = json!({
        "Status": status,
        "SourceArn": task.source_arn,
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move,
        "StartedTimestamp": task.started.as_millis(),
    });
    let optional = [
        ("TaskHandle", (task.status == MoveStatus::Running).then(|| task.handle().into())),
        ("DestinationArn", task.destination_arn.clone().map(Value::from)),
        ("MaxNumberOfMessagesPerSecond", task.max_per_second.map(Value::from)),
        ("FailureReason", reason.map(Value::from)),
    ];
    if let Some(value) = value.as_object_mut() {
        value.extend(optional.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?))));
    }
    value
}

/// The messages of a receive. Written by hand: a body may hold bytes that are no UTF-8, and goes out as it is.
fn received(deliveries: &[DeliveredMessage], ask: &Receive) -> Vec<u8> {
    if deliveries.is_empty() {
        return b"{}".to_vec();
    }
    let bodies: usize = deliveries.iter().map(|delivery| delivery.body.len() + 512).sum();
    let mut out = Vec::with_capacity(bodies);
    out.extend_from_slice(b"{\"Messages\":[");
    for (index, delivery) in deliveries.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_delivery(&mut out, delivery, ask);
    }
    out.extend_from_slice(b"]}");
    out
}

fn write_delivery(out: &mut Vec<u8>, delivery: &DeliveredMessage, ask: &Receive) {
    out.push(b'{');
    write_field(out, "MessageId", delivery.id.to_string().as_bytes());
    out.push(b',');
    write_field(out, "ReceiptHandle", delivery.receipt.write().as_bytes());
    out.push(b',');
    write_field(out, "MD5OfBody", hex(&delivery.body_md5).as_bytes());
    out.push(b',');
    write_field(out, "Body", &delivery.body);
    write_system_attributes(out, delivery, ask);
    write_message_attributes(out, delivery, ask);
    out.push(b'}');
}

fn write_system_attributes(out: &mut Vec<u8>, delivery: &DeliveredMessage, ask: &Receive) {
    let mut is_first = true;
    for (attribute, name) in SystemAttribute::ALL {
        if !ask.system_attributes.contains(&attribute) {
            continue;
        }
        let Some(text) = system_attribute(delivery, attribute) else { continue };
        out.extend_from_slice(if is_first { b",\"Attributes\":{" } else { b"," });
        write_field(out, name, text.as_bytes());
        is_first = false;
    }
    if !is_first {
        out.push(b'}');
    }
}

fn system_attribute(delivery: &DeliveredMessage, attribute: SystemAttribute) -> Option<String> {
    match attribute {
        SystemAttribute::ApproximateFirstReceiveTimestamp => Some(delivery.first_received.as_millis().to_string()),
        SystemAttribute::ApproximateReceiveCount => Some(delivery.receive_count.to_string()),
        SystemAttribute::AwsTraceHeader => delivery.trace_header.as_deref().map(str::to_owned),
        SystemAttribute::DeadLetterQueueSourceArn => delivery.dead_letter_source_arn.as_deref().map(str::to_owned),
        SystemAttribute::MessageDeduplicationId => delivery.deduplication_id.as_deref().map(str::to_owned),
        SystemAttribute::MessageGroupId => delivery.group.as_deref().map(str::to_owned),
        SystemAttribute::SenderId => Some(SENDER_ID.to_owned()),
        SystemAttribute::SentTimestamp => Some(delivery.sent.as_millis().to_string()),
        SystemAttribute::SequenceNumber => delivery.sequence_number.clone(),
    }
}

fn write_message_attributes(out: &mut Vec<u8>, delivery: &DeliveredMessage, ask: &Receive) {
    let Some(attributes) = &delivery.attributes else { return };
    let wanted: Vec<(&str, &Attribute)> = attributes
        .0
        .iter()
        .map(|(name, attribute)| (name.as_str(), attribute))
        .filter(|(name, _)| ask.message_attributes.wants(name))
        .collect();
    if wanted.is_empty() {
        return;
    }
    out.push(b',');
    write_field(out, "MD5OfMessageAttributes", hex(&attributes_md5(wanted.iter().copied())).as_bytes());
    let value: Map<String, Value> =
        wanted.into_iter().map(|(name, attribute)| (name.to_owned(), attribute_json(attribute))).collect();
    out.extend_from_slice(b",\"MessageAttributes\":");
    out.extend_from_slice(Value::Object(value).to_string().as_bytes());
}

fn attribute_json(attribute: &Attribute) -> Value {
    match &attribute.value {
        AttributeValue::Text(text) => json!({ "DataType": attribute.data_type, "StringValue": text }),
        AttributeValue::Binary(bytes) => {
            json!({ "DataType": attribute.data_type, "BinaryValue": STANDARD.encode(bytes) })
        }
    }
}

/// Writes `"name":"text"`, escaping what JSON must and nothing else.
fn write_field(out: &mut Vec<u8>, name: &str, text: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    let needs_escape = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1F);
    for piece in text.split_inclusive(needs_escape) {
        match piece.split_last() {
            Some((last, plain)) if needs_escape(last) => {
                out.extend_from_slice(plain);
                write_escaped(out, *last);
            }
            _ => out.extend_from_slice(piece),
        }
    }
    out.push(b'"');
}

fn write_escaped(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        // Writing to a vector does not fail.
        _ => write!(out, "\\u{byte:04x}").unwrap_or_default(),
    }
}

fn hex(digest: &[u8; 16]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    digest.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_go_out_as_they_are_with_only_the_escapes_of_json() {
        let written = |text: &[u8]| {
            let mut out = Vec::new();
            write_field(&mut out, "Body", text);
            out
        };
        assert_eq!(written(b"plain"), b"\"Body\":\"plain\"");
        assert_eq!(written(b"\"\\\n\r\t\0\x1f"), b"\"Body\":\"\\\"\\\\\\n\\r\\t\\u0000\\u001f\"");
        assert_eq!(written(b"\xff\x80\xc3\xa9\x7f"), b"\"Body\":\"\xff\x80\xc3\xa9\x7f\"");
        assert_eq!(written(b""), b"\"Body\":\"\"");
    }
}
