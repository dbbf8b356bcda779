//! By which way a loader reaches the database: straight, by way of a proxy that cuts, of a slow network, or of a pooler.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::pgbouncer::PgBouncer;
use crate::support::proxy::{
    Asked, Cut, Ending, Kind, Moment, NetworkProxy, PostgresProxy, Side, Trouble, server_of, url_through,
};

/// Of how many requests by way of the proxy one is cut off: in a COPY, and elsewhere.
const ONE_COPY_IN: u32 = 20;
const ONE_REQUEST_IN: u32 = 150;
/// How long the other end hears nothing of a cut on one side.
const SILENCE: Duration = Duration::from_secs(3);
/// So that a loader waits for the answer to its COPY for long enough to be found there.
const SLOW: Trouble = Trouble::Latency { delay: Duration::from_millis(4), jitter: Duration::from_millis(4) };

/// A way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Straight,
    Cut,
    Slow,
    Pooled,
}

/// All of them.
pub(crate) struct Routes {
    straight: String,
    proxy: PostgresProxy,
    slow: (String, NetworkProxy),
    pooler: Option<PgBouncer>,
}

impl Routes {
    /// Ways to the database of this URL; its tables stand already.
    pub(crate) async fn to(url: &str, seed: u64) -> Self {
        let proxy = PostgresProxy::before(url).await;
        let mut random = StdRng::seed_from_u64(seed);
        proxy.arm(move |asked| cut(asked, &mut random));
        let slow = NetworkProxy::before(server_of(url)).await;
        slow.trouble(SLOW);
        let pooler = match PgBouncer::installed() {
            Some(program) => Some(PgBouncer::before(&program, url, "session").await),
            None => None,
        };
        Self { straight: url.to_owned(), proxy, slow: (url_through(url, slow.address()), slow), pooler }
    }

    /// One of the ways that every loader may go, by a number that was drawn.
    pub(crate) fn any(&self, drawn: u32) -> Route {
        match drawn % 4 {
            0 => Route::Cut,
            1 if self.has_pooler() => Route::Pooled,
            _ => Route::Straight,
        }
    }

    pub(crate) fn url(&self, route: Route) -> &str {
        match (route, &self.pooler) {
            (Route::Cut, _) => self.proxy.url(),
            (Route::Slow, _) => &self.slow.0,
            (Route::Pooled, Some(pooler)) => &pooler.url,
            (Route::Straight, _) | (Route::Pooled, None) => &self.straight,
        }
    }

    pub(crate) fn has_pooler(&self) -> bool {
        self.pooler.is_some()
    }

    /// How many connections were cut, and how many of them in the middle of a COPY.
    pub(crate) fn cuts(&self) -> (u64, u64) {
        let by_cut = self.proxy.strikes_by_cut();
        let in_copies = by_cut.iter().filter(|((kind, _), _)| matches!(kind, Kind::CopyData | Kind::Sync));
        (by_cut.values().sum(), in_copies.map(|(_, times)| times).sum())
    }
}

/// A cut of any kind, now and then.
fn cut(asked: Asked, random: &mut StdRng) -> Option<Cut> {
    const ALL: &[Moment] = &[Moment::Before, Moment::Middle, Moment::Forwarded, Moment::Answered];
    let (moments, one_in) = match asked.kind {
        Kind::Startup | Kind::Prepare => return None,
        // The server does not answer it.
        Kind::CopyData => (&ALL[..3], ONE_COPY_IN),
        Kind::Sync => (ALL, ONE_COPY_IN),
        Kind::Commit
        | Kind::PrepareTransaction
        | Kind::CommitPrepared
        | Kind::RollbackPrepared
        | Kind::Query
        | Kind::Bind => (ALL, ONE_REQUEST_IN),
    };
    if random.random_range(0..one_in) > 0 {
        return None;
    }
    let moment = moments[random.random_range(0..moments.len())];
    let side = [Side::Both, Side::Client(SILENCE), Side::Server(SILENCE)][random.random_range(0..3)];
    let ending = [Ending::Close, Ending::Reset][random.random_range(0..2)];
    Some(Cut { moment, side, ending })
}
