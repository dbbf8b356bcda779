//! How everything stands: the first page.

use std::sync::Arc;
use std::time::Duration;

use maud::{Markup, html};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::loading::{Fact, Loading};
use super::{NoPage, View};
use crate::check::sinks::{Trouble, troubles};
use crate::console::Console;
use crate::console::audits::Run;
use crate::console::link::link;
use crate::console::minutes::MINUTES;
use crate::console::pieces::{
    Mood, ago, bars, cell, counted, head, nothing, number, object_of, plan_link, plural, text, tile, verdict,
};
use crate::console::session::Session;
use crate::database::Transaction;
use crate::readable::exact;
use crate::records::actions::action_json;
use crate::records::groups::{LATE_MESSAGES, Notes, Replays, codes, field_or_rule, group_json};
use crate::records::outbox::outbox_json;
use crate::table::dead_letters::{Counted, Group, Search, Status, became, groups};
use crate::table::operator_actions::{self, Done, last_notes};
use crate::table::powers::Powers;
use crate::table::processed_messages::{Lately, Sent, lately, newest};
use crate::table::relay_status::OutboxStatus;
use crate::table::replay_plan_letters;

/// How many groups and actions are told.
const TOLD: usize = 6;

/// How everything stands.
pub(super) struct Now {
    at: OffsetDateTime,
    lately: Lately,
    open: Vec<Group>,
    replays: Replays,
    notes: Notes,
    newest: Option<OffsetDateTime>,
    sent: Vec<Sent>,
    became: Vec<u64>,
    outbox: Option<OutboxStatus>,
    loading: Option<Loading>,
    done: Vec<Done>,
    audit: Option<Arc<Run>>,
}

pub(super) async fn look(console: &Console, session: &Session, powers: &Powers) -> Result<Now, NoPage> {
    let at = OffsetDateTime::now_utc();
    let from = at - Duration::from_secs(60 * u64::from(MINUTES));
    let open = Search { status: Some(Status::Open), ..Search::default() };
    let read = async |seen: &Transaction| {
        let lately = lately(seen, LATE_MESSAGES).await?;
        let by_minute = became(seen, &Search::default(), (from, 60.0, i32::from(MINUTES)), 10_000).await?;
        let mut sum = vec![0; usize::from(MINUTES)];
        for group in by_minute {
            sum.iter_mut().zip(group.letters).for_each(|(sum, letters)| *sum += letters);
        }
        let open = groups(seen, &open, lately.after).await?;
        Ok(Now {
            at,
            lately,
            replays: replay_plan_letters::last_replays(seen, &codes(&open)).await?,
            notes: last_notes(seen, &codes(&open)).await?,
            open,
            newest: newest(seen).await?,
            sent: Vec::new(),
            became: sum,
            outbox: if powers.outbox { Some(OutboxStatus::read(seen, None).await?) } else { None },
            loading: if powers.loaders { Some(Loading::read(seen).await?) } else { None },
            done: match powers.history {
                true => operator_actions::newest(seen, &operator_actions::Filter::default(), TOLD as u64).await?,
                false => Vec::new(),
            },
            audit: None,
        })
    };
    let now = session.database.snapshot(read).await?;
    let sent = console.minutes.sent(&session.database, at).await?;
    Ok(Now { sent, audit: console.audits.last(), ..now })
}

impl Now {
    fn open_letters(&self) -> Counted {
        let letters = self.open.iter().map(|group| group.letters.letters).sum();
        Counted { letters, or_more: self.open.iter().any(|group| group.letters.or_more) }
    }

    /// What is wrong with the sinks, each under the name of its sink.
    fn troubles(&self) -> Vec<(&str, Trouble)> {
        let of = |outbox| move |sink| troubles(sink, outbox).into_iter().map(|trouble| (&*sink.name, trouble));
        self.outbox.iter().flat_map(|outbox| outbox.sinks.iter().flat_map(of(outbox))).collect()
    }

    /// The worst fact.
    fn worst(&self) -> Fact {
        let open = self.open_letters();
        let is_open = || format!("{} open", counted(open));
        if self.audit.as_ref().is_some_and(|run| run.is_broken()) {
            let words = html! { "The promise is broken: " a href="/audit" { "the last audit" } " names the messages." };
            return Fact { mood: Mood::Bad, title: "The promise is broken".to_owned(), words };
        }
        if let Some(fact) = self.loading.as_ref().and_then(|loading| loading.worst(self.at)) {
            return fact;
        }
        if let Some((sink, trouble)) = self.troubles().first() {
            let words = html! { a href="/outbox" { "Sink " (text(sink)) } ": " (text(&trouble.found)) };
            let title = if open.is_none() { "Look at the outbox".to_owned() } else { is_open() };
            return Fact { mood: Mood::Look, title, words };
        }
        if !open.is_none() {
            let are = if open.letters == 1 && !open.or_more { "dead letter is" } else { "dead letters are" };
            let oldest = self.open.iter().map(|group| group.first).min();
            let words = html! {
                a href="/dead-letters" { (counted(open)) " " (are) " open" }
                @if let Some(oldest) = oldest { ", the oldest came " (ago(oldest, self.at)) }
                "."
            };
            return Fact { mood: Mood::Look, title: is_open(), words };
        }
        let words = html! { "All is well: no dead letter is open." };
        Fact { mood: Mood::Well, title: "All is well".to_owned(), words }
    }

    fn sent_in_all(&self) -> String {
        let messages = self.sent.iter().map(|sent| sent.messages).sum();
        format!("{}{}", number(messages), if self.sent.iter().any(|sent| sent.or_more) { "+" } else { "" })
    }

    fn tiles(&self, now: OffsetDateTime) -> Markup {
        let open = self.open_letters();
        let last = self.open.iter().map(|group| group.last).max();
        html! {
            @if let Some(loading) = &self.loading { dl.tiles { (loading.tiles()) } }
            dl.tiles {
                (tile("Open dead letters", html! { a href="/dead-letters?status=open" { (counted(open)) } }, html! {
                    @match last { Some(last) => { "the newest " (ago(last, now)) }, None => { "nothing waits for you" } }
                }))
                (tile("Sent in the last hour", html! { (self.sent_in_all()) }, html! { "and recorded since" }))
                (tile("Recorded last", html! { @match self.newest { Some(at) => { (ago(at, now)) }, None => { "never" } } }, html! {
                    "of those that were sent last"
                }))
                @if let Some(outbox) = &self.outbox {
                    @let backlog: i64 = outbox.sinks.iter().map(|sink| sink.backlog.events).sum();
                    @let is_exact = outbox.sinks.iter().all(|sink| sink.backlog.is_exact);
                    (tile("Events that wait", html! {
                        a href="/outbox" { (number(u64::try_from(backlog).unwrap_or(0))) @if !is_exact { "+" } }
                    }, html! { "for " (plural(outbox.sinks.len() as u64, "sink")) }))
                }
                (tile("Last audit", html! {
                    a href="/audit" { @match &self.audit { Some(run) => { (run.in_a_word()) }, None => { "none" } } }
                }, html! {
                    @match &self.audit { Some(run) => { (ago(run.begun, now)) }, None => { "since this console began" } }
                }))
            }
        }
    }

    fn chart(&self) -> Markup {
        let sent: Vec<u64> = self.sent.iter().map(|sent| sent.messages).collect();
        let most = self.sent.iter().max_by_key(|sent| sent.messages);
        let most = most.map_or_else(
            || "0".to_owned(),
            |sent| format!("{}{}", number(sent.messages), if sent.or_more { "+" } else { "" }),
        );
        let letters: u64 = self.became.iter().sum();
        let words = format!("{} messages sent in the last hour, at most {most} a minute", self.sent_in_all());
        html! {
            section {
                h2 { "The last hour" }
                figure {
                    (bars("tall", &words, &[("sent", &sent)]))
                    (bars("short", &format!("{} in the last hour", plural(letters, "dead letter")), &[("dead", &self.became)]))
                    figcaption {
                        span.key.sent { "messages sent, at most " (most) " a minute" }
                        span.key.dead { (plural(letters, "dead letter")) }
                        span.axis { "60 min ago" span { "now" } }
                    }
                }
            }
        }
    }

    fn groups(&self, now: OffsetDateTime) -> Markup {
        html! {
            section {
                h2 { "Open dead letters" }
                @if self.open.is_empty() { (nothing("No dead letter is open.")) } @else {
                    table.stack {
                        (head(&[("What is wrong", ""), ("Letters", "n"), ("First", "ago"), ("Last", "ago")]))
                        tbody {
                            @for group in self.open.iter().take(TOLD) {
                                tr {
                                    td.lead {
                                        a href=(super::groups::letters_of(group, &[])) { (group.code) }
                                        " " span.quiet { (text(field_or_rule(group))) }
                                    }
                                    (cell("Letters", "n", html! { (counted(group.letters)) }))
                                    (cell("First", "", ago(group.first, now)))
                                    (cell("Last", "", ago(group.last, now)))
                                }
                            }
                        }
                    }
                    @if self.open.len() > TOLD { p.more { a href="/dead-letters?status=open" { "All " (self.open.len()) " groups" } } }
                }
            }
        }
    }

    fn actions(&self, now: OffsetDateTime) -> Markup {
        html! {
            @if !self.done.is_empty() {
                section {
                    h2 { "Done last" }
                    ul.done {
                        @for done in &self.done {
                            li {
                                span.when { (ago(done.at, now)) } " "
                                span class={ "badge " (done.action.as_str()) } { (done.action.as_str()) }
                                " " (object_of(done))
                                @if let Some(plan) = done.plan { " in " (plan_link(plan)) }
                                " by " a href=(link("/actions", [("by", &done.role)])) { (text(&done.role)) }
                                @if let Some(person) = done.person.as_ref().filter(|person| **person != done.role) { " (" (text(person)) ")" }
                            }
                        }
                    }
                }
            }
        }
    }
}

impl View for Now {
    fn title(&self) -> String {
        self.worst().title
    }

    fn still(&self) -> Markup {
        html! { h1.unseen { "Now" } }
    }

    fn live(&self, now: OffsetDateTime) -> Markup {
        let Fact { mood, words, .. } = self.worst();
        let more = self.troubles();
        html! {
            (verdict(mood, words))
            @for (sink, trouble) in more.iter().take(TOLD) {
                p.also { strong { (text(sink)) } ": " (text(&trouble.found)) " " span.quiet { (text(&trouble.remedy)) } }
            }
            (self.tiles(now))
            (self.chart())
            div.columns { (self.groups(now)) (self.actions(now)) }
        }
    }

    fn below(&self) -> Markup {
        html! {
            p.aside {
                "Is it safe to restart a loader? Always: what it has in hand comes again, and is recorded once."
            }
        }
    }

    fn json(&self) -> Value {
        let open = self.open_letters();
        let mood = self.worst().mood;
        let troubles = self.troubles();
        let troubles = troubles.iter().map(|(sink, trouble)| {
            json!({"sink": sink, "what": trouble.of.as_str(), "found": trouble.found, "remedy": trouble.remedy})
        });
        json!({
            "at": exact(self.at),
            "state": mood.as_str(),
            "open": {"letters": open.letters, "or_more": open.or_more},
            "groups": self.open.iter().map(|group| group_json(group, self.lately, &self.replays, &self.notes)).collect::<Vec<_>>(),
            "recorded_last": self.newest.map(exact),
            "minutes": self.sent.iter().zip(&self.became).map(|(sent, letters)| {
                json!({"sent": sent.messages, "or_more": sent.or_more, "dead_letters": letters})
            }).collect::<Vec<_>>(),
            "outbox": self.outbox.as_ref().map(outbox_json),
            "loading": self.loading.as_ref().map(Loading::sums_json),
            "look_at": troubles.collect::<Vec<_>>(),
            "actions": self.done.iter().map(action_json).collect::<Vec<_>>(),
            "audit": self.audit.as_ref().map(|run| run.json(false)),
        })
    }
}
