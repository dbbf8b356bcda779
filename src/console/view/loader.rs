//! One loader: how it stands, whether its books balance, what its lanes do, and what it asks of the queue.

use maud::{Markup, html};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::loaders::{pauses, resuming};
use super::loading::{Loading, place_of, queue, rate, seconds_words, standing};
use super::{NoPage, View};
use crate::console::pausing::written;
use crate::console::pieces::{
    Mood, cell, facts, head, length, moment, nothing, number, once, plural, reason, signed, text, verdict,
};
use crate::console::session::Session;
use crate::database::Transaction;
use crate::readable::exact;
use crate::records::loaders::{Standing, by_kind, is_of, lanes, loader_json};
use crate::table::loader_pauses::{InForce, Target};
use crate::table::loaders::{Ended, LoaderId, Seen};
use crate::table::powers::Powers;

/// One loader, and the pauses that are of it.
pub(super) struct OneLoader {
    at: OffsetDateTime,
    loader: Seen,
    pauses: Vec<InForce>,
    may_pause: bool,
}

pub(super) async fn look(id: &LoaderId, session: &Session, powers: &Powers) -> Result<OneLoader, NoPage> {
    let Loading { loaders, pauses } =
        session.database.snapshot(async |seen: &Transaction| Loading::read(seen).await).await?;
    let Some(loader) = loaders.into_iter().find(|loader| loader.beat.id == *id) else {
        return Err(NoPage::Absent(format!("No loader {id} was seen within a day.")));
    };
    let pauses = pauses.into_iter().filter(|pause| is_of(pause, &loader.beat)).collect();
    Ok(OneLoader { at: OffsetDateTime::now_utc(), loader, pauses, may_pause: powers.pauses })
}

impl OneLoader {
    fn facts(&self, now: OffsetDateTime) -> Markup {
        let beat = &self.loader.beat;
        let late = |lag: Option<f64>| lag.map_or_else(|| "none came".to_owned(), seconds_words);
        let of_past = if Standing::of(&self.loader).is_over() { " when it was last seen" } else { "" };
        facts(&[
            ("State", standing(&self.loader)),
            ("Queue", html! { (queue(&beat.queue)) " " small.id { (text(&beat.queue)) } }),
            ("Host", html! { (text(&beat.host)) }),
            ("Process", html! { (beat.pid) }),
            ("Version", html! { (text(&beat.version)) }),
            ("Loader", html! { span.id { (beat.id) } }),
            ("Started", moment(self.loader.started_at, now)),
            ("Seen", moment(self.loader.seen_at, now)),
            ("Received", html! { (rate(beat.received_per_second)) " a second" (of_past) }),
            ("Loaded", html! { (rate(beat.loaded_per_second)) " a second" (of_past) }),
            (
                "Lag",
                html! {
                    @if beat.lag_p99.is_none() { span.quiet { "no login came since the row before" } } @else {
                        "half within " (late(beat.lag_p50)) ", 99 of 100 within " (late(beat.lag_p99))
                    }
                },
            ),
        ])
    }

    fn books(&self) -> Markup {
        let (beat, unaccounted) = (&self.loader.beat, self.loader.beat.unaccounted());
        let Ended { loaded, dead_lettered, absorbed, contradicting, returned, released, damaged } = beat.ended;
        let balance = match unaccounted {
            0 => verdict(Mood::Well, html! { "The books balance: every delivery has ended, or is in hand." }),
            _ => verdict(
                Mood::Bad,
                html! { "The books do not balance: of " (signed(unaccounted)) " deliveries it is not known how they ended." },
            ),
        };
        let rows = [
            ("received", "came from the queue", beat.received),
            ("loaded", "the login is a row", loaded),
            ("dead lettered", "the message is a dead letter", dead_lettered),
            ("absorbed", "it brought nothing new", absorbed),
            ("contradicting", "it brought another login under a key that was taken", contradicting),
            ("returned", "it went back for another attempt", returned),
            ("released", "it was given back untried", released),
            ("damaged", "it arrived damaged", damaged),
            ("in hand", "it has not ended", beat.in_hand),
        ];
        html! {
            (balance)
            table {
                (head(&[("Deliveries", ""), ("Since its start", "n")]))
                tbody {
                    @for (name, meaning, count) in rows {
                        tr { td { (name) " " span.quiet { (meaning) } } td.n { (signed(count)) } }
                    }
                }
            }
        }
    }

    fn lanes(&self) -> Markup {
        let lanes = lanes(&self.loader.beat);
        html! {
            @if lanes.is_empty() { (nothing("It has no lanes yet.")) } @else {
                table {
                    (head(&[("Lane", ""), ("Does", ""), ("For", "n")]))
                    tbody {
                        @for (at, (doing, seconds)) in lanes.iter().enumerate() {
                            tr { td { (at + 1) } td { (text(doing)) } td.n { (length(time::Duration::seconds_f64(seconds.clamp(0.0, 1e9)))) } }
                        }
                    }
                }
                p.note { "As it last wrote its row." }
            }
        }
    }

    fn calls(&self) -> Markup {
        let (made, billed) = (by_kind(&self.loader.beat.sqs_calls), by_kind(&self.loader.beat.sqs_billed));
        html! {
            table {
                (head(&[("Call", ""), ("Calls", "n"), ("Billed as", "n")]))
                tbody {
                    @for (kind, calls) in &made {
                        tr {
                            td { (text(&kind.replace('_', " "))) }
                            (cell("Calls", "n", html! { (number(*calls)) }))
                            (cell("Billed as", "n", html! { (number(billed.get(kind).copied().unwrap_or(0))) }))
                        }
                    }
                }
            }
            p.note {
                (plural(u64::try_from(self.loader.beat.sqs_empty_receives).unwrap_or(0), "receive")) " brought nothing. "
                a href="/costs" { "Costs" } " sums up all loaders."
            }
        }
    }

    fn pausing(&self) -> Markup {
        let id = self.loader.beat.id.as_str();
        html! {
            form.act method="post" action="/loaders/pause" {
                (once())
                input type="hidden" name="of" value=(written(&Target::Loader(id.to_owned())));
                input type="hidden" name="on" value=(id);
                h3 { "Pause this loader" }
                p { "It receives nothing until somebody resumes it, or until it ends. What it has in hand, it loads." }
                (reason("reason-pause", true))
                div.buttons { button type="submit" { "Pause" } }
            }
        }
    }
}

impl View for OneLoader {
    fn title(&self) -> String {
        format!("{} · {}", Standing::of(&self.loader).as_str().replace('_', " "), text(&place_of(&self.loader)))
    }

    fn still(&self) -> Markup {
        html! { header.page { h1 { (text(&place_of(&self.loader))) } a href="/loaders" { "Loaders" } } }
    }

    fn live(&self, now: OffsetDateTime) -> Markup {
        let in_force: Vec<&InForce> = self.pauses.iter().collect();
        html! {
            @if !in_force.is_empty() { section.first { h2 { "Pauses in force" } (pauses(&in_force, now)) } }
            div.columns.uneven {
                section { h2 { "Facts" } (self.facts(now)) }
                section { h2 { "Books" } (self.books()) }
            }
            div.columns.uneven {
                section { h2 { "Lanes" } (self.lanes()) }
                section { h2 { "Calls to the queue" } (self.calls()) }
            }
        }
    }

    fn below(&self) -> Markup {
        let is_paused = self.pauses.iter().any(|pause| matches!(pause.target, Target::Loader(_)));
        let can_pause = !is_paused && !Standing::of(&self.loader).is_over();
        html! {
            @if self.may_pause && (can_pause || !self.pauses.is_empty()) {
                section {
                    h2 { "Act" }
                    div.acts {
                        @if can_pause { (self.pausing()) }
                        @for (number, pause) in self.pauses.iter().enumerate() { (resuming(pause, number, Some(self.loader.beat.id.as_str()))) }
                    }
                }
            }
        }
    }

    fn json(&self) -> Value {
        let mut record = loader_json(&self.loader, &self.pauses);
        if let Value::Object(record) = &mut record {
            record.insert("at".to_owned(), exact(self.at).into());
            record.insert("unaccounted".to_owned(), json!(self.loader.beat.unaccounted()));
        }
        record
    }
}
