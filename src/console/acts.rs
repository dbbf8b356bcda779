//! What forms do: each once, and then another page is shown.

use std::ffi::OsStr;
use std::panic::resume_unwind;
use std::sync::Arc;

use axum::Form;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::Console;
use super::doing::Told;
use super::link::{Asked, link};
use super::place::{self, Letters, TOLD};
use super::requeuing::{self, send_back};
use super::routes::{no_page, signed_in};
use super::session::Session;
use super::sign_in::to;
use super::view::{MOST, NoPage};
use crate::config::{Kind as _, rows};
use crate::database::{DatabaseError, Transaction};
use crate::discard::{self, Becomes};
use crate::message::MessageHash;
use crate::table::dead_letter_revisions;
use crate::table::dead_letters::{self, Filter, Page, Status, page};
use crate::table::operator_actions::{self, Said};
use crate::table::plan_id::PlanId;
use crate::table::powers::Powers;

/// The longest name of a filling of a form.
const LONGEST_ONCE: usize = 64;
/// The field that says that edited letters are sent back as they were delivered.
pub(super) const AS_DELIVERED: &str = "as-delivered";
/// How many letters are changed in one transaction.
const AT_ONCE: usize = 1_000;

pub(super) type Fields = Vec<(String, String)>;

/// What a form of one letter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Discard,
    Reopen,
    Requeue,
    Reveal,
}

impl Act {
    fn of(word: &str) -> Option<Self> {
        match word {
            "discard" => Some(Self::Discard),
            "reopen" => Some(Self::Reopen),
            "requeue" => Some(Self::Requeue),
            "reveal" => Some(Self::Reveal),
            _ => None,
        }
    }

    /// Whether the database lets the role do it; and who may.
    fn is_for(self, powers: &Powers) -> Result<(), &'static str> {
        match self {
            Self::Discard | Self::Reopen if powers.resolves => Ok(()),
            Self::Requeue if powers.requeues => Ok(()),
            Self::Reveal if powers.reveals => Ok(()),
            Self::Discard | Self::Reopen | Self::Requeue => Err("turnstile_operator"),
            Self::Reveal => Err("turnstile_revealer"),
        }
    }
}

/// Does something with one message's letters.
pub(super) async fn on_letter(
    State(console): State<Arc<Console>>,
    Path((hash, act)): Path<(String, String)>,
    headers: HeaderMap,
    Form(fields): Form<Fields>,
) -> Result<Response, Response> {
    let session = signed_in(&console, &headers, "/")?;
    let (Ok(hash), Some(act)) = (hash.parse::<MessageHash>(), Act::of(&act)) else {
        return Err(no_page(&console, &session, "/", &NoPage::Unknown));
    };
    let back = format!("/dead-letters/{hash}");
    let work = async |once: &str, fields: &mut Asked| {
        act.is_for(&*session.powers().await?).map_err(NoPage::Forbidden)?;
        let Some(reason) = fields.read("reason", &rows::REASON) else { return Ok(without_reason(fields)) };
        match act {
            Act::Reveal => {
                let Ok(revision) = fields.text("revision").map(|plan| plan.parse()).transpose() else {
                    return Ok(Told::Nothing("Nothing was done: there is no such edited body.".to_owned()));
                };
                reveal(&console, &session, (hash, revision), &reason, once).await
            }
            Act::Discard | Act::Reopen | Act::Requeue => {
                on_these(&console, &session, act, vec![hash], session.said(&reason), is_as_delivered(fields)).await
            }
        }
    };
    Ok(once(&console, &session, fields, &back, work).await)
}

/// Does something with all letters that match.
pub(super) async fn on_all(
    State(console): State<Arc<Console>>,
    Path(act): Path<String>,
    headers: HeaderMap,
    Form(fields): Form<Fields>,
) -> Result<Response, Response> {
    let session = signed_in(&console, &headers, "/")?;
    let of_forms = ["once", "reason", "letters", AS_DELIVERED];
    let mut filters = Asked::new(fields.iter().filter(|(name, _)| !of_forms.contains(&name.as_str())).cloned());
    let letters = place::letters(&mut filters);
    let wrong = filters.wrong();
    if !wrong.is_empty() {
        return Err(no_page(&console, &session, "/dead-letters", &NoPage::Wrong(wrong)));
    }
    let fits = |act: &Act| match (act, letters.page.search.status) {
        (Act::Discard | Act::Requeue, status) => status == Some(Status::Open),
        (Act::Reopen, status) => status == Some(Status::Discarded),
        (Act::Reveal, _) => false,
    };
    let act = Act::of(&act).filter(fits);
    let Some(act) = act else { return Err(no_page(&console, &session, "/dead-letters", &NoPage::Unknown)) };
    let back = link("/dead-letters/list", letters.given.clone());
    let work = async |_: &str, fields: &mut Asked| {
        act.is_for(&*session.powers().await?).map_err(NoPage::Forbidden)?;
        let Some(reason) = fields.read("reason", &rows::REASON) else { return Ok(without_reason(fields)) };
        let typed = fields.text("letters").unwrap_or_default();
        let hashes = match meant(&session, act, &letters, &typed).await? {
            Ok(hashes) => hashes,
            Err(told) => return Ok(told),
        };
        on_these(&console, &session, act, hashes, session.said(&reason), is_as_delivered(fields)).await
    };
    Ok(once(&console, &session, fields, &back, work).await)
}

/// Notes something about all letters of a code.
pub(super) async fn note(
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    Form(fields): Form<Fields>,
) -> Result<Response, Response> {
    let session = signed_in(&console, &headers, "/")?;
    let work = async |_: &str, fields: &mut Asked| {
        if !session.powers().await?.notes {
            return Err(NoPage::Forbidden("turnstile_operator"));
        }
        let Some(code) = fields.read("code", &rows::NOTED_CODE) else { return Err(NoPage::Unknown) };
        let Some(reason) = fields.read("reason", &rows::REASON) else { return Ok(without_reason(fields)) };
        let said = session.said(&reason);
        let work = async |transaction: &Transaction| {
            operator_actions::say(transaction, &said).await?;
            operator_actions::note_code(transaction, &code).await
        };
        session.database.transaction(work).await?;
        Ok(Told::Noted(code))
    };
    Ok(once(&console, &session, fields, "/dead-letters", work).await)
}

/// Begins an audit.
pub(super) async fn audit(
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    Form(fields): Form<Fields>,
) -> Result<Response, Response> {
    let session = signed_in(&console, &headers, "/")?;
    let work = async |_: &str, _: &mut Asked| {
        if !session.powers().await?.audits {
            return Err(NoPage::Forbidden("turnstile_auditor"));
        }
        let name = session.name.clone();
        let begun = console.audits.begin(session.database.apart(1), console.settings.audit_deadline, name);
        Ok(if begun { Told::Begun } else { Told::Nothing("An audit is under way already.".to_owned()) })
    };
    Ok(once(&console, &session, fields, "/audit", work).await)
}

/// Does what a filled form asks for, unless it was done already, and shows the page that tells what came of it.
pub(super) async fn once(
    console: &Console,
    session: &Session,
    fields: Fields,
    back: &str,
    work: impl AsyncFnOnce(&str, &mut Asked) -> Result<Told, NoPage>,
) -> Response {
    let mut fields = Asked::new(fields);
    let is_name = |once: &String| {
        once.len() <= LONGEST_ONCE
            && once.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let Some(once) = fields.text("once").filter(is_name) else {
        return no_page(console, session, back, &NoPage::Unknown);
    };
    let _alone = session.acting.lock().await;
    if session.told(&once).is_none() {
        match work(&once, &mut fields).await {
            Ok(told) => session.note(&once, told),
            Err(why) => return no_page(console, session, back, &why),
        }
    }
    let leads_to = session.told(&once).and_then(|told| told.leads_to());
    to(&link(leads_to.as_deref().unwrap_or(back), [(TOLD, once)]))
}

pub(super) fn without_reason(fields: &mut Asked) -> Told {
    let given = fields.text("reason").unwrap_or_default();
    let unfit = rows::REASON.kind.read(OsStr::new(&given)).err();
    let why = unfit.map_or_else(|| "it says nothing".to_owned(), |unfit| format!("it {}", unfit.problem));
    Told::Nothing(format!("Nothing was done: say why in 1 to 500 characters ({why})."))
}

/// Reads a body, as it was delivered or as a plan has edited it, which is noted and committed before anybody sees it, and keeps it
/// for the page that shows it.
async fn reveal(
    console: &Console,
    session: &Session,
    (hash, revision): (MessageHash, Option<PlanId>),
    reason: &str,
    once: &str,
) -> Result<Told, NoPage> {
    let Some(keys) = &console.keys else {
        return Ok(Told::Nothing("This console has no keyring: bodies stay sealed here.".to_owned()));
    };
    let only = Filter::of(vec![hash]);
    let find = async |seen: &Transaction| {
        let Some(letter) = dead_letters::newest(seen, &only, 1).await?.pop() else { return Ok(None) };
        let has_it = match revision {
            Some(plan) => {
                dead_letter_revisions::of_letter(seen, letter.key).await?.iter().any(|made| made.plan == plan)
            }
            None => true,
        };
        Ok(Some((letter, has_it)))
    };
    let letter = match session.database.snapshot(find).await? {
        None => return Err(NoPage::Absent(format!("No dead letter has the hash {hash}."))),
        Some((_, false)) => return Ok(Told::Nothing("Nothing was done: no such plan edited this body.".to_owned())),
        Some((letter, true)) => letter,
    };
    let said = session.said(reason);
    let read = async |transaction: &Transaction| {
        operator_actions::say(transaction, &said).await?;
        match revision {
            None => dead_letters::reveal_body(transaction, letter.key).await,
            Some(plan) => dead_letter_revisions::reveal(transaction, letter.key, plan).await,
        }
    };
    let sealed = session.database.transaction(read).await?;
    let opened = keys.opener.open_version(hash, revision.map(|plan| plan.0), &sealed);
    Ok(match opened {
        Ok((body, _)) => {
            session.keep_revealed(once, body.as_bytes().to_vec());
            Told::Revealed(hash)
        }
        Err(error) => Told::NotOpened(error.to_string()),
    })
}

/// All that match, if they are as many as somebody has typed: then they are those that were shown. Else what is told.
async fn meant(
    session: &Session,
    act: Act,
    letters: &Letters,
    typed: &str,
) -> Result<Result<Vec<MessageHash>, Told>, DatabaseError> {
    let Ok(typed) = typed.replace([',', ' ', '.'], "").parse::<u64>() else {
        return Ok(Err(Told::Nothing("Nothing was done: the number of letters was not typed.".to_owned())));
    };
    let most = if act == Act::Requeue { requeuing::MOST } else { MOST };
    let wanted = Page { limit: MOST + 1, after: None, ..letters.page.clone() };
    let found = session.database.snapshot(async |seen| page(seen, &wanted).await).await?;
    let hashes: Vec<MessageHash> = found.iter().map(|letter| letter.key.hash).collect();
    if hashes.len() as u64 != typed || typed > most {
        let words = format!("Nothing was done: {} letters match, and {typed} was typed. Look again.", hashes.len());
        return Ok(Err(Told::Nothing(words)));
    }
    Ok(Ok(hashes))
}

pub(super) fn is_as_delivered(fields: &mut Asked) -> bool {
    fields.text(AS_DELIVERED).is_some()
}

/// Does it with these letters, one or many.
async fn on_these(
    console: &Console,
    session: &Session,
    act: Act,
    hashes: Vec<MessageHash>,
    said: Said,
    as_delivered: bool,
) -> Result<Told, NoPage> {
    let of = hashes.len();
    Ok(match act {
        Act::Discard => Told::Discarded { letters: change(session, Becomes::Discarded, hashes, said).await?, of },
        Act::Reopen => Told::Reopened { letters: change(session, Becomes::Open, hashes, said).await?, of },
        Act::Requeue => send_back(console, session, hashes, said, as_delivered).await,
        Act::Reveal => return Err(NoPage::Unknown),
    })
}

/// Changes letters, and says how many.
async fn change(
    session: &Session,
    becomes: Becomes,
    hashes: Vec<MessageHash>,
    said: Said,
) -> Result<usize, DatabaseError> {
    let database = session.database.clone();
    let job = async move || {
        let mut done = 0;
        for some in hashes.chunks(AT_ONCE) {
            done += discard::change(&database, some, &said, becomes).await?.len();
        }
        Ok(done)
    };
    to_its_end(job).await
}

/// Runs a job as under a command, on a thread that waits for it: it comes to its end, whether the browser still waits or not.
pub(super) async fn to_its_end<T: Send + 'static>(job: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    let runtime = Handle::current();
    match spawn_blocking(move || runtime.block_on(job())).await {
        Ok(done) => done,
        Err(ended) => resume_unwind(ended.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_is_for_those_whom_the_database_lets() {
        let (operator, revealer) = (
            Powers { resolves: true, requeues: true, ..Powers::default() },
            Powers { reveals: true, ..Powers::default() },
        );
        for (act, of_operator, of_revealer) in [
            (Act::Discard, true, false),
            (Act::Reopen, true, false),
            (Act::Requeue, true, false),
            (Act::Reveal, false, true),
        ] {
            assert_eq!(
                (act.is_for(&operator).is_ok(), act.is_for(&revealer).is_ok()),
                (of_operator, of_revealer),
                "{act:?}"
            );
            assert!(act.is_for(&Powers::default()).is_err());
        }
    }
}
