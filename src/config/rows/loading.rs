//! What a run takes: queue, database, keys, identity and lanes. Other commands take some of it.

use std::net::SocketAddr;
use std::time::Duration;

use super::{DATABASE_COMMANDS, LONG_COMMANDS, QUEUE_COMMANDS, QUEUE_TRUST_COMMANDS, RUN};
use crate::config::kinds::{DatabaseUrl, KeyringFile, Length, Size, Switch, Text, Whole, Word, parsed};
use crate::config::setting::{Default, Setting};
use crate::database::schemas::Schema;
use crate::decode::Form;
use crate::keyring::Keyring;
use crate::load::Contradictions;
use crate::mask::MaskKind;
use crate::message::{Identity, KeyTime};
use crate::queue::MAX_WAIT;
use crate::queue::sqs::QueueAddress;
use crate::storm::MaxRejectionRate;

const QUEUE_HEADING: &str = "Queue";
const DATABASE_HEADING: &str = "Database";
const KEYS_HEADING: &str = "Keys and masks";
const IDENTITY_HEADING: &str = "Identity";
const LANES_HEADING: &str = "Lanes";
pub(super) const START_AND_END: &str = "Start and end";
const FIGURES_HEADING: &str = "Figures and probes";

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const MIB: usize = 1024 * 1024;

/// What to give where a queue is meant.
pub const QUEUE_REMEDY: &str = "give the queue's name, or its URL (https://sqs.REGION.amazonaws.com/ACCOUNT/NAME)";

pub(super) const QUEUE_ADDRESS: Text<QueueAddress> = Text::of("NAME|URL", QUEUE_REMEDY, parsed);

/// Which queue.
pub static QUEUE: Setting<Text<QueueAddress>> = Setting {
    flag: Some("queue"),
    variable: Some("TURNSTILE_QUEUE"),
    commands: QUEUE_COMMANDS,
    heading: QUEUE_HEADING,
    kind: QUEUE_ADDRESS,
    default: Default::Unset,
    is_secret: false,
    meaning: "The queue: its name, or its URL. Region, credentials and endpoint come from the standard AWS settings \
              (AWS_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …)",
};

/// Whether the calls may go elsewhere than the queue's URL says.
pub static ALLOW_ENDPOINT_OVERRIDE: Setting<Switch> = Setting {
    flag: Some("allow-endpoint-override"),
    variable: Some("TURNSTILE_ALLOW_ENDPOINT_OVERRIDE"),
    commands: QUEUE_TRUST_COMMANDS,
    heading: QUEUE_HEADING,
    kind: Switch,
    default: Default::Unset,
    is_secret: false,
    meaning: "Let AWS_ENDPOINT_URL send the calls to another host than that of the queue's URL",
};

/// Whether logins may be read on the way from the queue.
pub static ALLOW_CLEAR_QUEUE: Setting<Switch> = Setting {
    flag: Some("allow-clear-queue"),
    variable: Some("TURNSTILE_ALLOW_CLEAR_QUEUE"),
    commands: QUEUE_TRUST_COMMANDS,
    heading: QUEUE_HEADING,
    kind: Switch,
    default: Default::Unset,
    is_secret: false,
    meaning: "Allow http:// to a queue server on another machine: anyone on the way can read the logins",
};

/// How long a queue is waited for.
pub static WAIT_FOR_QUEUE: Setting<Length> = Setting {
    flag: Some("wait-for-queue"),
    variable: Some("TURNSTILE_WAIT_FOR_QUEUE"),
    commands: QUEUE_COMMANDS,
    heading: QUEUE_HEADING,
    kind: Length(Duration::ZERO..=HOUR),
    default: Default::Is("0s"),
    is_secret: false,
    meaning: "How long to wait for a queue that is missing",
};

/// Which database.
pub static DATABASE_URL: Setting<DatabaseUrl> = Setting {
    flag: Some("database-url"),
    variable: Some("DATABASE_URL"),
    commands: DATABASE_COMMANDS,
    heading: DATABASE_HEADING,
    kind: DatabaseUrl,
    default: Default::Unset,
    is_secret: true,
    meaning: "The database: postgres://USER@HOST:PORT/DATABASE. Put a password into the variable DATABASE_URL or \
              PGPASSWORD, or into a file that only its owner may read, never on the command line. TLS is required of every \
              host but this machine, unless ?sslmode=disable is given; ?sslrootcert=FILE names a certificate authority, \
              ?sslcert=FILE&sslkey=FILE a client's certificate; ?auth=aws-iam logs in with a token of AWS's IAM",
};

/// The deadline of a call to the database.
pub static DATABASE_TIMEOUT: Setting<Length> = Setting {
    flag: Some("database-timeout"),
    variable: Some("TURNSTILE_DATABASE_TIMEOUT"),
    commands: DATABASE_COMMANDS,
    heading: DATABASE_HEADING,
    kind: Length(Duration::from_millis(100)..=Duration::from_secs(600)),
    default: Default::Is("10s"),
    is_secret: false,
    meaning: "The deadline of every call to the database: connect, statement, commit",
};

/// Where Turnstile's own tables stand.
pub static SCHEMA: Setting<Text<Schema>> = Setting {
    flag: Some("schema"),
    variable: Some("TURNSTILE_SCHEMA"),
    commands: DATABASE_COMMANDS,
    heading: DATABASE_HEADING,
    kind: Text::of("NAME", "give the name of a schema, for example turnstile", parsed),
    default: Default::Is("turnstile"),
    is_secret: false,
    meaning: "The schema of Turnstile's own tables: small letters, digits and underscores",
};

/// Where `user_logins` stands.
pub static LOGINS_SCHEMA: Setting<Text<Schema>> = Setting {
    flag: Some("logins-schema"),
    variable: Some("TURNSTILE_LOGINS_SCHEMA"),
    commands: DATABASE_COMMANDS,
    heading: DATABASE_HEADING,
    kind: Text::of("NAME", "give the name of a schema, for example public", parsed),
    default: Default::Is("public"),
    is_secret: false,
    meaning: "The schema of the table user_logins, which others query",
};

/// How many connections.
pub static DATABASE_CONNECTIONS: Setting<Whole<usize>> = Setting {
    flag: Some("database-connections"),
    variable: Some("TURNSTILE_DATABASE_CONNECTIONS"),
    commands: RUN,
    heading: DATABASE_HEADING,
    kind: Whole(1..=64),
    default: Default::Found("as many as lanes"),
    is_secret: false,
    meaning: "The most connections at once",
};

/// How long a database is waited for at start.
pub static WAIT_FOR_DATABASE: Setting<Length> = Setting {
    flag: Some("wait-for-database"),
    variable: Some("TURNSTILE_WAIT_FOR_DATABASE"),
    commands: LONG_COMMANDS,
    heading: DATABASE_HEADING,
    kind: Length(Duration::ZERO..=HOUR),
    default: Default::Is("30s"),
    is_secret: false,
    meaning: "How long to wait at the start for a database that is away or busy; later, the loader waits as long as it takes",
};

/// Whether a run migrates first.
pub static MIGRATE: Setting<Switch> = Setting {
    flag: Some("migrate"),
    variable: Some("TURNSTILE_MIGRATE"),
    commands: RUN,
    heading: START_AND_END,
    kind: Switch,
    default: Default::Unset,
    is_secret: false,
    meaning: "Bring the tables to this version first: the same as `turnstile migrate` does",
};

/// Where figures and probes are served.
pub static METRICS_ADDRESS: Setting<Text<SocketAddr>> = Setting {
    flag: Some("metrics-address"),
    variable: Some("TURNSTILE_METRICS_ADDRESS"),
    commands: &["run", "relay", "console", "check", "config show", "health", "top"],
    heading: FIGURES_HEADING,
    kind: Text::of("ADDRESS", "give an address and a port, for example 127.0.0.1:9464", |text| {
        text.parse().map_err(|_| "is not an address and port".to_owned())
    }),
    default: Default::Unset,
    is_secret: false,
    meaning: "Where /metrics, /livez and /readyz are served: an address of this machine and a port. Without it, \
              nothing is served. Nothing personal is in what is served, and nobody is asked for a password",
};

/// Whether the queue is asked what it holds.
pub static QUEUE_DEPTH: Setting<Word<QueueDepth>> = Setting {
    flag: Some("queue-depth"),
    variable: Some("TURNSTILE_QUEUE_DEPTH"),
    commands: RUN,
    heading: FIGURES_HEADING,
    kind: Word::of("WHEN", &["on-scrape", "off"]),
    default: Default::Is("on-scrape"),
    is_secret: false,
    meaning: "When the queue is asked what it holds: on each scrape of /metrics, at most every 15 s, and each time is a call that is \
              paid for. One of many loaders is enough; the others can have it off",
};

/// Whether a scrape asks the queue what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueDepth {
    /// At most every 15 s.
    OnScrape,
    /// Never.
    Off,
}

impl std::str::FromStr for QueueDepth {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "on-scrape" => Ok(Self::OnScrape),
            "off" => Ok(Self::Off),
            _ => Err(()),
        }
    }
}

/// The keyring's file.
pub static KEYRING: Setting<KeyringFile> = Setting {
    flag: Some("keyring"),
    variable: Some("TURNSTILE_KEYRING"),
    commands: &[
        "run",
        "check",
        "config show",
        "migrate",
        "keys list",
        "keys register",
        "unmask",
        "mask",
        "dead-letters show",
        "dead-letters replay",
        "dead-letters requeue",
        "dead-letters export",
        "dead-letters import",
        "dead-letters plans run",
        "console",
    ],
    heading: KEYS_HEADING,
    kind: KeyringFile,
    default: Default::Unset,
    is_secret: false,
    meaning: "The file of the keys that mask, seal and hash. Instead of a file, the variable TURNSTILE_KEYS may hold its text",
};

/// The keyring's text.
pub static KEYS: Setting<Text<String>> = Setting {
    flag: None,
    variable: Some("TURNSTILE_KEYS"),
    commands: KEYRING.commands,
    heading: KEYS_HEADING,
    kind: Text::of("TEXT", "give the text of a keyring", parsed).hidden(),
    default: Default::Unset,
    is_secret: true,
    meaning: "The text of a keyring, instead of a file. It has no flag, because others could read it in the list of processes",
};

/// How personal fields are masked.
pub static MASK: Setting<Word<MaskKind>> = Setting {
    flag: Some("mask"),
    variable: Some("TURNSTILE_MASK"),
    commands: &[
        "run",
        "check",
        "config show",
        "migrate",
        "keys register",
        "mask",
        "dead-letters replay",
        "dead-letters plans run",
        "console",
    ],
    heading: KEYS_HEADING,
    kind: Word::of("KIND", &["seal", "token", "base64"]),
    default: Default::Is("seal"),
    is_secret: false,
    meaning: "How ip and device_id are masked: seal (encrypted, equal values stay equal, turnstile unmask recovers them), \
              token (a keyed digest, not recoverable), base64 (an encoding and no mask, for older data only). It is \
              registered with the key, and must be the same for all loaders",
};

/// By what a login is known.
pub static IDENTITY: Setting<Text<Identity>> = Setting {
    flag: Some("identity"),
    variable: Some("TURNSTILE_IDENTITY"),
    commands: &["run", "check", "config show", "dead-letters import"],
    heading: IDENTITY_HEADING,
    kind: Text::of(
        "SCHEME",
        "give message-id, content, field:/json/pointer (a pointer starts with /) or attribute:NAME",
        scheme,
    )
    .beginning(&["message-id", "field:/", "attribute:", "content"]),
    default: Default::Is("message-id"),
    is_secret: false,
    meaning: "The key by which a login that is sent twice is recognised and loaded once: message-id (none: each \
              message is a login of its own), field:/json/pointer (an id in the body), attribute:NAME (a message attribute, \
              or MessageDeduplicationId), content (the whole body: equal bodies are one login for ever)",
};

/// A scheme as it is typed; what is recorded of a queue may have a time before it, which is a setting of its own.
fn scheme(text: &str) -> Result<Identity, String> {
    match parsed::<Identity>(text)? {
        timed if timed.key_time().is_some() => {
            Err("says how keys carry their time, too: --identity-time says that".to_owned())
        }
        scheme => Ok(scheme),
    }
}

/// How keys carry their time.
pub static IDENTITY_TIME: Setting<Word<KeyTime>> = Setting {
    flag: Some("identity-time"),
    variable: Some("TURNSTILE_IDENTITY_TIME"),
    commands: &["run", "check", "config show", "dead-letters import"],
    heading: IDENTITY_HEADING,
    kind: Word::of("KIND", &["uuidv7", "ulid"]),
    default: Default::Unset,
    is_secret: false,
    meaning: "What the keys are, if each carries the time at which it was made: uuidv7 or ulid. No such key is loaded twice, for ever:               one that is older than the tables remember becomes a dead letter. Only with --identity field: or attribute:, and a               queue that gives SentTimestamps",
};

/// What the bodies are.
pub static BODY: Setting<Word<BodyKind>> = Setting {
    flag: Some("body"),
    variable: Some("TURNSTILE_BODY"),
    commands: &[
        "run",
        "check",
        "config show",
        "dead-letters replay",
        "dead-letters import",
        "dead-letters plans run",
        "console",
    ],
    heading: IDENTITY_HEADING,
    kind: Word::of("WHAT", &["login", "event"]),
    default: Default::Is("login"),
    is_secret: false,
    meaning: "What the messages are: login (as an app sends it), or event (as turnstile relay sends it). The masked values of an \
              event are stored as they are, so only relays may send to its queue; give --identity field:/id with it",
};

/// What the bodies of a queue are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// Logins of an app.
    Login,
    /// Events of another Turnstile.
    Event,
}

impl BodyKind {
    /// How they are read; the keys check what was masked with them.
    pub fn form(self, keyring: &Keyring) -> Form {
        match self {
            Self::Login => Form::Login,
            Self::Event => Form::Event(keyring.unmasker()),
        }
    }
}

impl std::str::FromStr for BodyKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "login" => Ok(Self::Login),
            "event" => Ok(Self::Event),
            _ => Err(()),
        }
    }
}

/// What becomes of another login under the same key.
pub static CONTRADICTIONS: Setting<Word<Contradictions>> = Setting {
    flag: Some("contradictions"),
    variable: Some("TURNSTILE_CONTRADICTIONS"),
    commands: RUN,
    heading: IDENTITY_HEADING,
    kind: Word::of("WHAT", &["dead-letter", "absorb"]),
    default: Default::Is("dead-letter"),
    is_secret: false,
    meaning: "What another login under a taken key becomes: dead-letter (its body is \
              kept), or absorb (it counts as the same login sent twice, and its body is lost)",
};

/// How many lanes.
pub static LANES: Setting<Whole<usize>> = Setting {
    flag: Some("lanes"),
    variable: Some("TURNSTILE_LANES"),
    commands: RUN,
    heading: LANES_HEADING,
    kind: Whole(1..=64),
    default: Default::Is("2"),
    is_secret: false,
    meaning: "The most lanes at work side by side. Each receives, loads and deletes; while the queue is idle, one receives and \
              the others rest",
};

/// How many messages a transaction takes.
pub static BATCH_SIZE: Setting<Whole<usize>> = Setting {
    flag: Some("batch-size"),
    variable: Some("TURNSTILE_BATCH_SIZE"),
    commands: RUN,
    heading: LANES_HEADING,
    kind: Whole(1..=5000),
    default: Default::Is("500"),
    is_secret: false,
    meaning: "The most messages in one transaction",
};

/// How many bytes a lane gathers.
pub static BATCH_BYTES: Setting<Size> = Setting {
    flag: Some("batch-bytes"),
    variable: Some("TURNSTILE_BATCH_BYTES"),
    commands: RUN,
    heading: LANES_HEADING,
    kind: Size(1024..=256 * MIB),
    default: Default::Is("4MiB"),
    is_secret: false,
    meaning: "How many bytes of bodies a lane gathers before it loads; it bounds the memory that a loader needs",
};

/// How long a lane gathers.
pub static LINGER: Setting<Length> = Setting {
    flag: Some("linger"),
    variable: Some("TURNSTILE_LINGER"),
    commands: RUN,
    heading: LANES_HEADING,
    kind: Length(Duration::ZERO..=MINUTE),
    default: Default::Is("200ms"),
    is_secret: false,
    meaning: "How long a lane gathers at most after its first message, while the queue has more",
};

/// How long a receive waits.
pub static WAIT: Setting<Length> = Setting {
    flag: Some("wait"),
    variable: Some("TURNSTILE_WAIT"),
    commands: RUN,
    heading: LANES_HEADING,
    kind: Length(SECOND..=MAX_WAIT),
    default: Default::Unless { usually: "5s", switch: &UNTIL_EMPTY, then: "1s" },
    is_secret: false,
    meaning: "How long a receive waits for a message. An idle loader makes one call in that time (720 an hour with the \
              default), and a shutdown may take as long",
};

/// How long a received message is hidden.
pub static VISIBILITY_TIMEOUT: Setting<Length> = Setting {
    flag: Some("visibility-timeout"),
    variable: Some("TURNSTILE_VISIBILITY_TIMEOUT"),
    commands: &["run", "check", "config show", "dead-letters import"],
    heading: LANES_HEADING,
    kind: Length(SECOND..=Duration::from_secs(12 * 60 * 60)),
    default: Default::Is("60s"),
    is_secret: false,
    meaning: "How long received messages are hidden from others; it is renewed at half-time while they are loaded",
};

/// How often a message is tried.
pub static MAX_ATTEMPTS: Setting<Whole<u32>> = Setting {
    flag: Some("max-attempts"),
    variable: Some("TURNSTILE_MAX_ATTEMPTS"),
    commands: RUN,
    heading: LANES_HEADING,
    kind: Whole(1..=1000),
    default: Default::Is("3"),
    is_secret: false,
    meaning: "How many deliveries a message gets before it becomes a dead letter: one that is not a login, or whose row the \
              database refuses. Keep it below the queue's own maxReceiveCount",
};

/// How long a message stays hidden before it is tried again.
pub static RETRY_DELAY: Setting<Length> = Setting {
    flag: Some("retry-delay"),
    variable: Some("TURNSTILE_RETRY_DELAY"),
    commands: RUN,
    heading: LANES_HEADING,
    kind: Length(Duration::ZERO..=Duration::from_secs(15 * 60)),
    default: Default::Is("5s"),
    is_secret: false,
    meaning: "How long such a message stays hidden before its second delivery; doubled before each further one, at most \
              15 minutes",
};

/// How many rejections are borne.
pub static MAX_REJECTION_RATE: Setting<Text<MaxRejectionRate>> = Setting {
    flag: Some("max-rejection-rate"),
    variable: Some("TURNSTILE_MAX_REJECTION_RATE"),
    commands: RUN,
    heading: LANES_HEADING,
    kind: Text::of("SHARE", "give a share from 1% to 100%, or off", parsed).beginning(&["off"]),
    default: Default::Is("off"),
    is_secret: false,
    meaning: "The largest share of rejected messages that is borne. Above it, of the last 1000 (at least 200), the loader takes \
              only a few now and then, and goes on by itself once these are logins again; with --until-empty it ends instead",
};

/// How much room dead letters may take.
pub static DEAD_LETTER_QUOTA: Setting<Size> = Setting {
    flag: Some("dead-letter-quota"),
    variable: Some("TURNSTILE_DEAD_LETTER_QUOTA"),
    commands: RUN,
    heading: LANES_HEADING,
    kind: Size(MIB..=1024 * 1024 * 1024 * MIB),
    default: Default::Found("no limit"),
    is_secret: false,
    meaning: "How much room dead letters may take: their table with its indexes. Above it, the loader takes only a few messages now \
              and then, writes no further dead letter of what is not a login, and goes on by itself once there is room; with \
              --until-empty it ends instead",
};

/// Whether a run ends with the queue.
pub static UNTIL_EMPTY: Setting<Switch> = Setting {
    flag: Some("until-empty"),
    variable: Some("TURNSTILE_UNTIL_EMPTY"),
    commands: RUN,
    heading: START_AND_END,
    kind: Switch,
    default: Default::Unset,
    is_secret: false,
    meaning: "End when the queue is drained",
};

/// How long the end may take.
pub static SHUTDOWN_TIMEOUT: Setting<Length> = Setting {
    flag: Some("shutdown-timeout"),
    variable: Some("TURNSTILE_SHUTDOWN_TIMEOUT"),
    commands: RUN,
    heading: START_AND_END,
    kind: Length(SECOND..=HOUR),
    default: Default::Is("30s"),
    is_secret: false,
    meaning: "How long a shutdown may take: from the first signal to the end",
};
