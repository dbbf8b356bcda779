//! The figures: their books balance whatever fails, and what is served is what Prometheus and probes expect.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use stand_ins::sqs::Faults;
use tokio::net::TcpStream;
use turnstile::database::migrate::newest_version;
use turnstile::lane::LaneSettings;
use turnstile::metrics::{Ended, Outcome};
use turnstile::receive::ReceiveLimits;

use crate::support::pipeline::{Pipeline, quick};
use crate::support::postgres::{TestDatabase, pool};
use crate::support::proxy::{Asked, Cut, Ending, Kind, Moment, PostgresProxy, Side};
use crate::support::served::Served;
use crate::support::server::{self, installed};
use crate::support::site::Site;
use crate::support::{LONG_PATIENCE, wait_for, wait_until};

#[test]
fn the_page_of_the_figures_says_what_the_program_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/METRICS.md");
    if std::env::var_os("TURNSTILE_TEST_WRITE_METRICS").is_some() {
        std::fs::write(path, turnstile::metrics::page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(
        written == turnstile::metrics::page(),
        "docs/METRICS.md is not what the program says: `make metrics` writes it anew"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_balance_at_every_moment_whatever_fails() {
    let mut pipeline = Pipeline::new().await;
    let proxy = PostgresProxy::before(pipeline.test.url()).await;
    pipeline.database = pool(proxy.url(), 4, Duration::from_secs(2));
    pipeline.fill(600, 60);
    let faults = Faults {
        duplicate_in_receive: 0.1,
        redelivery_after_delete: 0.05,
        partial_batch_failure: 0.1,
        ..Faults::default()
    };
    pipeline.sqs.set_faults(faults);
    proxy.arm(each_fifth_commit_is_cut());
    let limits = ReceiveLimits { batch_size: 20, ..quick().limits };
    let loader = pipeline.start(4, LaneSettings { limits, ..quick() }).await;
    let metrics = loader.metrics.clone();
    let (mut looks, mut in_hand) = (0, BTreeSet::new());
    wait_until("everything is loaded", async || {
        let seen = metrics.snapshot();
        assert_eq!(seen.imbalance(), 0, "{seen:?}");
        // What goes wrong ends once it has been seen.
        looks += u32::from(seen.transactions.get((Ended::Transient,)) > 0);
        in_hand.insert(seen.in_hand.get(()).unwrap() as u64);
        pipeline.sqs.set_faults(if looks > 20 { Faults::default() } else { faults });
        if looks > 20 {
            proxy.disarm();
        }
        pipeline.counts().await[0] == 660
    })
    .await;
    loader.ended().await.unwrap();
    let seen = metrics.snapshot();
    let ended = |how| seen.messages.get((how,));
    assert_eq!((seen.imbalance(), seen.in_hand.get(())), (0, Some(0.0)));
    // A commit that was cut off and held is met again, so its logins count as absorbed.
    assert!(ended(Outcome::Loaded) + ended(Outcome::Absorbed) >= 600, "{seen:?}");
    assert!(ended(Outcome::Returned) >= 120 && ended(Outcome::Absorbed) > 0, "{seen:?}");
    assert!(seen.transactions.get((Ended::Transient,)) > 0, "no commit was cut off: {seen:?}");
    assert!(in_hand.len() > 2, "nothing was in hand: {in_hand:?}");
}

fn each_fifth_commit_is_cut() -> impl FnMut(Asked) -> Option<Cut> {
    let mut commits = 0;
    move |asked| {
        commits += usize::from(asked.kind == Kind::Commit);
        let cut = Cut { moment: Moment::Before, side: Side::Both, ending: Ending::Close };
        (asked.kind == Kind::Commit && commits % 5 == 0).then_some(cut)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_loader_has_in_hand_when_it_gives_up_is_released_in_the_books() {
    let pipeline = Pipeline::new().await;
    pipeline.fill(20, 0);
    pipeline.client.batch_execute("BEGIN; LOCK TABLE processed_messages IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let loader = pipeline.start(1, quick()).await;
    let metrics = loader.metrics.clone();
    wait_until("it has them in hand", async || metrics.snapshot().in_hand.get(()) == Some(20.0)).await;
    loader.shutdown.stopping.cancel();
    loader.shutdown.giving_up.cancel();
    loader.ended().await.unwrap();
    let seen = metrics.snapshot();
    assert_eq!((seen.messages.get((Outcome::Released,)), seen.imbalance(), seen.in_hand.get(())), (20, 0, Some(0.0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_served_is_a_text_that_prometheus_reads_and_it_has_every_series_from_the_start() {
    let served = Served::start(&["--wait", "1s"]).await;
    let idle = served.scrape().await;
    served.site.fill(40, 4);
    let loaded = "turnstile_messages_total{outcome=\"loaded\"}";
    wait_until("the logins are loaded", async || served.scrape().await[loaded] == 40.0).await;
    wait_until("the rest is buried, and all is deleted", async || {
        let seen = served.scrape().await;
        let buried = seen["turnstile_messages_total{outcome=\"dead_lettered\"}"];
        (buried, seen["turnstile_deletes_total{outcome=\"deleted\"}"]) == (4.0, 44.0)
    })
    .await;
    let busy = served.scrape().await;
    let new: Vec<_> = busy.keys().filter(|series| !idle.contains_key(*series)).collect();
    assert!(new.iter().all(|series| !series.contains('{')), "a label came with the traffic: {new:?}");
    assert_eq!(busy["turnstile_login_lag_seconds_count{delivery=\"first\"}"], 40.0);
    assert_eq!(busy["turnstile_login_lag_seconds_bucket{delivery=\"first\",le=\"+Inf\"}"], 40.0);
    assert!(busy["turnstile_log_lines_total{level=\"info\"}"] >= 2.0, "where it serves, and that it loads");
    assert!(
        busy["turnstile_sqs_calls_total{operation=\"attributes\",outcome=\"ok\"}"] >= 1.0,
        "nobody asked for the depth"
    );
    assert!(busy["turnstile_queue_messages{state=\"visible\"}"] >= 0.0);
    let connections = |state| busy[&format!("turnstile_database_connections{{state=\"{state}\"}}")];
    assert!(connections("used") + connections("idle") >= 1.0, "the loader has loaded over a connection");
    assert_eq!(busy["turnstile_schema_version"], f64::from(newest_version()));
    assert!(busy["turnstile_runtime_workers"] >= 1.0 && busy["turnstile_runtime_alive_tasks"] >= 2.0);
    assert_eq!(busy["turnstile_queue_retention_seconds"], 4.0 * 24.0 * 3600.0, "what a queue has by default");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_whose_depth_is_not_wanted_is_not_asked() {
    let served = Served::start(&["--wait", "1s", "--queue-depth", "off"]).await;
    let figures = served.scrape().await;
    assert_eq!(figures["turnstile_sqs_calls_total{operation=\"attributes\",outcome=\"ok\"}"], 0.0);
    assert!(!figures.contains_key("turnstile_queue_messages{state=\"visible\"}"));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_does_not_say_what_it_holds_holds_up_no_scrape() {
    let served = Served::start(&["--wait", "1s"]).await;
    let (only, max_delay) = (Some("GetQueueAttributes"), Duration::from_secs(100_000));
    served.site.sqs.set_faults(Faults { only, delay: 1.0, max_delay, ..Faults::default() });
    let asked = Instant::now();
    let figures = served.scrape().await;
    assert!(asked.elapsed() < Duration::from_secs(3), "it took {:?}", asked.elapsed());
    assert!(!figures.contains_key("turnstile_queue_messages{state=\"visible\"}"), "the queue was not asked");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_that_is_ending_is_alive_and_not_ready() {
    let served = Served::start(&["--wait", "20s"]).await;
    wait_until("it receives", async || served.scrape().await["turnstile_lanes{state=\"receiving\"}"] == 1.0).await;
    assert_eq!(served.health(&[]), (Some(0), "[+]lanes ok\nok\n".to_owned()));
    assert_eq!(served.health(&["--ready"]).0, Some(0));
    served.loader.terminate();
    wait_until("it is ending", async || served.health(&["--ready"]).0 == Some(1)).await;
    assert!(served.health(&["--ready"]).1.contains("[-]draining failed: the loader is ending"));
    assert_eq!(served.health(&[]).0, Some(0), "a restart would mend nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_that_has_nothing_to_load_notices_that_its_database_is_away_and_back() {
    let mut database = server::start(installed()).await;
    let site = Site::at(&database.url()).await;
    let served = Served::over(site, &["--wait", "1s"]).await;
    wait_until("it is ready", async || served.health(&["--ready"]).0 == Some(0)).await;
    database.stop().await.unwrap();
    wait_for(LONG_PATIENCE, "it is not ready", async || served.health(&["--ready"]).0 == Some(1)).await;
    assert!(served.health(&["--ready"]).1.contains("[-]database failed: away for "));
    assert_eq!(served.health(&[]).0, Some(0), "a restart would mend nothing");
    database.restart().await.unwrap();
    wait_for(LONG_PATIENCE, "it is ready again", async || served.health(&["--ready"]).0 == Some(0)).await;
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_keep_others_out_for_seconds_and_no_lane_from_its_work() {
    let served = Served::start(&["--wait", "1s"]).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(served.address).await.unwrap());
    }
    served.site.fill(30, 0);
    let client = served.site.client().await;
    wait_until("the logins are loaded", async || {
        let rows: i64 = client.query_one("SELECT count(*) FROM user_logins", &[]).await.unwrap().get(0);
        rows == 30
    })
    .await;
    assert_eq!(served.scrape().await["turnstile_messages_total{outcome=\"loaded\"}"], 30.0);
    drop(silent);
    served.end().await;
}

#[tokio::test]
async fn an_address_that_is_taken_ends_the_loader_and_names_the_setting() {
    let test = TestDatabase::with_tables().await;
    let site = Site::without_tables(test.url()).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = site.command(&["run", "--metrics-address", &address]).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("--metrics-address") && said.contains(&address), "{said}");
    assert!(said.contains("name an address of this machine and a port that is free"), "{said}");
}
