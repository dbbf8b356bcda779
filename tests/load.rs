//! The one transaction, against a real PostgreSQL.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use turnstile::batch::{Batch, LoginRow};
use turnstile::database::{Database, Transaction};
use turnstile::load::{LoadError, Tally};
use turnstile::message::SentAt;
use turnstile::retry::Class;
use turnstile::table::{outbox, user_logins};
use turnstile::verdict::Judge;

use crate::support::loading::{Outcome, counts, destination, load, load_into, migrate};
use crate::support::postgres::{block_claims, connect, pool};
use crate::support::server::{self, installed};
use crate::support::tables::Tables;
use crate::support::verdicts::{QUEUE_ARN, SENT_AT, batch, judge, judge_of, login, logins, message};
use crate::support::wait_until;

const MAX_ATTEMPTS: u32 = 3;

/// How long a call to the database may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

async fn migrated() -> Tables {
    Tables::with_deadline(CALL_TIMEOUT).await
}

async fn load_all(database: &Database, batch: Batch) -> Result<Outcome, LoadError> {
    load(database, batch, MAX_ATTEMPTS).await
}

fn mixed(judge: &Judge) -> Batch {
    batch(
        judge,
        [
            message("good 1", &login("a", "ios"), 1),
            message("bad", "[1]", 3),
            message("good 2", &login("b", "android"), 1),
        ],
    )
}

#[tokio::test]
async fn a_batch_lands_as_rows_dead_letters_and_events_and_is_proven_committed() {
    let tables = migrated().await;
    let Tables { database, client, .. } = &tables;
    let loaded = load_all(database, mixed(&judge())).await.unwrap();
    assert_eq!((loaded.tally.loaded, loaded.tally.dead_lettered, loaded.tally.duplicates()), (2, 1, 0));
    assert_eq!(tables.counts().await, [3, 2, 1, 2]);
    assert_eq!((loaded.committed.len(), loaded.returned.len(), loaded.sent_at.len()), (3, 0, 2));
    let sql = "SELECT u.create_date::text, u.app_version, o.masked_ip = u.masked_ip, p.outcome
               FROM user_logins u JOIN outbox o ON o.event_id = u.message_hash JOIN processed_messages p USING (message_hash)
               WHERE u.user_id = 'a'";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get(0), row.get(1), row.get(2), row.get(3)), ("2026-03-01", 2_003_001, true, "loaded"));
}

#[tokio::test]
async fn the_same_batch_again_changes_nothing_and_is_counted_as_redelivered() {
    let tables = migrated().await;
    let Tables { database, .. } = &tables;
    let judge = judge();
    load_all(database, mixed(&judge)).await.unwrap();
    let again = load_all(database, mixed(&judge)).await.unwrap();
    assert_eq!(again.tally, Tally { redelivered: 3, ..Tally::default() });
    assert_eq!(again.committed.len(), 3, "the redelivered messages must be deleted");
    assert_eq!(tables.counts().await, [3, 2, 1, 2]);
}

#[tokio::test]
async fn a_row_that_the_database_refuses_is_returned_then_dead_lettered_and_its_neighbours_land() {
    let tables = migrated().await;
    let Tables { database, client, .. } = &tables;
    client.batch_execute("ALTER TABLE user_logins ADD CHECK (device_type <> 'toaster')").await.unwrap();
    let judge = judge();
    let with_toaster = |count: u32| {
        let toaster = message("toaster", &login("t", "toaster"), count);
        batch(&judge, (0..20).map(|n| message(&format!("m{n}"), &login("a", "ios"), 1)).chain([toaster]))
    };
    let first = load_all(database, with_toaster(1)).await.unwrap();
    assert_eq!((first.tally.loaded, first.tally.dead_lettered, first.returned.len()), (20, 0, 1));
    assert_eq!(first.returned[0].message_id.as_str(), "toaster");
    let last = load_all(database, with_toaster(MAX_ATTEMPTS)).await.unwrap();
    assert_eq!((last.tally.loaded, last.tally.dead_lettered, last.returned.len()), (0, 1, 0));
    let letter = client.query_one("SELECT code, detail FROM dead_letters", &[]).await.unwrap();
    assert_eq!(letter.get::<_, &str>(0), "refused_by_database");
    let detail = "the database refused the row with SQLSTATE 23514, constraint user_logins_device_type_check";
    assert_eq!(letter.get::<_, &str>(1), detail);
    assert_eq!(tables.counts().await, [21, 20, 1, 20]);
}

#[tokio::test]
async fn a_deferred_constraint_names_its_row_before_the_commit_and_not_an_ambiguous_one_after() {
    let tables = migrated().await;
    let Tables { database, client, .. } = &tables;
    let sql = "ALTER TABLE user_logins ADD CONSTRAINT one_login UNIQUE (user_id) DEFERRABLE INITIALLY DEFERRED";
    client.batch_execute(sql).await.unwrap();
    let judge = judge();
    let same_user = ["m1", "m2"].map(|id| message(id, &login("a", "ios"), MAX_ATTEMPTS));
    let loaded = load_all(database, batch(&judge, same_user)).await.unwrap();
    assert_eq!((loaded.tally.loaded, loaded.tally.dead_lettered), (1, 1));
}

#[tokio::test]
async fn eight_loaders_with_the_same_messages_in_hand_load_each_once() {
    let tables = migrated().await;
    let Tables { database, .. } = &tables;
    let judge = std::sync::Arc::new(judge());
    let loaders: Vec<_> = (0..8)
        .map(|_| {
            let (database, judge) = (database.clone(), judge.clone());
            tokio::spawn(async move {
                let mut tally = (0, 0);
                for start in 0..10 {
                    let loaded = load_all(&database, logins(&judge, start * 10..start * 10 + 40)).await.unwrap();
                    tally = (tally.0 + loaded.tally.loaded, tally.1 + loaded.attempts_repeated);
                }
                tally
            })
        })
        .collect();
    let mut loaded = 0;
    for loader in loaders {
        let (rows, attempts_repeated) = loader.await.unwrap();
        assert_eq!(attempts_repeated, 0, "sorted batches do not deadlock");
        loaded += rows;
    }
    assert_eq!((loaded, tables.counts().await), (130, [130, 130, 0, 130]));
}

#[tokio::test]
async fn eight_loaders_with_messages_of_the_same_ids_sent_at_different_times_load_each_id_once() {
    let tables = migrated().await;
    let Tables { database, .. } = &tables;
    let judge = judge_of("field:/user_id", QUEUE_ARN);
    let sent = |loader: i64, n: i64| {
        let mut message = message(&format!("{loader} {n}"), &login(&format!("user {n}"), "ios"), 1);
        let turned = if loader % 2 == 0 { n } else { -n };
        message.delivery.sent_at = SentAt::Queue(SENT_AT + time::Duration::milliseconds(turned));
        message
    };
    let batches = (0..8).map(|loader| batch(&judge, (0..300).map(|n| sent(loader, n))));
    let loaders: Vec<_> = batches
        .collect::<Vec<_>>()
        .into_iter()
        .map(|batch| {
            let database = database.clone();
            tokio::spawn(async move { load_all(&database, batch).await.unwrap() })
        })
        .collect();
    let (mut loaded, mut absorbed) = (0, 0);
    for loader in loaders {
        let Outcome { tally, attempts_repeated, .. } = loader.await.unwrap();
        assert_eq!(attempts_repeated, 0, "claims in the order of their keys do not deadlock");
        loaded += tally.loaded;
        absorbed += tally.absorbed;
    }
    assert_eq!((loaded, absorbed, tables.counts().await), (300, 2_100, [2_400, 300, 0, 300]));
}

#[tokio::test]
async fn a_login_whose_claim_was_removed_keeps_its_row_and_event_and_its_neighbours_land() {
    let tables = migrated().await;
    let Tables { database, client, .. } = &tables;
    let judge = judge();
    load_all(database, logins(&judge, 0..5)).await.unwrap();
    client.batch_execute("DELETE FROM processed_messages").await.unwrap();
    let loaded = load_all(database, logins(&judge, 0..10)).await.unwrap();
    assert_eq!((loaded.tally.loaded, loaded.attempts_repeated, loaded.returned.len()), (10, 0, 0));
    assert_eq!(tables.counts().await, [10, 10, 0, 10]);
}

#[tokio::test]
async fn a_copy_that_is_refused_or_given_up_is_never_committed_and_its_connection_serves_nobody() {
    let tables = migrated().await;
    let Tables { client, .. } = &tables;
    client.batch_execute("ALTER TABLE user_logins ADD CHECK (device_type <> 'toaster')").await.unwrap();
    let one_connection = pool(&tables.url, 1, CALL_TIMEOUT);
    let judge = judge();
    let good = logins(&judge, 0..10);
    let bad = batch(&judge, [message("t", &login("t", "toaster"), 1)]);
    let (good, bad): (Vec<_>, Vec<_>) = (rows(&good), rows(&bad));

    // The second COPY finds the transaction aborted: that is when the driver would mistake answers.
    let transaction = one_connection.begin().await.unwrap();
    let first_pid = backend(&transaction).await;
    let (rows, events) =
        futures_util::future::join(user_logins::copy(&transaction, &bad), outbox::copy(&transaction, &bad)).await;
    assert_eq!((rows.as_ref().unwrap_err().class(), events.unwrap_err().sqlstate()), (Class::OfTheRows, Some("25P02")));
    transaction.conclude(rows).await.unwrap_err();
    let transaction = one_connection.begin().await.unwrap();
    assert_ne!(backend(&transaction).await, first_pid);

    // Given up while it waits for a lock, after rows that were taken.
    let mut locker = tables.another_client().await;
    let lock = locker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE outbox IN SHARE MODE").await.unwrap();
    user_logins::copy(&transaction, &good).await.unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(100), outbox::copy(&transaction, &good)).await;
    assert!(waited.is_err(), "the lock is held");
    lock.rollback().await.unwrap();
    assert!(transaction.commit().await.is_err());
    assert_eq!(tables.counts().await, [0, 0, 0, 0]);

    let transaction = one_connection.begin().await.unwrap();
    user_logins::copy(&transaction, &good).await.unwrap();
    outbox::copy(&transaction, &good).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(tables.counts().await, [0, 10, 0, 10]);
}

fn rows(batch: &Batch) -> Vec<LoginRow<'_>> {
    batch.entries().iter().filter_map(|entry| entry.login_row()).collect()
}

async fn backend(transaction: &Transaction) -> i32 {
    transaction.query_one("ask", "SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_missing_table_stops_the_line_and_dead_letters_nothing() {
    let tables = migrated().await;
    let Tables { database, client, .. } = &tables;
    client.batch_execute("ALTER TABLE outbox RENAME TO elsewhere").await.unwrap();
    let refused = load_all(database, logins(&judge(), 0..3)).await.err().unwrap();
    assert!(matches!(refused, LoadError::Stopped(_)) && refused.to_string().contains("42P01"), "{refused}");
    client.batch_execute("ALTER TABLE elsewhere RENAME TO outbox").await.unwrap();
    assert_eq!(tables.counts().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_transaction_with_a_failed_statement_cannot_be_committed() {
    let tables = migrated().await;
    let Tables { database, .. } = &tables;
    let transaction = database.begin().await.unwrap();
    let insert =
        "INSERT INTO turnstile.outbox (message_sent_at, event_id) VALUES (now(), decode(repeat('00', 32), 'hex'))";
    transaction.execute("insert", insert, &[]).await.unwrap();
    let failed = transaction.query("fail", "SELECT 1 / 0", &[]).await.unwrap_err();
    assert_eq!((failed.class(), failed.sqlstate()), (Class::OfTheSystem, Some("22012")));
    assert!(transaction.commit().await.is_err());
    assert_eq!(tables.counts().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn an_error_of_the_database_says_its_code_and_no_value() {
    let tables = migrated().await;
    let Tables { database, client, .. } = &tables;
    client
        .batch_execute("ALTER TABLE user_logins ADD CONSTRAINT no_toaster CHECK (device_type <> 'toaster')")
        .await
        .unwrap();
    let transaction = database.begin().await.unwrap();
    let insert = "INSERT INTO public.user_logins (user_id, device_type, message_sent_at, message_hash)
                  VALUES ('sesame', 'toaster', now(), '')";
    let error = transaction.execute("insert logins", insert, &[]).await.unwrap_err();
    assert_eq!(error.to_string(), "insert logins: SQLSTATE 23514, constraint no_toaster");
    assert!(!format!("{error:?}").contains("sesame"));
}

#[tokio::test]
async fn a_stopped_database_is_waited_for_and_nothing_is_lost_or_dead_lettered() {
    let mut server = server::start(installed()).await;
    let database = pool(&server.url(), 8, CALL_TIMEOUT);
    migrate(&database).await;
    let judge = judge();
    load_all(&database, logins(&judge, 0..10)).await.unwrap();
    server.stop().await.unwrap();
    let mut loading = tokio::spawn({
        let (database, batch) = (database.clone(), logins(&judge, 5..15));
        async move { load_all(&database, batch).await }
    });
    let waited = tokio::time::timeout(Duration::from_millis(500), &mut loading).await;
    assert!(waited.is_err(), "it waits for the server");
    server.restart().await.unwrap();
    let loaded = loading.await.unwrap().unwrap();
    assert!(loaded.attempts_repeated >= 1);
    assert_eq!((loaded.tally.loaded, loaded.tally.redelivered, loaded.tally.dead_lettered), (5, 5, 0));
    assert_eq!(counts(&connect(&server.url()).await).await, [15, 15, 0, 15]);
}

#[tokio::test]
async fn a_loader_that_is_told_to_end_gives_up_a_database_that_does_not_come_back() {
    let mut server = server::start(installed()).await;
    let database = pool(&server.url(), 8, CALL_TIMEOUT);
    server.stop().await.unwrap();
    let give_up = CancellationToken::new();
    give_up.cancel();
    let ended = load_into(&destination(&database, MAX_ATTEMPTS), logins(&judge(), 0..3), &give_up).await.err().unwrap();
    assert!(matches!(ended, LoadError::GaveUp), "{ended}");
}

#[tokio::test]
async fn a_commit_that_no_standby_confirmed_is_run_again_until_one_did() {
    let server = server::start(installed()).await;
    // Nor can a setting silence the warning that says so.
    let database = pool(&format!("{}?options=-c%20client_min_messages=error", server.url()), 8, CALL_TIMEOUT);
    migrate(&database).await;
    let client = connect(&server.url()).await;
    set_standby_names(&client, "nobody").await;
    server::commits_wait(&client, &server.url()).await;

    let judge = judge();
    let loading = tokio::spawn({
        let (database, batch) = (database.clone(), logins(&judge, 0..10));
        async move { load_all(&database, batch).await }
    });
    let waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    wait_until("the commit waits for a standby", async || !client.query(waiting, &[]).await.unwrap().is_empty()).await;
    client
        .execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'", &[])
        .await
        .unwrap();
    wait_until("the rows hold on this server only", async || counts(&client).await == [10, 10, 0, 10]).await;
    wait_until("the commit is asked for again", async || !client.query(waiting, &[]).await.unwrap().is_empty()).await;
    assert!(!loading.is_finished(), "no standby has confirmed the rows");

    set_standby_names(&client, "").await;
    let loaded = loading.await.unwrap().unwrap();
    assert_eq!((loaded.tally.loaded, loaded.tally.redelivered), (0, 10));
    assert!(loaded.attempts_repeated >= 1);
}

async fn set_standby_names(client: &Client, names: &str) {
    // One call each: ALTER SYSTEM runs in no transaction.
    for statement in [
        "SET synchronous_commit = local",
        &format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"),
        "SELECT pg_reload_conf()",
    ] {
        client.batch_execute(statement).await.unwrap();
    }
}

#[tokio::test]
async fn a_terminated_connection_runs_the_batch_again() {
    let tables = migrated().await;
    let Tables { database, client, .. } = &tables;
    let mut locker = tables.another_client().await;
    let lock = block_claims(&mut locker).await;
    let loading = tokio::spawn({
        let (database, batch) = (database.clone(), logins(&judge(), 0..10));
        async move { load_all(&database, batch).await }
    });
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE application_name = 'turnstile' AND datname = current_database() AND wait_event_type = 'Lock'";
    let terminated = async || !client.query(terminate, &[]).await.unwrap().is_empty();
    wait_until("a loader that waits for the lock is terminated", terminated).await;
    lock.rollback().await.unwrap();
    let loaded = loading.await.unwrap().unwrap();
    assert_eq!(loaded.tally.loaded, 10);
    assert!(loaded.attempts_repeated >= 1);
}

#[tokio::test]
async fn a_lock_that_is_held_for_too_long_runs_the_batch_again() {
    let tables = migrated().await;
    let Tables { database, client, .. } = &tables;
    let mut locker = tables.another_client().await;
    let lock = block_claims(&mut locker).await;
    let loading = tokio::spawn({
        let (database, batch) = (database.clone(), logins(&judge(), 0..10));
        async move { load_all(&database, batch).await }
    });
    let waits_since = "SELECT query_start FROM pg_stat_activity
                       WHERE application_name = 'turnstile' AND datname = current_database() AND wait_event_type = 'Lock'";
    let mut waits = std::collections::BTreeSet::new();
    let came_again = async || {
        let waiting = client.query(waits_since, &[]).await.unwrap();
        waits.extend(waiting.iter().map(|row| row.get::<_, time::OffsetDateTime>(0)));
        waits.len() >= 2
    };
    wait_until("the loader waits for the lock a second time", came_again).await;
    lock.rollback().await.unwrap();
    let loaded = loading.await.unwrap().unwrap();
    assert_eq!(loaded.tally.loaded, 10);
    assert!(loaded.attempts_repeated >= 1);
}

#[tokio::test]
async fn a_table_that_swallows_rows_or_claims_never_makes_a_message_look_recorded() {
    for table in ["processed_messages", "user_logins", "dead_letters", "outbox"] {
        let tables = migrated().await;
        let Tables { database, client, .. } = &tables;
        let sql = format!(
            "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER swallow BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION swallow()"
        );
        client.batch_execute(&sql).await.unwrap();
        let refused = load_all(database, mixed(&judge())).await.err().unwrap();
        assert!(matches!(refused, LoadError::Stopped(_)) && refused.to_string().contains(table), "{refused}");
        let [recorded, logins, letters, events] = tables.counts().await;
        assert_eq!((recorded, logins, events), (letters, 0, 0));
    }
}

#[tokio::test]
async fn a_conflict_with_another_index_is_no_duplicate_and_stops_the_line() {
    let tables = migrated().await;
    let Tables { database, client, .. } = &tables;
    client.batch_execute("CREATE UNIQUE INDEX ON processed_messages (outcome)").await.unwrap();
    let refused = load_all(database, logins(&judge(), 0..2)).await.err().unwrap();
    assert!(matches!(refused, LoadError::Stopped(_)) && refused.to_string().contains("23505"), "{refused}");
    assert_eq!(tables.counts().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_database_that_takes_no_writes_for_now_is_waited_for() {
    let tables = migrated().await;
    let Tables { client, .. } = &tables;
    let read_only = pool(&format!("{}?options=-c%20default_transaction_read_only=on", tables.url), 8, CALL_TIMEOUT);
    let give_up = CancellationToken::new();
    let loading = tokio::spawn({
        let (batch, give_up) = (logins(&judge(), 0..2), give_up.clone());
        async move { load_into(&destination(&read_only, MAX_ATTEMPTS), batch, &give_up).await.err() }
    });
    let asked = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    let rollbacks = async || client.query_one(asked, &[]).await.unwrap().get::<_, i64>(0);
    wait_until("the write is refused more than once", async || rollbacks().await >= 2).await;
    assert!(!loading.is_finished(), "a standby may yet be promoted");
    give_up.cancel();
    assert!(matches!(loading.await.unwrap(), Some(LoadError::GaveUp)));
}

#[tokio::test]
async fn a_loader_gives_up_in_the_middle_of_a_call_that_hangs() {
    let mut server = server::start(installed()).await;
    let database = pool(&server.url(), 8, CALL_TIMEOUT);
    migrate(&database).await;
    load_all(&database, logins(&judge(), 0..1)).await.unwrap();
    server.pause();
    let give_up = CancellationToken::new();
    let loading = tokio::spawn({
        let (database, batch, give_up) = (database.clone(), logins(&judge(), 0..2), give_up.clone());
        async move { load_into(&destination(&database, MAX_ATTEMPTS), batch, &give_up).await.err() }
    });
    let told = std::time::Instant::now();
    give_up.cancel();
    assert!(matches!(loading.await.unwrap(), Some(LoadError::GaveUp)));
    assert!(told.elapsed() < Duration::from_secs(4), "not as long as the call's own deadline");
    server.resume();
}

#[tokio::test]
async fn a_batch_that_takes_too_long_at_once_goes_on_in_parts() {
    let tables = migrated().await;
    let Tables { client, .. } = &tables;
    let slow =
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.2); RETURN NEW; END';
                CREATE TRIGGER slow BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION slow()";
    client.batch_execute(slow).await.unwrap();
    let hurried = pool(&tables.url, 1, Duration::from_secs(1));
    let loaded = load_all(&hurried, logins(&judge(), 0..6)).await.unwrap();
    assert_eq!((loaded.tally.loaded, loaded.tally.dead_lettered), (6, 0));
    assert!(loaded.attempts_repeated >= 2 && loaded.parts > 1);
}
