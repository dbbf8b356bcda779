//! The outbox: what waits, how old it is, and for whom.

use maud::{Markup, html};
use serde_json::Value;
use time::OffsetDateTime;

use super::{NoPage, View};
use crate::check::sinks::troubles;
use crate::console::pieces::{Mood, ago, cell, facts, head, moment, nothing, signed, size, text, trouble, verdict};
use crate::console::session::Session;
use crate::records::outbox::outbox_json;
use crate::table::facts::partitions_ahead;
use crate::table::relay_status::{OutboxStatus, Rate, SinkStatus};

/// The most gaps that are shown.
const GAPS: usize = 5;

/// How the sinks stand.
pub(super) struct Outbox(OutboxStatus);

pub(super) async fn look(session: &Session) -> Result<Outbox, NoPage> {
    let status = session.database.snapshot(async |seen| OutboxStatus::read(seen, None).await).await?;
    Ok(Outbox(status))
}

impl Outbox {
    fn troubled(&self) -> usize {
        self.0.sinks.iter().filter(|sink| !troubles(sink, &self.0).is_empty()).count()
    }

    fn waiting(sink: &SinkStatus) -> String {
        match sink.backlog.is_exact {
            true => signed(sink.backlog.events),
            false => format!("{}+", signed(sink.backlog.events)),
        }
    }

    fn table(&self) -> Markup {
        let table = &self.0.table;
        let ahead = match partitions_ahead(&table.partitions, table.positions.next) {
            None => "none for the next position".to_owned(),
            Some(usize::MAX) => "room for every position".to_owned(),
            Some(ahead) => format!("{ahead} ahead of the next position"),
        };
        facts(&[
            ("Next position", html! { (signed(table.positions.next)) }),
            ("Partitions", html! { (table.partitions.len()) ", " (ahead) }),
            ("Size", html! { (size(table.bytes)) }),
            (
                "Gone",
                html! {
                    @match table.pruned_below { Some(below) => { "events below " (signed(below)) }, None => { "nothing" } }
                },
            ),
        ])
    }

    fn sink(&self, sink: &SinkStatus, now: OffsetDateTime) -> Markup {
        let in_chunks: i64 = sink.chunks.iter().map(|chunks| chunks.positions).sum();
        html! {
            section {
                h2 { (text(&sink.name)) @if sink.is_ordered { " " span.badge { "in order" } } }
                @for found in troubles(sink, &self.0) { (trouble(&found.found, Some(&found.remedy))) }
                (facts(&[
                    ("Target", html! { span.id { (text(&sink.target)) } }),
                    ("Waiting", html! { (Self::waiting(sink)) " events, " (signed(in_chunks)) " positions on their way" }),
                    ("Oldest", html! {
                        @match sink.oldest { Some(oldest) => { (moment(oldest, now)) }, None => { "every event is carried or set aside" } }
                    }),
                    ("Rate", html! {
                        @if sink.rates.is_empty() { "not known yet" }
                        @for rate in apart(&sink.rates) { span.part { (format!("{:.1}", rate.a_second)) " a second over " (format!("{:.0}", rate.over_seconds)) " s" } " " }
                    }),
                    ("Frontier", html! { (signed(sink.frontier)) }),
                    ("Gaps", html! {
                        @if sink.gaps_in_all == 0 { "none" } @else {
                            (signed(sink.gaps_in_all)) ": "
                            @for gap in sink.gaps.iter().take(GAPS) {
                                span.part { (signed(*gap.positions.start())) "–" (signed(*gap.positions.end())) " for " (ago(gap.since, now)) } " "
                            }
                        }
                    }),
                ]))
                (Self::refused(sink, now))
            }
        }
    }

    fn refused(sink: &SinkStatus, now: OffsetDateTime) -> Markup {
        html! {
            @if !sink.failures.is_empty() {
                h3 { "Refused events" }
                table.stack {
                    (head(&[("What the sink says", ""), ("Status", ""), ("Events", "n"), ("Oldest", "")]))
                    tbody {
                        @for refused in &sink.failures {
                            tr {
                                td.lead { code { (text(&refused.code)) } }
                                (cell("Status", "", html! { (refused.status.replace('_', " ")) }))
                                (cell("Events", "n", html! { (signed(refused.events)) }))
                                (cell("Oldest", "", ago(refused.since, now)))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Rates over different times: over young marks, all go back equally far, and say the same.
fn apart(rates: &[Rate]) -> Vec<Rate> {
    let mut rates = rates.to_vec();
    rates.dedup();
    rates
}

impl View for Outbox {
    fn title(&self) -> String {
        match self.troubled() {
            0 => "Outbox".to_owned(),
            troubled => format!("{troubled} to look at · Outbox"),
        }
    }

    fn still(&self) -> Markup {
        html! { header.page { h1 { "Outbox" } } }
    }

    fn live(&self, now: OffsetDateTime) -> Markup {
        let (sinks, troubled) = (self.0.sinks.len(), self.troubled());
        html! {
            @match (sinks, troubled) {
                (0, _) => { (nothing("No relay has run yet: events are kept until one does.")) }
                (_, 0) => { (verdict(Mood::Well, html! { "Every sink is served." })) }
                (sinks, troubled) => { (verdict(Mood::Look, html! { (troubled) " of " (sinks) " sinks need a look." })) }
            }
            (self.table())
            @for sink in &self.0.sinks { (self.sink(sink, now)) }
        }
    }

    fn json(&self) -> Value {
        outbox_json(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_that_say_the_same_are_shown_once() {
        let [young, old] = [53.0, 60.0].map(|over_seconds| Rate { a_second: 149.5, over_seconds });
        assert_eq!(apart(&[young, young]), [young]);
        assert_eq!(apart(&[young, old]), [young, old]);
    }
}
