//! Places: what an address means, before anything is looked at.

use axum::extract::Query;
use axum::http::Uri;
use time::OffsetDateTime;

use super::link::{Asked, Wrong, link};
use crate::config::rows;
use crate::message::MessageHash;
use crate::table::dead_letters::{Order, Page, PageEnd, Search, Status};
use crate::table::loaders::LoaderId;
use crate::table::operator_actions;
use crate::table::plan_id::PlanId;

/// A page of ours.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// How everything stands.
    Now,
    /// Who loads.
    Loaders,
    /// One loader.
    Loader(LoaderId),
    /// Dead letters in groups.
    Groups(Groups),
    /// Single dead letters.
    Letters(Letters),
    /// All dead letters that match, before something is done with them.
    Every(Letters),
    /// One message's dead letters.
    Letter(MessageHash),
    /// The replays that were drawn up.
    Plans,
    /// One of them.
    Plan(PlanId),
    /// The outbox.
    Outbox,
    /// What operators did.
    Actions(Actions),
    /// The proof, and where a message is.
    Audit(Sought),
    /// What the loaders ask of the queues, and what that costs.
    Costs,
    /// What a check finds.
    Check,
}

/// In which form a page is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// For people.
    Html,
    /// The same for scripts.
    Json,
    /// A list as a table.
    Csv,
    /// A list as objects, one a line.
    Ndjson,
}

/// Which groups.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    pub(super) search: Search,
    /// As it was asked for.
    pub(super) given: Vec<(&'static str, String)>,
}

/// Which letters.
#[derive(Clone, Debug)]
pub(super) struct Letters {
    pub(super) page: Page,
    /// As it was asked for, but for where the page begins.
    pub(super) given: Vec<(&'static str, String)>,
}

/// Which actions.
#[derive(Clone, Debug)]
pub(super) struct Actions {
    pub(super) filter: operator_actions::Filter,
    /// As it was asked for, but for where the page begins.
    pub(super) given: Vec<(&'static str, String)>,
}

/// Which message, if one is looked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Sought {
    /// Its hash or MessageId.
    pub(super) message: Option<String>,
    /// About when it was sent, if somebody knows.
    pub(super) sent: Option<OffsetDateTime>,
    /// As it was asked for.
    pub(super) given: Vec<(&'static str, String)>,
}

/// An address means nothing here.
#[derive(Debug)]
pub(super) enum NoPlace {
    /// There is no such page.
    Unknown,
    /// There is, and what is asked for is not understood.
    Wrong(Vec<Wrong>),
}

/// How many letters a page has.
const PAGE: u64 = 50;
/// How many letters a file has at most.
pub(super) const FILE: u64 = 10_000;

/// What a page is told about an act, which asks for nothing.
pub(super) const TOLD: &str = "told";

/// The rows of an address: what it is, and its form.
pub(super) fn read(uri: &Uri) -> Result<(Place, Form), NoPlace> {
    let path = uri.path();
    let (path, form) = [(".json", Form::Json), (".csv", Form::Csv), (".ndjson", Form::Ndjson)]
        .into_iter()
        .find_map(|(ending, form)| Some((path.strip_suffix(ending)?, form)))
        .unwrap_or((path, Form::Html));
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| NoPlace::Unknown)?;
    let mut asked = Asked::new(pairs.into_iter().filter(|(name, _)| name != TOLD));
    let is_list = matches!(path, "/dead-letters/list");
    if matches!(form, Form::Csv | Form::Ndjson) && !is_list {
        return Err(NoPlace::Unknown);
    }
    let place = match path {
        "/" if form == Form::Html => Place::Now,
        "/now" if form == Form::Json => Place::Now,
        "/loaders" => Place::Loaders,
        "/costs" => Place::Costs,
        "/dead-letters" => Place::Groups(groups(&mut asked)),
        "/dead-letters/list" => Place::Letters(letters(&mut asked)),
        "/dead-letters/all" => {
            let all = letters(&mut asked);
            if all.page.message_id.is_some() {
                asked.note("message-id", "is of one letter", "act from its page");
            }
            Place::Every(all)
        }
        "/plans" => Place::Plans,
        "/outbox" => Place::Outbox,
        "/actions" => Place::Actions(actions(&mut asked)),
        "/audit" => Place::Audit(sought(&mut asked)),
        "/check" => Place::Check,
        _ => plan(path).or_else(|| letter(path)).or_else(|| loader(path)).ok_or(NoPlace::Unknown)?,
    };
    let wrong = asked.wrong();
    if wrong.is_empty() { Ok((place, form)) } else { Err(NoPlace::Wrong(wrong)) }
}

/// A hash behind `/dead-letters/`.
fn letter(path: &str) -> Option<Place> {
    path.strip_prefix("/dead-letters/")?.parse().ok().map(Place::Letter)
}

/// The digits of a loader behind `/loaders/`.
pub(super) fn loader(path: &str) -> Option<Place> {
    let digits = path.strip_prefix("/loaders/")?;
    let is_id = digits.len() == 12 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    is_id.then(|| Place::Loader(LoaderId::of(digits)))
}

/// A number behind `/plans/`.
fn plan(path: &str) -> Option<Place> {
    path.strip_prefix("/plans/")?.parse().ok().map(Place::Plan)
}

fn search(asked: &mut Asked, unasked: Option<Status>) -> Search {
    let code = asked.read("code", &rows::CODE);
    let field = asked.read("field", &rows::WRONG_FIELD);
    let status = asked.read("status", &rows::STATUS).map_or(unasked, |status| status.0);
    let queue = asked.read("queue", &rows::OF_QUEUE);
    let since = asked.read("since", &rows::SINCE);
    let until = asked.read("until", &rows::UNTIL);
    if since.zip(until).is_some_and(|(since, until)| since >= until) {
        asked.note("until", "is not later than since", "give a later one");
    }
    Search { code, field, status, queue, since, until }
}

fn groups(asked: &mut Asked) -> Groups {
    let search = search(asked, None);
    Groups { search, given: asked.given() }
}

/// A search, as a page or an act means it.
pub(super) fn letters(asked: &mut Asked) -> Letters {
    let search = search(asked, Some(Status::Open));
    let message_id = asked.read("message-id", &rows::MESSAGE_ID);
    let order = asked.read("sort", &rows::SORT).unwrap_or(Order::Newest);
    let given = asked.given();
    let after = asked.read("after", &rows::AFTER);
    Letters { page: Page { search, message_id, order, after, limit: PAGE }, given }
}

fn actions(asked: &mut Asked) -> Actions {
    let by = asked.read("by", &rows::DONE_BY);
    let since = asked.read("since", &rows::DONE_SINCE);
    let action = asked.read("action", &rows::DONE_ACTION);
    let hash = asked.text("letter");
    let given = asked.given();
    let hashes = hash.and_then(|hash| match hash.parse() {
        Ok(hash) => Some(vec![hash]),
        Err(_) => {
            asked.note("letter", "is not a letter's hash", "give all of its 64 hexadecimal digits");
            None
        }
    });
    let before = asked.text("before").and_then(|before| match before.parse() {
        Ok(before) => Some(before),
        Err(_) => {
            asked.note("before", "is not the number of an action", "begin with the first page");
            None
        }
    });
    Actions { filter: operator_actions::Filter { hashes, by, since, action, plan: None, before }, given }
}

fn sought(asked: &mut Asked) -> Sought {
    let message = asked.read("message", &rows::MESSAGE_ID);
    let sent = asked.read("sent", &rows::SINCE);
    Sought { message, sent, given: asked.given() }
}

impl Place {
    /// Its path, without an ending.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Now => "/".to_owned(),
            Self::Loaders => "/loaders".to_owned(),
            Self::Loader(id) => format!("/loaders/{id}"),
            Self::Costs => "/costs".to_owned(),
            Self::Groups(_) => "/dead-letters".to_owned(),
            Self::Letters(_) => "/dead-letters/list".to_owned(),
            Self::Every(_) => "/dead-letters/all".to_owned(),
            Self::Letter(hash) => format!("/dead-letters/{hash}"),
            Self::Plans => "/plans".to_owned(),
            Self::Plan(plan) => format!("/plans/{plan}"),
            Self::Outbox => "/outbox".to_owned(),
            Self::Actions(_) => "/actions".to_owned(),
            Self::Audit(_) => "/audit".to_owned(),
            Self::Check => "/check".to_owned(),
        }
    }

    /// Its address in another form: all that was asked for is asked for there.
    pub(super) fn in_form(&self, ending: &str) -> String {
        let path = match self {
            Self::Now => "/now".to_owned(),
            Self::Loaders
            | Self::Loader(_)
            | Self::Costs
            | Self::Groups(_)
            | Self::Letters(_)
            | Self::Every(_)
            | Self::Letter(_)
            | Self::Plans
            | Self::Plan(_)
            | Self::Outbox
            | Self::Actions(_)
            | Self::Audit(_)
            | Self::Check => self.path(),
        };
        link(&format!("{path}{ending}"), self.asked_for())
    }

    fn asked_for(&self) -> Vec<(&'static str, String)> {
        let beginning = |name, value: Option<String>| value.map(|value| (name, value));
        match self {
            Self::Now
            | Self::Loaders
            | Self::Loader(_)
            | Self::Costs
            | Self::Outbox
            | Self::Check
            | Self::Letter(_)
            | Self::Plans
            | Self::Plan(_) => Vec::new(),
            Self::Groups(groups) => groups.given.clone(),
            Self::Letters(letters) | Self::Every(letters) => {
                let after = beginning("after", letters.page.after.map(page_end));
                letters.given.iter().cloned().chain(after).collect()
            }
            Self::Actions(actions) => {
                let before = beginning("before", actions.filter.before.map(|before| before.to_string()));
                actions.given.iter().cloned().chain(before).collect()
            }
            Self::Audit(sought) => sought.given.clone(),
        }
    }
}

/// The end of a page, as the next one names it.
pub(super) fn page_end(end: PageEnd) -> String {
    format!("{}/{}", crate::readable::exact(end.dead_lettered_at), end.hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(address: &str) -> Result<(Place, Form), NoPlace> {
        read(&address.parse().unwrap())
    }

    #[test]
    fn every_page_has_an_address_and_its_json_another() {
        let hash = "76ae79cd".repeat(8);
        for address in [
            "/",
            "/loaders",
            "/loaders/0123456789ab",
            "/costs",
            "/dead-letters?code=invalid_ip&field=ip&status=all&queue=logins&since=24h&until=1h",
            "/dead-letters/list?code=invalid_ip&message-id=a&sort=oldest",
            "/dead-letters/all?code=invalid_ip",
            &format!("/dead-letters/{hash}"),
            "/plans",
            "/plans/12",
            "/outbox",
            "/actions?by=ada&since=7d&action=revealed",
            "/audit?message=a&sent=2h",
            "/check",
        ] {
            let (at, form) = place(address).unwrap();
            assert_eq!((at.in_form("").replacen("/now", "/", 1).as_str(), form), (address, Form::Html));
            let (beside, form) = place(&at.in_form(".json")).unwrap();
            assert_eq!((beside.in_form(""), form), (at.in_form(""), Form::Json));
        }
        assert!(matches!(place("/dead-letters/list.csv"), Ok((Place::Letters(_), Form::Csv))));
        for address in [
            "/nothing",
            "/dead-letters/76ae",
            "/plans/x",
            "/loaders/012345",
            "/loaders/0123456789AB",
            "/check.csv",
            "/now",
            "/.json",
        ] {
            assert!(matches!(place(address), Err(NoPlace::Unknown)), "{address}");
        }
    }

    #[test]
    fn a_filter_that_is_not_understood_is_no_page() {
        for address in
            ["/dead-letters?code=invalid_pi", "/dead-letters?stauts=open", "/check?x=1", "/actions?letter=76ae"]
        {
            assert!(matches!(place(address), Err(NoPlace::Wrong(_))), "{address}");
        }
        assert!(place("/check?told=x").is_ok());
    }
}
