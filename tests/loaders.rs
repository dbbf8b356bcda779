//! Loaders are seen in the database, and an operator pauses and resumes them through it. Loading depends on neither.

use std::process::{Output, Stdio};

use serde_json::Value;
use stand_ins::sqs::QueueOptions;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::grants::{Roles, granted};
use crate::support::postgres::{TestDatabase, connect};
use crate::support::served::Served;
use crate::support::site::{QUEUE, Site};
use crate::support::{LONG_PATIENCE, wait_for, wait_until};

/// Without scrapes that ask the queue, so that every call is of the lanes.
const QUIET: [&str; 4] = ["--queue-depth", "off", "--wait", "1s"];

/// A loader of the tables of this database, on a queue of its own.
async fn served(database_url: &str, queue: &str, arguments: &[&str]) -> Served {
    let site = Site::of(QueueOptions::new(queue), database_url).await;
    Served::over(site, &[&QUIET, arguments].concat()).await
}

/// Another loader of the same site, with a log of its own.
async fn again(site: Site) -> Served {
    std::fs::remove_file(site.log("log")).unwrap();
    Served::over(site, &QUIET).await
}

/// What `turnstile loaders` says, whatever its exit code.
fn loaders(site: &Site, arguments: &[&str]) -> Output {
    let mut command = site.command(&[&["loaders"], arguments].concat());
    command.env("USER", "grace").stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8([output.stdout.clone(), output.stderr.clone()].concat()).unwrap()
}

/// The same, of a command that succeeds.
fn done(site: &Site, arguments: &[&str]) -> String {
    let output = loaders(site, arguments);
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

fn listed(site: &Site) -> Vec<Value> {
    let output = loaders(site, &["--format", "json"]);
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

impl Served {
    async fn figure(&self, name: &str) -> Option<f64> {
        self.scrape().await.get(name).copied()
    }

    /// How many receives it has made.
    async fn receives(&self) -> f64 {
        let is_receive = |name: &str| name.starts_with("turnstile_sqs_calls_total") && name.contains("\"receive\"");
        self.scrape().await.iter().filter(|(name, _)| is_receive(name)).map(|(_, calls)| calls).sum()
    }

    /// Waits until it has heard that it is paused, and has nothing under way.
    async fn stands_still(&self) {
        wait_until("it hears of the pause, and rests", async || {
            let figures = self.scrape().await;
            let is = |name: &str, value: f64| figures.get(name) == Some(&value);
            is("turnstile_paused", 1.0)
                && is("turnstile_lanes{state=\"receiving\"}", 0.0)
                && is("turnstile_in_hand_messages", 0.0)
        })
        .await;
    }
}

async fn count(client: &Client, what: &str) -> i64 {
    client.query_one(&format!("SELECT count(*) FROM {what}"), &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_loader_receives_nothing_and_another_goes_on_and_the_first_does_once_it_is_resumed() {
    let test = TestDatabase::with_tables().await;
    let (paused, other) = (served(test.url(), QUEUE, &[]).await, served(test.url(), "others", &[]).await);
    assert_eq!(paused.figure("turnstile_paused").await, Some(0.0));
    let says = done(&paused.site, &["pause", "--queue", QUEUE, "--reason", "the disk is changed"]);
    assert!(says.contains("paused: the queue arn:") && says.contains("turnstile loaders"), "{says}");
    // The message brings the news.
    paused.site.fill(1, 0);
    paused.stands_still().await;
    assert_eq!(paused.figure("turnstile_messages_total{outcome=\"loaded\"}").await, Some(1.0), "what it had is loaded");

    let calls = || paused.site.sqs.served().calls;
    wait_until("the deletes are done", async || paused.site.depth() == 0).await;
    let before = calls();
    paused.site.fill(50, 2);
    other.site.fill(300, 0);
    wait_for(LONG_PATIENCE, "the other loads", async || other.site.depth() == 0).await;
    assert_eq!((calls(), paused.site.sqs.stats(QUEUE).unwrap().visible), (before, 52), "it received");

    let (alive, ready) = (paused.health(&[]), paused.health(&["--ready"]));
    assert!(alive.0 == Some(0) && ready.0 == Some(0), "{alive:?} {ready:?}");
    assert!(ready.1.contains("[+]receiving ok: paused by an operator for"), "{}", ready.1);
    let log = paused.loader.said();
    let warned = log.lines().find(|line| line.contains("receiving is paused")).unwrap();
    assert!(warned.contains("WARN") && warned.contains("turnstile loaders resume"), "{warned}");
    let [of_paused, of_other]: [Value; 2] = {
        let mut all = listed(&paused.site);
        all.sort_by_key(|loader| loader["queue"].as_str().unwrap().to_owned());
        all.try_into().unwrap()
    };
    assert_eq!((&of_paused["state"], &of_other["state"]), (&"paused".into(), &"running".into()));
    assert_eq!(of_paused["pauses"][0]["reason"], "the disk is changed");
    assert_eq!(of_other["pauses"], Value::Array(Vec::new()));

    let says = done(&paused.site, &["resume", "--queue", QUEUE]);
    assert!(says.contains("resumed: the queue arn:"), "{says}");
    paused.site.is_drained().await;
    assert!(paused.loader.said().contains("receiving is resumed"));
    assert_eq!(paused.figure("turnstile_paused").await, Some(0.0));
    let history = paused.site.command(&["dead-letters", "history"]).stdout(Stdio::piped()).output().unwrap();
    let history = String::from_utf8(history.stdout).unwrap();
    for noted in ["paused", "resumed", "queue arn:", "the disk is changed", "grace"] {
        assert!(history.contains(noted), "{noted}: {history}");
    }
    // Two queues have filled the tables: no journal of one of them tells all.
    let audit = paused.site.command(&["audit"]).stdout(Stdio::piped()).output().unwrap();
    assert!(audit.status.success(), "{}", said(&audit));
    paused.end().await;
    other.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_outlives_the_loader_unless_it_was_of_that_loader_alone() {
    let test = TestDatabase::with_tables().await;
    let first = served(test.url(), QUEUE, &[]).await;
    done(&first.site, &["pause", "--reason", "all of them"]);
    let Served { site, loader, .. } = first;
    loader.kill();
    site.fill(20, 0);
    let second = again(site).await;
    second.stands_still().await;
    assert_eq!((second.receives().await, second.site.depth()), (0.0, 20), "it received before it asked");
    let id = listed(&second.site).into_iter().find(|loader| loader["state"] == "paused").unwrap();
    let id = id["id"].as_str().unwrap().to_owned();
    let says = done(&second.site, &["pause", "--loader", &id[..6], "--reason", "this one"]);
    assert!(says.contains(&format!("paused: the loader {id}")), "{says}");
    let says = done(&second.site, &["resume"]);
    assert!(says.contains("in force: the loader") && says.contains("this one"), "{says}");
    let Served { site, loader, .. } = second;
    loader.terminate();
    assert!(loader.ended().await.success(), "a paused loader ends when it is told to");
    assert_eq!(site.depth(), 20);

    let third = again(site).await;
    third.site.is_drained().await;
    third.site.assert_promise().await;
    third.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_meant_is_not_paused() {
    let test = TestDatabase::with_tables().await;
    let site = Site::without_tables(test.url()).await;
    for (arguments, code, complaint) in [
        (&["pause"][..], 2, "--reason: is not given"),
        (&["pause", "--queue", QUEUE, "--loader", "ab", "--reason", "x"], 2, "exclude each other"),
        (&["pause", "--queue", "login", "--reason", "x"], 1, "no loader has ever loaded from a queue"),
        (&["pause", "--loader", "ab", "--reason", "x"], 1, "an id that starts with \"ab\""),
    ] {
        let output = loaders(&site, arguments);
        assert!(output.status.code() == Some(code) && said(&output).contains(complaint), "{}", said(&output));
    }
    assert!(done(&site, &["resume"]).contains("all loaders: not paused"));
    assert!(done(&site, &[]).contains("no loader has been seen for a day"));
    let client = test.client().await;
    assert_eq!((count(&client, "loader_pauses").await, count(&client, "operator_actions").await), (0, 0));
    done(&site, &["pause", "--reason", "once"]);
    let again = done(&site, &["pause", "--reason", "twice"]);
    assert!(again.contains("paused before") && again.contains("once"), "{again}");
    assert_eq!((count(&client, "loader_pauses").await, count(&client, "operator_actions").await), (1, 1));
    let silently = client.query("SELECT turnstile.pause_receiving(NULL, NULL)", &[]).await.unwrap_err();
    assert!(silently.as_db_error().unwrap().message().contains("for a reason only"), "{silently:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_is_seen_while_it_lives_and_says_when_it_ends_and_one_that_is_killed_does_not() {
    let test = TestDatabase::with_tables().await;
    let (ending, killed) = (served(test.url(), QUEUE, &[]).await, served(test.url(), "others", &[]).await);
    let running = || listed(&ending.site).iter().filter(|loader| loader["state"] == "running").count();
    wait_until("both are seen", async || running() == 2).await;
    ending.site.fill(70, 3);
    ending.site.is_drained().await;
    let figures = ending.scrape().await;
    let Served { site, loader, .. } = ending;
    let pid = loader.process_id();
    loader.terminate();
    assert!(loader.ended().await.success());
    killed.loader.kill();
    let client = test.client().await;
    client
        .batch_execute("UPDATE loaders SET seen_at = seen_at - interval '5 minutes' WHERE state = 'running'")
        .await
        .unwrap();

    let all = listed(&site);
    let of = |state: &str| all.iter().find(|loader| loader["state"] == state).unwrap_or_else(|| panic!("{all:?}"));
    let ended = of("stopped");
    assert_eq!((&ended["pid"], &ended["loaded"], &ended["in_hand"]), (&pid.into(), &70.into(), &0.into()));
    let dead_lettered = figures["turnstile_messages_total{outcome=\"dead_lettered\"}"];
    assert_eq!(ended["dead_lettered"].as_f64(), Some(dead_lettered));
    assert!(ended["sqs_calls"]["receive"].as_i64().unwrap() > 0 && ended["sqs_billed"]["delete"].as_i64().unwrap() > 0);
    assert!(of("gone")["silent_for_seconds"].as_f64().unwrap() > 290.0);
    let table = done(&site, &[]);
    assert!(table.contains("gone") && table.contains("stopped") && table.lines().count() == 3, "{table}");
    let csv = done(&site, &["--format", "csv"]);
    assert!(csv.starts_with("id,host,pid,version,queue,state,") && csv.lines().count() == 3, "{csv}");

    client.batch_execute("UPDATE loaders SET seen_at = seen_at - interval '1 day'").await.unwrap();
    let next = again(site).await;
    let states = || listed(&next.site).iter().map(|loader| loader["state"].clone()).collect::<Vec<_>>();
    wait_until("what is gone for a day is forgotten by who comes next", async || states() == ["running"]).await;
    next.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_whose_role_may_not_note_that_it_lives_says_so_once_and_loads_and_can_be_paused() {
    let (test, roles) = granted().await;
    let owner = connect(test.url()).await;
    let loader = roles.name("loader");
    let revoke = format!(
        "REVOKE ALL ON turnstile.loaders FROM {loader}; REVOKE ALL ON ALL FUNCTIONS IN SCHEMA turnstile FROM {loader};
         GRANT EXECUTE ON FUNCTION turnstile.extend_outbox(), turnstile.extend_partitions(), turnstile.take_requeued(bytea[], timestamptz[]),
                                   turnstile.resolve_requeued(bytea[], timestamptz[]) TO {loader}"
    );
    owner.batch_execute(&revoke).await.unwrap();
    let served = served(&roles.loader_url, QUEUE, &[]).await;
    served.site.fill(30, 0);
    served.site.is_drained().await;
    assert_eq!(count(&owner, "turnstile.loaders").await, 0);
    assert_eq!(served.loader.said().matches("does not let this loader note that it lives").count(), 1);
    let operating = Site::of(QueueOptions::new(QUEUE), &roles.operator_url).await;
    done(&operating, &["pause", "--queue", QUEUE, "--reason", "a test"]);
    served.site.fill(1, 0);
    served.stands_still().await;
    done(&operating, &["resume", "--queue", QUEUE]);
    served.site.fill(9, 0);
    served.site.is_drained().await;
    served.end().await;

    let granted = served_with_grants(&roles, &owner).await;
    let seen = async |state: &str| count(&owner, &format!("turnstile.loaders WHERE state = '{state}'")).await == 1;
    wait_until("it is seen", async || seen("running").await).await;
    granted.end().await;
    assert!(seen("stopped").await);
    drop((owner, operating, test));
    roles.drop().await;
}

/// A loader whose role has all that the file grants.
async fn served_with_grants(roles: &Roles, owner: &Client) -> Served {
    owner.batch_execute(&roles.grants()).await.unwrap();
    served(&roles.loader_url, QUEUE, &[]).await
}

#[tokio::test]
async fn who_may_pause_is_the_operator_and_nobody_writes_a_pause_or_forges_a_name() {
    let (test, roles) = granted().await;
    for (url, statements) in [
        (
            &roles.loader_url,
            &[
                "SELECT turnstile.pause_receiving(NULL, NULL)",
                "SELECT turnstile.resume_receiving(NULL, NULL)",
                "SELECT reason FROM turnstile.loader_pauses",
                "SELECT host FROM turnstile.loaders",
                "UPDATE turnstile.loaders SET id = ''",
                "INSERT INTO turnstile.loaders (id, seen_at) VALUES ('', now())",
            ][..],
        ),
        (&roles.operator_url, &["SELECT turnstile.forget_loaders()", "UPDATE turnstile.loaders SET state = 'stopped'"]),
        (&roles.auditor_url, &["SELECT turnstile.pause_receiving(NULL, NULL)", "SELECT id FROM turnstile.loaders"]),
        (&roles.revealer_url, &["SELECT turnstile.resume_receiving(NULL, NULL)"]),
        (&roles.relay_url, &["SELECT turnstile.pause_receiving(NULL, NULL)"]),
    ] {
        let client = connect(url).await;
        for statement in statements {
            let error = client.batch_execute(statement).await.expect_err(statement);
            assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{statement}: {error:?}");
        }
    }
    let operator = connect(&roles.operator_url).await;
    let pause = "SELECT set_config('letters.reason', 'r', false), set_config('letters.person', 'somebody', false),
                        turnstile.pause_receiving(NULL, NULL)";
    operator.query_one(pause, &[]).await.unwrap();
    let noted = operator.query_one("SELECT role, person FROM turnstile.operator_actions", &[]).await.unwrap();
    assert_eq!(
        (noted.get::<_, String>(0), noted.get::<_, String>(1)),
        (roles.login("operator"), "somebody".to_owned())
    );
    drop((operator, test));
    roles.drop().await;
}
