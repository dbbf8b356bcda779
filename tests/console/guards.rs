//! What the console refuses, and what it tells every browser.

use std::time::Duration;

use turnstile::console::{ConsoleSettings, SignIn};

use super::world::{Browser, FORM, OURS, World, form};
use crate::support::tables::Tables;
use crate::support::wait_until;

/// Every page, by its address.
async fn addresses(world: &World) -> Vec<String> {
    let hash = world.hash("a").await;
    ["/", "/dead-letters", "/dead-letters/list", "/dead-letters/all", "/outbox", "/actions", "/audit", "/check"]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("/dead-letters/{hash}")])
        .collect()
}

#[tokio::test]
async fn every_answer_says_what_the_browser_may_do_and_none_that_holds_data_is_kept() {
    let world = World::new().await;
    world.tables.load_once_rejected(&["a"]).await;
    let browser = world.signed_in("operator").await;
    let nobody = Browser::at(world.address);
    let mut answers = vec![
        nobody.get("/").await,
        nobody.get("/sign-in").await,
        nobody.get("/check.json").await,
        browser.get("/nothing").await,
        browser.get("/dead-letters?code=x").await,
        browser.get("/dead-letters/list.csv").await,
        browser.send("POST", "/sign-out", &[], "").await,
    ];
    for address in addresses(&world).await {
        let beside = if address == "/" { "/now.json".to_owned() } else { format!("{address}.json") };
        answers.extend([browser.get(&address).await, browser.get(&beside).await]);
    }
    for answer in &answers {
        for (name, value) in [
            (
                "content-security-policy",
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                 form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
            ),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{answer:?}");
        }
        answer.assert_silent(&["style=\"", "onclick", "<style", "javascript:"]);
    }
    let page = browser.get("/").await;
    let assets: Vec<&str> = page.body.split('"').filter(|text| text.starts_with("/assets/")).collect();
    assert_eq!(assets.len(), 3, "{assets:?}");
    for asset in assets {
        let given = nobody.get(asset).await;
        assert_eq!((given.status, given.header("cache-control")), (200, Some("public, max-age=31536000, immutable")));
        assert_eq!(given.header("x-content-type-options"), Some("nosniff"));
    }
    assert_eq!(nobody.get("/assets/console.css").await.status, 404);
    world.end().await;
}

#[tokio::test]
async fn nothing_is_changed_but_by_a_page_of_the_console() {
    let world = World::new().await;
    world.tables.load_once_rejected(&["a"]).await;
    let browser = world.signed_in("operator").await;
    let path = format!("/dead-letters/{}/discard", world.hash("a").await);
    let fields = form(&[("once", "1"), ("reason", "a test")]);
    let (host, elsewhere) = (format!("http://{}", world.address), "http://evil.example");
    for headers in [
        &[FORM][..],
        &[FORM, ("Sec-Fetch-Site", "cross-site")],
        &[FORM, ("Sec-Fetch-Site", "same-site")],
        &[FORM, ("Sec-Fetch-Site", "none")],
        &[FORM, ("Sec-Fetch-Site", "cross-site"), ("Origin", &host)],
        &[FORM, ("Origin", elsewhere)],
        &[FORM, ("Origin", "null")],
        &[FORM, OURS, ("Host", "evil.example")],
    ] {
        let refused = browser.send("POST", &path, headers, &fields).await;
        refused.assert_says(403, &[]);
        let refused = Browser::at(world.address).send("POST", "/sign-in", headers, "role=a&password=b").await;
        refused.assert_says(403, &[]);
    }
    assert_eq!(world.tables.count("operator_actions").await, 0);
    // Nor may another website read by a name of its own that leads here.
    browser.send("GET", "/", &[("Host", "evil.example")], "").await.assert_says(403, &["this machine"]);
    let by_origin = browser.send("POST", &path, &[FORM, ("Origin", &host)], &fields).await;
    assert_eq!(by_origin.status, 303, "{}", by_origin.body);
    assert_eq!(world.tables.count("operator_actions WHERE action = 'discarded'").await, 1);
    for path in ["/sign-out", "/audit/run", "/"] {
        assert!([403, 405].contains(&browser.send("PUT", path, &[OURS], "").await.status));
    }
    world.end().await;
}

#[tokio::test]
async fn a_session_ends_when_somebody_signs_out_and_when_nobody_uses_it() {
    let idle = Duration::from_millis(1_500);
    let world = World::with(true, |settings| ConsoleSettings { idle, ..settings }).await;
    let (one, other) = (world.signed_in("viewer").await, world.signed_in("viewer").await);
    assert_ne!(one.cookie, other.cookie);
    let cookie = one.cookie.clone().unwrap();
    assert!(cookie.starts_with("turnstile=") && cookie.len() >= "turnstile=".len() + 43, "{cookie}");

    let left = one.post("/sign-out", &[]).await;
    assert_eq!((left.status, left.header("location")), (303, Some("/sign-in")));
    assert!(left.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(one.get("/").await.header("location"), Some("/sign-in"), "the cookie is worth nothing any more");
    assert_eq!(one.get("/check.json").await.status, 401);
    assert_eq!(other.get("/").await.status, 200);

    // A page that keeps itself up to date is nobody at work.
    let (name, data) = other.first_event("/dead-letters").await;
    assert!(name == "fragment" && data.contains("There is no dead letter"), "{name} {data}");
    wait_until("the session ends, whatever its pages ask", async || other.first_event("/").await.0 == "over").await;
    assert_eq!(other.get("/outbox?").await.header("location"), Some("/sign-in?next=/outbox"));
    world.end().await;

    let lasts = Duration::from_millis(1_500);
    let world = World::with(true, |settings| ConsoleSettings { lasts, ..settings }).await;
    let busy = world.signed_in("viewer").await;
    wait_until("the session ends, however busy it is", async || busy.get("/").await.status == 303).await;
    world.end().await;
}

#[tokio::test]
async fn a_link_from_elsewhere_asks_again_with_the_cookie_that_the_browser_kept_back() {
    let world = World::new().await;
    let nobody = Browser::at(world.address);
    let path = "/dead-letters?code=invalid_ip";
    let first = nobody.send("GET", path, &[("Sec-Fetch-Site", "cross-site")], "").await;
    first.assert_says(200, &["http-equiv=\"refresh\"", "0; url=/dead-letters?code=invalid_ip"]);
    let again = nobody.send("GET", path, &[OURS], "").await;
    assert_eq!(again.header("location"), Some("/sign-in?next=/dead-letters%3Fcode%3Dinvalid_ip"));

    let role = world.roles.login("viewer");
    for (next, leads) in [(path, path), ("//evil.example/", "/"), ("https://evil.example", "/"), ("/sign-out", "/")] {
        let fields = [("role", role.as_str()), ("password", "sesame"), ("next", next)];
        assert_eq!(nobody.post("/sign-in", &fields).await.header("location"), Some(leads));
    }
    world.end().await;
}

#[tokio::test]
async fn a_password_can_be_tried_a_few_times_and_a_role_must_be_one_of_turnstile() {
    let world = World::new().await;
    let (mut browser, role) = (Browser::at(world.address), world.roles.login("viewer"));
    for (name, password) in [(role.as_str(), "wrong"), ("nobody", "wrong"), ("", "x"), (&role, "")] {
        browser.sign_in(name, password).await.assert_says(401, &["The role or its password is not right"]);
    }
    let analyst = browser.sign_in(&world.roles.login("analyst"), "sesame").await;
    analyst.assert_says(403, &["may not see Turnstile"]);
    let mut last = browser.sign_in(&role, "wrong").await;
    for _ in 0..5 {
        last = browser.sign_in(&role, "wrong").await;
    }
    last.assert_says(429, &["Too many attempts"]);
    assert!(last.header("retry-after").is_some() && browser.cookie.is_none());
    browser.sign_in(&role, "sesame").await.assert_says(429, &[]);
    let other = world.roles.login("operator");
    assert_eq!(browser.sign_in(&other, "sesame").await.status, 303, "another role does not wait");
    world.end().await;
}

#[tokio::test]
async fn a_proxy_names_the_person_and_the_database_notes_the_name_beside_its_role() {
    let header = "x-person".parse().unwrap();
    let world = World::with(true, |settings| {
        let sign_in = SignIn::ProxyHeader(header);
        ConsoleSettings { sign_in, behind_proxy: true, ..settings }
    });
    // All act by the role of the console's own URL, which here is the owner's.
    let world = world.await;
    world.tables.load_once_rejected(&["a"]).await;
    let proxy = Browser::at(world.address);
    let named = [OURS, FORM, ("X-Person", "ada@example.org"), ("Host", "console.example")];
    let path = format!("/dead-letters/{}/discard", world.hash("a").await);
    let done = proxy.send("POST", &path, &named, &form(&[("once", "1"), ("reason", "a test")])).await;
    assert_eq!(done.status, 303, "{}", done.body);
    let noted = "operator_actions WHERE role = session_user AND person = 'ada@example.org' AND reason = 'a test'";
    assert_eq!(world.tables.count(noted).await, 1);
    for headers in [&[][..], &[("X-Person", "")], &[("X-Person", "ada"), ("X-Person", "eve")]] {
        proxy.send("GET", "/", headers, "").await.assert_says(403, &["The proxy names nobody"]);
    }
    let page = proxy.send("GET", "/actions", &named[2..], "").await;
    page.assert_says(200, &["ada@example.org"]);
    page.assert_silent(&["Sign out"]);
    world.end().await;
}

#[tokio::test]
async fn what_is_too_large_is_not_read() {
    let world = World::new().await;
    let browser = world.signed_in("operator").await;
    let large = form(&[("once", "1"), ("reason", &"x".repeat(70 * 1024))]);
    let refused =
        browser.send("POST", &format!("/dead-letters/{}/discard", "a".repeat(64)), &[OURS, FORM], &large).await;
    assert_eq!(refused.status, 413, "{refused:?}");
    let refused = browser.send("GET", "/", &[("X-Large", &"x".repeat(64 * 1024))], "").await;
    assert!([0, 431].contains(&refused.status), "{refused:?}");
    world.end().await;
}

#[tokio::test]
async fn an_address_that_others_reach_needs_tls_or_a_proxy() {
    let tables = Tables::new().await;
    for (arguments, says) in [
        (&["--listen", "0.0.0.0:0"][..], "passwords would go there in clear"),
        (&["--listen", "[::]:0"], "passwords would go there in clear"),
        (&["--sign-in", "proxy-header"], "no proxy is said to set it"),
        (&["--tls-key", "key.pem"], "is missing beside --tls-key"),
        (&["--environment-color", "viollet"], "did you mean \"violet\"?"),
    ] {
        let ended = tables.turnstile(&[&["console"], arguments].concat()).await;
        assert!(ended.code == 2 && ended.stderr.contains(says), "{ended:?}");
    }
    let ended = tables
        .turnstile(&["console", "--listen", "127.0.0.1:0", "--tls-certificate", "none.pem", "--tls-key", "none.key"])
        .await;
    assert!(ended.code == 1 && ended.stderr.contains("none.pem"), "{ended:?}");
}

/// The lines of a service of docker-compose.yml.
fn service(name: &str) -> String {
    let compose = include_str!("../../docker-compose.yml");
    let lines = compose.lines().skip_while(|line| *line != format!("  {name}:")).skip(1);
    lines.take_while(|line| line.is_empty() || line.starts_with("    ")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_console_of_the_compose_file_starts_and_only_this_machine_reaches_it() {
    let (console, loader) = (service("console"), service("turnstile"));
    let line = |of: &str, key: &str| {
        let line = of.lines().find_map(|line| line.trim().strip_prefix(key).map(str::to_owned));
        line.unwrap_or_else(|| panic!("no {key} in {of}"))
    };
    assert_eq!(line(&console, "ports: "), "[\"127.0.0.1:${TURNSTILE_CONSOLE_PORT:-9465}:9465\"]");
    assert_eq!(line(&console, "DATABASE_URL: "), line(&loader, "DATABASE_URL: "));
    assert!(console.contains("keys:/var/lib/turnstile:ro") && line(&console, "test: ").contains("health"), "{console}");
    let figures = line(&console, "TURNSTILE_METRICS_ADDRESS: ");
    assert!(figures.starts_with("127.0.0.1:") && !figures.ends_with(":9465"), "{figures}");
    let built = include_str!("../../Dockerfile").lines().find(|line| line.contains("--no-default-features"));
    assert!(built.is_some_and(|line| line.contains("console")), "the image has no console: {built:?}");
    // It says all that it needs to be told: what is wrong here is the port alone.
    let command: Vec<String> = serde_json::from_str(&line(&console, "command: ")).unwrap();
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let command: Vec<&str> =
        command.iter().map(|word| if word == "0.0.0.0:9465" { address.as_str() } else { word.as_str() }).collect();
    assert!(command.contains(&address.as_str()), "{command:?}");
    let ended = Tables::new().await.turnstile(&command).await;
    assert!(ended.code == 1 && ended.stderr.contains("cannot be bound"), "{ended:?}");
}
