//! `turnstile` as a process: the environment that it is run in, and a loader that is watched, ended or killed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::verdicts::masters;
use super::{LONG_PATIENCE, wait_until};

/// The program under test.
pub(crate) fn turnstile() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_turnstile"))
}

/// A program of ours with nothing in its environment but this database, this keyring, and what AWS's SDK needs.
pub(crate) fn command(program: &Path, database_url: &str, keyring: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("DATABASE_URL", database_url)
        .env("TURNSTILE_KEYRING", keyring)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "x")
        .env("AWS_SECRET_ACCESS_KEY", "x");
    command
}

/// Writes the tests' keyring into a folder; gives its path.
pub(crate) fn write_keyring(folder: &Path) -> PathBuf {
    let path = keyring_in(folder);
    masters().write_new(&path).unwrap();
    path
}

/// Where [`write_keyring`] writes it.
pub(crate) fn keyring_in(folder: &Path) -> PathBuf {
    folder.join("keyring")
}

/// A `turnstile` of its own process; killed if a test ends before it does.
pub(crate) struct Loader {
    child: Child,
    log: PathBuf,
}

impl Loader {
    /// Starts a command that says everything in this log, after what others have said in it.
    pub(crate) fn start(mut command: Command, log: PathBuf) -> Self {
        command.stderr(std::fs::File::options().create(true).append(true).open(&log).unwrap());
        Self { child: command.spawn().unwrap(), log }
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        match self.ends_within(LONG_PATIENCE).await {
            Some(status) => status,
            None => panic!("the loader does not end: {}", self.said()),
        }
    }

    /// Waits for its end, for so long at most.
    pub(crate) async fn ends_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let since = Instant::now();
        while since.elapsed() < patience {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }

    /// Asks it to end, as an operator does.
    pub(crate) fn terminate(&self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
    }

    /// The process id, while it lives.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it at once.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Where it serves its figures, once it loads.
    pub(crate) async fn serves_at(&self) -> SocketAddr {
        let mut address = None;
        wait_until("it says where it serves, and loads", async || {
            let said = self.said();
            address = said.lines().find_map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).ok()?;
                line.get("address")?.as_str()?.parse().ok()
            });
            address.is_some()
                && ["\"loading\"", "\"carrying events\"", "\"serving the console\""]
                    .iter()
                    .any(|begun| said.contains(begun))
        })
        .await;
        address.expect("an address")
    }

    /// All that it has said.
    pub(crate) fn said(&self) -> String {
        text_of(&self.log)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// What stands in a log.
pub(crate) fn text_of(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap()
}
