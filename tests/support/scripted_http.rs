//! An HTTP server that answers each call as the test says, and remembers what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One call as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// `ReceiveMessage`, `DeleteMessageBatch`, …
    pub(crate) call: String,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
    /// The bytes as JSON; null where they are none.
    pub(crate) body: Value,
}

/// What the server does with a call.
pub(crate) enum Reply {
    Say {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
    },
    /// Closes the connection without a word.
    Close,
    /// Begins a good reply, and closes the connection within its body.
    Cut,
    /// Keeps the connection open and says nothing.
    Hang,
}

impl Reply {
    pub(crate) fn json(body: Value) -> Self {
        Self::raw(200, body.to_string())
    }

    pub(crate) fn raw(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Say { status, headers: Vec::new(), body: body.into() }
    }

    pub(crate) fn error(status: u16, code: &str) -> Self {
        Self::raw(status, format!(r#"{{"__type":"com.amazonaws.sqs#{code}","message":"as scripted"}}"#))
    }

    pub(crate) fn with_header(self, name: &'static str, value: impl Into<String>) -> Self {
        match self {
            Self::Say { status, mut headers, body } => {
                headers.push((name, value.into()));
                Self::Say { status, headers, body }
            }
            Self::Close | Self::Cut | Self::Hang => self,
        }
    }
}

/// The server; it ends when it is dropped.
pub(crate) struct ScriptedHttp {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Drop for ScriptedHttp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ScriptedHttp {
    /// Starts on a port of its own. The script sees each call and how many came before it.
    pub(crate) async fn start(script: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at(TcpListener::bind("127.0.0.1:0").await.unwrap(), script)
    }

    /// Starts on a socket that already listens.
    pub(crate) fn start_at(
        listener: TcpListener,
        script: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (script, log) = (Arc::new(script), asked.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, log) = (script.clone(), log.clone());
                let service = service_fn(move |request| answer(request, script.clone(), log.clone()));
                let serve = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move { drop(serve.await) });
            }
        });
        Self { address, asked, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The calls of this name, in order.
    pub(crate) fn asked(&self, call: &str) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.call == call).map(|asked| asked.body.clone()).collect()
    }

    /// AWS settings that lead to this server.
    pub(crate) fn aws(&self) -> SdkConfig {
        aws_at(&self.url())
    }
}

/// AWS settings with made-up credentials that lead to this endpoint.
pub(crate) fn aws_at(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .build()
}

async fn answer(
    request: Request<Incoming>,
    script: Arc<impl Fn(&Asked, usize) -> Reply>,
    log: Arc<Mutex<Vec<Asked>>>,
) -> Result<Response<BoxBody<Bytes, std::io::Error>>, std::io::Error> {
    let target = request.headers().get("x-amz-target").map(|target| target.to_str().unwrap().to_owned());
    let call = target.unwrap_or_default().trim_start_matches("AmazonSQS.").to_owned();
    let headers = request.headers().clone();
    let bytes = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let asked = Asked { call, headers, bytes, body };
    let before = {
        let mut log = log.lock().unwrap();
        log.push(asked.clone());
        log.iter().filter(|earlier| earlier.call == asked.call).count() - 1
    };
    match script(&asked, before) {
        Reply::Say { status, headers, body } => {
            let reply = headers
                .iter()
                .fold(Response::builder().status(status), |reply, (name, value)| reply.header(*name, value));
            Ok(reply.body(Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed()).unwrap())
        }
        Reply::Cut => {
            let head = stream::iter([Ok(Frame::data(Bytes::from("{\"Messages\":")))]);
            // The server writes what it has as soon as it must wait for more.
            let end = stream::once(async {
                tokio::task::yield_now().await;
                Err(std::io::Error::other("cut as scripted"))
            });
            Ok(Response::new(BodyExt::boxed(StreamBody::new(head.chain(end)))))
        }
        Reply::Close => Err(std::io::Error::other("closed as scripted")),
        Reply::Hang => match std::future::pending::<Infallible>().await {},
    }
}

/// As SQS writes it.
pub(crate) fn md5_of(bytes: &[u8]) -> String {
    use md5::Digest as _;
    md5::Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
