//! What single commands take beside what a run takes.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::config::kinds::{KeyringFile, Length, Text, Whole, Word};
use crate::config::setting::{Default, OPTIONS, Setting};
use crate::config::values;
use crate::mask::MaskKind;
use crate::rejection::Rejection;
use crate::seal::KeyId;
use crate::stream::{Field, LOGIN};

pub(super) const WHICH: &str = "Which dead letters";

/// Those that are told by what is wrong which dead letters are meant.
pub(super) const WHICH_COMMANDS: &[&str] = &[
    "dead-letters list",
    "dead-letters replay",
    "dead-letters requeue",
    "dead-letters discard",
    "dead-letters reopen",
    "dead-letters export",
];

/// The message group of what is sent.
pub static GROUP: Setting<Text<String>> = Setting {
    flag: Some("group"),
    variable: Some("TURNSTILE_GROUP"),
    commands: &["send", "config show"],
    heading: OPTIONS,
    kind: Text::of("NAME", "give 1 to 128 letters, digits and punctuation", read_group),
    default: Default::Is("turnstile"),
    is_secret: false,
    meaning: "The message group of what is sent to a FIFO queue: 1 to 128 letters, digits and punctuation",
};

fn read_group(text: &str) -> Result<String, String> {
    match text.len() <= 128 && text.chars().all(|c| c.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err("is not a message group".to_owned()),
    }
}

/// The deadline of a statement of an audit.
pub static AUDIT_TIMEOUT: Setting<Length> = Setting {
    flag: Some("audit-timeout"),
    variable: Some("TURNSTILE_AUDIT_TIMEOUT"),
    commands: &["audit", "console", "config show"],
    heading: OPTIONS,
    kind: Length(Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60)),
    default: Default::Is("1h"),
    is_secret: false,
    meaning: "How long each statement of an audit may take: it reads whole tables",
};

/// Who resolves dead letters.
pub static BY: Setting<Text<String>> = Setting {
    flag: Some("by"),
    variable: Some("TURNSTILE_BY"),
    commands: &[
        "dead-letters show",
        "dead-letters replay",
        "dead-letters requeue",
        "dead-letters discard",
        "dead-letters reopen",
        "dead-letters note",
        "dead-letters export",
        "dead-letters import",
        "dead-letters plans run",
        "dead-letters plans cancel",
        "unmask",
        "loaders pause",
        "loaders resume",
        "config show",
    ],
    heading: OPTIONS,
    kind: Text::of("NAME", "give at most 128 characters, none of them a control character", read_by),
    default: Default::Found("the variable USER"),
    is_secret: false,
    meaning: "Who acts: kept in the history of what is done, after the database role",
};

/// A name that fits into the tables.
///
/// # Errors
///
/// What is wrong with it.
pub fn read_by(text: &str) -> Result<String, String> {
    match text.chars().count() <= 128 && !text.contains(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err("is not a name".to_owned()),
    }
}

/// Dead letters of one code.
pub static CODE: Setting<Word<String>> = Setting {
    flag: Some("code"),
    variable: None,
    commands: WHICH_COMMANDS,
    heading: WHICH,
    kind: Word::of("CODE", Rejection::CODES),
    default: Default::Unset,
    is_secret: false,
    meaning: "Only those with this code of rejection, as `dead-letters list` shows it",
};

/// The code that a note is about.
pub static NOTED_CODE: Setting<Word<String>> = Setting {
    flag: Some("code"),
    variable: None,
    commands: &["dead-letters note"],
    heading: OPTIONS,
    kind: Word::of("CODE", Rejection::CODES),
    default: Default::Unset,
    is_secret: false,
    meaning: "The code of rejection that the note is about, as `dead-letters list` shows it",
};

/// Dead letters since then.
pub static SINCE: Setting<Text<OffsetDateTime>> = Setting {
    flag: Some("since"),
    variable: None,
    commands: WHICH_COMMANDS,
    heading: WHICH,
    kind: TIME,
    default: Default::Unset,
    is_secret: false,
    meaning: "Only those that became dead letters since then: a time (RFC 3339), or how long ago (90m, 24h, 7d)",
};

/// A time, or how long ago it was.
pub(super) const TIME: Text<OffsetDateTime> =
    Text::of("TIME", "give a time like 2026-01-31T08:00:00Z, or how long ago it was like 24h or 7d", |text| {
        read_since(text, OffsetDateTime::now_utc())
    });

fn read_since(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, String> {
    const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(time);
    }
    let ago = values::duration(text, &(Duration::ZERO..=LONGEST));
    ago.map(|ago| now - ago).map_err(|_| "is neither a time nor how long ago it was".to_owned())
}

/// How many dead letters are replayed.
pub static REPLAY_LIMIT: Setting<Whole<u64>> = Setting {
    flag: Some("limit"),
    variable: None,
    commands: &["dead-letters replay"],
    heading: OPTIONS,
    kind: Whole(1..=1_000_000_000),
    default: Default::Found("no limit"),
    is_secret: false,
    meaning: "Take no more letters once so many of them would be loaded",
};

/// The file that `keys new` makes.
pub static NEW_KEYRING: Setting<KeyringFile> = Setting {
    flag: Some("keyring"),
    variable: Some("TURNSTILE_KEYRING"),
    commands: &["keys new"],
    heading: OPTIONS,
    kind: KeyringFile,
    default: Default::Unset,
    is_secret: false,
    meaning: "The keyring's file",
};

/// The id of a new key.
pub static NEW_KEY_ID: Setting<Text<KeyId>> = Setting {
    flag: Some("id"),
    variable: None,
    commands: &["keys new"],
    heading: OPTIONS,
    kind: Text::of("ID", "choose another, or none", |text| {
        text.parse().map_err(|why| format!("is not a key id: {why}"))
    }),
    default: Default::Found("random"),
    is_secret: false,
    meaning: "The new key's id: 1 to 16 small letters, digits and hyphens",
};

/// A field whose values are masked.
#[derive(Clone, Copy, Debug)]
pub struct MaskedField(pub &'static Field);

impl std::str::FromStr for MaskedField {
    type Err = super::NoWord;

    fn from_str(key: &str) -> Result<Self, Self::Err> {
        LOGIN.field(key).filter(|field| field.is_masked()).map(Self).ok_or(super::NoWord)
    }
}

const MASKED_KEYS: &[&str] = &LOGIN.masked_keys::<{ LOGIN.masked() }>();

/// Which field values are masked as.
pub static FIELD: Setting<Word<MaskedField>> = Setting {
    flag: Some("field"),
    variable: None,
    commands: &["mask"],
    heading: OPTIONS,
    kind: Word::of("FIELD", MASKED_KEYS),
    default: Default::Unset,
    is_secret: false,
    meaning: "Which field of a login the values belong to: each field is masked with a key of its own",
};

/// How values were masked.
pub static UNMASK_MASK: Setting<Word<MaskKind>> = Setting {
    flag: Some("mask"),
    variable: Some("TURNSTILE_MASK"),
    commands: &["unmask"],
    heading: OPTIONS,
    kind: Word::of("KIND", &["seal", "token", "base64"]),
    default: Default::Is("seal"),
    is_secret: false,
    meaning: "How the values were masked: seal (with a key of the keyring), base64 (not at all: no keyring is needed). \
              Nobody can recover a value from a token",
};

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn since_is_a_time_or_how_long_ago() {
        let now = datetime!(2026-03-08 12:00 UTC);
        for (text, time) in [
            ("7d", Some(datetime!(2026-03-01 12:00 UTC))),
            ("24h", Some(datetime!(2026-03-07 12:00 UTC))),
            ("90m", Some(datetime!(2026-03-08 10:30 UTC))),
            ("2026-01-31T08:00:00+02:00", Some(datetime!(2026-01-31 06:00 UTC))),
            ("2026-01-31", None),
            ("yesterday", None),
            ("7", None),
            ("999999999d", None),
        ] {
            assert_eq!(read_since(text, now).ok(), time, "{text}");
        }
    }
}
