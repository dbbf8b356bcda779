//! What is done from a page is done once, for a reason, and noted by the database.

use std::time::Duration;

use turnstile::console::ConsoleSettings;

use super::world::{Browser, World};
use crate::support::tables::PRIVATE;
use crate::support::wait_until;

/// A body that is not a login and holds what nobody may see.
const BODY: &str = "{\"ip\": \"203.0.113.7\" canary";

async fn noted(world: &World, action: &str) -> i64 {
    world.tables.count(&format!("operator_actions WHERE action = '{action}'")).await
}

#[tokio::test]
async fn a_body_is_shown_for_a_reason_to_who_may_see_it_and_to_nobody_else() {
    let world = World::new().await;
    world.tables.load_rejected(&[("b", BODY)]).await;
    let letter = format!("/dead-letters/{}", world.hash("b").await);
    let (grace, other) = (world.signed_in("revealer").await, world.signed_in("revealer").await);
    for path in
        ["/", "/dead-letters", "/dead-letters/list", "/dead-letters/list.json", "/dead-letters/list.csv", &letter]
    {
        grace.get(path).await.assert_discreet();
    }
    let reveal = format!("{letter}/reveal");
    for (once, reason) in [("x", ""), ("y", "   "), ("z", "a\u{7}b")] {
        let page = grace.act(&reveal, &[("once", once), ("reason", reason)]).await;
        page.assert_says(200, &["Nothing was done: say why"]);
        page.assert_discreet();
    }
    assert_eq!(noted(&world, "revealed").await, 0);

    let fields = [("once", "r1"), ("reason", "ticket 4711")];
    let page = grace.act(&reveal, &fields).await;
    page.assert_says(200, &["203.0.113.7", "canary", "That it was revealed is noted"]);
    let told = "operator_actions WHERE action = 'revealed' AND reason = 'ticket 4711' AND person IS NULL";
    let role = world.roles.login("revealer");
    assert_eq!(world.tables.count(&format!("{told} AND role = '{role}'")).await, 1);

    // Sent again, as by a page that is loaded anew: it is shown, and noted once.
    grace.act(&reveal, &fields).await.assert_says(200, &["canary"]);
    assert_eq!(noted(&world, "revealed").await, 1);
    let told = format!("{letter}?told=r1");
    other.get(&told).await.assert_discreet();
    grace.get(&letter).await.assert_discreet();
    grace.get(&format!("{letter}.json?told=r1")).await.assert_discreet();
    grace.get("/actions").await.assert_says(200, &["ticket 4711", "revealed"]);
    let (_, fragment) = grace.first_event(&letter).await;
    PRIVATE.iter().for_each(|private| assert!(!fragment.contains(private), "{fragment}"));
    world.end().await;
}

#[tokio::test]
async fn without_a_keyring_bodies_stay_sealed() {
    let world = World::with(false, |settings: ConsoleSettings| settings).await;
    world.tables.load_rejected(&[("b", BODY)]).await;
    let letter = format!("/dead-letters/{}", world.hash("b").await);
    let grace = world.signed_in("revealer").await;
    let page = grace.get(&letter).await;
    page.assert_says(200, &["This console has no keyring"]);
    page.assert_silent(&["/reveal\""]);
    let page = grace.act(&format!("{letter}/reveal"), &[("once", "1"), ("reason", "ticket 4711")]).await;
    page.assert_says(200, &["no keyring"]);
    assert_eq!(noted(&world, "revealed").await, 0, "what cannot be opened is not read");
    world.end().await;
}

#[tokio::test]
async fn a_letter_is_discarded_and_opened_again_each_once_however_often_the_form_is_sent() {
    let world = World::new().await;
    world.tables.load_once_rejected(&["a"]).await;
    let letter = format!("/dead-letters/{}", world.hash("a").await);
    let browser = world.signed_in("operator").await;
    let fields = [("once", "d1"), ("reason", "a test of ours")];
    let discard = format!("{letter}/discard");
    let (one, two) = tokio::join!(browser.act(&discard, &fields), browser.act(&discard, &fields));
    for page in [one, two, browser.act(&discard, &fields).await] {
        page.assert_says(200, &["The letter is discarded.", "a test of ours", &format!("{letter}/reopen")]);
        page.assert_silent(&["Nothing was done"]);
    }
    assert_eq!(noted(&world, "discarded").await, 1);
    let page = browser.act(&discard, &[("once", "d2"), ("reason", "again")]).await;
    page.assert_says(200, &["Nothing was done: the letter is not open any more."]);
    let page = browser.act(&format!("{letter}/reopen"), &[("once", "r1"), ("reason", "it was no test")]).await;
    page.assert_says(200, &["The letter is open again."]);
    let role = world.roles.login("operator");
    let open = format!("operator_actions WHERE action = 'reopened' AND role = '{role}' AND reason = 'it was no test'");
    assert_eq!(world.tables.count(&open).await, 1);
    for once in ["", "a b", &"x".repeat(65)] {
        let refused = browser.post(&discard, &[("once", once), ("reason", "a test")]).await;
        assert_eq!(refused.status, 404, "{}", refused.body);
    }
    world.tables.assert_promise().await;
    world.end().await;
}

/// The hidden fields of the form of a page that leads there.
pub(super) fn hidden(page: &str, action: &str) -> Vec<(String, String)> {
    let action = format!("action=\"{action}\"");
    let main = page.split("<form ").find(|form| form.contains(&action)).expect("a form");
    let inputs = main.split("<input type=\"hidden\" name=\"").skip(1);
    let field = |input: &str| {
        let (name, rest) = input.split_once("\" value=\"").unwrap();
        (name.to_owned(), rest.split('"').next().unwrap().to_owned())
    };
    inputs.map(field).collect()
}

async fn send_all(browser: &Browser, page: &str, more: &[(&str, &str)]) -> super::world::Answer {
    let action = "/dead-letters/all/discard";
    let hidden = hidden(page, action);
    let fields: Vec<(&str, &str)> =
        hidden.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(more.iter().copied()).collect();
    browser.act(action, &fields).await
}

#[tokio::test]
async fn all_that_match_are_discarded_if_their_number_is_typed_and_no_others() {
    let world = World::new().await;
    world.tables.load_once_rejected(&["a", "b", "c"]).await;
    world.tables.load_rejected(&[("other", BODY)]).await;
    let browser = world.signed_in("operator").await;
    let page = browser.get("/dead-letters/all?code=invalid_version").await;
    page.assert_says(200, &["All that match", "Type the number of letters: <strong>3</strong>"]);
    let reason = ("reason", "the old app");
    for (typed, says) in [("2", "3 letters match, and 2 was typed"), ("", "was not typed"), ("all", "was not typed")] {
        let again = browser.get("/dead-letters/all?code=invalid_version").await;
        send_all(&browser, &again.body, &[reason, ("letters", typed)]).await.assert_says(200, &[says]);
    }
    assert_eq!(noted(&world, "discarded").await, 0);
    // What comes after the page was shown is not meant.
    world.tables.load_once_rejected(&["later"]).await;
    let done = send_all(&browser, &page.body, &[reason, ("letters", "3")]).await;
    done.assert_says(200, &["3 letters are discarded."]);
    let told = "operator_actions WHERE action = 'discarded' AND reason = 'the old app'";
    assert_eq!((world.tables.count(told).await, noted(&world, "discarded").await), (3, 3));
    let open = "dead_letters WHERE status = 'open' AND message_id IN ('later', 'other')";
    assert_eq!(world.tables.count(open).await, 2);
    browser.get("/dead-letters/all?status=replayed").await.assert_says(200, &["choose one of the two"]);
    world.tables.assert_promise().await;
    world.end().await;
}

#[tokio::test]
async fn an_audit_runs_from_a_page_and_tells_what_it_found() {
    let world =
        World::with(true, |settings| ConsoleSettings { audit_deadline: Duration::from_secs(60), ..settings }).await;
    world.tables.load_logins(&["a", "b"]).await;
    world.tables.load_rejected(&[("c", BODY)]).await;
    let (auditor, viewer) = (world.signed_in("auditor").await, world.signed_in("viewer").await);
    let run = async |once: &str, came_to: &str| {
        auditor.act("/audit/run", &[("once", once)]).await.assert_says(200, &["The audit has begun."]);
        let came = async || auditor.get("/audit.json").await.json()["audits"][0]["state"] == came_to;
        wait_until(&format!("the audit {came_to}"), came).await;
    };
    run("1", "holds").await;
    auditor.get("/audit").await.assert_says(200, &["The promise holds", "2 loaded, 1 dead-lettered, 0 absorbed"]);
    viewer.get("/").await.assert_says(200, &["holds"]);
    world.tables.client.batch_execute("DELETE FROM user_logins WHERE user_id = 'a'").await.unwrap();
    run("2", "broken").await;
    let page = auditor.get("/audit").await;
    page.assert_says(200, &["The promise is broken: 1 of", "loaded_without_row", "href=\"/audit?message="]);
    viewer.get("/audit").await.assert_silent(&["/audit?message="]);
    let now = viewer.get("/").await;
    now.assert_says(200, &["The promise is broken", "<title>The promise is broken · Turnstile</title>"]);
    assert_eq!(auditor.get("/audit.json").await.json()["audits"].as_array().map(Vec::len), Some(2));
    world.end().await;
}

#[tokio::test]
async fn a_note_stands_beside_the_letters_of_its_code() {
    let world = World::new().await;
    world.tables.load_once_rejected(&["a"]).await;
    let (ada, vera) = (world.signed_in("operator").await, world.signed_in("viewer").await);
    ada.get("/dead-letters").await.assert_says(200, &["action=\"/dead-letters/notes\""]);
    vera.get("/dead-letters").await.assert_silent(&["/dead-letters/notes"]);
    let fields = [("once", "n1"), ("code", "invalid_version"), ("reason", "ticket <4711>")];
    for _ in 0..2 {
        let page = ada.act("/dead-letters/notes", &fields).await;
        page.assert_says(200, &["The note stands beside the letters of invalid_version.", "ticket &lt;4711&gt;"]);
    }
    assert_eq!(noted(&world, "noted").await, 1);
    vera.get("/dead-letters").await.assert_says(200, &["ticket &lt;4711&gt;", &world.roles.login("operator")]);
    vera.get("/actions").await.assert_says(200, &["noted", "invalid_version", "ticket &lt;4711&gt;"]);
    assert_eq!(vera.get("/dead-letters.json").await.json()["groups"][0]["note"], "ticket <4711>");
    assert_eq!(vera.post("/dead-letters/notes", &fields).await.status, 403);
    for (once, code, reason, status) in [("n2", "invalid_version", " ", 303), ("n3", "no_code", "ticket 4711", 404)] {
        let refused = ada.post("/dead-letters/notes", &[("once", once), ("code", code), ("reason", reason)]).await;
        assert_eq!(refused.status, status, "{}", refused.body);
    }
    assert_eq!(noted(&world, "noted").await, 1);
    world.end().await;
}
