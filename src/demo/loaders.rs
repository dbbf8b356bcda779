//! The loaders: real `turnstile run` processes, of this very program.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hyper::Uri;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::DemoError;
use super::world::World;
use crate::audit::comparison::count_lines_holding;
use crate::http::Client;
use crate::metrics::Snapshot;

/// How many lines of a log an error shows.
const LINES_SHOWN: usize = 15;

/// How long a loader may take to say how it is.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// Processes that load until they are told to end.
pub(super) struct Loaders<'w> {
    world: &'w World,
    environment: Vec<(String, String)>,
    all: Vec<Loader>,
    /// What the one that was killed had said of itself.
    of_killed: Option<Snapshot>,
}

struct Loader {
    log: PathBuf,
    process: Child,
}

impl<'w> Loaders<'w> {
    /// Starts so many processes; each writes its log into the world's folder.
    pub(super) fn start(
        number: usize,
        world: &'w World,
        environment: Vec<(String, String)>,
    ) -> Result<Self, DemoError> {
        let logs = (1..=number).map(|number| world.folder().join(format!("loader-{number}.log")));
        let start = |log: PathBuf| start(&log, &environment).map(|process| Loader { log, process });
        let all = logs.map(start).collect::<Result<_, _>>()?;
        let loaders = Self { world, environment, all, of_killed: None };
        loaders.tell_watchdog();
        Ok(loaders)
    }

    /// Kills the first loader, as kill -9 does, and starts it again.
    pub(super) async fn kill_one_and_start_it_again(&mut self) -> Result<(), DemoError> {
        let Some(loader) = self.all.first_mut() else { return Ok(()) };
        self.of_killed = Some(loader.figures().await?);
        loader.process.kill().await.map_err(DemoError::system("kill a loader"))?;
        loader.process = start(&loader.log, &self.environment)?;
        self.tell_watchdog();
        Ok(())
    }

    /// Makes sure that all of them run.
    pub(super) fn look_after(&mut self) -> Result<(), DemoError> {
        for loader in &mut self.all {
            let ended = loader.process.try_wait().map_err(DemoError::system("look after a loader"))?;
            if let Some(status) = ended {
                return Err(DemoError::Loader { status, log: last_lines(&loader.log) });
            }
        }
        Ok(())
    }

    /// Tells them to end, as an operator does, and gives what they had said of themselves together, the one that was killed
    /// included.
    pub(super) async fn end(&mut self) -> Result<Snapshot, DemoError> {
        let mut figures = self.of_killed.take();
        for loader in &self.all {
            let of_this = loader.figures().await?;
            figures = Some(figures.map_or_else(|| of_this.clone(), |others| others.together(&of_this)));
            let process = loader.process.id().and_then(|id| i32::try_from(id).ok());
            let told = process.map_or(Ok(()), |process| kill(Pid::from_raw(process), Signal::SIGTERM));
            told.map_err(|error| DemoError::System { what: "tell a loader to end", source: error.into() })?;
        }
        for loader in &mut self.all {
            let status = loader.process.wait().await.map_err(DemoError::system("wait for a loader"))?;
            if !status.success() {
                return Err(DemoError::Loader { status, log: last_lines(&loader.log) });
            }
        }
        self.tell_watchdog();
        figures.ok_or_else(|| DemoError::NoFigures("there is no loader".to_owned()))
    }

    /// How many lines of the loaders' logs hold one of `values`.
    pub(super) fn count_log_lines_holding(&self, values: &[String]) -> Result<u64, DemoError> {
        let count = |loader: &Loader| count_lines_holding(&loader.log, values);
        self.all.iter().map(count).sum::<io::Result<u64>>().map_err(DemoError::system("read a loader's log"))
    }

    fn tell_watchdog(&self) {
        self.world.watchdog.loaders(self.all.iter().filter_map(|loader| loader.process.id()));
    }
}

impl Loader {
    /// What it says of itself. It says where in its log, each time that it is started.
    async fn figures(&self) -> Result<Snapshot, DemoError> {
        let no_figures = |error: &dyn std::fmt::Display| DemoError::NoFigures(error.to_string());
        let log = std::fs::read_to_string(&self.log).map_err(DemoError::system("read a loader's log"))?;
        let address = log.lines().rev().find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(line.get("address")?.as_str()?.to_owned())
        });
        let address = address.ok_or_else(|| no_figures(&"it has not said where they are"))?;
        let page: Uri = format!("http://{address}/metrics").parse().map_err(|error| no_figures(&error))?;
        let client = Client::towards(&page).map_err(|error| no_figures(&error))?;
        let answer = client.get(&page, ANSWERED_WITHIN).await.map_err(|error| no_figures(&error))?;
        let (figures, _) =
            Snapshot::read(&String::from_utf8_lossy(answer.body())).map_err(|error| no_figures(&error))?;
        Ok(figures)
    }
}

impl Drop for Loaders<'_> {
    fn drop(&mut self) {
        for loader in &mut self.all {
            // One that has ended needs no killing.
            loader.process.start_kill().unwrap_or_default();
        }
        self.world.watchdog.loaders(std::iter::empty());
    }
}

fn start(log: &Path, environment: &[(String, String)]) -> Result<Child, DemoError> {
    program(&["run"], log, environment)?.spawn().map_err(DemoError::system("start `turnstile run`"))
}

/// A command of this very program, led to the demo's own world by this environment alone.
pub(super) fn program(arguments: &[&str], log: &Path, environment: &[(String, String)]) -> Result<Command, DemoError> {
    let cannot = "start a command of this program";
    let program = std::env::current_exe().map_err(DemoError::system(cannot))?;
    let log = OpenOptions::new().create(true).append(true).open(log).map_err(DemoError::system(cannot))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    for name in std::env::vars_os().map(|(name, _)| name).filter(|name| is_a_setting(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    // A Ctrl-C at the terminal is for the demo alone, which ends its loaders when it drops them.
    command.envs(environment.iter().cloned()).process_group(0).kill_on_drop(true);
    Ok(command)
}

/// Whether a variable could lead a loader to another place than the demo's own.
fn is_a_setting(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    upper.ends_with("_PROXY") || ["TURNSTILE_", "AWS_", "PG", "DATABASE_"].iter().any(|start| upper.starts_with(start))
}

/// The last lines of a log.
pub(super) fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(LINES_SHOWN)).copied().collect::<Vec<_>>().join("\n")
}
