//! Plans: the replays that were drawn up.

use maud::{Markup, html};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{NoPage, View};
use crate::console::pieces::{cell, head, moment, nothing, number, text};
use crate::console::session::Session;
use crate::database::Transaction;
use crate::readable::exact;
use crate::records::plans::plan_json;
use crate::table::replay_plans::{self, Plan, State};

/// How many plans are told.
const MOST: u64 = 100;

/// The newest plans.
pub(super) struct Plans {
    at: OffsetDateTime,
    plans: Vec<Plan>,
}

pub(super) async fn look(session: &Session) -> Result<Plans, NoPage> {
    let newest = async |seen: &Transaction| replay_plans::newest(seen, MOST).await;
    Ok(Plans { at: OffsetDateTime::now_utc(), plans: session.database.snapshot(newest).await? })
}

/// How far a plan has come, as a bar that is read aloud as numbers.
pub(super) fn progress(plan: &Plan) -> Markup {
    html! {
        progress max=(plan.letters.max(1)) value=(plan.done) aria-label={ (number(plan.done)) " of " (number(plan.letters)) } {}
        small { (number(plan.done)) " of " (number(plan.letters)) }
    }
}

/// A plan's state.
pub(super) fn state(state: State) -> Markup {
    let class = match state {
        State::Ready | State::Running => "open",
        State::Done => "ok",
        State::Unfinished | State::Cancelled => "",
    };
    html! { span class={ "badge " (class) } { (state.as_str()) } }
}

impl View for Plans {
    fn title(&self) -> String {
        let open = self.plans.iter().filter(|plan| matches!(plan.state, State::Ready | State::Running)).count();
        format!("{open} open · Plans")
    }

    fn still(&self) -> Markup {
        html! {
            header.page { h1 { "Plans" } }
            p.note {
                "A replay is a plan: which letters it has is settled first, and what would become of each is said. "
                "A plan is drawn up from a letter, or from all letters that match."
            }
        }
    }

    fn live(&self, now: OffsetDateTime) -> Markup {
        let columns =
            [("Plan", ""), ("Made", "when"), ("State", "narrow"), ("Done", "narrow"), ("By", ""), ("Changes", "")];
        html! {
            @if self.plans.is_empty() { (nothing("No replay was ever drawn up.")) } @else {
                table.stack.keyed {
                    (head(&columns))
                    tbody {
                        @for plan in &self.plans {
                            tr {
                                td.lead { a href={ "/plans/" (plan.id) } { "Plan " (plan.id) } " " span.quiet { (text(&plan.meant)) } }
                                (cell("Made", "when", moment(plan.made_at, now)))
                                (cell("State", "", state(plan.state)))
                                (cell("Done", "", progress(plan)))
                                (cell("By", "", html! { (text(plan.person.as_ref().unwrap_or(&plan.role))) }))
                                (cell("Changes", "wide", html! { (text(&plan.edits.join(", "))) }))
                            }
                        }
                    }
                }
            }
        }
    }

    fn json(&self) -> Value {
        json!({"at": exact(self.at), "plans": self.plans.iter().map(plan_json).collect::<Vec<_>>()})
    }
}
