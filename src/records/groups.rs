//! Dead letters in groups.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::{Value, json};

use crate::readable::exact;
use crate::rejection::{Advice, Rejection};
use crate::table::dead_letters::Group;
use crate::table::operator_actions::Done;
use crate::table::processed_messages::Lately;
use crate::table::replay_plan_letters::LastReplays;

/// Of how many messages that were sent last a group's share is told.
pub const LATE_MESSAGES: i64 = 10_000;

/// The names of a group's record, in the order of its columns.
pub const GROUP: [&str; 15] = [
    "status",
    "code",
    "field",
    "detail",
    "letters",
    "or_more",
    "first",
    "last",
    "recent_letters",
    "recent_messages",
    "recent_replays",
    "recent_replays_that_worked",
    "note",
    "noted_by",
    "noted_at",
];

/// How the last replays of each code went.
pub type Replays = BTreeMap<String, LastReplays>;

/// The last note of each code.
pub type Notes = BTreeMap<String, Done>;

/// The codes of groups, each once.
pub fn codes(groups: &[Group]) -> Vec<&str> {
    groups.iter().map(|group| group.code.as_str()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// `12 of 200`; nothing where no letter of the code was ever replayed.
pub fn worked(group: &Group, replays: &Replays) -> String {
    replays.get(&group.code).map(|last| format!("{} of {}", last.worked, last.tried)).unwrap_or_default()
}

/// Who wrote a note: the person who was named, or else the role.
pub fn author(note: &Done) -> &str {
    note.person.as_deref().unwrap_or(&note.role)
}

/// A group, its share of the messages that were sent last, how the last replays of its code went, and the last note of its code.
pub fn group_json(group: &Group, lately: Lately, replays: &Replays, notes: &Notes) -> Value {
    let note = notes.get(&group.code);
    let replays = replays.get(&group.code).copied().unwrap_or_default();
    json!({
        "status": group.status.as_str(),
        "code": group.code,
        "field": group.field,
        "detail": group.detail,
        "letters": group.letters.letters,
        "or_more": group.letters.or_more,
        "first": exact(group.first),
        "last": exact(group.last),
        "recent_letters": group.recent,
        "recent_messages": lately.messages,
        "recent_replays": replays.tried,
        "recent_replays_that_worked": replays.worked,
        "note": note.and_then(|note| note.reason.as_deref()),
        "noted_by": note.map(author),
        "noted_at": note.map(|note| exact(note.at)),
    })
}

/// What is wrong beside the code: `ip`, or `SQLSTATE 23514, constraint no_toaster`.
pub fn field_or_rule(group: &Group) -> &str {
    let rule = group.detail.as_deref().map(|detail| detail.trim_start_matches("the database refused the row with "));
    group.field.as_deref().or(rule).unwrap_or_default()
}

/// `0.3 %` of the messages that were sent last; nothing where no message has a time.
pub fn share(letters: u64, messages: u64) -> String {
    match (letters, messages) {
        (_, 0) => String::new(),
        (0, _) => "0 %".to_owned(),
        (letters, messages) => format!("{:.2} %", letters as f64 * 100.0 / messages as f64),
    }
}

/// What is known of the codes of these groups, each once.
pub fn advice(groups: &[Group]) -> Vec<&'static Advice> {
    let mut told = HashSet::new();
    let codes = groups.iter().map(|group| group.code.as_str()).filter(|code| told.insert(*code));
    codes.filter_map(Rejection::advice).collect()
}
