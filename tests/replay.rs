//! Dead letters are looked at without showing what is in them, and loaded again once each.

use std::time::Duration;

use stand_ins::postgres::Postgres;
use time::OffsetDateTime;
use tokio_postgres::Row;
use turnstile::discard::{Becomes, change};
use turnstile::keyring::Masters;
use turnstile::message::MessageHash;
use turnstile::replay::{Obstacle, Replay, Report, Wanted};
use turnstile::table::dead_letters::{Filter, Search};
use turnstile::table::operator_actions::Said;

use crate::support::postgres::{TestDatabase, connect};
use crate::support::server::{self, installed};
use crate::support::tables::Tables;
use crate::support::verdicts::{batch, login, message};
use crate::support::wait_until;

fn replayed(replayed: u64) -> Report {
    Report { replayed, ..Report::default() }
}

fn hash_in(row: &Row) -> MessageHash {
    MessageHash::from_bytes(row.get::<_, Vec<u8>>(0).try_into().unwrap())
}

fn of_search(search: Search) -> Filter {
    Filter { search, hashes: None }
}

fn users(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("canary {n}")).collect()
}

fn as_strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// Everything in the four tables, as one text.
async fn state(tables: &Tables) -> String {
    let sql = "SELECT concat(
        (SELECT jsonb_agg(t ORDER BY message_hash) FROM processed_messages t),
        (SELECT jsonb_agg(t ORDER BY message_hash) FROM user_logins t),
        (SELECT jsonb_agg(t ORDER BY message_hash) FROM dead_letters t),
        (SELECT jsonb_agg(t ORDER BY event_id) FROM outbox t))";
    tables.client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_letter_that_is_a_login_now_is_loaded_under_its_hash_on_the_day_it_was_sent() {
    let tables = Tables::new().await;
    tables
        .client
        .batch_execute("ALTER TABLE user_logins ADD CONSTRAINT no_toaster CHECK (device_type <> 'toaster')")
        .await
        .unwrap();
    let toaster = message("m1", &login("canary", "toaster"), 1);
    tables.load_batch(batch(&tables.judge, [toaster, message("m2", &login("b", "ios"), 1)])).await;
    tables.assert_promise().await;
    assert_eq!(tables.count("dead_letters WHERE status = 'open' AND code = 'refused_by_database'").await, 1);

    tables.client.batch_execute("ALTER TABLE user_logins DROP CONSTRAINT no_toaster").await.unwrap();
    assert_eq!(tables.replay_all().await, replayed(1));
    let sql = "SELECT u.create_date::text, p.outcome, d.status, d.resolved_by = current_user || ': ada',
                      d.resolved_at IS NOT NULL, o.device_type, p.message_id
               FROM user_logins u JOIN processed_messages p USING (message_hash) JOIN dead_letters d USING (message_hash)
               JOIN outbox o ON o.event_id = u.message_hash WHERE u.device_type = 'toaster'";
    let row = tables.client.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get(0), row.get(1), row.get(2)), ("2026-03-01", "loaded", "replayed"));
    assert_eq!((row.get(3), row.get(4), row.get(5), row.get(6)), (true, true, "toaster", "m1"));
    assert_eq!(tables.count("user_logins").await, 2);
    tables.assert_promise().await;
}

#[tokio::test]
async fn a_replayed_message_that_is_delivered_again_is_a_duplicate() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&["a"]).await;
    tables.replay_all().await;
    tables.load_logins(&["a"]).await;
    assert_eq!((tables.count("user_logins").await, tables.count("outbox").await), (1, 1));
    tables.assert_promise().await;
}

#[tokio::test]
async fn replaying_twice_changes_nothing() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&["a", "b", "c"]).await;
    tables.load_rejected(&[("bad", "[1]")]).await;
    assert_eq!(tables.replay_all().await.replayed, 3);
    let before = state(&tables).await;
    let again = tables.replay_all().await;
    assert_eq!((again.replayed, again.seen()), (0, 1));
    assert_eq!(state(&tables).await, before);
}

#[tokio::test]
async fn letters_that_are_still_no_logins_stay_as_they_are_and_are_counted_by_code() {
    let tables = Tables::new().await;
    tables.load_rejected(&[("1", "[1]"), ("2", "not json"), ("3", "[2]"), ("4", "")]).await;
    let before = state(&tables).await;
    tables.load_once_rejected(&["a"]).await;
    let report = tables.replay_all().await;
    let open = [("array_body", 2), ("empty_body", 1), ("invalid_json", 1)];
    let open = open.map(|(code, letters)| (Obstacle::Rejected(code.to_owned()), letters));
    assert_eq!(report, Report { replayed: 1, open: open.into(), ..Report::default() });
    tables.client.batch_execute("DELETE FROM processed_messages WHERE outcome = 'loaded'; DELETE FROM user_logins; DELETE FROM outbox; DELETE FROM dead_letters WHERE status = 'replayed'").await.unwrap();
    assert_eq!(state(&tables).await, before);
}

#[tokio::test]
async fn a_letter_whose_key_is_absent_is_named_with_the_key_and_keeps_its_body() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&["a", "b"]).await;
    let other = Masters::generate_as("other".parse().unwrap()).unwrap().derive().unwrap();
    let replay = Replay { opener: other.body_opener(), ..tables.replay() };
    let report = replay.run(&Filter::default(), None, |_| {}).await.unwrap();
    let obstacle = report.open.first_key_value().unwrap();
    assert!(obstacle.0.to_string().contains(tables.keyring.active().as_str()), "{report:?}");
    assert_eq!((report.replayed, *obstacle.1), (0, 2));
    tables.assert_promise().await;
    assert_eq!(tables.replay_all().await, replayed(2), "the right keyring still opens them");
}

#[tokio::test]
async fn replays_at_the_same_time_load_each_letter_once() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&as_strs(&users(250))).await;
    let (one, two, three) = tokio::join!(tables.replay_all(), tables.replay_all(), tables.replay_all());
    assert_eq!(one.replayed + two.replayed + three.replayed, 250);
    assert_eq!(one.stay_open() + two.stay_open() + three.stay_open(), 0);
    assert_eq!((tables.count("user_logins").await, tables.count("outbox").await), (250, 250));
    tables.assert_promise().await;
}

#[tokio::test]
async fn a_row_that_the_database_refuses_stays_open_and_its_neighbours_land() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&as_strs(&users(60))).await;
    let sql = "ALTER TABLE user_logins ADD CHECK (user_id NOT IN ('canary 7', 'canary 41'))";
    tables.client.batch_execute(sql).await.unwrap();
    let report = tables.replay_all().await;
    let refused = (Obstacle::Refused("23514".to_owned()), 2);
    assert_eq!(report, Report { replayed: 58, open: [refused].into(), ..Report::default() });
    tables.assert_promise().await;
}

#[tokio::test]
async fn a_letter_without_its_claim_stays_open_and_its_neighbours_land() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&["a", "b", "c"]).await;
    tables.client.execute("DELETE FROM processed_messages WHERE message_id = 'b'", &[]).await.unwrap();
    let report = tables.replay_all().await;
    assert_eq!(report, Report { replayed: 2, open: [(Obstacle::Unclaimed, 1)].into(), ..Report::default() });
    assert_eq!(tables.count("user_logins WHERE user_id = 'b'").await, 0);
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_replayed_and_changes_nothing() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&["a", "b"]).await;
    tables.load_rejected(&[("bad", "[1]")]).await;
    let before = state(&tables).await;
    let dry = tables.turnstile(&["dead-letters", "replay", "--all", "--dry-run", "--format", "json"]).await;
    let report: serde_json::Value = serde_json::from_str(&dry.stdout).unwrap();
    assert_eq!((dry.code, &report["replayed"], &report["dry_run"]), (1, &2.into(), &true.into()), "{dry:?}");
    assert_eq!(report["stay_open"], serde_json::json!([{"why": "array_body", "letters": 1}]));
    assert_eq!(state(&tables).await, before);
}

#[tokio::test]
async fn the_limit_counts_what_is_replayed_however_many_bad_letters_stand_before() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&as_strs(&users(30))).await;
    let bad: Vec<String> = (0..120).map(|n| format!("bad {n}")).collect();
    tables.load_rejected(&bad.iter().map(|id| (id.as_str(), "[]")).collect::<Vec<_>>()).await;
    for expected in [12, 12, 6] {
        let report = tables.replay().run(&Filter::default(), Some(12), |_| {}).await.unwrap();
        assert_eq!(report.replayed, expected);
    }
    tables.assert_promise().await;
}

#[tokio::test]
async fn only_the_letters_that_match_are_replayed() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&["a", "b"]).await;
    let tomorrow = OffsetDateTime::now_utc() + time::Duration::DAY;
    let nothing = [
        of_search(Search { code: Some("array_body".to_owned()), ..Search::default() }),
        of_search(Search { since: Some(tomorrow), ..Search::default() }),
        Filter::of(vec![]),
    ];
    for filter in nothing {
        assert_eq!(tables.replay().run(&filter, None, |_| {}).await.unwrap(), Report::default(), "{filter:?}");
    }
    let code = of_search(Search { code: Some("invalid_version".to_owned()), ..Search::default() });
    assert_eq!(tables.replay().run(&code, None, |_| {}).await.unwrap(), replayed(2));
}

/// Does this while a standby never confirms: the commit holds on the server, and nobody is told until it is made again.
async fn with_a_lost_answer<T>(tables: &Tables, server: &Postgres, doing: impl Future<Output = T>) -> T {
    let admin = connect(&server.url()).await;
    admin.batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await.unwrap();
    admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    server::commits_wait(&admin, &server.url()).await;
    let answering = async {
        let waits = "pg_stat_activity WHERE wait_event_type = 'Lock'";
        wait_until("the transaction runs again, and meets the first one's locks", async || {
            tables.count(waits).await > 0
        })
        .await;
        admin.batch_execute("ALTER SYSTEM RESET synchronous_standby_names").await.unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    };
    tokio::join!(doing, answering).0
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_neither_doubled_nor_counted_as_a_failure() {
    let server = server::start(installed()).await;
    let tables = Tables::at(&server.url(), Duration::from_secs(2)).await;
    crate::support::loading::migrate(&tables.database).await;
    tables.load_once_rejected(&["a", "b", "c"]).await;

    let replay = tables.replay();
    let plan = replay.draw_up(&Wanted::default(), None, |_| {}).await.unwrap();
    // It was begun before: the first commit that is waited for is that of the letters.
    tables.client.execute("UPDATE replay_plans SET state = 'running', begun_at = now()", &[]).await.unwrap();
    let replaying = replay.run_plan(plan.id, |_| {});
    let report = with_a_lost_answer(&tables, &server, replaying).await;
    assert_eq!(report.unwrap(), replayed(3));
    assert_eq!((tables.count("user_logins").await, tables.count("outbox").await), (3, 3));
    tables.assert_promise().await;
}

#[tokio::test]
async fn letters_that_take_too_long_together_are_replayed_a_few_at_a_time() {
    let test = TestDatabase::empty().await;
    let tables = Tables::at(test.url(), Duration::from_secs(2)).await;
    crate::support::loading::migrate(&tables.database).await;
    let users = users(12);
    tables.load_once_rejected(&as_strs(&users)).await;
    // All of them would take 4.8 s.
    let slow = "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN PERFORM pg_catalog.pg_sleep(0.4); RETURN NEW; END $$;
                CREATE TRIGGER slow BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION public.slow()";
    tables.client.batch_execute(slow).await.unwrap();
    assert_eq!(tables.replay_all().await, replayed(12));
    tables.assert_promise().await;
}

#[tokio::test]
async fn letters_whose_discard_held_although_its_answer_was_lost_are_told_as_discarded() {
    let server = server::start(installed()).await;
    let tables = Tables::at(&server.url(), Duration::from_secs(2)).await;
    crate::support::loading::migrate(&tables.database).await;
    tables.load_once_rejected(&["a", "b"]).await;
    let sql = "SELECT message_hash FROM dead_letters ORDER BY sent_at, message_hash";
    let hashes: Vec<MessageHash> = tables.client.query(sql, &[]).await.unwrap().iter().map(hash_in).collect();
    assert_eq!(change(&tables.database, &hashes[..1], &Said::by("eve"), Becomes::Discarded).await.unwrap().len(), 1);
    let said = Said::by("ada");
    let discarding = change(&tables.database, &hashes, &said, Becomes::Discarded);
    assert_eq!(
        with_a_lost_answer(&tables, &server, discarding).await.unwrap(),
        hashes[1..],
        "eve's was discarded before"
    );
}

#[tokio::test]
async fn a_discarded_letter_is_resolved_keeps_its_record_and_is_not_replayed() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&["a"]).await;
    let hash = hash_in(&tables.client.query_one("SELECT message_hash FROM dead_letters", &[]).await.unwrap());
    assert_eq!(change(&tables.database, &[hash], &Said::by("ada"), Becomes::Discarded).await.unwrap(), [hash]);
    assert_eq!(change(&tables.database, &[hash], &Said::by("eve"), Becomes::Discarded).await.unwrap(), []);
    assert_eq!(tables.count("dead_letters WHERE status = 'discarded' AND resolved_by LIKE '%: ada'").await, 1);
    assert_eq!(tables.replay_all().await, Report::default());
    tables.assert_promise().await;
}

#[tokio::test]
async fn the_commands_show_a_body_only_when_told_to_reveal_it() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&["canary"]).await;
    tables.load_rejected(&[("bad", "{\"ip\": \"203.0.113.7\x1b\n")]).await;
    let hash: String = hash_of(&tables, "bad").await;

    let counts = tables.turnstile(&["dead-letters", "list"]).await;
    counts.assert_said(0, &["status", "invalid_json", "invalid_version"]);
    let entries = tables.turnstile(&["dead-letters", "list", "--entries", "--code", "invalid_json"]).await;
    entries.assert_said(0, &[&hash, "invalid_json", "bad", "the body is not JSON"]);
    let shown = tables.turnstile(&["dead-letters", "show", &hash[..8]]).await;
    shown.assert_said(0, &[&hash, "dead_lettered", tables.keyring.active().as_str()]);
    let json = tables.turnstile(&["dead-letters", "show", "--format", "json", &hash]).await;
    json.assert_said(0, &[&hash, "\"outcome\":\"dead_lettered\""]);
    let replayed = tables.turnstile(&["dead-letters", "replay", "--all"]).await;
    replayed.assert_said(1, &["1 of 2 open dead letters replayed", "1 stay open: invalid_json"]);
    for said in [counts, entries, shown, json, replayed] {
        said.assert_discreet();
    }
    let by = "dead_letters WHERE status = 'replayed' AND resolved_by LIKE '%: grace'";
    assert_eq!(tables.count(by).await, 1);

    let revealed = tables.turnstile(&["dead-letters", "show", &hash, "--reveal", "--reason", "a ticket"]).await;
    revealed.assert_said(0, &[r#"{"ip": "203.0.113.7\u{1b}\n"#]);
    let revealed = tables
        .turnstile(&["dead-letters", "show", &hash, "--reveal", "--reason", "a ticket", "--format", "json"])
        .await;
    let json: serde_json::Value = serde_json::from_str(&revealed.stdout).unwrap();
    assert_eq!(json["body"], "{\"ip\": \"203.0.113.7\x1b\n");
}

#[tokio::test]
async fn the_commands_say_what_they_left_out_and_what_they_cannot_find() {
    let tables = Tables::new().await;
    tables.turnstile(&["dead-letters", "list"]).await.assert_said(0, &["no dead letters"]);
    let said = tables.turnstile(&["dead-letters", "list", "--format", "json"]).await;
    assert_eq!((said.code, said.stdout.as_str()), (0, ""));
    tables.turnstile(&["dead-letters", "replay", "--all"]).await.assert_said(0, &["0 of 0"]);
    tables.load_once_rejected(&["a", "b", "c"]).await;
    let cut = tables.turnstile(&["dead-letters", "list", "--entries", "--limit", "2"]).await;
    cut.assert_said(0, &["the newest 2 of 3"]);
    let json = tables.turnstile(&["dead-letters", "list", "--entries", "--format", "json", "--since", "1h"]).await;
    let lines: Vec<serde_json::Value> = json.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["status"]), (3, &serde_json::Value::from("open")));
    let cut = tables.turnstile(&["dead-letters", "list", "--entries", "--format", "json", "--limit", "2"]).await;
    assert!(cut.stdout.lines().count() == 2 && cut.stderr.contains("the newest 2 of 3"), "{cut:?}");

    let rehearsed = tables.turnstile(&["dead-letters", "replay", "--all", "--dry-run", "--format", "json"]).await;
    let rehearsed: serde_json::Value = serde_json::from_str(&rehearsed.stdout).unwrap();
    assert_eq!((&rehearsed["dry_run"], &rehearsed["replayed"]), (&true.into(), &3.into()), "{rehearsed}");

    let absent = tables.turnstile(&["dead-letters", "show", "00000000"]).await;
    assert_eq!(absent.code, 1);
    assert!(absent.stderr.contains("no dead letter's hash starts with 00000000"), "{absent:?}");
    let wrong = tables.turnstile(&["dead-letters", "replay", "0123", "--limit", "0", "--since", "soon"]).await;
    assert_eq!(wrong.code, 2);
    for setting in ["HASH", "--limit", "--since"] {
        assert!(wrong.stderr.contains(setting), "{wrong:?}");
    }
    let wrong = ["dead-letters", "list", "--since", "foo", "--limit", "0", "--status", "x"];
    let wrong = tables.turnstile(&wrong).await;
    assert_eq!(wrong.code, 2);
    for setting in ["--since", "--limit", "--status", "--entries"] {
        assert!(wrong.stderr.contains(setting), "{wrong:?}");
    }
    let nothing = tables.turnstile(&["dead-letters", "replay"]).await;
    assert_eq!(nothing.code, 2);
    assert!(nothing.stderr.contains("--all"), "{nothing:?}");
}

#[tokio::test]
async fn letters_asked_for_by_hash_are_replayed_or_discarded_and_no_others() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&["a", "b", "c"]).await;
    let (a, b) = (hash_of(&tables, "a").await, hash_of(&tables, "b").await);
    tables.turnstile(&["dead-letters", "replay", &a[..12]]).await.assert_said(0, &["1 of 1"]);
    tables.turnstile(&["dead-letters", "replay", &a]).await.assert_said(0, &["0 of 0"]);
    tables
        .turnstile(&["dead-letters", "discard", &b, "--by", "ada", "--reason", "why"])
        .await
        .assert_said(0, &["discarded"]);
    tables.turnstile(&["dead-letters", "discard", &b, "--reason", "why"]).await.assert_said(1, &["is not open"]);
    let again = tables.turnstile(&["dead-letters", "discard", &b, "--reason", "why", "--format", "json"]).await;
    again.assert_said(1, &[&format!("{{\"discarded\":false,\"hash\":\"{b}\"}}")]);
    tables.turnstile(&["dead-letters", "replay", &b]).await.assert_said(1, &["0 of 0"]);
    assert_eq!(tables.count("user_logins").await, 1);
    assert_eq!(tables.count("dead_letters WHERE status = 'open'").await, 1);
    tables.assert_promise().await;
}

async fn hash_of(tables: &Tables, message_id: &str) -> String {
    let sql = "SELECT encode(message_hash, 'hex') FROM dead_letters WHERE message_id = $1";
    tables.client.query_one(sql, &[&message_id]).await.unwrap().get(0)
}
