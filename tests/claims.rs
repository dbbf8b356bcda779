//! A message is claimed once, whichever of its two hashes it is known by: under `field`, `attribute` and `content` a
//! login is known by the hash of the scheme, and what is rejected by that of its MessageId.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use turnstile::batch::{Batch, Sorted};
use turnstile::database::Database;
use turnstile::database::migrate::migration_count;
use turnstile::decode::Rejection;
use turnstile::load::{Tally, load};
use turnstile::message::{Attributes, Identifier, QueueIdentity, ReceivedMessage, SentAt};
use turnstile::replay::{Replay, discard};
use turnstile::table::dead_letters::Filter;
use turnstile::table::processed_messages::Repeats;
use turnstile::verdict::{Content, Verdict};

use crate::support::evidence::survived;
use crate::support::logins::World;
use crate::support::postgres::TABLES_OF_VERSION_4;
use crate::support::verdicts::{SENT_AT, login, message};
use crate::support::wait_until;

const SCHEMES: [&str; 3] = ["field:/user_id", "attribute:Order", "content"];

const COMMAND: &str = "cargo test --test main claims::";

const REDELIVERED: Tally = absorbed(Repeats { redelivered: 1, resent: 0, contradicting: 0 });

const fn absorbed(repeats: Repeats) -> Tally {
    Tally { loaded: 0, dead_lettered: 0, repeats, repeated_in_batch: 0, attempts_repeated: 0 }
}

async fn world_under(scheme: &str) -> World {
    let mut world = World::migrated().await;
    let queue = QueueIdentity::new("arn:aws:sqs:eu:1:logins");
    world.judge.identifier = Identifier::new(scheme.parse().unwrap(), &queue);
    world
}

/// A delivery of this message: the login of a user, with an attribute that says who it is too.
fn delivery(id: &str, user: &str) -> ReceivedMessage {
    let attributes = Attributes::from_iter([("Order".to_owned(), user.as_bytes().to_vec())]);
    ReceivedMessage { attributes, ..message(id, &login(user, "ios"), 1) }
}

fn as_logins(world: &World, messages: &[(&str, &str)]) -> Batch {
    let verdicts = messages.iter().map(|(id, user)| world.judge.judge(delivery(id, user)));
    Sorted::from_verdicts(verdicts, 1).batch
}

/// The same deliveries as a release judges them that does not decode such bodies.
fn as_rejections(world: &World, messages: &[(&str, &str)]) -> Batch {
    let rejected = |verdict: Verdict| Verdict {
        hash: world.judge.identifier.hash_by_message_id(&verdict.delivery.message_id),
        content: Content::Rejected(Rejection::InvalidVersion),
        ..verdict
    };
    let verdicts = messages.iter().map(|(id, user)| rejected(world.judge.judge(delivery(id, user))));
    Sorted::from_verdicts(verdicts, 1).batch
}

async fn tally_of(database: &Database, batch: Batch) -> Tally {
    load(database, batch, 1, &CancellationToken::new()).await.unwrap().tally
}

/// Rows, events and dead letters.
async fn places(world: &World) -> [i64; 3] {
    [world.count("user_logins").await, world.count("outbox").await, world.count("dead_letters").await]
}

#[tokio::test]
async fn a_dead_lettered_message_that_a_later_release_decodes_is_absorbed_and_replayed_once() {
    for scheme in SCHEMES {
        let world = world_under(scheme).await;
        tally_of(&world.database, as_rejections(&world, &[("m", "a")])).await;
        assert_eq!(tally_of(&world.database, as_logins(&world, &[("m", "a")])).await, REDELIVERED, "{scheme}");
        assert_eq!(places(&world).await, [0, 0, 1], "{scheme}");

        assert_eq!(world.replay_all().await.replayed, 1, "{scheme}");
        assert_eq!(tally_of(&world.database, as_logins(&world, &[("m", "a")])).await, REDELIVERED, "{scheme}");
        assert_eq!(tally_of(&world.database, as_rejections(&world, &[("m", "a")])).await, REDELIVERED, "{scheme}");
        assert_eq!(places(&world).await, [1, 1, 1], "{scheme}");
        world.assert_promise().await;
    }
}

#[tokio::test]
async fn a_loaded_message_that_an_earlier_release_does_not_decode_is_absorbed() {
    for scheme in SCHEMES {
        let world = world_under(scheme).await;
        tally_of(&world.database, as_logins(&world, &[("m", "a")])).await;
        assert_eq!(tally_of(&world.database, as_rejections(&world, &[("m", "a")])).await, REDELIVERED, "{scheme}");
        assert_eq!(places(&world).await, [1, 1, 0], "{scheme}");
        world.assert_promise().await;
    }
}

#[tokio::test]
async fn of_two_releases_that_have_one_message_in_hand_the_second_waits_for_the_claim_of_the_first() {
    let mut waited = 0;
    for scheme in SCHEMES {
        for (table, is_login, expected) in [("user_logins", true, [1, 1, 0]), ("dead_letters", false, [0, 0, 1])] {
            let world = world_under(scheme).await;
            let (login, rejection) = (as_logins(&world, &[("m", "a")]), as_rejections(&world, &[("m", "a")]));
            let (first, second) = if is_login { (login, rejection) } else { (rejection, login) };
            // The first has its claim, and cannot go on.
            let lock = format!("BEGIN; LOCK TABLE {table} IN SHARE MODE");
            world.client.batch_execute(&lock).await.unwrap();
            let watcher = crate::support::postgres::connect(&world.url).await;
            let first = spawn_load(&world, first);
            wait_until("the first waits with its claim made", async || waiting(&watcher).await == 1).await;
            let second = spawn_load(&world, second);
            wait_until("the second waits for the first", async || waiting(&watcher).await == 2).await;
            world.client.batch_execute("ROLLBACK").await.unwrap();

            let first = first.await.unwrap();
            assert_eq!((first.loaded + first.dead_lettered, first.duplicates()), (1, 0), "{scheme}");
            assert_eq!(second.await.unwrap(), REDELIVERED, "{scheme}");
            assert_eq!(places(&world).await, expected, "{scheme}");
            world.assert_promise().await;
            waited += 1;
        }
    }
    survived("one message decoded by one release and not by another, at once", waited, COMMAND);
}

fn spawn_load(world: &World, batch: Batch) -> tokio::task::JoinHandle<Tally> {
    let database = world.database.clone();
    tokio::spawn(async move { tally_of(&database, batch).await })
}

/// How many loaders wait for a lock.
async fn waiting(client: &Client) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'turnstile' AND wait_event_type = 'Lock'";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Lets a transaction claim one message, and then wait for who holds the lock.
const MEET_AFTER_ONE_CLAIM: &str = "
    CREATE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF current_setting('test.has_claimed', true) = 'yes' THEN
            PERFORM pg_advisory_xact_lock_shared(7);
        END IF;
        PERFORM set_config('test.has_claimed', 'yes', true);
        RETURN NEW;
    END $$;
    CREATE TRIGGER meet BEFORE INSERT ON processed_messages FOR EACH ROW EXECUTE FUNCTION meet();
    SELECT pg_advisory_lock(7)";

#[tokio::test]
async fn releases_that_order_the_same_messages_differently_deadlock_and_recover() {
    let world = world_under("field:/user_id").await;
    let first_of = |batch: &Batch| batch.entries()[0].delivery.message_id.clone();
    let opposite = |user: &String| {
        let two = [("a", "one user"), ("b", user)];
        first_of(&as_logins(&world, &two)) != first_of(&as_rejections(&world, &two))
    };
    let other = (0..).map(|n| format!("user {n}")).find(opposite).unwrap();
    let two = [("a", "one user"), ("b", &other)];

    world.client.batch_execute(MEET_AFTER_ONE_CLAIM).await.unwrap();
    let watcher = crate::support::postgres::connect(&world.url).await;
    let rivals = [spawn_load(&world, as_logins(&world, &two)), spawn_load(&world, as_rejections(&world, &two))];
    wait_until("each has claimed one of the two", async || waiting(&watcher).await == 2).await;
    world.client.batch_execute("SELECT pg_advisory_unlock(7)").await.unwrap();
    let mut sum = (0, 0, 0);
    for rival in rivals {
        let Tally { loaded, dead_lettered, repeats, attempts_repeated, .. } = rival.await.unwrap();
        sum = (sum.0 + loaded + dead_lettered, sum.1 + repeats.redelivered, sum.2 + attempts_repeated);
    }
    assert_eq!((sum.0, sum.1), (2, 2));
    world.assert_promise().await;
    survived("a deadlock between the claims of two releases", sum.2, COMMAND);
}

#[tokio::test]
async fn another_message_with_the_same_id_of_the_producer_is_still_told_from_a_redelivery() {
    let world = world_under("field:/user_id").await;
    let tally_of = async |batch| tally_of(&world.database, batch).await;
    tally_of(as_logins(&world, &[("m1", "a")])).await;
    let resent = absorbed(Repeats { resent: 1, ..Repeats::default() });
    assert_eq!(tally_of(as_logins(&world, &[("m2", "a")])).await, resent);
    // A message of its own by the one hash, a redelivery by the other.
    tally_of(as_rejections(&world, &[("m3", "a")])).await;
    assert_eq!(tally_of(as_logins(&world, &[("m3", "a")])).await, REDELIVERED);
    assert_eq!(places(&world).await, [1, 1, 1]);
    world.assert_promise().await;
}

#[tokio::test]
async fn letters_of_earlier_releases_are_claimed_under_both_hashes_once_migrated() {
    let world = world_under("field:/user_id").await;
    let refuse = "ALTER TABLE user_logins ADD CHECK (user_id <> 'refused')";
    world.client.batch_execute(refuse).await.unwrap();
    tally_of(&world.database, as_rejections(&world, &[("m1", "a")])).await;
    world.replay_all().await;
    tally_of(&world.database, as_rejections(&world, &[("m2", "b")])).await;
    tally_of(&world.database, as_logins(&world, &[("m3", "refused")])).await;
    world.client.batch_execute(TABLES_OF_VERSION_4).await.unwrap();

    assert_eq!(world.database.migrate().await.unwrap().applied.len(), migration_count() - 4);
    let again = tally_of(&world.database, as_logins(&world, &[("m1", "a"), ("m2", "b"), ("m3", "refused")])).await;
    assert_eq!(again, absorbed(Repeats { redelivered: 3, ..Repeats::default() }));
    assert_eq!(places(&world).await, [1, 1, 3]);
    // The hash under which a refused login is claimed says nothing of its MessageId.
    assert_eq!(world.count("processed_messages WHERE second_hash IS NULL").await, 1);
    world.assert_promise().await;
}

#[tokio::test]
async fn claims_of_earlier_releases_are_found_under_every_scheme_and_their_events_are_kept() {
    for scheme in ["message-id"].into_iter().chain(SCHEMES) {
        let world = world_under(scheme).await;
        tally_of(&world.database, as_logins(&world, &[("m1", "a"), ("m2", "b")])).await;
        tally_of(&world.database, as_rejections(&world, &[("m3", "c")])).await;
        let events =
            "SELECT string_agg(concat_ws(' ', event_id, position, user_id, device_type, masked_ip, masked_device_id,
                                                  locale, app_version, create_date, created_at), ' ' ORDER BY position)
                      FROM outbox";
        let events = async || world.client.query_one(events, &[]).await.unwrap().get::<_, String>(0);
        let before = events().await;
        world.client.batch_execute(TABLES_OF_VERSION_4).await.unwrap();
        world.database.migrate().await.unwrap();

        assert_eq!(events().await, before, "{scheme}");
        let again = tally_of(&world.database, as_logins(&world, &[("m1", "a"), ("m2", "b"), ("m3", "c")])).await;
        assert_eq!(again, absorbed(Repeats { redelivered: 3, ..Repeats::default() }), "{scheme}");
        assert_eq!(world.replay_all().await.replayed, 1, "{scheme}");
        world.client.execute("DELETE FROM processed_messages", &[]).await.unwrap();
        tally_of(&world.database, as_logins(&world, &[("m1", "a"), ("m2", "b")])).await;
        assert_eq!(places(&world).await, [3, 3, 1], "{scheme}: the rows know when their messages were sent");
    }
}

#[tokio::test]
async fn what_an_older_program_claims_by_one_hash_is_named_until_its_letter_is_discarded() {
    let world = world_under("field:/user_id").await;
    let rejected = as_rejections(&world, &[("m", "a")]);
    let hash = rejected.entries()[0].hash;
    tally_of(&world.database, rejected).await;
    world.client.execute("UPDATE processed_messages SET second_hash = NULL", &[]).await.unwrap();
    tally_of(&world.database, as_logins(&world, &[("m", "a")])).await;
    let named: Vec<_> =
        world.audit().await.broken.iter().map(|(rule, breaks)| (rule.name, breaks.first.clone())).collect();
    assert_eq!(named, [("claimed_twice", vec![hash.to_string()])]);

    assert_eq!(discard(&world.database, &[hash], "ada").await.unwrap(), [hash]);
    world.assert_promise().await;
}

#[tokio::test]
async fn a_message_of_a_queue_that_says_no_time_is_claimed_by_its_hash_alone_and_replayed_once() {
    let world = World::migrated().await;
    let received = |user: &str, seconds: i64| {
        let mut message = message(user, &login(user, "ios"), 1);
        message.delivery.sent_at = SentAt::Receipt(SENT_AT + time::Duration::seconds(seconds));
        message
    };
    let deliveries = |seconds| ["a", "b"].map(|user| world.judge.judge(received(user, seconds)));
    let [login, mut letter] = deliveries(0);
    letter.content = Content::Rejected(Rejection::InvalidVersion);
    tally_of(&world.database, Sorted::from_verdicts([login, letter], 1).batch).await;
    let again = || async { tally_of(&world.database, Sorted::from_verdicts(deliveries(100_000), 1).batch).await };
    assert_eq!(again().await, absorbed(Repeats { redelivered: 2, ..Repeats::default() }));
    assert_eq!(places(&world).await, [1, 1, 1]);

    assert_eq!(world.replay_all().await.replayed, 1);
    assert_eq!(again().await, absorbed(Repeats { redelivered: 2, ..Repeats::default() }));
    assert_eq!(places(&world).await, [2, 2, 1]);
    world.assert_promise().await;
}

#[tokio::test]
async fn claims_are_found_by_an_index_however_many_there_are() {
    for scheme in ["message-id", "field:/user_id"] {
        let world = world_under(scheme).await;
        let many = "INSERT INTO processed_messages
                        (message_hash, second_hash, outcome, first_message_id, body_hash, sent_at, received_at)
                    SELECT sha256(n::text::bytea), CASE WHEN n % 2 = 0 THEN sha256(n::text::bytea) END, 'loaded', n::text,
                           sha256('body'), to_timestamp(n), now() FROM generate_series(1, 20000) AS n;
                    ANALYZE processed_messages";
        world.client.batch_execute(many).await.unwrap();
        let messages = ["a", "b", "c", "d"].map(|name| (name, name));
        tally_of(&world.database, as_rejections(&world, &messages)).await;
        // A pool of its own: what its connections did is counted when they end.
        let finding = World::at(&world.url, Duration::from_secs(30)).await;
        let before = sequential_scans(&world.client).await;
        assert_eq!(tally_of(&finding.database, as_rejections(&world, &messages)).await.repeats.redelivered, 4);
        let replay = Replay { database: finding.database.clone(), ..world.replay() };
        assert_eq!(replay.run(&Filter::default(), 10, |_| {}).await.unwrap().replayed, 4);
        drop((replay, finding));
        let used = "SELECT sum(idx_tup_read) >= 8 FROM pg_stat_user_indexes WHERE relname = 'processed_messages'";
        let are_counted = async || world.client.query_one(used, &[]).await.unwrap().get(0);
        wait_until("what was read is counted", are_counted).await;
        assert_eq!(sequential_scans(&world.client).await, before, "{scheme}");
    }
}

async fn sequential_scans(client: &Client) -> i64 {
    let sql = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'processed_messages'";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn two_malformed_messages_and_two_queues_share_no_claim() {
    let world = world_under("field:/user_id").await;
    tally_of(&world.database, as_rejections(&world, &[("m1", "a"), ("m2", "a")])).await;
    assert_eq!(places(&world).await, [0, 0, 2]);
    let mut other = world;
    let queue = QueueIdentity::new("arn:aws:sqs:eu:1:other");
    other.judge.identifier = Identifier::new("field:/user_id".parse().unwrap(), &queue);
    tally_of(&other.database, as_logins(&other, &[("m1", "a")])).await;
    assert_eq!(places(&other).await, [1, 1, 2]);
    other.assert_promise().await;
}
