//! Which request is answered by whom.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use maud::html;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::doing::Told;
use super::frame::{Frame, HTML, bare};
use super::link::{Asked, link};
use super::person::{Nobody, Peer, Use};
use super::pieces::text;
use super::place::{self, Form, NoPlace, Place, TOLD};
use super::session::Session;
use super::sign_in::{self, to};
use super::view::{NoPage, editing, file_csv, file_ndjson, look, may_list};
use super::{Console, SignIn, acts, assets, feed, guard, judging, pausing, plans};
use crate::metrics::{Route, StatusClass};
use crate::readable::printable;

/// The largest form.
const MAX_FORM_BYTES: usize = 64 * 1024;
/// How long a request may take, its form included: changes of ten thousand letters are the longest.
const REQUEST_WITHIN: Duration = Duration::from_secs(60);

/// Every request, and what stands before all of them.
pub(super) fn router(console: Arc<Console>) -> Router {
    Router::new()
        .route("/sign-in", get(sign_in::show).post(sign_in::enter))
        .route("/sign-out", post(sign_in::leave))
        .route("/assets/{name}", get(assets::give))
        .route("/events", get(feed::follow))
        .route("/dead-letters/all/{act}", post(acts::on_all))
        .route("/dead-letters/notes", post(acts::note).get(page))
        .route("/dead-letters/{hash}/judge", post(judging::judge))
        .route("/dead-letters/{hash}/{act}", post(acts::on_letter))
        .route("/audit/run", post(acts::audit))
        .route("/plans/draw", post(plans::draw))
        .route("/plans/{plan}/{act}", post(plans::on_plan))
        .route("/loaders/{act}", post(pausing::on_loaders).get(page))
        .fallback(page)
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .layer(from_fn_with_state(console.clone(), before))
        .with_state(console)
}

/// Refuses what no page of ours has sent, and writes on every answer what it says to the browser.
async fn before(
    State(console): State<Arc<Console>>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let (begun, route) = (Instant::now(), route_of(request.uri().path()));
    let by_header = matches!(console.settings.sign_in, SignIn::ProxyHeader(_));
    let refused = if !console.is_secure() && !guard::names_this_machine(request.headers()) {
        Some("This console answers to the names of this machine only: localhost, 127.0.0.1 and [::1].")
    } else if by_header && !guard::is_on_this_machine(peer.ip()) {
        Some("The proxy must be on the machine of the console: a name that comes from elsewhere is not believed.")
    } else if !guard::is_of_our_pages(request.method(), request.headers()) {
        Some("This was not sent by a page of this console.")
    } else {
        None
    };
    let mut answer = match refused {
        Some(words) => (StatusCode::FORBIDDEN, format!("{words}\n")).into_response(),
        None => match timeout(REQUEST_WITHIN, next.run(request)).await {
            Ok(answer) => answer,
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "This took too long.\n").into_response(),
        },
    };
    console.metrics.count(|figures| {
        figures.requests.add((route, StatusClass::of(answer.status().as_u16())), 1);
        figures.request_duration.observe((route,), begun.elapsed().as_secs_f64());
    });
    let headers = answer.headers_mut();
    headers.extend(guard::HEADERS);
    if !headers.contains_key(CACHE_CONTROL) {
        headers.extend([guard::NOT_KEPT]);
    }
    answer
}

/// Which of the routes a path is of, as the figures tell them apart.
fn route_of(path: &str) -> Route {
    let path = [".json", ".csv", ".ndjson"].iter().find_map(|ending| path.strip_suffix(ending)).unwrap_or(path);
    let steps: Vec<&str> = path.split('/').skip(1).collect();
    match steps.as_slice() {
        ["" | "now"] => Route::Now,
        ["loaders"] => Route::Loaders,
        ["loaders", _] => Route::Loader,
        ["costs"] => Route::Costs,
        ["dead-letters"] => Route::Groups,
        ["dead-letters", "list"] => Route::Letters,
        ["dead-letters", "all"] => Route::Every,
        ["dead-letters", "notes"] | ["dead-letters", _, _] => Route::ActOnLetters,
        ["dead-letters", _] => Route::Letter,
        ["plans"] | ["plans", "draw"] => Route::Plans,
        ["plans", _] | ["plans", _, _] => Route::Plan,
        ["outbox"] => Route::Outbox,
        ["actions"] => Route::Actions,
        ["audit"] | ["audit", "run"] => Route::Audit,
        ["check"] => Route::Check,
        ["sign-in"] => Route::SignIn,
        ["sign-out"] => Route::SignOut,
        ["assets", _] => Route::Assets,
        ["events"] => Route::Events,
        _ => Route::Other,
    }
}

/// A page, or the same for scripts.
async fn page(State(console): State<Arc<Console>>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if !matches!(method, Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, HEAD")]).into_response();
    }
    let mut asked = asked_of(&uri);
    let once = asked.text(TOLD);
    let address = address_of(&uri);
    let session = match console.person(&headers, Use::ByPerson) {
        Ok(session) => session,
        Err(why) => return nobody(&console, why, &headers, &address),
    };
    let found = match place::read(&uri) {
        Ok((place, form)) => show(&console, &session, &address, &place, form, once.as_deref()).await,
        Err(NoPlace::Unknown) => Err(NoPage::Unknown),
        Err(NoPlace::Wrong(wrong)) => Err(NoPage::Wrong(wrong)),
    };
    match found {
        Ok(answer) => answer,
        Err(NoPage::Over) => {
            if let Some(token) = console.token(&headers) {
                console.sessions.end(token);
            }
            nobody(&console, Nobody::SignedOut, &headers, &address)
        }
        Err(why) => no_page(&console, &session, &address, &why),
    }
}

fn asked_of(uri: &Uri) -> Asked {
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
    Asked::new(pairs.map(|pairs| pairs.0).unwrap_or_default())
}

/// What was asked for, without what only says what was done.
fn address_of(uri: &Uri) -> String {
    let query = uri.query().unwrap_or_default().split('&').filter(|part| !part.is_empty());
    let query: Vec<&str> = query.filter(|part| part.split('=').next() != Some(TOLD)).collect();
    if query.is_empty() { uri.path().to_owned() } else { format!("{}?{}", uri.path(), query.join("&")) }
}

async fn show(
    console: &Console,
    session: &Session,
    address: &str,
    place: &Place,
    form: Form,
    once: Option<&str>,
) -> Result<Response, NoPage> {
    let file = |name: &'static str, kind: &'static str, (lines, is_all): (Vec<u8>, bool)| {
        let of = if is_all { "dead-letters" } else { "dead-letters-not-all" };
        let disposition = format!("attachment; filename=\"{of}.{name}\"");
        let complete = (HeaderName::from_static("turnstile-complete"), if is_all { "yes" } else { "no" });
        ([(CONTENT_TYPE, kind)], [(CONTENT_DISPOSITION, disposition)], [complete], lines).into_response()
    };
    match (form, place) {
        (Form::Csv, Place::Letters(letters)) => {
            may_list(session).await?;
            Ok(file("csv", "text/csv; charset=utf-8", file_csv(letters, session).await?))
        }
        (Form::Ndjson, Place::Letters(letters)) => {
            may_list(session).await?;
            Ok(file("ndjson", "application/x-ndjson", file_ndjson(letters, session).await?))
        }
        (Form::Csv | Form::Ndjson, _) => Err(NoPage::Unknown),
        (Form::Json, _) => Ok(json_answer(StatusCode::OK, &look(place, console, session).await?.json())),
        (Form::Html, _) => {
            let view = look(place, console, session).await?;
            let told = once.and_then(|once| Some((session.told(once)?, once)));
            let replays = session.powers().await?.replays && console.keys.is_some();
            let told = told.as_ref().map(|(told, once)| (told, body_of(session, replays, place, told, once)));
            let frame = Frame { console, session, address };
            Ok((HTML, frame.page(place, &*view, told).into_string()).into_response())
        }
    }
}

/// The body that a form has revealed, on the page of its letter and for as long as it is kept; and to edit, where it is a text
/// that a form gives back as it was.
fn body_of(session: &Session, replays: bool, place: &Place, told: &Told, once: &str) -> Option<maud::Markup> {
    let (Told::Revealed(revealed), Place::Letter(hash)) = (told, place) else { return None };
    if revealed != hash {
        return None;
    }
    Some(match session.revealed(once) {
        Some(body) => html! {
            section.shown {
                h2 { "The body" }
                pre tabindex="0" { (printable(&body)) }
                p.note { (body.len()) " bytes. What cannot be printed is escaped. It is shown here for two minutes." }
                @if let Some(body) = std::str::from_utf8(&body).ok().filter(|body| replays && comes_back(body)) {
                    details { summary { "Edit it" } (editing(&hash.to_string(), body, None, true)) }
                }
            }
        },
        None => html! { p.note { "The body is not shown any more: reveal it again." } },
    })
}

/// Whether a text field of a form gives a text back as it was.
fn comes_back(text: &str) -> bool {
    text.trim() == text && !text.contains(|c: char| c.is_control() && c != '\n' && c != '\t')
}

fn json_answer(status: StatusCode, value: &Value) -> Response {
    (status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], format!("{value}\n")).into_response()
}

/// Whether an answer is for a script.
fn is_for_scripts(address: &str) -> bool {
    let path = address.split('?').next().unwrap_or_default();
    [".json", ".csv", ".ndjson"].iter().any(|ending| path.ends_with(ending))
}

/// Who sends a form; else what is answered to nobody.
#[expect(clippy::result_large_err, reason = "axum answers with it, once a request")]
pub(super) fn signed_in(console: &Console, headers: &HeaderMap, address: &str) -> Result<Arc<Session>, Response> {
    console.person(headers, Use::ByPerson).map_err(|why| nobody(console, why, headers, address))
}

/// What is answered to nobody: the way in.
pub(super) fn nobody(console: &Console, why: Nobody, headers: &HeaderMap, address: &str) -> Response {
    match why {
        Nobody::Unnamed => {
            let page =
                bare(console, "Nobody", html! { p { "The proxy names nobody, or nobody with a name that fits." } });
            (StatusCode::FORBIDDEN, HTML, page.into_string()).into_response()
        }
        Nobody::SignedOut if is_for_scripts(address) => json_answer(
            StatusCode::UNAUTHORIZED,
            &json!({"error": "nobody has signed in", "remedy": "sign in at /sign-in"}),
        ),
        // Our cookie comes with requests of our own pages only: this page asks again.
        Nobody::SignedOut if guard::comes_from_elsewhere(headers) => {
            let page = bare(
                console,
                "One moment",
                html! {
                    meta http-equiv="refresh" content={ "0; url=" (address) };
                    p { a href=(address) { "Go on to " (text(address)) } }
                },
            );
            (HTML, page.into_string()).into_response()
        }
        Nobody::SignedOut if address == "/" => to("/sign-in"),
        Nobody::SignedOut => to(&link("/sign-in", [("next", address)])),
    }
}

/// Why there is no page.
pub(super) fn no_page(console: &Console, session: &Session, address: &str, why: &NoPage) -> Response {
    let status = match why {
        NoPage::Unknown | NoPage::Absent(_) => StatusCode::NOT_FOUND,
        NoPage::Wrong(_) => StatusCode::BAD_REQUEST,
        NoPage::Forbidden(_) => StatusCode::FORBIDDEN,
        NoPage::Database(_) => StatusCode::SERVICE_UNAVAILABLE,
        NoPage::Over => StatusCode::UNAUTHORIZED,
    };
    if let NoPage::Database(error) = why {
        tracing::warn!(%error, remedy = error.remedy(), "a page could not be made");
    }
    if is_for_scripts(address) {
        return json_answer(status, &error_json(why));
    }
    (status, HTML, Frame { console, session, address }.no_page(why).into_string()).into_response()
}

fn error_json(why: &NoPage) -> Value {
    match why {
        NoPage::Unknown => json!({"error": "there is no such page"}),
        NoPage::Absent(words) => json!({"error": words}),
        NoPage::Forbidden(needs) => {
            json!({"error": "the database does not let this role see it", "remedy": format!("it takes a member of {needs}")})
        }
        NoPage::Wrong(all) => json!({"error": "not understood", "wrong": all.iter().map(|wrong| {
            json!({"name": wrong.name, "given": wrong.given, "problem": wrong.problem, "remedy": wrong.remedy})
        }).collect::<Vec<_>>()}),
        NoPage::Database(error) => json!({"error": error.to_string(), "remedy": error.remedy()}),
        NoPage::Over => json!({"error": "the session is over", "remedy": "sign in at /sign-in"}),
    }
}
