//! What clients ask: bytes in, [`Request`] or [`ApiError`] out. Pure, and total: no bytes make it panic.

mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::error::{ApiError, ErrorCode, shortened};
use super::limits::{MAX_MESSAGE_BYTES, MESSAGES_PER_CALL};
use super::message::{AttributeFilter, NewMessage};
use super::settings::queue_of_arn;

/// A call, its parameters checked as far as they can be without knowing the queues.
pub enum Request {
    /// The one that can wait.
    ReceiveMessage {
        /// The queue's name.
        queue: String,
        /// How to receive.
        receive: Receive,
    },
    /// Any other.
    Prompt(Prompt),
}

/// A call that is answered at once.
#[expect(missing_docs, reason = "the names are those of the SQS API reference")]
pub enum Prompt {
    CreateQueue { name: String, attributes: BTreeMap<String, String>, tags: BTreeMap<String, String> },
    GetQueueUrl { name: String },
    ListQueues { prefix: String, page: Page },
    ListDeadLetterSourceQueues { queue: String, page: Page },
    DeleteQueue { queue: String },
    PurgeQueue { queue: String },
    GetQueueAttributes { queue: String, names: Vec<String> },
    SetQueueAttributes { queue: String, attributes: BTreeMap<String, String> },
    ListQueueTags { queue: String },
    TagQueue { queue: String, tags: BTreeMap<String, String> },
    UntagQueue { queue: String, keys: Vec<String> },
    SendMessage { queue: String, message: NewMessage },
    SendMessageBatch { queue: String, entries: Vec<Entry<NewMessage>> },
    DeleteMessage { queue: String, handle: String },
    DeleteMessageBatch { queue: String, entries: Vec<Entry<String>> },
    ChangeMessageVisibility { queue: String, handle: String, timeout: Duration },
    ChangeMessageVisibilityBatch { queue: String, entries: Vec<Entry<(String, Duration)>> },
    StartMessageMoveTask { source_arn: String, destination_arn: Option<String>, max_per_second: Option<u32> },
    ListMessageMoveTasks { source_arn: String, max: usize },
    CancelMessageMoveTask { task_handle: String },
}

/// One entry of a batch: what is asked, or why just this entry is refused.
pub struct Entry<T> {
    /// The client's name for the entry.
    pub id: String,
    /// What is asked.
    pub asked: Result<T, ApiError>,
}

/// Which part of a list a client wants.
#[derive(Default)]
pub struct Page {
    /// At most this many, with a token for the rest; without it the first thousand and no token.
    pub max: Option<usize>,
    /// Where the last part ended.
    pub after: Option<String>,
}

/// How a client wants to receive.
pub struct Receive {
    /// At most this many messages, 1 to 10.
    pub max: usize,
    /// How long to hide them; the queue's own timeout where absent.
    pub visibility_timeout: Option<Duration>,
    /// How long to wait for the first; the queue's own wait where absent.
    pub wait: Option<Duration>,
    /// Which system attributes to bring.
    pub system_attributes: BTreeSet<SystemAttribute>,
    /// Which message attributes to bring.
    pub message_attributes: AttributeFilter,
}

/// What SQS itself knows of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of the SQS API reference")]
pub enum SystemAttribute {
    ApproximateFirstReceiveTimestamp,
    ApproximateReceiveCount,
    AwsTraceHeader,
    DeadLetterQueueSourceArn,
    MessageDeduplicationId,
    MessageGroupId,
    SenderId,
    SentTimestamp,
    SequenceNumber,
}

impl SystemAttribute {
    /// Each with its name on the wire.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::ApproximateFirstReceiveTimestamp, "ApproximateFirstReceiveTimestamp"),
        (Self::ApproximateReceiveCount, "ApproximateReceiveCount"),
        (Self::AwsTraceHeader, "AWSTraceHeader"),
        (Self::DeadLetterQueueSourceArn, "DeadLetterQueueSourceArn"),
        (Self::MessageDeduplicationId, "MessageDeduplicationId"),
        (Self::MessageGroupId, "MessageGroupId"),
        (Self::SenderId, "SenderId"),
        (Self::SentTimestamp, "SentTimestamp"),
        (Self::SequenceNumber, "SequenceNumber"),
    ];
}

/// Reads a call from the `X-Amz-Target` header and the body.
///
/// # Errors
///
/// What SQS answers to an unknown operation, to a body that is not the operation's JSON, and to parameters that are
/// missing or outside their limits.
pub fn parse(target: &str, body: &[u8]) -> Result<Request, ApiError> {
    let operation = target.strip_prefix("AmazonSQS.").unwrap_or_default();
    if operation == "ReceiveMessage" {
        return wire::read::<wire::ReceiveMessage>(body)?.check();
    }
    prompt(operation, target, body).map(Request::Prompt)
}

fn prompt(operation: &str, target: &str, body: &[u8]) -> Result<Prompt, ApiError> {
    match operation {
        "CreateQueue" => wire::read::<wire::CreateQueue>(body)?.check(),
        "GetQueueUrl" => wire::read::<wire::GetQueueUrl>(body)?.check(),
        "ListQueues" => wire::read::<wire::ListQueues>(body)?.check(),
        "ListDeadLetterSourceQueues" => wire::read::<wire::ListDeadLetterSourceQueues>(body)?.check(),
        "DeleteQueue" => Ok(Prompt::DeleteQueue { queue: wire::read::<wire::OfQueue>(body)?.queue()? }),
        "PurgeQueue" => Ok(Prompt::PurgeQueue { queue: wire::read::<wire::OfQueue>(body)?.queue()? }),
        "GetQueueAttributes" => wire::read::<wire::GetQueueAttributes>(body)?.check(),
        "SetQueueAttributes" => wire::read::<wire::SetQueueAttributes>(body)?.check(),
        "ListQueueTags" => Ok(Prompt::ListQueueTags { queue: wire::read::<wire::OfQueue>(body)?.queue()? }),
        "TagQueue" => wire::read::<wire::TagQueue>(body)?.check(),
        "UntagQueue" => wire::read::<wire::UntagQueue>(body)?.check(),
        "SendMessage" => wire::read::<wire::SendMessage>(body)?.check(),
        "SendMessageBatch" => wire::read::<wire::Batch<wire::SendEntry>>(body)?.check(),
        "DeleteMessage" => wire::read::<wire::DeleteMessage>(body)?.check(),
        "DeleteMessageBatch" => wire::read::<wire::Batch<wire::DeleteEntry>>(body)?.check(),
        "ChangeMessageVisibility" => wire::read::<wire::ChangeMessageVisibility>(body)?.check(),
        "ChangeMessageVisibilityBatch" => wire::read::<wire::Batch<wire::VisibilityEntry>>(body)?.check(),
        "StartMessageMoveTask" => wire::read::<wire::StartMessageMoveTask>(body)?.check(),
        "ListMessageMoveTasks" => wire::read::<wire::ListMessageMoveTasks>(body)?.check(),
        "CancelMessageMoveTask" => wire::read::<wire::CancelMessageMoveTask>(body)?.check(),
        "AddPermission" | "RemovePermission" => {
            let message = "This queue knows no permissions: it accepts every caller.";
            Err(ApiError::new(ErrorCode::UnsupportedOperation, message))
        }
        _ => Err(ApiError::new(
            ErrorCode::UnknownOperation,
            format!(
                "The X-Amz-Target header '{}' names no operation of SQS; this server speaks the AWS JSON 1.0 protocol.",
                shortened(target)
            ),
        )),
    }
}

/// The queue's name, the last part of its URL.
///
/// SQS also holds the host and the account of the URL against the caller; a stand-in is reached under many names.
fn queue_of_url(url: Option<String>) -> Result<String, ApiError> {
    let url = required(url, "QueueUrl")?;
    match url.rsplit('/').next() {
        Some(name) if !name.is_empty() => Ok(name.to_owned()),
        Some(_) | None => Err(ApiError::no_such_queue()),
    }
}

fn required(text: Option<String>, parameter: &str) -> Result<String, ApiError> {
    text.filter(|text| !text.is_empty()).ok_or_else(|| ApiError::missing(parameter))
}

fn within(value: i64, name: &str, min: i64, max: i64) -> Result<u32, ApiError> {
    let refuse = || {
        let reason = format!("Must be between {min} and {max}, if provided.");
        ApiError::invalid(format!("Value {value} for parameter {name} is invalid. Reason: {reason}"))
    };
    u32::try_from(value).ok().filter(|_| (min..=max).contains(&value)).ok_or_else(refuse)
}

fn seconds_within(value: Option<i64>, name: &str, max: i64) -> Result<Option<Duration>, ApiError> {
    let Some(value) = value else { return Ok(None) };
    within(value, name, 0, max).map(|seconds| Some(Duration::from_secs(seconds.into())))
}

fn queue_arn(arn: Option<String>, parameter: &str) -> Result<String, ApiError> {
    let arn = required(arn, parameter)?;
    if queue_of_arn(&arn).is_none() {
        return Err(ApiError::invalid(format!("Value for parameter {parameter} is invalid.")));
    }
    Ok(arn)
}

/// The rules that every batch must keep, or it is refused as a whole.
fn check_batch<'a>(operation: &str, ids: impl ExactSizeIterator<Item = &'a str>) -> Result<(), ApiError> {
    let sent = ids.len();
    if sent == 0 {
        let message = format!("There should be at least one {operation}RequestEntry in the request.");
        return Err(ApiError::new(ErrorCode::EmptyBatchRequest, message));
    }
    if sent > MESSAGES_PER_CALL {
        let message = format!("Maximum number of entries per request are {MESSAGES_PER_CALL}. You have sent {sent}.");
        return Err(ApiError::new(ErrorCode::TooManyEntriesInBatchRequest, message));
    }
    let mut seen = BTreeSet::new();
    for id in ids {
        let is_plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if !(is_plain && (1..=80).contains(&id.len())) {
            let message = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can \
                           be at most 80 letters long.";
            return Err(ApiError::new(ErrorCode::InvalidBatchEntryId, message));
        }
        if !seen.insert(id) {
            return Err(ApiError::new(ErrorCode::BatchEntryIdsNotDistinct, format!("Id {id} repeated.")));
        }
    }
    Ok(())
}

fn check_batch_size(entries: &[Entry<NewMessage>]) -> Result<(), ApiError> {
    let sent: usize = entries.iter().filter_map(|entry| entry.asked.as_ref().ok()).map(NewMessage::size).sum();
    if sent > MAX_MESSAGE_BYTES {
        let message =
            format!("Batch requests cannot be longer than {MAX_MESSAGE_BYTES} bytes. You have sent {sent} bytes.");
        return Err(ApiError::new(ErrorCode::BatchRequestTooLong, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPERATIONS: [&str; 21] = [
        "CreateQueue",
        "GetQueueUrl",
        "ListQueues",
        "ListDeadLetterSourceQueues",
        "DeleteQueue",
        "PurgeQueue",
        "GetQueueAttributes",
        "SetQueueAttributes",
        "ListQueueTags",
        "TagQueue",
        "UntagQueue",
        "SendMessage",
        "SendMessageBatch",
        "ReceiveMessage",
        "DeleteMessage",
        "DeleteMessageBatch",
        "ChangeMessageVisibility",
        "ChangeMessageVisibilityBatch",
        "StartMessageMoveTask",
        "ListMessageMoveTasks",
        "CancelMessageMoveTask",
    ];

    fn refusal(operation: &str, body: &str) -> ErrorCode {
        match parse(&format!("AmazonSQS.{operation}"), body.as_bytes()) {
            Ok(_) => panic!("{operation} accepted {body}"),
            Err(refused) => refused.code,
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(operation in 0..21_usize, body: Vec<u8>) {
            drop(parse(&format!("AmazonSQS.{}", OPERATIONS[operation]), &body));
        }

        #[test]
        fn no_json_makes_the_parser_panic(operation in 0..21_usize, text in "[{}\\[\\]\":,a-zA-Z0-9\\\\ -]{0,80}") {
            let body = format!("{{\"QueueUrl\":\"http://h/0/q\",\"Entries\":[{{\"Id\":\"{text}\"}}],{text}}}");
            drop(parse(&format!("AmazonSQS.{}", OPERATIONS[operation]), body.as_bytes()));
        }
    }

    #[test]
    fn what_is_not_the_operations_json_is_refused_as_malformed() {
        let deep = "[".repeat(100_000);
        for body in ["[]", "1", "{", "nonsense", "{\"QueueUrl\":1}", "{\"QueueUrl\":\"q\",\"QueueUrl\":\"q\"}", &deep] {
            for operation in OPERATIONS.iter().filter(|name| **name != "GetQueueUrl" && !name.ends_with("MoveTask")) {
                let refused = parse(&format!("AmazonSQS.{operation}"), body.as_bytes()).map(|_| ()).map_err(|e| e.code);
                let takes_no_url = ["CreateQueue", "ListQueues", "ListMessageMoveTasks"].contains(operation);
                assert!(refused == Err(ErrorCode::MalformedInput) || takes_no_url, "{operation} {}", shortened(body));
            }
        }
        assert_eq!(refusal("Nonsense", "{}"), ErrorCode::UnknownOperation);
        assert_eq!(parse("", b"{}").map(|_| ()).unwrap_err().code, ErrorCode::UnknownOperation);
        assert_eq!(parse("AmazonSNS.Publish", b"{}").map(|_| ()).unwrap_err().code, ErrorCode::UnknownOperation);
    }

    #[test]
    fn an_escaped_half_of_a_surrogate_pair_is_refused_as_a_character() {
        for escape in ["\\ud800", "\\udc00", "\\ud800x", "\\ud800\\u0041"] {
            let body = format!("{{\"QueueUrl\":\"http://h/0/q\",\"MessageBody\":\"a{escape}\"}}");
            assert_eq!(refusal("SendMessage", &body), ErrorCode::InvalidMessageContents, "{escape}");
        }
    }

    #[test]
    fn missing_parameters_are_named() {
        for (operation, body, parameter) in [
            ("CreateQueue", "{}", "QueueName"),
            ("GetQueueUrl", "", "QueueName"),
            ("SendMessage", "{\"MessageBody\":\"x\"}", "QueueUrl"),
            ("SendMessage", "{\"QueueUrl\":\"http://h/0/q\"}", "MessageBody"),
            ("SendMessage", "{\"QueueUrl\":\"http://h/0/q\",\"MessageBody\":\"\"}", "MessageBody"),
            ("DeleteMessage", "{\"QueueUrl\":\"http://h/0/q\"}", "ReceiptHandle"),
            ("ChangeMessageVisibility", "{\"QueueUrl\":\"q\",\"ReceiptHandle\":\"x\"}", "VisibilityTimeout"),
            ("StartMessageMoveTask", "{}", "SourceArn"),
            ("CancelMessageMoveTask", "{}", "TaskHandle"),
        ] {
            let refused = parse(&format!("AmazonSQS.{operation}"), body.as_bytes()).map(|_| ()).unwrap_err();
            assert_eq!(refused, ApiError::missing(parameter), "{operation} {body}");
        }
    }

    #[test]
    fn batches_outside_the_documented_rules_are_refused_as_a_whole() {
        use ErrorCode::{
            BatchEntryIdsNotDistinct, EmptyBatchRequest, InvalidBatchEntryId, TooManyEntriesInBatchRequest,
        };
        let batch = |ids: &[&str]| {
            let entries: Vec<String> = ids
                .iter()
                .map(|id| format!("{{\"Id\":\"{id}\",\"MessageBody\":\"x\",\"ReceiptHandle\":\"r\"}}"))
                .collect();
            format!("{{\"QueueUrl\":\"http://h/0/q\",\"Entries\":[{}]}}", entries.join(","))
        };
        let eleven = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
        let long = "x".repeat(81);
        for operation in ["SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"] {
            assert_eq!(refusal(operation, &batch(&[])), EmptyBatchRequest, "{operation}");
            assert_eq!(refusal(operation, &batch(&eleven)), TooManyEntriesInBatchRequest, "{operation}");
            assert_eq!(refusal(operation, &batch(&["a", "a"])), BatchEntryIdsNotDistinct, "{operation}");
            for id in ["", "a b", "a.b", &long] {
                assert_eq!(refusal(operation, &batch(&[id])), InvalidBatchEntryId, "{operation} {id}");
            }
            assert!(parse(&format!("AmazonSQS.{operation}"), batch(&eleven[..10]).as_bytes()).is_ok(), "{operation}");
        }
    }

    #[test]
    fn a_batch_is_measured_as_a_whole() {
        let batch = |sizes: &[usize]| {
            let entries: Vec<String> = sizes
                .iter()
                .enumerate()
                .map(|(id, size)| format!("{{\"Id\":\"{id}\",\"MessageBody\":\"{}\"}}", "x".repeat(*size)))
                .collect();
            format!("{{\"QueueUrl\":\"http://h/0/q\",\"Entries\":[{}]}}", entries.join(","))
        };
        let half = MAX_MESSAGE_BYTES / 2;
        assert!(parse("AmazonSQS.SendMessageBatch", batch(&[half, half]).as_bytes()).is_ok());
        assert_eq!(refusal("SendMessageBatch", &batch(&[half, half, 1])), ErrorCode::BatchRequestTooLong);
    }

    #[test]
    fn numbers_outside_their_limits_are_refused() {
        for (operation, field, value) in [
            ("ReceiveMessage", "MaxNumberOfMessages", "0"),
            ("ReceiveMessage", "MaxNumberOfMessages", "11"),
            ("ReceiveMessage", "WaitTimeSeconds", "21"),
            ("ReceiveMessage", "WaitTimeSeconds", "-1"),
            ("ReceiveMessage", "VisibilityTimeout", "43201"),
            ("SendMessage", "DelaySeconds", "901"),
            ("ChangeMessageVisibility", "VisibilityTimeout", "43201"),
            ("ChangeMessageVisibility", "VisibilityTimeout", "99999999999"),
        ] {
            let body = format!(
                "{{\"QueueUrl\":\"http://h/0/q\",\"MessageBody\":\"x\",\"ReceiptHandle\":\"r\",\"{field}\":{value}}}"
            );
            assert_eq!(refusal(operation, &body), ErrorCode::InvalidParameterValue, "{operation} {field}={value}");
        }
    }
}
