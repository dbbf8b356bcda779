//! What the grants refuse, the page does not offer and the server does not do.

use super::world::{Answer, World};

/// What a role can see and do.
struct Expected {
    kind: &'static str,
    lists: bool,
    outbox: bool,
    resolves: bool,
    reveals: bool,
    audits: bool,
}

const EXPECTED: [Expected; 4] = [
    Expected { kind: "viewer", lists: true, outbox: true, resolves: false, reveals: false, audits: false },
    Expected { kind: "operator", lists: true, outbox: true, resolves: true, reveals: false, audits: false },
    Expected { kind: "revealer", lists: true, outbox: false, resolves: false, reveals: true, audits: false },
    Expected { kind: "auditor", lists: false, outbox: false, resolves: false, reveals: false, audits: true },
];

fn status(allowed: bool) -> u16 {
    if allowed { 200 } else { 403 }
}

#[tokio::test]
async fn each_role_sees_and_does_what_its_grants_say() {
    let world = World::new().await;
    world.tables.load_once_rejected(&["a"]).await;
    let letter = format!("/dead-letters/{}", world.hash("a").await);
    for Expected { kind, lists, outbox, resolves, reveals, audits } in EXPECTED {
        let browser = world.signed_in(kind).await;
        for path in
            ["/", "/dead-letters", "/dead-letters/list", "/actions", &letter, "/now.json", "/dead-letters/list.csv"]
        {
            let page = browser.get(path).await;
            assert_eq!(page.status, status(lists), "{kind} {path}: {}", page.body);
            page.assert_discreet();
        }
        assert_eq!(browser.get("/outbox").await.status, status(outbox), "{kind}");
        assert_eq!(browser.get("/dead-letters/all").await.status, status(resolves), "{kind}");
        for path in ["/audit", "/check"] {
            assert_eq!(browser.get(path).await.status, 200, "{kind} {path}");
        }
        let offers = |page: &Answer, action: &str| page.body.contains(&format!("action=\"{action}\""));
        let page = browser.get(&letter).await;
        assert_eq!(offers(&page, &format!("{letter}/discard")), resolves, "{kind}");
        assert_eq!(offers(&page, &format!("{letter}/reveal")), reveals, "{kind}");
        assert_eq!(offers(&browser.get("/audit").await, "/audit/run"), audits, "{kind}");
        let fields = [("once", "1"), ("reason", "to see whether it may")];
        for (act, may) in [("discard", resolves), ("reopen", resolves), ("reveal", reveals)] {
            let done = browser.post(&format!("{letter}/{act}"), &[&[("once", act)], &fields[1..]].concat()).await;
            assert_eq!(done.status, if may { 303 } else { 403 }, "{kind} {act}: {}", done.body);
        }
        let all = [&fields[..], &[("letters", "1")]].concat();
        let done =
            browser.post("/dead-letters/all/discard", &[&all[..], &[("code", "invalid_version")]].concat()).await;
        assert_eq!(done.status, if resolves { 303 } else { 403 }, "{kind}: {}", done.body);
        let audit = browser.post("/audit/run", &[("once", "audit")]).await;
        assert_eq!(audit.status, if audits { 303 } else { 403 }, "{kind}: {}", audit.body);
        if resolves {
            let again =
                browser.post(&format!("{letter}/reopen"), &[("once", "again"), ("reason", "for the next")]).await;
            assert_eq!(again.status, 303);
        }
        if kind == "viewer" {
            assert_eq!(world.tables.count("operator_actions").await, 0, "a viewer has done nothing");
        }
    }
    world.end().await;
}

#[tokio::test]
async fn a_privilege_that_is_taken_away_is_gone_at_once() {
    let world = World::new().await;
    world.tables.load_once_rejected(&["a"]).await;
    let browser = world.signed_in("operator").await;
    let letter = format!("/dead-letters/{}", world.hash("a").await);
    assert!(browser.get(&letter).await.body.contains("Discard"));
    let role = world.roles.name("operator");
    let revoke = format!("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA turnstile FROM {role}");
    world.tables.client.batch_execute(&revoke).await.unwrap();
    let refused = browser.post(&format!("{letter}/discard"), &[("once", "1"), ("reason", "a test")]).await;
    refused.assert_says(403, &["Not for this role"]);
    assert_eq!(world.tables.count("dead_letters WHERE status = 'open'").await, 1);
    world.end().await;
}

#[tokio::test]
async fn who_may_not_log_in_any_more_is_signed_out() {
    let world = World::new().await;
    let browser = world.signed_in("viewer").await;
    let login = world.roles.login("viewer");
    let end = format!(
        "ALTER ROLE {login} PASSWORD 'another';
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{login}'"
    );
    world.tables.client.batch_execute(&end).await.unwrap();
    crate::support::wait_until("it is signed out", async || {
        browser.get("/dead-letters").await.header("location") == Some("/sign-in?next=/dead-letters")
    })
    .await;
    world.end().await;
}
