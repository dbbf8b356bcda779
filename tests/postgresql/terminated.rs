//! An administrator, or a failing server process, ends the loaders' connections, again and again.

use stand_ins::postgres::Options;
use tokio_postgres::Client;

use super::{COMMAND, Siege, times};
use crate::support::evidence::survived;
use crate::support::server::{self, installed};
use crate::support::wait_until;

/// A fault, and what `pg_stat_activity` says of a backend that it can strike.
const MOMENTS: [(&str, &str); 3] = [
    ("connection terminated while idle", "state = 'idle'"),
    (
        "connection terminated in a transaction",
        "state = 'idle in transaction' OR (state = 'active' AND query !~ '^(BEGIN|COMMIT)')",
    ),
    ("connection terminated while committing", COMMITTING),
];

const COMMITTING: &str = "state = 'active' AND query LIKE 'COMMIT;%'";

/// How often each fault strikes.
fn strikes() -> u64 {
    times("TURNSTILE_TEST_STRIKES", 35)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loaders_survive_that_their_connections_are_terminated_at_every_moment() {
    let server = server::start(slow_to_commit()).await;
    let siege = Siege::begin(&server.url(), 2, &[]).await;
    let administrator = siege.site.client().await;
    for _ in 0..strikes() {
        for (_, moment) in MOMENTS {
            terminate_one(&siege, &administrator, moment).await;
        }
    }
    assert!(siege.heard(r#""error":"commit: "#) > 0, "no commit was struck");
    assert!(siege.heard(r#""class":"Ambiguous""#) > 0, "no commit was ambiguous");
    siege.end().await;
    MOMENTS.iter().for_each(|(fault, _)| survived(fault, strikes(), COMMAND));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_that_share_one_connection_survive_that_it_is_terminated() {
    let server = server::start(slow_to_commit()).await;
    let one_for_all = [("TURNSTILE_LANES", "4"), ("TURNSTILE_DATABASE_CONNECTIONS", "1")];
    let siege = Siege::begin(&server.url(), 1, &one_for_all).await;
    let administrator = siege.site.client().await;
    for n in 0..strikes() as usize {
        let (_, moment) = MOMENTS[n % MOMENTS.len()];
        terminate_one(&siege, &administrator, moment).await;
    }
    siege.end().await;
    survived("the only connection of four lanes terminated", strikes(), COMMAND);
}

/// Ends one connection of the loaders that is where `moment` says.
async fn terminate_one(siege: &Siege, administrator: &Client, moment: &str) {
    let sql = format!(
        "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid))
         FROM (SELECT pid FROM pg_stat_activity WHERE application_name = 'turnstile' AND ({moment}) LIMIT 1) AS victim"
    );
    wait_until(moment, async || {
        siege.feed();
        administrator.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0) > 0
    })
    .await;
}

/// The server waits with each commit as if others would join it, so that there are commits to strike.
fn slow_to_commit() -> Options {
    let settings = [("commit_delay", "30000"), ("commit_siblings", "0")];
    Options { settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(), ..installed() }
}
