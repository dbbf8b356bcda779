//! What the loaders ask of SQS, and what that costs.

use maud::{Markup, html};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::loading::Loading;
use super::{NoPage, View};
use crate::console::Console;
use crate::console::pieces::{ago, cell, head, nothing, number, plural, tile};
use crate::console::session::Session;
use crate::database::Transaction;
use crate::readable::exact;
use crate::records::costs::{Calls, HOURS_OF_A_MONTH, Saving, dollars};

/// Calls to the queues, and their price.
pub(super) struct Costs {
    at: OffsetDateTime,
    alive: Calls,
    of_day: Calls,
    /// When the first of those that are alive began, and the first of all.
    since: [Option<OffsetDateTime>; 2],
    /// In dollars for a million requests.
    price: f64,
}

pub(super) async fn look(console: &Console, session: &Session) -> Result<Costs, NoPage> {
    let loading = session.database.snapshot(async |seen: &Transaction| Loading::read(seen).await).await?;
    Ok(Costs {
        at: OffsetDateTime::now_utc(),
        alive: Calls::of(loading.alive()),
        of_day: Calls::of(&loading.loaders),
        since: [
            loading.alive().map(|loader| loader.started_at).min(),
            loading.loaders.iter().map(|loader| loader.started_at).min(),
        ],
        price: console.settings.request_price,
    })
}

/// `$12.30`, `$0.0004`.
fn in_dollars(dollars: f64) -> String {
    match dollars {
        none if none <= 0.0 => "$0".to_owned(),
        least if least < 0.0001 => "under $0.0001".to_owned(),
        little if little < 0.1 => format!("${little:.4}"),
        some if some < 1_000.0 => format!("${some:.2}"),
        much => format!("${}", number(much.round() as u64)),
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.0} %", share * 100.0))
}

/// What to do to pay less, and why.
fn advice(saving: Saving, calls: &Calls) -> Markup {
    html! {
        @match saving {
            Saving::WaitLonger => {
                strong { "Wait longer for messages." } " " (percent(calls.empty_share())) " of the receives bring nothing, and each is billed. "
                "With a longer " code { "--wait" } " (20s at most) an idle loader asks less often. No message comes later for it; only a shutdown may take longer. "
                "Fewer loaders ask less, too."
            }
            Saving::FewerLanes => {
                strong { "Try fewer lanes." } " A receive that brings messages brings "
                (calls.messages_a_receive().map_or_else(String::new, |messages| format!("{messages:.1}"))) " on average, and 10 fit in. "
                "With fewer " code { "--lanes" } " each asks for more at once."
            }
            Saving::AskDepthOnce => {
                strong { "Let one loader ask how long the queue is." } " Scrapes of the others' figures cost a request each: give these "
                code { "--queue-depth off" } "."
            }
            Saving::WaitLessForDatabase => {
                strong { "Look at the database." } " Many requests only keep messages reserved while a lane waits for it."
            }
        }
    }
}

impl Costs {
    fn a_month(&self) -> f64 {
        dollars(self.alive.an_hour * HOURS_OF_A_MONTH, self.price)
    }

    fn tiles(&self) -> Markup {
        let of = if self.alive.loaders > 0 { &self.alive } else { &self.of_day };
        let million = of.per_million_logins();
        html! {
            dl.tiles {
                (tile("Requests an hour", html! { (number(self.alive.an_hour.round() as u64)) }, html! { "of " (plural(self.alive.loaders as u64, "loader")) " alive" }))
                (tile("A month like that", html! { (in_dollars(self.a_month())) }, html! { "730 hours" }))
                (tile("Requests for a million logins", html! {
                    @match million { Some(requests) => { (number(requests.round() as u64)) }, None => { "–" } }
                }, html! {
                    @match million { Some(requests) => { (in_dollars(dollars(requests, self.price))) }, None => { "none was loaded" } }
                }))
                (tile("Empty receives", html! { (percent(of.empty_share())) }, html! { (number(of.empty_receives)) " brought nothing" }))
            }
        }
    }

    fn table(&self) -> Markup {
        let of = |counts: &std::collections::BTreeMap<String, u64>, kind: &str| {
            number(counts.get(kind).copied().unwrap_or(0))
        };
        let columns =
            [("Call", ""), ("Alive: calls", "n"), ("billed as", "n"), ("Last day: calls", "n"), ("billed as", "n")];
        html! {
            table.stack {
                (head(&columns))
                tbody {
                    @for kind in self.of_day.made.keys() {
                        tr {
                            td.lead { (kind.replace('_', " ")) }
                            (cell("Alive: calls", "n", html! { (of(&self.alive.made, kind)) }))
                            (cell("billed as", "n", html! { (of(&self.alive.billed, kind)) }))
                            (cell("Last day: calls", "n", html! { (of(&self.of_day.made, kind)) }))
                            (cell("billed as", "n", html! { (of(&self.of_day.billed, kind)) }))
                        }
                    }
                }
                tfoot {
                    tr {
                        td.lead { "all" }
                        (cell("Alive: calls", "n", html! { (number(self.alive.made.values().sum())) }))
                        (cell("billed as", "n", html! { (number(self.alive.requests())) " " small { (in_dollars(dollars(self.alive.requests() as f64, self.price))) } }))
                        (cell("Last day: calls", "n", html! { (number(self.of_day.made.values().sum())) }))
                        (cell("billed as", "n", html! { (number(self.of_day.requests())) " " small { (in_dollars(dollars(self.of_day.requests() as f64, self.price))) } }))
                    }
                }
            }
        }
    }

    fn covered(&self, now: OffsetDateTime) -> Markup {
        let [alive, all] = self.since;
        html! {
            p.note {
                "The figures are those of each loader since its start, as it last wrote them: "
                (plural(self.alive.loaders as u64, "loader")) " alive"
                @if let Some(since) = alive { ", the oldest started " (ago(since, now)) }
                "; " (self.of_day.loaders) " seen within a day"
                @if let Some(since) = all { ", the oldest started " (ago(since, now)) }
                ". An hour is the average of each since its start. What producers, relays and " code { "turnstile send" } " ask of SQS is not among them."
            }
            p.note {
                "The price is " (in_dollars(self.price)) " for a million requests. It is yours to set (" code { "--request-price" }
                "): it depends on region, kind of queue and volume, and your provider's price list has it."
            }
        }
    }
}

impl View for Costs {
    fn title(&self) -> String {
        format!("{} a month · Costs", in_dollars(self.a_month()))
    }

    fn still(&self) -> Markup {
        html! { header.page { h1 { "Costs" } a href="/loaders" { "Loaders" } } }
    }

    fn live(&self, now: OffsetDateTime) -> Markup {
        let savings = self.alive.savings();
        html! {
            @if self.of_day.loaders == 0 { (nothing("No loader was seen within a day.")) } @else {
                (self.tiles())
                section { h2 { "Requests to SQS" } (self.table()) (self.covered(now)) }
                section {
                    h2 { "What follows" }
                    @if savings.is_empty() { (nothing("Nothing: few requests could be saved.")) } @else {
                        ul.savings { @for saving in savings { li { (advice(saving, &self.alive)) } } }
                    }
                }
            }
        }
    }

    fn json(&self) -> Value {
        let calls = |calls: &Calls, since: Option<OffsetDateTime>| {
            json!({
                "loaders": calls.loaders,
                "oldest_started_at": since.map(exact),
                "calls": calls.made,
                "billed": calls.billed,
                "requests": calls.requests(),
                "dollars": dollars(calls.requests() as f64, self.price),
                "empty_receives": calls.empty_receives,
                "empty_share": calls.empty_share(),
                "received": calls.received,
                "loaded": calls.loaded,
                "requests_per_million_logins": calls.per_million_logins(),
            })
        };
        let [alive, all] = self.since;
        json!({
            "at": exact(self.at),
            "dollars_a_million_requests": self.price,
            "requests_an_hour": self.alive.an_hour,
            "dollars_a_month": self.a_month(),
            "alive": calls(&self.alive, alive),
            "last_day": calls(&self.of_day, all),
            "savings": self.alive.savings().into_iter().map(Saving::as_str).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_money_is_seen_and_much_is_rounded() {
        let told = [0.0, 0.00001, 0.0004, 0.21, 12.3, 1_234.5].map(in_dollars);
        assert_eq!(told, ["$0", "under $0.0001", "$0.0004", "$0.21", "$12.30", "$1,235"]);
    }
}
