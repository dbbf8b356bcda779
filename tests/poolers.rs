//! PgBouncer between the loaders and PostgreSQL: what works behind it, works; what does not, says so and loses nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use stand_ins::postgres::{Options, Postgres};
use tokio_postgres::Client;
use turnstile::database::Database;
use turnstile::retry::Class;

use crate::postgresql::{RUNS_AGAIN, SETTINGS, Siege, times};
use crate::support::evidence::survived;
use crate::support::pgbouncer::{KEEPS_STATEMENTS, PgBouncer, version};
use crate::support::postgres::{self, connect};
use crate::support::server::{self, installed};
use crate::support::site::Site;
use crate::support::{PATIENCE, wait_until};

/// What repeats the evidence of this module.
const COMMAND: &str = "cargo test --test main poolers::";

/// Leaves these tests out where there is no PgBouncer.
const LEFT_OUT: &str = "TURNSTILE_TEST_NO_POOLER";

/// How often each fault strikes.
fn strikes() -> u64 {
    times("TURNSTILE_TEST_POOLER_STRIKES", 4)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loaders_work_behind_a_pooler_in_session_mode_and_survive_its_faults() {
    let Some(program) = program() else { return };
    let server = server::start(installed()).await;
    survive_faults("session", PgBouncer::before(&program, &server.url(), "session").await, &server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loaders_work_behind_a_pooler_in_transaction_mode_where_it_keeps_their_statements() {
    let Some(program) = program() else { return };
    if version(&program) < KEEPS_STATEMENTS {
        return refused_and_nothing_lost(&program).await;
    }
    let server = server::start(installed()).await;
    survive_faults("transaction", PgBouncer::before(&program, &server.url(), "transaction").await, &server).await;
}

/// Kills the pooler and the connections behind it, in full swing.
async fn survive_faults(mode: &str, mut pooler: PgBouncer, server: &Postgres) {
    // Tables are made past the pooler: the lock of a migration belongs to its session.
    drop(Site::at(&server.url()).await);
    let siege = Siege::begin(&pooler.url, 2, &[]).await;
    let administrator = connect(&server.url()).await;
    for _ in 0..strikes() {
        siege.in_full_swing().await;
        pooler.kill();
        siege.hears(RUNS_AGAIN, 1).await;
        pooler.start().await;
        siege.is_relieved().await;
        wait_until("a connection behind the pooler is ended", async || {
            siege.feed();
            end_one(&administrator).await
        })
        .await;
    }
    siege.end().await;
    survived(&format!("PgBouncer killed, pool_mode={mode}"), strikes(), COMMAND);
    survived(&format!("connection behind PgBouncer terminated, pool_mode={mode}"), strikes(), COMMAND);
}

/// Ends a connection of the loaders in the middle of a transaction, if there is one.
async fn end_one(administrator: &Client) -> bool {
    let sql = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid))
               FROM (SELECT pid FROM pg_stat_activity WHERE application_name = 'turnstile' AND state <> 'idle' LIMIT 1) AS v";
    administrator.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) > 0
}

/// A pooler that mixes up prepared statements: the loaders stop and say why, and another finds all that they left.
async fn refused_and_nothing_lost(program: &Path) {
    let server = server::start(installed()).await;
    let pooler = PgBouncer::before(program, &server.url(), "transaction").await;
    let site = Site::at(&server.url()).await;
    site.fill(400, 10);
    let start = |name: &str| {
        let mut command = site.command(&["run", "--until-empty"]);
        command.envs(SETTINGS).env("TURNSTILE_LANES", "4").env("DATABASE_URL", &pooler.url);
        site.start(command, name)
    };
    let mut said = String::new();
    for mut loader in ["first", "second"].map(start) {
        let status = loader.ends_within(PATIENCE).await.expect("an end");
        said += &loader.said();
        assert_eq!(status.code(), Some(1), "{said}");
    }
    assert!(said.contains("session mode") && said.contains("max_prepared_statements"), "{said}");
    let direct = site.start(site.command(&["run", "--until-empty", "--retry-delay", "0s", "--wait", "1s"]), "direct");
    assert!(direct.ended().await.success());
    site.assert_promise().await;
    survived("PgBouncer that mixes up prepared statements, pool_mode=transaction", 1, COMMAND);
}

#[tokio::test]
async fn a_connection_with_the_prepared_statements_of_another_process_is_refused_before_one_of_them_runs() {
    let Some(program) = program() else { return };
    let server = server::start(Options { fast: true, ..installed() }).await;
    for mode in ["session", "transaction"] {
        let pooler = PgBouncer::before(&program, &server.url(), mode).await;
        let other = connect(&pooler.url).await;
        let statement = other.prepare("SELECT 'of another' /* turnstile: 0123456789abcdef */").await.unwrap();
        // The next one gets the same connection, which is the only idle one, or in session mode another.
        let begun = pool(&pooler.url).begin().await;
        match mode == "session" || version(&program) >= KEEPS_STATEMENTS {
            true => begun.unwrap().rollback().await.unwrap(),
            false => {
                let error = begun.unwrap_err();
                assert_eq!(error.class(), Class::OfTheSystem);
                let said = error.remedy();
                assert!(said.contains("session mode") && said.contains("max_prepared_statements"), "{said}");
            }
        }
        drop((statement, other));
    }
}

#[tokio::test]
async fn deadlines_hold_behind_a_pooler_and_stay_with_their_transaction() {
    let Some(program) = program() else { return };
    let server = server::start(Options { fast: true, ..installed() }).await;
    for mode in ["session", "transaction"] {
        let pooler = PgBouncer::before(&program, &server.url(), mode).await;
        let database = pool(&pooler.url);
        let transaction = database.begin().await.unwrap();
        for (name, value) in [("statement_timeout", "9s"), ("lock_timeout", "5s"), ("client_min_messages", "warning")] {
            let ask = format!("SELECT pg_catalog.current_setting('{name}')");
            let row = transaction.query_one("ask", &ask, &[]).await.unwrap();
            assert_eq!(row.get::<_, &str>(0), value, "{name} with pool_mode={mode}");
        }
        transaction.rollback().await.unwrap();
        let others = connect(&pooler.url).await;
        let row = others.query_one("SELECT current_setting('statement_timeout')", &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), "0", "what the next client of the pooler gets");
    }
}

fn pool(url: &str) -> Database {
    postgres::pool(url, 1, Duration::from_secs(10))
}

/// The installed program. Without one the test fails, unless `TURNSTILE_TEST_NO_POOLER` says that it shall be left out.
fn program() -> Option<PathBuf> {
    if std::env::var_os(LEFT_OUT).is_some() {
        eprintln!("left out, as {LEFT_OUT} says: nothing is proven about poolers");
        return None;
    }
    let found = PgBouncer::installed();
    assert!(
        found.is_some(),
        "PgBouncer is missing: run scripts/setup pgbouncer, or set {LEFT_OUT}=1 to leave this out"
    );
    found
}
