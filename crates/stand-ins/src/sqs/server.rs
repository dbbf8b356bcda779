//! The queues behind HTTP/1.1: bytes to requests, waiting, faults, and replies to bytes.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, DATE, HOST, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::clock::{Clock, Moment};
use super::error::ApiError;
use super::faults::{Fate, When};
use super::limits::MAX_REQUEST_BYTES;
use super::reply::{Reply, refusal};
use super::request::{Receive, Request, parse};
use super::service::{Received, Service};
use super::state::DeliveredMessage;

type HttpRequest = hyper::Request<Incoming>;
type HttpResponse = hyper::Response<Full<Bytes>>;

/// A call that is not answered, on purpose: hyper closes a connection whose service fails.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut on purpose")]
struct Cut;

/// What the connections of a server share.
pub(super) struct Server {
    service: Mutex<Service>,
    clock: Clock,
    pub(super) address: SocketAddr,
    /// No new calls; waiting receives are answered at once.
    pub(super) closing: CancellationToken,
    /// Everything ends where it stands.
    pub(super) ended: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Server {
    pub(super) fn new(service: Service, clock: Clock, address: SocketAddr) -> Self {
        let ended = CancellationToken::new();
        let closing = ended.child_token();
        Self { service: Mutex::new(service), clock, address, closing, ended, tasks: TaskTracker::new() }
    }

    /// The queues, for a moment. A panic elsewhere does not take them away: each call leaves them whole.
    pub(super) fn service(&self) -> MutexGuard<'_, Service> {
        self.service.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Accepts connections until the server closes.
    pub(super) async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.closing.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let server = Arc::clone(&self);
                    self.tasks.spawn(server.serve(stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "the local SQS server could not accept a connection");
                    // Out of file descriptors, most likely: accepting again at once would spin.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        // Replies are small and each is awaited: waiting to fill a packet costs up to 40 ms a call.
        stream.set_nodelay(true).unwrap_or_else(|error| tracing::debug!(%error, "TCP_NODELAY was refused"));
        let answer = service_fn(|request| self.answer(request));
        let mut connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        let ended = tokio::select! {
            () = self.ended.cancelled() => return,
            ended = connection.as_mut() => ended,
            () = self.closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    () = self.ended.cancelled() => return,
                    ended = connection.as_mut() => ended,
                }
            }
        };
        // Clients come and go as they like, and lost replies end here too.
        ended.unwrap_or_else(|error| tracing::trace!(%error, "a connection ended early"));
    }

    async fn answer(self: &Arc<Self>, request: HttpRequest) -> Result<HttpResponse, Cut> {
        if *request.method() != Method::POST {
            return Ok(self.look(&request));
        }
        let (head, body) = request.into_parts();
        // Read even where the call is refused on purpose: an unread body would cost the client its connection.
        let body = match read_body(body).await {
            Ok(body) => body,
            Err(error) => return Ok(refused(&error)),
        };
        let fate = self.fate(&head.headers);
        if fate.cut == Some(When::BeforeEffect) {
            return Err(Cut);
        }
        let reply = match fate.refusal {
            Some(refusal) => Err(refusal),
            None => self.obey(&head.headers, &body).await,
        };
        if !fate.delay.is_zero() {
            tokio::time::sleep(fate.delay).await;
        }
        if fate.cut == Some(When::AfterEffect) {
            return Err(Cut);
        }
        let mut response = match reply {
            Ok(reply) => response(StatusCode::OK, reply.to_json(&self.base(&head.headers)), None),
            Err(error) => refused(&error),
        };
        let date = self.service().gate.date(self.now()).and_then(|date| HeaderValue::try_from(date).ok());
        response.headers_mut().extend(date.map(|date| (DATE, date)));
        Ok(response)
    }

    fn fate(&self, headers: &HeaderMap) -> Fate {
        let now = self.now();
        let mut service = self.service();
        service.served.calls += 1;
        let fate = service.dice.call(target(headers).trim_start_matches("AmazonSQS."));
        if fate.refusal.is_some() || fate.cut == Some(When::BeforeEffect) {
            return fate;
        }
        let refusal = service.gate.refusal(headers, now);
        if let Some(refusal) = &refusal {
            service.dice.turned_away(refusal);
        }
        Fate { refusal, ..fate }
    }

    /// The other way to look at a server, for people and health checks.
    fn look(&self, request: &HttpRequest) -> HttpResponse {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/faults") => {
                let counts = self.service().dice.counts();
                response(StatusCode::OK, json!(counts).to_string().into_bytes(), None)
            }
            (&Method::GET, "/health") => response(StatusCode::OK, b"{\"status\":\"ok\"}".to_vec(), None),
            _ => response(StatusCode::NOT_FOUND, b"{}".to_vec(), None),
        }
    }

    /// Scheme, host and port under which the client knows this server.
    fn base(&self, headers: &HeaderMap) -> String {
        match headers.get(HOST).and_then(|host| host.to_str().ok()) {
            Some(host) => format!("http://{host}"),
            None => format!("http://{}", self.address),
        }
    }

    async fn obey(self: &Arc<Self>, headers: &HeaderMap, body: &[u8]) -> Result<Reply, ApiError> {
        match parse(target(headers), body)? {
            Request::ReceiveMessage { queue, receive } => {
                let deliveries = self.receive(&queue, &receive).await?;
                Ok(Reply::Received(deliveries, receive))
            }
            Request::Prompt(call) => {
                let reply = self.service().call(call, self.now());
                if let Ok(Reply::MoveStarted(handle)) = &reply {
                    self.tasks.spawn(Arc::clone(self).carry_on(handle.clone()));
                }
                reply
            }
        }
    }

    /// Receives, waiting for a message as long as the call or the queue says.
    ///
    /// Dropped while it waits, it has taken nothing.
    async fn receive(&self, queue: &str, ask: &Receive) -> Result<Vec<DeliveredMessage>, ApiError> {
        let wait = match ask.wait {
            Some(wait) => wait,
            None => self.service().wait_of(queue)?,
        };
        let deadline = self.now().after(wait);
        loop {
            let wake = self.service().wake_of(queue)?;
            let mut woken = pin!(wake.notified());
            // From here on a send is noticed, so that none falls between the look and the wait.
            woken.as_mut().enable();
            let now = self.now();
            let next_visible = match self.service().receive(queue, ask, !wait.is_zero(), now)? {
                Received::Messages(deliveries) => return Ok(deliveries),
                Received::Nothing { next_visible } => next_visible,
            };
            if now >= deadline || self.closing.is_cancelled() {
                return Ok(Vec::new());
            }
            let until = next_visible.map_or(deadline, |next| next.min(deadline));
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep(until.since(now)) => {}
                () = self.closing.cancelled() => {}
            }
        }
    }

    /// Carries a move task on until it ends.
    async fn carry_on(self: Arc<Self>, handle: String) {
        loop {
            let next = self.service().carry_on(&handle, self.now());
            let Some(next) = next else { return };
            tokio::select! {
                () = self.closing.cancelled() => return,
                () = tokio::time::sleep(next), if !next.is_zero() => {}
                () = tokio::task::yield_now(), if next.is_zero() => {}
            }
        }
    }
}

/// The call that a request makes: `AmazonSQS.ReceiveMessage`.
fn target(headers: &HeaderMap) -> &str {
    headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default()
}

async fn read_body(body: Incoming) -> Result<Bytes, ApiError> {
    let too_large = || ApiError::too_large(MAX_REQUEST_BYTES);
    if body.size_hint().lower() > MAX_REQUEST_BYTES as u64 {
        return Err(too_large());
    }
    Limited::new(body, MAX_REQUEST_BYTES).collect().await.map(|read| read.to_bytes()).map_err(|_| too_large())
}

fn refused(error: &ApiError) -> HttpResponse {
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let fault = if error.code.sender_fault() { "Sender" } else { "Receiver" };
    response(status, refusal(error), Some(format!("{};{fault}", error.code.query_code())))
}

fn response(status: StatusCode, body: Vec<u8>, query_error: Option<String>) -> HttpResponse {
    let mut response = HttpResponse::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    let texts = [("x-amzn-requestid", Some(Uuid::new_v4().to_string())), ("x-amzn-query-error", query_error)];
    for (name, text) in texts {
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(name, value);
        }
    }
    response
}
