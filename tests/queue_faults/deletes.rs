//! Deletes that the queue refuses for good: the loader rests, tries, and ends with the reason.

use std::time::Duration;

use serde_json::{Value, json};
use turnstile::lane::{LaneError, LaneSettings};
use turnstile::run::RunError;

use crate::support::pipeline::{Pipeline, Running, quick};
use crate::support::scripted_http::{Asked, Reply, ScriptedHttp, aws_at, md5_of};
use crate::support::totals::Totals;
use crate::support::verdicts::login;
use crate::support::{self, wait_until};

const LANES: usize = 2;
const PATIENCE: Duration = Duration::from_secs(1);

/// Calls of ten without lingering, one a batch.
fn impatient() -> LaneSettings {
    let quick = quick();
    let limits = turnstile::receive::ReceiveLimits { batch_size: 10, ..quick.limits };
    LaneSettings { limits, delete_patience: PATIENCE, ..quick }
}

/// A queue that never runs dry, or that holds so many messages, and answers deletes as the test says.
async fn queue(holds: Option<usize>, deletes: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> ScriptedHttp {
    ScriptedHttp::start(move |asked, before| match asked.call.as_str() {
        "GetQueueUrl" => Reply::json(json!({"QueueUrl": "http://q/000000000000/logins"})),
        "GetQueueAttributes" => Reply::json(json!({"Attributes": {"ApproximateNumberOfMessages": "0",
            "ApproximateNumberOfMessagesNotVisible": "0", "ApproximateNumberOfMessagesDelayed": "0"}})),
        "ReceiveMessage" if holds.is_none_or(|holds| 10 * before < holds) => {
            let messages = (0..10).map(|n| message(&format!("m{before}-{n}")));
            Reply::json(json!({"Messages": messages.collect::<Vec<_>>()}))
        }
        "DeleteMessageBatch" => deletes(asked, before),
        _ => Reply::json(json!({})),
    })
    .await
}

fn message(id: &str) -> Value {
    let body = login(id, "ios");
    json!({"MessageId": id, "ReceiptHandle": format!("receipt of {id}"), "MD5OfBody": md5_of(body.as_bytes()),
        "Body": body, "Attributes": {"SentTimestamp": "1700000000123", "ApproximateReceiveCount": "1"}})
}

fn answer(asked: &Asked, refuse: impl Fn(usize) -> bool) -> Reply {
    let ids: Vec<Value> = asked.body["Entries"].as_array().unwrap().iter().map(|entry| entry["Id"].clone()).collect();
    let (failed, successful): (Vec<_>, Vec<_>) = ids.into_iter().enumerate().partition(|(n, _)| refuse(*n));
    let no = |id: Value| json!({"Id": id, "Code": "ReceiptHandleIsInvalid", "SenderFault": true, "Message": "stale"});
    Reply::json(json!({
        "Successful": successful.into_iter().map(|(_, id)| json!({"Id": id})).collect::<Vec<_>>(),
        "Failed": failed.into_iter().map(|(_, id)| no(id)).collect::<Vec<_>>(),
    }))
}

async fn start(server: &ScriptedHttp, pipeline: &Pipeline, lane: LaneSettings) -> Running {
    pipeline.start_as(&aws_at(&server.url()), LANES, lane).await
}

/// The error that ends a loader, and how many it received, deleted and did not delete.
async fn end_of(loader: Running) -> (LaneError, [u64; 3]) {
    let metrics = loader.metrics.clone();
    let ended = tokio::time::timeout(support::PATIENCE, loader.ended()).await;
    let error = match ended.expect("it ends").unwrap_err() {
        RunError::Lane(error) => error,
        error @ (RunError::Defect | RunError::Overrun(_)) => panic!("{error}"),
    };
    let totals = Totals::of(&metrics);
    (error, [totals.received, totals.deleted, totals.not_deleted])
}

#[tokio::test]
async fn deletes_that_are_denied_end_the_loader_with_the_remedy_and_use_up_no_receives_until_then() {
    let server = queue(None, |_, _| Reply::error(403, "AccessDeniedException")).await;
    let pipeline = Pipeline::new().await;
    let (error, [received, deleted, not_deleted]) = end_of(start(&server, &pipeline, impatient()).await).await;
    assert!(matches!(error, LaneError::Deletes(_)), "{error}");
    let text = format!("{error}: {}", error.remedy().unwrap());
    assert!(text.contains("AccessDeniedException") && text.contains("sqs:DeleteMessage"), "{text}");
    assert_eq!((deleted, not_deleted), (0, received));
    // A lane that is receiving or loading when the first delete is refused brings one batch more.
    let receives = server.asked("ReceiveMessage").len();
    assert!(receives <= 2 * LANES, "{receives} receives");
    assert!(server.asked("DeleteMessageBatch").len() > receives, "they are tried again");
}

#[tokio::test]
async fn receipts_that_are_all_refused_end_the_loader_and_are_not_counted_as_deleted() {
    let server = queue(None, |asked, _| answer(asked, |_| true)).await;
    let pipeline = Pipeline::new().await;
    let (error, [received, deleted, not_deleted]) = end_of(start(&server, &pipeline, impatient()).await).await;
    assert!(matches!(error, LaneError::Deletes(_)), "{error}");
    let text = format!("{error}: {}", error.remedy().unwrap());
    let words = ["ReceiptHandleIsInvalid", "sqs:DeleteMessage", "--visibility-timeout"];
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
    assert_eq!((deleted, not_deleted), (0, received));
    let receives = server.asked("ReceiveMessage").len();
    assert!(receives <= 20, "{receives} receives in a second");
    let deletes = server.asked("DeleteMessageBatch").len();
    assert_eq!(deletes, receives, "a receipt that was refused is not tried again");
}

#[tokio::test]
async fn a_loader_whose_deletes_are_allowed_again_in_time_goes_on() {
    let server = queue(Some(40), |asked, before| match before {
        ..6 => Reply::error(403, "AccessDeniedException"),
        _ => answer(asked, |_| false),
    })
    .await;
    let pipeline = Pipeline::new().await;
    let patient = LaneSettings { delete_patience: Duration::from_secs(60), ..impatient() };
    let totals = start(&server, &pipeline, patient).await.ended().await.unwrap();
    assert_eq!((totals.received, totals.loaded, totals.deleted, totals.not_deleted), (40, 40, 40, 0));
}

#[tokio::test]
async fn a_stale_receipt_in_every_batch_stops_nothing_and_is_counted() {
    let server = queue(None, |asked, _| answer(asked, |n| n == 3)).await;
    let pipeline = Pipeline::new().await;
    let loader = start(&server, &pipeline, impatient()).await;
    let since = std::time::Instant::now();
    wait_until("it goes on when twice the patience is over", async || {
        since.elapsed() > 2 * PATIENCE && Totals::of(&loader.metrics).received >= 100
    })
    .await;
    let totals = loader.stop().await;
    assert_eq!((totals.deleted, totals.not_deleted), (totals.received / 10 * 9, totals.received / 10));
}
