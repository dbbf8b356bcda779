//! A PostgreSQL on loan is a real one while it is held, and leaves nothing behind, however its borrower ends.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use turnstile::database::on_loan::{self, OnLoan, OnLoanError, Options, StatementError};

use crate::support::postgres::{TestDatabase, connect};
use crate::support::replicated::ReplicatedPair;
use crate::support::wait_until;

fn fast() -> Options {
    Options { fast: true, ..Options::default() }
}

#[tokio::test]
async fn rows_survive_a_stop_and_a_crash_of_the_server() {
    let mut server = OnLoan::start(Options::default()).await.unwrap();
    let client = connect(&server.url()).await;
    client.batch_execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)").await.unwrap();

    server.stop().await.unwrap();
    assert!(client.batch_execute("INSERT INTO kept VALUES (100)").await.is_err(), "a stopped server answers nobody");
    server.restart().await.unwrap();

    let client = connect(&server.url()).await;
    client.batch_execute("INSERT INTO kept VALUES (2)").await.unwrap();
    server.kill_hard();
    assert!(server.process_id().is_none());
    server.restart().await.unwrap();

    let client = connect(&server.url()).await;
    let sum: i64 = client.query_one("SELECT sum(n) FROM kept", &[]).await.unwrap().get(0);
    assert_eq!(sum, 3);
}

#[tokio::test]
async fn an_immediate_stop_keeps_what_was_committed_and_waits_for_nobody() {
    let mut server = OnLoan::start(Options::default()).await.unwrap();
    let mut client = connect(&server.url()).await;
    client.batch_execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)").await.unwrap();
    let open = client.transaction().await.unwrap();
    open.batch_execute("INSERT INTO kept VALUES (100)").await.unwrap();
    server.stop_immediately().await.unwrap();
    assert!(open.commit().await.is_err());
    server.restart().await.unwrap();
    let client = connect(&server.url()).await;
    let sum: i64 = client.query_one("SELECT sum(n) FROM kept", &[]).await.unwrap().get(0);
    assert_eq!(sum, 1);
}

#[tokio::test]
async fn a_cluster_stands_inside_the_folder_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    // The server's account must be able to enter it.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = OnLoan::start(Options { inside: Some(folder.path().to_owned()), ..fast() }).await.unwrap();
    assert_eq!(server.folder().parent(), Some(folder.path()));
    drop(server);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_standby_has_the_rows_of_its_primary_and_takes_its_place() {
    let mut pair = ReplicatedPair::start().await;
    let client = connect(&pair.url()).await;
    client.batch_execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)").await.unwrap();
    let standby = connect(&pair.standby.url()).await;
    assert!(standby.batch_execute("INSERT INTO kept VALUES (100)").await.is_err(), "a standby takes no rows");
    pair.fail_over().await;

    let client = connect(&pair.url()).await;
    client.batch_execute("INSERT INTO kept VALUES (2)").await.unwrap();
    let sum: i64 = client.query_one("SELECT sum(n) FROM kept", &[]).await.unwrap().get(0);
    assert_eq!(sum, 3);
}

#[tokio::test]
async fn a_server_is_durable_unless_asked_to_be_fast() {
    for (options, expected) in [(Options::default(), "on"), (fast(), "off")] {
        let server = OnLoan::start(options).await.unwrap();
        let client = connect(&server.url()).await;
        for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
            let value: String = client.query_one(&format!("SHOW {setting}"), &[]).await.unwrap().get(0);
            assert_eq!(value, expected, "{setting}");
        }
    }
}

#[tokio::test]
async fn a_paused_server_does_not_answer_until_it_is_resumed() {
    let mut server = OnLoan::start(fast()).await.unwrap();
    let client = connect(&server.url()).await;
    server.pause();
    let answer = client.batch_execute("");
    tokio::pin!(answer);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut answer).await.is_err());
    server.resume();
    answer.await.unwrap();
}

#[tokio::test]
async fn a_dropped_server_leaves_no_process_and_no_folder() {
    let mut frozen = OnLoan::start(fast()).await.unwrap();
    frozen.pause();
    for server in [OnLoan::start(fast()).await.unwrap(), frozen] {
        let (process, folder) = (server.process_id().unwrap(), server.folder().to_owned());
        assert!(is_running(process) && folder.exists());
        drop(server);
        assert!(!is_running(process) && !folder.exists());
    }
}

#[tokio::test]
async fn a_server_whose_borrower_is_killed_goes_too() {
    let mut borrower = Borrower::start();
    let (process, folder) = (borrower.server, borrower.folder.clone());
    assert!(is_running(process) && folder.exists());
    borrower.process.kill().unwrap();
    borrower.process.wait().unwrap();
    wait_until("the server ends", async || !is_running(process)).await;
    wait_until("its folder is removed", async || !folder.exists()).await;
}

#[tokio::test]
async fn missing_programs_are_an_error_that_says_what_to_install() {
    let programs = Some(PathBuf::from("/nowhere"));
    let error = OnLoan::start(Options { programs, ..Options::default() }).await.unwrap_err();
    assert!(matches!(error, OnLoanError::ProgramsMissing { .. }));
    let text = error.to_string();
    for remedy in ["/nowhere", "apt-get install postgresql", "brew install postgresql@17", "DATABASE_URL"] {
        assert!(text.contains(remedy), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_start_is_an_error_that_shows_its_log() {
    let settings = vec![("shared_buffers".to_owned(), "plenty".to_owned())];
    let error = OnLoan::start(Options { settings, ..Options::default() }).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, OnLoanError::EndedEarly { .. }), "{text}");
    assert!(text.contains("shared_buffers"), "{text}");
}

#[tokio::test]
async fn the_password_is_in_the_url_and_nowhere_else() {
    let server = OnLoan::start(fast()).await.unwrap();
    let url = server.url();
    let (_, password) = url.split_once("turnstile:").unwrap();
    let (password, _) = password.split_once('@').unwrap();
    assert!(password.len() >= 32);
    assert!(!format!("{server:?}").contains(password));
    assert!(!server.folder().join("password").exists());
    let wrong = url.replace(password, "wrong");
    assert!(on_loan::connect(&wrong).await.is_err());
}

#[tokio::test]
async fn a_url_that_asks_for_tls_is_understood_and_never_served_in_clear() {
    let server = OnLoan::start(fast()).await.unwrap();
    let refused = |query: &str| {
        let url = format!("{}?{query}", server.url());
        async move { on_loan::connect(&url).await.unwrap_err() }
    };
    for query in ["sslmode=require", "sslmode=verify-full"] {
        let OnLoanError::Statement { source, .. } = refused(query).await else { panic!("{query} is not understood") };
        assert!(matches!(source, StatementError::Refused(_) | StatementError::Tls(_)), "{query}: {source:?}");
    }
    let OnLoanError::Statement { source, .. } = refused("sslmode=verify-full&sslrootcert=/nowhere.pem").await else {
        panic!("sslrootcert is not understood")
    };
    assert!(source.to_string().contains("/nowhere.pem"), "{source}");
    connect(&format!("{}?sslmode=disable", server.url())).await.batch_execute("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn test_databases_do_not_see_each_other() {
    let (one, other) = (TestDatabase::empty().await, TestDatabase::empty().await);
    assert_ne!(one.url(), other.url());
    one.client().await.batch_execute("CREATE TABLE here (n int)").await.unwrap();
    assert!(other.client().await.query("SELECT n FROM here", &[]).await.is_err());
}

/// The other process of `a_server_whose_borrower_is_killed_goes_too`: borrows a server and holds it until killed.
#[tokio::test]
#[ignore = "is started by a_server_whose_borrower_is_killed_goes_too"]
async fn borrow_until_killed() {
    if std::env::var_os(BORROWER).is_none() {
        return;
    }
    let server = OnLoan::start(fast()).await.unwrap();
    // The harness has begun this line with the name of the test.
    println!("\nborrowed {} {}", server.process_id().unwrap(), server.folder().display());
    std::io::stdout().flush().unwrap();
    std::future::pending::<()>().await;
}

/// The variable that tells [`borrow_until_killed`] that it was started by us.
const BORROWER: &str = "TURNSTILE_TEST_BORROWER";

/// A process of its own that holds a server.
struct Borrower {
    process: Child,
    server: u32,
    folder: PathBuf,
}

impl Borrower {
    fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "on_loan::borrow_until_killed", "--ignored", "--nocapture"])
            .env(BORROWER, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let said = lines.find_map(|line| line.strip_prefix("borrowed ").map(str::to_owned)).expect("a server");
        let (server, folder) = said.split_once(' ').unwrap();
        Self { process, server: server.parse().unwrap(), folder: folder.into() }
    }
}

impl Drop for Borrower {
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
