//! One plan: what was foreseen, how far it has come, and what became.

use maud::{Markup, html};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::plans::{progress, state};
use super::{NoPage, View};
use crate::console::Console;
use crate::console::pieces::{cell, facts, hash_link, head, moment, nothing, number, once, text, trouble};
use crate::console::session::Session;
use crate::database::Transaction;
use crate::readable::exact;
use crate::records::letters::place_words;
use crate::records::plans::{compared_json, fate_words, letter_json, plan_json, rate};
use crate::table::plan_id::PlanId;
use crate::table::powers::Powers;
use crate::table::replay_plan_letters::{self, Compared, PlanLetter};
use crate::table::replay_plans::{self, Plan, State};

/// How many of its letters are shown.
const LETTERS: u64 = 50;

/// The most letters of a plan that are compared anew at each look.
const COMPARED: u64 = 100_000;

/// One plan.
pub(super) struct OnePlan {
    at: OffsetDateTime,
    plan: Plan,
    compared: Vec<Compared>,
    letters: Vec<PlanLetter>,
    replays: bool,
    has_keys: bool,
    is_running_here: bool,
    trouble: Option<String>,
}

pub(super) async fn look(id: PlanId, console: &Console, session: &Session, powers: &Powers) -> Result<OnePlan, NoPage> {
    let read = async |seen: &Transaction| {
        let Some(plan) = replay_plans::find(seen, id).await? else { return Ok(None) };
        let compared = match plan.letters <= COMPARED {
            true => replay_plan_letters::compare(seen, id).await?,
            false => Vec::new(),
        };
        let letters = replay_plan_letters::page(seen, id, None, LETTERS).await?;
        Ok(Some((plan, compared, letters)))
    };
    let Some((plan, compared, letters)) = session.database.snapshot(read).await? else {
        return Err(NoPage::Absent(format!("There is no plan {id}.")));
    };
    Ok(OnePlan {
        at: OffsetDateTime::now_utc(),
        compared,
        letters,
        replays: powers.replays,
        has_keys: console.keys.is_some(),
        is_running_here: console.runs.is_running(id),
        trouble: console.runs.trouble(id),
        plan,
    })
}

impl OnePlan {
    fn facts(&self, now: OffsetDateTime) -> Markup {
        let plan = &self.plan;
        let by = html! {
            (text(&plan.role))
            @if let Some(person) = plan.person.as_ref().filter(|person| **person != plan.role) { " (" (text(person)) ")" }
        };
        let mut known = vec![
            ("State", state(plan.state)),
            ("Done", html! { (progress(plan)) @if let Some(rate) = rate(plan) { " " small { (rate) } } }),
            ("Letters of", html! { (text(&plan.meant)) }),
            ("By", by),
            ("Made", moment(plan.made_at, now)),
        ];
        known.extend(plan.reason.as_ref().map(|reason| ("Reason", html! { (text(reason)) })));
        known.extend((!plan.edits.is_empty()).then(|| ("Changes", html! { (text(&plan.edits.join(", "))) })));
        known.extend(plan.force.then(|| ("Force", html! { "also letters older than what the tables remember" })));
        known.extend(plan.begun_at.map(|at| ("Begun", moment(at, now))));
        let worked_at = plan.worked_at.filter(|_| plan.ended_at.is_none());
        known.extend(worked_at.map(|at| ("Worked on last", moment(at, now))));
        known.extend(plan.ended_at.map(|at| ("Ended", moment(at, now))));
        facts(&known)
    }

    fn comparison(&self) -> Markup {
        html! {
            table.stack {
                (head(&[("Letters", "n"), ("Foreseen", ""), ("Became", "")]))
                tbody {
                    @for one in &self.compared {
                        tr {
                            (cell("Letters", "n", html! { (number(one.letters)) }))
                            (cell("Foreseen", "wide", html! {
                                (text(&fate_words(&one.foreseen)))
                                @if let Some(pointer) = &one.pointer { " at " code { (text(pointer)) } }
                            }))
                            (cell("Became", "wide", html! {
                                @match &one.became {
                                    None => { span.quiet { "nothing yet" } }
                                    Some(became) if *became == one.foreseen => { "as foreseen" }
                                    Some(became) => { strong { (text(&fate_words(became))) } }
                                }
                            }))
                        }
                    }
                }
            }
        }
    }

    fn single(&self) -> Markup {
        html! {
            table.stack.keyed {
                (head(&[("Letter", ""), ("Code", ""), ("Foreseen", ""), ("Where", ""), ("Became", "")]))
                tbody {
                    @for letter in &self.letters {
                        tr {
                            td.lead { (hash_link(letter.key.hash)) }
                            (cell("Code", "", html! { (letter.code) }))
                            (cell("Foreseen", "wide", html! { (text(&fate_words(&letter.foreseen))) }))
                            (cell("Where", "place", html! { @if let Some(place) = &letter.place { (text(&place_words(place))) } }))
                            (cell("Became", "wide", html! { @if let Some(became) = &letter.became { (text(&fate_words(became))) } }))
                        }
                    }
                }
            }
            @if self.plan.letters > LETTERS {
                p.note { "The first " (LETTERS) " of " (number(self.plan.letters)) " letters. " code { "turnstile dead-letters plans show " (self.plan.id) " --entries" } " lists all." }
            }
        }
    }

    fn form(&self, act: &str, verb: &str, words: &str, types: bool) -> Markup {
        html! {
            form.act method="post" action={ "/plans/" (self.plan.id) "/" (act) } {
                (once())
                h3 { (verb) }
                p { (words) }
                @if types {
                    label for="letters" { "Type the number of letters: " strong { (self.plan.letters) } }
                    input #letters name="letters" type="text" inputmode="numeric" required autocomplete="off" pattern="[0-9]+";
                }
                div.buttons { button type="submit" { (verb) } }
            }
        }
    }
}

impl View for OnePlan {
    fn title(&self) -> String {
        format!("{} · Plan {}", self.plan.state.as_str(), self.plan.id)
    }

    fn still(&self) -> Markup {
        html! { header.page { h1 { "Plan " (self.plan.id) } a href="/plans" { "Plans" } } }
    }

    fn live(&self, now: OffsetDateTime) -> Markup {
        html! {
            @if let Some(why) = &self.trouble { (trouble(why, Some("run it again: it goes on with what is left"))) }
            (self.facts(now))
            @if self.letters.is_empty() { (nothing("The plan has no letters.")) } @else {
                section {
                    h2 { "Foreseen, and became" }
                    @if self.plan.letters > COMPARED {
                        p.note { "Too many to compare here: " code { "turnstile dead-letters plans show " (self.plan.id) } " does." }
                    } @else { (self.comparison()) }
                }
                section { h2 { "Letters" } (self.single()) }
            }
        }
    }

    fn below(&self) -> Markup {
        let (ready, begun) = (self.plan.state == State::Ready, self.plan.state == State::Running);
        let is_open = ready || begun || self.plan.state == State::Unfinished;
        html! {
            @if self.replays && is_open {
                section {
                    h2 { "Act" }
                    div.acts {
                        @if !self.has_keys {
                            div.act { h3 { "Run" } p { "This console has no keyring: nothing can be replayed here." } }
                        } @else if ready && self.plan.letters > 0 {
                            (self.form("run", "Run", "Exactly these letters are replayed, each once. It goes on while you look elsewhere.", self.plan.letters > 1))
                        } @else if begun && !self.is_running_here {
                            (self.form("run", "Go on", "It is running elsewhere, or whatever ran it has gone. Both are safe: each letter is done once.", self.plan.letters > 1))
                        }
                        (self.form("cancel", "Cancel", "Puts an end to it. What it has done holds.", false))
                    }
                }
            }
        }
    }

    fn json(&self) -> Value {
        let mut record = plan_json(&self.plan);
        if let Value::Object(record) = &mut record {
            record.insert("at".to_owned(), exact(self.at).into());
            record.insert("outcomes".to_owned(), self.compared.iter().map(compared_json).collect());
            record.insert("entries".to_owned(), self.letters.iter().map(letter_json).collect());
            record.insert("trouble".to_owned(), json!(self.trouble));
        }
        record
    }
}
