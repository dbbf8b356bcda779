//! A throw-away PostgreSQL is a real one while it is held, and leaves nothing behind, however its holder ends.

// clippy.toml allows these in functions marked as tests, not in what those stand on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use stand_ins::postgres::{Options, Postgres, PostgresError};
use tokio_postgres::NoTls;

/// How long a test waits for something that must happen: long, because a loaded machine is no failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// The installed programs, or those of the folder that this variable names.
fn durable() -> Options {
    Options { programs: std::env::var_os("TURNSTILE_PG_BIN").map(PathBuf::from), ..Options::default() }
}

fn fast() -> Options {
    Options { fast: true, ..durable() }
}

async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn rows_survive_a_stop_and_a_crash_of_the_server() {
    let mut server = Postgres::start(durable()).await.unwrap();
    let client = server.connect().await.unwrap();
    client.batch_execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)").await.unwrap();

    server.stop().await.unwrap();
    assert!(client.batch_execute("INSERT INTO kept VALUES (100)").await.is_err(), "a stopped server answers nobody");
    server.restart().await.unwrap();

    let client = server.connect().await.unwrap();
    client.batch_execute("INSERT INTO kept VALUES (2)").await.unwrap();
    server.kill_hard();
    assert!(server.process_id().is_none());
    server.restart().await.unwrap();

    let client = server.connect().await.unwrap();
    let sum: i64 = client.query_one("SELECT sum(n) FROM kept", &[]).await.unwrap().get(0);
    assert_eq!(sum, 3);
}

#[tokio::test]
async fn an_immediate_stop_keeps_what_was_committed_and_waits_for_nobody() {
    let mut server = Postgres::start(durable()).await.unwrap();
    let mut client = server.connect().await.unwrap();
    client.batch_execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)").await.unwrap();
    let open = client.transaction().await.unwrap();
    open.batch_execute("INSERT INTO kept VALUES (100)").await.unwrap();
    server.stop_immediately().await.unwrap();
    assert!(open.commit().await.is_err());
    server.restart().await.unwrap();
    let client = server.connect().await.unwrap();
    let sum: i64 = client.query_one("SELECT sum(n) FROM kept", &[]).await.unwrap().get(0);
    assert_eq!(sum, 1);
}

#[tokio::test]
async fn a_cluster_stands_inside_the_folder_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    // The server's account must be able to enter it.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = Postgres::start(Options { inside: Some(folder.path().to_owned()), ..fast() }).await.unwrap();
    assert_eq!(server.folder().parent(), Some(folder.path()));
    drop(server);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_standby_has_the_rows_of_its_primary_and_takes_its_place() {
    let mut primary = Postgres::start(durable()).await.unwrap();
    let client = primary.connect().await.unwrap();
    client.batch_execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)").await.unwrap();
    let standby = Postgres::start_standby_of(&primary, "standby", durable()).await.unwrap();
    let refused = standby.connect().await.unwrap().batch_execute("INSERT INTO kept VALUES (100)").await;
    assert!(refused.is_err(), "a standby takes no rows");
    primary.kill_hard();
    standby.promote().await.unwrap();

    let client = standby.connect().await.unwrap();
    client.batch_execute("INSERT INTO kept VALUES (2)").await.unwrap();
    let sum: i64 = client.query_one("SELECT sum(n) FROM kept", &[]).await.unwrap().get(0);
    assert_eq!(sum, 3);
}

#[tokio::test]
async fn a_copy_of_a_stopped_server_begins_with_its_rows_and_leaves_it_alone() {
    let mut original = Postgres::start(durable()).await.unwrap();
    let client = original.connect().await.unwrap();
    client.batch_execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)").await.unwrap();
    let refused = Postgres::start_copy_of(&original, durable()).await;
    assert!(matches!(refused, Err(PostgresError::Io { .. })), "{refused:?}");
    original.stop().await.unwrap();
    for _ in 0..2 {
        let copy = Postgres::start_copy_of(&original, durable()).await.unwrap();
        let client = copy.connect().await.unwrap();
        client.batch_execute("INSERT INTO kept VALUES (2)").await.unwrap();
        let sum: i64 = client.query_one("SELECT sum(n) FROM kept", &[]).await.unwrap().get(0);
        assert_eq!(sum, 3);
    }
}

#[tokio::test]
async fn a_server_is_durable_unless_asked_to_be_fast() {
    for (options, expected) in [(durable(), "on"), (fast(), "off")] {
        let server = Postgres::start(options).await.unwrap();
        let client = server.connect().await.unwrap();
        for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
            let value: String = client.query_one(&format!("SHOW {setting}"), &[]).await.unwrap().get(0);
            assert_eq!(value, expected, "{setting}");
        }
    }
}

#[tokio::test]
async fn a_paused_server_does_not_answer_until_it_is_resumed() {
    let mut server = Postgres::start(fast()).await.unwrap();
    let client = server.connect().await.unwrap();
    server.pause();
    let answer = client.batch_execute("");
    tokio::pin!(answer);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut answer).await.is_err());
    server.resume();
    answer.await.unwrap();
}

#[tokio::test]
async fn a_dropped_server_leaves_no_process_and_no_folder() {
    let mut frozen = Postgres::start(fast()).await.unwrap();
    frozen.pause();
    for server in [Postgres::start(fast()).await.unwrap(), frozen] {
        let (process, folder) = (server.process_id().unwrap(), server.folder().to_owned());
        assert!(is_running(process) && folder.exists());
        drop(server);
        assert!(!is_running(process) && !folder.exists());
    }
}

#[tokio::test]
async fn a_server_whose_holder_is_killed_goes_too() {
    let mut holder = Holder::start();
    let (process, folder) = (holder.server, holder.folder.clone());
    assert!(is_running(process) && folder.exists());
    holder.process.kill().unwrap();
    holder.process.wait().unwrap();
    wait_until("the server ends", || !is_running(process)).await;
    wait_until("its folder is removed", || !folder.exists()).await;
}

#[tokio::test]
async fn missing_programs_are_an_error_that_says_what_to_install() {
    let programs = Some(PathBuf::from("/nowhere"));
    let error = Postgres::start(Options { programs, ..Options::default() }).await.unwrap_err();
    assert!(matches!(error, PostgresError::ProgramsMissing { .. }));
    let text = format!("{error}: {}", error.remedy());
    for remedy in ["/nowhere", "apt-get install postgresql", "brew install postgresql@17"] {
        assert!(text.contains(remedy), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_start_is_an_error_that_shows_its_log() {
    let settings = vec![("shared_buffers".to_owned(), "plenty".to_owned())];
    let error = Postgres::start(Options { settings, ..durable() }).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, PostgresError::EndedEarly { .. }), "{text}");
    assert!(text.contains("shared_buffers"), "{text}");
}

#[tokio::test]
async fn the_password_is_in_the_url_and_nowhere_else() {
    let server = Postgres::start(fast()).await.unwrap();
    let url = server.url();
    let (_, password) = url.split_once("://").unwrap();
    let (_, password) = password.split_once(':').unwrap();
    let (password, _) = password.split_once('@').unwrap();
    assert!(password.len() >= 32);
    assert!(!format!("{server:?}").contains(password));
    assert!(!server.folder().join("password").exists());
    let wrong = url.replace(password, "wrong");
    assert!(tokio_postgres::connect(&wrong, NoTls).await.is_err());
}

/// The other process of `a_server_whose_holder_is_killed_goes_too`: holds a server until it is killed.
#[tokio::test]
#[ignore = "is started by a_server_whose_holder_is_killed_goes_too"]
async fn hold_until_killed() {
    if std::env::var_os(HOLDER).is_none() {
        return;
    }
    let server = Postgres::start(fast()).await.unwrap();
    // The harness has begun this line with the name of the test.
    println!("\nholding {} {}", server.process_id().unwrap(), server.folder().display());
    std::io::stdout().flush().unwrap();
    std::future::pending::<()>().await;
}

/// The variable that tells [`hold_until_killed`] that it was started by us.
const HOLDER: &str = "STAND_INS_TEST_HOLDER";

/// A process of its own that holds a server.
struct Holder {
    process: Child,
    server: u32,
    folder: PathBuf,
}

impl Holder {
    fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "hold_until_killed", "--ignored", "--nocapture"])
            .env(HOLDER, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let said = lines.find_map(|line| line.strip_prefix("holding ").map(str::to_owned)).expect("a server");
        let (server, folder) = said.split_once(' ').unwrap();
        Self { process, server: server.parse().unwrap(), folder: folder.into() }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Already killed by a test that came so far.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Whether a process exists and has not ended: one that nobody has waited for yet is no running one.
fn is_running(process: u32) -> bool {
    let stat = Path::new("/proc").join(process.to_string()).join("stat");
    match std::fs::read_to_string(stat) {
        Ok(stat) => !stat.rsplit_once(") ").unwrap().1.starts_with(['Z', 'X']),
        Err(_) if cfg!(target_os = "linux") => false,
        Err(_) => nix::sys::signal::kill(nix::unistd::Pid::from_raw(process.cast_signed()), None).is_ok(),
    }
}
