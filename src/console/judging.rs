//! What the loader's own decoder says of a body that somebody types: before a plan is drawn up, and without its values.

use std::sync::Arc;

use axum::Form;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::acts::Fields;
use super::frame::{Frame, HTML};
use super::link::Asked;
use super::pieces::text;
use super::routes::{no_page, signed_in};
use super::view::{NoPage, editing};
use super::{Console, Keys};
use crate::fault::locate;
use crate::message::{MessageHash, RawBody};
use crate::stream::LOGIN;

/// What a script sends along that shows the verdict in its page.
const FRAGMENT: &str = "turnstile-fragment";

/// The body of a form. Browsers end its lines by CR LF, whatever ended them in the page.
pub(super) fn typed_body(fields: &mut Asked) -> Option<String> {
    fields.text("body").map(|body| body.replace("\r\n", "\n"))
}

/// Judges a body. Nothing is kept, noted or logged: somebody who may reveal bodies has typed it.
pub(super) async fn judge(
    State(console): State<Arc<Console>>,
    Path(hash): Path<String>,
    headers: HeaderMap,
    Form(fields): Form<Fields>,
) -> Result<Response, Response> {
    let session = signed_in(&console, &headers, "/")?;
    let back = format!("/dead-letters/{hash}");
    let refused = |why: &NoPage| no_page(&console, &session, &back, why);
    let hash: MessageHash = hash.parse().map_err(|_| refused(&NoPage::Unknown))?;
    let powers = session.powers().await.map_err(|error| refused(&error.into()))?;
    if !powers.reveals {
        return Err(refused(&NoPage::Forbidden("turnstile_revealer")));
    }
    let body = typed_body(&mut Asked::new(fields)).unwrap_or_default();
    let verdict = match &console.keys {
        Some(keys) => verdict(keys, &body),
        None => html! { "This console has no keyring: it judges nothing." },
    };
    if headers.contains_key(FRAGMENT) {
        return Ok((StatusCode::OK, HTML, verdict.into_string()).into_response());
    }
    let form = editing(&hash.to_string(), &body, Some(&verdict), powers.replays && console.keys.is_some());
    let page = Frame { console: &console, session: &session, address: &back }.plain("Judged", form);
    Ok((StatusCode::OK, HTML, page.into_string()).into_response())
}

/// What would become of it, but for what the database says: a code and a place, and no value.
fn verdict(keys: &Keys, body: &str) -> Markup {
    let (form, body) = (keys.body.form(&keys.keyring), RawBody::new(body));
    match form.read(&LOGIN, &body) {
        Ok(_) => html! { span.badge.ok { "a login" } " It can be loaded, unless the database refuses it." },
        Err(rejection) => {
            let fault = locate(&form, &LOGIN, &body, &rejection);
            html! {
                span.badge.open { "no login" } " " code { (rejection.code()) }
                @if let Some(fault) = fault { " " (text(&fault.to_string())) }
                "."
            }
        }
    }
}
