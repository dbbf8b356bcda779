//! The loader before SQS servers that other people wrote.

use turnstile::message::Identity;
use turnstile::queue::Queue;
use turnstile::queue::sqs::{SqsQueue, SqsSettings};

use crate::support::pipeline::{Running, quick};
use crate::support::scripted_http::aws_at;
use crate::support::site::{QUEUE, send_to};
use crate::support::tables::Tables;
use crate::support::verdicts::login;

/// The servers, as `NAME=ENDPOINT NAME=ENDPOINT …`.
const SERVERS: &str = "TURNSTILE_TEST_SQS_SERVERS";

#[tokio::test]
#[ignore = "needs other SQS servers: `make conformance` starts them and runs this"]
async fn through_every_sqs_server_each_login_becomes_one_row_and_each_bad_body_one_dead_letter() {
    let servers = std::env::var(SERVERS).expect("the servers' endpoints in TURNSTILE_TEST_SQS_SERVERS");
    for server in servers.split_whitespace() {
        let (name, endpoint) = server.split_once('=').unwrap();
        println!("{name}");
        pass_through(endpoint).await;
    }
}

async fn pass_through(endpoint: &str) {
    let sqs = aws_sdk_sqs::Client::new(&aws_at(endpoint));
    sqs.create_queue().queue_name(QUEUE).send().await.unwrap();
    let logins = (0..93).map(|n| login(&format!("user {n}"), "ios"));
    let bad = ["no login", "[]", "{}", "null", "{\"user_id\": 7}", "\u{feff}{}", "7"].map(str::to_owned);
    let bad_count = i64::try_from(bad.len()).unwrap();
    send_to(QUEUE, endpoint, logins.chain(bad)).await;

    let Tables { database, client, .. } = &Tables::new().await;
    for again in [false, true] {
        let loader = Running::start(&aws_at(endpoint), QUEUE, database, &Identity::MessageId, 2, quick()).await;
        let totals = loader.ended().await.unwrap();
        assert_eq!(totals.received == 0, again, "{totals}");
        let sql = "SELECT (SELECT count(*) FROM user_logins), (SELECT count(*) FROM dead_letters)";
        let row = client.query_one(sql, &[]).await.unwrap();
        assert_eq!((row.get(0), row.get(1)), (93_i64, bad_count));
    }
    let queue = SqsQueue::connect_with(&SqsSettings::new(QUEUE.parse().unwrap()), &aws_at(endpoint)).await.unwrap();
    assert!(queue.depth().await.unwrap().is_empty());
}
