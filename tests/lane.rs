//! From queue to table: the whole path, over real HTTP and a real PostgreSQL.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use stand_ins::sqs::{Faults, QueueOptions};
use turnstile::decode::Rejection;
use turnstile::lane::LaneSettings;
use turnstile::load::LoadError;
use turnstile::message::MessageHash;
use turnstile::receive::ReceiveLimits;
use turnstile::run::RunError;

use crate::support::pipeline::{Pipeline, quick};
use crate::support::postgres::block_claims;
use crate::support::site::QUEUE;
use crate::support::verdicts::{keyring, login};
use crate::support::wait_until;

fn logins(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| login(&format!("user {n}"), "ios"))
}

#[tokio::test]
async fn every_login_becomes_one_row_and_the_queue_is_empty_after() {
    let pipeline = Pipeline::new().await;
    pipeline.send(logins(250)).await;
    let totals = pipeline.drain().await;
    assert_eq!((totals.received, totals.loaded, totals.deleted, totals.duplicates), (250, 250, 250, 0));
    assert_eq!((pipeline.counts().await, pipeline.depth()), ([250, 250, 0, 250], 0));

    let again = pipeline.drain().await;
    assert_eq!((again.received, pipeline.counts().await), (0, [250, 250, 0, 250]));
}

#[tokio::test]
async fn two_equal_bodies_are_two_logins() {
    let pipeline = Pipeline::new().await;
    pipeline.send([login("a", "ios"), login("a", "ios")]).await;
    pipeline.drain().await;
    assert_eq!(pipeline.counts().await, [2, 2, 0, 2]);
}

#[tokio::test]
async fn a_business_id_absorbs_what_a_producer_sends_twice() {
    let mut pipeline = Pipeline::new().await;
    pipeline.identity = "field:/user_id".parse().unwrap();
    pipeline.send([login("a", "ios"), login("b", "ios"), login("a", "ios")]).await;
    let totals = pipeline.drain().await;
    assert_eq!((totals.loaded, totals.duplicates, pipeline.depth()), (2, 1, 0));
}

#[tokio::test]
async fn a_fifo_queue_is_loaded_and_its_deduplication_id_may_be_the_identity() {
    let options = QueueOptions { fifo: true, ..QueueOptions::new("logins.fifo") };
    let mut pipeline = Pipeline::of(options).await;
    pipeline.identity = "attribute:MessageDeduplicationId".parse().unwrap();
    pipeline.send(logins(30)).await;
    pipeline.drain().await;
    assert_eq!((pipeline.counts().await, pipeline.depth()), ([30, 30, 0, 30], 0));
}

#[tokio::test]
async fn a_login_without_the_named_identity_becomes_a_dead_letter() {
    let mut pipeline = Pipeline::new().await;
    pipeline.identity = "attribute:event-id".parse().unwrap();
    pipeline.send(logins(2)).await;
    pipeline.drain().await;
    let code: String = pipeline.client.query_one("SELECT min(code) FROM dead_letters", &[]).await.unwrap().get(0);
    assert_eq!((pipeline.counts().await, code.as_str()), ([2, 0, 2, 0], "identity_missing"));
}

/// Every body of the fixtures, by file name; the file says the code that it must be given.
fn fixtures() -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bodies");
    let read = |file: std::fs::DirEntry| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap());
    let mut bodies: BTreeMap<_, _> = std::fs::read_dir(folder).unwrap().map(|file| read(file.unwrap())).collect();
    bodies.insert("nested_too_deep--1_mib_of_brackets".to_owned(), vec![b'['; 1 << 20]);
    bodies
}

#[tokio::test]
async fn each_bad_body_ends_as_one_sealed_dead_letter_with_its_code_and_each_good_one_as_a_row() {
    let pipeline = Pipeline::new().await;
    let mut code_of = BTreeMap::new();
    for (name, body) in fixtures() {
        let message_id = pipeline.insert(body.clone());
        code_of.insert(message_id, (name, body));
    }
    let totals = pipeline.drain().await;

    let good = code_of.values().filter(|(name, _)| name.starts_with("ok--")).count();
    let bad = code_of.len() - good;
    let row_of = |n: usize| i64::try_from(n).unwrap();
    assert!(bad > 100 && good > 10, "{bad} {good}");
    assert_eq!(pipeline.counts().await, [row_of(bad + good), row_of(good), row_of(bad), row_of(good)]);
    assert_eq!((totals.returned as usize, pipeline.depth()), (2 * bad, 0), "two more attempts each, then none");

    let opener = keyring().body_opener();
    let letters = pipeline
        .client
        .query("SELECT message_id, code, sealed_body, receive_count, message_hash FROM dead_letters", &[]);
    for letter in letters.await.unwrap() {
        let (name, body) = &code_of[letter.get::<_, &str>(0)];
        assert_eq!(name.split("--").next(), Some(letter.get::<_, &str>(1)));
        assert!(Rejection::CODES.contains(&letter.get::<_, &str>(1)));
        assert_eq!(letter.get::<_, i32>(3), 3, "{name}");
        let sealed = turnstile::seal::SealedBody::from_bytes(letter.get(2));
        let hash = MessageHash::from_bytes(letter.get::<_, &[u8]>(4).try_into().unwrap());
        assert!(opener.open(hash, &sealed).unwrap().0.as_bytes() == body, "{name} comes back as it was sent");
    }
}

#[tokio::test]
async fn good_neighbours_of_a_bad_message_land_while_it_waits_for_its_next_attempt() {
    let pipeline = Pipeline::new().await;
    pipeline.send(logins(9).chain(["no login".to_owned()])).await;
    let patient = LaneSettings { retry_delay: Duration::from_secs(600), until_empty: false, ..quick() };
    let loader = pipeline.start(1, patient).await;
    wait_until("the neighbours land", async || pipeline.counts().await == [9, 9, 0, 9]).await;
    wait_until("they are deleted, and the bad one is not", async || pipeline.depth() == 1).await;
    let totals = loader.stop().await;
    assert_eq!((totals.returned, totals.dead_lettered), (1, 0));
}

#[tokio::test]
async fn messages_stay_hidden_for_as_long_as_the_database_keeps_their_loader_waiting() {
    let pipeline = Pipeline::new().await;
    pipeline.send(logins(25)).await;
    let mut locker = pipeline.test.client().await;
    let lock = block_claims(&mut locker).await;

    let limits = ReceiveLimits { visibility_timeout: Duration::from_secs(2), ..quick().limits };
    let loader = pipeline.start(3, LaneSettings { limits, ..quick() }).await;
    wait_until("everything is received", async || pipeline.sqs.served().delivered == 25).await;
    let before = std::time::Instant::now();
    wait_until("two timeouts pass", async || before.elapsed() > Duration::from_secs(5)).await;
    assert_eq!(pipeline.sqs.stats(QUEUE).unwrap().in_flight, 25);
    lock.rollback().await.unwrap();

    let totals = loader.ended().await.unwrap();
    assert_eq!((totals.received, totals.loaded, pipeline.sqs.served().delivered), (25, 25, 25));
}

#[tokio::test]
async fn a_loader_that_is_told_to_end_finishes_what_it_has_in_hand() {
    let pipeline = Pipeline::new().await;
    pipeline.send(logins(20)).await;
    let mut locker = pipeline.test.client().await;
    let lock = block_claims(&mut locker).await;
    let loader = pipeline.start(1, LaneSettings { until_empty: false, ..quick() }).await;
    wait_until("everything is received", async || pipeline.sqs.served().delivered == 20).await;
    loader.shutdown.stopping.cancel();
    lock.rollback().await.unwrap();
    let totals = loader.ended().await.unwrap();
    assert_eq!((totals.loaded, totals.deleted, pipeline.depth()), (20, 20, 0));
}

#[tokio::test]
async fn a_loader_that_must_give_up_gives_its_messages_back_to_the_queue() {
    let pipeline = Pipeline::new().await;
    pipeline.send(logins(20)).await;
    let mut locker = pipeline.test.client().await;
    let lock = block_claims(&mut locker).await;
    let loader = pipeline.start(1, LaneSettings { until_empty: false, ..quick() }).await;
    wait_until("everything is received", async || pipeline.sqs.served().delivered == 20).await;
    loader.shutdown.stopping.cancel();
    loader.shutdown.giving_up.cancel();
    let totals = loader.ended().await.unwrap();
    assert_eq!((totals.received, totals.loaded, pipeline.sqs.stats(QUEUE).unwrap().visible), (20, 0, 20));

    lock.rollback().await.unwrap();
    pipeline.drain().await;
    assert_eq!(pipeline.counts().await, [20, 20, 0, 20]);
}

#[tokio::test]
async fn a_loader_that_cannot_go_on_leaves_its_messages_hidden_until_their_timeout() {
    let pipeline = Pipeline::new().await;
    pipeline.send(logins(20)).await;
    pipeline.client.batch_execute("ALTER TABLE outbox RENAME TO elsewhere").await.unwrap();
    let limits = ReceiveLimits { visibility_timeout: Duration::from_secs(2), ..quick().limits };
    let ended = pipeline.start(1, LaneSettings { limits, ..quick() }).await.ended().await.unwrap_err();
    let RunError::Lane(turnstile::lane::LaneError::Load(LoadError::Stopped(error))) = ended else {
        panic!("{ended}");
    };
    assert_eq!(error.sqlstate(), Some("42P01"));
    assert_eq!(pipeline.sqs.served().delivered, 20, "being started again and again must not use up their receives");

    pipeline.client.batch_execute("ALTER TABLE elsewhere RENAME TO outbox").await.unwrap();
    pipeline.drain().await;
    assert_eq!(pipeline.counts().await, [20, 20, 0, 20]);
}

#[tokio::test]
async fn a_queue_that_is_gone_ends_the_loader_with_an_error() {
    let pipeline = Pipeline::new().await;
    let loader = pipeline.start(2, LaneSettings { until_empty: false, ..quick() }).await;
    let delete = aws_sdk_sqs::Client::new(&crate::support::scripted_http::aws_at(&pipeline.sqs.endpoint()));
    delete.delete_queue().queue_url(pipeline.sqs.queue_url(QUEUE)).send().await.unwrap();
    let ended = loader.ended().await.unwrap_err().to_string();
    assert!(ended.contains("ReceiveMessage") && ended.contains("NonExistentQueue"), "{ended}");
}

#[tokio::test]
async fn with_every_fault_of_the_queue_at_once_each_message_still_ends_in_one_place() {
    let faults = Faults {
        seed: 11,
        throttle: 0.05,
        error_500: 0.05,
        lost_reply: 0.05,
        partial_batch_failure: 0.1,
        early_redelivery: 0.1,
        redelivery_after_delete: 0.05,
        duplicate_in_receive: 0.1,
        delay: 0.1,
        max_delay: Duration::from_millis(50),
        ..Faults::default()
    };
    let pipeline = Pipeline::new().await;
    let malformed = (0..20).map(|n| format!("no login {n}"));
    pipeline.send(logins(480).chain(malformed)).await;
    pipeline.sqs.set_faults(faults);
    let limits = ReceiveLimits { visibility_timeout: Duration::from_secs(2), ..quick().limits };
    let totals = pipeline.start(3, LaneSettings { limits, ..quick() }).await.ended().await.unwrap();
    assert_eq!(pipeline.counts().await, [500, 480, 20, 480]);
    let fired = pipeline.sqs.fault_counts();
    assert!(totals.duplicates > 0 && fired.lost_reply > 0 && fired.partial_batch_failure > 0, "{fired:?}");
    assert!(fired.early_redelivery > 0 && fired.redelivery_after_delete > 0 && fired.duplicate_in_receive > 0);
}
