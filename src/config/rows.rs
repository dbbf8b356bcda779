//! Every setting of the program, each in one row.

#[cfg(feature = "archive")]
mod archive;
mod calls;
mod carried;
#[cfg(feature = "console")]
mod console;
#[cfg(feature = "demo")]
mod demo;
mod general;
mod history;
mod letters;
mod loaders;
mod loading;
mod outbox;
mod relay;
mod retention;

use super::setting::Row;

#[cfg(feature = "archive")]
pub use self::archive::*;
pub use self::calls::*;
pub use self::carried::*;
#[cfg(feature = "console")]
pub use self::console::*;
#[cfg(feature = "demo")]
pub use self::demo::*;
pub use self::general::*;
pub use self::history::*;
pub use self::letters::*;
pub use self::loaders::*;
pub use self::loading::*;
pub use self::outbox::*;
pub use self::relay::*;
pub use self::retention::*;

/// What `turnstile run` takes, and with it the commands that look at what a run would meet.
const RUN: &[&str] = &["run", "check", "config show"];

/// What waits for a database at its start.
const LONG_COMMANDS: &[&str] = &["run", "relay", "check", "config show"];

const QUEUE_COMMANDS: &[&str] = &["run", "check", "config show", "send"];

/// Those that speak to a queue, whichever.
const QUEUE_TRUST_COMMANDS: &[&str] =
    &["run", "check", "config show", "send", "relay", "dead-letters requeue", "dead-letters import", "console"];

const DATABASE_COMMANDS: &[&str] = &[
    "unmask",
    "run",
    "relay",
    "check",
    "config show",
    "migrate",
    "keys register",
    "dead-letters list",
    "dead-letters show",
    "dead-letters replay",
    "dead-letters requeue",
    "dead-letters discard",
    "dead-letters reopen",
    "dead-letters note",
    "dead-letters export",
    "dead-letters import",
    "dead-letters history",
    "dead-letters plans list",
    "dead-letters plans show",
    "dead-letters plans run",
    "dead-letters plans cancel",
    "loaders",
    "loaders pause",
    "loaders resume",
    "outbox status",
    "outbox failures list",
    "outbox failures retry",
    "outbox failures discard",
    "outbox replay",
    "outbox prune",
    "retain",
    "archive",
    "archive restore",
    "archive forget",
    "audit",
    "console",
];

/// Every setting and option, in the order in which they are listed.
pub const ALL: &[&dyn Row] = &[
    &CONFIG,
    &LOG_LEVEL,
    &QUIET,
    &VERBOSE,
    &LOG_FORMAT,
    &COLOR,
    &FORMAT,
    &QUEUE,
    &ALLOW_ENDPOINT_OVERRIDE,
    &ALLOW_CLEAR_QUEUE,
    &WAIT_FOR_QUEUE,
    &DATABASE_URL,
    &DATABASE_TIMEOUT,
    &SCHEMA,
    &LOGINS_SCHEMA,
    &DATABASE_CONNECTIONS,
    &WAIT_FOR_DATABASE,
    &KEYRING,
    &KEYS,
    &MASK,
    &BODY,
    &IDENTITY,
    &IDENTITY_TIME,
    &CONTRADICTIONS,
    &LANES,
    &BATCH_SIZE,
    &BATCH_BYTES,
    &LINGER,
    &WAIT,
    &VISIBILITY_TIMEOUT,
    &MAX_ATTEMPTS,
    &RETRY_DELAY,
    &MAX_REJECTION_RATE,
    &DEAD_LETTER_QUOTA,
    &KEEP_TRACE_CONTEXT,
    &MIGRATE,
    &UNTIL_EMPTY,
    &SHUTDOWN_TIMEOUT,
    &METRICS_ADDRESS,
    &QUEUE_DEPTH,
    &RELAY_TO,
    &TO,
    &SINK,
    &SOURCE,
    &CHUNK,
    &LEASE,
    &POLL,
    &EVENT_ATTEMPTS,
    &ORDERED,
    &HTTP_BATCH,
    &HTTP_TIMEOUT,
    &HTTP_SECRETS_FILE,
    &HTTP_SECRETS,
    &HTTP_BEARER_FILE,
    &ALLOW_CLEAR_HTTP,
    &ADOPT,
    &RELAY_UNTIL_EMPTY,
    &OF_SINK,
    &REFUSED_STATUS,
    &REFUSED_CODE,
    &REFUSED_LIMIT,
    &REPLAY_FROM,
    &REPLAY_TO,
    &KEPT_FOR,
    &IDENTITY_MEMORY,
    &PARTITION,
    &DISTRIBUTE,
    &SHARDS,
    &GROUP,
    &AUDIT_TIMEOUT,
    #[cfg(feature = "archive")]
    &ARCHIVE_TO,
    #[cfg(feature = "archive")]
    &ARCHIVE_FROM,
    #[cfg(feature = "archive")]
    &ARCHIVE_HEAD,
    #[cfg(feature = "archive")]
    &USER_ID_FILE,
    #[cfg(feature = "console")]
    &CONSOLE_LISTEN,
    #[cfg(feature = "console")]
    &BEHIND_PROXY,
    #[cfg(feature = "console")]
    &TLS_CERTIFICATE,
    #[cfg(feature = "console")]
    &TLS_KEY,
    #[cfg(feature = "console")]
    &SIGN_IN,
    #[cfg(feature = "console")]
    &PERSON_HEADER,
    #[cfg(feature = "console")]
    &ENVIRONMENT,
    #[cfg(feature = "console")]
    &ENVIRONMENT_COLOUR,
    #[cfg(feature = "console")]
    &REQUEST_PRICE,
    &BY,
    &REASON,
    &DONE_BY,
    &DONE_SINCE,
    &DONE_ACTION,
    &HISTORY_LIMIT,
    &CODE,
    &NOTED_CODE,
    &WRONG_FIELD,
    &SINCE,
    &UNTIL,
    &STATUS,
    &OF_QUEUE,
    &MESSAGE_ID,
    &SORT,
    &LIST_LIMIT,
    &PLANS_LIMIT,
    &REVISION,
    &AFTER,
    &LIST_FORMAT,
    &REPLAY_LIMIT,
    &EXPORT_TO,
    &FROM_QUEUE,
    &IMPORT_LIMIT,
    &LOADERS_OF_QUEUE,
    &ONE_LOADER,
    &NEW_KEYRING,
    &NEW_KEY_ID,
    &UNMASK_MASK,
    &FIELD,
    #[cfg(feature = "demo")]
    &MESSAGES,
    #[cfg(feature = "demo")]
    &DEMO_SEED,
    #[cfg(feature = "demo")]
    &KEEP,
    #[cfg(all(feature = "console", feature = "demo"))]
    &DEMO_CONSOLE,
    #[cfg(feature = "demo")]
    &LISTEN,
    #[cfg(feature = "demo")]
    &HOST_NAMES,
    #[cfg(feature = "demo")]
    &LOCAL_QUEUES,
    #[cfg(feature = "demo")]
    &LOCAL_VISIBILITY_TIMEOUT,
    #[cfg(feature = "demo")]
    &LOCAL_DELAY,
    #[cfg(feature = "demo")]
    &REDRIVE,
    #[cfg(feature = "demo")]
    &LOCAL_REGION,
    #[cfg(feature = "demo")]
    &FAULT,
    #[cfg(feature = "demo")]
    &MAX_FAULT_DELAY,
    #[cfg(feature = "demo")]
    &LOCAL_SEED,
];

/// The rows that have a variable, each variable once.
pub fn settings() -> impl Iterator<Item = &'static dyn Row> {
    let is_first = |row: &&dyn Row, before: &[&dyn Row]| !before.iter().any(|other| other.variable() == row.variable());
    ALL.iter().enumerate().filter_map(move |(at, row)| {
        row.variable()?;
        is_first(row, ALL.get(..at).unwrap_or_default()).then_some(*row)
    })
}
