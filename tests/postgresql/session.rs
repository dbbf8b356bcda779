//! What every transaction and every migration is given by itself, whatever role, database and URL say.

use std::time::Duration;

use tokio_postgres::Client;
use turnstile::database::{Database, DatabaseError, Transaction};

use crate::support::postgres::{TestDatabase, pool};

const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// With a call timeout of ten seconds, as the server shows them.
const SETTINGS: [(&str, &str); 9] = [
    ("statement_timeout", "9s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "15s"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "2"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "10000"),
    ("client_min_messages", "warning"),
    ("search_path", "pg_catalog, pg_temp"),
];

#[tokio::test]
async fn every_transaction_has_its_deadlines_and_search_path_and_leaves_none_of_them_behind() {
    let test = TestDatabase::empty().await;
    for setting in ["statement_timeout = '1h'", "search_path = anything"] {
        set_for_database(&test.client().await, setting).await;
    }
    let database = database_at(&with_options(test.url(), "-c lock_timeout=1h -c client_min_messages=error"));
    for _ in 0..2 {
        for transaction in [database.begin().await.unwrap(), database.begin_snapshot().await.unwrap()] {
            for (name, value) in SETTINGS {
                assert_eq!(setting(&transaction, name).await, value, "{name}");
            }
            for (name, value) in [("statement_timeout", "3600000"), ("lock_timeout", "3600000")] {
                let sql = "SELECT reset_val FROM pg_catalog.pg_settings WHERE name = $1";
                let reset: String = transaction.query_one("ask", sql, &[&name]).await.unwrap().get(0);
                assert_eq!(reset, value, "{name} of the session itself");
            }
            transaction.rollback().await.unwrap();
        }
    }
}

#[tokio::test]
async fn another_deadline_holds_on_the_server_for_this_transaction_only() {
    let test = TestDatabase::empty().await;
    let database = database_at(test.url());
    let mut transaction = database.begin().await.unwrap();
    transaction.set_deadline(Duration::from_secs(60)).await.unwrap();
    assert_eq!(setting(&transaction, "statement_timeout").await, "54s");
    transaction.commit().await.unwrap();
    assert_eq!(setting(&database.begin().await.unwrap(), "statement_timeout").await, "9s");
}

#[tokio::test]
async fn a_transaction_waits_for_the_disk_where_the_session_would_not_and_else_as_the_operator_says() {
    let test = TestDatabase::empty().await;
    for (session, ours) in [("off", "on"), ("local", "local"), ("remote_write", "remote_write"), ("on", "on")] {
        set_for_database(&test.client().await, &format!("synchronous_commit = {session}")).await;
        let database = database_at(test.url());
        let transaction = database.begin().await.unwrap();
        assert_eq!(setting(&transaction, "synchronous_commit").await, ours, "where the session says {session}");
        transaction.rollback().await.unwrap();
        assert_eq!(database.durability().await.unwrap().synchronous_commit, session, "what is to be mended");
    }
}

#[tokio::test]
async fn an_unflushed_transaction_waits_for_no_disk_and_the_next_on_its_connection_does() {
    let test = TestDatabase::empty().await;
    for (session, ours) in [("on", "on"), ("off", "on"), ("remote_apply", "remote_apply")] {
        set_for_database(&test.client().await, &format!("synchronous_commit = {session}")).await;
        let database = pool(test.url(), 1, CALL_TIMEOUT);
        let before = database.transaction(async |next| seen_by(next).await).await.unwrap();
        let unflushed = database
            .unflushed_transaction(async |transaction| {
                for (name, value) in SETTINGS {
                    assert_eq!(setting(transaction, name).await, value, "{name}");
                }
                seen_by(transaction).await
            })
            .await
            .unwrap();
        let after = database.transaction(async |next| seen_by(next).await).await.unwrap();
        let connection = before.0;
        assert_eq!(
            [before, unflushed, after],
            [ours, "off", ours].map(|commit| (connection, commit.to_owned())),
            "{session}"
        );
    }
}

/// The connection of a transaction, and for what its commit waits.
async fn seen_by(transaction: &Transaction) -> Result<(i32, String), DatabaseError> {
    let sql = "SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('synchronous_commit')";
    let row = transaction.query_one("ask", sql, &[]).await?;
    Ok((row.get(0), row.get(1)))
}

#[tokio::test]
async fn no_deadline_of_role_or_database_ends_a_migration() {
    let test = TestDatabase::empty().await;
    let client = test.client().await;
    for setting in ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"] {
        set_for_database(&client, &format!("{setting} = '1ms'")).await;
    }
    database_at(test.url()).migrate().await.unwrap();
}

async fn setting(transaction: &Transaction, name: &str) -> String {
    transaction.query_one("ask", "SELECT pg_catalog.current_setting($1)", &[&name]).await.unwrap().get(0)
}

/// Takes effect for the connections that come.
async fn set_for_database(client: &Client, setting: &str) {
    let name: String = client.query_one("SELECT current_database()::text", &[]).await.unwrap().get(0);
    client.batch_execute(&format!("ALTER DATABASE \"{name}\" SET {setting}")).await.unwrap();
}

fn database_at(url: &str) -> Database {
    pool(url, 2, CALL_TIMEOUT)
}

fn with_options(url: &str, options: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}options={}", options.replace(' ', "%20"))
}
