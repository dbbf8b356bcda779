//! How many lanes are at work: one receives while the queue is idle, all while it is deep.

use std::time::{Duration, Instant};

use serde_json::json;
use stand_ins::sqs::Faults;
use turnstile::lane::LaneSettings;
use turnstile::receive::ReceiveLimits;

use crate::support::pipeline::{Pipeline, quick};
use crate::support::postgres::block_claims;
use crate::support::scripted_http::{Reply, ScriptedHttp, aws_at};
use crate::support::site::QUEUE;
use crate::support::totals::Totals;
use crate::support::verdicts::login;
use crate::support::wait_until;

const LANES: usize = 8;
const WAIT: Duration = Duration::from_secs(1);

/// For ever, ten messages a batch.
fn small_batches() -> LaneSettings {
    let limits = ReceiveLimits { batch_size: 10, wait: WAIT, ..quick().limits };
    LaneSettings { limits, until_empty: false, ..quick() }
}

fn insert(pipeline: &Pipeline, count: usize) {
    (0..count).for_each(|n| {
        pipeline.insert(login(&format!("user {n}"), "ios"));
    });
}

async fn delivered(pipeline: &Pipeline, count: u64) {
    wait_until("the lanes receive", async || pipeline.sqs.served().delivered == count).await;
}

/// Whether the loader makes one long poll after the other: of two open at once the second would be counted too soon.
async fn polls_one_at_a_time(pipeline: &Pipeline) -> bool {
    const POLLS: u32 = 4;
    let before = pipeline.sqs.served().calls;
    let since = Instant::now();
    wait_until("the loader polls", async || pipeline.sqs.served().calls >= before + u64::from(POLLS)).await;
    since.elapsed() > WAIT * (POLLS - 1)
}

/// Lets every call of this kind take effect and stay without an answer.
fn unanswered(call: &'static str) -> Faults {
    Faults { only: Some(call), delay: 1.0, max_delay: Duration::from_secs(3600), ..Faults::default() }
}

#[tokio::test]
async fn an_idle_loader_makes_one_long_poll_at_a_time_however_many_lanes_it_has() {
    let pipeline = Pipeline::new().await;
    let loader = pipeline.start(LANES, small_batches()).await;
    assert!(polls_one_at_a_time(&pipeline).await);
    loader.stop().await;
}

#[tokio::test]
async fn a_server_that_does_not_wait_for_messages_is_asked_less_and_less_however_many_lanes_there_are() {
    let server = ScriptedHttp::start(|asked, _| match asked.call.as_str() {
        "GetQueueUrl" => Reply::json(json!({"QueueUrl": "http://q/000000000000/logins"})),
        "GetQueueAttributes" => Reply::json(json!({"Attributes": {}})),
        _ => Reply::json(json!({})),
    })
    .await;
    let pipeline = Pipeline::new().await;
    let loader = pipeline.start_as(&aws_at(&server.url()), LANES, small_batches()).await;
    let since = Instant::now();
    wait_until("three waits are over", async || since.elapsed() > 3 * WAIT).await;
    let receives = server.asked("ReceiveMessage").len();
    assert!((3..20).contains(&receives), "{receives} receives");
    loader.stop().await;
}

#[tokio::test]
async fn all_lanes_come_to_work_on_a_backlog_and_all_but_one_rest_after_it() {
    let pipeline = Pipeline::new().await;
    let mut locker = pipeline.test.client().await;
    let lock = block_claims(&mut locker).await;
    insert(&pipeline, 20 * LANES);
    let loader = pipeline.start(LANES, small_batches()).await;
    // Each lane has a batch in hand and cannot load it: whatever is in hand, so many lanes hold it.
    delivered(&pipeline, 10 * LANES as u64).await;
    lock.rollback().await.unwrap();
    wait_until("the backlog is loaded", async || pipeline.depth() == 0).await;
    wait_until("the lanes rest", async || polls_one_at_a_time(&pipeline).await).await;
    loader.stop().await;
}

#[tokio::test]
async fn lanes_receive_side_by_side_while_the_queue_is_deep() {
    let pipeline = Pipeline::new().await;
    insert(&pipeline, 3_000);
    let wait = Duration::from_secs(20);
    let limits = ReceiveLimits { wait, ..small_batches().limits };
    let _loader = pipeline.start(LANES, LaneSettings { limits, ..small_batches() }).await;
    wait_until("a tenth is loaded", async || pipeline.counts().await[1] > 300).await;
    pipeline.sqs.set_faults(unanswered("ReceiveMessage"));
    let since = Instant::now();
    wait_until("each lane has made a call of ten that is not answered", async || {
        pipeline.sqs.stats(QUEUE).unwrap().in_flight == 10 * LANES
    })
    .await;
    assert!(since.elapsed() < wait, "one that waits for the other's answer waits for its deadline");
}

#[tokio::test]
async fn while_one_lane_waits_for_the_database_a_resting_one_receives_what_comes() {
    let pipeline = Pipeline::new().await;
    let loader = pipeline.start(3, small_batches()).await;
    let mut locker = pipeline.test.client().await;
    let lock = block_claims(&mut locker).await;
    for in_hand in 1..=3 {
        insert(&pipeline, 1);
        delivered(&pipeline, in_hand).await;
    }
    insert(&pipeline, 1);
    let calls = pipeline.sqs.served().calls;
    let since = Instant::now();
    wait_until("two long polls could have ended", async || since.elapsed() > 2 * WAIT).await;
    assert_eq!(pipeline.sqs.served().calls, calls, "a loader that cannot load does not receive");
    lock.rollback().await.unwrap();
    wait_until("all are loaded", async || pipeline.depth() == 0).await;
    loader.stop().await;
}

#[tokio::test]
async fn a_message_that_is_sent_to_an_idle_loader_is_loaded_at_once() {
    let pipeline = Pipeline::new().await;
    let wait = Duration::from_secs(20);
    let limits = ReceiveLimits { wait, ..small_batches().limits };
    let loader = pipeline.start(LANES, LaneSettings { limits, ..small_batches() }).await;
    for count in 1..=3 {
        let since = Instant::now();
        insert(&pipeline, 1);
        wait_until("it is loaded and deleted", async || pipeline.counts().await[1] == count && pipeline.depth() == 0)
            .await;
        assert!(since.elapsed() < wait / 4, "{:?}", since.elapsed());
    }
    loader.shutdown.stopping.cancel();
    insert(&pipeline, 1);
    let totals = loader.ended().await.unwrap();
    assert_eq!(totals.loaded, 4, "the receive in flight returns with what was sent after the signal");
}

#[tokio::test]
async fn a_drained_queue_ends_many_lanes_as_soon_as_one() {
    let pipeline = Pipeline::new().await;
    insert(&pipeline, 30);
    let since = Instant::now();
    let settings = LaneSettings { until_empty: true, ..small_batches() };
    let totals = pipeline.start(64, settings).await.ended().await.unwrap();
    assert_eq!((totals.loaded, totals.deleted, pipeline.depth()), (30, 30, 0));
    assert!(since.elapsed() < 20 * WAIT, "one after the other they would take three polls each");
}

#[tokio::test]
async fn deletes_that_are_slow_hold_up_neither_the_next_receive_nor_the_next_commit() {
    let pipeline = Pipeline::new().await;
    pipeline.sqs.set_faults(unanswered("DeleteMessageBatch"));
    insert(&pipeline, 20);
    let loader = pipeline.start(1, small_batches()).await;
    wait_until("two batches are committed", async || pipeline.counts().await[1] == 20).await;
    assert_eq!(Totals::of(&loader.metrics).deleted, 0, "the first batch still waits for its deletes");
    pipeline.sqs.set_faults(Faults::default());
    let totals = loader.stop().await;
    assert_eq!((totals.loaded, totals.deleted), (20, 20), "the end waits for the deletes");
}

#[tokio::test]
async fn a_loader_that_cannot_go_on_still_deletes_what_it_had_committed() {
    let pipeline = Pipeline::new().await;
    pipeline.sqs.set_faults(unanswered("DeleteMessageBatch"));
    insert(&pipeline, 10);
    let loader = pipeline.start(1, small_batches()).await;
    let metrics = loader.metrics.clone();
    wait_until("a batch is committed", async || pipeline.counts().await[1] == 10).await;
    pipeline.client.batch_execute("ALTER TABLE outbox RENAME TO elsewhere").await.unwrap();
    insert(&pipeline, 1);
    delivered(&pipeline, 11).await;
    pipeline.sqs.set_faults(Faults::default());
    loader.ended().await.unwrap_err();
    assert_eq!(Totals::of(&metrics).deleted, 10);
}
