//! Dead letters in groups.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::readable::exact;
use crate::rejection::{Advice, Rejection};
use crate::table::dead_letters::Group;
use crate::table::processed_messages::Lately;

/// Of how many messages that were sent last a group's share is told.
pub const LATE_MESSAGES: i64 = 10_000;

/// The names of a group's record, in the order of its columns.
pub const GROUP: [&str; 10] =
    ["status", "code", "field", "detail", "letters", "or_more", "first", "last", "recent_letters", "recent_messages"];

/// A group, and its share of the messages that were sent last.
pub fn group_json(group: &Group, lately: Lately) -> Value {
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
