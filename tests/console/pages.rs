//! What pages say: the same as their JSON, to be found by a link, and within limits.

use std::collections::BTreeSet;

use serde_json::Value;
use turnstile::rejection::Rejection;

use super::world::World;
use crate::letters::write;

fn strings<'v>(values: &'v Value, name: &str) -> Vec<&'v str> {
    values.as_array().unwrap().iter().map(|value| value[name].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_first_page_says_the_worst_fact_and_its_json_says_the_same() {
    let world = World::new().await;
    let browser = world.signed_in("viewer").await;
    browser
        .get("/")
        .await
        .assert_says(200, &["All is well: no dead letter is open.", "<title>All is well · Turnstile</title>"]);
    assert_eq!(browser.get("/now.json").await.json()["state"], "well");
    world.tables.load_logins(&["x"]).await;
    world.tables.load_once_rejected(&["a", "b", "c"]).await;
    let (page, json) = (browser.get("/").await, browser.get("/now.json").await.json());
    page.assert_says(200, &["<title>3 open · Turnstile</title>", "3 dead letters are open", "invalid_version"]);
    assert_eq!((&json["state"], &json["open"]["letters"]), (&"look".into(), &3.into()));
    assert_eq!(strings(&json["groups"], "code"), ["invalid_version"]);
    assert_eq!(json["minutes"].as_array().map(Vec::len), Some(60));
    world.end().await;
}

#[tokio::test]
async fn groups_stand_with_what_to_do_and_lead_to_their_letters() {
    let world = World::new().await;
    write(&world.tables, 3, &[("code", "'invalid_ip'"), ("field", "'ip'")]).await;
    write(&world.tables, 2, &[("code", "'null_field'"), ("field", "'locale'"), ("status", "'discarded'")]).await;
    let browser = world.signed_in("viewer").await;
    let (page, json) = (browser.get("/dead-letters").await, browser.get("/dead-letters.json").await.json());
    let advice = Rejection::advice("invalid_ip").unwrap();
    page.assert_says(200, &["<title>3 open · Dead letters · Turnstile</title>", advice.cause, "last 24 hours"]);
    page.assert_silent(&[Rejection::advice("null_field").unwrap().cause]);
    assert_eq!(strings(&json["groups"], "status"), ["open", "discarded"]);
    let sum =
        |group: &Value| group["last_24_hours"].as_array().unwrap().iter().map(|hour| hour.as_u64().unwrap()).sum();
    assert_eq!(json["groups"].as_array().unwrap().iter().map(sum).collect::<Vec<u64>>(), [3, 2]);
    let link = "/dead-letters/list?code=invalid_ip&amp;field=ip&amp;status=open";
    page.assert_says(200, &[link]);
    let letters = browser.get("/dead-letters/list.json?code=invalid_ip&field=ip&status=open").await.json();
    assert_eq!(letters["all"]["letters"], 3);
    world.end().await;
}

#[tokio::test]
async fn a_filter_that_is_not_understood_is_said_and_never_reads_as_good_news() {
    let world = World::new().await;
    write(&world.tables, 2, &[]).await;
    let browser = world.signed_in("viewer").await;
    for (address, says) in [
        ("/dead-letters?code=invalid_pi", "did you mean &quot;invalid_ip&quot;?"),
        ("/dead-letters/list?stauts=open", "known here are code, field, status"),
        ("/dead-letters/list?after=soon", "is not the end of a page"),
        ("/dead-letters?since=1h&until=2h", "is not later than since"),
        ("/actions?letter=76ae", "64 hexadecimal digits"),
        ("/check?x=%3Cscript%3E", "is not known here"),
    ] {
        let page = browser.get(address).await;
        page.assert_says(400, &[says]);
        page.assert_silent(&["<script>"]);
        let beside = address.replacen('?', ".json?", 1);
        assert_eq!(browser.get(&beside).await.json()["error"], "not understood", "{beside}");
    }
    let none = browser.get("/dead-letters/list?code=invalid_ip").await;
    none.assert_says(200, &["No dead letter matches; 2 are open in all."]);
    browser
        .get("/dead-letters?code=invalid_ip")
        .await
        .assert_says(200, &["No dead letter matches; 2 others are open."]);
    let hash = "0".repeat(64);
    browser.get(&format!("/dead-letters/{hash}")).await.assert_says(404, &["No dead letter has the hash"]);
    world.end().await;
}

#[tokio::test]
async fn pages_of_letters_hold_each_letter_once_and_files_hold_all_of_them() {
    let world = World::new().await;
    write(&world.tables, 120, &[("code", "'invalid_ip'"), ("field", "'ip'")]).await;
    write(&world.tables, 3, &[("code", "'null_field'"), ("field", "'ip'")]).await;
    let browser = world.signed_in("viewer").await;
    let mut next = Some("/dead-letters/list.json?code=invalid_ip&sort=oldest".to_owned());
    let (mut seen, mut pages) = (Vec::new(), 0);
    while let Some(address) = next {
        let json = browser.get(&address).await.json();
        seen.extend(strings(&json["letters"], "hash").iter().map(|hash| (*hash).to_owned()));
        // The page itself holds the same letters.
        let page = browser.get(&address.replacen(".json", "", 1)).await;
        strings(&json["letters"], "hash").iter().for_each(|hash| page.assert_says(200, &[hash]));
        next = json["next"].as_str().map(str::to_owned);
        pages += 1;
    }
    assert_eq!((seen.len(), seen.iter().collect::<BTreeSet<_>>().len(), pages), (120, 120, 3));
    browser.get("/dead-letters/list?code=invalid_ip").await.assert_says(200, &["The newest 50 of 120"]);

    let csv = browser.get("/dead-letters/list.csv?code=invalid_ip").await;
    assert_eq!((csv.body.lines().count(), csv.header("turnstile-complete")), (121, Some("yes")));
    assert!(csv.body.starts_with("hash,queue,code,detail,field,place,message_id,"), "{}", csv.body);
    assert!(csv.header("content-disposition").unwrap().starts_with("attachment"));
    let ndjson = browser.get("/dead-letters/list.ndjson?status=all").await;
    let hashes: BTreeSet<String> = ndjson
        .body
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["hash"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(hashes.len(), 123);
    write(&world.tables, 10_000, &[("code", "'empty_body'")]).await;
    let many = browser.get("/dead-letters/list.csv").await;
    assert_eq!((many.body.lines().count(), many.header("turnstile-complete")), (10_001, Some("no")));
    browser.get("/dead-letters/list").await.assert_says(200, &["of 10,000+"]);
    browser.get("/dead-letters/all.json").await.assert_says(403, &["turnstile_operator"]);
    world.end().await;
}

#[tokio::test]
async fn a_message_is_found_where_it_is() {
    let world = World::new().await;
    world.tables.load_logins(&["loaded"]).await;
    world.tables.load_once_rejected(&["letter"]).await;
    let browser = world.signed_in("operator").await;
    let sql = "SELECT encode(message_hash, 'hex') FROM processed_messages WHERE message_id = 'loaded'";
    let hash: String = world.tables.client.query_one(sql, &[]).await.unwrap().get(0);
    let letter = world.hash("letter").await;
    for (message, says) in [
        ("loaded", "It is loaded: its row stands in user_logins."),
        (hash.as_str(), "It is loaded: its row stands in user_logins."),
        ("letter", "It is a dead letter."),
        (&letter, "It is a dead letter."),
        ("nobody", "It is not recorded"),
    ] {
        for sent in ["", "&sent=2026-03-01T23:00:00Z"] {
            browser.get(&format!("/audit?message={message}{sent}")).await.assert_says(200, &[says]);
        }
    }
    browser.get("/audit?message=loaded&sent=2026-04-01T00:00:00Z").await.assert_says(200, &["It is not recorded"]);
    let found = browser.get("/audit.json?message=loaded").await.json();
    assert_eq!(found["found"]["records"][0]["hash"], hash.as_str());
    let found = browser.get("/audit.json?message=letter").await.json();
    assert_eq!(found["found"]["letters"][0]["hash"], letter.as_str());
    world.end().await;
}

#[tokio::test]
async fn one_letter_tells_what_happened_to_it() {
    let world = World::new().await;
    world.tables.load_rejected(&[("b", "{\"ip\": \"203.0.113.7\" canary")]).await;
    let browser = world.signed_in("operator").await;
    let hash = world.hash("b").await;
    let (page, json) = (
        browser.get(&format!("/dead-letters/{hash}")).await,
        browser.get(&format!("/dead-letters/{hash}.json")).await.json(),
    );
    let letter = &json["letters"][0];
    for name in ["code", "message_id", "hash", "sealed_with"] {
        page.assert_says(200, &[letter[name].as_str().unwrap()]);
    }
    page.assert_says(200, &["2026-03-01 23:30:00Z", "Sent to the queue", "at byte 21", "under the key", "What to do"]);
    page.assert_discreet();
    assert_eq!((&letter["place"]["offset"], &json["may"]["resolve"]), (&21.into(), &true.into()));
    world.end().await;
}

#[tokio::test]
async fn outbox_actions_and_check_say_what_their_json_says() {
    let world = World::new().await;
    world.tables.load_logins(&["a", "b"]).await;
    let insert = "INSERT INTO relay_sinks (sink, target, cluster_id)
                  SELECT 'warehouse', 'sqs:loaded', system_identifier FROM pg_control_system()";
    world.tables.client.batch_execute(insert).await.unwrap();
    world.tables.load_once_rejected(&["c"]).await;
    let browser = world.signed_in("operator").await;
    let letter = format!("/dead-letters/{}/discard", world.hash("c").await);
    browser.post(&letter, &[("once", "1"), ("reason", "<b>bold</b>")]).await;

    let (page, json) = (browser.get("/outbox").await, browser.get("/outbox.json").await.json());
    page.assert_says(200, &["warehouse", "sqs:loaded", "2 events"]);
    assert_eq!((&json["sinks"][0]["sink"], &json["sinks"][0]["backlog"]["events"]), (&"warehouse".into(), &2.into()));
    let (page, json) = (browser.get("/actions").await, browser.get("/actions.json").await.json());
    page.assert_says(200, &["&lt;b&gt;bold&lt;/b&gt;", &world.roles.login("operator")]);
    assert_eq!(
        (&json["actions"][0]["reason"], &json["actions"][0]["action"]),
        (&"<b>bold</b>".into(), &"discarded".into())
    );
    browser.get("/actions?action=revealed").await.assert_says(200, &["Nothing was done, or nothing of this kind."]);
    let (page, json) = (browser.get("/check").await, browser.get("/check.json").await.json());
    for finding in json["findings"].as_array().unwrap() {
        assert_ne!(finding["level"], "error", "{finding}");
        page.assert_says(
            200,
            &[finding["what"].as_str().unwrap().replace('\'', "&#39;").replace("&#39;", "'").as_str()],
        );
    }
    world.end().await;
}
