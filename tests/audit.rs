//! The audit holds wherever the promise does, and finds every way in which the tables can break it.

use std::collections::BTreeSet;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::Notify;
use turnstile::audit::audit;
use turnstile::batch::Sorted;
use turnstile::prune::{PruneSettings, prune};
use turnstile::table::agreement::{Counts, RULES};
use turnstile::verdict::{Content, Verdict};

use crate::support::loading::migrate;
use crate::support::postgres::{TestDatabase, pool};
use crate::support::proxy::PostgresProxy;
use crate::support::tables::Tables;
use crate::support::verdicts::{QUEUE_ARN, batch, invalid_version, judge_of, login, logins, message};

/// Loaded logins, one of which absorbed another message, and dead letters of every status.
async fn with_everything() -> Tables {
    let mut tables = Tables::new().await;
    tables.judge = judge_of("field:/user_id", QUEUE_ARN);
    tables.load_logins(&["a", "b", "c"]).await;
    let again = message("again", &login("c", "ios"), 1);
    tables.load_batch(batch(&tables.judge, [again])).await;
    tables.load_once_rejected(&["replayed"]).await;
    let absorbed = tables.judge.judge(message("absorbed", &login("b", "ios"), 1));
    let absorbed = Verdict { content: Content::Rejected(invalid_version(), None), ..absorbed };
    tables.load_batch(Sorted::from_verdicts([absorbed], 1).batch).await;
    tables.replay_all().await;
    tables.load_rejected(&[("discarded", "[1]"), ("open", "[1]")]).await;
    let discard = "UPDATE dead_letters SET status = 'discarded', resolved_at = now(), resolved_by = 'ada'
                   WHERE message_id = 'discarded'";
    tables.client.execute(discard, &[]).await.unwrap();
    tables
}

#[tokio::test]
async fn the_promise_holds_after_loading_replaying_and_discarding() {
    let tables = with_everything().await;
    let audit = tables.audit().await;
    assert!(audit.holds(), "{:?}", audit.broken);
    let counts = Counts {
        loaded: 4,
        dead_lettered: 2,
        absorbed: 2,
        identities: 4,
        rows: 4,
        adopted_rows: 0,
        open: 1,
        replayed: 1,
        letters_absorbed: 1,
        discarded: 1,
        events: 4,
    };
    assert_eq!(audit.counts, counts);
    let said = tables.turnstile(&["audit"]).await;
    said.assert_said(
        0,
        &[
            "8 (4 loaded, 2 dead-lettered, 2 absorbed)",
            "4 (1 open, 1 replayed, 1 absorbed, 1 discarded)",
            "the promise holds",
        ],
    );
    let said = tables.turnstile(&["audit", "--format", "json"]).await;
    let said: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&said["holds"], &said["user_logins"]["rows"]), (&true.into(), &4.into()), "{said}");
    assert_eq!(said["dead_letters"], serde_json::json!({"open": 1, "replayed": 1, "absorbed": 1, "discarded": 1}));
}

#[tokio::test]
async fn rows_that_stood_in_an_adopted_table_are_counted_apart() {
    let test = TestDatabase::empty().await;
    let adopted = "CREATE TABLE user_logins (user_id varchar(128), device_type varchar(32), masked_ip varchar(256),
                       masked_device_id varchar(256), locale varchar(32), app_version integer, create_date date);
                   INSERT INTO user_logins (user_id) VALUES ('old'), ('old'), (NULL)";
    test.client().await.batch_execute(adopted).await.unwrap();
    let tables = Tables::at(test.url(), Duration::from_secs(30)).await;
    migrate(&tables.database).await;
    tables.load_logins(&["a", "b"]).await;
    let audit = tables.audit().await;
    assert!(audit.holds(), "{:?}", audit.broken);
    assert_eq!((audit.counts.rows, audit.counts.adopted_rows), (2, 3));
}

#[tokio::test]
async fn the_promise_holds_at_every_moment_while_loaders_load() {
    let tables = Tables::new().await;
    let loading = async {
        for from in (0..400).step_by(20) {
            tables.load_batch(logins(&tables.judge, from..from + 20)).await;
        }
    };
    let auditing = async {
        for _ in 0..10 {
            tables.assert_promise().await;
        }
    };
    tokio::join!(loading, auditing);
    assert_eq!(tables.audit().await.counts.rows, 400);
}

/// What is done to the tables, and the rules that it breaks.
const BREAKS: &[(&str, &[&str])] = &[
    ("DELETE FROM user_logins WHERE user_id = 'a'", &["loaded_without_row"]),
    (
        "DELETE FROM outbox WHERE event_id = (SELECT message_hash FROM user_logins WHERE user_id = 'a')",
        &["loaded_without_event"],
    ),
    (
        "UPDATE dead_letters SET status = 'open', resolved_at = NULL, resolved_by = NULL WHERE status = 'replayed'",
        &["loaded_with_unreplayed_letter"],
    ),
    ("UPDATE dead_letters SET status = 'discarded' WHERE status = 'replayed'", &["loaded_with_unreplayed_letter"]),
    (
        "UPDATE dead_letters SET status = 'absorbed' WHERE status = 'replayed'",
        &["loaded_with_unreplayed_letter", "letter_resolved_otherwise"],
    ),
    ("DELETE FROM dead_letters WHERE status = 'open'", &["dead_lettered_without_letter"]),
    ("DELETE FROM dead_letters WHERE status = 'discarded'", &["dead_lettered_without_letter"]),
    ("UPDATE dead_letters SET status = 'replayed' WHERE status = 'discarded'", &["dead_lettered_with_replayed_letter"]),
    (
        "INSERT INTO user_logins (message_sent_at, message_hash)
         SELECT sent_at, message_hash FROM dead_letters WHERE status = 'open'",
        &["dead_lettered_with_row"],
    ),
    (
        "INSERT INTO outbox (message_sent_at, event_id)
         SELECT sent_at, message_hash FROM dead_letters WHERE status = 'open'",
        &["dead_lettered_with_event"],
    ),
    (
        "INSERT INTO user_logins (message_sent_at, message_hash)
         SELECT sent_at, message_hash FROM processed_messages WHERE message_id = 'again'",
        &["absorbed_with_row"],
    ),
    (
        "INSERT INTO outbox (message_sent_at, event_id)
         SELECT sent_at, message_hash FROM processed_messages WHERE message_id = 'again'",
        &["absorbed_with_event"],
    ),
    ("UPDATE dead_letters SET status = 'discarded' WHERE status = 'absorbed'", &["absorbed_with_unabsorbed_letter"]),
    (
        "UPDATE processed_messages SET absorbed_by = message_hash, absorbed_by_sent_at = sent_at
         WHERE message_id = 'again'",
        &["absorbed_by_itself", "absorbed_by_nothing"],
    ),
    (
        "UPDATE processed_messages SET absorbed_by = sha256('nobody') WHERE message_id = 'again'",
        &["absorbed_by_nothing"],
    ),
    (
        "UPDATE identities SET owner = (SELECT message_hash FROM dead_letters WHERE status = 'open')
         WHERE owner = (SELECT message_hash FROM user_logins WHERE user_id = 'a')",
        &["identity_of_unloaded"],
    ),
    (
        "INSERT INTO identities (key_time, hash, owner_sent_at, owner, login_hash)
         SELECT '2026-03-01', hash, owner_sent_at, owner, login_hash FROM identities
         WHERE owner = (SELECT message_hash FROM user_logins WHERE user_id = 'a')",
        &["identity_twice"],
    ),
    (
        "UPDATE processed_messages SET sent_at = 'epoch' WHERE message_id = 'open';
         UPDATE dead_letters SET sent_at = 'epoch' WHERE message_id = 'open'",
        &["recorded_without_time"],
    ),
    ("INSERT INTO user_logins (message_sent_at, message_hash) VALUES ('2026-03-01', '\\x00')", &["row_without_claim"]),
    (
        "ALTER TABLE user_logins ALTER message_sent_at DROP NOT NULL;
         INSERT INTO user_logins (message_hash) VALUES ('\\x00')",
        &["row_without_time"],
    ),
    (
        "DROP INDEX user_logins_message_key;
         INSERT INTO user_logins SELECT * FROM user_logins WHERE user_id = 'a'",
        &["row_twice"],
    ),
    ("DELETE FROM processed_messages WHERE message_id = 'open'", &["letter_without_claim"]),
    (
        "INSERT INTO outbox (message_sent_at, event_id) VALUES ('2026-03-01', decode(repeat('00', 32), 'hex'))",
        &["event_without_claim"],
    ),
    (
        "INSERT INTO outbox (message_sent_at, event_id)
         SELECT message_sent_at, message_hash FROM user_logins WHERE user_id = 'a'",
        &["event_twice"],
    ),
    (
        "INSERT INTO processed_messages (message_hash, outcome, message_id, body_hash, sent_at, received_at)
         SELECT message_hash, outcome, message_id, body_hash, sent_at + interval '1 ms', received_at
         FROM processed_messages WHERE message_id = 'a'",
        &["loaded_without_row", "loaded_without_event", "recorded_twice"],
    ),
    (
        "UPDATE processed_messages SET outcome = 'loaded' WHERE message_id = 'open'",
        &["loaded_without_row", "loaded_without_event", "loaded_with_unreplayed_letter"],
    ),
];

#[tokio::test]
async fn every_way_of_breaking_the_promise_is_found_and_named() {
    for (corruption, rules) in BREAKS {
        let tables = with_everything().await;
        // One by one: of distributed tables, a change of a table stands alone.
        for statement in corruption.split(';') {
            tables.client.batch_execute(statement).await.unwrap();
        }
        let audit = tables.audit().await;
        let found: Vec<(&str, u64, usize)> =
            audit.broken.iter().map(|(rule, breaks)| (rule.name, breaks.total, breaks.first.len())).collect();
        let expected: Vec<(&str, u64, usize)> = rules.iter().map(|rule| (*rule, 1, 1)).collect();
        assert_eq!(found, expected, "{corruption}");
    }
}

#[test]
fn every_rule_has_a_case_that_breaks_it() {
    let broken: BTreeSet<&str> = BREAKS.iter().flat_map(|(_, rules)| rules.iter().copied()).collect();
    assert_eq!(broken, RULES.iter().map(|rule| rule.name).collect());
}

#[tokio::test]
async fn a_rule_that_many_messages_break_names_the_first_hundred_and_says_how_many_more() {
    let tables = Tables::new().await;
    tables.load_batch(logins(&tables.judge, 0..150)).await;
    tables.client.execute("DELETE FROM user_logins", &[]).await.unwrap();
    let said = tables.turnstile(&["audit"]).await;
    said.assert_said(1, &["loaded_without_row: 150 messages", "and 50 more", "the promise is broken: 1 of 23 rules"]);
    let broken = tables.turnstile(&["audit", "--format", "json"]).await;
    assert_eq!(broken.code, 1);
    let broken: serde_json::Value = serde_json::from_str(&broken.stdout).unwrap();
    assert_eq!((&broken["holds"], &broken["broken"][0]["messages"]), (&false.into(), &150.into()));
    let sql = "SELECT encode(message_hash, 'hex') FROM processed_messages ORDER BY message_hash";
    let hashes: Vec<String> = tables.client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    for (n, hash) in hashes.iter().enumerate() {
        assert_eq!(said.stdout.contains(&format!("  loaded_without_row {hash}\n")), n < 100, "{n}");
    }
}

#[tokio::test]
async fn an_audit_outlives_the_deadline_of_ordinary_calls_and_keeps_its_own() {
    let tables = with_everything().await;
    let slow = "ALTER TABLE outbox RENAME TO events;
                CREATE VIEW turnstile.outbox AS SELECT events.* FROM pg_sleep(1.2), events";
    tables.client.batch_execute(slow).await.unwrap();
    let hasty = Tables::at(&tables.url, Duration::from_secs(1)).await;
    let patient = audit(&hasty.database, Duration::from_secs(60), |_| {}).await.unwrap();
    assert!(patient.holds());
    let error = audit(&hasty.database, Duration::from_secs(1), |_| {}).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some("57014"), "{error}");
}

#[tokio::test]
async fn a_database_without_tables_is_an_error_that_says_what_to_run() {
    let test = TestDatabase::empty().await;
    let tables = Tables::at(test.url(), Duration::from_secs(30)).await;
    for command in [&["audit"][..], &["dead-letters", "list"]] {
        let said = tables.turnstile(command).await;
        assert_eq!(said.code, 1);
        assert!(said.stderr.contains("turnstile migrate"), "{said:?}");
    }
}

/// A sink that has all events behind it; the next event is the first of another partition.
const CARRIED: &str =
    "INSERT INTO relay_sinks (sink, target, cluster_id) VALUES ('s', 'stdout:', 1) ON CONFLICT DO NOTHING;
    SELECT setval('outbox_position_seq', (last_value / 10000000 + 1) * 10000000, false) FROM outbox_position_seq;
    SELECT extend_outbox();
    INSERT INTO relay_marks (sink, slot, position) SELECT 's', 0, last_value FROM outbox_position_seq";

/// Drops what the sink has behind it: so many partitions.
async fn pruned(tables: &Tables) -> usize {
    tables.client.batch_execute(CARRIED).await.unwrap();
    let how =
        PruneSettings { without_sinks: false, dry_run: false, patience: Duration::from_secs(60), beside_writers: true };
    prune(&tables.database, how, |_| {}).await.unwrap().gone.len()
}

#[tokio::test]
async fn events_that_were_pruned_are_not_asked_for_and_every_later_one_is() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&["replayed"]).await;
    tables.load_logins(&["a", "b", "c"]).await;
    assert_eq!(tables.audit().await.pruned_until, None);
    assert_eq!(pruned(&tables).await, 1);

    let audit = tables.audit().await;
    assert!(audit.holds() && audit.counts.events == 0 && audit.pruned_until.is_some(), "{audit:?}");
    tables
        .turnstile(&["audit"])
        .await
        .assert_said(0, &["outbox              0 (those written until 20", "may be pruned)"]);
    let said = tables.turnstile(&["audit", "--format", "json"]).await;
    let said: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert!(said["pruned_until"].is_string(), "{said}");

    // The claim of the replayed one is older than what was pruned; its event is not.
    tables.replay_all().await;
    tables.load_logins(&["d"]).await;
    tables.assert_promise().await;
    for (user, lacking) in [("replayed", 1), ("d", 2)] {
        let delete = format!("DELETE FROM outbox WHERE user_id = '{user}'");
        assert_eq!(tables.client.execute(&delete, &[]).await.unwrap(), 1);
        let broken = tables.audit().await.broken;
        assert_eq!(broken.len(), 1);
        assert_eq!((broken[0].0.name, broken[0].1.total), ("loaded_without_event", lacking), "{user}");
    }
    assert_eq!(pruned(&tables).await, 1);
    assert_eq!(tables.audit().await.broken.len(), 1, "no event was written as late as that of the last");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_audit_misses_no_event_that_is_pruned_between_its_snapshot_and_its_first_look() {
    let tables = Tables::new().await;
    tables.load_logins(&["a", "b", "c"]).await;
    let proxy = PostgresProxy::before(&tables.url).await;
    let ((go_on, wait), stands) = (mpsc::channel(), Arc::new(Notify::new()));
    let tell = stands.clone();
    proxy.arm(move |asked| {
        // After the startup, and after BEGIN, which takes the snapshot.
        if asked.number == 3 {
            tell.notify_one();
            wait.recv().unwrap();
        }
        None
    });
    let auditor = pool(proxy.url(), 1, Duration::from_secs(60));
    let auditing = tokio::spawn(async move { audit(&auditor, Duration::from_secs(60), |_| {}).await });
    stands.notified().await;
    assert_eq!(pruned(&tables).await, 1);
    go_on.send(()).unwrap();
    let audit = auditing.await.unwrap().unwrap();
    assert!(audit.holds() && audit.pruned_until.is_some(), "{audit:?}");
}
