//! Loaders that are stopped in the middle of their work, for a while or for ever, while others go on.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio_postgres::Client;

use super::Torture;
use super::routes::Route;
use crate::support::postgres::connect;
use crate::support::program::Loader;

/// How long a loader works before it is stopped, in milliseconds.
const WORK: std::ops::Range<u64> = 400..2_000;
/// How long it is stopped: shorter than any deadline of its rivals, and longer than all.
const STOP: std::ops::Range<u64> = 200..10_000;
/// How long one that goes on does so before it is killed.
const WORK_AFTER: Duration = Duration::from_millis(1_500);

/// What was stopped.
#[derive(Clone, Copy, Default)]
pub(crate) struct Frozen {
    pub(crate) times: u64,
    /// While the server waited for the rows of a COPY.
    pub(crate) in_copies: u64,
    pub(crate) went_on: u64,
}

impl Torture<'_> {
    /// Stops a loader at any moment; it goes on later, or is killed as it stands.
    pub(super) async fn freeze(&self, name: &str) {
        let (work, stop) = (self.draw(WORK), self.draw(STOP));
        let since = self.world.log_length(name);
        let mut loader = self.world.site.start(self.loader_by(Route::Slow), name);
        let client = connect(&self.world.server.url()).await;
        if let Some(status) = loader.ends_within(Duration::from_millis(work)).await {
            return self.excuse(name, since, status);
        }
        // Most of its time a loader is not in a COPY: of some it is waited for.
        if self.draw(0..2) == 0 {
            wait_for_copy(&client).await;
        }
        signal(&loader, Signal::SIGSTOP);
        let in_copy = hangs_in_copy(&client).await;
        self.note_frozen(|frozen| {
            frozen.times += 1;
            frozen.in_copies += u64::from(in_copy);
        });
        tokio::time::sleep(Duration::from_millis(stop)).await;
        if self.draw(0..2) == 0 {
            signal(&loader, Signal::SIGCONT);
            self.note_frozen(|frozen| frozen.went_on += 1);
            if let Some(status) = loader.ends_within(WORK_AFTER).await {
                return self.excuse(name, since, status);
            }
        }
        loader.kill();
        self.tally.lock().unwrap().elsewhere += 1;
    }

    fn note_frozen(&self, change: impl FnOnce(&mut Frozen)) {
        change(&mut self.tally.lock().unwrap().frozen);
    }
}

/// Waits for a moment at which some loader is in a COPY, for a little while: those on a slow way are there for longest.
async fn wait_for_copy(client: &Client) {
    for _ in 0..200 {
        if !copies(client).await.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn signal(loader: &Loader, signal: Signal) {
    kill(Pid::from_raw(loader.process_id().cast_signed()), signal).unwrap();
}

/// The COPYs for whose rows the server waits, by their connection and when they began.
async fn copies(client: &Client) -> Vec<(i32, time::OffsetDateTime)> {
    let sql = "SELECT pid, query_start FROM pg_stat_activity
               WHERE state = 'active' AND wait_event = 'ClientRead' AND query LIKE 'COPY %'";
    client.query(sql, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Whether the server waits for the rows of the same COPY before and after a while in which no loader alive would take so
/// long.
async fn hangs_in_copy(client: &Client) -> bool {
    let before = copies(client).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    copies(client).await.iter().any(|copy| before.contains(copy))
}
