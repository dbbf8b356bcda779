//! The server's disk is full: first tables cannot grow, then its log cannot either, which takes it down.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use nix::unistd::Uid;
use stand_ins::postgres::{Options, Postgres};
use tempfile::TempDir;
use tokio_postgres::error::SqlState;

use super::{COMMAND, Siege, times};
use crate::support::evidence::survived;
use crate::support::postgres::connect;
use crate::support::server::installed;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loaders_wait_while_tables_cannot_grow_and_go_on_when_there_is_space() {
    const DISK_FULL: &str = "SQLSTATE 53100";
    let Some(disk) = SmallDisk::mounted() else { return };
    let server = Postgres::start(on(&disk)).await.unwrap();
    let siege = Siege::begin(&server.url(), 2, &[]).await;
    for _ in 0..times("TURNSTILE_TEST_FULL_DISKS", 2) {
        siege.in_full_swing().await;
        disk.fill();
        siege.hears(DISK_FULL, 5).await;
        disk.make_space();
        siege.is_relieved().await;
    }
    let struck = siege.heard(DISK_FULL);
    siege.end().await;
    survived("disk full, tables cannot grow (53100)", struck, COMMAND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loaders_survive_that_the_log_fills_the_disk_and_the_server_goes_down() {
    let Some(disk) = SmallDisk::mounted() else { return };
    let mut server = Postgres::start(on(&disk)).await.unwrap();
    let siege = Siege::begin(&server.url(), 2, &[]).await;
    let panics = times("TURNSTILE_TEST_FULL_DISKS", 2);
    for _ in 0..panics {
        siege.in_full_swing().await;
        disk.fill();
        panic_by_writing_log(&server).await;
        siege.hears(super::RUNS_AGAIN, 1).await;
        // It may be in the middle of its recovery, and would first end that.
        server.stop_immediately().await.unwrap();
        disk.make_space();
        server.restart().await.unwrap();
        siege.is_relieved().await;
    }
    siege.end().await;
    survived("disk full, the log cannot grow, PANIC of the server", panics, COMMAND);
}

/// Writes to the server's log until that finds no space, which is more than the server stands.
async fn panic_by_writing_log(server: &Postgres) {
    let client = connect(&server.url()).await;
    let write = "SELECT pg_logical_emit_message(false, 'ballast', repeat('x', 1000000)), pg_switch_wal()";
    let error = loop {
        match client.batch_execute(write).await {
            Ok(()) => {}
            Err(error) => break error,
        }
    };
    // The first process that writes panics, and takes the others down; what it says may not come through.
    match error.as_db_error() {
        Some(refusal) if refusal.code() == &SqlState::CRASH_SHUTDOWN => {}
        Some(refusal) => assert_eq!((refusal.severity(), refusal.code()), ("PANIC", &SqlState::DISK_FULL)),
        None => assert!(error.is_closed(), "{error:?}"),
    }
}

fn on(disk: &SmallDisk) -> Options {
    let settings = vec![("max_wal_size".to_owned(), "32MB".to_owned())];
    Options { inside: Some(disk.path().to_owned()), settings, ..installed() }
}

/// A file system in memory, just large enough for a cluster; unmounted when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    const SIZE: &str = "size=96m,mode=1777";

    /// Mounts it. Without the right to mount (root, or `sudo` without a password) the test fails, unless
    /// `TURNSTILE_TEST_NO_MOUNT` says that it shall be left out.
    fn mounted() -> Option<Self> {
        if std::env::var_os("TURNSTILE_TEST_NO_MOUNT").is_some() {
            eprintln!("left out, as TURNSTILE_TEST_NO_MOUNT says: nothing is proven about a full disk");
            return None;
        }
        let folder = TempDir::new().unwrap();
        let mounted = as_root("mount").args(["-t", "tmpfs", "-o", Self::SIZE, "tmpfs"]).arg(folder.path()).output();
        let mounted = mounted.expect("a program that mounts");
        assert!(
            mounted.status.success(),
            "no small disk could be mounted, which needs root; set TURNSTILE_TEST_NO_MOUNT=1 to leave this out: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        Some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves no byte free.
    fn fill(&self) {
        let mut ballast = std::fs::File::create(self.path().join("ballast")).unwrap();
        // Smaller pieces last: the last page counts.
        for piece in [1 << 20, 1 << 12] {
            while ballast.write_all(&vec![0; piece]).is_ok() {}
        }
    }

    fn make_space(&self) {
        std::fs::remove_file(self.path().join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process of the server that is about to end may still be there.
        let unmounted = as_root("umount").arg("--lazy").arg(self.path()).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()) || std::thread::panicking(),
            "still mounted: {:?}",
            self.0
        );
    }
}

fn as_root(program: &str) -> Command {
    if Uid::effective().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["--non-interactive", program]);
    command
}
