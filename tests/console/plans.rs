//! Replays are drawn up, looked at and run from pages, and bodies are edited on the way.

use super::world::{Browser, World};
use crate::support::verdicts::login;
use crate::support::wait_until;

async fn logins(world: &World) -> i64 {
    world.tables.count("user_logins").await
}

async fn is_done(browser: &Browser, plan: &str) {
    wait_until("the plan is done", async || browser.get(&format!("{plan}.json")).await.json()["state"] == "done").await;
}

#[tokio::test]
async fn all_that_match_are_replayed_by_a_plan_that_is_looked_at_before() {
    let world = World::new().await;
    world.tables.load_once_rejected(&["a", "b"]).await;
    world.tables.load_rejected(&[("bad", "[1]")]).await;
    let browser = world.signed_in("operator").await;
    browser.get("/dead-letters/list").await.assert_says(200, &["Replay, send back or discard all that match"]);
    browser.get("/dead-letters/all").await.assert_says(200, &["/plans/draw", "Draw up a plan"]);
    browser.get("/plans").await.assert_says(200, &["No replay was ever drawn up."]);

    let drawn = browser.act("/plans/draw", &[("once", "p1"), ("reason", "the rule is gone")]).await;
    let said =
        ["The plan is drawn up. Nothing is changed yet", "Plan 1", "replayed", "open: array_body", "/plans/1/run"];
    drawn.assert_says(200, &said);
    drawn.assert_discreet();
    assert_eq!(logins(&world).await, 0);
    browser.act("/plans/draw", &[("once", "p1"), ("reason", "the rule is gone")]).await.assert_says(200, &["Plan 1"]);
    assert_eq!(world.tables.count("replay_plans").await, 1, "a form that is sent twice draws one plan up");

    for typed in ["", "2", "many"] {
        let refused = browser.act("/plans/1/run", &[("once", &format!("r{typed}")), ("letters", typed)]).await;
        refused.assert_says(200, &["Nothing was done: type 3"]);
    }
    assert_eq!(logins(&world).await, 0);
    browser.act("/plans/1/run", &[("once", "run"), ("letters", "3")]).await.assert_says(200, &["The plan is running"]);
    is_done(&browser, "/plans/1").await;
    assert_eq!(logins(&world).await, 2);
    let shown = browser.get("/plans/1").await;
    shown.assert_says(200, &["as foreseen", "the rule is gone"]);
    shown.assert_silent(&["/plans/1/run\"", "nothing yet"]);
    let role = world.roles.login("operator");
    let noted = format!(
        "operator_actions WHERE action = 'replayed' AND role = '{role}' AND plan = 1 AND reason = 'the rule is gone'"
    );
    assert_eq!(world.tables.count(&noted).await, 2);
    browser.get("/plans").await.assert_says(200, &["Plan 1", "3 of 3", "done"]);
    browser.get("/dead-letters").await.assert_says(200, &["2 of 2", "0 of 1"]);
    world.tables.assert_promise().await;
    world.end().await;
}

#[tokio::test]
async fn one_letter_is_edited_looked_at_and_replayed() {
    let world = World::new().await;
    let body = login("a", "ios").replace("2.3.1", "two point three");
    world.tables.load_rejected(&[("a", &body)]).await;
    let (letter, browser) = (world.hash("a").await, world.signed_in("operator").await);
    browser.get(&format!("/dead-letters/{letter}")).await.assert_says(200, &["Change the body before", "/plans/draw"]);
    let draw = async |once: &str, more: &[(&str, &str)]| {
        let fields: Vec<(&str, &str)> =
            [("once", once), ("letter", &letter)].into_iter().chain(more.iter().copied()).collect();
        browser.act("/plans/draw", &fields).await
    };
    let set = [("set-place", "/app_version"), ("set-value", "\"2.3.0\"")];
    draw("1", &set).await.assert_says(200, &["Nothing was done: say why"]);
    let unfit = draw("2", &[("set-place", "/app_version"), ("set-value", "2.3.0"), ("reason", "x")]).await;
    unfit.assert_says(200, &["Nothing was done: a value is JSON"]);
    assert_eq!(world.tables.count("replay_plans").await, 0);
    draw("3", &[("remove", "/user_id"), ("reason", "a try")])
        .await
        .assert_says(200, &["open: missing_field", "/user_id"]);

    let drawn = draw("4", &[set[0], set[1], ("reason", "the app wrote words")]).await;
    drawn.assert_says(200, &["set /app_version", "the app wrote words", "Plan 2"]);
    drawn.assert_discreet();
    browser.act("/plans/2/run", &[("once", "5")]).await.assert_says(200, &["The plan is running"]);
    is_done(&browser, "/plans/2").await;
    assert_eq!(logins(&world).await, 1);
    assert_eq!(world.tables.count("dead_letter_revisions WHERE plan = 2 AND paths = '{/app_version}'").await, 1);
    world.tables.assert_promise().await;
    world.end().await;
}

#[tokio::test]
async fn a_plan_is_cancelled_and_not_run_afterwards() {
    let world = World::new().await;
    world.tables.load_once_rejected(&["a"]).await;
    let browser = world.signed_in("operator").await;
    browser.act("/plans/draw", &[("once", "1")]).await.assert_says(200, &["Plan 1"]);
    browser.act("/plans/1/cancel", &[("once", "2")]).await.assert_says(200, &["The plan is cancelled.", "cancelled"]);
    browser
        .act("/plans/1/run", &[("once", "3"), ("letters", "1")])
        .await
        .assert_says(200, &["Nothing was done: the plan is cancelled"]);
    assert_eq!(logins(&world).await, 0);
    assert_eq!(browser.post("/plans/7/run", &[("once", "4")]).await.status, 404);
    world.end().await;
}

#[tokio::test]
async fn who_may_not_replay_sees_plans_and_is_offered_nothing() {
    let world = World::new().await;
    world.tables.load_once_rejected(&["a"]).await;
    let operator = world.signed_in("operator").await;
    operator.act("/plans/draw", &[("once", "1")]).await.assert_says(200, &["Plan 1"]);
    for kind in ["viewer", "revealer"] {
        let other = world.signed_in(kind).await;
        let page = other.get("/plans/1").await;
        page.assert_says(200, &["Plan 1", "replayed"]);
        page.assert_silent(&["/plans/1/run", "/plans/1/cancel"]);
        let letter = other.get(&format!("/dead-letters/{}", world.hash("a").await)).await;
        letter.assert_silent(&["/plans/draw"]);
        for (path, fields) in
            [("/plans/draw", &[("once", "x")][..]), ("/plans/1/run", &[("once", "y"), ("letters", "1")])]
        {
            assert_eq!(other.post(path, fields).await.status, 403, "{kind} {path}");
        }
    }
    assert_eq!((logins(&world).await, world.tables.count("replay_plans").await), (0, 1));
    world.end().await;
}

#[tokio::test]
async fn without_a_keyring_nothing_is_replayed() {
    let world = World::with(false, |settings| settings).await;
    world.tables.load_once_rejected(&["a"]).await;
    let browser = world.signed_in("operator").await;
    browser.get(&format!("/dead-letters/{}", world.hash("a").await)).await.assert_silent(&["/plans/draw"]);
    browser.act("/plans/draw", &[("once", "1")]).await.assert_says(200, &["no keyring"]);
    assert_eq!(world.tables.count("replay_plans").await, 0);
    world.end().await;
}
