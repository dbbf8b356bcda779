//! What is said along with an action on dead letters, and which actions are shown.

use time::OffsetDateTime;

use super::calls::{TIME, read_by};
use crate::config::kinds::{Text, Whole, Word};
use crate::config::setting::{Default, OPTIONS, Setting};
use crate::table::operator_actions::Action;

const WHICH: &str = "Which actions";

/// Why something is done with dead letters.
pub static REASON: Setting<Text<String>> = Setting {
    flag: Some("reason"),
    variable: None,
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
    ],
    heading: OPTIONS,
    kind: Text::of("TEXT", "give 1 to 500 characters, none of them a control character", read_reason),
    default: Default::Unset,
    is_secret: false,
    meaning: "Why: kept in the history of what is done. Write nothing personal in it",
};

fn read_reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("says nothing".to_owned()),
        reason if reason.chars().count() > 500 => Err("is too long".to_owned()),
        reason if reason.contains(char::is_control) => Err("contains a control character".to_owned()),
        reason => Ok(reason.to_owned()),
    }
}

/// Whose actions.
pub static DONE_BY: Setting<Text<String>> = Setting {
    flag: Some("by"),
    variable: None,
    commands: &["dead-letters history"],
    heading: WHICH,
    kind: Text::of("NAME", "give a database role, or a name that was given with --by", read_by),
    default: Default::Unset,
    is_secret: false,
    meaning: "Only what this role of the database did, or what was done under this name",
};

/// Actions since then.
pub static DONE_SINCE: Setting<Text<OffsetDateTime>> = Setting {
    flag: Some("since"),
    variable: None,
    commands: &["dead-letters history"],
    heading: WHICH,
    kind: TIME,
    default: Default::Unset,
    is_secret: false,
    meaning: "Only what was done since then: a time (RFC 3339), or how long ago (90m, 24h, 7d)",
};

/// What was done.
pub static DONE_ACTION: Setting<Word<Action>> = Setting {
    flag: Some("action"),
    variable: None,
    commands: &["dead-letters history"],
    heading: WHICH,
    kind: Word::of("ACTION", Action::WORDS),
    default: Default::Unset,
    is_secret: false,
    meaning: "Only what was done in this way",
};

/// How many actions are listed.
pub static HISTORY_LIMIT: Setting<Whole<u64>> = Setting {
    flag: Some("limit"),
    variable: None,
    commands: &["dead-letters history"],
    heading: OPTIONS,
    kind: Whole(1..=100_000),
    default: Default::Is("50"),
    is_secret: false,
    meaning: "At most this many actions, the newest first",
};
