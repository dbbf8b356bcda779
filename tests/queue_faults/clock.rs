//! The loader's clock and the queue's are 20 minutes apart, in both directions, and jump.

use stand_ins::sqs::QueueOptions;
use time::{Duration, OffsetDateTime};

use super::{Siege, times};
use crate::support::pipeline::Pipeline;
use crate::support::site::QUEUE;

#[tokio::test]
async fn a_clock_that_jumps_by_20_minutes_costs_refused_calls_and_no_message() {
    let siege = Siege::begin(QueueOptions::new(QUEUE), 8).await;
    let refused = || siege.pipeline.sqs.fault_counts().skewed_clock;
    for minutes in [20, 0, -20, 0].into_iter().cycle() {
        siege.pipeline.fill(20, 5);
        siege.pipeline.sqs.set_clock_ahead(Duration::minutes(minutes));
        siege.pipeline.is_drained().await;
        if refused() >= times() {
            break;
        }
    }
    let times = refused();
    siege.survived("call refused because the clock is 20 minutes off", times).await;
}

#[tokio::test]
async fn a_login_keeps_the_time_that_the_queue_gave_it_whatever_the_loaders_clock_says() {
    for minutes in [20, -20] {
        let pipeline = Pipeline::new().await;
        pipeline.fill(20, 5);
        pipeline.sqs.set_clock_ahead(Duration::minutes(minutes));
        pipeline.drain().await;
        pipeline.assert_promise().await;
        let sql = "SELECT min(sent_at), max(sent_at) FROM processed_messages";
        let sent = pipeline.client.query_one(sql, &[]).await.unwrap();
        for sent_at in [0, 1].map(|column| sent.get::<_, OffsetDateTime>(column)) {
            let ahead = sent_at - OffsetDateTime::now_utc();
            assert!((ahead - Duration::minutes(minutes)).abs() < Duration::minutes(2), "{ahead}");
        }
        assert!(pipeline.sqs.fault_counts().skewed_clock > 0);
    }
}
