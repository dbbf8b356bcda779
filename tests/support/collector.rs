//! A collector of traces that takes OTLP over HTTP, and remembers every byte.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What the collector does with a request.
#[derive(Clone, Copy)]
pub(crate) enum Manner {
    /// Answers with this status.
    Says(u16),
    /// Never answers.
    Hangs,
}

/// One request as it arrived.
pub(crate) struct Export {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The collector; it ends when it is dropped.
pub(crate) struct Collector {
    address: SocketAddr,
    connections: Arc<AtomicU64>,
    exports: Arc<Mutex<Vec<Export>>>,
    task: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    pub(crate) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, exports) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (counted, kept) = (connections.clone(), exports.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let kept = kept.clone();
                let service = service_fn(move |request| answer(request, manner, kept.clone()));
                let serve = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move { drop(serve.await) });
            }
        });
        Self { address, connections, exports, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    /// What is looked at of every request.
    pub(crate) fn exports<T>(&self, look: impl FnMut(&Export) -> T) -> Vec<T> {
        self.exports.lock().unwrap().iter().map(look).collect()
    }

    /// Every span, with what its process says of itself.
    pub(crate) fn spans(&self) -> Vec<(Resource, Span)> {
        let requests = self.exports(|export| ExportTraceServiceRequest::decode(export.body.clone()).unwrap());
        let resources = requests.into_iter().flat_map(|request| request.resource_spans);
        let each = resources.flat_map(|resource| {
            let process = resource.resource.unwrap();
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.map(move |span| (process.clone(), span))
        });
        each.collect()
    }
}

/// The attribute of this name, as text.
pub(crate) fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == name)?.value.clone()?;
    match value.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{name} is {other:?}"),
    }
}

async fn answer(
    request: Request<Incoming>,
    manner: Manner,
    kept: Arc<Mutex<Vec<Export>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    kept.lock().unwrap().push(Export { path: head.uri.path().to_owned(), headers: head.headers, body });
    match manner {
        Manner::Says(status) => Ok(Response::builder().status(status).body(Full::default()).unwrap()),
        Manner::Hangs => match std::future::pending::<Infallible>().await {},
    }
}
