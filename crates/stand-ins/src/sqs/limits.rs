//! How much a client may ask for at once.

/// The most entries of one batch, and the most messages of one receive (developer guide, "Amazon SQS message quotas").
pub const MESSAGES_PER_CALL: usize = 10;

/// The largest message, and the largest batch of messages in one send, in bytes (developer guide, "Amazon SQS message
/// quotas": 1 MiB).
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// The largest request: a full batch of which every byte is escaped as six, and 512 KiB for the rest.
pub const MAX_REQUEST_BYTES: usize = 6 * MAX_MESSAGE_BYTES + 512 * 1024;
