//! What the tests stand on.

pub(crate) mod bodies;
pub(crate) mod cluster;
#[cfg(feature = "traces")]
pub(crate) mod collector;
pub(crate) mod evidence;
pub(crate) mod held;
#[allow(dead_code, reason = "mutants and kills need a build with failpoints")]
pub(crate) mod idleness;
pub(crate) mod loading;
pub(crate) mod page;
pub(crate) mod pgbouncer;
pub(crate) mod pipeline;
pub(crate) mod postgres;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod replicated;
pub(crate) mod scripted_http;
pub(crate) mod served;
pub(crate) mod server;
pub(crate) mod site;
pub(crate) mod tables;
pub(crate) mod totals;
pub(crate) mod verdicts;

use std::time::{Duration, Instant};

/// How long a test waits for something that must happen: long, because a loaded machine is no failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The same where loaders have work in between: what they need some seconds for, on a machine with nothing else to do.
pub(crate) const LONG_PATIENCE: Duration = Duration::from_secs(300);

/// Waits until `condition` holds, and fails the test, naming `what`, if it does not within [`PATIENCE`].
pub(crate) async fn wait_until(what: &str, condition: impl AsyncFnMut() -> bool) {
    wait_for(PATIENCE, what, condition).await;
}

/// The same within `patience`.
pub(crate) async fn wait_for(patience: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let since = Instant::now();
    while !condition().await {
        assert!(since.elapsed() < patience, "waited {patience:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
