//! Locks that others hold and statements that take too long: the server's time-outs strike, again and again.

use super::{COMMAND, Siege, times};
use crate::support::evidence::survived;
use crate::support::server::{self, installed};
use crate::support::wait_until;

/// How often each time-out strikes, at least.
fn strikes() -> u64 {
    times("TURNSTILE_TEST_TIMEOUTS", 12)
}

const TABLES: [&str; 4] = ["processed_messages", "user_logins", "dead_letters", "outbox"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loaders_survive_rivals_that_hold_locks_for_longer_than_the_lock_timeout() {
    const LOCK_TIMEOUT: &str = "SQLSTATE 55P03";
    let server = server::start(installed()).await;
    let siege = Siege::begin(&server.url(), 2, &[]).await;
    let mut rival = siege.site.client().await;
    for table in TABLES {
        siege.in_full_swing().await;
        let lock = rival.transaction().await.unwrap();
        lock.batch_execute(&format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await.unwrap();
        siege.hears(LOCK_TIMEOUT, strikes() / TABLES.len() as u64).await;
        lock.rollback().await.unwrap();
        siege.is_relieved().await;
    }
    let struck = siege.heard(LOCK_TIMEOUT);
    siege.end().await;
    survived("lock time-out (55P03)", struck, COMMAND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loaders_survive_statements_that_take_longer_than_the_statement_timeout() {
    const STATEMENT_TIMEOUT: &str = "SQLSTATE 57014";
    let server = server::start(installed()).await;
    let siege = Siege::begin(&server.url(), 2, &[]).await;
    let administrator = siege.site.client().await;
    // Two of three inserts sleep through their deadline. A sequence counts those that are rolled back too.
    let slow = "CREATE SEQUENCE public.inserts;
                CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    IF nextval('public.inserts') % 3 > 0 THEN PERFORM pg_sleep(60); END IF; RETURN NULL;
                END $$;
                CREATE TRIGGER slow BEFORE INSERT ON outbox EXECUTE FUNCTION sleep()";
    administrator.batch_execute(slow).await.unwrap();
    for times in 1..=strikes() {
        wait_until("statements time out", async || {
            siege.feed();
            siege.heard(STATEMENT_TIMEOUT) >= times
        })
        .await;
    }
    administrator.batch_execute("DROP TRIGGER slow ON outbox").await.unwrap();
    let struck = siege.heard(STATEMENT_TIMEOUT);
    siege.end().await;
    survived("statement time-out (57014)", struck, COMMAND);
}
