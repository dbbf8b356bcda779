//! Dead letters in groups, with what usually causes them.

use std::time::Duration;

use maud::{Markup, html};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{NoPage, View, filters};
use crate::console::link::link;
use crate::console::pieces::{ago, bars, cell, counted, head, nothing, number, once, plural, reason_called, text};
use crate::console::place::Groups as Asked;
use crate::console::session::Session;
use crate::database::Transaction;
use crate::readable::exact;
use crate::records::groups::{
    LATE_MESSAGES, Notes, Replays, advice, author, codes, field_or_rule, group_json, share, worked,
};
use crate::table::dead_letters::{Became, Counted, Group, Search, Status, became, count_some, groups};
use crate::table::operator_actions::{Done, last_notes};
use crate::table::powers::Powers;
use crate::table::processed_messages::{Lately, lately};
use crate::table::replay_plan_letters;

/// Over how many hours the small charts go.
const HOURS: i32 = 24;
/// The most letters of an hour that the small charts count.
const MOST_AN_HOUR: i64 = 1_000;

/// The groups of a search.
pub(super) struct Groups {
    at: OffsetDateTime,
    asked: Asked,
    lately: Lately,
    groups: Vec<Group>,
    replays: Replays,
    notes: Notes,
    may_note: bool,
    became: Vec<Became>,
    /// How many are open besides, where none is found.
    open: Option<Counted>,
}

pub(super) async fn look(asked: &Asked, session: &Session, powers: &Powers) -> Result<Groups, NoPage> {
    let at = OffsetDateTime::now_utc();
    let from = at - Duration::from_secs(3600 * 24);
    let asked = asked.clone();
    let read = async |seen: &Transaction| {
        let lately = lately(seen, LATE_MESSAGES).await?;
        let groups = groups(seen, &asked.search, lately.after).await?;
        let open = Search { status: Some(Status::Open), ..Search::default() };
        let open = if groups.is_empty() { Some(count_some(seen, &open).await?) } else { None };
        let became = became(seen, &asked.search, (from, 3600.0, HOURS), MOST_AN_HOUR).await?;
        let replays = replay_plan_letters::last_replays(seen, &codes(&groups)).await?;
        let notes = last_notes(seen, &codes(&groups)).await?;
        Ok(Groups { at, asked, lately, groups, replays, notes, may_note: powers.notes, became, open })
    };
    Ok(session.database.snapshot(read).await?)
}

/// The letters of a group, as far as an address can ask for them.
pub(super) fn letters_of(group: &Group, given: &[(&'static str, String)]) -> String {
    let own = [
        ("code", Some(group.code.clone())),
        ("field", group.field.clone()),
        ("status", Some(group.status.as_str().to_owned())),
    ];
    let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let others = given.iter().filter(|(name, _)| !["code", "field", "status"].contains(name)).cloned();
    link("/dead-letters/list", own.chain(others))
}

impl Groups {
    fn open_letters(&self) -> Counted {
        let open = self.groups.iter().filter(|group| group.status == Status::Open);
        let (letters, or_more): (Vec<u64>, Vec<bool>) =
            open.map(|group| (group.letters.letters, group.letters.or_more)).unzip();
        Counted { letters: letters.iter().sum(), or_more: or_more.contains(&true) }
    }

    fn hours(&self, group: &Group) -> &[u64] {
        let grounds = group.field.as_deref().or(group.detail.as_deref()).unwrap_or_default();
        let is_of =
            |became: &&Became| became.status == group.status && became.code == group.code && became.grounds == grounds;
        self.became.iter().find(is_of).map_or(&[], |became| &became.letters)
    }

    fn table(&self, status: Status, now: OffsetDateTime) -> Markup {
        let groups: Vec<&Group> = self.groups.iter().filter(|group| group.status == status).collect();
        let columns = [
            ("What is wrong", ""),
            ("Letters", "n"),
            ("First", "ago"),
            ("Last", "ago"),
            ("Share", "n"),
            ("Replays", "n"),
            ("Last 24 h", "chart"),
        ];
        html! {
            @if !groups.is_empty() {
                section {
                    h2 { (status_in_words(status)) }
                    table.stack.keyed {
                        (head(&columns))
                        tbody {
                            @for group in groups {
                                @let hours = self.hours(group);
                                tr {
                                    td.lead {
                                        a href=(letters_of(group, &self.asked.given)) { (group.code) }
                                        " " span.quiet { (text(field_or_rule(group))) }
                                        @if let Some(note) = self.notes.get(&group.code) { (noted(note, now)) }
                                    }
                                    (cell("Letters", "n", html! { (counted(group.letters)) }))
                                    (cell("First", "", ago(group.first, now)))
                                    (cell("Last", "", ago(group.last, now)))
                                    (cell("Share", "n", html! { (share(group.recent, self.lately.messages)) }))
                                    (cell("Replays", "n", html! { (worked(group, &self.replays)) }))
                                    (cell("Last 24 h", "chart", bars("spark", &in_a_day(hours), &[("dead", hours)])))
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn advice(&self) -> Markup {
        let told: Vec<Group> = self.groups.iter().filter(|group| group.status == Status::Open).cloned().collect();
        html! {
            @let advice = advice(&told);
            @if !advice.is_empty() {
                section.advice {
                    h2 { "What to do" }
                    dl {
                        @for advice in advice {
                            div {
                                dt { code { (advice.code) } }
                                dd {
                                    p { "The body " (advice.body) ". Usual cause: " (advice.cause) "." }
                                    p.remedy { (capital(advice.remedy)) "." }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn noted(note: &Done, now: OffsetDateTime) -> Markup {
    html! {
        div.noted { (text(note.reason.as_deref().unwrap_or_default())) " " small { (text(author(note))) ", " (ago(note.at, now)) } }
    }
}

fn in_a_day(hours: &[u64]) -> String {
    format!("{} in the last 24 hours", plural(hours.iter().sum(), "letter"))
}

/// A sentence begins with a capital.
pub(super) fn capital(words: &str) -> String {
    let mut characters = words.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

fn status_in_words(status: Status) -> &'static str {
    match status {
        Status::Open => "Open",
        Status::Replayed => "Replayed",
        Status::Absorbed => "Absorbed",
        Status::Discarded => "Discarded",
    }
}

impl View for Groups {
    fn title(&self) -> String {
        format!("{} open · Dead letters", counted(self.open_letters()))
    }

    fn still(&self) -> Markup {
        html! {
            header.page {
                h1 { "Dead letters" }
                a href=(link("/dead-letters/list", self.asked.given.clone())) { "Single letters" }
            }
            (filters::of_letters("/dead-letters", &self.asked.given, false))
        }
    }

    fn live(&self, now: OffsetDateTime) -> Markup {
        html! {
            @if self.groups.is_empty() {
                @match self.open.filter(|open| !open.is_none() && !self.asked.given.is_empty()) {
                    Some(open) => { (nothing(&format!("No dead letter matches; {} others are open.", counted(open)))) }
                    None => { (nothing("There is no dead letter.")) }
                }
            }
            @for status in [Status::Open, Status::Discarded, Status::Replayed, Status::Absorbed] { (self.table(status, now)) }
            @if !self.groups.is_empty() && self.lately.messages > 0 {
                p.note {
                    "Share: how many of the " (number(self.lately.messages)) " messages that were sent last are in the group. "
                    "Replays: how many of the last 200 of the code worked. Small charts: letters an hour, counted up to " (MOST_AN_HOUR) "."
                }
            }
            (self.advice())
        }
    }

    fn below(&self) -> Markup {
        html! {
            @if self.may_note && !self.groups.is_empty() {
                section {
                    h2 { "Note" }
                    form.act method="post" action="/dead-letters/notes" {
                        (once())
                        p { "Who is on it, where it is discussed: it stands beside the letters of its code until another note is written, and stays in the history." }
                        label for="noted-code" { "About" }
                        select #noted-code name="code" { @for code in codes(&self.groups) { option value=(code) { (code) } } }
                        (reason_called("noted-words", "Note", true))
                        div.buttons { button type="submit" { "Write the note" } }
                    }
                }
            }
        }
    }

    fn json(&self) -> Value {
        json!({
            "at": exact(self.at),
            "open": {"letters": self.open_letters().letters, "or_more": self.open_letters().or_more},
            "groups": self.groups.iter().map(|group| {
                let mut record = group_json(group, self.lately, &self.replays, &self.notes);
                if let Value::Object(record) = &mut record {
                    record.insert("last_24_hours".to_owned(), Value::from(self.hours(group)));
                }
                record
            }).collect::<Vec<_>>(),
        })
    }
}
