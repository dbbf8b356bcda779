//! Several `turnstile run` processes on one queue and one database, killed, restarted and cut off from it.

use std::time::{Duration, Instant};

use stand_ins::postgres::Postgres;
use stand_ins::sqs::Faults;

use crate::support::postgres::TestDatabase;
use crate::support::program::{Loader, text_of};
use crate::support::server::{self, installed};
use crate::support::site::{QUEUE, Site};
use crate::support::wait_until;

/// How many logins are sent; `TURNSTILE_TEST_MESSAGES` sets more than a test run of every day needs.
fn messages() -> usize {
    std::env::var("TURNSTILE_TEST_MESSAGES").map_or(2_000, |text| text.parse().unwrap())
}

/// For how long PostgreSQL stays down; `TURNSTILE_TEST_OUTAGE_SECONDS` sets more.
fn outage() -> Duration {
    let seconds = std::env::var("TURNSTILE_TEST_OUTAGE_SECONDS").map_or(3, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

const DEAD: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_loaders_of_which_one_is_killed_and_restarted_load_each_message_once() {
    let (_server, site) = server_and_site().await;
    let [first, second, victim] = ["first", "second", "victim"].map(|name| loader(&site, name));
    let client = site.client().await;
    wait_until("a third is recorded", async || site.rows(&client).await > messages() / 3).await;
    victim.kill();
    let restarted = loader(&site, "victim");
    for loader in [first, second, restarted] {
        assert!(loader.ended().await.success());
    }
    site.assert_promise().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgresql_is_down_nothing_is_dead_lettered_and_everything_lands_after() {
    let (mut server, site) = server_and_site().await;
    let loaders = ["first", "second", "third"].map(|name| loader(&site, name));
    let client = site.client().await;
    wait_until("a third is recorded", async || site.rows(&client).await > messages() / 3).await;
    drop(client);
    server.stop().await.unwrap();
    let down_since = Instant::now();
    while down_since.elapsed() < outage() {
        assert!(site.depth() > 0, "nothing may be deleted that is not recorded");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.restart().await.unwrap();
    for loader in loaders {
        assert!(loader.ended().await.success());
    }
    for name in ["first", "second", "third"] {
        let log = text_of(&site.log(name));
        let said = ["the transaction runs again", r#""attempt":2"#, "the database is back", r#""after":""#];
        assert!(said.iter().all(|text| log.contains(text)), "{name}: {log}");
    }
    site.assert_promise().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_queue_is_away_each_attempt_is_said_and_then_that_it_is_back() {
    let (_server, site) = server_and_site().await;
    site.sqs.set_faults(Faults { only: Some("ReceiveMessage"), throttle: 1.0, ..Faults::default() });
    let waiting = loader(&site, "waiting");
    let second = r#""attempt":2"#;
    wait_until("receives fail", async || waiting.said().contains(second)).await;
    assert!(!waiting.said().contains("the queue is back"), "{}", waiting.said());
    site.sqs.set_faults(Faults::default());
    assert!(waiting.ended().await.success());
    let log = text_of(&site.log("waiting"));
    assert!(log.contains("receiving failed and is tried again") && log.contains(r#""lasting":""#), "{log}");
    assert_eq!(log.matches("the queue is back").count(), 1, "{log}");
    site.assert_promise().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_that_begins_while_postgresql_is_away_or_locked_waits_for_it() {
    const WAITS: &str = "the transaction runs again";
    let (mut server, site) = server_and_site().await;
    server.stop().await.unwrap();
    let hasty = site.start(site.command(&["run", "--until-empty", "--wait-for-database", "0s"]), "hasty");
    let status = hasty.ended().await;
    let said = text_of(&site.log("hasty"));
    assert!(status.code() == Some(1) && said.contains("connect to ") && !said.contains(WAITS), "{status}: {said}");

    let patient = loader(&site, "patient");
    wait_until("the loader waits", async || patient.said().contains(WAITS)).await;
    server.restart().await.unwrap();
    assert!(patient.ended().await.success());

    // What it asks at start waits for a lock that somebody holds.
    let mut client = site.client().await;
    let lock = client.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE turnstile.queues IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let locked_out = site.start(site.command(&["run", "--until-empty", "--database-timeout", "500ms"]), "locked");
    wait_until("the loader waits", async || locked_out.said().contains(WAITS)).await;
    assert!(!locked_out.said().contains(r#""message":"loading""#), "it has not begun");
    lock.rollback().await.unwrap();
    assert!(locked_out.ended().await.success());
    site.assert_promise().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_that_waits_for_the_last_messages_says_so_and_does_not_repeat_it() {
    let test = TestDatabase::with_tables().await;
    let site = Site::at(test.url()).await;
    site.fill(2, 1);
    let run = ["run", "--until-empty", "--wait", "1s", "--retry-delay", "2s", "--max-attempts", "2"];
    assert!(site.start(site.command(&run), "log").ended().await.success());
    let said = text_of(&site.log("log"));
    let waiting = said.lines().filter(|line| line.contains("waiting for messages that cannot be received yet"));
    // Two long polls at least bring nothing meanwhile. A message that has just come back is news.
    let in_flight = waiting.filter(|line| line.contains(r#""visible":0,"in_flight":1"#));
    assert_eq!(in_flight.count(), 1, "{said}");
    site.assert_promise().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminated_loader_ends_in_order_and_its_last_line_says_what_was_done() {
    let (_server, site) = server_and_site().await;
    let loader = site.start(site.command(&["run", "--wait", "1s"]), "log");
    let client = site.client().await;
    wait_until("something is recorded", async || site.rows(&client).await > 0).await;
    loader.terminate();
    assert!(loader.ended().await.success());

    let log = text_of(&site.log("log"));
    let endpoint = format!(r#""endpoint":"{}""#, site.sqs.endpoint());
    assert!(log.lines().any(|line| line.contains(r#""message":"loading""#) && line.contains(&endpoint)), "{log}");
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    let recorded = site.rows(&client).await;
    assert_eq!((last["message"].as_str(), last["loaded"].as_u64()), (Some("ended"), Some(recorded as u64)), "{last}");
    assert_eq!(last["in_hand"].as_u64(), Some(0), "{last}");
    assert!(site.sqs.stats(QUEUE).unwrap().in_flight <= DEAD, "only rejected messages may wait for another attempt");
    assert!(!log.contains("user 1"), "no value of a message is in the log");
}

fn loader(site: &Site, name: &str) -> Loader {
    let settings = ["--batch-size", "50", "--visibility-timeout", "4s", "--retry-delay", "1s", "--wait", "1s"];
    let arguments = [&["run", "--until-empty", "--database-timeout", "2s"], &settings[..]].concat();
    site.start(site.command(&arguments), name)
}

async fn server_and_site() -> (Postgres, Site) {
    let server = server::start(installed()).await;
    let site = Site::at(&server.url()).await;
    site.fill(messages(), DEAD);
    (server, site)
}
