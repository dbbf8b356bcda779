//! Single dead letters, page by page.

use maud::{Markup, html};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::groups::capital;
use super::{NoPage, View, filters};
use crate::console::link::link;
use crate::console::pieces::{cell, counted, head, moment, nothing, number, status, text};
use crate::console::place::{FILE, Letters as Asked, page_end};
use crate::console::session::Session;
use crate::database::{DatabaseError, Transaction};
use crate::readable::exact;
use crate::records;
use crate::records::letters::{LETTER, letter_json, place_words};
use crate::table::dead_letters::{Counted, DeadLetter, Order, Page, PageEnd, Search, Status, count_some, page};
use crate::table::powers::Powers;

/// A page of letters.
pub(super) struct Letters {
    at: OffsetDateTime,
    asked: Asked,
    letters: Vec<DeadLetter>,
    goes_on: bool,
    /// How many match, but those of one message.
    all: Option<Counted>,
    /// How many are open besides, where none is found.
    open: Option<Counted>,
    resolves: bool,
}

pub(super) async fn look(asked: &Asked, session: &Session, powers: &Powers) -> Result<Letters, NoPage> {
    let (asked, resolves) = (asked.clone(), powers.resolves);
    let read = async |seen: &Transaction| {
        let (letters, goes_on) = one_page(seen, &asked.page).await?;
        let all = match asked.page.message_id {
            None => Some(count_some(seen, &asked.page.search).await?),
            Some(_) => None,
        };
        let open = Search { status: Some(Status::Open), ..Search::default() };
        let open = if letters.is_empty() { Some(count_some(seen, &open).await?) } else { None };
        Ok(Letters { at: OffsetDateTime::now_utc(), asked, letters, goes_on, all, open, resolves })
    };
    Ok(session.database.snapshot(read).await?)
}

/// A page, and whether others come after it.
async fn one_page(seen: &Transaction, wanted: &Page) -> Result<(Vec<DeadLetter>, bool), DatabaseError> {
    let one_more = Page { limit: wanted.limit.saturating_add(1), ..wanted.clone() };
    let mut letters = page(seen, &one_more).await?;
    let goes_on = letters.len() as u64 > wanted.limit;
    letters.truncate(usize::try_from(wanted.limit).unwrap_or(usize::MAX));
    Ok((letters, goes_on))
}

/// The letters of a file, and whether there are more.
async fn of_file(asked: &Asked, session: &Session) -> Result<(Vec<DeadLetter>, bool), NoPage> {
    let wanted = Page { limit: FILE, ..asked.page.clone() };
    Ok(session.database.snapshot(async |seen| one_page(seen, &wanted).await).await?)
}

/// The letters as a table, and whether those are all.
pub(in crate::console) async fn file_csv(asked: &Asked, session: &Session) -> Result<(Vec<u8>, bool), NoPage> {
    let (letters, goes_on) = of_file(asked, session).await?;
    // Written into memory, where nothing fails.
    let lines = records::csv(&LETTER, letters.iter().map(letter_json)).unwrap_or_default();
    Ok((lines, !goes_on))
}

/// The letters as objects, one a line, and whether those are all.
pub(in crate::console) async fn file_ndjson(asked: &Asked, session: &Session) -> Result<(Vec<u8>, bool), NoPage> {
    let (letters, goes_on) = of_file(asked, session).await?;
    let lines: String = letters.iter().map(|letter| format!("{}\n", letter_json(letter))).collect();
    Ok((lines.into_bytes(), !goes_on))
}

impl Letters {
    fn summary(&self) -> String {
        let shown = number(self.letters.len() as u64);
        let of = self.all.map(|all| format!(" of {}", counted(all))).unwrap_or_default();
        match (self.goes_on || self.asked.page.after.is_some(), self.asked.page.order) {
            (false, _) => format!("{shown} that match"),
            (true, _) if self.asked.page.after.is_some() => format!("{shown} more{of}"),
            (true, Order::Newest) => format!("the newest {shown}{of}"),
            (true, Order::Oldest) => format!("the oldest {shown}{of}"),
        }
    }

    /// Where the next page begins.
    fn next(&self) -> Option<String> {
        let last = self.letters.last().filter(|_| self.goes_on)?;
        let after = [("after", page_end(PageEnd::of(last)))];
        Some(link("/dead-letters/list", self.asked.given.iter().cloned().chain(after)))
    }

    /// What can be done with all that match, whatever page is shown.
    fn acts(&self) -> Markup {
        let act = match self.asked.page.search.status {
            Some(Status::Open) => Some("Replay, send back or discard all that match…"),
            Some(Status::Discarded) => Some("Reopen all that match…"),
            Some(Status::Replayed | Status::Absorbed) | None => None,
        };
        html! {
            @if let Some(act) = act.filter(|_| self.resolves && !self.letters.is_empty() && self.all.is_some()) {
                a.button href=(link("/dead-letters/all", self.asked.given.clone())) { (act) }
            }
        }
    }

    fn table(&self, now: OffsetDateTime) -> Markup {
        let columns = [
            ("Dead-lettered", "when"),
            ("What is wrong", ""),
            ("Where", ""),
            ("Status", "narrow"),
            ("MessageId", "id"),
        ];
        html! {
            table.stack.keyed {
                (head(&columns))
                tbody {
                    @for letter in &self.letters {
                        tr {
                            (cell("Dead-lettered", "when", moment(letter.dead_lettered_at, now)))
                            td.lead data-label="What is wrong" {
                                a href={ "/dead-letters/" (letter.key.hash) } { (letter.code) }
                                " " span.quiet { (text(&letter.detail)) }
                            }
                            (cell("Where", "place", html! {
                                @if let Some(place) = &letter.place { (text(&place_words(place))) }
                            }))
                            (cell("Status", "", status(letter.status)))
                            (cell("MessageId", "id", html! { (text(&letter.message_id)) }))
                        }
                    }
                }
            }
        }
    }
}

impl View for Letters {
    fn title(&self) -> String {
        let found = self.all.map_or_else(|| number(self.letters.len() as u64), counted);
        let status = self.asked.page.search.status.map_or("in all", Status::as_str);
        format!("{found} {status} · Dead letters")
    }

    fn still(&self) -> Markup {
        let groups = self.asked.given.iter().filter(|(name, _)| !["sort", "message-id"].contains(name)).cloned();
        html! {
            header.page {
                h1 { "Single dead letters" }
                a href=(link("/dead-letters", groups)) { "Groups" }
            }
            (filters::of_letters("/dead-letters/list", &self.asked.given, true))
        }
    }

    fn live(&self, now: OffsetDateTime) -> Markup {
        html! {
            @if self.letters.is_empty() {
                @match self.open.filter(|open| !open.is_none()) {
                    Some(open) => { (nothing(&format!("No dead letter matches; {} are open in all.", counted(open)))) }
                    None => { (nothing("No dead letter matches, and none is open.")) }
                }
            } @else {
                div.summary { p { (capital(&self.summary())) } (self.acts()) }
                (self.table(now))
            }
            nav.pages aria-label="Pages" {
                @if self.asked.page.after.is_some() {
                    a href=(link("/dead-letters/list", self.asked.given.clone())) { "First page" }
                }
                @if let Some(next) = self.next() { a.next rel="next" href=(next) { "Next page" } }
            }
        }
    }

    fn below(&self) -> Markup {
        let files = [("/dead-letters/list.csv", "CSV"), ("/dead-letters/list.ndjson", "NDJSON")];
        html! {
            @if !self.letters.is_empty() {
                p.note {
                    "Without bodies, up to " (number(FILE)) " letters: "
                    @for (path, name) in files { a.part href=(link(path, self.asked.given.clone())) download { (name) } }
                }
            }
        }
    }

    fn json(&self) -> Value {
        json!({
            "at": exact(self.at),
            "letters": self.letters.iter().map(letter_json).collect::<Vec<_>>(),
            "all": self.all.map(|all| json!({"letters": all.letters, "or_more": all.or_more})),
            "next": self.next().map(|next| next.replacen("/list?", "/list.json?", 1)),
        })
    }
}
