//! What `run` refuses is worth refusing: a server that does not keep its commits loses messages, and that is seen. What
//! a session alone would weaken loses none.

use turnstile::database::on_loan::{OnLoan, Options};

use super::{COMMAND, Siege};
use crate::support::evidence::survived;
use crate::support::postgres::connect;
use crate::support::site::{Site, text_of};

/// How often the server is killed until messages are lost: its log may have gone to disk just before.
const ATTEMPTS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_a_server_does_not_keep_are_lost_and_the_checker_says_so() {
    // Behind the back of a loader that has looked already, and inside its own transactions.
    let weaken = "CREATE FUNCTION weaken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                      PERFORM set_config('synchronous_commit', 'off', true); RETURN NULL;
                  END $$;
                  CREATE TRIGGER weaken AFTER INSERT ON processed_messages EXECUTE FUNCTION weaken()";
    let (lost, site, _server) = lost_after(weaken).await;
    survived("loss of commits that were acknowledged is found by the checker", lost, COMMAND);

    let off = "ALTER DATABASE turnstile SET synchronous_commit = off";
    site.client().await.batch_execute(off).await.unwrap();
    let refused = site.start(site.command(&["run"]), "refused");
    assert_eq!(refused.ended().await.code(), Some(1));
    let said = text_of(&site.log("refused"));
    assert!(said.contains("synchronous_commit is off"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_would_not_wait_for_the_disk_loses_no_commit() {
    let (lost, ..) = lost_after("ALTER DATABASE turnstile SET synchronous_commit = off").await;
    assert_eq!(lost, 0);
    survived("synchronous_commit switched off behind the loaders, kill -9 of the server", ATTEMPTS as u64, COMMAND);
}

/// Messages that are lost when the server is killed again and again after it was weakened.
async fn lost_after(weaken: &str) -> (u64, Site, OnLoan) {
    // The log goes to disk ten seconds later, and not when there is much of it.
    let lazy = [("wal_writer_delay", "10s"), ("wal_writer_flush_after", "1GB")];
    let settings = lazy.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let mut server = OnLoan::start(Options { settings, ..Options::default() }).await.unwrap();
    let siege = Siege::begin(&server.url(), 1, &[]).await;
    siege.in_full_swing().await;
    siege.is_relieved().await;

    let administrator = connect(&server.url()).await;
    administrator.batch_execute(weaken).await.unwrap();
    // What is set for a database holds for the connections that come.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'turnstile'";
    administrator.batch_execute(end).await.unwrap();
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
    (lost, siege.stop_loaders().await, server)
}
