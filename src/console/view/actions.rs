//! What operators did, when, and why.

use maud::{Markup, html};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{NoPage, View, filters};
use crate::console::link::link;
use crate::console::pieces::{cell, head, moment, nothing, object_of, plan_link, text};
use crate::console::place::Actions as Asked;
use crate::console::session::Session;
use crate::readable::exact;
use crate::records::actions::action_json;
use crate::table::operator_actions::{self, Done};

/// How many actions a page has.
const PAGE: u64 = 50;

/// A page of actions.
pub(super) struct Actions {
    at: OffsetDateTime,
    asked: Asked,
    done: Vec<Done>,
    goes_on: bool,
}

pub(super) async fn look(asked: &Asked, session: &Session) -> Result<Actions, NoPage> {
    let newest =
        async |seen: &crate::database::Transaction| operator_actions::newest(seen, &asked.filter, PAGE + 1).await;
    let mut done = session.database.snapshot(newest).await?;
    let goes_on = done.len() as u64 > PAGE;
    done.truncate(PAGE as usize);
    Ok(Actions { at: OffsetDateTime::now_utc(), asked: asked.clone(), done, goes_on })
}

impl Actions {
    fn next(&self) -> Option<String> {
        let last = self.done.last().filter(|_| self.goes_on)?;
        let before = [("before", last.id.to_string())];
        Some(link("/actions", self.asked.given.iter().cloned().chain(before)))
    }

    fn table(&self, now: OffsetDateTime) -> Markup {
        html! {
            table.stack.keyed {
                (head(&[("When", "when"), ("Action", ""), ("Of", ""), ("By", ""), ("Plan", ""), ("Reason", "")]))
                tbody {
                    @for done in &self.done {
                        tr {
                            (cell("When", "when", moment(done.at, now)))
                            (cell("Action", "", html! { span class={ "badge " (done.action.as_str()) } { (done.action.as_str()) } }))
                            (cell("Of", "", object_of(done)))
                            (cell("By", "", html! {
                                a href=(link("/actions", [("by", &done.role)])) { (text(&done.role)) }
                                @if let Some(person) = done.person.as_ref().filter(|person| **person != done.role) { " " span.quiet { (text(person)) } }
                            }))
                            (cell("Plan", "", html! { @if let Some(plan) = done.plan { (plan_link(plan)) } }))
                            (cell("Reason", "wide", html! { @if let Some(reason) = &done.reason { (text(reason)) } }))
                        }
                    }
                }
            }
        }
    }
}

impl View for Actions {
    fn title(&self) -> String {
        "Actions".to_owned()
    }

    fn still(&self) -> Markup {
        html! {
            header.page { h1 { "Actions" } }
            (filters::of_actions(&self.asked.given))
        }
    }

    fn live(&self, now: OffsetDateTime) -> Markup {
        html! {
            @if self.done.is_empty() { (nothing("Nothing was done, or nothing of this kind.")) } @else { (self.table(now)) }
            nav.pages aria-label="Pages" {
                @if self.asked.filter.before.is_some() { a href=(link("/actions", self.asked.given.clone())) { "First page" } }
                @if let Some(next) = self.next() { a.next rel="next" href=(next) { "Next page" } }
            }
            p.note { "The database writes each line itself, with what is done, and keeps all of them." }
        }
    }

    fn json(&self) -> Value {
        json!({
            "at": exact(self.at),
            "actions": self.done.iter().map(action_json).collect::<Vec<_>>(),
            "next": self.next().map(|next| next.replacen("/actions?", "/actions.json?", 1)),
        })
    }
}
