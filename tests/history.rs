//! What is done with dead letters is noted by the database itself, in the same transaction, and stays.

use serde_json::{Value, json};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::grants::{as_user, granted};
use crate::support::postgres::connect;
use crate::support::tables::Tables;

/// Which action, of which message, under which name, why: from the first on.
async fn noted(client: &Client) -> Vec<(String, Option<String>, Option<String>, Option<String>)> {
    let sql = "SELECT a.action, d.message_id, a.person, a.reason
               FROM turnstile.operator_actions a LEFT JOIN turnstile.dead_letters d USING (sent_at, message_hash)
               ORDER BY a.id";
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
}

fn action(
    what: &str,
    letter: Option<&str>,
    person: &str,
    reason: Option<&str>,
) -> (String, Option<String>, Option<String>, Option<String>) {
    (what.to_owned(), letter.map(str::to_owned), Some(person.to_owned()), reason.map(str::to_owned))
}

async fn hash_of(tables: &Tables, message_id: &str) -> String {
    let sql = "SELECT encode(message_hash, 'hex') FROM dead_letters WHERE message_id = $1";
    tables.client.query_one(sql, &[&message_id]).await.unwrap().get(0)
}

#[tokio::test]
async fn every_action_is_noted_with_who_and_why_and_the_history_shows_it() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&["a"]).await;
    tables.load_rejected(&[("b", "{\"ip\": \"203.0.113.7\" canary")]).await;
    let (a, b) = (hash_of(&tables, "a").await, hash_of(&tables, "b").await);
    let by_ada = async |arguments: &[&str]| {
        let all: Vec<&str> = ["dead-letters"].iter().chain(arguments).copied().chain(["--by", "ada"]).collect();
        let said = tables.turnstile(&all).await;
        assert_eq!(said.code, 0, "{said:?}");
    };
    by_ada(&["show", "--reveal", &b, "--reason", "what is it"]).await;
    by_ada(&["discard", &b, "--reason", "a test of ours"]).await;
    by_ada(&["reopen", &b, "--reason", "it was no test"]).await;
    by_ada(&["replay", &a, "--dry-run"]).await;
    by_ada(&["replay", &a, "--reason", "the rule is gone"]).await;
    let expected = [
        action("revealed", Some("b"), "ada", Some("what is it")),
        action("discarded", Some("b"), "ada", Some("a test of ours")),
        action("reopened", Some("b"), "ada", Some("it was no test")),
        action("taken", None, "ada", None),
        action("taken", None, "ada", Some("the rule is gone")),
        action("taken", None, "ada", Some("the rule is gone")),
        action("replayed", Some("a"), "ada", Some("the rule is gone")),
    ];
    assert_eq!(noted(&tables.client).await, expected);
    let told = "dead_letters d JOIN operator_actions a USING (sent_at, message_hash)
                WHERE a.action = 'replayed' AND d.resolved_by = session_user || ': ada' AND a.role = session_user";
    assert_eq!(tables.count(told).await, 1);
    assert_eq!(tables.count("dead_letters WHERE status = 'open' AND resolved_by IS NULL").await, 1);

    let of_b = tables.turnstile(&["dead-letters", "history", &b[..12]]).await;
    of_b.assert_said(0, &["revealed", "discarded", "reopened", "a test of ours", &b, "ada"]);
    assert!(!of_b.stdout.contains("replayed") && of_b.stdout.lines().count() == 4, "{of_b:?}");
    let of_nobody = tables.turnstile(&["dead-letters", "history", "--by", "eve"]).await;
    of_nobody.assert_said(0, &["nothing was done, or nothing of this kind"]);
    let newest = ["dead-letters", "history", "--by", "ada", "--since", "1h", "--limit", "2", "--format", "json"];
    let newest = tables.turnstile(&newest).await;
    let lines: Vec<serde_json::Value> = newest.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["action"], &lines[0]["hash"]), (&"replayed".into(), &a.as_str().into()));
    assert_eq!((&lines[1]["action"], &lines[1]["letters"], lines.len()), (&"taken".into(), &1.into(), 2));
    assert!(newest.stderr.contains("the newest 2"), "{newest:?}");
    let revealed = tables.turnstile(&["dead-letters", "history", "--action", "revealed"]).await;
    revealed.assert_said(0, &["what is it"]);
    let wrong = tables.turnstile(&["dead-letters", "history", "--action", "reveled"]).await;
    assert!(wrong.code == 2 && wrong.stderr.contains("revealed"), "{wrong:?}");
    for said in [of_b, newest, revealed] {
        said.assert_discreet();
    }
    tables.assert_promise().await;
}

#[tokio::test]
async fn nothing_is_revealed_or_discarded_without_a_reason() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&["a"]).await;
    let a = hash_of(&tables, "a").await;
    for arguments in [&["show", "--reveal"][..], &["discard"], &["reopen"]] {
        let all: Vec<&str> = ["dead-letters"].iter().chain(arguments).copied().chain([a.as_str()]).collect();
        let said = tables.turnstile(&all).await;
        assert!(said.code == 2 && said.stderr.contains("--reason: is not given"), "{said:?}");
    }
    let reveal = "SELECT turnstile.reveal_body(sent_at, message_hash) FROM turnstile.dead_letters";
    let error = tables.client.query(reveal, &[]).await.unwrap_err();
    assert!(error.as_db_error().unwrap().message().contains("for a reason only"), "{error:?}");
    assert!(noted(&tables.client).await.is_empty());
}

#[tokio::test]
async fn what_is_undone_is_not_noted_and_a_resolved_letter_stays_what_it_is() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&["a"]).await;
    let set = |was: &str, becomes: &str| {
        format!(
            "SELECT turnstile.set_status(array_agg(message_hash), array_agg(sent_at), '{was}', '{becomes}') FROM turnstile.dead_letters"
        )
    };
    let discard = set("open", "discarded");
    tables.client.batch_execute(&format!("BEGIN; {discard}; ROLLBACK")).await.unwrap();
    assert!(noted(&tables.client).await.is_empty());
    tables.replay_all().await;
    for status in ["open", "discarded", "absorbed"] {
        let error = tables.client.batch_execute(&set("replayed", status)).await.unwrap_err();
        let said = error.as_db_error().unwrap().message();
        assert_eq!(said, format!("a dead letter that is replayed does not become {status}"));
    }
}

#[tokio::test]
async fn not_even_the_owner_changes_what_is_noted() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&["a"]).await;
    tables.replay_all().await;
    let before = noted(&tables.client).await;
    for change in [
        "UPDATE operator_actions SET role = 'eve'",
        "DELETE FROM operator_actions",
        "TRUNCATE operator_actions",
        "UPDATE operator_actions SET reason = 'x' WHERE false",
    ] {
        let error = tables.client.batch_execute(change).await.expect_err(change);
        assert_eq!(error.as_db_error().unwrap().message(), "operator_actions is only added to", "{change}");
    }
    assert_eq!(noted(&tables.client).await, before);
}

#[tokio::test]
async fn an_operator_who_takes_the_group_s_role_is_noted_under_the_own_name() {
    let (test, roles) = granted().await;
    let owner = connect(test.url()).await;
    let letter = "INSERT INTO turnstile.dead_letters
                      (sent_at, message_hash, queue, code, detail, sealed_body, message_id, receive_count, received_at)
                  VALUES (now(), decode(repeat('01', 32), 'hex'), 'q', 'invalid_json', 'd', 'k.x', 'm', 1, now())";
    owner.batch_execute(letter).await.unwrap();
    let operator = connect(&as_user(test.url(), &roles.login("operator"))).await;
    let forged = format!(
        "SET ROLE {}; SELECT set_config('letters.person', 'somebody else', false); \
         SELECT turnstile.set_status(array_agg(message_hash), array_agg(sent_at), 'open', 'discarded')
         FROM turnstile.dead_letters",
        roles.name("operator")
    );
    operator.batch_execute(&forged).await.unwrap();
    let row = owner
        .query_one(
            "SELECT a.role, a.person, d.resolved_by FROM turnstile.operator_actions a
             JOIN turnstile.dead_letters d USING (sent_at, message_hash)",
            &[],
        )
        .await
        .unwrap();
    let name = roles.login("operator");
    let found: (String, String, String) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(found, (name.clone(), "somebody else".to_owned(), format!("{name}: somebody else")));
    let taken = operator.query("SELECT * FROM turnstile.take_bodies('{}', '{}')", &[]).await.unwrap();
    assert!(taken.is_empty());
    let error = operator.query("SELECT turnstile.reveal_body(now(), '')", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    drop((operator, owner, test));
    roles.drop().await;
}

#[tokio::test]
async fn what_is_unmasked_is_noted_before_it_is_shown_where_that_is_asked_for() {
    let (test, roles) = granted().await;
    let tables = Tables::at(test.url(), std::time::Duration::from_secs(30)).await;
    tables.load_logins(&["a"]).await;
    let masked: String = tables.client.query_one("SELECT masked_ip FROM user_logins", &[]).await.unwrap().get(0);
    let as_role = async |url: &str, arguments: &[&str]| {
        Tables::at(url, std::time::Duration::from_secs(30)).await.turnstile(arguments).await
    };
    let noted = async || tables.count("operator_actions WHERE action = 'unmasked'").await;
    let unreasoned = as_role(&roles.revealer_url, &["unmask", "--note", &masked]).await;
    assert!(unreasoned.code == 2 && unreasoned.stderr.contains("--reason"), "{unreasoned:?}");
    let of_another = as_role(&roles.operator_url, &["unmask", "--note", "--reason", "x", &masked]).await;
    assert_eq!((of_another.code, of_another.stdout.as_str()), (1, ""), "{of_another:?}");
    assert_eq!(noted().await, 0);

    let shown = as_role(&roles.revealer_url, &["unmask", "--note", "--reason", "ticket 4711", &masked, &masked]).await;
    assert_eq!((shown.code, shown.stdout.as_str()), (0, "203.0.113.7\n203.0.113.7\n"), "{shown:?}");
    let role = roles.login("revealer");
    let one = format!(
        "operator_actions WHERE action = 'unmasked' AND subject = '2 values' AND reason = 'ticket 4711' AND role = '{role}'"
    );
    assert_eq!(tables.count(&one).await, 1);
    let history = tables.turnstile(&["dead-letters", "history", "--action", "unmasked"]).await;
    history.assert_said(0, &["2 values", "ticket 4711"]);
    roles.drop().await;
}

#[tokio::test]
async fn the_last_note_of_a_code_stands_beside_its_letters_and_all_of_them_in_the_history() {
    let tables = Tables::new().await;
    tables.load_once_rejected(&["a"]).await;
    tables.load_rejected(&[("b", "[1]")]).await;
    let run = async |arguments: &[&str]| tables.turnstile(&[&["dead-letters"], arguments].concat()).await;
    let list = async || {
        let said = run(&["list", "--format", "json"]).await;
        let groups = said.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let note = |group: &Value| json!([group["code"], group["note"], group["noted_by"]]);
        let mut notes: Vec<_> = groups.map(|group| note(&group)).collect();
        notes.sort_by_key(Value::to_string);
        notes
    };
    assert_eq!(list().await, [json!(["array_body", null, null]), json!(["invalid_version", null, null])]);
    for (by, words) in [("ada", "ticket 4711"), ("grace", "the app is mended on Monday")] {
        let done = run(&["note", "--code", "invalid_version", "--by", by, "--reason", words]).await;
        assert_eq!((done.code, done.stdout.as_str()), (0, "noted about invalid_version\n"), "{done:?}");
    }
    let last = json!(["invalid_version", "the app is mended on Monday", "grace"]);
    assert_eq!(list().await, [json!(["array_body", null, null]), last]);
    let told = run(&["list"]).await.stdout;
    assert!(told.contains("invalid_version: noted by grace at "), "{told}");
    assert!(told.contains(": the app is mended on Monday\n") && !told.contains("ticket 4711"), "{told}");
    let history = run(&["history", "--action", "noted"]).await.stdout;
    for words in ["ticket 4711", "the app is mended on Monday", "ada", "grace", "invalid_version"] {
        assert!(history.contains(words), "{words} in {history}");
    }
    for (arguments, complaint) in [
        (&["note", "--code", "invalid_version"][..], "--reason"),
        (&["note", "--reason", "ticket 4711"], "--code"),
        (&["note", "--code", "invalid_versoin", "--reason", "ticket 4711"], "invalid_version"),
    ] {
        let refused = run(arguments).await;
        assert!(refused.code != 0 && refused.stderr.contains(complaint), "{refused:?}");
    }
    let silent = "SELECT turnstile.note_code('invalid_version')";
    assert!(tables.client.batch_execute(silent).await.is_err(), "a note says something");
    assert_eq!(tables.count("operator_actions").await, 2);
}
