//! The collector, over HTTP: by the client that the rest of the program uses, and on its threads.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;

use super::variables::{Unusable, Wanted};
use crate::http::Client;
use crate::outage::Outage;

/// How seldom it is told that the collector is away: one that comes and goes fills no log.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What to do about a collector that takes no traces.
const REMEDY: &str =
    "look at the collector, and at OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS; loading goes on";

/// Where the traces are sent.
#[derive(Debug)]
pub(super) struct Collector {
    client: Client,
    runtime: Handle,
    within: Duration,
    trouble: Trouble,
}

impl Collector {
    /// What the variables name, asked on the threads of the runtime in which this is called.
    pub(super) fn new(wanted: &Wanted) -> Result<Self, Unusable> {
        let failed = |what: String| Unusable { what, remedy: "report it: it may be a defect" };
        let client = Client::towards(&wanted.endpoint).map_err(|error| failed(error.to_string()))?;
        let runtime = Handle::try_current().map_err(|error| failed(error.to_string()))?;
        Ok(Self { client, runtime, within: wanted.within, trouble: Trouble::default() })
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let begun = Instant::now();
        let (client, within) = (self.client.clone(), self.within);
        // The exporter waits for this on a thread of its own, which has no runtime.
        let answer = self.runtime.spawn(async move { client.send(request, within).await }).await?;
        match &answer {
            Ok(answer) if answer.status().is_success() => self.trouble.ended(),
            Ok(answer) => self.trouble.met(begun, &format!("the collector answers {}", answer.status())),
            Err(error) => self.trouble.met(begun, &error.to_string()),
        }
        Ok(answer?)
    }
}

impl HttpClient for Collector {
    fn send_bytes<'c, 'f>(
        &'c self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        'c: 'f,
        Self: 'f,
    {
        Box::pin(self.send(request))
    }
}

/// A time in which no traces can be sent: told when it begins and when it is over.
#[derive(Debug, Default)]
struct Trouble {
    outage: Outage,
    telling: Mutex<Telling>,
}

#[derive(Debug, Default)]
struct Telling {
    last: Option<Instant>,
    /// Whether its end is to be told.
    is_open: bool,
}

impl Trouble {
    fn met(&self, begun: Instant, error: &str) {
        let lasting = self.outage.failed(begun);
        let mut telling = self.telling();
        if !telling.is_open && telling.last.is_none_or(|last| last.elapsed() >= TELL_EVERY) {
            *telling = Telling { last: Some(Instant::now()), is_open: true };
            tracing::warn!(error, %lasting, remedy = REMEDY, "traces cannot be sent, and are lost");
        }
    }

    fn ended(&self) {
        let Some(lasted) = self.outage.ended() else { return };
        if std::mem::take(&mut self.telling().is_open) {
            tracing::info!(after = %lasted, attempts = lasted.attempts, "traces are sent again");
        }
    }

    fn telling(&self) -> MutexGuard<'_, Telling> {
        self.telling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::tests::logged;

    #[test]
    fn trouble_is_told_once_when_it_begins_and_once_when_it_is_over_and_not_each_time_that_it_comes() {
        let log = logged(|| {
            let trouble = Trouble::default();
            (0..3).for_each(|_| trouble.met(Instant::now(), "refused"));
            trouble.ended();
            trouble.ended();
            trouble.met(Instant::now(), "refused");
            trouble.ended();
        });
        let told: Vec<&str> = log.lines().filter(|line| !line.starts_with("    ")).collect();
        assert_eq!(told.len(), 2, "{log}");
        assert!(
            told[0].contains("WARN") && told[0].contains("refused") && told[1].contains("traces are sent again"),
            "{log}"
        );
    }
}
