//! The filters of lists, as a form whose fields are what an address asks for.

use maud::{Markup, html};

use crate::rejection::Rejection;
use crate::stream::LOGIN;
use crate::table::operator_actions::Action;

const STATUSES: [&str; 5] = ["open", "replayed", "absorbed", "discarded", "all"];

/// What was given under a name.
pub(super) fn given<'g>(all: &'g [(&'static str, String)], name: &str) -> &'g str {
    all.iter().find(|(its_name, _)| *its_name == name).map_or("", |(_, value)| value)
}

fn choice(name: &str, label: &str, empty: &str, words: &[&str], chosen: &str) -> Markup {
    html! {
        label {
            span { (label) }
            select name=(name) {
                option value="" selected[chosen.is_empty()] { (empty) }
                @for word in words { option value=(word) selected[*word == chosen] { (word) } }
            }
        }
    }
}

fn field(name: &str, label: &str, placeholder: &str, value: &str) -> Markup {
    html! {
        label {
            span { (label) }
            input type="text" name=(name) value=(value) placeholder=(placeholder) autocomplete="off" spellcheck="false";
        }
    }
}

/// The filters of dead letters; `is_list`: of single ones.
pub(super) fn of_letters(action: &str, all: &[(&'static str, String)], is_list: bool) -> Markup {
    let value = |name| given(all, name);
    let fields: Vec<&str> = LOGIN.fields.iter().map(|field| field.key).collect();
    let unasked = if is_list { "open" } else { "all" };
    html! {
        form.filters method="get" action=(action) role="search" {
            (choice("code", "Code", "any", Rejection::CODES, value("code")))
            (choice("field", "Field", "any", &fields, value("field")))
            (choice("status", "Status", unasked, &STATUSES, value("status")))
            (field("queue", "Queue", "name or ARN", value("queue")))
            (field("since", "Since", "24h, 7d, a time", value("since")))
            (field("until", "Until", "1h, a time", value("until")))
            @if is_list {
                (field("message-id", "MessageId", "of one message", value("message-id")))
                (choice("sort", "First", "newest", &["oldest"], value("sort")))
            }
            div.buttons {
                button type="submit" { "Filter" }
                @if !all.is_empty() { a href=(action) { "Clear" } }
            }
        }
    }
}

/// The filters of actions.
pub(super) fn of_actions(all: &[(&'static str, String)]) -> Markup {
    let value = |name| given(all, name);
    html! {
        form.filters method="get" action="/actions" role="search" {
            (choice("action", "Action", "any", Action::WORDS, value("action")))
            (field("by", "By", "role or name", value("by")))
            (field("since", "Since", "24h, 7d, a time", value("since")))
            (field("letter", "Letter", "hash", value("letter")))
            div.buttons {
                button type="submit" { "Filter" }
                @if !all.is_empty() { a href="/actions" { "Clear" } }
            }
        }
    }
}
