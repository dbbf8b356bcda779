//! All dead letters that match, before something is done with them: how many, which, and until when.

use maud::{Markup, html};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{NoPage, View, replaying};
use crate::console::acts::AS_DELIVERED;
use crate::console::link::link;
use crate::console::pieces::{counted, facts, nothing, number, once, reason, text};
use crate::console::place::Letters as Asked;
use crate::console::session::Session;
use crate::console::{Console, requeuing};
use crate::readable::{exact, seconds};
use crate::table::dead_letters::{Counted, Search, Status, count_some};
use crate::table::powers::Powers;

/// What is done with letters of this status, if anything is.
fn act_of(status: Option<Status>) -> Option<(&'static str, &'static str)> {
    match status {
        Some(Status::Open) => Some(("discard", "Discard")),
        Some(Status::Discarded) => Some(("reopen", "Reopen")),
        Some(Status::Replayed | Status::Absorbed) | None => None,
    }
}

/// What a form is called that sends letters back.
pub(super) const SEND_BACK: &str = "Send back to the queue";
/// What it does.
pub(super) const SENT_BACK: &str = "The message is sent again, signed as the one that it was. A loader judges it anew, and loads it \
                                    where it can; until then the letter stays open.";

/// Whether edited letters go back as they were delivered.
pub(super) fn delivered_again() -> Markup {
    html! { label.check { input type="checkbox" name=(AS_DELIVERED) value="on"; " Send what was delivered, not what was edited and tried last" } }
}

/// The most letters that are changed at once.
pub(in crate::console) const MOST: u64 = 10_000;

/// All letters that match now: those that come later are not meant.
pub(super) struct Every {
    at: OffsetDateTime,
    asked: Asked,
    all: Counted,
    replays: bool,
    requeues: bool,
}

pub(super) async fn look(
    asked: &Asked,
    console: &Console,
    session: &Session,
    powers: &Powers,
) -> Result<Every, NoPage> {
    if !powers.resolves {
        return Err(NoPage::Forbidden("turnstile_operator"));
    }
    let at = OffsetDateTime::now_utc();
    let search = until(&asked.page.search, at);
    let all = session.database.snapshot(async |seen| count_some(seen, &search).await).await?;
    let has_keys = console.keys.is_some();
    Ok(Every {
        at,
        asked: asked.clone(),
        all,
        replays: powers.replays && has_keys,
        requeues: powers.requeues && has_keys,
    })
}

/// A search that means nothing that comes after this moment.
fn until(search: &Search, at: OffsetDateTime) -> Search {
    Search { until: Some(search.until.unwrap_or(at)), ..search.clone() }
}

impl Every {
    /// What is asked for, with both of its times as they were when this was shown: the form must mean what it says.
    fn frozen(&self) -> Vec<(&'static str, String)> {
        let search = until(&self.asked.page.search, self.at);
        let others = self.asked.given.iter().filter(|(name, _)| !["since", "until", "sort"].contains(name)).cloned();
        let times = [("since", search.since), ("until", search.until)];
        others.chain(times.into_iter().filter_map(|(name, time)| Some((name, exact(time?))))).collect()
    }

    /// The form of an act, and what it says before it asks for the reason.
    fn form(&self, act: &str, verb: &str, words: &Markup) -> Markup {
        let (reason_id, letters_id) = (format!("reason-{act}"), format!("letters-{act}"));
        html! {
            form.act method="post" action={ "/dead-letters/all/" (act) } {
                (once())
                @for (name, value) in self.frozen() { input type="hidden" name=(name) value=(value); }
                h3 { (verb) }
                (words)
                (reason(&reason_id, true))
                label for=(letters_id) { "Type the number of letters: " strong { (self.all.letters) } }
                input id=(letters_id) name="letters" type="text" inputmode="numeric" required autocomplete="off" pattern="[0-9]+";
                div.buttons {
                    button.danger[act == "discard"] type="submit" { (verb) " (" (counted(self.all)) ")" }
                    a href=(link("/dead-letters/list", self.asked.given.clone())) { "Back" }
                }
                p.note { "Nothing is deleted. What comes from now on is not meant, and each letter is noted in the history." }
            }
        }
    }

    fn sending_back(&self) -> Markup {
        html! {
            @if self.all.letters <= requeuing::MOST {
                (self.form("requeue", SEND_BACK, &html! { p { (SENT_BACK) } (delivered_again()) }))
            } @else {
                div.act {
                    h3 { (SEND_BACK) }
                    p { "Here at most " (number(requeuing::MOST)) " letters are sent back at once. " code { "turnstile dead-letters requeue" } " sends back any number." }
                }
            }
        }
    }
}

impl View for Every {
    fn title(&self) -> String {
        format!("{} letters · All that match", counted(self.all))
    }

    fn still(&self) -> Markup {
        let search = until(&self.asked.page.search, self.at);
        let any =
            |text_given: &Option<String>| html! { (text_given.as_deref().map_or_else(|| "any".to_owned(), text)) };
        html! {
            header.page { h1 { "All that match" } }
            (facts(&[
                ("Status", html! { (search.status.map_or("any", Status::as_str)) }),
                ("Code", any(&search.code)),
                ("Field", any(&search.field)),
                ("Queue", any(&search.queue)),
                ("Since", html! { (search.since.map_or_else(|| "the beginning".to_owned(), seconds)) }),
                ("Until", html! { (search.until.map(seconds).unwrap_or_default()) }),
            ]))
            @match act_of(search.status) {
                None => { (nothing("Open letters are discarded, and discarded ones opened again: choose one of the two.")) }
                Some(_) if self.all.is_none() => { (nothing("No letter matches.")) }
                Some(_) if self.all.or_more => { (nothing("More than 10,000 letters match: narrow the filters, or the time.")) }
                Some((act, verb)) => {
                    div.acts {
                        @if act == "discard" && self.replays { (replaying::form(&replaying::Of::All(&self.frozen()))) }
                        @if act == "discard" && self.requeues { (self.sending_back()) }
                        (self.form(act, verb, &html! {}))
                    }
                }
            }
        }
    }

    fn live(&self, _: OffsetDateTime) -> Markup {
        html! {}
    }

    fn json(&self) -> Value {
        json!({
            "at": exact(self.at),
            "act": act_of(self.asked.page.search.status).map(|(act, _)| act),
            "letters": self.all.letters,
            "or_more": self.all.or_more,
            "asked": self.frozen().into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect::<serde_json::Map<_, _>>(),
        })
    }
}
