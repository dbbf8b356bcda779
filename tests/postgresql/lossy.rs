//! What `run` refuses is worth refusing: a server that does not keep its commits loses messages, and that is seen.

use turnstile::database::on_loan::{OnLoan, Options};

use super::{COMMAND, Siege};
use crate::support::evidence::survived;
use crate::support::postgres::connect;
use crate::support::site::text_of;

/// How often the server is killed until messages are lost: its log may have gone to disk just before.
const ATTEMPTS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_a_server_does_not_keep_are_lost_and_the_checker_says_so() {
    // The log goes to disk ten seconds later, and not when there is much of it.
    let lazy = [("wal_writer_delay", "10s"), ("wal_writer_flush_after", "1GB")];
    let settings = lazy.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let mut server = OnLoan::start(Options { settings, ..Options::default() }).await.unwrap();
    let siege = Siege::begin(&server.url(), 1, &[]).await;
    siege.in_full_swing().await;
    siege.is_relieved().await;

    // Behind the back of a loader that has looked already: its next connections are not durable.
    let administrator = connect(&server.url()).await;
    let weaken = "ALTER DATABASE turnstile SET synchronous_commit = off;
                  SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'turnstile'";
    administrator.batch_execute(weaken).await.unwrap();
    let mut lost = 0;
    for _ in 0..ATTEMPTS {
        siege.site.fill(100, 3);
        siege.is_relieved().await;
        server.kill_hard();
        server.restart().await.unwrap();
        lost = siege.site.discrepancies().await.lost;
        if lost > 0 {
            break;
        }
    }
    survived("loss of commits that were acknowledged is found by the checker", lost, COMMAND);

    let site = siege.stop_loaders().await;
    let refused = site.start(site.command(&["run"]), "refused");
    assert_eq!(refused.ended().await.code(), Some(1));
    let said = text_of(&site.log("refused"));
    assert!(said.contains("synchronous_commit is off"), "{said}");
}
