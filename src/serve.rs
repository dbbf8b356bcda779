//! Who wants to know how the loader or the relay is: the figures and the probes over HTTP (`/metrics`, `/livez` and `/readyz`),
//! and the words for a supervisor.
//!
//! A task of its own, with limits on connections, headers and time: a reader that is slow, or stops, holds up no lane.

mod health;
mod supervisor;

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout};

pub use self::health::{Check, Health, Patience};
pub use self::supervisor::{Progress, Supervisor};
use crate::metrics::{Build, CONTENT_TYPE as EXPOSITION, Metrics, Whereabouts, unix_seconds};
use crate::queue::Queue;

/// How many connections there may be at once: a scraper and some probes need a handful.
const CONNECTIONS: usize = 32;
/// How long a request may take to come, its head included.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection may last in all.
const CONNECTION_WITHIN: Duration = Duration::from_secs(60);
/// The largest head of a request.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// How old the queue's word on what it holds may be before it is asked again.
const DEPTH_GOOD_FOR: Duration = Duration::from_secs(15);
/// How long a scrape waits for the queue's word. A queue that is away must not make the loader look as if it were.
const DEPTH_WITHIN: Duration = Duration::from_secs(1);

type Answer = Response<Full<Bytes>>;

/// What is served.
pub struct Service<Q> {
    metrics: Metrics,
    build: Build,
    health: Health,
    /// Whether the queue is asked what it holds: only when somebody scrapes, and at most every 15 s.
    asks_depth: bool,
    queue: OnceLock<Q>,
    /// When the queue was asked last.
    asked: Mutex<Option<Instant>>,
}

/// Serves until it is dropped.
pub async fn serve<Q: Queue>(listener: TcpListener, service: Arc<Service<Q>>) -> Infallible {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let (place, accepted) = (free.clone().acquire_owned().await, listener.accept().await);
        match accepted {
            Ok((stream, _)) => {
                let service = service.clone();
                tokio::spawn(async move {
                    let _place = place;
                    service.converse(stream).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection for the figures could not be accepted");
                // Out of file descriptors, most likely: accepting again at once would spin.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

impl<Q: Queue> Service<Q> {
    /// The figures and probes of a process that has no queue yet, or none at all.
    pub fn new(metrics: Metrics, build: Build, health: Health, asks_depth: bool) -> Self {
        Self { metrics, build, health, asks_depth, queue: OnceLock::new(), asked: Mutex::default() }
    }

    /// What is served.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What the probes know besides.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The queue that is loaded from.
    pub fn know(&self, queue: Q) {
        self.queue.get_or_init(|| queue);
    }

    async fn converse(self: Arc<Self>, stream: TcpStream) {
        let answer = service_fn(|request| self.answer(request));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(MAX_HEAD_BYTES);
        match timeout(CONNECTION_WITHIN, http.serve_connection(TokioIo::new(stream), answer)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::trace!(%error, "a connection for the figures ended early"),
            Err(_) => tracing::trace!("a connection for the figures was cut: it took too long"),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Infallible> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n".to_owned());
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(answer);
        }
        let is_verbose = request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "verbose"));
        Ok(match request.uri().path() {
            "/metrics" => self.figures().await,
            "/livez" => probe(&self.health.live(&self.metrics), is_verbose),
            "/readyz" => probe(&self.health.ready(&self.metrics), is_verbose),
            _ => text(StatusCode::NOT_FOUND, "served here: /metrics, /livez, /readyz\n".to_owned()),
        })
    }

    async fn figures(&self) -> Answer {
        self.ask_for_depth().await;
        match self.metrics.snapshot().exposition(&self.build) {
            Ok(figures) => {
                let mut answer = text(StatusCode::OK, figures);
                answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(EXPOSITION));
                answer
            }
            Err(error) => {
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("the figures could not be written: {error}\n"))
            }
        }
    }

    /// Asks the queue what it holds, unless it has just been asked. Scrapes that come together wait for one answer.
    async fn ask_for_depth(&self) {
        let Some(queue) = self.queue.get().filter(|_| self.asks_depth) else { return };
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|asked| asked.elapsed() < DEPTH_GOOD_FOR) {
            return;
        }
        *asked = Some(Instant::now());
        match timeout(DEPTH_WITHIN, queue.depth()).await {
            Ok(Ok(depth)) => self.metrics.count(|figures| {
                for (place, messages) in [
                    (Whereabouts::Visible, depth.visible),
                    (Whereabouts::InFlight, depth.in_flight),
                    (Whereabouts::Delayed, depth.delayed),
                ] {
                    figures.depth.set((place,), messages as f64);
                }
                figures.depth_at.set((), unix_seconds(time::OffsetDateTime::now_utc()));
            }),
            // The scrape goes on with what was said before, whose time tells that it is old.
            Ok(Err(error)) => tracing::debug!(%error, "the queue does not say what it holds"),
            Err(_) => tracing::debug!("the queue does not say in time what it holds"),
        }
    }
}

/// 200 or 503, and a line for each check where that is wanted.
fn probe(checks: &[Check], is_verbose: bool) -> Answer {
    let is_well = checks.iter().all(|check| check.failure.is_none());
    let lines = checks.iter().filter(|check| is_verbose || check.failure.is_some()).map(|check| match &check.failure {
        None => {
            let note = check.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
            format!("[+]{} ok{note}\n", check.name)
        }
        Some(failure) => format!("[-]{} failed: {failure}\n", check.name),
    });
    let mut body: String = lines.collect();
    if is_well {
        body += "ok\n";
    }
    text(if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, body)
}

fn text(status: StatusCode, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
