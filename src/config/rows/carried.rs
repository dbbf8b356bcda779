//! What `turnstile dead-letters export` and `import` take beside what other commands on dead letters take.

use super::loading::QUEUE_ADDRESS;
use crate::config::kinds::{FilePath, Text, Whole};
use crate::config::setting::{Default, OPTIONS, Setting};
use crate::queue::sqs::QueueAddress;

/// Where letters are exported to.
pub static EXPORT_TO: Setting<FilePath> = Setting {
    flag: Some("to"),
    variable: None,
    commands: &["dead-letters export"],
    heading: OPTIONS,
    kind: FilePath,
    default: Default::Unset,
    is_secret: false,
    meaning: "The file to write; FILE.manifest.json beside it says what it holds. Neither may exist",
};

/// Which dead-letter queue is drained.
pub static FROM_QUEUE: Setting<Text<QueueAddress>> = Setting {
    flag: Some("from-queue"),
    variable: None,
    commands: &["dead-letters import"],
    heading: OPTIONS,
    kind: QUEUE_ADDRESS,
    default: Default::Unset,
    is_secret: false,
    meaning: "Instead of a file, drain this dead-letter queue of SQS: its messages become dead letters, and are deleted from it",
};

/// How many messages are taken from a queue.
pub static IMPORT_LIMIT: Setting<Whole<u64>> = Setting {
    flag: Some("limit"),
    variable: None,
    commands: &["dead-letters import"],
    heading: OPTIONS,
    kind: Whole(1..=1_000_000_000),
    default: Default::Found("no limit"),
    is_secret: false,
    meaning: "With --from-queue, take at most so many messages",
};
