//! What a process keeps of connections that were reset, as the system sees it: nothing.

use super::address_of;
use crate::support::evidence::survived;
use crate::support::held::Held;
use crate::support::postgres::TestDatabase;
use crate::support::proxy::{NetworkProxy, Trouble, server_of, url_through};
use crate::support::site::Site;
use crate::support::wait_until;

/// How often every connection is reset; `TURNSTILE_TEST_RESETS` sets more than a test run of every day needs.
fn resets() -> usize {
    std::env::var("TURNSTILE_TEST_RESETS").map_or(30, |text| text.parse().unwrap())
}

/// Rounds before the first look, in which caches and pools fill.
const WARM_UP: usize = 10;

/// How much the memory may have grown after all rounds, in KiB: one leaked connection with its buffers is some 20.
const MEMORY_MARGIN: u64 = 6 * 1024;

/// Connections that a process may hold more at one look than at another: receives and deletes side by side.
const SIDE_BY_SIDE: u64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_keeps_no_descriptor_thread_or_memory_of_connections_that_were_reset() {
    let test = TestDatabase::with_tables().await;
    let site = Site::at(test.url()).await;
    let database = NetworkProxy::before(server_of(test.url())).await;
    let queue = NetworkProxy::before(address_of(&site.sqs.endpoint())).await;
    let mut command = site.command(&["run", "--lanes", "2", "--wait", "1s", "--visibility-timeout", "5s"]);
    command.env("DATABASE_URL", url_through(test.url(), database.address()));
    command.env("AWS_ENDPOINT_URL", format!("http://{}", queue.address()));
    let loader = site.start(command, "loader");
    let client = site.client().await;

    let mut recorded = 0;
    let mut before = Held::default();
    for round in 0..WARM_UP + resets() {
        site.fill(20, 0);
        recorded += 20;
        wait_until("everything is recorded", async || site.rows(&client).await == recorded).await;
        if round == WARM_UP {
            before = Held::by(loader.process_id());
        }
        for proxy in [&database, &queue] {
            let strikes = proxy.strikes();
            proxy.trouble(Trouble::Reset);
            wait_until("it has struck", async || proxy.strikes() > strikes).await;
            wait_until("all are reset", async || proxy.open_connections() == 0).await;
            proxy.heal();
        }
    }
    site.fill(20, 0);
    wait_until("everything is recorded", async || site.rows(&client).await == recorded + 20).await;
    let after = Held::by(loader.process_id());
    eprintln!("{before:?} before, {after:?} after {} rounds of resets", resets());
    assert!(after.memory <= before.memory + MEMORY_MARGIN, "{before:?}, {after:?}");
    assert!(after.descriptors <= before.descriptors + SIDE_BY_SIDE, "{before:?}, {after:?}");
    assert!(after.threads <= before.threads, "{before:?}, {after:?}");

    loader.terminate();
    assert!(loader.ended().await.success());
    site.is_drained().await;
    site.assert_promise().await;
    let command = "TURNSTILE_TEST_RESETS=200 cargo test --test main network::left_behind";
    survived("every connection of a process reset", database.strikes() + queue.strikes(), command);
}
