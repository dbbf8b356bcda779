//! A storm of messages that are not logins: the loader stops taking them, tries a few, and goes on by itself. So it does when the
//! table of the dead letters has taken its quota.

use std::time::Duration;

use turnstile::audit::journal::Kind;
use turnstile::lane::{LaneError, LaneSettings};
use turnstile::metrics::Snapshot;
use turnstile::run::RunError;
use turnstile::storm::Limits;

use crate::support::pipeline::{Pipeline, Running, quick};
use crate::support::postgres::TestDatabase;
use crate::support::served::Served;
use crate::support::site::{Site, mixed};
use crate::support::{LONG_PATIENCE, wait_for, wait_until};

const LANES: usize = 2;

/// As usual, but that probes follow each other at once.
fn impatient(max_percent: u8) -> Limits {
    Limits {
        pauses: (Duration::from_millis(5), Duration::from_millis(20)),
        hidden_for: Duration::from_secs(20),
        ..Limits::above(max_percent)
    }
}

fn guarded(storm: Limits) -> LaneSettings {
    LaneSettings { storm: Some(storm), retry_delay: Duration::from_secs(20), until_empty: false, ..quick() }
}

fn broken(messages: usize) -> impl Iterator<Item = (String, Kind)> {
    mixed(0, messages)
}

/// Whether it is a storm, how many have begun, and how many deliveries went back because of one.
fn storm(loader: &Running) -> (bool, u64, u64) {
    let Snapshot { storm, storms, held_back, .. } = loader.metrics.snapshot();
    (storm.get(()) == Some(1.0), storms.total(), held_back.total())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_producer_fills_no_table_and_when_it_is_mended_the_loader_goes_on_by_itself() {
    let pipeline = Pipeline::new().await;
    pipeline.fill(297, 3);
    let loader = pipeline.start(LANES, guarded(impatient(50))).await;
    wait_until("all is well", async || pipeline.counts().await[1] == 297).await;
    assert_eq!(storm(&loader), (false, 0, 0));

    pipeline.fill_with(broken(900));
    wait_until("the guard stops the loader", async || storm(&loader).0).await;
    // Behind what is broken.
    pipeline.fill(400, 0);
    wait_for(LONG_PATIENCE, "it goes on and loads the rest", async || pipeline.counts().await[1] == 697).await;

    let (is_raging, storms, held_back) = storm(&loader);
    assert!(!is_raging && storms == 1 && held_back >= 300, "{storms} storms, {held_back} held back");
    let totals = loader.stop().await;
    // The third delivery of each comes forty seconds after its first, by a probe.
    assert!(totals.dead_lettered <= 90, "{totals}");
    assert_eq!(totals.loaded, 697, "{totals}");
    assert_eq!(pipeline.depth() as u64, 903 - totals.dead_lettered, "what is broken waits in the queue");

    // Without a guard they become dead letters after all, and each is where it belongs.
    let totals = pipeline.drain().await;
    assert!(totals.dead_lettered >= 813, "{totals}");
    pipeline.assert_promise().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_storm_nothing_is_taken_but_probes_and_only_they_bury_what_is_at_its_last_attempt() {
    let pipeline = Pipeline::new().await;
    pipeline.fill_with(broken(2_000));
    let limits = Limits { pauses: (Duration::from_secs(3600), Duration::from_secs(3600)), ..impatient(50) };
    // Each is at its last attempt.
    let loader = pipeline.start(LANES, LaneSettings { max_attempts: 1, ..guarded(limits) }).await;
    wait_until("the guard stops the loader", async || storm(&loader).0).await;
    let totals = loader.stop().await;
    let of_each_lane = (LANES * quick().limits.batch_size) as u64;
    assert!(totals.received <= 200 + of_each_lane, "{totals}");
    assert!(totals.dead_lettered < 200, "those that were judged before it began: {totals}");
    assert_eq!(totals.dead_lettered + totals.returned, totals.received, "{totals}");

    let loader = pipeline.start(LANES, LaneSettings { max_attempts: 1, ..guarded(impatient(50)) }).await;
    wait_until("the guard stops this one too", async || storm(&loader).0).await;
    let before = pipeline.counts().await[2];
    // More than were in hand.
    let probes = async || pipeline.counts().await[2] > before + 300;
    wait_for(LONG_PATIENCE, "probes bury what they bring", probes).await;
    assert!(storm(&loader).0);
    loader.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejections_below_the_greatest_share_stop_nobody() {
    let pipeline = Pipeline::new().await;
    pipeline.fill(700, 300);
    let loader = pipeline.start(LANES, LaneSettings { retry_delay: Duration::ZERO, ..guarded(impatient(50)) }).await;
    wait_until("all are loaded or buried", async || pipeline.depth() == 0).await;
    assert_eq!(storm(&loader), (false, 0, 0));
    let totals = loader.stop().await;
    assert_eq!((totals.loaded, totals.dead_lettered), (700, 300));
    pipeline.assert_promise().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handful_of_messages_is_no_storm_though_all_of_them_are_rejected() {
    let pipeline = Pipeline::new().await;
    pipeline.fill_with(broken(150));
    let loader = pipeline.start(LANES, LaneSettings { retry_delay: Duration::ZERO, ..guarded(impatient(1)) }).await;
    wait_until("they are buried", async || pipeline.depth() == 0).await;
    assert_eq!(storm(&loader), (false, 0, 0));
    assert_eq!(loader.stop().await.dead_lettered, 150);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_until_the_queue_is_empty_ends_with_an_error_instead_of_waiting_for_better_times() {
    let pipeline = Pipeline::new().await;
    pipeline.fill_with(broken(1_000));
    let settings = LaneSettings { until_empty: true, ..guarded(impatient(50)) };
    let ended = pipeline.start(LANES, settings).await.ended().await.unwrap_err();
    assert!(matches!(ended, RunError::Lane(LaneError::Storm)), "{ended}");
    assert!(ended.remedy().unwrap().contains("--max-rejection-rate off"));
    assert_eq!((pipeline.depth(), pipeline.counts().await), (1_000, [0; 4]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_until_the_queue_is_empty_has_no_guard_unless_it_is_asked_for() {
    let test = TestDatabase::with_tables().await;
    let site = Site::without_tables(test.url()).await;
    let run = |more: &[&str]| site.command(&[&["run", "--until-empty", "--retry-delay", "0s"], more].concat());
    site.fill_with(broken(300));
    assert!(site.start(run(&[]), "unguarded").ended().await.success());
    site.assert_promise().await;
    site.fill_with(broken(300));
    let guarded = site.start(run(&["--max-rejection-rate", "50%"]), "guarded");
    let said = || std::fs::read_to_string(site.log("guarded")).unwrap();
    assert_eq!(guarded.ended().await.code(), Some(1), "{}", said());
    assert!(said().contains("too many messages are not logins (--max-rejection-rate)"), "{}", said());
    assert_eq!(site.depth(), 300, "none has become a dead letter");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_is_told_by_the_log_the_figures_and_the_probe_and_no_value_with_it() {
    let served = Served::start(&["--max-rejection-rate", "20%"]).await;
    let figure = async |name: &str| served.scrape().await.get(name).copied();
    wait_until("it has a guard", async || figure("turnstile_storm").await == Some(0.0)).await;
    served.site.fill(150, 150);
    wait_until("it says so", async || figure("turnstile_storm").await == Some(1.0)).await;
    assert_eq!(figure("turnstile_storms_total").await, Some(1.0));
    assert!(figure("turnstile_storm_since_timestamp_seconds").await.is_some());
    let (ready, says) = served.health(&["--ready"]);
    assert!(ready == Some(1) && says.contains("[-]storm failed: too many messages have not been logins"), "{says}");
    assert_eq!(served.health(&[]).0, Some(0), "a restart would mend nothing");
    let said = served.loader.said();
    let warned = said.lines().find(|line| line.contains("too many messages are not logins")).unwrap();
    for part in ["WARN", "\"mostly\":\"invalid_json\"", "ask the sender what has changed"] {
        assert!(warned.contains(part), "{part}: {warned}");
    }
    assert_eq!(served.site.discrepancies().await.leaked, 0);
    served.end().await;
}

/// Bodies of 24 KiB that no compression makes much shorter; each holds canaries.
fn large(messages: usize) -> impl Iterator<Item = (String, Kind)> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let noise = |seed: usize| {
        let mut state = seed as u64 + 1;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(DIGITS[(state >> 58) as usize])
        })
    };
    (0..messages).map(move |n| {
        let body = format!("no login of device of canary {n}: {}", noise(n).take(24 * 1024).collect::<String>());
        (body, Kind::Malformed)
    })
}

async fn size_of_letters(pipeline: &Pipeline) -> u64 {
    let sql = "SELECT pg_total_relation_size('turnstile.dead_letters')";
    pipeline.client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0).cast_unsigned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_of_what_is_no_login_fills_no_disk_and_once_there_is_room_the_loader_goes_on_by_itself() {
    const BATCH: usize = 20;
    // About twice as many as there is room for.
    const BROKEN: usize = 200;
    let pipeline = Pipeline::new().await;
    pipeline.fill_with(large(BROKEN));
    let quota = size_of_letters(&pipeline).await + (2 << 20);
    let mut settings = LaneSettings { max_attempts: 1, until_empty: false, ..quick() };
    settings.limits.batch_size = BATCH;
    settings.dead_letter_quota = Some(quota);
    let loader = pipeline.start(LANES, settings).await;
    let is_full = || loader.metrics.snapshot().dead_letters_full.get(()) == Some(1.0);
    wait_until("it holds", async || is_full()).await;
    wait_until("all that was in hand has ended", async || loader.metrics.snapshot().in_hand.get(()) == Some(0.0)).await;

    // Behind what is broken.
    pipeline.fill(30, 0);
    let received = || loader.metrics.snapshot().received.total();
    let (before, letters) = (received(), pipeline.counts().await[2]);
    let gone_back = || loader.metrics.snapshot().held_back.total();
    wait_until("it tries a few, which go back", async || received() > before && gone_back() > 0).await;
    assert!(is_full() && received() <= before + 20, "more than probes are received");
    assert_eq!(pipeline.counts().await[2], letters, "a probe is buried above the quota");
    let size = size_of_letters(&pipeline).await;
    let of_each_lane = (LANES * BATCH) as u64 * (26 << 10);
    assert!(letters > 40 && size <= quota + of_each_lane, "{letters} letters take {size} bytes of {quota}");
    assert!(pipeline.depth() >= BROKEN - letters as usize && gone_back() > 0);

    // It looks every half minute.
    pipeline.client.batch_execute("TRUNCATE turnstile.dead_letters").await.unwrap();
    wait_for(LONG_PATIENCE, "it goes on and loads the rest", async || pipeline.counts().await[1] == 30).await;
    let totals = loader.stop().await;
    assert_eq!(totals.loaded, 30, "{totals}");
    assert_eq!(pipeline.depth() as u64, BROKEN as u64 - totals.dead_lettered, "nothing is lost: {totals}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_until_the_queue_is_empty_ends_with_an_error_where_dead_letters_have_no_room() {
    let pipeline = Pipeline::new().await;
    pipeline.fill(10, 0);
    let settings = LaneSettings { dead_letter_quota: Some(1), ..quick() };
    let ended = pipeline.start(LANES, settings).await.ended().await.unwrap_err();
    assert!(matches!(ended, RunError::Lane(LaneError::Full)), "{ended}");
    assert!(ended.remedy().unwrap().contains("--dead-letter-quota"));
    assert_eq!((pipeline.depth(), pipeline.counts().await), (10, [0; 4]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_table_of_dead_letters_is_told_by_the_log_the_figures_and_the_probe_and_no_value_with_it() {
    let served = Served::start(&["--dead-letter-quota", "1MiB", "--max-attempts", "1"]).await;
    let figure = async |name: &str| served.scrape().await.get(name).copied();
    wait_until("it has looked", async || figure("turnstile_dead_letters_bytes").await.is_some()).await;
    assert_eq!(figure("turnstile_dead_letters_full").await, Some(0.0));
    assert_eq!(figure("turnstile_dead_letter_quota_bytes").await, Some(1_048_576.0));
    served.site.fill_with(large(100));
    wait_until("it says so", async || figure("turnstile_dead_letters_full").await == Some(1.0)).await;
    assert!(figure("turnstile_dead_letters_full_since_timestamp_seconds").await.is_some());
    let (ready, says) = served.health(&["--ready"]);
    assert!(ready == Some(1) && says.contains("[-]dead letters failed: without room"), "{says}");
    assert_eq!(served.health(&[]).0, Some(0), "a restart would mend nothing");
    let said = served.loader.said();
    let warned = said.lines().find(|line| line.contains("the dead letters have taken their quota")).unwrap();
    for part in ["WARN", "\"quota\":1048576", "ask the sender what has changed"] {
        assert!(warned.contains(part), "{part}: {warned}");
    }
    assert_eq!(served.site.discrepancies().await.leaked, 0);
    served.end().await;
}
