//! What forms do with plans: drawing them up, running them, cancelling them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Form;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::acts::{AS_DELIVERED, Fields, is_as_delivered, once, without_reason};
use super::doing::Told;
use super::judging::typed_body;
use super::link::{Asked, link};
use super::place;
use super::routes::{no_page, signed_in};
use super::session::Session;
use super::view::NoPage;
use super::{Console, Keys};
use crate::config::rows;
use crate::database::{Database, Transaction};
use crate::keys;
use crate::message::{MessageHash, RawBody};
use crate::replay::edit::{Change, Edit, pointer};
use crate::replay::{Replay, Wanted};
use crate::table::dead_letters::Filter;
use crate::table::operator_actions::Said;
use crate::table::plan_id::PlanId;
use crate::table::replay_plans::{self, Draft, Plan, State as PlanState};

/// How long a request waits for a plan that is drawn up: it goes on without it.
const DRAWN_WITHIN: Duration = Duration::from_secs(30);
/// The names of a form that are no filters.
const OF_FORM: [&str; 8] = ["once", "reason", "letter", "set-place", "set-value", "remove", "body", AS_DELIVERED];

/// Plans that this process runs, and those that it could not run to their end.
#[derive(Clone, Default)]
pub(super) struct Runs(Arc<Mutex<HashMap<PlanId, Option<String>>>>);

impl Runs {
    fn lock(&self) -> MutexGuard<'_, HashMap<PlanId, Option<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this process runs it now.
    pub(super) fn is_running(&self, plan: PlanId) -> bool {
        self.lock().get(&plan).is_some_and(Option::is_none)
    }

    /// Why this process could not run it to its end.
    pub(super) fn trouble(&self, plan: PlanId) -> Option<String> {
        self.lock().get(&plan).cloned().flatten()
    }

    /// Runs a plan in the background, unless it does already.
    fn begin(&self, replay: Replay, plan: PlanId) {
        if self.lock().insert(plan, None) == Some(None) {
            return;
        }
        let (run, runtime) = (Run { runs: self.clone(), plan, trouble: Some(DEFECT.to_owned()) }, Handle::current());
        spawn_blocking(move || {
            let mut run = run;
            run.trouble = runtime.block_on(replay.run_plan(plan, |_| {})).err().map(|error| {
                tracing::warn!(%plan, %error, "a plan stopped");
                error.to_string()
            });
        });
    }
}

/// A plan that runs. When this is dropped it does not, whatever ended it.
struct Run {
    runs: Runs,
    plan: PlanId,
    /// Why it did not come to its end.
    trouble: Option<String>,
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut runs = self.runs.lock();
        match self.trouble.take() {
            None => runs.remove(&self.plan),
            Some(why) => runs.insert(self.plan, Some(why)),
        };
    }
}

const DEFECT: &str = "it was stopped by a defect of the program; run it again to go on";

/// A replay by the keys of this console, where they are those of the tables.
async fn replay(keys: &Keys, database: Database, said: Said) -> Result<Result<Replay, Told>, NoPage> {
    let registered = keys::registered(&database).await?;
    if let Err(error) = keys::compare(&registered, &keys.keyring, Some(keys.mask)) {
        return Ok(Err(Told::Nothing(format!("Nothing was done: {error}."))));
    }
    Ok(Ok(Replay {
        opener: keys.opener.clone(),
        sealer: keys.keyring.body_sealer(),
        hash_key: keys.keyring.shared_hash_key(),
        form: keys.body.form(&keys.keyring),
        masker: keys.keyring.masker(keys.mask),
        said,
        database,
    }))
}

async fn may_replay(session: &Session) -> Result<(), NoPage> {
    match session.powers().await?.replays {
        true => Ok(()),
        false => Err(NoPage::Forbidden("turnstile_operator")),
    }
}

/// Draws up a plan: of one message's letters, or of all that match.
pub(super) async fn draw(
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    Form(fields): Form<Fields>,
) -> Result<Response, Response> {
    let session = signed_in(&console, &headers, "/plans")?;
    let letter = fields.iter().find(|(name, _)| name == "letter").map(|(_, hash)| hash.parse::<MessageHash>());
    let mut filters = Asked::new(fields.iter().filter(|(name, _)| !OF_FORM.contains(&name.as_str())).cloned());
    let letters = place::letters(&mut filters);
    if letters.page.message_id.is_some() {
        filters.note("message-id", "is of one letter", "replay it from its page");
    }
    let wrong = filters.wrong();
    if !wrong.is_empty() {
        return Err(no_page(&console, &session, "/plans", &NoPage::Wrong(wrong)));
    }
    let (filter, meant, back) = match letter {
        Some(Err(_)) => return Err(no_page(&console, &session, "/plans", &NoPage::Unknown)),
        Some(Ok(hash)) => {
            let digits: String = hash.to_string().chars().take(8).collect();
            (Filter::of(vec![hash]), format!("hash {digits}"), format!("/dead-letters/{hash}"))
        }
        None => {
            let filters = letters.given.iter().filter(|(name, _)| !["status", "sort"].contains(name));
            let meant: Vec<String> = filters.map(|(name, value)| format!("{name} {value}")).collect();
            let meant = if meant.is_empty() { "all".to_owned() } else { meant.join(", ") };
            let filter = Filter { search: letters.page.search.clone(), hashes: None };
            (filter, meant, link("/dead-letters/all", letters.given.clone()))
        }
    };
    let is_single = filter.hashes.is_some();
    let work = async |_: &str, fields: &mut Asked| {
        may_replay(&session).await?;
        let Some(keys) = &console.keys else { return Ok(Told::Nothing(WITHOUT_KEYS.to_owned())) };
        let edit = match edit_of(fields, is_single) {
            Ok(edit) => edit,
            Err(why) => return Ok(Told::Nothing(format!("Nothing was done: {why}."))),
        };
        let reason = fields.read("reason", &rows::REASON);
        let reason = match (reason, &edit) {
            (Some(reason), _) => reason,
            (None, None) if fields.text("reason").unwrap_or_default().is_empty() => String::new(),
            (None, _) => return Ok(without_reason(fields)),
        };
        let as_delivered = is_as_delivered(fields);
        let edits = edit.as_ref().map(Edit::operations).unwrap_or_default();
        let meant = if as_delivered { format!("{meant}, as delivered") } else { meant };
        let draft = Draft { meant, force: false, edits };
        let wanted = Wanted { filter, limit: None, draft, as_delivered };
        let replay = match replay(keys, session.database.clone(), session.said(&reason)).await? {
            Ok(replay) => replay,
            Err(told) => return Ok(told),
        };
        let Ok(alone) = session.drawing.clone().try_acquire_owned() else {
            let words = "Nothing was done: another plan of yours is still being drawn up. Look for it among the plans.";
            return Ok(Told::Nothing(words.to_owned()));
        };
        let runtime = Handle::current();
        let drawing = spawn_blocking(move || {
            // It is let go of when this ends, by a panic too.
            let _alone = alone;
            let drawn = runtime.block_on(replay.draw_up(&wanted, edit.as_ref(), |_| {}));
            drawn.inspect_err(|error| tracing::warn!(%error, "a plan could not be drawn up"))
        });
        Ok(match timeout(DRAWN_WITHIN, drawing).await {
            Ok(Ok(plan)) => Told::Drawn(plan?.id),
            Ok(Err(_)) => Told::Nothing("The plan was not drawn up, by a defect of the program.".to_owned()),
            Err(_) => Told::Nothing("The plan is still being drawn up: look for it among the plans.".to_owned()),
        })
    };
    Ok(once(&console, &session, fields, &back, work).await)
}

const WITHOUT_KEYS: &str = "This console has no keyring: nothing can be replayed here.";

/// What is to be changed in the bodies, if anything is.
fn edit_of(fields: &mut Asked, is_single: bool) -> Result<Option<Edit>, String> {
    let body = typed_body(fields);
    let mut given = |name| fields.text(name).filter(|text| !text.trim().is_empty());
    let (place, value, removed) = (given("set-place"), given("set-value"), given("remove"));
    if let Some(body) = body {
        return match (is_single, &place, &removed) {
            (true, None, None) => Ok(Some(Edit::Body(RawBody::new(body)))),
            (true, _, _) => Err("a body is replaced as a whole, or changed in places".to_owned()),
            (false, _, _) => Err("a whole body is that of a single letter".to_owned()),
        };
    }
    let place_of = |text: &str| pointer(text.trim()).map_err(|_| "a place is written like /app_version".to_owned());
    let mut changes = Vec::new();
    match (place, value) {
        (None, None) => {}
        (Some(place), Some(value)) => {
            let value: Value =
                serde_json::from_str(&value).map_err(|_| "a value is JSON, texts in double quotes".to_owned())?;
            changes.push(Change::Set(place_of(&place)?, value));
        }
        (Some(_), None) | (None, Some(_)) => return Err("what is set has a place and a value".to_owned()),
    }
    if let Some(place) = removed {
        changes.push(Change::Remove(place_of(&place)?));
    }
    Ok(if changes.is_empty() { None } else { Some(Edit::Changes(changes)) })
}

/// What a form of one plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Run,
    Cancel,
}

/// Runs a plan, or cancels it.
pub(super) async fn on_plan(
    State(console): State<Arc<Console>>,
    Path((plan, act)): Path<(String, String)>,
    headers: HeaderMap,
    Form(fields): Form<Fields>,
) -> Result<Response, Response> {
    let session = signed_in(&console, &headers, "/plans")?;
    let act = match act.as_str() {
        "run" => Some(Act::Run),
        "cancel" => Some(Act::Cancel),
        _ => None,
    };
    let (Ok(id), Some(act)) = (plan.parse::<PlanId>(), act) else {
        return Err(no_page(&console, &session, "/plans", &NoPage::Unknown));
    };
    let work = async |_: &str, fields: &mut Asked| {
        may_replay(&session).await?;
        let find = async |seen: &Transaction| replay_plans::find(seen, id).await;
        let Some(plan) = session.database.snapshot(find).await? else {
            return Err(NoPage::Absent(format!("There is no plan {id}.")));
        };
        match act {
            Act::Run => run(&console, &session, &plan, fields).await,
            Act::Cancel => {
                let cancel =
                    async |transaction: &Transaction| replay_plans::cancel(transaction, id, &Said::default()).await;
                Ok(match session.database.transaction(cancel).await? {
                    true => Told::Cancelled,
                    false => Told::Nothing(format!("Nothing was done: the plan is {} already.", plan.state.as_str())),
                })
            }
        }
    };
    Ok(once(&console, &session, fields, &format!("/plans/{id}"), work).await)
}

/// Runs a plan in the background, if as many letters are typed as it has: then it is the one that was shown.
async fn run(console: &Console, session: &Session, plan: &Plan, fields: &mut Asked) -> Result<Told, NoPage> {
    let Some(keys) = &console.keys else { return Ok(Told::Nothing(WITHOUT_KEYS.to_owned())) };
    if plan.state == PlanState::Done {
        return Ok(Told::DoneBefore);
    }
    let typed = fields.text("letters").unwrap_or_default().replace([',', ' ', '.'], "");
    if plan.letters > 1 && typed.parse() != Ok(plan.letters) {
        let words = format!("Nothing was done: type {}, the number of letters of the plan.", plan.letters);
        return Ok(Told::Nothing(words));
    }
    if !matches!(plan.state, PlanState::Ready | PlanState::Running) {
        return Ok(Told::Nothing(format!("Nothing was done: the plan is {}.", plan.state.as_str())));
    }
    let said = session.said(plan.reason.as_deref().unwrap_or_default());
    Ok(match replay(keys, session.database.clone(), said).await? {
        Ok(replay) => {
            console.runs.begin(replay, plan.id);
            Told::Running
        }
        Err(told) => told,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(fields: &[(&str, &str)], is_single: bool) -> Result<Vec<String>, String> {
        let pairs = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let edit = edit_of(&mut Asked::new(pairs), is_single)?;
        Ok(edit.map(|edit| edit.operations()).unwrap_or_default())
    }

    #[test]
    fn a_form_says_what_is_changed_or_why_it_does_not() {
        assert_eq!(edit(&[("set-place", ""), ("set-value", ""), ("remove", " "), ("body", "")], true), Ok(vec![]));
        let set = [("set-place", "/app_version"), ("set-value", "\"2.3.0\""), ("remove", "/x")];
        assert_eq!(edit(&set, false), Ok(vec!["set /app_version".to_owned(), "remove /x".to_owned()]));
        assert_eq!(edit(&[("body", "{}")], true), Ok(vec!["replace the whole body".to_owned()]));
        for wrong in [
            &[("body", "{}")][..],
            &[("set-place", "/a"), ("set-value", "text")],
            &[("set-place", "a"), ("set-value", "1")],
            &[("set-value", "1")],
            &[("remove", "x")],
        ] {
            assert!(edit(wrong, false).is_err(), "{wrong:?}");
        }
        assert!(edit(&[("body", "{}"), ("remove", "/x")], true).is_err());
    }
}
