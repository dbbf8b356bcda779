//! Requests over HTTP/1.1, each with a deadline and a limit to what is read of its answer.
//!
//! What speaks to the queue is the AWS SDK, and not this.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::http::response::Parts;
use hyper::http::uri::Scheme;
use hyper::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

/// The most that is read of an answer: a page of figures has a tenth of it.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// The most that is read of an answer of which only the head is wanted, and for how long.
const MAX_REST_BYTES: usize = 64 * 1024;
const REST_WITHIN: Duration = Duration::from_secs(1);

/// Keeps its connections from one request to the next. Clones share them. It follows no redirects and asks no proxy.
#[derive(Clone, Debug)]
pub struct Client(HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// This program has no TLS to offer.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The request cannot be written.
    #[error("this is no request: {0}")]
    Request(#[from] hyper::http::Error),
    /// No connection, or none that lasted.
    #[error("{}", innermost(.0))]
    Connection(#[from] hyper_util::client::legacy::Error),
    /// The answer broke off, or is longer than what is read.
    #[error("the answer cannot be read: {0}")]
    Answer(Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
}

impl Client {
    /// A client for this address and others of its scheme. The certificates that the system trusts are read where they are
    /// needed: for `https`.
    ///
    /// # Errors
    ///
    /// [`HttpError::Tls`]
    pub fn towards(address: &Uri) -> Result<Self, HttpError> {
        let mut trusted = RootCertStore::empty();
        if address.scheme() == Some(&Scheme::HTTPS) {
            // Of what the system has, whatever can be read is trusted; where that is nothing, the handshake says so.
            trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(trusted)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        Ok(Self(HyperClient::builder(TokioExecutor::new()).build(connector)))
    }

    /// Sends it, and reads the whole answer.
    ///
    /// # Errors
    ///
    /// [`HttpError`]; an answer whose status tells of a failure is an answer.
    pub async fn send(&self, request: Request<Bytes>, within: Duration) -> Result<Response<Bytes>, HttpError> {
        let answered = async {
            let (head, body) = self.0.request(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(|error| {
                HttpError::Answer(match error.is::<LengthLimitError>() {
                    true => format!("it has more than {MAX_ANSWER_BYTES} bytes").into(),
                    false => error,
                })
            })?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        timeout(within, answered).await.unwrap_or(Err(HttpError::TimedOut(within)))
    }

    /// Sends it, and reads the head of the answer, which says what became of the request. What follows is left unread, but for
    /// what must be read so that the connection can be used again.
    ///
    /// # Errors
    ///
    /// [`HttpError`]; an answer whose status tells of a failure is an answer.
    pub async fn head_of_answer(&self, request: Request<Bytes>, within: Duration) -> Result<Parts, HttpError> {
        let answered = timeout(within, self.0.request(request.map(Full::new))).await;
        let (head, body) = answered.map_err(|_| HttpError::TimedOut(within))??.into_parts();
        let rest = Limited::new(body, MAX_REST_BYTES).collect();
        // However it ends, the answer stands. One that is too long or too slow costs its connection.
        drop(timeout(REST_WITHIN, rest).await);
        Ok(head)
    }

    /// Asks for what stands at this address.
    ///
    /// # Errors
    ///
    /// [`HttpError`]
    pub async fn get(&self, address: &Uri, within: Duration) -> Result<Response<Bytes>, HttpError> {
        self.send(Request::get(address).body(Bytes::new())?, within).await
    }
}

/// Whether what is sent to this host does not leave this machine.
pub fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What lies at the bottom of an error: "connection refused", and not "client error".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// A server that says this once, and holds the connection until it is closed.
    fn server_that_says(answer: impl Into<Vec<u8>>) -> Uri {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = answer.into();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 1024];
            let _length = stream.read(&mut asked).unwrap();
            // A client that has read enough closes the connection.
            let _cut_short = stream.write_all(&answer);
            let _length = stream.read(&mut asked);
        });
        format!("http://{address}/metrics").parse().unwrap()
    }

    async fn answer_of(address: &Uri, within: Duration) -> Result<Response<Bytes>, HttpError> {
        Client::towards(address)?.get(address, within).await
    }

    #[tokio::test]
    async fn an_answer_is_read_whole_whatever_its_status() {
        let address = server_that_says("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy");
        let answer = answer_of(&address, Duration::from_secs(30)).await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (503, &b"busy"[..]));
    }

    #[tokio::test]
    async fn a_server_that_is_silent_or_says_too_much_or_is_not_there_is_an_error_that_says_so() {
        let silent = server_that_says("");
        let error = answer_of(&silent, Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(error.to_string(), "no answer within 0.05 s");

        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", MAX_ANSWER_BYTES + 1);
        let talkative = server_that_says([head.into_bytes(), vec![b'x'; MAX_ANSWER_BYTES + 1]].concat());
        let error = answer_of(&talkative, Duration::from_secs(30)).await.unwrap_err();
        assert_eq!(error.to_string(), "the answer cannot be read: it has more than 1048576 bytes");

        let nobody: Uri = "http://127.0.0.1:1/".parse().unwrap();
        let error = answer_of(&nobody, Duration::from_secs(30)).await.unwrap_err();
        assert!(error.to_string().starts_with("Connection refused"), "{error}");
    }
}
