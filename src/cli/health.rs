//! `turnstile health`: asks a running loader or relay whether it is well, for health checks that have no HTTP client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use hyper::{Response, StatusCode, Uri};

use super::terminal::say;
use super::{Failure, Outcome};
use crate::config::{Given, rows};
use crate::http::{Client, HttpError};

/// How long it may take to answer.
const WITHIN: Duration = Duration::from_secs(5);

/// What `turnstile health` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Ends with 0 where the loader or relay is well and with 1 where it is not, or does not answer. Alive means that every lane \
moves, whatever it waits for: a loader whose database is away is alive. Ready means that it loads, or would if there were \
something to load; and the same of a relay that carries.")]
pub struct Args {
    /// Ask whether it is ready, and not only whether it is alive
    #[arg(long)]
    ready: bool,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let mut mistakes = given.mistakes();
        let address = given.optional(&rows::METRICS_ADDRESS, &mut mistakes).and_then(|address| {
            let name = given.name_of(&rows::METRICS_ADDRESS);
            address.or_else(|| mistakes.note(name, "is not set", "give what the loader was started with"))
        });
        let address = reachable(mistakes.or(address)?);
        let path = if self.ready { "/readyz" } else { "/livez" };
        let answer = ask(&format!("http://{address}{path}?verbose")).await.map_err(|error| {
            let remedy = "see that it runs, and was started with the same --metrics-address";
            Failure::new(format!("nothing at {address} answers: {error}"), remedy)
        })?;
        say(String::from_utf8_lossy(answer.body()).trim_end())?;
        Ok(if answer.status() == StatusCode::OK { Outcome::Done } else { Outcome::Failed })
    }
}

async fn ask(address: &str) -> Result<Response<Bytes>, HttpError> {
    let address = Uri::try_from(address).map_err(hyper::http::Error::from)?;
    Client::towards(&address)?.get(&address, WITHIN).await
}

/// A loader that listens on every address is asked on this machine's own.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let host = match address.ip() {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    SocketAddr::new(host, address.port())
}
