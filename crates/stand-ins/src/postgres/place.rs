//! Where a server runs: its programs, its account, its port and its processes, as this system has them.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, iter};

use nix::unistd::{Gid, Uid, User};

use super::{PostgresError, cannot};

/// The programs that make, run and copy a cluster.
pub(super) struct Programs {
    pub(super) initdb: PathBuf,
    pub(super) postgres: PathBuf,
    /// Only a standby needs it.
    pub(super) pg_basebackup: PathBuf,
}

impl Programs {
    /// The programs in `folder`, else in the first of the usual places that has both.
    pub(super) async fn find(folder: Option<&Path>) -> Result<Self, PostgresError> {
        let folders = match folder {
            Some(folder) => vec![folder.to_owned()],
            None => usual_folders().await,
        };
        folders.iter().find_map(|folder| Self::in_folder(folder)).ok_or_else(|| PostgresError::ProgramsMissing {
            searched: folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", "),
        })
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        let (initdb, postgres) = (folder.join("initdb"), folder.join("postgres"));
        // Where links lead: a folder of links may hold only what its maker thought of.
        let pg_basebackup = fs::canonicalize(&postgres).unwrap_or_default().with_file_name("pg_basebackup");
        let programs = Self { initdb, postgres, pg_basebackup };
        (programs.initdb.is_file() && programs.postgres.is_file()).then_some(programs)
    }
}

async fn usual_folders() -> Vec<PathBuf> {
    let on_path = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    on_path
        .into_iter()
        .chain(folder_of_pg_config().await)
        .chain(newest_first("/usr/lib/postgresql", ""))
        .chain(newest_first("/usr", "pgsql-"))
        .chain(newest_first("/opt/homebrew/opt", "postgresql@"))
        .chain(newest_first("/usr/local/opt", "postgresql@"))
        .collect()
}

/// What `pg_config` says; it is often installed without a server, so this is one place of several.
async fn folder_of_pg_config() -> Option<PathBuf> {
    let said = tokio::process::Command::new("pg_config").arg("--bindir").output().await.ok()?;
    let folder = String::from_utf8(said.stdout).ok()?;
    Some(PathBuf::from(folder.trim())).filter(|folder| folder.is_absolute())
}

/// The folders `parent/{prefix}VERSION/bin` of Debian, PostgreSQL's own packages and Homebrew.
fn newest_first(parent: &str, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort_by(|left, right| right.cmp(left));
    found.into_iter().map(|(_, folder)| folder).collect()
}

/// Who runs the server: ourselves, or the user `postgres` where we are root, which PostgreSQL refuses.
pub(super) struct Account(Option<(Uid, Gid)>);

impl Account {
    pub(super) fn of_server() -> Result<Self, PostgresError> {
        if !Uid::effective().is_root() {
            return Ok(Self(None));
        }
        let postgres = User::from_name("postgres").ok().flatten().ok_or(PostgresError::NoAccount)?;
        Ok(Self(Some((postgres.uid, postgres.gid))))
    }

    /// Gives a file or folder to the account.
    pub(super) fn own(&self, path: &Path) -> Result<(), PostgresError> {
        let Some((uid, gid)) = self.0 else { return Ok(()) };
        chown(path, Some(uid.as_raw()), Some(gid.as_raw())).map_err(cannot("give a file to the user `postgres`"))
    }

    /// Makes the command run as the account, in a process group of its own: a Ctrl-C at the terminal is for us alone.
    pub(super) fn run(&self, command: &mut Command) {
        command.process_group(0);
        if let Some((uid, gid)) = self.0 {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
    }
}

/// A port of 127.0.0.1 on which nobody listens.
///
/// It lies below the range from which systems give out ports (from 32768 on Linux, 49152 on macOS): there, while the
/// server is down, any outgoing connection could take its port, even a client's that calls the absent server and
/// reaches itself.
pub(super) fn free_port() -> io::Result<u16> {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    iter::repeat_with(|| rand::random_range(20_000..32_000))
        .take(1_000)
        .find(free)
        .ok_or(io::ErrorKind::AddrInUse.into())
}

/// The processes that this one started. Each of them is a process group of its own, so a signal to the group misses it.
pub(super) fn children_of(parent: u32) -> Vec<u32> {
    let processes = if cfg!(target_os = "linux") { processes_in_proc() } else { processes_by_ps() };
    processes.into_iter().filter(|(_, its_parent)| *its_parent == parent).map(|(process, _)| process).collect()
}

/// Every process with its parent, from `/proc`: small systems have no `ps`.
fn processes_in_proc() -> Vec<(u32, u32)> {
    let parent_of = |process: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // proc_pid_stat(5): pid (name) state ppid …, and the name may hold anything.
        let (_, after_name) = stat.rsplit_once(") ")?;
        after_name.split(' ').nth(1)?.parse().ok()
    };
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|process| Some((process, parent_of(process)?)))
        .collect()
}

fn processes_by_ps() -> Vec<(u32, u32)> {
    let Ok(listed) = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output() else { return Vec::new() };
    String::from_utf8_lossy(&listed.stdout)
        .lines()
        .filter_map(|line| {
            let mut ids = line.split_whitespace().map_while(|id| id.parse().ok());
            Some((ids.next()?, ids.next()?))
        })
        .collect()
}
