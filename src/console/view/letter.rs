//! One message's dead letters: what happened to it, where it is wrong, and what can be done.

use maud::{Markup, html};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::groups::capital;
use super::letters_every::{SEND_BACK, SENT_BACK, delivered_again};
use super::{NoPage, View, replaying};
use crate::console::Console;
use crate::console::pieces::{
    cell, facts, head, length, moment, nothing, number, once, plan_link, reason, signed, status, text,
};
use crate::console::session::Session;
use crate::database::Transaction;
use crate::message::{MessageHash, queue_name};
use crate::readable::exact;
use crate::records::actions::action_json;
use crate::records::letters::{letter_json, paths_words, place_words, revision_json};
use crate::rejection::Rejection;
use crate::table::dead_letter_revisions::{self, Revision};
use crate::table::dead_letters::{self, BodyFacts, DeadLetter, Filter, Status};
use crate::table::operator_actions::{self, Done};
use crate::table::powers::Powers;
use crate::table::processed_messages::{self, Processed};

/// The most letters of a message that are shown: it has a second one where it came again after the tables had forgotten it.
const LETTERS: u64 = 10;
/// The most actions that are shown.
const ACTIONS: u64 = 100;

/// One message's dead letters.
pub(super) struct Letter {
    at: OffsetDateTime,
    hash: MessageHash,
    letters: Vec<Known>,
    done: Vec<Done>,
    may: May,
}

/// What is known of a letter.
struct Known {
    letter: DeadLetter,
    processed: Option<Processed>,
    sealed: Option<BodyFacts>,
    /// Whether the console has the key of its body; none: nobody knows which that is.
    opens: Option<bool>,
    /// What was made of its body, the newest first.
    revisions: Vec<Revision>,
}

/// What is offered.
#[derive(Clone, Copy)]
struct May {
    resolve: bool,
    replay: bool,
    requeue: bool,
    reveal: bool,
    has_keys: bool,
    sees_history: bool,
}

pub(super) async fn look(
    hash: MessageHash,
    console: &Console,
    session: &Session,
    powers: &Powers,
) -> Result<Letter, NoPage> {
    let keys = console.keys.as_ref();
    let may = May {
        resolve: powers.resolves,
        replay: powers.replays,
        requeue: powers.requeues,
        reveal: powers.reveals,
        has_keys: keys.is_some(),
        sees_history: powers.history,
    };
    let read = async |seen: &Transaction| {
        let only = Filter::of(vec![hash]);
        let mut letters = Vec::new();
        for letter in dead_letters::newest(seen, &only, LETTERS).await? {
            let processed = match powers.claims {
                true => processed_messages::read(seen, letter.key).await?,
                false => None,
            };
            let sealed = match powers.describes {
                true => Some(dead_letters::describe_body(seen, letter.key).await?),
                false => None,
            };
            let key_id = sealed.as_ref().and_then(|sealed| sealed.key_id.as_ref());
            let opens = keys.zip(key_id).map(|(keys, id)| keys.ids.contains(id));
            let revisions = match powers.revisions {
                true => dead_letter_revisions::of_letter(seen, letter.key).await?,
                false => Vec::new(),
            };
            letters.push(Known { letter, processed, sealed, opens, revisions });
        }
        let of_letter = operator_actions::Filter { hashes: Some(vec![hash]), ..operator_actions::Filter::default() };
        let done = match powers.history {
            true => operator_actions::newest(seen, &of_letter, ACTIONS).await?,
            false => Vec::new(),
        };
        Ok(Letter { at: OffsetDateTime::now_utc(), hash, letters, done, may })
    };
    let found = session.database.snapshot(read).await?;
    match found.letters.is_empty() {
        true => Err(NoPage::Absent(format!("No dead letter has the hash {hash}."))),
        false => Ok(found),
    }
}

impl Known {
    fn facts(&self) -> Markup {
        let letter = &self.letter;
        let mut known = vec![("What is wrong", html! { (text(&letter.detail)) })];
        known.extend(letter.field.as_deref().map(|field| ("Field", html! { code { (text(field)) } })));
        known.extend(letter.place.as_deref().map(|place| ("Where in the body", html! { (text(&place_words(place))) })));
        known.extend([
            ("Queue", html! { span title=(text(&letter.queue)) { (text(queue_name(&letter.queue))) } }),
            ("MessageId", html! { span.id { (text(&letter.message_id)) } }),
            ("Hash", html! { span.id { (letter.key.hash) } }),
        ]);
        if let Some(processed) = &self.processed {
            let owner = processed.absorbed_by.map(|owner| html! { " by the message " span.id { (owner) } });
            known.push((
                "Recorded as",
                html! { (processed.outcome.replace('_', "-")) @if let Some(owner) = owner { (owner) } },
            ));
        }
        if let Some(BodyFacts { bytes, key_id }) = &self.sealed {
            known.push((
                "Sealed body",
                html! {
                    (signed(i64::from(*bytes))) " bytes"
                    @if let Some(id) = key_id { ", under the key " code { (id.as_str()) } }
                },
            ));
        }
        facts(&known)
    }

    /// What happened to the message, in the order in which it did.
    fn timeline(&self, done: &[Done]) -> Vec<(OffsetDateTime, Markup)> {
        let letter = &self.letter;
        let mut events: Vec<(OffsetDateTime, Markup)> = Vec::new();
        events.extend(letter.sent_timestamp.map(|at| (at, html! { "Sent to the queue" })));
        let first = self.processed.as_ref().map(|processed| processed.received_at);
        events.extend(first.filter(|first| *first < letter.received_at).map(|at| (at, html! { "Received first" })));
        let deliveries = u64::try_from(letter.receive_count).unwrap_or(0);
        events.push((letter.received_at, html! { "Received last" @if deliveries > 1 { ", after " (number(deliveries - 1)) " other " @if deliveries == 2 { "delivery" } @else { "deliveries" } } }));
        events.push((
            letter.dead_lettered_at,
            html! { "Judged not to be a login (" code { (letter.code) } "), and sealed" },
        ));
        for done in done.iter().filter(|done| done.letter == Some(letter.key)) {
            let words = html! {
                span class={ "badge " (done.action.as_str()) } { (done.action.as_str()) }
                " by " (text(&done.role))
                @if let Some(person) = done.person.as_ref().filter(|person| **person != done.role) { " (" (text(person)) ")" }
                @if let Some(subject) = &done.subject { ", " (text(subject)) }
                @if let Some(plan) = done.plan { " in " (plan_link(plan)) }
                @if let Some(reason) = &done.reason { ": “" (text(reason)) "”" }
            };
            events.push((done.at, words));
        }
        events.sort_by_key(|(at, _)| *at);
        events
    }

    fn html(&self, done: &[Done], now: OffsetDateTime) -> Markup {
        let events = self.timeline(done);
        let waited = self.letter.dead_lettered_at - self.letter.sent_timestamp.unwrap_or(self.letter.received_at);
        html! {
            div.columns.uneven {
                section { h2 { "Facts" } (self.facts()) }
                section {
                    h2 { "What happened" }
                    ol.timeline { @for (at, words) in &events { li { (moment(*at, now)) p { (words) } } } }
                    p.note { "From the queue to here it took " (length(waited)) "." }
                }
            }
        }
    }

    fn edited(&self, now: OffsetDateTime) -> Markup {
        html! {
            @if !self.revisions.is_empty() {
                section {
                    h2 { "Edited bodies" }
                    table.stack {
                        (head(&[("Plan", ""), ("Made", "when"), ("By", ""), ("Changed", ""), ("Tried", "when"), ("Reason", "")]))
                        tbody {
                            @for revision in &self.revisions {
                                tr {
                                    td.lead { (plan_link(revision.plan)) }
                                    (cell("Made", "when", moment(revision.made_at, now)))
                                    (cell("By", "", html! { (text(revision.person.as_ref().unwrap_or(&revision.role))) }))
                                    (cell("Changed", "place", html! { (text(&paths_words(revision))) }))
                                    (cell("Tried", "when", html! { @match revision.tried_at { Some(at) => { (moment(at, now)) }, None => { span.quiet { "not yet" } } } }))
                                    (cell("Reason", "wide", html! { (text(&revision.reason)) }))
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn advice(&self) -> Markup {
        html! {
            @if let Some(advice) = Rejection::advice(&self.letter.code) {
                section.advice {
                    h2 { "What to do" }
                    p { "The body " (advice.body) ". Usual cause: " (advice.cause) "." }
                    p.remedy { (capital(advice.remedy)) "." }
                }
            }
        }
    }
}

impl Letter {
    fn newest(&self) -> Option<&Known> {
        self.letters.first()
    }

    fn act(&self, act: &str, verb: &str, words: &str, more: Markup) -> Markup {
        html! {
            form.act method="post" action={ "/dead-letters/" (self.hash) "/" (act) } {
                (once())
                h3 { (verb) }
                p { (words) }
                (more)
                (reason(&format!("reason-{act}"), true))
                div.buttons { button type="submit" { (verb) } }
            }
        }
    }

    fn is_edited(&self) -> bool {
        self.letters.iter().any(|known| !known.revisions.is_empty())
    }

    fn resolving(&self) -> Markup {
        let of = |status| self.letters.iter().any(|known| known.letter.status == status);
        html! {
            @if of(Status::Open) && self.may.replay && self.may.has_keys { (replaying::form(&replaying::Of::Letter(&self.hash.to_string(), self.may.reveal))) }
            @if of(Status::Open) && self.may.requeue && self.may.has_keys {
                (self.act("requeue", SEND_BACK, SENT_BACK, html! { @if self.is_edited() { (delivered_again()) } }))
            }
            @if of(Status::Open) {
                (self.act("discard", "Discard", "It is not worth loading. It stays in the table, and can be opened again.", html! {}))
            }
            @if of(Status::Discarded) { (self.act("reopen", "Reopen", "It is worth another look: it becomes open again.", html! {})) }
        }
    }

    /// Which of the bodies is shown, where there are several.
    fn versions(&self) -> Markup {
        let revisions = self.newest().map(|known| known.revisions.as_slice()).unwrap_or_default();
        html! {
            @if !revisions.is_empty() {
                label for="revision" { "Which body" }
                select #revision name="revision" {
                    option value="" { "as it was delivered" }
                    @for revision in revisions {
                        option value=(revision.plan) { "as edited in plan " (revision.plan) }
                    }
                }
            }
        }
    }

    fn revealing(&self) -> Markup {
        let opens = self.newest().and_then(|known| known.opens);
        html! {
            @if !self.may.has_keys {
                div.act { h3 { "Reveal" } p { "This console has no keyring: bodies stay sealed here." } }
            } @else if opens == Some(false) {
                div.act { h3 { "Reveal" } p { "The keyring of this console does not hold the key of this body." } }
            } @else {
                (self.act("reveal", "Reveal", "Shows the body, which is personal data. That it was shown, to whom and why is noted first.", self.versions()))
            }
        }
    }
}

impl View for Letter {
    fn title(&self) -> String {
        let newest = self.newest().map(|known| (known.letter.status.as_str(), known.letter.code.as_str()));
        let (status, code) = newest.unwrap_or_default();
        format!("{status} · {code}")
    }

    fn still(&self) -> Markup {
        html! {
            header.page {
                h1 {
                    @if let Some(known) = self.newest() { (known.letter.code) " " (status(known.letter.status)) }
                }
                a href="/dead-letters" { "Groups" }
            }
        }
    }

    fn live(&self, now: OffsetDateTime) -> Markup {
        html! {
            @for known in &self.letters {
                @if self.letters.len() > 1 { h2.each { "The letter of " (moment(known.letter.dead_lettered_at, now)) } }
                (known.html(&self.done, now))
                (known.edited(now))
            }
            @if let Some(known) = self.newest() { (known.advice()) }
            @if !self.may.sees_history { (nothing("What was done with it is not for this role to see.")) }
        }
    }

    fn below(&self) -> Markup {
        html! {
            @if self.may.resolve || self.may.reveal {
                section {
                    h2 { "Act" }
                    div.acts {
                        @if self.may.resolve { (self.resolving()) }
                        @if self.may.reveal { (self.revealing()) }
                    }
                }
            }
        }
    }

    fn json(&self) -> Value {
        let letter = |known: &Known| {
            let mut record = letter_json(&known.letter);
            if let Value::Object(record) = &mut record {
                let sealed = known.sealed.as_ref();
                let key_id = sealed.and_then(|sealed| sealed.key_id.as_ref());
                record.insert(
                    "outcome".to_owned(),
                    known.processed.as_ref().map(|processed| processed.outcome.as_str()).into(),
                );
                record.insert("sealed_bytes".to_owned(), sealed.map(|sealed| sealed.bytes).into());
                record.insert("sealed_with".to_owned(), key_id.map(|id| id.as_str()).into());
                record.insert("revisions".to_owned(), known.revisions.iter().map(revision_json).collect());
            }
            record
        };
        json!({
            "at": exact(self.at),
            "hash": self.hash.to_string(),
            "letters": self.letters.iter().map(letter).collect::<Vec<_>>(),
            "actions": self.done.iter().map(action_json).collect::<Vec<_>>(),
            "may": {"resolve": self.may.resolve, "reveal": self.may.reveal && self.may.has_keys},
        })
    }
}
