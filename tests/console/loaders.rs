//! What is said of the loaders is what they said of themselves, and who may pauses them from a page.

use serde_json::{Value, json};
use stand_ins::sqs::QueueOptions;

use super::world::{Browser, World};
use crate::support::served::Served;
use crate::support::site::{QUEUE, Site};
use crate::support::{LONG_PATIENCE, wait_for, wait_until};

const ARN: &str = "arn:aws:sqs:eu-central-1:000000000000:logins";

/// Writes the row of a loader, and others on top of it.
async fn write(world: &World, id: &str, more: &[(&str, &str)]) {
    let mut values = vec![
        ("id", format!("'{id}'")),
        ("host", "'loads-1'".to_owned()),
        ("pid", "4711".to_owned()),
        ("version", "'1.2.3'".to_owned()),
        ("queue", format!("'{ARN}'")),
        ("state", "'running'".to_owned()),
        ("started_at", "now() - interval '2 hours'".to_owned()),
        ("lanes", r#"'[{"doing":"receiving","seconds":2},{"doing":"resting","seconds":40},{"doing":"resting","seconds":41}]'"#.to_owned()),
        ("received", "1020".to_owned()),
        ("loaded", "1000".to_owned()),
        ("dead_lettered", "7".to_owned()),
        ("absorbed", "3".to_owned()),
        ("contradicting", "0".to_owned()),
        ("returned", "0".to_owned()),
        ("released", "0".to_owned()),
        ("damaged", "0".to_owned()),
        ("in_hand", "10".to_owned()),
        ("received_per_second", "12.5".to_owned()),
        ("loaded_per_second", "11.5".to_owned()),
        ("lag_p50", "0.04".to_owned()),
        ("lag_p99", "1.25".to_owned()),
        ("sqs_calls", r#"'{"receive":900,"delete":100,"change_visibility":0,"attributes":0}'"#.to_owned()),
        ("sqs_billed", r#"'{"receive":950,"delete":100,"change_visibility":0,"attributes":0}'"#.to_owned()),
        ("sqs_empty_receives", "600".to_owned()),
    ];
    for (name, value) in more {
        match values.iter_mut().find(|(its_name, _)| its_name == name) {
            Some((_, old)) => (*value).clone_into(old),
            None => values.push((name, (*value).to_owned())),
        }
    }
    let (names, values): (Vec<&str>, Vec<String>) = values.into_iter().unzip();
    let sql = format!("INSERT INTO loaders ({}) VALUES ({})", names.join(", "), values.join(", "));
    world.tables.client.batch_execute(&sql).await.unwrap();
}

const GONE: (&str, &str) = ("seen_at", "now() - interval '10 minutes'");

#[tokio::test]
async fn the_page_of_the_loaders_says_what_the_table_says() {
    let world = World::new().await;
    let browser = world.signed_in("viewer").await;
    browser
        .get("/loaders")
        .await
        .assert_says(200, &["No loader is alive.", "<title>0 alive · Loaders · Turnstile</title>"]);
    write(&world, "0123456789ab", &[]).await;
    write(&world, "abcdef012345", &[("host", "'<b>2</b>'"), GONE, ("in_hand", "4")]).await;
    write(&world, "aaaaaaaaaaaa", &[("state", "'stopped'"), ("version", "'1.2.2'"), ("in_hand", "0")]).await;
    let (page, json) = (browser.get("/loaders").await, browser.get("/loaders.json").await.json());
    page.assert_says(
        200,
        &[
            "loads-1/4711",
            "&lt;b&gt;2&lt;/b&gt;/4711",
            "title=\"arn:aws:sqs:eu-central-1:000000000000:logins\">logins<",
            ">running<",
            ">gone<",
            ">stopped<",
            "2 resting, 1 receiving",
            "12.5 · 11.5",
            "40 ms · 1.2 s",
            "1,020",
            "Is it safe to restart a loader? Always",
        ],
    );
    page.assert_silent(&["action=\"/loaders/pause\""]);
    let sums = [("alive", 1.into()), ("gone", 1.into()), ("in_hand", 10.into()), ("versions", json!(["1.2.3"]))];
    sums.iter().for_each(|(name, value): &(&str, Value)| assert_eq!(json[name], *value, "{name}"));
    assert_eq!((&json["received_per_second"], &json["lag_p99_seconds"]), (&12.5.into(), &1.25.into()));
    let states: Vec<_> =
        json["loaders"].as_array().unwrap().iter().map(|loader| (&loader["id"], &loader["state"])).collect();
    assert_eq!(json["loaders"].as_array().map(Vec::len), Some(3));
    assert!(states.contains(&(&"abcdef012345".into(), &"gone".into())), "{states:?}");
    // The command line tells the same.
    let told = world.tables.turnstile(&["loaders", "--format", "json"]).await;
    let of_command: Vec<Value> = told.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let without_age = |loader: &Value| {
        let mut loader = loader.clone();
        loader["silent_for_seconds"].take();
        loader
    };
    let of_page: Vec<Value> = json["loaders"].as_array().unwrap().iter().map(without_age).collect();
    assert_eq!(of_page, of_command.iter().map(without_age).collect::<Vec<_>>());
    world.end().await;
}

#[tokio::test]
async fn the_page_of_a_loader_says_whether_its_books_balance() {
    let world = World::new().await;
    write(&world, "0123456789ab", &[]).await;
    write(&world, "bbbbbbbbbbbb", &[("loaded", "998")]).await;
    let browser = world.signed_in("viewer").await;
    let page = browser.get("/loaders/0123456789ab").await;
    page.assert_says(
        200,
        &[
            "The books balance",
            "<title>running · loads-1/4711 · Turnstile</title>",
            "600 receives brought nothing",
            "950",
            ARN,
        ],
    );
    page.assert_silent(&["do not balance", "action=\"/loaders/pause\""]);
    assert_eq!(browser.get("/loaders/0123456789ab.json").await.json()["unaccounted"], 0);
    browser.get("/loaders/bbbbbbbbbbbb").await.assert_says(200, &["The books do not balance: of 2 deliveries"]);
    assert_eq!(browser.get("/loaders/bbbbbbbbbbbb.json").await.json()["unaccounted"], 2);
    browser.get("/loaders/cccccccccccc").await.assert_says(404, &["was seen within a day"]);
    assert_eq!(browser.get("/loaders/pause").await.status, 404);
    world.end().await;
}

#[tokio::test]
async fn the_first_page_says_what_holds_loaders_up_before_anything_less() {
    let world = World::new().await;
    let browser = world.signed_in("viewer").await;
    write(&world, "0123456789ab", &[]).await;
    let page = browser.get("/").await;
    page.assert_says(200, &["All is well: no dead letter is open.", "Loaders alive", "version 1.2.3", "12.5"]);
    world.tables.load_once_rejected(&["a"]).await;
    let pause = format!("INSERT INTO loader_pauses (queue, reason) VALUES ('{ARN}', 'the <disk>')");
    let alive = "UPDATE loaders SET seen_at = now(), state =";
    for (change, title, says) in [
        (GONE.1.to_owned(), "No loader is alive", "the last was seen"),
        (format!("{alive} 'queue_away'"), "A queue is away", "the queue does not answer"),
        (pause, "Receiving is paused", "the &lt;disk&gt;"),
        (format!("{alive} 'storm'"), "Too many are no logins", "too many messages are no logins"),
        (format!("{alive} 'full'"), "Dead letters are full", "dead letters have taken their quota"),
    ] {
        let sql = if change == GONE.1 { format!("UPDATE loaders SET seen_at = {change}") } else { change };
        world.tables.client.batch_execute(&sql).await.unwrap();
        let (page, json) = (browser.get("/").await, browser.get("/now.json").await.json());
        page.assert_says(200, &[&format!("<title>{title} · Turnstile</title>"), says, "href=\"/loaders"]);
        assert_eq!(json["state"], "look");
    }
    world.tables.client.batch_execute("DELETE FROM loader_pauses; UPDATE loaders SET state = 'running'").await.unwrap();
    browser.get("/").await.assert_says(200, &["1 dead letter is open"]);
    world.end().await;
}

#[tokio::test]
async fn costs_are_those_of_the_rows_at_the_price_of_the_operator() {
    let world = World::with(true, |mut settings| {
        settings.request_price = 2.0;
        settings
    })
    .await;
    write(&world, "0123456789ab", &[]).await;
    write(&world, "aaaaaaaaaaaa", &[("state", "'stopped'")]).await;
    let browser = world.signed_in("viewer").await;
    let (page, json) = (browser.get("/costs").await, browser.get("/costs.json").await.json());
    // 1,050 requests in 2 hours for 1,000 logins.
    page.assert_says(
        200,
        &[
            "525",
            "1,050,000",
            "$2.10",
            "67 %",
            "<code>--wait</code>",
            "--request-price",
            "$2.00 for a million requests",
            "since its start",
        ],
    );
    assert_eq!((&json["alive"]["requests"], &json["last_day"]["requests"]), (&1_050.into(), &2_100.into()));
    assert_eq!(json["requests_an_hour"].as_f64().map(f64::round), Some(525.0));
    let month = json["dollars_a_month"].as_f64().unwrap();
    assert!((month - 525.0 * 730.0 * 2e-6).abs() < 1e-3, "{month}");
    assert_eq!(json["savings"], json!(["wait_longer", "fewer_lanes"]));
    world.end().await;
}

#[tokio::test]
async fn who_may_not_see_loaders_does_not_and_who_may_not_pause_them_does_not() {
    let world = World::new().await;
    write(&world, "0123456789ab", &[]).await;
    let one = "/loaders/0123456789ab";
    for (kind, sees, pauses) in
        [("viewer", true, false), ("operator", true, true), ("revealer", false, false), ("auditor", false, false)]
    {
        let browser = world.signed_in(kind).await;
        for path in ["/loaders", "/loaders.json", one, "/loaders/0123456789ab.json", "/costs", "/costs.json"] {
            assert_eq!(browser.get(path).await.status, if sees { 200 } else { 403 }, "{kind} {path}");
        }
        for path in ["/loaders", one] {
            assert_eq!(browser.get(path).await.body.contains("action=\"/loaders/pause\""), pauses, "{kind} {path}");
        }
        if kind == "revealer" {
            browser.get("/").await.assert_silent(&["Loaders alive"]);
        }
        for act in ["pause", "resume"] {
            let fields = [("once", act), ("of", "loader 0123456789ab"), ("reason", "to see whether it may")];
            let done = browser.post(&format!("/loaders/{act}"), &fields).await;
            assert_eq!(done.status, if pauses { 303 } else { 403 }, "{kind} {act}: {}", done.body);
        }
    }
    let noted = format!("operator_actions WHERE role <> '{}'", world.roles.login("operator"));
    assert_eq!((world.tables.count("operator_actions").await, world.tables.count(&noted).await), (2, 0));
    world.end().await;
}

#[tokio::test]
async fn a_pause_has_a_reason_and_means_something_and_is_noted_once() {
    let world = World::new().await;
    write(&world, "0123456789ab", &[]).await;
    write(&world, "aaaaaaaaaaaa", &[("state", "'stopped'")]).await;
    let browser = world.signed_in("operator").await;
    let pause = async |once: &str, of: &str, reason: &str| {
        browser.act("/loaders/pause", &[("once", once), ("of", of), ("reason", reason)]).await
    };
    pause("1", "all", " ").await.assert_says(200, &["Nothing was done: say why"]);
    for of in ["queue arn:aws:sqs:x:0:nobody", "loader aaaaaaaaaaaa", "loader cccccccccccc"] {
        pause(of.rsplit(':').next().unwrap_or_default().split(' ').next_back().unwrap(), of, "x")
            .await
            .assert_says(200, &["Nothing was done: there is no such queue"]);
    }
    assert_eq!(browser.post("/loaders/pause", &[("once", "2"), ("of", "each"), ("reason", "x")]).await.status, 404);
    assert_eq!(browser.post("/loaders/stop", &[("once", "2"), ("of", "all"), ("reason", "x")]).await.status, 404);
    for _ in 0..2 {
        let page = pause("3", "all", "the <disk> is changed").await;
        page.assert_says(
            200,
            &["Paused: all loaders.", "Receiving is paused", "the &lt;disk&gt; is changed", "pausing"],
        );
    }
    pause("4", "all", "again").await.assert_says(200, &["paused before: all loaders"]);
    let on = [("once", "5"), ("of", "loader 0123456789ab"), ("on", "0123456789ab"), ("reason", "this one")];
    let page = browser.act("/loaders/pause", &on).await;
    page.assert_says(
        200,
        &["<h1>loads-1/4711</h1>", "Paused: the loader 0123456789ab.", "this one", "the &lt;disk&gt;"],
    );
    let fields = [("once", "6"), ("of", "all"), ("reason", "it is done")];
    browser.act("/loaders/resume", &fields).await.assert_says(200, &["Resumed: all loaders.", "this one"]);
    let fields = [("once", "7"), ("of", "all"), ("reason", "it is done")];
    browser.act("/loaders/resume", &fields).await.assert_says(200, &["not paused any more: all loaders"]);
    let page = browser.get("/actions").await;
    page.assert_says(200, &["paused", "resumed", "all loaders", "href=\"/loaders/0123456789ab\"", "it is done"]);
    let subjects: Vec<Value> = browser.get("/actions.json").await.json()["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|action| action["subject"].clone())
        .collect();
    assert_eq!(subjects, ["all", "loader 0123456789ab", "all"]);
    world.end().await;
}

#[tokio::test]
async fn an_action_of_a_plan_leads_to_it() {
    let world = World::new().await;
    world.tables.load_once_rejected(&["a"]).await;
    let letter = format!("/dead-letters/{}", world.hash("a").await);
    world.tables.replay_all().await;
    let browser = world.signed_in("viewer").await;
    let plan = browser.get("/plans.json").await.json()["plans"][0]["plan"].clone();
    let leads = format!("href=\"/plans/{plan}\"");
    for path in ["/actions", &letter, "/"] {
        browser.get(path).await.assert_says(200, &[&leads]);
    }
    assert_eq!(browser.get("/actions.json").await.json()["actions"][0]["plan"], plan);
    world.end().await;
}

async fn state_of(browser: &Browser) -> Value {
    browser.get("/loaders.json").await.json()["loaders"][0]["state"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_from_the_page_stops_a_loader_until_it_is_resumed_there() {
    let world = World::new().await;
    let site = Site::of(QueueOptions::new(QUEUE), &world.tables.url).await;
    let served = Served::over(site, &["--queue-depth", "off", "--wait", "1s"]).await;
    served.site.fill(20, 0);
    served.site.is_drained().await;
    let browser = world.signed_in("operator").await;
    wait_until("it is seen", async || state_of(&browser).await == "running").await;
    let queue = format!("queue {}", served.site.queue_identity().as_str());
    browser.get("/loaders").await.assert_says(200, &[&format!("value=\"{queue}\"")]);
    let fields = [("once", "1"), ("of", queue.as_str()), ("reason", "a test of ours")];
    browser.act("/loaders/pause", &fields).await.assert_says(200, &["Paused: the queue", "a test of ours"]);
    // The message brings the news.
    served.site.fill(1, 0);
    wait_until("it hears of the pause", async || served.scrape().await.get("turnstile_paused") == Some(&1.0)).await;
    let rests = async || served.scrape().await.get("turnstile_lanes{state=\"receiving\"}") == Some(&0.0);
    wait_until("it rests", rests).await;
    wait_until("the page says so", async || state_of(&browser).await == "paused").await;
    served.site.is_drained().await;
    let calls = served.site.sqs.served().calls;
    served.site.fill(30, 0);
    browser.get("/").await.assert_says(200, &["Receiving is paused"]);
    assert_eq!((served.site.sqs.served().calls, served.site.depth()), (calls, 30), "it received");

    let fields = [("once", "2"), ("of", queue.as_str()), ("reason", "it is over")];
    browser.act("/loaders/resume", &fields).await.assert_says(200, &["Resumed: the queue"]);
    wait_for(LONG_PATIENCE, "it goes on", async || served.site.depth() == 0).await;
    wait_until("the page says so", async || state_of(&browser).await == "running").await;
    served.site.assert_promise().await;
    served.end().await;
    world.end().await;
}
