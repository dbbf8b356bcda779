//! PostgreSQL fails in the ways that it has, while loaders load; they go on by themselves, and the promise holds.

mod crashed;
pub(crate) mod failover;
mod few_connections;
mod frozen;
mod full_disk;
mod lossy;
mod refusals;
mod session;
mod terminated;
mod timeouts;
mod tls;
mod unreached;

use std::time::Duration;

use crate::support::program::Loader;
use crate::support::site::Site;
use crate::support::{PATIENCE, wait_until};

/// What repeats the evidence of this module.
const COMMAND: &str = "cargo test --test main postgresql::";

/// What a loader says of a transaction that failed and that it runs again.
pub(crate) const RUNS_AGAIN: &str = "the transaction runs again";

/// What a loader says when it has found database and queue fit.
const READY: &str = r#""message":"loading""#;

/// Settings with which many transactions run in a short time, and deadlines are short.
pub(crate) const SETTINGS: [(&str, &str); 6] = [
    ("TURNSTILE_BATCH_SIZE", "20"),
    ("TURNSTILE_LINGER", "0ms"),
    ("TURNSTILE_WAIT", "1s"),
    ("TURNSTILE_VISIBILITY_TIMEOUT", "4s"),
    ("TURNSTILE_RETRY_DELAY", "0s"),
    ("TURNSTILE_DATABASE_TIMEOUT", "1s"),
];

/// Reads how often a fault shall strike; `variable` sets more than a test run of every day needs.
pub(crate) fn times(variable: &str, every_day: u64) -> u64 {
    std::env::var(variable).map_or(every_day, |text| text.parse().unwrap())
}

/// Loaders at work that never end by themselves, and are fed while their database fails.
pub(crate) struct Siege {
    pub(crate) site: Site,
    pub(crate) loaders: Vec<Loader>,
}

impl Siege {
    /// Starts so many processes, with more settings than [`SETTINGS`].
    pub(crate) async fn begin(database_url: &str, processes: usize, settings: &[(&str, &str)]) -> Self {
        let site = Site::at(database_url).await;
        let mut loaders = Vec::new();
        for n in 0..processes {
            loaders.push(ready_loader(&site, &format!("loader {n}"), settings).await);
        }
        Self { site, loaders }
    }

    /// Sees to it that there is something to load, good and malformed.
    pub(crate) fn feed(&self) {
        if self.site.depth() < 200 {
            self.site.fill(200, 5);
        }
    }

    /// Feeds, and waits until a part is loaded and a part is left: whatever happens now happens in the middle.
    pub(crate) async fn in_full_swing(&self) {
        let left = self.site.depth();
        self.site.fill(400, 10);
        wait_until("loading is in full swing", async || self.site.depth() < left + 350).await;
    }

    /// How many lines of the loaders' logs hold this.
    pub(crate) fn heard(&self, what: &str) -> u64 {
        let lines = |loader: &Loader| loader.said().lines().filter(|line| line.contains(what)).count();
        self.loaders.iter().map(lines).sum::<usize>() as u64
    }

    /// Waits until the loaders say this `times` more than before, and feeds them meanwhile: those that have loaded all that
    /// there was say nothing.
    pub(crate) async fn hears(&self, what: &str, times: u64) {
        let before = self.heard(what);
        for more in 1..=times {
            let heard = async || {
                self.feed();
                self.heard(what) >= before + more
            };
            wait_until(what, heard).await;
        }
    }

    /// Waits until the loaders have caught up, which they must do without any help.
    pub(crate) async fn is_relieved(&self) {
        self.site.is_drained().await;
    }

    /// Ends when all is loaded; fails unless the loaders end in order and the promise holds.
    pub(crate) async fn end(self) {
        self.is_relieved().await;
        let site = self.stop_loaders().await;
        site.assert_promise().await;
    }

    /// Ends the loaders as an operator does.
    pub(crate) async fn stop_loaders(self) -> Site {
        self.loaders.iter().for_each(Loader::terminate);
        for mut loader in self.loaders {
            let status = loader.ends_within(PATIENCE).await;
            assert!(status.is_some_and(|status| status.success()), "{status:?}: {}", loader.said());
        }
        self.site
    }
}

/// Starts a loader, again if it must be: on a busy machine it may not find everything fit within its short deadlines,
/// and ends then, so that it is started again.
async fn ready_loader(site: &Site, name: &str, settings: &[(&str, &str)]) -> Loader {
    let start = || {
        let mut command = site.command(&["run"]);
        command.envs(SETTINGS).envs(settings.iter().copied());
        site.start(command, name)
    };
    let mut loader = start();
    wait_until("a loader is ready", async || {
        if loader.ends_within(Duration::from_millis(10)).await.is_some() {
            loader = start();
        }
        loader.said().contains(READY)
    })
    .await;
    loader
}
