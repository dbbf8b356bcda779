//! The primary is lost and its synchronous standby takes its place: every message that was deleted from the queue is
//! there.

use std::time::Duration;

use tokio_postgres::Client;
use turnstile::database::DatabaseError;
use turnstile::database::server::ServerFacts;
use turnstile::retry::Class;

use super::{COMMAND, RUNS_AGAIN, Siege, times};
use crate::support::evidence::survived;
use crate::support::postgres::{connect, pool};
use crate::support::proxy::server_of;
use crate::support::replicated::ReplicatedPair;
use crate::support::wait_until;

/// How many pairs of servers each fault is tried on.
fn failovers() -> u64 {
    times("TURNSTILE_TEST_FAILOVERS", 2)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loaders_go_on_at_the_standby_when_the_primary_is_killed() {
    for _ in 0..failovers() {
        let mut pair = ReplicatedPair::start().await;
        let siege = Siege::begin(&pair.url(), 2, &[]).await;
        siege.in_full_swing().await;
        pair.fail_over().await;
        siege.in_full_swing().await;
        siege.end().await;
    }
    survived("primary killed, failover to the synchronous standby", failovers(), COMMAND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loaders_go_on_at_the_standby_when_the_primary_hangs() {
    let mut pair = ReplicatedPair::start().await;
    let siege = Siege::begin(&pair.url(), 2, &[]).await;
    siege.in_full_swing().await;
    pair.primary.pause();
    siege.hears(RUNS_AGAIN, 1).await;
    pair.standby.promote().await.unwrap();
    siege.in_full_swing().await;
    siege.is_relieved().await;
    // Fenced, which is the duty of those who promote a standby.
    pair.primary.kill_hard();
    siege.end().await;
    survived("primary hangs, failover to the synchronous standby", 1, COMMAND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hosts_the_primary_is_found_where_the_url_does_not_say_which() {
    let pair = ReplicatedPair::start().await;
    let url = pair.url();
    let (both, _) = url.split_once('?').unwrap();
    // The order is drawn anew for each connection.
    for _ in 0..10 {
        assert!(!server_facts(both).await.unwrap().standby);
    }
    let standby_only = format!("{}?target_session_attrs=any", pair.standby.url());
    assert!(server_facts(&standby_only).await.unwrap().standby, "what the URL says holds");
    let standby = place(&pair.standby.url());
    let no_primary = pair.standby.url().replace(&standby, &format!("{standby},{standby}"));
    let error = server_facts(&no_primary).await.unwrap_err();
    assert_eq!(error.class(), Class::Transient);
    assert!(error.to_string().contains("takes no rows: it is a standby"), "{error}");
}

async fn server_facts(url: &str) -> Result<ServerFacts, DatabaseError> {
    pool(url, 1, Duration::from_secs(10)).server_facts().await
}

/// Host and port.
fn place(url: &str) -> String {
    let (host, port) = server_of(url);
    format!("{host}:{port}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_wait_for_the_standby_is_cancelled_is_not_taken_as_committed() {
    let CancelledWaits { cancelled, lost } = messages_lost_by_cancelled_waits(&[]).await;
    assert_eq!(lost, 0);
    survived("wait for the synchronous standby cancelled, then failover", cancelled, COMMAND);
}

/// What [`messages_lost_by_cancelled_waits`] saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CancelledWaits {
    /// Commits whose wait for the standby was cancelled.
    pub(crate) cancelled: u64,
    /// Messages that were deleted from the queue and are not at the promoted standby.
    pub(crate) lost: u64,
}

/// Loads while the standby is frozen, cancels the waits of the commits for it, and promotes it after both servers
/// crashed. The loaders are told `settings` too.
pub(crate) async fn messages_lost_by_cancelled_waits(settings: &[(&str, &str)]) -> CancelledWaits {
    let mut pair = ReplicatedPair::start().await;
    let siege = Siege::begin(&pair.url(), 2, settings).await;
    siege.in_full_swing().await;
    siege.is_relieved().await;

    pair.standby.pause();
    siege.site.fill(200, 5);
    let administrator = connect(&pair.primary.url()).await;
    let mut cancelled = 0;
    wait_until("waits for the standby are cancelled", async || {
        cancelled += cancel_waits(&administrator).await;
        cancelled >= 6
    })
    .await;
    pair.fail_over_to_what_the_disk_of_the_standby_holds().await;
    siege.is_relieved().await;
    let lost = siege.stop_loaders().await.discrepancies().await.lost;
    CancelledWaits { cancelled, lost }
}

/// Cancels the waits for the standby that there are, and says how many.
async fn cancel_waits(administrator: &Client) -> u64 {
    let sql = "SELECT count(*) FILTER (WHERE pg_cancel_backend(pid)) FROM pg_stat_activity
               WHERE wait_event = 'SyncRep' AND application_name = 'turnstile'";
    administrator.query_one(sql, &[]).await.unwrap().get::<_, i64>(0).cast_unsigned()
}
