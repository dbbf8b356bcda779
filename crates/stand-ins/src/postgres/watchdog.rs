//! What ends a server when the process that started it cannot: it was killed, or never dropped its statics.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::place::Account;

/// The name of the cluster's folder inside the temporary one.
pub(super) const DATA: &str = "data";

/// Waits for the end of its input, which comes when that process ends in whatever way: the kernel closes the pipe.
///
/// The server's own file says which process to stop, so a restarted server needs no new watchdog. It is stopped as by
/// an immediate shutdown (SIGQUIT; SIGCONT, if it was frozen), and killed if it has not gone after ten seconds.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
read -r line
pid_file=$1/postmaster.pid
if [ -s "$pid_file" ] && read -r pid < "$pid_file"; then
    kill -QUIT "$pid"
    kill -CONT "$pid"
    tries=0
    while [ -e "$pid_file" ] && [ "$tries" -lt 100 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    [ ! -e "$pid_file" ] || kill -KILL "$pid"
fi
rm -rf "$2" || { sleep 1; rm -rf "$2"; }
"#;

/// A `sh` that outlives us just long enough to stop the server and remove its folder.
pub(super) struct Watchdog(Child);

impl Watchdog {
    /// Watches over the cluster in `folder`.
    pub(super) fn over(folder: &Path, account: &Account) -> io::Result<Self> {
        let mut sh = Command::new("/bin/sh");
        sh.args(["-c", SCRIPT, "stand-in-watchdog"]).arg(folder.join(DATA)).arg(folder).current_dir("/");
        // A reader of our output must not wait for the watchdog's end.
        sh.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        account.run(&mut sh);
        sh.spawn().map(Self)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It ends by itself; waiting only keeps it from staying in the process table.
        drop(self.0.wait());
    }
}
