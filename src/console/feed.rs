//! Pages that keep themselves up to date: what a page would show now, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

use super::Console;
use super::person::Use;
use super::place::{self, Place};
use super::view::{NoPage, look};
use crate::readable::{exact, seconds};

/// How long a stream lasts; the browser begins another.
const LASTS: Duration = Duration::from_secs(15 * 60);

/// Which page.
#[derive(Deserialize)]
pub(super) struct Wanted {
    page: String,
}

struct Feed {
    console: Arc<Console>,
    headers: HeaderMap,
    place: Place,
    until: Instant,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

/// The stream of a page.
pub(super) async fn follow(
    State(console): State<Arc<Console>>,
    Query(Wanted { page }): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let Ok(session) = console.person(&headers, Use::ByPage) else {
        // A status would be an error like any other to a browser, and the page would go on asking.
        return Sse::new(stream::once(async { Ok::<_, Infallible>(over()) })).into_response();
    };
    let place = page.parse::<Uri>().ok().and_then(|uri| place::read(&uri).ok());
    let Some((place, _)) = place else { return StatusCode::NOT_FOUND.into_response() };
    let Ok(permit) = session.feeds.clone().try_acquire_owned() else {
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    };
    let feed = Feed { console, headers, place, until: Instant::now() + LASTS, is_over: false, _place: permit };
    let events = stream::unfold(feed, async |mut feed| {
        if feed.is_over || Instant::now() >= feed.until {
            return None;
        }
        sleep(feed.console.settings.refresh).await;
        Some((Ok::<_, Infallible>(feed.next().await), feed))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

/// The session is over: the page asks somebody to sign in.
fn over() -> Event {
    Event::default().event("over").data("")
}

impl Feed {
    /// Who looks is asked again each time: a session that is over shows nothing more.
    async fn next(&mut self) -> Event {
        let Ok(session) = self.console.person(&self.headers, Use::ByPage) else {
            self.is_over = true;
            return over();
        };
        match look(&self.place, &self.console, &session).await {
            Ok(view) => {
                let now = OffsetDateTime::now_utc();
                let fragment = json!({
                    "title": view.title(),
                    "html": view.live(now).into_string(),
                    "at": exact(now),
                    "as_of": seconds(now),
                });
                Event::default().event("fragment").data(fragment.to_string())
            }
            Err(NoPage::Over) => {
                self.is_over = true;
                over()
            }
            Err(_) => Event::default().event("late").data(""),
        }
    }
}
