//! Claims on two levels: a message is recorded once, and a login that several messages bring under one key is loaded once.

use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use turnstile::batch::{Batch, Sorted};
use turnstile::database::Database;
use turnstile::discard::{Becomes, change};
use turnstile::load::{Contradictions, LoadError, Tally};
use turnstile::mask::MaskKind;
use turnstile::message::{Attributes, Identity, ReceivedMessage, SentAt, TimeBasis};
use turnstile::replay::{Obstacle, Report};
use turnstile::table::operator_actions::Said;
use turnstile::verdict::{Content, Judge, Verdict};
use turnstile::{keyring::Keyring, keys};

use crate::support::evidence::survived;
use crate::support::loading::{Outcome, destination, destination_of, introduce, load, load_into};
use crate::support::tables::Tables;
use crate::support::verdicts::{QUEUE_ARN, SENT_AT, invalid_version, judge_of, login, message};
use crate::support::wait_until;

const SCHEMES: [&str; 3] = ["field:/user_id", "attribute:Order", "content"];

const COMMAND: &str = "cargo test --test main claims::";

const REDELIVERED: Tally = Tally { redelivered: 1, ..NOTHING };
const ABSORBED: Tally = Tally { absorbed: 1, ..NOTHING };
const LOADED: Tally = Tally { loaded: 1, ..NOTHING };
const NOTHING: Tally =
    Tally { loaded: 0, dead_lettered: 0, absorbed: 0, contradicting: 0, redelivered: 0, repeated_in_batch: 0 };

async fn tables_under(scheme: &str) -> Tables {
    let mut tables = Tables::new().await;
    tables.judge = judge_of(scheme, QUEUE_ARN);
    introduce(&tables.database, scheme).await;
    tables
}

/// A delivery of this message: the login of a user, with an attribute that says who it is too.
fn delivery(id: &str, user: &str) -> ReceivedMessage {
    delivery_of(id, user, "ios")
}

fn delivery_of(id: &str, user: &str, device_type: &str) -> ReceivedMessage {
    let attributes = Attributes::from_iter([("Order".to_owned(), user.as_bytes().to_vec())]);
    ReceivedMessage { attributes, ..message(id, &login(user, device_type), 1) }
}

fn as_logins(judge: &Judge, messages: &[(&str, &str)]) -> Batch {
    batch_of(judge, messages.iter().map(|(id, user)| delivery(id, user)))
}

fn batch_of(judge: &Judge, deliveries: impl IntoIterator<Item = ReceivedMessage>) -> Batch {
    Sorted::from_verdicts(deliveries.into_iter().map(|delivery| judge.judge(delivery)), 1).batch
}

/// The same deliveries as a release judges them that does not decode such bodies.
fn as_rejections(judge: &Judge, messages: &[(&str, &str)]) -> Batch {
    let rejected =
        |verdict: Verdict| Verdict { content: Content::Rejected(invalid_version(), None), identity: None, ..verdict };
    let verdicts = messages.iter().map(|(id, user)| rejected(judge.judge(delivery(id, user))));
    Sorted::from_verdicts(verdicts, 1).batch
}

async fn tally_of(database: &Database, batch: Batch) -> Tally {
    load(database, batch, 1).await.unwrap().tally
}

/// Rows, events, dead letters and keys.
async fn places(tables: &Tables) -> [i64; 4] {
    let [rows, events] = [tables.count("user_logins").await, tables.count("outbox").await];
    [rows, events, tables.count("dead_letters").await, tables.count("identities").await]
}

#[tokio::test]
async fn a_message_that_one_release_dead_letters_and_another_decodes_is_recorded_once_under_every_scheme() {
    for scheme in ["message-id"].into_iter().chain(SCHEMES) {
        let tables = tables_under(scheme).await;
        let keys = i64::from(scheme != "message-id");
        tally_of(&tables.database, as_rejections(&tables.judge, &[("m", "a")])).await;
        assert_eq!(tally_of(&tables.database, as_logins(&tables.judge, &[("m", "a")])).await, REDELIVERED, "{scheme}");
        assert_eq!(places(&tables).await, [0, 0, 1, 0], "{scheme}");

        assert_eq!(tables.replay_all().await.replayed, 1, "{scheme}");
        assert_eq!(tally_of(&tables.database, as_logins(&tables.judge, &[("m", "a")])).await, REDELIVERED, "{scheme}");
        assert_eq!(
            tally_of(&tables.database, as_rejections(&tables.judge, &[("m", "a")])).await,
            REDELIVERED,
            "{scheme}"
        );
        assert_eq!(places(&tables).await, [1, 1, 1, keys], "{scheme}");
        tables.assert_promise().await;
    }
}

#[tokio::test]
async fn a_message_is_recorded_once_whatever_schemes_its_deliveries_are_judged_by() {
    for first in ["message-id", "field:/user_id", "content"] {
        for second in ["message-id", "field:/user_id", "content", "attribute:Order"] {
            let tables = tables_under(first).await;
            let [judge, other] = [judge_of(first, QUEUE_ARN), judge_of(second, QUEUE_ARN)];
            tally_of(&tables.database, as_logins(&judge, &[("m1", "a")])).await;
            tally_of(&tables.database, as_rejections(&judge, &[("m2", "b")])).await;
            introduce(&tables.database, second).await;
            let again = tally_of(&tables.database, as_logins(&other, &[("m1", "a"), ("m2", "b")])).await;
            assert_eq!(again, Tally { redelivered: 2, ..NOTHING }, "{first}, then {second}");
            assert_eq!(tables.replay_all().await.replayed, 1, "{first}, then {second}");
            assert_eq!(tables.count("user_logins").await, 2, "{first}, then {second}");
            tables.assert_promise().await;
        }
    }
}

#[tokio::test]
async fn a_login_that_is_sent_twice_under_one_key_is_loaded_once_and_the_other_message_says_by_whom() {
    for scheme in SCHEMES {
        let tables = tables_under(scheme).await;
        assert_eq!(tally_of(&tables.database, as_logins(&tables.judge, &[("m1", "a")])).await, LOADED, "{scheme}");
        assert_eq!(tally_of(&tables.database, as_logins(&tables.judge, &[("m2", "a")])).await, ABSORBED, "{scheme}");
        let one_batch = as_logins(&tables.judge, &[("m3", "b"), ("m4", "b"), ("m5", "b")]);
        let expected = Tally { loaded: 1, absorbed: 2, ..NOTHING };
        assert_eq!(tally_of(&tables.database, one_batch).await, expected, "{scheme}");
        assert_eq!(places(&tables).await, [2, 2, 0, 2], "{scheme}");
        let absorbed_by_a_loaded_one = "processed_messages a JOIN processed_messages o
            ON o.message_hash = a.absorbed_by AND o.sent_at = a.absorbed_by_sent_at
            WHERE a.outcome = 'absorbed' AND o.outcome = 'loaded'";
        assert_eq!(tables.count(absorbed_by_a_loaded_one).await, 3, "{scheme}");
        tables.assert_promise().await;
    }
}

#[tokio::test]
async fn another_login_under_a_taken_key_is_a_dead_letter_in_the_same_batch_and_in_a_later_one() {
    let tables = tables_under("attribute:Order").await;
    let first = [delivery("m1", "a"), delivery_of("m2", "a", "android"), delivery("m3", "b")];
    let expected = Tally { loaded: 2, dead_lettered: 1, contradicting: 1, ..NOTHING };
    assert_eq!(tally_of(&tables.database, batch_of(&tables.judge, first)).await, expected);
    let later = [delivery_of("m4", "b", "android"), delivery_of("m5", "b", "ios")];
    let expected = Tally { absorbed: 1, dead_lettered: 1, contradicting: 1, ..NOTHING };
    assert_eq!(tally_of(&tables.database, batch_of(&tables.judge, later)).await, expected);
    assert_eq!(places(&tables).await, [2, 2, 2, 2]);
    assert_eq!(tables.count("dead_letters WHERE code = 'contradicts' AND status = 'open'").await, 2);
    tables.assert_promise().await;

    let report = tables.replay_all().await;
    assert_eq!(report, Report { open: [(Obstacle::IdentityTaken, 2)].into(), ..Report::default() });
    tables.assert_promise().await;
}

#[tokio::test]
async fn a_contradiction_is_absorbed_and_counted_where_that_was_asked_for() {
    let tables = tables_under("attribute:Order").await;
    let absorbing = destination_of(QUEUE_ARN, &tables.database, 1, Contradictions::Absorb);
    let both = [delivery("m1", "a"), delivery_of("m2", "a", "android")];
    let outcome = load_into(&absorbing, batch_of(&tables.judge, both), &CancellationToken::new()).await.unwrap();
    assert_eq!(outcome.tally, Tally { loaded: 1, absorbed: 1, contradicting: 1, ..NOTHING });
    assert_eq!(places(&tables).await, [1, 1, 0, 1]);
    tables.assert_promise().await;
}

#[tokio::test]
async fn the_same_login_in_another_spelling_is_no_contradiction() {
    let tables = tables_under("attribute:Order").await;
    tally_of(&tables.database, as_logins(&tables.judge, &[("m1", "a")])).await;
    let mut other = delivery("m2", "a");
    let spelled = r#" {"device_id":"device of a","ip":"::ffff:203.0.113.7","locale":"DE","device_type":"ios",
                       "app_version":"02.3.1","user_id":"\u0061","extra":1}"#;
    other.body = turnstile::message::RawBody::new(spelled);
    assert_eq!(tally_of(&tables.database, batch_of(&tables.judge, [other])).await, ABSORBED);
    tables.assert_promise().await;
}

#[tokio::test]
async fn a_corrected_message_is_loaded_although_the_broken_one_before_it_comes_again_in_its_batch() {
    let tables = tables_under("field:/user_id").await;
    // The broken one is a dead letter; this release decodes it, and finds it recorded.
    tally_of(&tables.database, as_rejections(&tables.judge, &[("m1", "a")])).await;
    let both = as_logins(&tables.judge, &[("m1", "a"), ("m2", "a")]);
    assert_eq!(tally_of(&tables.database, both).await, Tally { loaded: 1, redelivered: 1, ..NOTHING });
    assert_eq!(places(&tables).await, [1, 1, 1, 1]);
    tables.assert_promise().await;

    let report = tables.replay_all().await;
    assert_eq!(report, Report { absorbed: 1, ..Report::default() }, "the corrected one brought its login");
    assert_eq!(tables.count("dead_letters WHERE status = 'absorbed'").await, 1);
    tables.assert_promise().await;
}

#[tokio::test]
async fn a_refused_row_leaves_no_key_behind_so_that_its_corrected_successor_is_loaded() {
    let tables = tables_under("attribute:Order").await;
    tables.client.batch_execute("ALTER TABLE user_logins ADD CHECK (device_type <> 'toaster')").await.unwrap();
    let batch = [delivery_of("m1", "a", "toaster"), delivery("m2", "a"), delivery("m3", "b")];
    let tally = tally_of(&tables.database, batch_of(&tables.judge, batch)).await;
    assert_eq!((tally.loaded, tally.dead_lettered), (2, 1));
    assert_eq!(places(&tables).await, [2, 2, 1, 2]);
    tables.assert_promise().await;
}

#[tokio::test]
async fn a_replay_claims_the_key_of_its_login_by_what_was_recorded_and_not_by_what_its_operator_says() {
    for scheme in SCHEMES {
        let tables = tables_under(scheme).await;
        tally_of(&tables.database, as_rejections(&tables.judge, &[("m1", "a"), ("m2", "b")])).await;
        tally_of(&tables.database, as_logins(&tables.judge, &[("m3", "a")])).await;
        let report = tables.replay_all().await;
        assert_eq!((report.replayed, report.absorbed), (1, 1), "{scheme}");
        assert_eq!(tally_of(&tables.database, as_logins(&tables.judge, &[("m4", "b")])).await, ABSORBED, "{scheme}");
        assert_eq!(places(&tables).await, [2, 2, 2, 2], "{scheme}");
        tables.assert_promise().await;
    }
}

#[tokio::test]
async fn letters_of_two_queues_are_replayed_each_under_its_own() {
    let tables = tables_under("field:/user_id").await;
    let other_queue = "arn:aws:sqs:us-east-1:000000000000:other";
    let other = destination_of(other_queue, &tables.database, 1, Contradictions::default());
    other.introduce(&"message-id".parse().unwrap(), &CancellationToken::new()).await.unwrap();
    tally_of(&tables.database, as_rejections(&tables.judge, &[("m1", "a")])).await;
    let elsewhere = as_rejections(&judge_of("message-id", other_queue), &[("m1", "a"), ("m2", "a")]);
    load_into(&other, elsewhere, &CancellationToken::new()).await.unwrap();
    assert_eq!(tables.replay_all().await.replayed, 3);
    assert_eq!(places(&tables).await, [3, 3, 3, 1]);
    tables.assert_promise().await;
}

#[tokio::test]
async fn of_two_loaders_that_have_one_key_in_hand_the_second_waits_for_the_first_and_goes_by_what_became_of_it() {
    let mut waited = 0;
    for first_commits in [true, false] {
        let tables = tables_under("field:/user_id").await;
        // The first has its claims, and cannot go on.
        tables.client.batch_execute("BEGIN; LOCK TABLE outbox IN SHARE MODE").await.unwrap();
        let watcher = tables.another_client().await;
        let give_up = CancellationToken::new();
        let first = spawn_load(&tables, as_logins(&tables.judge, &[("m1", "a")]), give_up.clone());
        wait_until("the first waits with its claims made", async || waiting(&watcher).await == 1).await;
        let second = spawn_load(&tables, as_logins(&tables.judge, &[("m2", "a")]), CancellationToken::new());
        wait_until("the second waits for the first", async || waiting(&watcher).await == 2).await;
        if !first_commits {
            give_up.cancel();
            assert!(matches!(first.await.unwrap(), Err(LoadError::GaveUp)));
            tables.client.batch_execute("ROLLBACK").await.unwrap();
            assert_eq!(second.await.unwrap().unwrap().tally, LOADED, "what was given up has no effect");
        } else {
            tables.client.batch_execute("ROLLBACK").await.unwrap();
            assert_eq!(first.await.unwrap().unwrap().tally, LOADED);
            assert_eq!(second.await.unwrap().unwrap().tally, ABSORBED);
        }
        assert_eq!(places(&tables).await, [1, 1, 0, 1]);
        tables.assert_promise().await;
        waited += 1;
    }
    survived("one key in two hands, at once", waited, COMMAND);
}

fn spawn_load(
    tables: &Tables,
    batch: Batch,
    give_up: CancellationToken,
) -> tokio::task::JoinHandle<Result<Outcome, LoadError>> {
    let destination = destination(&tables.database, 1);
    tokio::spawn(async move { load_into(&destination, batch, &give_up).await })
}

/// How many loaders wait for a lock.
async fn waiting(client: &Client) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'turnstile' AND wait_event_type = 'Lock'";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn claims_and_keys_that_were_removed_on_one_side_double_nothing_and_stop_nobody() {
    // The claim is gone, the key stands: the message is its owner.
    let tables = tables_under("field:/user_id").await;
    tally_of(&tables.database, as_logins(&tables.judge, &[("m1", "a")])).await;
    tables.client.batch_execute("DELETE FROM processed_messages").await.unwrap();
    tally_of(&tables.database, as_logins(&tables.judge, &[("m1", "a")])).await;
    assert_eq!(places(&tables).await, [1, 1, 0, 1]);
    // The owner's claim is gone: the key still says which login it brought.
    tables.client.batch_execute("DELETE FROM processed_messages").await.unwrap();
    assert_eq!(tally_of(&tables.database, as_logins(&tables.judge, &[("m2", "a")])).await, ABSORBED);
    // The key is gone, the claim stands.
    tables.client.batch_execute("DELETE FROM identities").await.unwrap();
    assert_eq!(tally_of(&tables.database, as_logins(&tables.judge, &[("m2", "a")])).await, REDELIVERED);
    assert_eq!(places(&tables).await, [1, 1, 0, 0]);
}

#[tokio::test]
async fn what_retention_removes_between_a_claim_and_a_look_at_it_makes_the_transaction_run_again() {
    let tables = tables_under("field:/user_id").await;
    tally_of(&tables.database, as_logins(&tables.judge, &[("m1", "a")])).await;
    // A rival has claimed the message and its key, and then gives both up: the loader waited for it, finds nothing, and
    // claims them itself.
    tables
        .client
        .batch_execute("BEGIN; DELETE FROM processed_messages; DELETE FROM identities; LOCK TABLE dead_letters")
        .await
        .unwrap();
    let watcher = tables.another_client().await;
    let loading = spawn_load(&tables, as_logins(&tables.judge, &[("m1", "a")]), CancellationToken::new());
    wait_until("the loader waits for the removal", async || waiting(&watcher).await == 1).await;
    tables.client.batch_execute("COMMIT").await.unwrap();
    let outcome = loading.await.unwrap().unwrap();
    assert_eq!(outcome.tally.loaded, 1);
    assert_eq!(places(&tables).await, [1, 1, 0, 1], "the row stood already");
}

#[tokio::test]
async fn a_message_older_than_the_horizon_is_a_dead_letter_and_never_loaded_a_second_time() {
    let tables = tables_under("message-id").await;
    tally_of(&tables.database, as_logins(&tables.judge, &[("m1", "a")])).await;
    let horizon = "UPDATE horizon SET retained_since = '2026-03-02'; DELETE FROM processed_messages";
    tables.client.batch_execute(horizon).await.unwrap();
    let fresh = |id: &str| {
        let mut fresh = delivery(id, id);
        fresh.delivery.sent_at = SentAt::Queue(SENT_AT + time::Duration::days(1));
        fresh
    };
    let both = batch_of(&tables.judge, [delivery("m1", "a"), fresh("m2")]);
    let expected = Tally { loaded: 1, dead_lettered: 1, ..NOTHING };
    assert_eq!(tally_of(&tables.database, both).await, expected);
    assert_eq!(tally_of(&tables.database, as_logins(&tables.judge, &[("m1", "a")])).await, REDELIVERED);
    assert_eq!(tables.count("dead_letters WHERE code = 'older_than_memory' AND sent_at = 'epoch'").await, 1);
    assert_eq!(places(&tables).await, [2, 2, 1, 0]);

    let report = tables.replay_all().await;
    assert_eq!(report, Report { open: [(Obstacle::OlderThanMemory, 1)].into(), ..Report::default() });
    let back = tables.client.batch_execute("UPDATE horizon SET retained_since = '2026-03-01'").await;
    assert!(back.is_err(), "the horizon never moves back");
    let future = "UPDATE horizon SET retained_since = now() + interval '1 minute'";
    assert!(tables.client.batch_execute(future).await.is_err(), "it does not move into the future");
    tables.assert_promise().await;
}

#[tokio::test]
async fn a_message_whose_claim_outlasted_the_horizon_stays_what_it_was_beside_one_whose_claim_is_gone() {
    let tables = tables_under("message-id").await;
    tally_of(&tables.database, as_logins(&tables.judge, &[("kept", "a"), ("gone", "b")])).await;
    let horizon =
        "UPDATE horizon SET retained_since = '2026-03-02'; DELETE FROM processed_messages WHERE message_id = 'gone'";
    tables.client.batch_execute(horizon).await.unwrap();
    let both = as_logins(&tables.judge, &[("kept", "a"), ("gone", "b")]);
    let expected = Tally { dead_lettered: 1, redelivered: 1, ..NOTHING };
    assert_eq!(tally_of(&tables.database, both).await, expected);
    assert_eq!(tables.count("dead_letters WHERE message_id = 'gone' AND sent_at = 'epoch'").await, 1);
    assert_eq!(tables.count("processed_messages WHERE message_id = 'kept'").await, 1);
    tables.assert_promise().await;
}

#[tokio::test]
async fn a_queue_that_says_no_time_is_claimed_under_the_constant_one_and_replayed_once() {
    let tables = tables_under("message-id").await;
    let received = |user: &str, seconds: i64| {
        let mut message = message(user, &login(user, "ios"), 1);
        message.delivery.sent_at = SentAt::Receipt(SENT_AT + time::Duration::seconds(seconds));
        message
    };
    let deliveries = |seconds| ["a", "b"].map(|user| tables.judge.judge(received(user, seconds)));
    let [login, mut letter] = deliveries(0);
    letter.content = Content::Rejected(invalid_version(), None);
    tally_of(&tables.database, Sorted::from_verdicts([login, letter], 1).batch).await;
    let again = || async { tally_of(&tables.database, Sorted::from_verdicts(deliveries(100_000), 1).batch).await };
    assert_eq!(again().await, Tally { redelivered: 2, ..NOTHING });
    assert_eq!(tables.replay_all().await.replayed, 1);
    assert_eq!(again().await, Tally { redelivered: 2, ..NOTHING });
    assert_eq!(places(&tables).await, [2, 2, 1, 0]);
    let time_basis = "UPDATE queues SET time_basis = 'none'";
    tables.client.batch_execute(time_basis).await.unwrap();
    tables.assert_promise().await;
}

#[tokio::test]
async fn a_new_hash_key_stops_the_loaders_of_the_old_one_before_they_load_a_login_twice() {
    let tables = tables_under("field:/user_id").await;
    tally_of(&tables.database, as_logins(&tables.judge, &[("m1", "a")])).await;
    let other = Keyring::generate().unwrap();
    let refused = keys::register(&tables.database, &other, MaskKind::Seal, false).await.unwrap_err().to_string();
    assert!(refused.contains("forget 1 keys"), "{refused}");
    let registered = keys::register(&tables.database, &other, MaskKind::Seal, true).await.unwrap();
    assert_eq!(registered.forgotten.map(|forgotten| forgotten.identities), Some(1));

    let stopped = load(&tables.database, as_logins(&tables.judge, &[("m2", "b")]), 1).await.err().unwrap().to_string();
    assert!(stopped.contains("hash key"), "{stopped}");
    // A message whose key is known already needs no new one, and a message without a key none at all.
    let letters = as_rejections(&tables.judge, &[("m3", "c")]);
    assert_eq!(tally_of(&tables.database, letters).await.dead_lettered, 1);
    assert_eq!(places(&tables).await, [1, 1, 1, 1]);
}

#[tokio::test]
async fn batches_that_cross_in_messages_and_keys_never_deadlock() {
    let tables = tables_under("field:/user_id").await;
    let batch = |loader: i64| {
        let deliveries = (0..200).map(|n| {
            let mut one = delivery(&format!("m{}", (n * 7 + loader * 31) % 260), &format!("user {}", n % 40));
            let back = if loader % 2 == 0 { n } else { 200 - n };
            one.delivery.sent_at = SentAt::Queue(SENT_AT + time::Duration::milliseconds(back % 5));
            one
        });
        batch_of(&tables.judge, deliveries)
    };
    let loaders: Vec<_> = (0..8).map(|loader| spawn_load(&tables, batch(loader), CancellationToken::new())).collect();
    for loader in loaders {
        let outcome = loader.await.unwrap().unwrap();
        assert_eq!(outcome.attempts_repeated, 0);
    }
    assert_eq!(tables.count("user_logins").await, 40);
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(tables.client.query_one(deadlocks, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_discarded_contradiction_stays_discarded_and_the_promise_holds() {
    let tables = tables_under("attribute:Order").await;
    let both = [delivery("m1", "a"), delivery_of("m2", "a", "android")];
    tally_of(&tables.database, batch_of(&tables.judge, both)).await;
    let hash: Vec<u8> = tables.client.query_one("SELECT message_hash FROM dead_letters", &[]).await.unwrap().get(0);
    let hash = turnstile::message::MessageHash::from_bytes(hash.try_into().unwrap());
    assert_eq!(change(&tables.database, &[hash], &Said::by("ada"), Becomes::Discarded).await.unwrap(), [hash]);
    assert_eq!(tables.replay_all().await, Report::default());
    tables.assert_promise().await;
}

#[tokio::test]
async fn what_the_first_messages_of_a_queue_show_of_its_time_holds_for_every_loader_after() {
    let tables = tables_under("message-id").await;
    let never = CancellationToken::new();
    for (queue, first) in [("arn:aws:sqs:eu:1:a", TimeBasis::SentTimestamp), ("arn:aws:sqs:eu:1:b", TimeBasis::None)] {
        let destination = || destination_of(queue, &tables.database, 1, Contradictions::default());
        destination().introduce(&"message-id".parse().unwrap(), &never).await.unwrap();
        assert_eq!(destination().time_basis(first, &Identity::MessageId, &never).await.unwrap(), first);
        for later in [TimeBasis::SentTimestamp, TimeBasis::None] {
            assert_eq!(destination().time_basis(later, &Identity::MessageId, &never).await.unwrap(), first, "{queue}");
        }
    }
}
