//! Dead letters in groups, with what usually causes them.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::nothing::Elsewhere;
use super::number;
use crate::cli::dead_letters::text::table;
use crate::cli::terminal::{exact, note, printable, say, seconds, width, wrapped};
use crate::cli::{Failure, records};
use crate::config::rows::ListFormat;
use crate::database::{Database, Transaction};
use crate::rejection::{Advice, Rejection};
use crate::table::dead_letters::{Group, Search, groups};
use crate::table::processed_messages::{Lately, lately};

/// Of how many messages that were sent last a group's share is told.
const LATE_MESSAGES: i64 = 10_000;

pub(super) async fn list(database: &Database, search: &Search, format: ListFormat) -> Result<(), Failure> {
    let look = async |seen: &Transaction| {
        let lately = lately(seen, LATE_MESSAGES).await?;
        let groups = groups(seen, search, lately.after).await?;
        let elsewhere = if groups.is_empty() { Some(Elsewhere::look(seen).await?) } else { None };
        Ok((lately, groups, elsewhere))
    };
    let (lately, groups, elsewhere) = database.snapshot(look).await?;
    let nothing = elsewhere.map(|elsewhere| elsewhere.in_words(search, None));
    let records = groups.iter().map(|group| record(group, lately));
    match (format, &nothing) {
        (ListFormat::Text, Some(nothing)) => return say(nothing),
        (ListFormat::Text, None) => return for_people(&groups, lately),
        (ListFormat::Json, _) => records::json(records)?,
        (ListFormat::Csv, _) => records::csv(&NAMES, records)?,
    }
    // No record can say it, and an empty answer must not read as good news.
    nothing.iter().for_each(|nothing| note(nothing));
    Ok(())
}

const NAMES: [&str; 10] =
    ["status", "code", "field", "detail", "letters", "or_more", "first", "last", "recent_letters", "recent_messages"];

fn record(group: &Group, lately: Lately) -> Value {
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

fn for_people(groups: &[Group], lately: Lately) -> Result<(), Failure> {
    let row = |group: &Group| {
        vec![
            group.status.as_str().to_owned(),
            group.code.clone(),
            field_or_rule(group),
            number(group.letters),
            seconds(group.first),
            seconds(group.last),
            share(group.recent, lately.messages),
        ]
    };
    table(&["status", "code", "field or rule", "letters", "first", "last", "share"], groups.iter().map(row))?;
    if lately.messages > 0 {
        let messages = indicatif::HumanCount(lately.messages);
        let text = format!("share: how many of the {messages} messages that were sent last are in the group");
        say_broken(&text)?;
    }
    say("")?;
    advice(groups).iter().try_for_each(|advice| say_broken(&in_words(advice)))
}

/// What is wrong beside the code: `ip`, or `SQLSTATE 23514, constraint no_toaster`.
fn field_or_rule(group: &Group) -> String {
    let rule = group.detail.as_deref().map(|detail| detail.trim_start_matches("the database refused the row with "));
    let known = group.field.as_deref().or(rule).unwrap_or_default();
    printable(known.as_bytes())
}

/// `0.3 %` of the messages that were sent last; nothing where no message has a time.
fn share(letters: u64, messages: u64) -> String {
    match (letters, messages) {
        (_, 0) => String::new(),
        (0, _) => "0 %".to_owned(),
        (letters, messages) => format!("{:.2} %", letters as f64 * 100.0 / messages as f64),
    }
}

/// What is known of the codes of these groups, each once.
fn advice(groups: &[Group]) -> Vec<&'static Advice> {
    let mut told = HashSet::new();
    let codes = groups.iter().map(|group| group.code.as_str()).filter(|code| told.insert(*code));
    codes.filter_map(Rejection::advice).collect()
}

fn in_words(advice: &Advice) -> String {
    let Advice { code, body, cause, remedy } = advice;
    format!("{code}: the body {body}. Usual cause: {cause}. What to do: {remedy}.")
}

/// On a terminal a long line is broken between words.
fn say_broken(text: &str) -> Result<(), Failure> {
    match width() {
        Some(width) => wrapped(text, width, 2).lines().try_for_each(say),
        None => say(text),
    }
}
