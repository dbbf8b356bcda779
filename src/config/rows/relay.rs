//! What `turnstile relay` takes.

use std::time::Duration;

use super::RUN;
use super::loading::START_AND_END;
use crate::config::kinds::{FilePath, Length, SinkTarget, Switch, Text, Whole};
use crate::config::setting::{Default, OPTIONS, Setting};
use crate::sink::http::Secrets;

/// What is asked for by those who carry events on.
pub const RELAY_HEADING: &str = "Relay";
/// A loader may be a relay besides.
const RELAY: &[&str] = &["relay", "run", "check", "config show"];
/// A check looks at the sink, too.
const RELAY_AND_CHECK: &[&str] = &["relay", "check", "config show"];

/// What to do about a target that is none.
pub const TARGET_REMEDY: &str = "give sqs:QUEUE, sns:ARN, https://HOST/PATH or stdout:";

/// Where events are carried to.
pub static TO: Setting<SinkTarget> = Setting {
    flag: Some("to"),
    variable: Some("TURNSTILE_TO"),
    commands: RELAY_AND_CHECK,
    heading: RELAY_HEADING,
    kind: SinkTarget,
    default: Default::Unset,
    is_secret: false,
    meaning: "Where events are carried to: sqs:QUEUE, with the name or URL of a standard or FIFO queue; sns:ARN of a standard or \
              FIFO topic; https://HOST/PATH, to which they are posted; or stdout:, a line of JSON for each event",
};

/// Where a loader carries events to.
pub static RELAY_TO: Setting<SinkTarget> = Setting {
    flag: Some("relay-to"),
    variable: Some("TURNSTILE_RELAY_TO"),
    commands: RUN,
    heading: START_AND_END,
    kind: SinkTarget,
    default: Default::Unset,
    is_secret: false,
    meaning: "Carry events to this target, too: as `turnstile relay --to` does. Those of this loader's own logins leave as \
              soon as they are committed. With --until-empty, it ends once all is loaded and carried",
};

/// What the sink is called.
pub static SINK: Setting<Text<String>> = Setting {
    flag: Some("sink"),
    variable: Some("TURNSTILE_SINK"),
    commands: RELAY,
    heading: RELAY_HEADING,
    kind: Text::of("NAME", "give 1 to 63 small letters, digits, points, hyphens and underscores", read_sink),
    default: Default::Is("default"),
    is_secret: false,
    meaning: "The name of the sink, under which the tables remember how far it has come. Relays of the same name share the \
              work; each other name gets every event",
};

/// What events say where they come from.
pub static SOURCE: Setting<Text<String>> = Setting {
    flag: Some("source"),
    variable: Some("TURNSTILE_SOURCE"),
    commands: RELAY,
    heading: RELAY_HEADING,
    kind: Text::of("URI", "give a URI of at most 256 characters, such as urn:example:logins-eu", read_source),
    default: Default::Is("urn:turnstile:logins"),
    is_secret: false,
    meaning: "What the events say where they come from: a URI. A consumer knows repeats by source and id, so do not change it",
};

/// How much is carried at once.
pub static CHUNK: Setting<Whole<u16>> = Setting {
    flag: Some("chunk"),
    variable: Some("TURNSTILE_CHUNK"),
    commands: RELAY,
    heading: RELAY_HEADING,
    kind: Whole(1..=5_000),
    default: Default::Is("2000"),
    is_secret: false,
    meaning: "The most events that a lane of the relay takes up at once",
};

/// How long a chunk belongs to one relay.
pub static LEASE: Setting<Length> = Setting {
    flag: Some("lease"),
    variable: Some("TURNSTILE_LEASE"),
    commands: RELAY,
    heading: RELAY_HEADING,
    kind: Length(Duration::from_secs(1)..=Duration::from_secs(600)),
    default: Default::Is("30s"),
    is_secret: false,
    meaning: "How long after its last sign of life a relay's events are left to it; after that another relay carries them again",
};

/// How soon a new event is seen.
pub static POLL: Setting<Length> = Setting {
    flag: Some("poll"),
    variable: Some("TURNSTILE_POLL"),
    commands: RELAY,
    heading: RELAY_HEADING,
    kind: Length(Duration::from_millis(2)..=Duration::from_secs(60)),
    default: Default::Is("20ms"),
    is_secret: false,
    meaning: "The longest pause between two looks at an outbox in which nothing new is",
};

/// How often a refused event is tried.
pub static EVENT_ATTEMPTS: Setting<Whole<i32>> = Setting {
    flag: Some("event-attempts"),
    variable: Some("TURNSTILE_EVENT_ATTEMPTS"),
    commands: RELAY,
    heading: RELAY_HEADING,
    kind: Whole(1..=1_000),
    default: Default::Is("10"),
    is_secret: false,
    meaning: "How often an event is tried that the sink refuses for what it is, before it is set aside. A sink that is away, \
              busy or closed to us is asked without end",
};

/// Whether order is kept.
pub static ORDERED: Setting<Switch> = Setting {
    flag: Some("ordered"),
    variable: Some("TURNSTILE_ORDERED"),
    commands: RELAY,
    heading: RELAY_HEADING,
    kind: Switch,
    default: Default::Unset,
    is_secret: false,
    meaning: "Carry the events of each user in the order of their positions. A refused event keeps the later ones of its user \
              waiting, and a transaction that stays open all that come after it. A sink stays as it was made",
};

/// How many events a request carries.
pub static HTTP_BATCH: Setting<Whole<u16>> = Setting {
    flag: Some("http-batch"),
    variable: Some("TURNSTILE_HTTP_BATCH"),
    commands: RELAY,
    heading: RELAY_HEADING,
    kind: Whole(1..=1_000),
    default: Default::Found("one event a request"),
    is_secret: false,
    meaning: "Post up to so many events in a request, as a list (application/cloudevents-batch+json). A list that is refused is \
              split. Without it each request carries one event (application/cloudevents+json)",
};

/// How long a receiver may take.
pub static HTTP_TIMEOUT: Setting<Length> = Setting {
    flag: Some("http-timeout"),
    variable: Some("TURNSTILE_HTTP_TIMEOUT"),
    commands: RELAY,
    heading: RELAY_HEADING,
    kind: Length(Duration::from_millis(100)..=Duration::from_secs(300)),
    default: Default::Is("10s"),
    is_secret: false,
    meaning: "How long the answer to a posted event may take; no more than half of --lease",
};

/// The file of what signs.
pub static HTTP_SECRETS_FILE: Setting<FilePath> = Setting {
    flag: Some("http-secrets-file"),
    variable: Some("TURNSTILE_HTTP_SECRETS_FILE"),
    commands: RELAY,
    heading: RELAY_HEADING,
    kind: FilePath,
    default: Default::Unset,
    is_secret: false,
    meaning: "The file of the secrets that posted events are signed with (Standard Webhooks), one a line: whsec_ and 24 to 64 \
              bytes in Base64. Each signs, so put the new one beside the old one while you change them. It is read at start, \
              and only its owner may read it",
};

/// What signs.
pub static HTTP_SECRETS: Setting<Text<Secrets>> = Setting {
    flag: None,
    variable: Some("TURNSTILE_HTTP_SECRETS"),
    commands: RELAY,
    heading: RELAY_HEADING,
    kind: Text::of("TEXT", "give `whsec_` and 24 to 64 bytes in Base64; several are separated by commas", read_secrets)
        .hidden(),
    default: Default::Unset,
    is_secret: true,
    meaning: "The secrets that posted events are signed with, separated by commas, instead of a file",
};

/// The file of what lets a relay in.
pub static HTTP_BEARER_FILE: Setting<FilePath> = Setting {
    flag: Some("http-bearer-file"),
    variable: Some("TURNSTILE_HTTP_BEARER_FILE"),
    commands: RELAY,
    heading: RELAY_HEADING,
    kind: FilePath,
    default: Default::Unset,
    is_secret: false,
    meaning: "The file of a token that is sent with posted events, as `authorization: Bearer`. It is read at start, and only its \
              owner may read it",
};

/// Whether events may be posted in clear.
pub static ALLOW_CLEAR_HTTP: Setting<Switch> = Setting {
    flag: Some("allow-clear-http"),
    variable: Some("TURNSTILE_ALLOW_CLEAR_HTTP"),
    commands: RELAY,
    heading: RELAY_HEADING,
    kind: Switch,
    default: Default::Unset,
    is_secret: false,
    meaning: "Post events to http:// on another machine too, where everybody on the way can read them",
};

/// Takes a sink over.
pub static ADOPT: Setting<Switch> = Setting {
    flag: Some("adopt"),
    variable: None,
    commands: &["relay"],
    heading: OPTIONS,
    kind: Switch,
    default: Default::Unset,
    is_secret: false,
    meaning: "Go on with a sink that was made in another PostgreSQL cluster, whose copy this database is, or that led to \
              another --to. Only where no other relay carries its events any more",
};

/// Whether a relay ends.
pub static RELAY_UNTIL_EMPTY: Setting<Switch> = Setting {
    flag: Some("until-empty"),
    variable: None,
    commands: &["relay"],
    heading: OPTIONS,
    kind: Switch,
    default: Default::Unset,
    is_secret: false,
    meaning: "End once every event is carried or set aside, or stands behind one that is set aside",
};

/// Whether events name the traces of their messages.
pub static KEEP_TRACE_CONTEXT: Setting<Switch> = Setting {
    flag: Some("keep-trace-context"),
    variable: Some("TURNSTILE_KEEP_TRACE_CONTEXT"),
    commands: RUN,
    heading: RELAY_HEADING,
    kind: Switch,
    default: Default::Unset,
    is_secret: false,
    meaning: "Write the `traceparent` of each message, or AWS's own trace header, into the event of its login",
};

pub(super) fn read_sink(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let begins = text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    match begins && text.len() <= 63 && text.bytes().all(fits) {
        true => Ok(text.to_owned()),
        false => Err("is not the name of a sink".to_owned()),
    }
}

fn read_secrets(text: &str) -> Result<Secrets, String> {
    Secrets::parse(text).map_err(|problem| problem.to_string())
}

fn read_source(text: &str) -> Result<String, String> {
    let has_scheme = text.split_once(':').is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
    match has_scheme && text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err("is not a URI".to_owned()),
    }
}
