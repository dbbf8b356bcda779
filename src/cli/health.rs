//! `turnstile health`: asks a running loader whether it is well, for health checks that have no HTTP client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::terminal::say;
use super::{Failure, Outcome};
use crate::config::{Given, rows};

/// How long the loader may take to answer.
const WITHIN: Duration = Duration::from_secs(5);
/// How much of an answer is read.
const MOST_BYTES: u64 = 64 * 1024;

/// What `turnstile health` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Ends with 0 where the loader is well and with 1 where it is not, or does not answer. Alive means that every lane moves, \
whatever it waits for: a loader whose database is away is alive. Ready means that it loads, or would if there were something \
to load.")]
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
        let answer =
            timeout(WITHIN, ask(address, path)).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let answer = answer.map_err(|error| {
            let remedy = "see that the loader runs, and was started with the same --metrics-address";
            Failure::new(format!("the loader at {address} does not answer: {error}"), remedy)
        })?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        say(body.trim_end())?;
        let is_well = head.lines().next().is_some_and(|line| line.split(' ').nth(1) == Some("200"));
        Ok(if is_well { Outcome::Done } else { Outcome::Failed })
    }
}

/// A loader that listens on every address is asked on this machine's own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let host = match address.ip() {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    SocketAddr::new(host, address.port())
}

/// One GET whose answer ends with its connection.
async fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path}?verbose HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
