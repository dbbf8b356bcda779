//! What `run` refuses is worth refusing: a server that does not keep its commits loses messages, and that is seen. What
//! a session alone would weaken loses none.

use std::time::Duration;

use stand_ins::postgres::{Options, Postgres};

use super::{COMMAND, Siege};
use crate::support::evidence::survived;
use crate::support::postgres::connect;
use crate::support::program::text_of;
use crate::support::server::{self, installed};
use crate::support::site::Site;
use crate::support::wait_until;

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

    let off = "ALTER DATABASE main SET synchronous_commit = off";
    site.client().await.batch_execute(off).await.unwrap();
    let refused = site.start(site.command(&["run"]), "refused");
    assert_eq!(refused.ended().await.code(), Some(1));
    let said = text_of(&site.log("refused"));
    assert!(said.contains("synchronous_commit is off"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_would_not_wait_for_the_disk_loses_no_commit() {
    let (lost, ..) = lost_after("ALTER DATABASE main SET synchronous_commit = off").await;
    assert_eq!(lost, 0);
    survived("synchronous_commit switched off behind the loaders, kill -9 of the server", ATTEMPTS as u64, COMMAND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_a_server_that_has_ceased_to_keep_its_commits_is_not_believed() {
    for setting in ["fsync", "full_page_writes"] {
        let server = server::start(installed()).await;
        let mut siege = Siege::begin(&server.url(), 1, &[]).await;
        siege.in_full_swing().await;
        siege.is_relieved().await;
        let administrator = connect(&server.url()).await;
        for sql in [format!("ALTER SYSTEM SET {setting} = off"), "SELECT pg_reload_conf()".to_owned()] {
            administrator.batch_execute(&sql).await.unwrap();
        }
        let loader = &mut siege.loaders[0];
        let mut status = None;
        wait_until("the loader stops", async || {
            siege.site.fill(1, 0);
            status = loader.ends_within(Duration::from_millis(10)).await;
            status.is_some()
        })
        .await;
        let said = loader.said();
        assert_eq!(status.unwrap().code(), Some(1), "{said}");
        assert!(said.contains(&format!("commit: {setting} is off")) && said.contains("on for this server"), "{said}");
        // It may have gone on until the server had read its settings; what was not believed is still in the queue.
        assert!(siege.site.depth() > 0);
    }
    survived("server that ceases to keep its commits behind the loaders", 2, COMMAND);
}

/// Messages that are lost when the server is killed again and again after it was weakened.
async fn lost_after(weaken: &str) -> (u64, Site, Postgres) {
    // The log goes to disk ten seconds later, and not when there is much of it.
    let lazy = [("wal_writer_delay", "10s"), ("wal_writer_flush_after", "1GB")];
    let settings = lazy.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let mut server = server::start(Options { settings, ..installed() }).await;
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
