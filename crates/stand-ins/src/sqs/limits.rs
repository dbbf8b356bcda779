//! How much a client may ask for at once, so that no client can take all of the machine.

use std::time::Duration;

/// The most entries of one batch, and the most messages of one receive (developer guide, "Amazon SQS message quotas").
pub const MESSAGES_PER_CALL: usize = 10;

/// The largest message, and the largest batch of messages in one send, in bytes (developer guide, "Amazon SQS message
/// quotas": 1 MiB).
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// The largest request: a full batch of which every byte is escaped as six, and 512 KiB for the rest.
pub const MAX_REQUEST_BYTES: usize = 6 * MAX_MESSAGE_BYTES + 512 * 1024;

/// The largest request line and headers together. A signed call of an SDK has about 1 KiB.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// At most this much of a connection is buffered outside bodies. What has a longer head is answered without a look at it.
pub(super) const MAX_BUFFER_BYTES: usize = 64 * 1024;

/// How many connections a server has by default. More wait until one of them closes.
pub const MAX_CONNECTIONS: usize = 512;

/// For how long a client may take by default to send the head of a request or its body, or leave a connection idle. Longer
/// than the 90 s for which SDKs keep idle connections: the side that closes first may cut off a call.
pub const PATIENCE: Duration = Duration::from_secs(120);
