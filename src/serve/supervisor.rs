//! What systemd, or another supervisor that gives a `NOTIFY_SOCKET`, is told of a loader or a relay: that it is ready, what it does, that
//! it is alive, and that it ends. The protocol is that of `sd_notify(3)`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::health::Health;
use crate::metrics::{Metrics, Part, Snapshot};
use crate::telemetry::Report;

/// How often a supervisor is told how the loader is, unless its watchdog wants to hear more often.
const EVERY: Duration = Duration::from_secs(5);
/// What a start or an end may take further, said anew each time: three words of us may go astray.
const FURTHER: Duration = Duration::from_secs(15);

/// Who has started this process, and wants to know how it is.
#[derive(Debug)]
pub struct Supervisor {
    socket: UnixDatagram,
    /// How long it waits for a word before it takes the process to be dead.
    watchdog: Option<Duration>,
}

/// How far a loader has come.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Its database, and its queue or sink, are there, and it begins.
    pub ready: CancellationToken,
    /// It was asked to end.
    pub stopping: CancellationToken,
}

impl Supervisor {
    /// The supervisor that the environment names; none where nobody wants to know.
    ///
    /// # Errors
    ///
    /// When its socket cannot be reached.
    pub fn of_environment() -> io::Result<Option<Self>> {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Ok(None) };
        let number = |variable| env::var(variable).ok()?.parse::<u64>().ok();
        let of_other = number("WATCHDOG_PID").is_some_and(|process| process != u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|_| !of_other).map(Duration::from_micros);
        Ok(Some(Self { socket: connected(&name)?, watchdog }))
    }

    /// Tells it for as long as the loader runs, and never holds anything up: what does not fit into its socket is dropped.
    pub async fn tell(self, metrics: Metrics, health: Health, progress: Progress) {
        let every = self.watchdog.map_or(EVERY, |watchdog| EVERY.min(watchdog / 3)).max(Duration::from_millis(10));
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = metrics.snapshot();
        let (mut is_ready, mut is_stopping) = (false, false);
        loop {
            tokio::select! {
                // The first tick is at once, so that it hears of the start first.
                biased;
                _ = ticks.tick() => {}
                () = progress.ready.cancelled(), if !is_ready => {
                    is_ready = true;
                    self.say("READY=1");
                }
                () = progress.stopping.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    self.say("STOPPING=1");
                }
            }
            let now = metrics.snapshot();
            self.say(&format!("STATUS={}", status(&before, &now, is_ready, is_stopping)));
            before = now;
            if is_stopping || !is_ready {
                self.say(&format!("EXTEND_TIMEOUT_USEC={}", FURTHER.as_micros()));
            }
            if self.watchdog.is_some() && health.live(&metrics).iter().all(|check| check.failure.is_none()) {
                self.say("WATCHDOG=1");
            }
        }
    }

    fn say(&self, word: &str) {
        if let Err(error) = self.socket.send(word.as_bytes()) {
            tracing::debug!(%error, "the supervisor was not told");
        }
    }
}

fn status(before: &Snapshot, now: &Snapshot, is_ready: bool, is_stopping: bool) -> String {
    if now.work.has(Part::Console) {
        return if is_stopping { "ending".to_owned() } else { "serving the console".to_owned() };
    }
    let (other_side, in_hand) = match now.work.has(Part::Loader) {
        true => ("queue", format!("{} messages", now.in_hand.get(()).unwrap_or_default())),
        false => ("sink", format!("{} events", now.relay_in_hand.get(()).unwrap_or_default())),
    };
    match (is_ready, is_stopping) {
        (_, true) => format!("ending: {in_hand} in hand"),
        (false, false) => format!("preparing: looking at the database and the {other_side}"),
        (true, false) => Report::between(before, now).to_string(),
    }
}

/// A socket that never blocks. A name that begins with `@` is an abstract one, which has no file.
fn connected(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => connect_abstract(&socket, OsString::from(OsStr::from_bytes(name)))?,
        None => socket.connect(name)?,
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(target_os = "linux")]
fn connect_abstract(socket: &UnixDatagram, name: OsString) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::SocketAddr;

    socket.connect_addr(&SocketAddr::from_abstract_name(name.as_bytes())?)
}

#[cfg(not(target_os = "linux"))]
fn connect_abstract(_: &UnixDatagram, _: OsString) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux has abstract sockets"))
}
