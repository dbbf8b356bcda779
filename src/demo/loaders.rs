//! The loaders: real `turnstile run` processes, of this very program.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

use super::DemoError;
use super::world::World;
use crate::audit::comparison::count_lines_holding;

/// How many lines of a log an error shows.
const LINES_SHOWN: usize = 15;

/// Processes that load until the queue is drained.
pub(super) struct Loaders<'w> {
    world: &'w World,
    environment: Vec<(String, String)>,
    all: Vec<Loader>,
}

struct Loader {
    log: PathBuf,
    process: Child,
    /// Ended by itself, because it found the queue drained.
    ended: bool,
}

impl<'w> Loaders<'w> {
    /// Starts so many processes; each writes its log into the world's folder.
    pub(super) fn start(
        number: usize,
        world: &'w World,
        environment: Vec<(String, String)>,
    ) -> Result<Self, DemoError> {
        let logs = (1..=number).map(|number| world.folder().join(format!("loader-{number}.log")));
        let start = |log: PathBuf| start(&log, &environment).map(|process| Loader { log, process, ended: false });
        let all = logs.map(start).collect::<Result<_, _>>()?;
        let loaders = Self { world, environment, all };
        loaders.tell_watchdog();
        Ok(loaders)
    }

    /// Kills the first loader that still runs, as kill -9 does, and starts it again. `false` if none runs.
    pub(super) async fn kill_one_and_start_it_again(&mut self) -> Result<bool, DemoError> {
        let Some(loader) = self.all.iter_mut().find(|loader| !loader.ended) else { return Ok(false) };
        loader.process.kill().await.map_err(DemoError::system("kill a loader"))?;
        loader.process = start(&loader.log, &self.environment)?;
        self.tell_watchdog();
        Ok(true)
    }

    /// Whether all have ended because they found the queue drained.
    pub(super) fn have_ended(&mut self) -> Result<bool, DemoError> {
        let mut changed = false;
        for loader in self.all.iter_mut().filter(|loader| !loader.ended) {
            match loader.process.try_wait().map_err(DemoError::system("look after a loader"))? {
                None => {}
                Some(status) if status.success() => (loader.ended, changed) = (true, true),
                Some(status) => return Err(DemoError::Loader { status, log: last_lines(&loader.log) }),
            }
        }
        if changed {
            self.tell_watchdog();
        }
        Ok(self.all.iter().all(|loader| loader.ended))
    }

    /// Starts those again that have ended.
    pub(super) fn start_again(&mut self) -> Result<(), DemoError> {
        for loader in self.all.iter_mut().filter(|loader| loader.ended) {
            loader.process = start(&loader.log, &self.environment)?;
            loader.ended = false;
        }
        self.tell_watchdog();
        Ok(())
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
    let cannot = "start `turnstile run`";
    let program = std::env::current_exe().map_err(DemoError::system(cannot))?;
    let log = OpenOptions::new().create(true).append(true).open(log).map_err(DemoError::system(cannot))?;
    let mut command = Command::new(program);
    command.args(["run", "--until-empty"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    for name in std::env::vars_os().map(|(name, _)| name).filter(|name| is_a_setting(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    // A Ctrl-C at the terminal is for the demo alone, which ends its loaders when it drops them.
    command.envs(environment.iter().cloned()).process_group(0).kill_on_drop(true);
    command.spawn().map_err(DemoError::system(cannot))
}

/// Whether a variable could lead a loader to another place than the demo's own.
fn is_a_setting(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    upper.ends_with("_PROXY") || ["TURNSTILE_", "AWS_", "PG", "DATABASE_"].iter().any(|start| upper.starts_with(start))
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(LINES_SHOWN)).copied().collect::<Vec<_>>().join("\n")
}
