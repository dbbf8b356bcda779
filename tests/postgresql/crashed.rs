//! The server is gone, or hangs, and comes back on the same data.

use std::time::{Duration, Instant};

use super::{COMMAND, RUNS_AGAIN, Siege, times};
use crate::support::evidence::survived;
use crate::support::server::{self, installed};
use crate::support::wait_until;

/// How often each fault strikes.
fn crashes() -> u64 {
    times("TURNSTILE_TEST_CRASHES", 3)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loaders_survive_a_kill_9_of_the_server() {
    let mut server = server::start(installed()).await;
    let siege = Siege::begin(&server.url(), 2, &[]).await;
    for _ in 0..crashes() {
        siege.in_full_swing().await;
        server.kill_hard();
        siege.hears(RUNS_AGAIN, 1).await;
        server.restart().await.unwrap();
        siege.is_relieved().await;
    }
    siege.end().await;
    survived("kill -9 of the database server", crashes(), COMMAND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loaders_survive_an_immediate_stop_of_the_server() {
    let mut server = server::start(installed()).await;
    let siege = Siege::begin(&server.url(), 2, &[]).await;
    for _ in 0..crashes() {
        siege.in_full_swing().await;
        server.stop_immediately().await.unwrap();
        siege.hears(RUNS_AGAIN, 1).await;
        server.restart().await.unwrap();
        siege.is_relieved().await;
    }
    siege.end().await;
    survived("immediate stop of the database server", crashes(), COMMAND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loaders_survive_a_server_that_hangs_for_longer_than_every_deadline() {
    // The statement's deadline is 450 ms then, the lock's 250 ms, the idle transaction's 1.5 s.
    let settings = [("TURNSTILE_DATABASE_TIMEOUT", "500ms"), ("TURNSTILE_VISIBILITY_TIMEOUT", "1s")];
    let longer_than_every_deadline = Duration::from_secs(2);
    let mut server = server::start(installed()).await;
    let siege = Siege::begin(&server.url(), 2, &settings).await;
    let freezes = times("TURNSTILE_TEST_FREEZES", 2);
    for _ in 0..freezes {
        siege.in_full_swing().await;
        let heard = siege.heard("no answer within");
        let frozen = Instant::now();
        server.pause();
        wait_until("calls miss their deadlines", async || {
            frozen.elapsed() > longer_than_every_deadline && siege.heard("no answer within") > heard + 1
        })
        .await;
        server.resume();
        siege.is_relieved().await;
    }
    siege.end().await;
    survived("database server frozen for longer than every deadline", freezes, COMMAND);
}
