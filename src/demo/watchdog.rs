//! What ends the loaders when the demo cannot: it was killed, or its terminal was closed.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Waits for the end of its input, which comes when the demo ends in whatever way: the kernel closes the pipe. Until
/// then each line replaces what is to be done at the end.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
folder=$1
loaders=
while read -r what rest; do
    case $what in
        loaders) loaders=$rest ;;
        keep) folder= ;;
    esac
done
[ -z "$loaders" ] || kill -KILL $loaders
[ -z "$folder" ] || rm -rf "$folder" || { sleep 1; rm -rf "$folder"; }
"#;

/// A `sh` that outlives the demo just long enough to clear up behind it.
pub(super) struct Watchdog(Child);

impl Watchdog {
    /// Watches over a folder, which is removed at the end.
    pub(super) fn over(folder: &Path) -> io::Result<Self> {
        let mut sh = Command::new("/bin/sh");
        sh.args(["-c", SCRIPT, "turnstile-demo-watchdog"]).arg(folder).current_dir("/").process_group(0);
        // A reader of our output must not wait for the watchdog's end.
        sh.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        sh.spawn().map(Self)
    }

    /// Says which loaders there are to kill: these, and no others any more.
    pub(super) fn loaders(&self, processes: impl Iterator<Item = u32>) {
        let processes: Vec<String> = processes.map(|process| process.to_string()).collect();
        self.tell(&format!("loaders {}", processes.join(" ")));
    }

    /// Says that the folder stays.
    pub(super) fn keep_folder(&self) {
        self.tell("keep");
    }

    fn tell(&self, line: &str) {
        let Some(mut input) = self.0.stdin.as_ref() else { return };
        if let Err(error) = input.write_all(format!("{line}\n").as_bytes()) {
            tracing::warn!(%error, "the demo's watchdog is gone: if the demo is killed, its loaders are not");
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It ends by itself; waiting only keeps it from staying in the process table.
        drop(self.0.wait());
    }
}
