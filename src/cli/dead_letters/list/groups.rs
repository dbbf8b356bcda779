//! Dead letters in groups, with what usually causes them.

use super::nothing::Elsewhere;
use super::number;
use crate::cli::dead_letters::text::table;
use crate::cli::terminal::{note, printable, say, seconds, width, wrapped};
use crate::cli::{Failure, records};
use crate::config::rows::ListFormat;
use crate::database::{Database, Transaction};
use crate::records::groups::{
    GROUP, LATE_MESSAGES, Notes, Replays, advice, author, codes, field_or_rule, group_json, share, worked,
};
use crate::rejection::Advice;
use crate::table::dead_letters::{Group, Search, groups};
use crate::table::operator_actions::{Done, last_notes};
use crate::table::processed_messages::{Lately, lately};
use crate::table::replay_plan_letters;

pub(super) async fn list(database: &Database, search: &Search, format: ListFormat) -> Result<(), Failure> {
    let look = async |seen: &Transaction| {
        let lately = lately(seen, LATE_MESSAGES).await?;
        let groups = groups(seen, search, lately.after).await?;
        let replays = replay_plan_letters::last_replays(seen, &codes(&groups)).await?;
        let notes = last_notes(seen, &codes(&groups)).await?;
        let elsewhere = if groups.is_empty() { Some(Elsewhere::look(seen).await?) } else { None };
        Ok((lately, groups, replays, notes, elsewhere))
    };
    let (lately, groups, replays, notes, elsewhere) = database.snapshot(look).await?;
    let nothing = elsewhere.map(|elsewhere| elsewhere.in_words(search, None));
    let records = groups.iter().map(|group| group_json(group, lately, &replays, &notes));
    match (format, &nothing) {
        (ListFormat::Text, Some(nothing)) => return say(nothing),
        (ListFormat::Text, None) => return for_people(&groups, lately, &replays, &notes),
        (ListFormat::Json, _) => records::json(records)?,
        (ListFormat::Csv, _) => records::csv(&GROUP, records)?,
    }
    // No record can say it, and an empty answer must not read as good news.
    nothing.iter().for_each(|nothing| note(nothing));
    Ok(())
}

fn for_people(groups: &[Group], lately: Lately, replays: &Replays, notes: &Notes) -> Result<(), Failure> {
    let row = |group: &Group| {
        vec![
            group.status.as_str().to_owned(),
            group.code.clone(),
            printable(field_or_rule(group).as_bytes()),
            number(group.letters),
            seconds(group.first),
            seconds(group.last),
            share(group.recent, lately.messages),
            worked(group, replays),
        ]
    };
    table(
        &["status", "code", "field or rule", "letters", "first", "last", "share", "replays"],
        groups.iter().map(row),
    )?;
    if lately.messages > 0 {
        let messages = indicatif::HumanCount(lately.messages);
        let text = format!("share: how many of the {messages} messages that were sent last are in the group");
        say_broken(&text)?;
    }
    if !replays.is_empty() {
        say_broken("replays: how many of the last of this code, 200 at most, found or loaded their login")?;
    }
    if !notes.is_empty() {
        say("")?;
        notes.iter().try_for_each(|(code, note)| say_broken(&note_in_words(code, note)))?;
    }
    say("")?;
    advice(groups).iter().try_for_each(|advice| say_broken(&in_words(advice)))
}

fn note_in_words(code: &str, note: &Done) -> String {
    let words = note.reason.as_deref().unwrap_or_default();
    printable(format!("{code}: noted by {} at {}: {words}", author(note), seconds(note.at)).as_bytes())
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
