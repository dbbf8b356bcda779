//! How all loaders stand: what the first page and the page of the loaders say of them.

use std::collections::BTreeSet;

use maud::{Markup, html};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::console::pieces::{Mood, ago, counted_signed, plural, text, tile};
use crate::database::{DatabaseError, Transaction};
use crate::message::queue_name;
use crate::records::loaders::{Standing, loader_json, pause_json};
use crate::table::loader_pauses::{self, InForce, Target};
use crate::table::loaders::{self, Seen, State};

/// All loaders of a day, and the pauses that are in force.
pub(super) struct Loading {
    pub(super) loaders: Vec<Seen>,
    pub(super) pauses: Vec<InForce>,
}

/// Something that everybody should know of.
pub(super) struct Fact {
    pub(super) mood: Mood,
    /// In a few words, for the browser's tab.
    pub(super) title: String,
    /// In a sentence.
    pub(super) words: Markup,
}

impl Loading {
    pub(super) async fn read(seen: &Transaction) -> Result<Self, DatabaseError> {
        Ok(Self { loaders: loaders::read(seen).await?, pauses: loader_pauses::read(seen).await? })
    }

    pub(super) fn alive(&self) -> impl Iterator<Item = &Seen> {
        self.loaders.iter().filter(|loader| !Standing::of(loader).is_over())
    }

    fn gone(&self) -> usize {
        self.loaders.iter().filter(|loader| Standing::of(loader) == Standing::Gone).count()
    }

    /// The versions of those that are alive.
    fn versions(&self) -> BTreeSet<&str> {
        self.alive().map(|loader| loader.beat.version.as_str()).collect()
    }

    fn received_per_second(&self) -> f64 {
        self.alive().map(|loader| loader.beat.received_per_second).sum()
    }

    fn loaded_per_second(&self) -> f64 {
        self.alive().map(|loader| loader.beat.loaded_per_second).sum()
    }

    fn in_hand(&self) -> i64 {
        self.alive().map(|loader| loader.beat.in_hand).sum()
    }

    fn worst_lag(&self, of: impl Fn(&Seen) -> Option<f64>) -> Option<f64> {
        self.alive().filter_map(of).max_by(f64::total_cmp)
    }

    fn lag_p99(&self) -> Option<f64> {
        self.worst_lag(|loader| loader.beat.lag_p99)
    }

    /// The worst fact; none: they load, or none was ever started.
    pub(super) fn worst(&self, now: OffsetDateTime) -> Option<Fact> {
        self.held_up(State::Full)
            .or_else(|| self.held_up(State::Storm))
            .or_else(|| self.paused(now))
            .or_else(|| self.held_up(State::QueueAway))
            .or_else(|| self.all_gone(now))
    }

    /// That loaders are in this state, which holds them up.
    fn held_up(&self, state: State) -> Option<Fact> {
        let held: Vec<&Seen> = self.alive().filter(|loader| loader.beat.state == state).collect();
        let first = held.first()?;
        let (title, why) = match state {
            State::Full => ("Dead letters are full", "dead letters have taken their quota, and little is received"),
            State::Storm => ("Too many are no logins", "too many messages are no logins, and little is received"),
            State::QueueAway => ("A queue is away", "the queue does not answer"),
            State::Stopped | State::Ending | State::Paused | State::Running => return None,
        };
        let words = html! {
            a href={ "/loaders/" (first.beat.id) } { (text(&place_of(first))) }
            @if held.len() > 1 { " and " a href="/loaders" { (plural(held.len() as u64 - 1, "other loader")) } }
            ": " (why) "."
        };
        Some(Fact { mood: Mood::Look, title: title.to_owned(), words })
    }

    fn paused(&self, now: OffsetDateTime) -> Option<Fact> {
        let first = self.pauses.first()?;
        let words = html! {
            a href="/loaders" { "Receiving is paused" }
            ": " (target(&first.target))
            @if self.pauses.len() > 1 { " and " (self.pauses.len() - 1) " more" }
            ", since " (ago(first.since, now)) ": “" (text(&first.reason)) "”."
        };
        Some(Fact { mood: Mood::Look, title: "Receiving is paused".to_owned(), words })
    }

    /// That nobody loads, and somebody has not said that it ends.
    fn all_gone(&self, now: OffsetDateTime) -> Option<Fact> {
        let last = self.loaders.iter().filter(|loader| Standing::of(loader) == Standing::Gone);
        let last = last.map(|loader| loader.seen_at).max()?;
        if self.alive().next().is_some() {
            return None;
        }
        let words = html! { a href="/loaders" { "No loader is alive" } ": the last was seen " (ago(last, now)) "." };
        Some(Fact { mood: Mood::Look, title: "No loader is alive".to_owned(), words })
    }

    /// How many are alive, which versions, how much goes in and out, and how late.
    pub(super) fn tiles(&self) -> Markup {
        let (alive, gone) = (self.alive().count(), self.gone());
        let versions: Vec<&str> = self.versions().into_iter().collect();
        let late = |lag: Option<f64>| lag.map_or_else(|| "–".to_owned(), seconds_words);
        html! {
            (tile("Loaders alive", html! { a href="/loaders" { (alive) } }, html! {
                @match versions.as_slice() {
                    [] => { "none" }
                    [version] => { "version " (text(version)) }
                    several => { "versions " (text(&several.join(", "))) }
                }
                @if gone > 0 { ", " (gone) " gone" }
            }))
            (tile("Received a second", html! { (rate(self.received_per_second())) }, html! { (counted_signed(self.in_hand(), "delivery", "deliveries")) " in hand" }))
            (tile("Loaded a second", html! { (rate(self.loaded_per_second())) }, html! { "since each wrote its row before" }))
            (tile("Worst lag", html! { (late(self.lag_p99())) }, html! {
                @if self.lag_p99().is_none() { "no login came lately" } @else {
                    "99 of 100; half within " (late(self.worst_lag(|loader| loader.beat.lag_p50)))
                }
            }))
        }
    }

    /// The sums for scripts.
    pub(super) fn sums_json(&self) -> Value {
        json!({
            "alive": self.alive().count(),
            "gone": self.gone(),
            "versions": self.versions(),
            "received_per_second": self.received_per_second(),
            "loaded_per_second": self.loaded_per_second(),
            "in_hand": self.in_hand(),
            "lag_p99_seconds": self.lag_p99(),
            "pauses": self.pauses.iter().map(pause_json).collect::<Vec<_>>(),
        })
    }

    /// Every loader for scripts.
    pub(super) fn loaders_json(&self) -> Vec<Value> {
        self.loaders.iter().map(|loader| loader_json(loader, &self.pauses)).collect()
    }
}

/// Where a loader runs, by which people call it.
pub(super) fn place_of(loader: &Seen) -> String {
    format!("{}/{}", loader.beat.host, loader.beat.pid)
}

/// How a loader stands.
pub(super) fn standing(loader: &Seen) -> Markup {
    let standing = Standing::of(loader);
    let class = match standing {
        Standing::Says(State::Running) => "ok",
        Standing::Gone => "error",
        Standing::Pausing => "warning",
        Standing::Says(State::Stopped | State::Ending) => "",
        Standing::Says(State::Paused | State::Full | State::Storm | State::QueueAway) => "warning",
    };
    html! { span class={ "badge " (class) } { (standing.as_str().replace('_', " ")) } }
}

/// A queue by its name; the ARN where somebody looks for it.
pub(super) fn queue(arn: &str) -> Markup {
    html! { span.queue title=(text(arn)) { (text(queue_name(arn))) } }
}

/// Which loaders a pause is of.
pub(super) fn target(target: &Target) -> Markup {
    html! {
        @match target {
            Target::All => { "all loaders" }
            Target::Queue(arn) => { "the queue " (queue(arn)) }
            Target::Loader(id) => { "the loader " a.id href={ "/loaders/" (id) } { (text(id)) } }
        }
    }
}

/// `0`, `0.4`, `1,234`.
pub(super) fn rate(a_second: f64) -> String {
    match a_second {
        none if none <= 0.0 => "0".to_owned(),
        few if few < 100.0 => format!("{few:.1}"),
        many => crate::console::pieces::number(many.round() as u64),
    }
}

/// `40 ms`, `1.2 s`, `95 s`, `12 min`.
pub(super) fn seconds_words(seconds: f64) -> String {
    match seconds.max(0.0) {
        short if short < 1.0 => format!("{:.0} ms", short * 1e3),
        short if short < 10.0 => format!("{short:.1} s"),
        long => crate::console::pieces::length(time::Duration::seconds_f64(long.min(1e9))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_lengths_have_as_many_digits_as_one_reads() {
        assert_eq!([0.0, 0.04, 12.34, 1_234.5].map(rate), ["0", "0.0", "12.3", "1,235"]);
        assert_eq!([0.04, 1.24, 95.4, 700.0].map(seconds_words), ["40 ms", "1.2 s", "95 s", "11 min"]);
    }
}
