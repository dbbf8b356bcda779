//! How the program is told to end: the first signal asks, the second does not.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two moments of a shutdown.
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

    /// Asks for the end, and waits until all of `within` has passed: what is not at its end by then is cut off. The last fifth is
    /// for giving back what was given up on.
    pub async fn overrun(&self, within: Duration) {
        self.begin(within).await;
        tokio::time::sleep(within.mul_f64(0.2)).await;
    }
}

/// A signal that asks for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, which Ctrl-C sends.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Signal {
    /// The exit code of what it ended, as shells give it: 128 and its number.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// SIGINT and SIGTERM, in the order in which they come.
pub struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    last: Option<Instant>,
}

/// Signals that come this soon after another are the same wish: `timeout` sends one to the process and one to its group.
const ONE_WISH: Duration = Duration::from_secs(1);

impl Signals {
    /// Begins to listen; from now on neither signal ends the process by itself.
    ///
    /// # Errors
    ///
    /// When the system refuses the listener.
    pub fn listen() -> io::Result<Self> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, last: None })
    }

    /// Waits for the next signal. One that comes within a second after the last is not another.
    pub async fn next(&mut self) -> Signal {
        loop {
            let signal = tokio::select! {
                _ = self.interrupt.recv() => Signal::Interrupt,
                _ = self.terminate.recv() => Signal::Terminate,
            };
            let now = Instant::now();
            if is_another(self.last, now) {
                self.last = Some(now);
                return signal;
            }
        }
    }
}

/// Whether a signal is another than the last one, and not its echo.
fn is_another(last: Option<Instant>, now: Instant) -> bool {
    last.is_none_or(|last| now.duration_since(last) >= ONE_WISH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_signals_within_a_second_are_one_wish() {
        let first = Instant::now();
        let after = |milliseconds| first + Duration::from_millis(milliseconds);
        assert!(is_another(None, first));
        assert!(!is_another(Some(first), after(5)));
        assert!(!is_another(Some(first), after(999)));
        assert!(is_another(Some(first), after(1_000)));
    }
}
