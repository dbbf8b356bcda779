//! What the demo and the local queue take.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::time::Duration;

use stand_ins::sqs::{Faults, QueueOptions, Redrive};

use crate::config::kinds::{Kind, Length, Switch, Text, Unfit, Whole, utf8};
use crate::config::setting::{Default, Setting};

const DEMO: &[&str] = &["demo"];
const DEMO_HEADING: &str = "Demo";
const LOCAL_QUEUE: &[&str] = &["local-queue"];
const LOCAL_QUEUE_HEADING: &str = "Local queue";

/// How many messages the demo sends.
pub static MESSAGES: Setting<Whole<u64>> = Setting {
    flag: Some("messages"),
    variable: Some("TURNSTILE_MESSAGES"),
    commands: DEMO,
    heading: DEMO_HEADING,
    kind: Whole(1..=1_000_000),
    default: Default::Is("10000"),
    is_secret: false,
    meaning: "How many messages to send",
};

/// What the demo's dice begin with.
pub static DEMO_SEED: Setting<Whole<u64>> = Setting {
    flag: Some("seed"),
    variable: Some("TURNSTILE_SEED"),
    commands: DEMO,
    heading: DEMO_HEADING,
    kind: Whole(0..=u32::MAX as u64),
    default: Default::Is("1"),
    is_secret: false,
    meaning: "Decides which messages are made up and which faults strike: the same seed gives the same",
};

/// Whether the demo goes on.
pub static KEEP: Setting<Switch> = Setting {
    flag: Some("keep"),
    variable: Some("TURNSTILE_KEEP"),
    commands: DEMO,
    heading: DEMO_HEADING,
    kind: Switch,
    default: Default::Unset,
    is_secret: false,
    meaning: "Keep both servers running after the report, until Ctrl-C, and say how to connect to them",
};

/// Where the local queue listens.
pub static LISTEN: Setting<Text<SocketAddr>> = Setting {
    flag: Some("listen"),
    variable: Some("TURNSTILE_LOCAL_QUEUE_LISTEN"),
    commands: LOCAL_QUEUE,
    heading: LOCAL_QUEUE_HEADING,
    kind: Text::of("ADDRESS", "write for example 127.0.0.1:9324", |text| {
        text.parse().map_err(|_| "is not an address and port".to_owned())
    }),
    default: Default::Is("127.0.0.1:9324"),
    is_secret: false,
    meaning: "Address and port to listen on; port 0 takes a free one",
};

/// Which host names the local queue answers to.
pub static HOST_NAMES: Setting<Texts> = Setting {
    flag: Some("host-name"),
    variable: Some("TURNSTILE_LOCAL_QUEUE_HOST_NAME"),
    commands: LOCAL_QUEUE,
    heading: LOCAL_QUEUE_HEADING,
    kind: Texts { name: "NAME", words: &[] },
    default: Default::Unset,
    is_secret: false,
    meaning: "A host name to answer to besides localhost, 127.0.0.1 and [::1], repeatable. A request that names another host \
              is refused, so that no website reaches the queue through a browser. Without a name, a server that does not \
              listen on loopback answers to all",
};

/// Which queues are created.
pub static LOCAL_QUEUES: Setting<Texts> = Setting {
    flag: Some("queue"),
    variable: Some("TURNSTILE_LOCAL_QUEUE_QUEUE"),
    commands: LOCAL_QUEUE,
    heading: LOCAL_QUEUE_HEADING,
    kind: Texts { name: "NAME", words: &[] },
    default: Default::Is("logins"),
    is_secret: false,
    meaning: "A queue to create, repeatable; a name that ends in .fifo makes a FIFO queue with content-based deduplication",
};

/// How long a delivered message is hidden.
pub static LOCAL_VISIBILITY_TIMEOUT: Setting<Length> = Setting {
    flag: Some("visibility-timeout"),
    variable: Some("TURNSTILE_LOCAL_QUEUE_VISIBILITY_TIMEOUT"),
    commands: LOCAL_QUEUE,
    heading: LOCAL_QUEUE_HEADING,
    kind: Length(Duration::ZERO..=Duration::from_secs(12 * 60 * 60)),
    default: Default::Is("30s"),
    is_secret: false,
    meaning: "How long a delivered message stays hidden, in whole seconds",
};

/// How long a sent message is hidden.
pub static LOCAL_DELAY: Setting<Length> = Setting {
    flag: Some("delay"),
    variable: Some("TURNSTILE_LOCAL_QUEUE_DELAY"),
    commands: LOCAL_QUEUE,
    heading: LOCAL_QUEUE_HEADING,
    kind: Length(Duration::ZERO..=Duration::from_secs(15 * 60)),
    default: Default::Is("0s"),
    is_secret: false,
    meaning: "How long a message stays hidden after it was sent, in whole seconds",
};

/// When messages move to a dead-letter queue.
pub static REDRIVE: Setting<Text<Redrive>> = Setting {
    flag: Some("redrive"),
    variable: Some("TURNSTILE_LOCAL_QUEUE_REDRIVE"),
    commands: LOCAL_QUEUE,
    heading: LOCAL_QUEUE_HEADING,
    kind: Text::of("QUEUE:COUNT", "write for example logins-dead:5", read_redrive),
    default: Default::Unset,
    is_secret: false,
    meaning: "Move messages received COUNT times (1 to 1000) from every queue to this dead-letter queue, which is created too",
};

fn read_redrive(text: &str) -> Result<Redrive, String> {
    let (name, count) = text.rsplit_once(':').unwrap_or((text, ""));
    let count = count.parse().ok().filter(|count| (1..=1000).contains(count));
    match count.filter(|_| QueueOptions::is_valid_name(name)) {
        Some(max_receive_count) => Ok(Redrive { dead_letter_queue: name.to_owned(), max_receive_count }),
        None => Err("is not the name of a queue and a count from 1 to 1000".to_owned()),
    }
}

/// The region of the local queue's ARNs.
pub static LOCAL_REGION: Setting<Text<String>> = Setting {
    flag: Some("region"),
    variable: Some("TURNSTILE_LOCAL_QUEUE_REGION"),
    commands: LOCAL_QUEUE,
    heading: LOCAL_QUEUE_HEADING,
    kind: Text::of("REGION", "write for example us-east-1", read_region),
    default: Default::Is("us-east-1"),
    is_secret: false,
    meaning: "The region that the queues' ARNs name",
};

fn read_region(text: &str) -> Result<String, String> {
    match text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        true => Ok(text.to_owned()),
        false => Err("is not a region".to_owned()),
    }
}

/// The local queue's faults.
pub static FAULT: Setting<Texts> = Setting {
    flag: Some("fault"),
    variable: Some("TURNSTILE_LOCAL_QUEUE_FAULT"),
    commands: LOCAL_QUEUE,
    heading: LOCAL_QUEUE_HEADING,
    kind: Texts { name: "NAME=PROBABILITY", words: &Faults::NAMES },
    default: Default::Unset,
    is_secret: false,
    meaning: "A fault and its probability from 0 to 1, repeatable: throttle, error_500, lost_reply, \
              partial_batch_failure, early_redelivery, redelivery_after_delete, duplicate_in_receive, delay",
};

/// How long an answer is held back.
pub static MAX_FAULT_DELAY: Setting<Length> = Setting {
    flag: Some("max-fault-delay"),
    variable: Some("TURNSTILE_LOCAL_QUEUE_MAX_FAULT_DELAY"),
    commands: LOCAL_QUEUE,
    heading: LOCAL_QUEUE_HEADING,
    kind: Length(Duration::ZERO..=Duration::from_secs(60)),
    default: Default::Is("1s"),
    is_secret: false,
    meaning: "The longest delay that the fault `delay` gives an answer",
};

/// What the local queue's dice begin with.
pub static LOCAL_SEED: Setting<Whole<u64>> = Setting {
    flag: Some("seed"),
    variable: Some("TURNSTILE_LOCAL_QUEUE_SEED"),
    commands: LOCAL_QUEUE,
    heading: LOCAL_QUEUE_HEADING,
    kind: Whole(0..=u64::MAX),
    default: Default::Is("0"),
    is_secret: false,
    meaning: "Decides which faults strike: the same seed and the same order of calls give the same faults",
};

/// Several texts; the reader looks at each.
pub struct Texts {
    /// What stands for one in a help text.
    pub name: &'static str,
    /// Words that one can begin with.
    pub words: &'static [&'static str],
}

impl Kind for Texts {
    type Value = Vec<String>;

    fn value_name(&self) -> Option<&'static str> {
        Some(self.name)
    }

    fn read(&self, text: &OsStr) -> Result<Vec<String>, Unfit> {
        Ok(utf8(text)?.split(',').map(str::to_owned).collect())
    }

    fn words(&self) -> &'static [&'static str] {
        self.words
    }

    fn repeats(&self) -> bool {
        true
    }
}
