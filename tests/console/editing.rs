//! Bodies that somebody types are judged without their values; what was made of a body is listed, and shown for a reason.

use serde_json::Value;

use super::world::{Browser, FORM, OURS, World, form};
use crate::support::wait_until;

/// A login whose version is no version, and whose address is nobody's business.
const BODY: &str = "{\"user_id\": \"u\", \"device_type\": \"ios\", \"ip\": \"203.0.113.7\", \"device_id\": \"canary-device\", \
                    \"locale\": \"en\", \"app_version\": \"canary\"}";

/// Somebody who may replay and reveal.
async fn both(world: &World) -> Browser {
    let grant = format!("GRANT {} TO {}", world.roles.name("operator"), world.roles.login("revealer"));
    world.tables.client.batch_execute(&grant).await.unwrap();
    world.signed_in("revealer").await
}

#[tokio::test]
async fn a_body_is_judged_by_the_decoder_of_the_loader_and_none_of_its_values_is_said() {
    let world = World::new().await;
    world.tables.load_rejected(&[("b", BODY)]).await;
    let path = format!("/dead-letters/{}/judge", world.hash("b").await);
    let grace = world.signed_in("revealer").await;
    let judged = async |body: &str| {
        let headers = [OURS, FORM, ("Turnstile-Fragment", "1")];
        let answer = grace.send("POST", &path, &headers, &form(&[("body", body)])).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(!answer.body.contains("<html"), "a fragment: {answer:?}");
        answer.assert_silent(&["canary", "203.0.113.7"]);
        answer.body
    };
    let wrong = judged(BODY).await;
    assert!(
        wrong.contains("invalid_version") && wrong.contains("/app_version") && wrong.contains("at byte"),
        "{wrong}"
    );
    let at = BODY.find("canary\"}").unwrap();
    assert!(wrong.contains(&format!("at byte {}", at - 1)) || wrong.contains(&format!("at byte {at}")), "{wrong}");
    assert!(judged(&BODY.replace("\"canary\"", "\"2.3.0\"")).await.contains("a login"));
    assert!(judged("{\"canary").await.contains("truncated_json"));
    assert!(judged("").await.contains("empty_body"));
    // The loader says the same of the letter that it has buried.
    let listed = grace.get("/dead-letters/list.json?status=all").await.json();
    assert_eq!(listed["letters"][0]["code"], "invalid_version", "{listed}");
    assert_eq!(world.tables.count("operator_actions").await, 0, "nothing is read, and nothing done");
    world.end().await;
}

#[tokio::test]
async fn only_who_may_reveal_judges_and_only_from_a_page_of_the_console() {
    let world = World::new().await;
    world.tables.load_rejected(&[("b", BODY)]).await;
    let letter = format!("/dead-letters/{}", world.hash("b").await);
    let path = format!("{letter}/judge");
    for kind in ["viewer", "operator", "auditor"] {
        let browser = world.signed_in(kind).await;
        assert_eq!(browser.post(&path, &[("body", "{}")]).await.status, 403, "{kind}");
        browser.get(&letter).await.assert_silent(&["/judge"]);
    }
    let grace = world.signed_in("revealer").await;
    let fields = form(&[("body", "{}")]);
    for headers in [&[FORM][..], &[FORM, ("Sec-Fetch-Site", "cross-site")], &[FORM, ("Origin", "http://evil.example")]]
    {
        assert_eq!(grace.send("POST", &path, headers, &fields).await.status, 403, "{headers:?}");
    }
    let large = form(&[("body", &"x".repeat(70 * 1024))]);
    assert_eq!(grace.send("POST", &path, &[OURS, FORM], &large).await.status, 413);
    assert_eq!(
        Browser::at(world.address).post(&path, &[("body", "{}")]).await.status,
        303,
        "nobody is asked to sign in"
    );
    assert_eq!(grace.post("/dead-letters/76ae/judge", &[("body", "{}")]).await.status, 404);
    world.end().await;
}

#[tokio::test]
async fn without_script_a_page_judges_and_keeps_what_was_typed() {
    let world = World::new().await;
    world.tables.load_rejected(&[("b", BODY)]).await;
    let letter = format!("/dead-letters/{}", world.hash("b").await);
    let grace = both(&world).await;
    let page = grace.get(&letter).await;
    page.assert_says(200, &[&format!("formaction=\"{letter}/judge\""), "data-judge"]);
    let typed = "{\"a\": 1,\r\n  \"b\": \"<&>\"}";
    let judged = grace.post(&format!("{letter}/judge"), &[("once", "1"), ("body", typed)]).await;
    judged.assert_says(
        200,
        &["missing_field", "{&quot;a&quot;: 1,\n  &quot;b&quot;: &quot;&lt;&amp;&gt;&quot;}", "Draw up a plan"],
    );
    assert_eq!(judged.header("cache-control"), Some("no-store"));
    assert_eq!(world.tables.count("replay_plans").await, 0);
    world.end().await;
}

#[tokio::test]
async fn a_body_is_revealed_edited_replayed_and_what_was_made_of_it_is_listed_and_shown_for_a_reason() {
    let world = World::new().await;
    world.tables.load_rejected(&[("b", BODY)]).await;
    let letter = format!("/dead-letters/{}", world.hash("b").await);
    let grace = both(&world).await;
    let reveal = format!("{letter}/reveal");
    let shown = grace.act(&reveal, &[("once", "1"), ("reason", "ticket 1")]).await;
    shown.assert_says(200, &["Edit it", "id=\"edit-body\"", "canary-device"]);

    let mended = BODY.replace("\"canary\"", "\"2.3.0\"");
    let fields =
        [("once", "2"), ("letter", &letter["/dead-letters/".len()..]), ("body", &mended), ("reason", "mended")];
    grace.act("/plans/draw", &fields).await.assert_says(200, &["replace the whole body", "Plan 1"]);
    let page = grace.get(&letter).await;
    page.assert_says(200, &["Edited bodies", "all of it", "not yet", "as edited in plan 1", "mended"]);
    page.assert_discreet();
    let json = grace.get(&format!("{letter}.json")).await.json();
    let revision = &json["letters"][0]["revisions"][0];
    assert_eq!(
        (&revision["plan"], &revision["reason"], &revision["paths"][0]),
        (&1.into(), &"mended".into(), &"".into())
    );
    assert_eq!(revision["tried_at"], Value::Null);

    let edited = grace.act(&reveal, &[("once", "3"), ("reason", "ticket 2"), ("revision", "1")]).await;
    edited.assert_says(200, &["The body", "2.3.0"]);
    for (once, revision) in [("4", "7"), ("5", "x")] {
        let none = grace.act(&reveal, &[("once", once), ("reason", "ticket 3"), ("revision", revision)]).await;
        none.assert_says(200, &["Nothing was done"]);
    }
    let unreasoned = grace.act(&reveal, &[("once", "6"), ("revision", "1")]).await;
    unreasoned.assert_says(200, &["Nothing was done: say why"]);
    assert_eq!(world.tables.count("operator_actions WHERE action = 'revealed'").await, 2);
    grace.get("/actions?action=revealed").await.assert_says(200, &["ticket 1", "ticket 2"]);

    grace.act("/plans/1/run", &[("once", "7")]).await.assert_says(200, &["The plan is running"]);
    wait_until("it is loaded", async || world.tables.count("user_logins").await == 1).await;
    wait_until("it is done", async || grace.get("/plans/1.json").await.json()["state"] == "done").await;
    let again = grace.act("/plans/1/run", &[("once", "8")]).await;
    again.assert_says(200, &["has been run to its end already", "as foreseen"]);
    grace.get(&letter).await.assert_silent(&["not yet"]);
    world.tables.assert_promise().await;
    world.end().await;
}
