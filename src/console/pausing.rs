//! What forms do with loaders: pausing them, and resuming them.

use std::sync::Arc;

use axum::Form;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::Console;
use super::acts::{Fields, once, without_reason};
use super::doing::Told;
use super::link::Asked;
use super::place;
use super::routes::{no_page, signed_in};
use super::session::Session;
use super::view::NoPage;
use crate::config::rows;
use crate::database::Transaction;
use crate::table::loader_pauses::{self, Target};
use crate::table::loaders::{self, State as LoaderState};
use crate::table::operator_actions;
use crate::table::queues;

/// What a form is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Pause,
    Resume,
}

/// Which loaders, as a form writes it.
pub(super) fn written(target: &Target) -> String {
    match target {
        Target::All => "all".to_owned(),
        Target::Queue(arn) => format!("queue {arn}"),
        Target::Loader(id) => format!("loader {id}"),
    }
}

fn read(text: &str) -> Option<Target> {
    let (kind, name) = text.split_once(' ').unwrap_or((text, ""));
    match (kind, name) {
        ("all", "") => Some(Target::All),
        (_, "") => None,
        ("queue", arn) => Some(Target::Queue(arn.to_owned())),
        ("loader", id) => Some(Target::Loader(id.to_owned())),
        _ => None,
    }
}

/// Pauses receiving, or ends a pause.
pub(super) async fn on_loaders(
    State(console): State<Arc<Console>>,
    Path(act): Path<String>,
    headers: HeaderMap,
    Form(fields): Form<Fields>,
) -> Result<Response, Response> {
    let session = signed_in(&console, &headers, "/loaders")?;
    let act = match act.as_str() {
        "pause" => Some(Act::Pause),
        "resume" => Some(Act::Resume),
        _ => None,
    };
    let given = |name: &str| fields.iter().find(|(its_name, _)| its_name == name).map(|(_, value)| value.as_str());
    let (Some(act), Some(target)) = (act, given("of").and_then(read)) else {
        return Err(no_page(&console, &session, "/loaders", &NoPage::Unknown));
    };
    let on = given("on").and_then(|id| place::loader(&format!("/loaders/{id}")));
    let back = on.map_or_else(|| "/loaders".to_owned(), |place| place.path());
    let work = async |_: &str, fields: &mut Asked| {
        if !session.powers().await?.pauses {
            return Err(NoPage::Forbidden("turnstile_operator"));
        }
        let Some(reason) = fields.read("reason", &rows::REASON) else { return Ok(without_reason(fields)) };
        change(&session, act, target, &reason).await
    };
    Ok(once(&console, &session, fields, &back, work).await)
}

async fn change(session: &Session, act: Act, target: Target, reason: &str) -> Result<Told, NoPage> {
    if act == Act::Pause && !session.database.snapshot(async |seen: &Transaction| is_known(seen, &target).await).await?
    {
        return Ok(Told::Nothing("Nothing was done: there is no such queue, or the loader has ended.".to_owned()));
    }
    let said = session.said(reason);
    let work = async |transaction: &Transaction| {
        operator_actions::say(transaction, &said).await?;
        match act {
            Act::Pause => loader_pauses::pause(transaction, &target).await,
            Act::Resume => loader_pauses::resume(transaction, &target).await,
        }
    };
    let is_changed = session.database.transaction(work).await?;
    Ok(match (act, is_changed) {
        (Act::Pause, true) => Told::Paused(target),
        (Act::Pause, false) => Told::PausedBefore(target),
        (Act::Resume, true) => Told::Resumed(target),
        (Act::Resume, false) => Told::NotPaused(target),
    })
}

/// Whether there is anything that the target can mean.
async fn is_known(seen: &Transaction, target: &Target) -> Result<bool, crate::database::DatabaseError> {
    Ok(match target {
        Target::All => true,
        Target::Queue(arn) => queues::read_all(seen).await?.keys().any(|queue| queue.as_str() == arn),
        Target::Loader(id) => loaders::read(seen)
            .await?
            .iter()
            .any(|loader| loader.beat.state != LoaderState::Stopped && loader.beat.id.as_str() == id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_names_what_it_pauses_and_is_read_as_it_was_written() {
        for target in [Target::All, Target::Queue("arn:a b".to_owned()), Target::Loader("0a".to_owned())] {
            assert_eq!(read(&written(&target)), Some(target));
        }
        for wrong in ["", "all x", "queue", "queue ", "loader ", "else x"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
