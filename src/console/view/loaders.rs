//! The loaders: who loads, how fast and how late, and where receiving is paused.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use serde_json::Value;
use time::OffsetDateTime;

use super::loading::{Loading, place_of, queue, rate, seconds_words, standing, target};
use super::{NoPage, View};
use crate::console::pausing::written;
use crate::console::pieces::{Mood, ago, cell, head, moment, nothing, once, reason, signed, text, verdict};
use crate::console::session::Session;
use crate::database::Transaction;
use crate::message::queue_name;
use crate::readable::exact;
use crate::records::loaders::{Standing, lanes, who};
use crate::table::loader_pauses::{InForce, Target};
use crate::table::loaders::{Seen, State};
use crate::table::powers::Powers;
use crate::table::queues;

/// The loaders of a day.
pub(super) struct Loaders {
    at: OffsetDateTime,
    loading: Loading,
    /// The queues that can be paused.
    queues: BTreeSet<String>,
    may_pause: bool,
}

pub(super) async fn look(session: &Session, powers: &Powers) -> Result<Loaders, NoPage> {
    let read = async |seen: &Transaction| {
        let loading = Loading::read(seen).await?;
        // One whose last loader is forgotten can be paused before the next one starts.
        let known = if powers.queues { queues::read_all(seen).await? } else { Default::default() };
        Ok((loading, known.keys().map(|queue| queue.as_str().to_owned()).collect()))
    };
    let (loading, queues) = session.database.snapshot(read).await?;
    Ok(Loaders { at: OffsetDateTime::now_utc(), loading, queues, may_pause: powers.pauses })
}

/// What the lanes do, the most first.
fn lanes_words(loader: &Seen) -> String {
    let mut doing: BTreeMap<String, usize> = BTreeMap::new();
    lanes(&loader.beat).into_iter().for_each(|(word, _)| *doing.entry(word).or_default() += 1);
    let mut doing: Vec<(String, usize)> = doing.into_iter().collect();
    doing.sort_by_key(|(_, lanes)| std::cmp::Reverse(*lanes));
    doing.iter().map(|(word, lanes)| format!("{lanes} {word}")).collect::<Vec<_>>().join(", ")
}

/// What was true while it lived, or is.
fn now_or_never(loader: &Seen, value: Markup) -> Markup {
    if Standing::of(loader).is_over() {
        html! { span.quiet { "–" } }
    } else {
        value
    }
}

impl Loaders {
    fn row(loader: &Seen, now: OffsetDateTime) -> Markup {
        let beat = &loader.beat;
        let late = |lag: Option<f64>| lag.map_or_else(|| "–".to_owned(), seconds_words);
        html! {
            tr {
                td.lead {
                    a href={ "/loaders/" (beat.id) } { (text(&place_of(loader))) }
                    " " span.quiet { (beat.id) " · " (text(&beat.version)) }
                }
                (cell("State", "state", html! { (standing(loader)) " " small { (ago(loader.seen_at, now)) } }))
                (cell("Queue", "", queue(&beat.queue)))
                (cell("In, out a second", "n", now_or_never(loader, html! { (rate(beat.received_per_second)) " · " (rate(beat.loaded_per_second)) })))
                (cell("Lag p50, p99", "n", now_or_never(loader, html! { (late(beat.lag_p50)) " · " (late(beat.lag_p99)) })))
                (cell("In hand", "n", now_or_never(loader, html! { (signed(beat.in_hand)) })))
                (cell("Lanes", "lanes", now_or_never(loader, html! { (text(&lanes_words(loader))) })))
                (cell("Received", "n", html! { (signed(beat.received)) }))
                (cell("Loaded", "n", html! { (signed(beat.ended.loaded)) }))
                (cell("Dead letters", "n", html! { (signed(beat.ended.dead_lettered + beat.ended.contradicting)) }))
            }
        }
    }

    /// Those that are alive first, then those that are gone, then those that have ended.
    fn in_order(&self) -> Vec<&Seen> {
        let mut loaders: Vec<&Seen> = self.loading.loaders.iter().collect();
        loaders.sort_by_key(|loader| (Standing::of(loader).is_over(), loader.beat.state == State::Stopped));
        loaders
    }

    fn table(&self, now: OffsetDateTime) -> Markup {
        let columns = [
            ("Loader", ""),
            ("State", "state"),
            ("Queue", ""),
            ("In · out /s", "n"),
            ("Lag p50 · p99", "n"),
            ("In hand", "n"),
            ("Lanes", ""),
            ("Received", "n"),
            ("Loaded", "n"),
            ("Dead", "n"),
        ];
        html! {
            table.stack.keyed.loaders {
                (head(&columns))
                tbody { @for loader in self.in_order() { (Self::row(loader, now)) } }
            }
        }
    }

    fn pausing(&self) -> Markup {
        let known = self.loading.loaders.iter().map(|loader| &loader.beat.queue);
        let queues: BTreeSet<&String> = self.queues.iter().chain(known).collect();
        let option = |of: &Target, words: String| html! { option value=(written(of)) { (words) } };
        html! {
            form.act method="post" action="/loaders/pause" {
                (once())
                h3 { "Pause" }
                p { "Nothing is received until somebody resumes it. What is in hand is loaded, and the queue keeps the rest." }
                label for="pause-of" { "Which" }
                select #pause-of name="of" {
                    (option(&Target::All, "all loaders".to_owned()))
                    @for arn in queues { (option(&Target::Queue(arn.clone()), format!("the queue {}", text(queue_name(arn))))) }
                    @for loader in self.loading.alive() {
                        (option(&Target::Loader(loader.beat.id.to_string()), format!("the loader {}", text(&place_of(loader)))))
                    }
                }
                (reason("reason-pause", true))
                div.buttons { button type="submit" { "Pause" } }
            }
        }
    }
}

/// The pauses that are in force, with who wants them, since when and why.
pub(super) fn pauses(in_force: &[&InForce], now: OffsetDateTime) -> Markup {
    html! {
        table.stack {
            (head(&[("Paused", ""), ("Since", "when"), ("By", ""), ("Reason", "")]))
            tbody {
                @for pause in in_force {
                    tr {
                        td.lead { (target(&pause.target)) }
                        (cell("Since", "when", moment(pause.since, now)))
                        (cell("By", "", html! { (text(&who(pause))) }))
                        (cell("Reason", "wide", html! { (text(&pause.reason)) }))
                    }
                }
            }
        }
    }
}

/// The form that ends a pause; `back` is the loader whose page it stands on.
pub(super) fn resuming(pause: &InForce, number: usize, back: Option<&str>) -> Markup {
    html! {
        form.act method="post" action="/loaders/resume" {
            (once())
            input type="hidden" name="of" value=(written(&pause.target));
            @if let Some(loader) = back { input type="hidden" name="on" value=(loader); }
            h3 { "Resume " (target(&pause.target)) }
            p { "Ends this pause alone. Loaders go on within seconds, unless another pause holds them." }
            (reason(&format!("reason-resume-{number}"), true))
            div.buttons { button type="submit" { "Resume" } }
        }
    }
}

impl View for Loaders {
    fn title(&self) -> String {
        format!("{} alive · Loaders", self.loading.alive().count())
    }

    fn still(&self) -> Markup {
        html! { header.page { h1 { "Loaders" } a href="/costs" { "Costs" } } }
    }

    fn live(&self, now: OffsetDateTime) -> Markup {
        let in_force: Vec<&InForce> = self.loading.pauses.iter().collect();
        html! {
            @match self.loading.worst(now) {
                Some(fact) => { (verdict(fact.mood, fact.words)) }
                None if self.loading.alive().next().is_some() => { (verdict(Mood::Well, html! { "Loaders are alive, and nothing holds them up." })) }
                None => { (nothing("No loader is alive.")) }
            }
            dl.tiles { (self.loading.tiles()) }
            @if !in_force.is_empty() { section { h2 { "Pauses in force" } (pauses(&in_force, now)) } }
            @if !self.loading.loaders.is_empty() {
                section {
                    h2 { "Loaders of the last day" }
                    (self.table(now))
                    p.note { "Each writes its row twice a minute: rates and lag are those since the row before. One that misses three is gone: it was killed, or does not reach the database." }
                }
            }
        }
    }

    fn below(&self) -> Markup {
        html! {
            @if self.may_pause {
                section {
                    h2 { "Act" }
                    div.acts {
                        (self.pausing())
                        @for (number, pause) in self.loading.pauses.iter().enumerate() { (resuming(pause, number, None)) }
                    }
                }
            }
            p.aside { "Is it safe to restart a loader? Always: what it has in hand comes again, and is recorded once." }
        }
    }

    fn json(&self) -> Value {
        let mut record = self.loading.sums_json();
        if let Value::Object(record) = &mut record {
            record.insert("at".to_owned(), exact(self.at).into());
            record.insert("loaders".to_owned(), self.loading.loaders_json().into());
        }
        record
    }
}
