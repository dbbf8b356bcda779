//! Relays as processes that send to SQS, and are killed: a standard queue has every event, and a FIFO queue has each once.

use std::process::Command;

use stand_ins::sqs::{Faults, LocalQueue, QueueOptions};

use super::*;
use crate::support::program::{self, Loader};

const EVENTS: i64 = 3_000;

/// Lets relays to this queue be killed, and gives how many messages it has in the end.
async fn carried_through_kills(queue: &str) -> usize {
    let test = TestDatabase::with_tables().await;
    let client = test.client().await;
    write(&client, EVENTS).await;
    let faults = Faults { lost_reply: 0.05, partial_batch_failure: 0.02, throttle: 0.02, ..Faults::default() };
    let sqs = LocalQueue::start(([127, 0, 0, 1], 0).into(), vec![QueueOptions::new(queue)], faults).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let keyring = program::write_keyring(folder.path());
    let relay = |more: &[&str]| -> Command {
        let mut command = program::command(program::turnstile(), test.url(), &keyring);
        command.args(["relay", "--to", &format!("sqs:{queue}"), "--lease", "1s", "--chunk", "50"]).args(more);
        command.env("AWS_ENDPOINT_URL", sqs.endpoint()).stdout(Stdio::null());
        command
    };
    let held = || sqs.stats(queue).unwrap().visible;
    for share in [4, 2] {
        let running = Loader::start(relay(&[]), folder.path().join("log"));
        wait_until("a part is carried", async || held() * share >= EVENTS as usize).await;
        running.kill();
    }
    sqs.set_faults(Faults::default());
    let last = Loader::start(relay(&["--until-empty"]), folder.path().join("log"));
    assert!(last.ended().await.success());
    assert_eq!(count(&client, "relay_failures").await, 0);
    held()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fifo_queue_has_each_event_once_although_relays_are_killed_and_replies_are_lost() {
    assert_eq!(carried_through_kills("events.fifo").await, EVENTS as usize);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standard_queue_has_every_event_and_some_of_them_twice() {
    let held = carried_through_kills("events").await;
    assert!(held > EVENTS as usize, "{held}: nothing came twice, so nothing was tried");
    assert!(held < EVENTS as usize * 2, "{held}");
}
