//! Bodies that are edited before they are replayed.

use std::fs;

use serde_json::json;

use super::{plan_of, told, users};
use crate::support::tables::Tables;
use crate::support::verdicts::login;

/// Letters of these users, whose version nobody can read.
async fn of_wrong_version(tables: &Tables, users: &[&str]) {
    let bodies: Vec<String> = users.iter().map(|user| login(user, "ios").replace("2.3.1", "two point three")).collect();
    let letters: Vec<(&str, &str)> = users.iter().zip(&bodies).map(|(user, body)| (*user, body.as_str())).collect();
    tables.load_rejected(&letters).await;
}

async fn hash_of(tables: &Tables, message_id: &str) -> String {
    let sql = "SELECT encode(message_hash, 'hex') FROM dead_letters WHERE message_id = $1";
    tables.client.query_one(sql, &[&message_id]).await.unwrap().get(0)
}

const SET: [&str; 8] =
    ["replay", "--code", "invalid_version", "--set", "/app_version", "\"2.3.0\"", "--reason", "the app wrote words"];

fn set_and(more: &[&'static str]) -> Vec<&'static str> {
    SET.into_iter().chain(more.iter().copied()).collect()
}

#[tokio::test]
async fn letters_that_are_edited_are_loaded_and_what_was_delivered_stays_as_it_was() {
    let tables = Tables::new().await;
    of_wrong_version(&tables, &["a", "b"]).await;
    let delivered =
        "SELECT jsonb_agg(jsonb_build_array(message_hash, sealed_body) ORDER BY message_hash)::text FROM dead_letters";
    let before: String = tables.client.query_one(delivered, &[]).await.unwrap().get(0);
    let report = told(&tables, 0, &set_and(&["--yes", "--by", "ada"])).await;
    assert_eq!((&report["replayed"], &report["otherwise_than_foreseen"]), (&2.into(), &json!([])));
    let after: String = tables.client.query_one(delivered, &[]).await.unwrap().get(0);
    assert_eq!(before, after);
    assert_eq!(users(&tables).await, ["a", "b"]);
    let versions = tables
        .client
        .query_one("SELECT count(DISTINCT app_version), min(app_version) FROM user_logins", &[])
        .await
        .unwrap();
    assert_eq!((versions.get::<_, i64>(0), versions.get::<_, i32>(1)), (1, 2_003_000));
    let revised = "dead_letter_revisions r JOIN dead_letters d USING (sent_at, message_hash)
                   WHERE r.paths = '{/app_version}' AND r.reason = 'the app wrote words' AND r.person = 'ada'
                     AND r.role = session_user AND r.tried_at IS NOT NULL AND r.sealed_body <> d.sealed_body AND d.status = 'replayed'";
    assert_eq!(tables.count(revised).await, 2);
    tables.assert_promise().await;

    let hash = hash_of(&tables, "a").await;
    let shown = tables.turnstile(&["dead-letters", "show", &hash]).await;
    shown.assert_said(0, &["edited", "by ada in plan 1, at /app_version: the app wrote words"]);
    shown.assert_discreet();
    let history = tables.turnstile(&["dead-letters", "history", &hash]).await;
    history.assert_said(0, &["edited", "replayed", "the app wrote words"]);
    let reveal = async |more: &[&str]| {
        let all: Vec<&str> = ["dead-letters", "show", &hash, "--reveal", "--reason", "look"]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        tables.turnstile(&all).await
    };
    reveal(&[]).await.assert_said(0, &["two point three"]);
    let edited = reveal(&["--revision", "1"]).await;
    edited.assert_said(0, &["\"app_version\":\"2.3.0\""]);
    assert!(!edited.stdout.contains("two point three"), "{edited:?}");
    let other = reveal(&["--revision", "7"]).await;
    assert!(other.code == 1 && other.stderr.contains("plan 7 did not edit"), "{other:?}");
    assert_eq!(tables.count("operator_actions WHERE action = 'revealed'").await, 2);
}

#[tokio::test]
async fn more_than_one_letter_is_edited_only_when_that_is_said() {
    let tables = Tables::new().await;
    of_wrong_version(&tables, &["a", "b"]).await;
    let asked = tables.turnstile(&["dead-letters"].into_iter().chain(SET).collect::<Vec<_>>()).await;
    assert_eq!(asked.code, 1, "{asked:?}");
    assert!(asked.stderr.contains("with the changes set /app_version") && asked.stderr.contains("--yes"), "{asked:?}");
    assert_eq!((users(&tables).await.len(), tables.count("dead_letters WHERE status = 'open'").await), (0, 2));
    let unreasoned = tables.turnstile(&["dead-letters", "replay", "--all", "--yes", "--remove", "/x"]).await;
    assert!(unreasoned.code != 0 && unreasoned.stderr.contains("--reason"), "{unreasoned:?}");

    let hash = hash_of(&tables, "a").await;
    let one = ["replay", &hash, "--set", "/app_version", "\"2.3.0\"", "--reason", "x"];
    assert_eq!(told(&tables, 0, &one).await["replayed"], 1, "a single letter needs no --yes");
    told(&tables, 0, &["plans", "run", "1"]).await;
    assert_eq!(users(&tables).await, ["a", "b"], "the plan that was asked about can still be run");
    tables.assert_promise().await;
}

#[tokio::test]
async fn an_edit_starts_from_what_was_tried_last_and_not_from_what_was_only_drawn_up() {
    let tables = Tables::new().await;
    let body = login("a", "ios").replace("2.3.1", "two").replace("\"DE\"", "7");
    tables.load_rejected(&[("a", &body)]).await;
    let hash = hash_of(&tables, "a").await;
    plan_of(&tables, &[&hash, "--replace", "/dev/null", "--reason", "a look"]).await;
    let first = told(&tables, 1, &set_and(&[])).await;
    assert_eq!(
        first["stay_open"],
        json!([{"why": "wrong_type", "letters": 1}]),
        "the version is mended, the locale is not"
    );
    let second = ["replay", "--all", "--set", "/locale", "\"de\"", "--reason", "and the locale"];
    assert_eq!(told(&tables, 0, &second).await["replayed"], 1);
    assert_eq!(users(&tables).await, ["a"]);
    let paths = "dead_letter_revisions WHERE tried_at IS NOT NULL";
    assert_eq!((tables.count(paths).await, tables.count("dead_letter_revisions").await), (2, 3));
    tables.assert_promise().await;
}

#[tokio::test]
async fn as_delivered_forgets_what_was_tried() {
    let tables = Tables::new().await;
    of_wrong_version(&tables, &["a"]).await;
    let worse = ["replay", "--all", "--remove", "/user_id", "--reason", "a mistake"];
    told(&tables, 1, &worse).await;
    assert_eq!(told(&tables, 1, &set_and(&[])).await["stay_open"][0]["why"], "missing_field");
    assert_eq!(told(&tables, 0, &set_and(&["--as-delivered"])).await["replayed"], 1);
    assert_eq!(users(&tables).await, ["a"]);
}

#[tokio::test]
async fn a_body_can_be_patched_or_replaced_from_a_file() {
    let tables = Tables::new().await;
    of_wrong_version(&tables, &["a"]).await;
    tables.load_rejected(&[("cut", "{\"user_id\": \"cut")]).await;
    let folder = tempfile::tempdir().unwrap();
    let (patch, body) = (folder.path().join("patch.json"), folder.path().join("body.json"));
    fs::write(&patch, r#"[{"op":"test","path":"/app_version","value":"two point three"},{"op":"replace","path":"/app_version","value":"3.0"}]"#).unwrap();
    fs::write(&body, login("whole", "ios")).unwrap();
    let (patch, body) = (patch.to_str().unwrap(), body.to_str().unwrap());
    let patched = told(&tables, 1, &["replay", "--all", "--yes", "--patch", patch, "--reason", "x"]).await;
    assert_eq!((&patched["replayed"], &patched["stay_open"][0]["letters"]), (&1.into(), &1.into()));
    assert!(
        patched["stay_open"][0]["why"].as_str().unwrap().contains("is no JSON, and can only be replaced"),
        "{patched}"
    );
    let cut = hash_of(&tables, "cut").await;
    let replaced = told(&tables, 0, &["replay", &cut, "--replace", body, "--reason", "x"]).await;
    assert_eq!(replaced["replayed"], 1);
    assert_eq!(users(&tables).await, ["a", "whole"]);
    let whole = tables.turnstile(&["dead-letters", "show", &cut]).await;
    whole.assert_said(0, &["at all of it"]);

    let all = tables.turnstile(&["dead-letters", "replay", "--all", "--replace", body, "--reason", "x"]).await;
    assert!(all.code == 1 && all.stderr.contains("for a single letter"), "{all:?}");
    fs::write(folder.path().join("bad"), "{\"ip\": \"203.0.113.7\"").unwrap();
    let bad = folder.path().join("bad");
    for wrong in [["--patch", bad.to_str().unwrap()], ["--remove", "app_version"], ["--remove", ""]] {
        let all: Vec<&str> = ["dead-letters", "replay", "--all", "--reason", "x"].into_iter().chain(wrong).collect();
        let refused = tables.turnstile(&all).await;
        assert!(refused.code != 0 && refused.stderr.contains(wrong[0]), "{refused:?}");
        refused.assert_discreet();
    }
}

#[tokio::test]
async fn an_edited_body_opens_in_its_own_place_only() {
    let tables = Tables::new().await;
    of_wrong_version(&tables, &["a", "b"]).await;
    for reason in ["first", "second"] {
        let drawn = ["--all", "--set", "/app_version", "\"2.3.0\"", "--reason", reason];
        plan_of(&tables, &drawn).await;
    }
    let first = "(SELECT sealed_body FROM dead_letter_revisions WHERE plan = 1 AND message_hash = d.message_hash)";
    let of_another_plan = format!("UPDATE dead_letter_revisions d SET sealed_body = {first} WHERE plan = 2");
    tables.client.execute(&of_another_plan, &[]).await.unwrap();
    let report = told(&tables, 1, &["plans", "run", "2"]).await;
    assert!(report["stay_open"][0]["why"].as_str().unwrap().contains("does not open"), "{report}");
    let as_delivered = format!("UPDATE dead_letters d SET sealed_body = {first}");
    tables.client.execute(&as_delivered, &[]).await.unwrap();
    let report = told(&tables, 1, &["replay", "--all", "--as-delivered"]).await;
    assert!(report["stay_open"][0]["why"].as_str().unwrap().contains("does not open"), "{report}");
    assert_eq!(users(&tables).await, [""; 0]);
}
