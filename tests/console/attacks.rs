//! Who tries more than its role may, or what another has, gets nothing: by the forms that a page does not offer, with sessions that
//! are somebody else's, and with bodies that are too large.

use super::world::{Browser, FORM, OURS, World, form};

/// A path, the fields of its form, and the role whose act it is.
type FormOf = (&'static str, &'static [(&'static str, &'static str)], &'static str);

/// What each form of the console needs. `LETTER` stands for a letter.
const FORMS: &[FormOf] = &[
    ("/dead-letters/LETTER/discard", &[("reason", "an attack")], "operator"),
    ("/dead-letters/LETTER/reopen", &[("reason", "an attack")], "operator"),
    ("/dead-letters/LETTER/reveal", &[("reason", "an attack")], "revealer"),
    ("/dead-letters/LETTER/reveal", &[("reason", "an attack"), ("revision", "1")], "revealer"),
    ("/dead-letters/LETTER/judge", &[("body", "{}")], "revealer"),
    ("/dead-letters/all/discard", &[("reason", "an attack"), ("letters", "1")], "operator"),
    ("/dead-letters/all/reopen", &[("reason", "an attack"), ("letters", "1"), ("status", "discarded")], "operator"),
    ("/plans/draw", &[("letter", "LETTER")], "operator"),
    ("/plans/draw", &[], "operator"),
    ("/plans/1/run", &[("letters", "1")], "operator"),
    ("/plans/1/cancel", &[], "operator"),
    ("/loaders/pause", &[("of", "all"), ("reason", "an attack")], "operator"),
    ("/loaders/resume", &[("of", "all")], "operator"),
    ("/audit/run", &[], "auditor"),
];

/// Everything that an act could have changed.
const CHANGED: &str = "SELECT (SELECT count(*) FROM operator_actions), (SELECT count(*) FROM replay_plans),
                              (SELECT count(*) FROM user_logins), (SELECT count(*) FROM loader_pauses),
                              (SELECT count(*) FROM dead_letters WHERE status <> 'open')";

async fn changed(world: &World) -> [i64; 5] {
    let row = world.tables.client.query_one(CHANGED, &[]).await.unwrap();
    [0, 1, 2, 3, 4].map(|column| row.get(column))
}

#[tokio::test]
async fn no_role_does_by_a_form_what_another_may() {
    let world = World::new().await;
    world.tables.load_once_rejected(&["a"]).await;
    let letter = world.hash("a").await;
    let operator = world.signed_in("operator").await;
    operator.act("/plans/draw", &[("once", "plan"), ("letter", &letter)]).await.assert_says(200, &["Plan 1"]);
    let before = changed(&world).await;
    for kind in ["viewer", "operator", "revealer", "auditor"] {
        let browser = world.signed_in(kind).await;
        for (n, (path, fields, of)) in FORMS.iter().enumerate().filter(|(_, (_, _, of))| *of != kind) {
            let once = format!("{kind}{n}");
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.replace("LETTER", &letter))).collect();
            let mut filled: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            filled.push(("once", &once));
            let refused = browser.post(&path.replace("LETTER", &letter), &filled).await;
            assert_eq!(refused.status, 403, "{kind} at {path}, which is for {of}: {}", refused.body);
            refused.assert_discreet();
        }
    }
    assert_eq!(changed(&world).await, before);
    world.end().await;
}

#[tokio::test]
async fn a_session_that_an_attacker_has_chosen_is_nobody_s() {
    let world = World::new().await;
    let chosen = format!("turnstile={}", "A".repeat(43));
    let mut victim = Browser::at(world.address);
    victim.cookie = Some(chosen.clone());
    assert_eq!(victim.get("/").await.status, 303, "nobody has it");
    let entered = victim.sign_in(&world.roles.login("operator"), "sesame").await;
    assert_eq!(entered.status, 303, "{entered:?}");
    assert_ne!(victim.cookie, Some(chosen.clone()), "signing in makes another");
    let cookie = entered.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert_eq!(victim.get("/").await.status, 200);
    let mut attacker = Browser::at(world.address);
    attacker.cookie = Some(chosen);
    assert_eq!(attacker.get("/").await.status, 303, "the chosen one is nobody's still");
    // Nor does a session that is over become somebody's again by signing in with its cookie.
    let over = world.signed_in("viewer").await;
    over.post("/sign-out", &[]).await;
    let mut again = over.clone();
    again.sign_in(&world.roles.login("viewer"), "sesame").await;
    assert_ne!(again.cookie, over.cookie);
    assert_eq!(over.get("/").await.status, 303);
    world.end().await;
}

#[tokio::test]
async fn what_one_session_was_shown_no_other_is() {
    let world = World::new().await;
    world.tables.load_rejected(&[("b", "{\"ip\": \"203.0.113.7\" canary")]).await;
    let letter = format!("/dead-letters/{}", world.hash("b").await);
    let (one, other) = (world.signed_in("revealer").await, world.signed_in("revealer").await);
    let done = one.post(&format!("{letter}/reveal"), &[("once", "known"), ("reason", "a ticket")]).await;
    let shown = done.header("location").unwrap().to_owned();
    one.get(&shown).await.assert_says(200, &["canary"]);
    // The same role, the same address, another session.
    other.get(&shown).await.assert_silent(&["canary"]);
    // The name of a form that one has sent is free for the other, and shows nothing by itself.
    other.post(&format!("{letter}/reveal"), &[("once", "known")]).await;
    other.get(&shown).await.assert_silent(&["canary"]);
    one.post("/sign-out", &[]).await;
    one.get(&shown).await.assert_silent(&["canary"]);
    world.end().await;
}

#[tokio::test]
async fn a_form_that_is_too_large_is_read_by_no_route() {
    let world = World::new().await;
    let letter = "a".repeat(64);
    let operator = world.signed_in("operator").await;
    for (path, _, _) in FORMS {
        let path = path.replace("LETTER", &letter);
        let large = form(&[("once", "1"), ("reason", &"x".repeat(70 * 1024))]);
        assert_eq!(operator.send("POST", &path, &[OURS, FORM], &large).await.status, 413, "{path}");
    }
    world.end().await;
}
