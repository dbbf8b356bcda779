//! The last release and this one on one queue and one database: as while processes are replaced one by one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use stand_ins::sqs::Faults;

use crate::support::evidence::survived;
use crate::support::program::{self, Loader};
use crate::support::server::{self, installed};
use crate::support::site::Site;
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
    program::turnstile().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the program of the last release: `make upgrade` builds it and runs this"]
async fn the_last_release_and_this_one_load_each_message_once_while_the_one_replaces_the_other() {
    let server = server::start(installed()).await;
    let site = Site::without_tables(&server.url()).await;
    // Deliveries that hide nothing bring the same message to both releases: they must know it by the same hash.
    site.sqs.set_faults(Faults { early_redelivery: 0.2, ..Faults::default() });
    migrate(&site, &last_release());
    let mut loaders = start(&site, &[&last_release(), &last_release()]).await;
    site.fill(LOGINS, MALFORMED);
    let client = site.client().await;
    wait_until("a quarter is recorded", async || site.rows(&client).await > LOGINS / 4).await;
    migrate(&site, &this_release());
    assert!(site.depth() > 0, "the migration came too late to disturb");
    loaders.extend(start(&site, &[&this_release()]).await);
    site.is_drained().await;
    for loader in loaders {
        assert!(ended(loader).await > 0, "a loader had nothing to do");
    }
    site.assert_promise().await;
    survived("the last release loads while this one migrates", 2, "make upgrade");
    let redelivered = site.sqs.fault_counts().early_redelivery;
    survived("the last release and this one deliver the same message", redelivered, "make upgrade");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_a_release_finds_too_old_are_refused_with_the_remedy() {
    let server = server::start(installed()).await;
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

/// Ends a loader as an operator does; how many logins it has loaded, by its own last word.
async fn ended(mut loader: Loader) -> usize {
    loader.terminate();
    let status = loader.ends_within(PATIENCE).await;
    let said = loader.said();
    assert!(status.is_some_and(|status| status.success()), "{said}");
    let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    usize::try_from(last["loaded"].as_u64().unwrap()).unwrap()
}
