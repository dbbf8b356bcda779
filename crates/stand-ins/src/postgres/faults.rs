//! What a server can be made to suffer, so that others can be seen to survive it.

use std::process::Child;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use super::{Postgres, PostgresError, place};

impl Postgres {
    /// Stops the server as an immediate shutdown does: connections are cut and nothing is written any more, so that
    /// the next start recovers from the log as after a crash.
    ///
    /// # Errors
    ///
    /// As for [`Self::stop`].
    pub async fn stop_immediately(&mut self) -> Result<(), PostgresError> {
        self.stop_by(Signal::SIGQUIT).await
    }

    /// Kills the server and all its processes at once, as a crash would; its data stay for [`Self::restart`].
    pub fn kill_hard(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        // Stopped first, it cannot start a process that the list does not hold.
        send(&server, Signal::SIGSTOP);
        let children = place::children_of(server.id());
        send(&server, Signal::SIGKILL);
        children.into_iter().for_each(|child| send_to(child, Signal::SIGKILL));
        // It is our child and was killed: waiting for it cannot fail in a way that would leave something to do.
        drop(server.wait());
        self.paused = false;
    }

    /// Freezes the server: connections stay open and nothing answers, as when a machine hangs.
    pub fn pause(&mut self) {
        self.paused = true;
        self.send_to_all(Signal::SIGSTOP);
    }

    /// Lets a frozen server go on.
    pub fn resume(&mut self) {
        if self.paused {
            self.send_to_all(Signal::SIGCONT);
            self.paused = false;
        }
    }

    fn send_to_all(&self, signal: Signal) {
        let Some(server) = &self.server else { return };
        send(server, signal);
        place::children_of(server.id()).into_iter().for_each(|child| send_to(child, signal));
    }
}

pub(super) fn send(process: &Child, signal: Signal) {
    send_to(process.id(), signal);
}

fn send_to(process: u32, signal: Signal) {
    // A process that has gone needs no signal any more.
    signal::kill(Pid::from_raw(process.cast_signed()), signal).unwrap_or_default();
}
