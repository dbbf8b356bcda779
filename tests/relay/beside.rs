//! A loader and a relay in one process: an event leaves once its login is committed, and what ends one ends the other.

use std::fs::{self, File};

use turnstile::relay::Loading;

use super::*;
use crate::support::wait_for;

/// The lines of a file: none while there is no file.
fn lines(path: &std::path::Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_that_is_a_relay_carries_what_it_loads_and_ends_when_both_are_done() {
    let test = TestDatabase::with_tables().await;
    let site = Site::without_tables(test.url()).await;
    site.fill(1_000, 3);
    let events = site.log("events");
    // Another loader's.
    write(&site.client().await, 7).await;
    let mut command = site.command(&["run", "--until-empty", "--relay-to", "stdout:", "--sink", "beside"]);
    command.stdout(File::create(&events).unwrap());
    let both = site.start(command, "log");
    assert!(both.ended().await.success());
    assert_eq!(lines(&events), 1_007);
    let client = site.client().await;
    assert_eq!(count(&client, "outbox").await, 1_007);
    let sinks = client.query("SELECT sink, target FROM turnstile.relay_sinks", &[]).await.unwrap();
    assert_eq!((sinks.len(), sinks[0].get::<_, String>(0)), (1, "beside".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_both_and_a_sink_that_is_gone_ends_them_too() {
    let test = TestDatabase::with_tables().await;
    let site = Site::without_tables(test.url()).await;
    site.fill(50, 0);
    let events = site.log("events");
    let relay_to = |stdout: File| {
        let mut command = site.command(&["run", "--relay-to", "stdout:"]);
        command.stdout(stdout);
        command
    };
    let both = site.start(relay_to(File::create(&events).unwrap()), "log");
    wait_until("all is carried", async || lines(&events) == 50).await;
    both.terminate();
    assert!(both.ended().await.success());

    let (reads, writes) = std::io::pipe().unwrap();
    let both = site.start(relay_to(File::from(std::os::fd::OwnedFd::from(writes))), "closed");
    drop(reads);
    site.fill(20, 0);
    assert_eq!(both.ended().await.code(), Some(1));
    let said = fs::read_to_string(site.log("closed")).unwrap();
    assert!(said.contains("the sink is gone"), "{said}");
    // What it had loaded is carried by the next.
    let both = site.start(relay_to(File::options().append(true).open(&events).unwrap()), "log");
    wait_until("the rest is loaded and carried", async || lines(&events) == 70).await;
    both.terminate();
    assert!(both.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_rests_is_woken_by_the_loader_beside_it() {
    let test = TestDatabase::with_tables().await;
    let proxy = PostgresProxy::before(test.url()).await;
    let (database, client) = (pool(proxy.url(), 8, Duration::from_secs(30)), test.client().await);
    let commits = Arc::new(Mutex::new(0));
    let seen = commits.clone();
    proxy.arm(move |asked| {
        *seen.lock().unwrap() += i32::from(asked.kind == Kind::Commit);
        None
    });
    let (sink, loading, shutdown) = (TestSink::default(), Loading::default(), Shutdown::default());
    let seldom = RelaySettings { poll: Duration::from_secs(60), ..settings(true) };
    begin(&database, &seldom, "stdout:", false).await.unwrap();
    let relay = Relay { database, sink: sink.clone(), settings: seldom };
    let running = tokio::spawn(relay.run_beside(loading.clone(), shutdown.clone()));
    // Its first looks come soon after each other; behind them it rests for a minute, and only those who look after gaps
    // and failures go on, twice a second.
    wait_until("it rests", async || *commits.lock().unwrap() > 15).await;
    let soon = Duration::from_secs(20);
    for _ in 0..2 {
        let mut expected = sink.positions();
        expected.extend(write(&client, 3).await);
        loading.landed.notify_one();
        wait_for(soon, "it is woken", async || sink.positions() == expected).await;
        let before = *commits.lock().unwrap();
        wait_until("it rests again", async || *commits.lock().unwrap() > before + 15).await;
    }
    let last = write(&client, 2).await;
    assert!(!running.is_finished(), "it waits for the loader, although all was carried");
    loading.ended.cancel();
    let carried = tokio::time::timeout(soon, running).await.expect("it ends with the loader").unwrap().unwrap();
    assert_eq!((carried, sink.positions().last()), (8, last.last()));
}
