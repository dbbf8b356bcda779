//! How the program is told to end: the first signal asks, the second does not.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two moments of an orderly end.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// From here on nothing new is received.
    pub stopping: CancellationToken,
    /// From here on nothing is waited for: what is in hand goes back to the queue.
    pub giving_up: CancellationToken,
}

impl Shutdown {
    /// Asks for the end: stops receiving now, and gives up when four fifths of `within` have passed, so that what is
    /// in hand can still go back to the queue.
    pub async fn begin(&self, within: Duration) {
        self.stopping.cancel();
        tokio::time::sleep(within.mul_f64(0.8)).await;
        self.giving_up.cancel();
    }
}

/// SIGINT and SIGTERM, in the order in which they come.
pub struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Begins to listen; from now on neither signal ends the process by itself.
    ///
    /// # Errors
    ///
    /// When the system refuses the listener.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next signal and gives its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
