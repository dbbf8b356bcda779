//! The queues behind HTTP/1.1: bytes to requests, waiting, faults, and replies to bytes.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, DATE, HOST, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::clock::{Clock, Moment};
use super::error::ApiError;
use super::faults::{Fate, When};
use super::host::Hosts;
use super::limits::{MAX_BUFFER_BYTES, MAX_HEAD_BYTES, MAX_REQUEST_BYTES};
use super::query_protocol;
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

/// Who may come in, and how long they may take.
pub(super) struct Door {
    hosts: Hosts,
    /// One for each connection that may still come.
    connections: Arc<Semaphore>,
    patience: Duration,
    /// Whether it was said that there are as many connections as there may be.
    said_full: AtomicBool,
}

impl Door {
    pub(super) fn new(hosts: Hosts, max_connections: usize, patience: Duration) -> Self {
        let connections = Arc::new(Semaphore::new(max_connections));
        Self { hosts, connections, patience, said_full: AtomicBool::new(false) }
    }

    /// A connection, once there may be one more. Until then others wait in the system's own line.
    async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
        if self.connections.available_permits() == 0 && !self.said_full.swap(true, Ordering::Relaxed) {
            tracing::warn!("the local SQS server has as many connections as it may have: others wait until one closes");
        }
        let connection = Arc::clone(&self.connections).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _) = listener.accept().await?;
        Ok((stream, connection))
    }
}

/// What the connections of a server share.
pub(super) struct Server {
    service: Mutex<Service>,
    clock: Clock,
    pub(super) address: SocketAddr,
    door: Door,
    /// No new calls; waiting receives are answered at once.
    pub(super) closing: CancellationToken,
    /// Everything ends where it stands.
    pub(super) ended: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Server {
    pub(super) fn new(service: Service, clock: Clock, address: SocketAddr, door: Door) -> Self {
        let ended = CancellationToken::new();
        let closing = ended.child_token();
        Self { service: Mutex::new(service), clock, address, door, closing, ended, tasks: TaskTracker::new() }
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
                accepted = self.door.accept(&listener) => accepted,
            };
            match accepted {
                Ok((stream, connection)) => {
                    let server = Arc::clone(&self);
                    self.tasks.spawn(server.serve(stream, connection));
                }
                Err(error) => {
                    tracing::warn!(%error, "the local SQS server could not accept a connection");
                    // Out of file descriptors, most likely: accepting again at once would spin.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, _connection: OwnedSemaphorePermit) {
        // Replies are small and each is awaited: waiting to fill a packet costs up to 40 ms a call.
        stream.set_nodelay(true).unwrap_or_else(|error| tracing::debug!(%error, "TCP_NODELAY was refused"));
        let answer = service_fn(|request| self.answer(request));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(self.door.patience).max_buf_size(MAX_BUFFER_BYTES);
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), answer));
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
        let (head, body) = request.into_parts();
        // Read even where the call is refused on purpose: an unread body would cost the client its connection.
        let body = match read(&head, body, self.door.patience).await {
            Ok(body) => body,
            Err(error) => return Ok(last(refused(&error))),
        };
        if let Some(refusal) = self.door.hosts.refusal(&head.headers) {
            return Ok(refused(&refusal));
        }
        if let Some(action) = query_protocol::action(&head.uri, &head.headers, &body) {
            return Ok(refused_in_xml(action));
        }
        if head.method != Method::POST {
            return Ok(self.look(&head));
        }
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
    fn look(&self, head: &Parts) -> HttpResponse {
        match (&head.method, head.uri.path()) {
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

/// Reads a body, where it and the head are within their limits.
async fn read(head: &Parts, body: Incoming, patience: Duration) -> Result<Bytes, ApiError> {
    if head_bytes(head) > MAX_HEAD_BYTES {
        return Err(ApiError::head_too_large(MAX_HEAD_BYTES));
    }
    let too_large = || ApiError::too_large(MAX_REQUEST_BYTES);
    if body.size_hint().lower() > MAX_REQUEST_BYTES as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(patience, Limited::new(body, MAX_REQUEST_BYTES).collect()).await {
        Ok(read) => read.map(|read| read.to_bytes()).map_err(|_| too_large()),
        Err(_) => Err(ApiError::too_slow(patience)),
    }
}

/// What the request line and the headers take on the wire, to some bytes.
fn head_bytes(head: &Parts) -> usize {
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let headers: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    target + headers
}

/// The answer after which the connection closes: what else comes on it is the rest of a request that is not read.
fn last(mut response: HttpResponse) -> HttpResponse {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn refused_in_xml(action: &str) -> HttpResponse {
    let id = Uuid::new_v4().to_string();
    let mut response = response(StatusCode::BAD_REQUEST, query_protocol::refusal(action, &id).into_bytes(), None);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    response
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
