//! What the server answers when it refuses: the codes, names and statuses of SQS.

use std::time::Duration;

/// A refused call, or a refused entry of a batch. Its text never holds a body or a receipt handle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.query_code())]
pub struct ApiError {
    /// What is wrong.
    pub code: ErrorCode,
    /// What is wrong, for a person.
    pub message: String,
}

impl ApiError {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A parameter that the call cannot do without is absent or empty.
    pub(super) fn missing(parameter: &str) -> Self {
        Self::new(ErrorCode::MissingParameter, format!("The request must contain the parameter {parameter}."))
    }

    /// A parameter is outside its limits.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidParameterValue, message)
    }

    pub(super) fn no_such_queue() -> Self {
        Self::new(ErrorCode::QueueDoesNotExist, "The specified queue does not exist.")
    }

    pub(super) fn unknown_attribute(name: &str) -> Self {
        Self::new(ErrorCode::InvalidAttributeName, format!("Unknown Attribute {}.", shortened(name)))
    }

    pub(super) fn invalid_receipt() -> Self {
        Self::new(ErrorCode::ReceiptHandleIsInvalid, "The input receipt handle is invalid.")
    }

    pub(super) fn too_large(limit: usize) -> Self {
        Self::new(ErrorCode::RequestTooLarge, format!("The request is larger than {limit} bytes."))
    }

    pub(super) fn head_too_large(limit: usize) -> Self {
        let message = format!("The request line and the headers are larger than {limit} bytes together.");
        Self::new(ErrorCode::RequestHeaderSectionTooLarge, message)
    }

    pub(super) fn too_slow(limit: Duration) -> Self {
        Self::new(ErrorCode::RequestTimeout, format!("The body did not arrive within {} s.", limit.as_secs()))
    }
}

/// A caller's text, cut so that an error stays a line.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

/// Every code that the server answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the SQS API reference")]
pub enum ErrorCode {
    AccessDenied,
    BatchEntryIdsNotDistinct,
    BatchRequestTooLong,
    EmptyBatchRequest,
    ExpiredToken,
    InternalError,
    InvalidAttributeName,
    InvalidAttributeValue,
    InvalidBatchEntryId,
    InvalidMessageContents,
    InvalidParameterValue,
    MalformedInput,
    MessageNotInflight,
    MissingParameter,
    OverLimit,
    PurgeQueueInProgress,
    QueueDeletedRecently,
    QueueDoesNotExist,
    QueueNameExists,
    ReceiptHandleIsInvalid,
    RequestHeaderSectionTooLarge,
    RequestTimeout,
    RequestTooLarge,
    ResourceNotFoundException,
    SignatureDoesNotMatch,
    ThrottlingException,
    TooManyEntriesInBatchRequest,
    UnknownOperation,
    UnsupportedOperation,
}

impl ErrorCode {
    /// The `__type` of the JSON answer.
    pub fn shape(self) -> &'static str {
        self.row().0
    }

    /// The code that `x-amzn-query-error` carries, by which clients older than the JSON protocol know the error.
    pub fn query_code(self) -> &'static str {
        self.row().1
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        self.row().2
    }

    /// Whether the request is at fault, so that the same again fails again.
    pub fn sender_fault(self) -> bool {
        self.status() < 500
    }

    /// Shape, query code and status, after the service's model and the developer guide's page "Constructing and
    /// making requests using AWS JSON protocol".
    fn row(self) -> (&'static str, &'static str, u16) {
        match self {
            Self::AccessDenied => ("com.amazon.coral.service#AccessDeniedException", "AccessDenied", 403),
            Self::BatchEntryIdsNotDistinct => {
                ("com.amazonaws.sqs#BatchEntryIdsNotDistinct", "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", 400)
            }
            Self::BatchRequestTooLong => {
                ("com.amazonaws.sqs#BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong", 400)
            }
            Self::EmptyBatchRequest => {
                ("com.amazonaws.sqs#EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest", 400)
            }
            Self::ExpiredToken => ("com.amazon.coral.service#ExpiredTokenException", "ExpiredToken", 403),
            Self::InternalError => ("com.amazon.coral.service#InternalFailure", "InternalError", 500),
            Self::InvalidAttributeName => ("com.amazonaws.sqs#InvalidAttributeName", "InvalidAttributeName", 400),
            Self::InvalidAttributeValue => ("com.amazonaws.sqs#InvalidAttributeValue", "InvalidAttributeValue", 400),
            Self::InvalidBatchEntryId => {
                ("com.amazonaws.sqs#InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId", 400)
            }
            Self::InvalidMessageContents => ("com.amazonaws.sqs#InvalidMessageContents", "InvalidMessageContents", 400),
            Self::InvalidParameterValue => {
                ("com.amazon.coral.service#InvalidParameterValueException", "InvalidParameterValue", 400)
            }
            Self::MalformedInput => ("com.amazon.coral.service#SerializationException", "MalformedInput", 400),
            Self::MessageNotInflight => {
                ("com.amazonaws.sqs#MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", 400)
            }
            Self::MissingParameter => {
                ("com.amazon.coral.service#MissingRequiredParameterException", "MissingParameter", 400)
            }
            Self::OverLimit => ("com.amazonaws.sqs#OverLimit", "OverLimit", 403),
            Self::PurgeQueueInProgress => {
                ("com.amazonaws.sqs#PurgeQueueInProgress", "AWS.SimpleQueueService.PurgeQueueInProgress", 403)
            }
            Self::QueueDeletedRecently => {
                ("com.amazonaws.sqs#QueueDeletedRecently", "AWS.SimpleQueueService.QueueDeletedRecently", 400)
            }
            Self::QueueDoesNotExist => {
                ("com.amazonaws.sqs#QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", 400)
            }
            Self::QueueNameExists => ("com.amazonaws.sqs#QueueNameExists", "QueueAlreadyExists", 400),
            Self::ReceiptHandleIsInvalid => ("com.amazonaws.sqs#ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404),
            // What SQS answers to these two is not documented: the codes are those of S3.
            Self::RequestHeaderSectionTooLarge => {
                ("com.amazon.coral.service#RequestHeaderSectionTooLarge", "RequestHeaderSectionTooLarge", 431)
            }
            Self::RequestTimeout => ("com.amazon.coral.service#RequestTimeout", "RequestTimeout", 408),
            Self::RequestTooLarge => {
                ("com.amazon.coral.service#RequestEntityTooLargeException", "RequestEntityTooLarge", 413)
            }
            Self::ResourceNotFoundException => {
                ("com.amazonaws.sqs#ResourceNotFoundException", "ResourceNotFoundException", 404)
            }
            Self::SignatureDoesNotMatch => {
                ("com.amazon.coral.service#InvalidSignatureException", "SignatureDoesNotMatch", 403)
            }
            Self::ThrottlingException => {
                ("com.amazon.coral.availability#ThrottlingException", "ThrottlingException", 400)
            }
            Self::TooManyEntriesInBatchRequest => (
                "com.amazonaws.sqs#TooManyEntriesInBatchRequest",
                "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
                400,
            ),
            Self::UnknownOperation => {
                ("com.amazon.coral.service#UnknownOperationException", "UnknownOperationException", 400)
            }
            Self::UnsupportedOperation => {
                ("com.amazonaws.sqs#UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation", 400)
            }
        }
    }
}
