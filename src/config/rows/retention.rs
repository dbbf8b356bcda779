//! What retention takes, and what tables that grow are made of.

use crate::config::kinds::{Span, Switch, Whole, Word};
use crate::config::setting::{Default, OPTIONS, Setting};
use crate::table::time_partitions::Period;

/// How long rows are kept.
pub static KEPT_FOR: Setting<Span> = Setting {
    flag: Some("keep"),
    variable: None,
    commands: &["retain"],
    heading: OPTIONS,
    kind: Span,
    default: Default::Unset,
    is_secret: false,
    meaning: "How long logins are kept, and their claims and resolved letters with them: a number of months, years or days, such as \
              13months. What is older leaves with its whole partition. At least 28d, twice as long as a queue can keep a message",
};

/// How long keys are remembered.
pub static IDENTITY_MEMORY: Setting<Span> = Setting {
    flag: Some("identity-memory"),
    variable: Some("TURNSTILE_IDENTITY_MEMORY"),
    commands: &["retain"],
    heading: OPTIONS,
    kind: Span,
    default: Default::Found("as long as --keep"),
    is_secret: false,
    meaning: "How long the keys that producers give to logins are remembered: the same key is loaded once within that time. No \
              shorter than --keep. Keys under --identity-time leave with the horizon, and are never loaded again",
};

/// How tables are partitioned.
pub static PARTITION: Setting<Word<Period>> = Setting {
    flag: Some("partition"),
    variable: None,
    commands: &["migrate"],
    heading: OPTIONS,
    kind: Word::of("PERIOD", &["monthly", "daily"]),
    default: Default::Unset,
    is_secret: false,
    meaning: "Partition user_logins and processed_messages by time, and identities if its keys carry their time, beside running \
              loaders; what stands there becomes the first partition. daily pays from some 20 million logins a day on",
};

/// Whether the tables are to be distributed.
pub static DISTRIBUTE: Setting<Switch> = Setting {
    flag: Some("distribute"),
    variable: None,
    commands: &["migrate"],
    heading: OPTIONS,
    kind: Switch,
    default: Default::Unset,
    is_secret: false,
    meaning: "Distribute user_logins, processed_messages and identities over the workers of a Citus cluster. Loaders wait while rows are \
              moved. docs/SCALE.md says when it pays",
};

/// Over how many shards.
pub static SHARDS: Setting<Whole<u32>> = Setting {
    flag: Some("shards"),
    variable: None,
    commands: &["migrate"],
    heading: OPTIONS,
    kind: Whole(1..=1024),
    default: Default::Found("4 for each worker"),
    is_secret: false,
    meaning: "Into how many shards --distribute divides each table. A login costs the more the more there are",
};
