//! The pieces that pages are made of.

use maud::{Markup, html};
use time::{Duration, OffsetDateTime};

use crate::message::MessageHash;
use crate::message::queue_name;
use crate::readable::{exact, printable, seconds};
use crate::table::dead_letters::{Counted, Status};
use crate::table::operator_actions::Done;
use crate::table::plan_id::PlanId;

/// How long ago a time was, with the time itself where somebody looks for it.
pub(super) fn ago(time: OffsetDateTime, now: OffsetDateTime) -> Markup {
    html! { time datetime=(exact(time)) title=(seconds(time)) { (in_relation(time, now)) } }
}

/// A time, and how long ago it was.
pub(super) fn moment(time: OffsetDateTime, now: OffsetDateTime) -> Markup {
    html! {
        time.moment datetime=(exact(time)) {
            span { (seconds(time)) }
            " "
            small { (in_relation(time, now)) }
        }
    }
}

/// `3 min ago`, `in 30 s`.
pub(super) fn in_relation(time: OffsetDateTime, now: OffsetDateTime) -> String {
    let past = now - time;
    match past.whole_seconds() {
        0 => "now".to_owned(),
        1.. => format!("{} ago", length(past)),
        _ => format!("in {}", length(-past)),
    }
}

/// `12 s`, `3 min`, `5 h`, `4 days`.
pub(super) fn length(length: Duration) -> String {
    match length.whole_seconds() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// `12,345`.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The same of a position.
pub(super) fn signed(value: i64) -> String {
    let grouped = number(value.unsigned_abs());
    if value < 0 { format!("-{grouped}") } else { grouped }
}

/// `10,000+`.
pub(super) fn counted(counted: Counted) -> String {
    format!("{}{}", number(counted.letters), if counted.or_more { "+" } else { "" })
}

/// `1 letter`, `12 letters`.
pub(super) fn plural(of: u64, what: &str) -> String {
    format!("{} {what}{}", number(of), if of == 1 { "" } else { "s" })
}

/// `1 delivery`, `12 deliveries`.
pub(super) fn counted_signed(of: i64, one: &str, several: &str) -> String {
    format!("{} {}", signed(of), if of == 1 { one } else { several })
}

/// `3.4 MiB`.
pub(super) fn size(bytes: i64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// A text of somebody's, in which nothing can pass for something else.
pub(super) fn text(text: &str) -> String {
    printable(text.as_bytes())
}

/// Where a letter stands.
pub(super) fn status(status: Status) -> Markup {
    html! { span class={ "badge " (status.as_str()) } { (status.as_str()) } }
}

/// A letter's hash, which leads to it.
pub(super) fn hash_link(hash: MessageHash) -> Markup {
    let hash = hash.to_string();
    html! { a.hash href={ "/dead-letters/" (hash) } title=(hash) { (hash.get(..8).unwrap_or(&hash)) "…" } }
}

/// What an action was done with: a letter, letters, or loaders.
pub(super) fn object_of(done: &Done) -> Markup {
    match (done.letter, &done.subject) {
        (Some(key), _) => hash_link(key.hash),
        (None, Some(subject)) => subject_of(subject),
        (None, None) => html! { span.quiet { (plural(u64::try_from(done.letters).unwrap_or(0), "letter")) } },
    }
}

/// What was paused or resumed: the database writes `all`, `queue ARN` or `loader ID`.
fn subject_of(subject: &str) -> Markup {
    html! {
        @match subject.split_once(' ') {
            Some(("loader", id)) => { "loader " a.id href={ "/loaders/" (text(id)) } { (text(id)) } }
            Some(("queue", arn)) => { "queue " span title=(text(arn)) { (text(queue_name(arn))) } }
            Some(_) | None if subject == "all" => { "all loaders" }
            Some(_) | None => { (text(subject)) }
        }
    }
}

/// The plan that an action was a part of.
pub(super) fn plan_link(plan: PlanId) -> Markup {
    html! { a href={ "/plans/" (plan) } { "plan " (plan) } }
}

/// A cell of a table, which says its column's name where columns do not fit beside each other.
pub(super) fn cell(column: &str, class: &str, value: Markup) -> Markup {
    html! { td class=(class) data-label=(column) { (value) } }
}

/// The head of a table: names, and which of them are of numbers.
pub(super) fn head(columns: &[(&str, &str)]) -> Markup {
    html! { thead { tr { @for (name, class) in columns { th scope="col" class=(class) { (name) } } } } }
}

/// Facts, each under its name.
pub(super) fn facts(facts: &[(&str, Markup)]) -> Markup {
    html! {
        dl.facts {
            @for (name, fact) in facts { div { dt { (name) } dd { (fact) } } }
        }
    }
}

/// A number that stands for itself.
pub(super) fn tile(name: &str, value: Markup, below: Markup) -> Markup {
    html! { div.tile { dt { (name) } dd { strong { (value) } span.below { (below) } } } }
}

/// Nothing to show, in words.
pub(super) fn nothing(words: &str) -> Markup {
    html! { p.nothing { (words) } }
}

/// How good something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mood {
    /// As it should be.
    Well,
    /// It is not known yet.
    Busy,
    /// Somebody should look.
    Look,
    /// Something is broken.
    Bad,
}

impl Mood {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Busy => "busy",
            Self::Look => "look",
            Self::Bad => "bad",
        }
    }

    /// Colour alone tells nobody anything.
    fn sign(self) -> &'static str {
        match self {
            Self::Well => "✓",
            Self::Busy => "…",
            Self::Look => "!",
            Self::Bad => "✕",
        }
    }
}

/// The sentence at the top of a page.
pub(super) fn verdict(mood: Mood, words: Markup) -> Markup {
    html! {
        p class={ "verdict " (mood.as_str()) } { span.sign aria-hidden="true" { (mood.sign()) } span { (words) } }
    }
}

/// What the database or a job says is wrong, and what to do about it.
pub(super) fn trouble(found: &str, remedy: Option<&str>) -> Markup {
    html! {
        div.trouble role="alert" {
            p { (text(found)) }
            @if let Some(remedy) = remedy { p.remedy { (text(remedy)) } }
        }
    }
}

/// Bars over time: one set over another, drawn by the same measure. `words` say it to those who do not see it.
pub(super) fn bars(class: &str, words: &str, sets: &[(&str, &[u64])]) -> Markup {
    const HEIGHT: f64 = 48.0;
    let most = sets.iter().flat_map(|(_, values)| values.iter()).copied().max().unwrap_or(0).max(1);
    let bars = sets.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
    let width = bars * 4;
    // What is little is seen, too.
    let height = |value: u64| if value == 0 { 0.0 } else { (value as f64 / most as f64 * HEIGHT).max(1.5) };
    html! {
        svg class={ "bars " (class) } viewBox={ "0 0 " (width.max(4)) " 48" } preserveAspectRatio="none" role="img" aria-label=(words) {
            @for (name, values) in sets {
                g class=(name) {
                    @for (at, value) in values.iter().enumerate() {
                        @if *value > 0 {
                            rect x=(at * 4) y=(format!("{:.1}", HEIGHT - height(*value))) width="3" height=(format!("{:.1}", height(*value))) {}
                        }
                    }
                }
            }
        }
    }
}

/// The hidden name of one filling of a form: sent twice, it is done once.
pub(super) fn once() -> Markup {
    use base64::Engine as _;

    let once = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>());
    html! { input type="hidden" name="once" value=(once); }
}

/// Where somebody says why, which may be needed.
pub(super) fn reason(id: &str, is_required: bool) -> Markup {
    reason_called(id, "Reason", is_required)
}

/// The same under another name.
pub(super) fn reason_called(id: &str, name: &str, is_required: bool) -> Markup {
    html! {
        label for=(id) { (name) }
        input id=(id) name="reason" type="text" required[is_required] maxlength="500" autocomplete="off"
            placeholder="Kept in the history; nothing personal";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lengths_are_written_for_people() {
        for (value, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(number(value), text);
        }
        assert_eq!((signed(-1_234), size(512), size(3 << 20)), ("-1,234".into(), "512 B".into(), "3.0 MiB".into()));
        for (seconds, text) in
            [(7, "7 s"), (119, "119 s"), (120, "2 min"), (7_199, "119 min"), (7_200, "2 h"), (259_200, "3 days")]
        {
            assert_eq!(length(Duration::seconds(seconds)), text);
        }
        let now = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(in_relation(now - Duration::MINUTE * 3, now), "3 min ago");
        assert_eq!(in_relation(now + Duration::SECOND * 30, now), "in 30 s");
    }

    #[test]
    fn a_small_bar_is_seen_beside_a_large_one() {
        let drawn = bars("", "x", &[("a", &[0, 1, 100_000])]).into_string();
        assert_eq!(drawn.matches("<rect").count(), 2);
        assert!(drawn.contains("height=\"1.5\"") && drawn.contains("height=\"48.0\""), "{drawn}");
    }
}
