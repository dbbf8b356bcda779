//! A receiver over HTTP: CloudEvents in structured mode, one a request or several, signed by Standard Webhooks.

mod address;
mod signature;
mod verdict;

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use time::OffsetDateTime;
use tokio::time::Instant;

pub use self::address::HttpAddress;
pub use self::signature::{NoSecrets, Secrets};
use self::verdict::{Verdict, asked_pause, verdict};
use super::{Carried, Envelope, Limits, Sink, SinkError, envelope};
use crate::http::{Client, HttpError};

/// How many requests of a call are on their way at once, where each carries one event.
const REQUESTS: usize = 8;

/// How large the body of a request may be that carries several events: many servers refuse more than 1 MiB.
const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// The longest pause that a receiver may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How an HTTP sink is reached. Prints no secret.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// The most events in a request; none: one event a request, which is then not in a list.
    pub batch: Option<u16>,
    /// How long an answer may take.
    pub deadline: Duration,
    /// What requests are signed with, if they are.
    pub secrets: Option<Secrets>,
    /// The token that lets this program in, if it needs one.
    pub bearer: Option<Bearer>,
    /// Whether a receiver elsewhere than on this machine may be reached in clear.
    pub allow_clear: bool,
}

impl Default for HttpSettings {
    /// One event a request, 10 s, neither signature nor token, nothing in clear over a network.
    fn default() -> Self {
        Self { batch: None, deadline: Duration::from_secs(10), secrets: None, bearer: None, allow_clear: false }
    }
}

/// A token for the header `authorization`. Not printed.
#[derive(Clone)]
pub struct Bearer(HeaderValue);

impl Bearer {
    /// The token that a text holds, without the space around it; none where it holds anything that is not of a token.
    pub fn parse(text: &str) -> Option<Self> {
        let token = text.trim();
        let is_of_token = |byte: u8| byte.is_ascii_graphic();
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
        value.set_sensitive(true);
        (!token.is_empty() && token.bytes().all(is_of_token)).then_some(Self(value))
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token")
    }
}

/// Why a receiver cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    /// The events would leave this machine in clear.
    #[error("the sink {0} is reached in clear, and everybody on the way can read the events")]
    InClear(HttpAddress),
    /// There is no client.
    #[error(transparent)]
    Client(#[from] HttpError),
}

impl ReceiverError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::InClear(_) => "use https://, or add --allow-clear-http where the way needs no protection",
            Self::Client(_) => "try again on a system that provides TLS",
        }
    }
}

/// A receiver.
#[derive(Debug)]
pub struct HttpSink {
    client: Client,
    address: HttpAddress,
    settings: HttpSettings,
    /// Until when the receiver wants to be left alone.
    left_alone_until: Mutex<Option<Instant>>,
}

impl HttpSink {
    /// The receiver at this address. Nothing is asked of it yet.
    ///
    /// # Errors
    ///
    /// [`ReceiverError`], which says what to do.
    pub fn at(address: HttpAddress, settings: HttpSettings) -> Result<Self, ReceiverError> {
        if address.is_in_clear() && !settings.allow_clear {
            return Err(ReceiverError::InClear(address));
        }
        let client = Client::towards(address.uri())?;
        Ok(Self { client, address, settings, left_alone_until: Mutex::new(None) })
    }

    /// Asks the receiver whether it is there, with no event; whatever it answers, it is.
    ///
    /// # Errors
    ///
    /// [`HttpError`]: it did not answer.
    pub async fn look(&self) -> Result<StatusCode, HttpError> {
        let request = Request::options(self.address.uri())
            .header(USER_AGENT, concat!("turnstile/", env!("CARGO_PKG_VERSION")))
            .body(Bytes::new())?;
        Ok(self.client.head_of_answer(request, self.settings.deadline).await?.status)
    }

    async fn carry_each(&self, events: &[Envelope]) -> Result<Vec<Carried>, SinkError> {
        let requests = events.iter().map(|event| {
            let body = Bytes::copy_from_slice(event.body.as_bytes());
            self.post(event.id.to_string(), envelope::CONTENT_TYPE, body)
        });
        let requests: Vec<_> = requests.collect();
        let verdicts: Vec<Verdict> = stream::iter(requests).buffered(REQUESTS).collect().await;
        of_each(verdicts)
    }

    async fn carry_together(&self, events: &[Envelope]) -> Result<Vec<Carried>, SinkError> {
        let bodies: Vec<&str> = events.iter().map(|event| &*event.body).collect();
        let body = Bytes::from(format!("[{}]", bodies.join(",")));
        match self.post(id_of(events), envelope::BATCH_CONTENT_TYPE, body).await {
            Verdict::Taken => Ok(vec![Carried::Taken; events.len()]),
            Verdict::Refused(code) => Err(SinkError::Refused(code)),
            Verdict::Away(cause) => Err(SinkError::Away(cause)),
            Verdict::Gone(cause) => Err(SinkError::Gone(cause)),
        }
    }

    async fn post(&self, id: String, content_type: &'static str, body: Bytes) -> Verdict {
        let request = match self.request(&id, content_type, body, OffsetDateTime::now_utc().unix_timestamp()) {
            Ok(request) => request,
            Err(error) => return Verdict::Away(HttpError::from(error).to_string()),
        };
        match self.client.head_of_answer(request, self.settings.deadline).await {
            Ok(head) => {
                let verdict = verdict(head.status);
                if let Verdict::Away(_) = verdict
                    && let Some(pause) = asked_pause(&head.headers, OffsetDateTime::now_utc())
                {
                    self.leave_alone(pause.min(LONGEST_PAUSE));
                }
                verdict
            }
            Err(error) => Verdict::Away(error.to_string()),
        }
    }

    fn request(
        &self,
        id: &str,
        content_type: &'static str,
        body: Bytes,
        timestamp: i64,
    ) -> Result<Request<Bytes>, hyper::http::Error> {
        let mut request = Request::post(self.address.uri())
            .header(CONTENT_TYPE, content_type)
            .header(USER_AGENT, concat!("turnstile/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp);
        if let Some(secrets) = &self.settings.secrets {
            request = request.header("webhook-signature", secrets.sign(id, timestamp, &body));
        }
        if let Some(Bearer(token)) = &self.settings.bearer {
            request = request.header(AUTHORIZATION, token);
        }
        request.body(body)
    }

    fn leave_alone(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut current = self.left_alone_until.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Some(current.map_or(until, |other| other.max(until)));
    }

    fn is_left_alone_for(&self) -> Option<Duration> {
        let until = *self.left_alone_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.map(|until| until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }
}

impl Sink for HttpSink {
    fn limits(&self) -> Limits {
        match self.settings.batch {
            // Commas and brackets count too.
            Some(events) => {
                let events = usize::from(events);
                Limits { events, bytes: MAX_BATCH_BYTES - events - 1 }
            }
            None => Limits { events: REQUESTS, bytes: usize::MAX },
        }
    }

    async fn carry(&self, events: &[Envelope]) -> Result<Vec<Carried>, SinkError> {
        if let Some(left) = self.is_left_alone_for() {
            return Err(SinkError::Away(format!("it asks to be left alone for {} s more", left.as_secs() + 1)));
        }
        match self.settings.batch {
            Some(_) => self.carry_together(events).await,
            None => self.carry_each(events).await,
        }
    }
}

/// What became of each event, of requests side by side. Where nothing is taken or refused, the call failed as a whole.
fn of_each(verdicts: Vec<Verdict>) -> Result<Vec<Carried>, SinkError> {
    let mut away = None;
    let mut outcomes = Vec::with_capacity(verdicts.len());
    for verdict in verdicts {
        outcomes.push(match verdict {
            Verdict::Taken => Carried::Taken,
            Verdict::Refused(code) => Carried::Refused(code),
            Verdict::Away(cause) => {
                away.get_or_insert(cause);
                Carried::Again
            }
            Verdict::Gone(cause) => return Err(SinkError::Gone(cause)),
        });
    }
    match away {
        Some(cause) if outcomes.iter().all(|outcome| *outcome == Carried::Again) => Err(SinkError::Away(cause)),
        Some(_) | None => Ok(outcomes),
    }
}

/// The id of several events together: the same at every attempt of the same events in the same order.
fn id_of(events: &[Envelope]) -> String {
    let mut hasher = blake3::Hasher::new();
    events.iter().for_each(|event| {
        hasher.update(event.id.to_string().as_bytes());
    });
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_some_requests_brought_is_kept_though_others_failed() {
        let away = |cause: &str| Verdict::Away(cause.to_owned());
        let outcomes = of_each(vec![away("a"), Verdict::Taken, Verdict::Refused("HTTP 422".to_owned())]).unwrap();
        assert_eq!(outcomes, [Carried::Again, Carried::Taken, Carried::Refused("HTTP 422".to_owned())]);
        let all = of_each(vec![away("a"), away("b")]).unwrap_err();
        assert!(matches!(&all, SinkError::Away(cause) if cause == "a"), "{all}");
        let gone = of_each(vec![Verdict::Taken, Verdict::Gone("g".to_owned())]).unwrap_err();
        assert!(matches!(gone, SinkError::Gone(_)));
    }

    #[test]
    fn a_token_is_taken_without_its_line_end_and_never_printed() {
        for text in ["sesame", " sesame\r\n"] {
            let Bearer(value) = Bearer::parse(text).unwrap();
            assert_eq!(value, "Bearer sesame");
        }
        for text in ["", "\n", "two words", "two\nlines", "sésame"] {
            assert!(Bearer::parse(text).is_none(), "{text:?}");
        }
        let settings = HttpSettings { bearer: Bearer::parse("sesame"), ..HttpSettings::default() };
        assert!(!format!("{settings:?}").contains("sesame"));
    }
}
