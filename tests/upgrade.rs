//! The last release and this one on one queue and one database: as while processes are replaced one by one. This release's
//! tables are none for the last one, which stops on them; what it left is loaded by this one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use turnstile::database::on_loan::{OnLoan, Options};
use turnstile::queue::local::Faults;

use crate::support::evidence::survived;
use crate::support::site::{Loader, Site};
use crate::support::{PATIENCE, wait_until};

const LOGINS: usize = 2_000;
const MALFORMED: usize = 20;

/// The programs, as they are told to load; none ends by itself.
const RUN: [&str; 9] =
    ["run", "--batch-size", "20", "--wait", "1s", "--retry-delay", "1s", "--visibility-timeout", "25s"];

/// The program of the last release.
fn last_release() -> PathBuf {
    let path = std::env::var_os("TURNSTILE_LAST_RELEASE").expect("the program of the last release: `make upgrade`");
    let (last, this) = (std::fs::read(&path).unwrap(), std::fs::read(this_release()).unwrap());
    assert!(last != this, "TURNSTILE_LAST_RELEASE names this release");
    path.into()
}

fn this_release() -> PathBuf {
    env!("CARGO_BIN_EXE_turnstile").into()
}

/// Versions 6 to 8 of the tables lack keys and a column that programs before them name: 42P10 or 42703, whichever statement
/// the server looks at first.
const NOT_ITS_TABLES: &str = "the database cannot be loaded into: insert";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the program of the last release: `make upgrade` builds it and runs this"]
async fn the_last_release_stops_where_this_one_migrates_and_this_one_goes_on_with_each_message_once() {
    let server = OnLoan::start(Options::default()).await.unwrap();
    let site = Site::without_tables(&server.url()).await;
    // Deliveries that hide nothing bring the same message to both releases: they must know it by the same hash.
    site.box_.set_faults(Faults { early_redelivery: 0.2, ..Faults::default() });
    migrate(&site, &last_release());
    let mut last = start(&site, &[&last_release(), &last_release()]).await;
    site.fill(LOGINS, MALFORMED);
    let client = site.client().await;
    wait_until("a quarter is recorded", async || site.rows(&client).await > LOGINS / 4).await;
    migrate(&site, &this_release());
    assert!(site.depth() > 0, "the migration came too late to disturb");
    for loader in &mut last {
        assert_eq!(loader.ends_within(PATIENCE).await.and_then(|status| status.code()), Some(1), "{}", loader.said());
        assert!(loader.said().contains(NOT_ITS_TABLES), "{}", loader.said());
    }
    let loaders = start(&site, &[&this_release()]).await;
    drain(&site).await;
    for loader in loaders {
        assert!(ended(loader).await > 0, "a loader had nothing to do");
    }
    site.assert_promise().await;
    survived("the last release loads while this one migrates", last.len() as u64, "make upgrade");
    let redelivered = site.box_.fault_counts().early_redelivery;
    survived("the last release and this one deliver the same message", redelivered, "make upgrade");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the program of the last release: `make upgrade` builds it and runs this"]
async fn the_last_release_started_on_these_tables_says_so_loads_nothing_and_loses_nothing() {
    let server = OnLoan::start(Options::default()).await.unwrap();
    let site = Site::at(&server.url()).await;
    let said = text_of(site.command_of(&last_release(), &["migrate"]));
    assert!(said.contains("newer than this program's"), "{said}");
    site.fill(LOGINS / 10, MALFORMED);
    let loader = site.start(site.command_of(&last_release(), &RUN), "last");
    assert_eq!(loader.ended().await.code(), Some(1));
    let said = std::fs::read_to_string(site.log("last")).unwrap();
    assert!(said.contains(NOT_ITS_TABLES), "{said}");
    let loaders = start(&site, &[&this_release()]).await;
    drain(&site).await;
    for loader in loaders {
        assert_eq!(ended(loader).await, LOGINS / 10);
    }
    site.assert_promise().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the program of the last release: `make upgrade` builds it and runs this"]
async fn the_last_release_works_on_the_tables_of_a_newer_one_that_keep_its_keys_and_says_so() {
    let server = OnLoan::start(Options::default()).await.unwrap();
    let site = Site::without_tables(&server.url()).await;
    migrate(&site, &last_release());
    let newer = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
                 VALUES (99, 'from_tomorrow', '2030-01-01T00:00:00Z', '1')";
    site.client().await.batch_execute(newer).await.unwrap();
    let said = text_of(site.command_of(&last_release(), &["migrate"]));
    assert!(said.contains("the tables are at version 99, newer than this program's"), "{said}");
    let loaders = start(&site, &[&last_release()]).await;
    site.fill(LOGINS / 10, MALFORMED);
    drain(&site).await;
    for loader in loaders {
        assert_eq!(ended(loader).await, LOGINS / 10);
    }
    let client = site.client().await;
    client.execute("DELETE FROM refinery_schema_history WHERE version = 99", &[]).await.unwrap();
    migrate(&site, &this_release());
    site.assert_promise().await;
}

/// The other way round: this release would write what the tables do not hold yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_a_release_finds_too_old_are_refused_with_the_way_out() {
    let server = OnLoan::start(Options::default()).await.unwrap();
    let site = Site::at(&server.url()).await;
    let older =
        "DELETE FROM refinery_schema_history WHERE version = (SELECT max(version) FROM refinery_schema_history)";
    site.client().await.batch_execute(older).await.unwrap();
    let loader = site.start(site.command(&RUN), "log");
    assert!(!loader.ended().await.success());
    let said = std::fs::read_to_string(site.log("log")).unwrap();
    assert!(said.contains("this program needs") && said.contains("turnstile migrate"), "{said}");
}

fn migrate(site: &Site, program: &Path) {
    let said = text_of(site.command_of(program, &["migrate"]));
    assert!(said.contains("the tables are at version"), "{said}");
}

/// What a command says that succeeds.
fn text_of(mut command: Command) -> String {
    let ended = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap();
    assert!(ended.status.success(), "{said}");
    said
}

/// Loaders that are ready for messages.
async fn start(site: &Site, programs: &[&PathBuf]) -> Vec<Loader> {
    let names = (0..programs.len()).map(|number| format!("loader {number}"));
    let started = programs.iter().zip(names).map(|(program, name)| site.start(site.command_of(program, &RUN), &name));
    let loaders: Vec<Loader> = started.collect();
    wait_until("the loaders are ready", async || loaders.iter().all(|loader| loader.said().contains("\"loading\"")))
        .await;
    loaders
}

async fn drain(site: &Site) {
    wait_until("the queue is drained", async || site.depth() == 0).await;
}

/// Ends a loader as an operator does; how many logins it has loaded, by its own last word.
async fn ended(mut loader: Loader) -> usize {
    loader.terminate();
    let status = loader.ends_within(PATIENCE).await;
    let said = loader.said();
    assert!(status.is_some_and(|status| status.success()), "{said}");
    let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    usize::try_from(last["loaded"].as_u64().unwrap()).unwrap()
}
