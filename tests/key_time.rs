//! Keys that carry their own time are one key for ever: however they are spelt, and however old they are.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use stand_ins::sqs::QueueOptions;
use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;
use turnstile::load::{Contradictions, LoadError, Tally};
use turnstile::message::{Attributes, Identity, ReceivedMessage, SentAt, TimeBasis};
use turnstile::replay::{Obstacle, Report};
use turnstile::table::queues;

use crate::support::loading::{destination, destination_of, introduce, load};
use crate::support::pipeline::Pipeline;
use crate::support::site::{QUEUE, Site};
use crate::support::tables::Tables;
use crate::support::verdicts::{QUEUE_ARN, SENT_AT, batch, judge_of, login, message};

const UUIDS: &str = "uuidv7:field:/id";

const NOTHING: Tally =
    Tally { loaded: 0, dead_lettered: 0, absorbed: 0, contradicting: 0, redelivered: 0, repeated_in_batch: 0 };
const LOADED: Tally = Tally { loaded: 1, ..NOTHING };
const ABSORBED: Tally = Tally { absorbed: 1, ..NOTHING };
const DEAD_LETTERED: Tally = Tally { dead_lettered: 1, ..NOTHING };

/// A UUID of version 7 of this time.
pub(crate) fn uuid(at: OffsetDateTime, number: u64) -> String {
    let milliseconds = at.unix_timestamp_nanos() / 1_000_000;
    let [high, low] = [milliseconds >> 16, milliseconds & 0xffff];
    format!("{high:08x}-{low:04x}-7000-8000-{number:012x}")
}

/// A login of a user on a kind of device, under a key.
pub(crate) fn keyed(key: &str, user: &str, device_type: &str) -> String {
    login(user, device_type).replacen('{', &format!(r#"{{"id":"{key}","#), 1)
}

async fn tables_under(scheme: &str) -> Tables {
    let mut tables = Tables::new().await;
    tables.judge = judge_of(scheme, QUEUE_ARN);
    introduce(&tables.database, scheme).await;
    tables
}

async fn tally_of(tables: &Tables, messages: impl IntoIterator<Item = ReceivedMessage>) -> Tally {
    load(&tables.database, batch(&tables.judge, messages), 1).await.unwrap().tally
}

async fn tally_of_one(tables: &Tables, id: &str, body: &str) -> Tally {
    tally_of(tables, [message(id, body, 1)]).await
}

async fn text(tables: &Tables, sql: &str) -> Vec<String> {
    tables.client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// What a replay says of letters that it leaves for their age.
fn left_older(letters: u64) -> Report {
    Report { open: BTreeMap::from([(Obstacle::OlderThanMemory, letters)]), ..Report::default() }
}

/// As retention moves it.
async fn move_horizon(client: &tokio_postgres::Client, to: OffsetDateTime) {
    client.execute("UPDATE turnstile.horizon SET retained_since = $1", &[&to]).await.unwrap();
}

#[tokio::test]
async fn a_key_is_claimed_under_its_own_time_and_is_one_in_every_spelling() {
    let at = SENT_AT - Duration::minutes(3);
    let key = uuid(at, 0xabcdef);
    let tables = tables_under(UUIDS).await;
    assert_eq!(tally_of_one(&tables, "m1", &keyed(&key, "a", "ios")).await, LOADED);
    assert_eq!(tally_of_one(&tables, "m2", &keyed(&key, "a", "ios")).await, ABSORBED);
    assert_eq!(tally_of_one(&tables, "m3", &keyed(&key.to_uppercase(), "a", "ios")).await, ABSORBED);
    let escaped = key.replacen('0', r"\u0030", 1);
    assert_eq!(tally_of_one(&tables, "m4", &keyed(&escaped, "a", "ios")).await, ABSORBED);
    let twins = ["m5", "m6"].map(|id| message(id, &keyed(&uuid(at, 2), "b", "ios"), 1));
    assert_eq!(tally_of(&tables, twins).await, Tally { loaded: 1, absorbed: 1, ..NOTHING });
    let other = keyed(&key, "a", "android");
    assert_eq!(tally_of_one(&tables, "m7", &other).await, Tally { contradicting: 1, ..DEAD_LETTERED });
    let times: Vec<OffsetDateTime> = tables
        .client
        .query("SELECT key_time FROM identities", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!((times, tables.count("user_logins").await), (vec![at; 2], 2));
    tables.assert_promise().await;
}

#[tokio::test]
async fn a_ulid_in_an_attribute_is_one_key_in_either_case() {
    let tables = tables_under("ulid:attribute:Order").await;
    let delivery = |id: &str, key: &str| {
        let attributes = Attributes::from_iter([("Order".to_owned(), key.as_bytes().to_vec())]);
        ReceivedMessage { attributes, ..message(id, &login("a", "ios"), 1) }
    };
    let key = "01ARYZ6S41TSV4RRFFQ69G5FAV";
    assert_eq!(tally_of(&tables, [delivery("m1", key)]).await, LOADED);
    assert_eq!(tally_of(&tables, [delivery("m2", &key.to_lowercase())]).await, ABSORBED);
    let no_ulid = uuid(SENT_AT, 1);
    assert_eq!(tally_of(&tables, [delivery("m3", &no_ulid)]).await, DEAD_LETTERED);
    assert_eq!(text(&tables, "SELECT key_time::text FROM identities").await.len(), 1);
    tables.assert_promise().await;
}

#[tokio::test]
async fn what_is_no_such_key_or_lies_far_ahead_becomes_a_letter() {
    let tables = tables_under(UUIDS).await;
    let ahead = SENT_AT + Duration::DAY;
    for (id, body, code) in [
        ("none", login("a", "ios"), Some("identity_missing")),
        ("random", keyed("e0f2a4c6-79b0-4cc3-98c4-dc0c0c07398f", "a", "ios"), Some("identity_without_time")),
        ("number", keyed("x", "a", "ios").replace(r#""x""#, "7"), Some("identity_without_time")),
        ("zero", keyed(&uuid(OffsetDateTime::UNIX_EPOCH, 1), "a", "ios"), Some("identity_without_time")),
        ("far", keyed(&uuid(ahead + Duration::MILLISECOND, 1), "a", "ios"), Some("identity_ahead")),
        ("last", keyed("ffffffff-ffff-7000-8000-000000000000", "a", "ios"), Some("identity_ahead")),
        ("near", keyed(&uuid(ahead, 1), "a", "ios"), None),
        ("old", keyed(&uuid(OffsetDateTime::UNIX_EPOCH + Duration::MILLISECOND, 1), "a", "ios"), None),
    ] {
        let expected = if code.is_some() { DEAD_LETTERED } else { LOADED };
        assert_eq!(tally_of_one(&tables, id, &body).await, expected, "{id}");
        let found = text(&tables, &format!("SELECT code FROM dead_letters WHERE message_id = '{id}'")).await;
        assert_eq!(found, code.into_iter().collect::<Vec<_>>(), "{id}");
    }
    tables.assert_promise().await;
}

#[tokio::test]
async fn a_login_whose_key_is_older_than_the_horizon_is_a_letter_and_stays_one() {
    let tables = tables_under(UUIDS).await;
    let key = uuid(SENT_AT - Duration::days(2), 1);
    assert_eq!(tally_of_one(&tables, "first", &keyed(&key, "a", "ios")).await, LOADED);
    move_horizon(&tables.client, SENT_AT - Duration::DAY).await;
    // What retention does then.
    tables.client.batch_execute("DELETE FROM identities").await.unwrap();
    let young = message("young", &keyed(&uuid(SENT_AT, 2), "b", "ios"), 1);
    let late = message("late", &keyed(&key, "a", "ios"), 1);
    assert_eq!(tally_of(&tables, [young, late]).await, Tally { loaded: 1, dead_lettered: 1, ..NOTHING });
    let letter = "SELECT concat_ws(' ', code, sent_at = '2026-03-01 23:30Z', status) FROM dead_letters";
    assert_eq!(text(&tables, letter).await, ["older_than_memory t open"]);
    assert_eq!(tally_of_one(&tables, "late", &keyed(&key, "a", "ios")).await, Tally { redelivered: 1, ..NOTHING });
    assert_eq!(tally_of_one(&tables, "first", &keyed(&key, "a", "ios")).await, Tally { redelivered: 1, ..NOTHING });
    tables.assert_promise().await;

    assert_eq!((tables.replay_all().await, tables.count("user_logins").await), (left_older(1), 2));
    assert_eq!(text(&tables, letter).await, ["older_than_memory t open"]);
    tables.assert_promise().await;
}

/// The letter's own code says nothing of its key: only the replay can see that.
#[tokio::test]
async fn a_replay_leaves_a_letter_whose_key_is_older_than_the_horizon() {
    let tables = tables_under(UUIDS).await;
    let [old, young] = [SENT_AT - Duration::days(2), SENT_AT].map(|at| uuid(at, 1));
    let once_rejected = [("old", &old, "a"), ("young", &young, "b")].map(|(id, key, user)| {
        let mut verdict = tables.judge.judge(message(id, &keyed(key, user, "ios"), 1));
        verdict.content = turnstile::verdict::Content::Rejected(crate::support::verdicts::invalid_version(), None);
        verdict
    });
    tables.load_batch(turnstile::batch::Sorted::from_verdicts(once_rejected, 1).batch).await;
    assert_eq!(tally_of_one(&tables, "again", &keyed(&old, "a", "ios")).await, LOADED);
    move_horizon(&tables.client, SENT_AT - Duration::DAY).await;
    tables.client.batch_execute("DELETE FROM identities").await.unwrap();

    let would = tables.turnstile(&["dead-letters", "replay", "--all", "--dry-run"]).await;
    would.assert_said(1, &["older_than_memory"]);
    let said = tables.turnstile(&["dead-letters", "replay", "--all", "--yes"]).await;
    said.assert_said(1, &["1 of 2 open dead letters replayed", "older_than_memory"]);
    assert_eq!(text(&tables, "SELECT user_id::text FROM user_logins ORDER BY 1").await, ["a", "b"]);
    let outcome =
        "SELECT p.outcome || ' ' || d.status FROM processed_messages p JOIN dead_letters d USING (message_hash)
                   WHERE p.message_id = 'old'";
    assert_eq!(text(&tables, outcome).await, ["dead_lettered open"]);
    tables.assert_promise().await;

    let forced = tables.turnstile(&["dead-letters", "replay", "--all", "--yes", "--force"]).await;
    forced.assert_said(0, &["1 of 1 open dead letter"]);
    assert_eq!(text(&tables, outcome).await, ["loaded replayed"]);
    tables.assert_promise().await;
}

#[tokio::test]
async fn the_scheme_is_recorded_with_its_time_and_keys_of_two_schemes_never_meet() {
    let tables = tables_under("field:/id").await;
    let body = keyed(&uuid(SENT_AT, 1), "a", "ios");
    assert_eq!(tally_of_one(&tables, "m1", &body).await, LOADED);
    let mut hashes = Vec::new();
    for scheme in ["field:/id", UUIDS, "uuidv7:attribute:id"] {
        assert_eq!(scheme.parse::<Identity>().unwrap().to_string(), scheme);
        let attributes = Attributes::from_iter([("id".to_owned(), uuid(SENT_AT, 1).into_bytes())]);
        let message = ReceivedMessage { attributes, ..message("m", &body, 1) };
        hashes.push(judge_of(scheme, QUEUE_ARN).judge(message).identity.unwrap().key.hash);
    }
    assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2] && hashes[0] != hashes[2]);
    introduce(&tables.database, UUIDS).await;
    assert_eq!(text(&tables, "SELECT scheme FROM queues").await, [UUIDS]);
    for none in
        ["uuidv7:", "uuidv7:message-id", "ulid:content", "uuidv7:ulid:field:/id", "uuidv4:field:/id", "uuidv7:field:id"]
    {
        assert!(none.parse::<Identity>().is_err(), "{none}");
    }
}

#[tokio::test]
async fn a_queue_without_times_is_refused() {
    let tables = Tables::new().await;
    let (never, scheme) = (CancellationToken::new(), UUIDS.parse().unwrap());
    destination(&tables.database, 1).introduce(&scheme, &never).await.unwrap();
    let refused = destination(&tables.database, 1).time_basis(TimeBasis::None, &scheme, &never).await;
    assert!(matches!(refused, Err(LoadError::NoSentTimestamp)), "its first messages show it");
    let another = destination_of(QUEUE_ARN, &tables.database, 1, Contradictions::default());
    another.introduce(&"field:/id".parse().unwrap(), &never).await.unwrap();
    let refused = another.introduce(&scheme, &never).await;
    assert!(matches!(refused, Err(LoadError::NoSentTimestamp)), "it is known by now");
    let recorded = tables.database.snapshot(queues::read_all).await.unwrap();
    assert!(recorded.into_values().all(|queue| queue.scheme.to_string() == "field:/id"), "nothing is recorded");
}

#[test]
fn a_time_without_a_key_of_the_producer_is_refused_with_every_mistake() {
    let refused = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnstile"));
        command.arg("run").args(arguments).env_clear().envs(variables.iter().copied()).stdin(Stdio::null());
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    for identity in ["message-id", "content"] {
        let said = refused(&["--identity", identity, "--identity-time", "uuidv7"], &[]);
        let problem = format!(
            "--identity-time (TURNSTILE_IDENTITY_TIME): is of keys that a producer gives, and --identity is {identity}"
        );
        assert!(said.contains(&problem), "{said}");
    }
    let said = refused(&["--identity", "field:/id"], &[("TURNSTILE_IDENTITY_TIME", "uuidv4")]);
    assert!(said.contains(r#"is not known: did you mean "uuidv7"?"#), "{said}");
    let said = refused(&["--identity", UUIDS], &[]);
    assert!(said.contains("--identity-time says that"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_queue_to_the_table_each_key_is_one_login_and_a_bad_one_has_its_attempts() {
    let mut pipeline = Pipeline::new().await;
    pipeline.identity = UUIDS.parse().unwrap();
    let now = OffsetDateTime::now_utc();
    let logins = (0..30).map(|number| keyed(&uuid(now, number), &format!("user {number}"), "ios"));
    let twice: Vec<String> = logins.clone().chain(logins).collect();
    let bad = [keyed("no uuid", "bad", "ios"), keyed(&uuid(now + Duration::days(3), 1), "far", "ios")];
    pipeline.send(twice.into_iter().chain(bad)).await;
    let totals = pipeline.drain().await;
    assert_eq!((pipeline.counts().await, pipeline.depth()), ([62, 30, 2, 30], 0));
    assert_eq!(totals.returned, 4, "two more attempts each");
    let codes = "SELECT code FROM dead_letters ORDER BY code";
    let codes: Vec<String> = pipeline.client.query(codes, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(codes, ["identity_ahead", "identity_without_time"]);
    let scheme: String = pipeline.client.query_one("SELECT scheme FROM turnstile.queues", &[]).await.unwrap().get(0);
    assert_eq!(scheme, UUIDS);
}

/// A letter that is sent back is loaded by a loader, which must see the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_back_with_a_key_older_than_the_horizon_leaves_its_letter_as_it_was() {
    let tables = Tables::new().await;
    let site = Site::of(QueueOptions::new(QUEUE), &tables.url).await;
    let now = OffsetDateTime::now_utc();
    let refuse = "ALTER TABLE user_logins ADD CONSTRAINT no_toaster CHECK (device_type <> 'toaster')";
    tables.client.batch_execute(refuse).await.unwrap();
    let run = [
        "run",
        "--until-empty",
        "--max-attempts",
        "1",
        "--retry-delay",
        "0s",
        "--wait",
        "1s",
        "--identity",
        "field:/id",
        "--identity-time",
        "uuidv7",
    ];
    let load = async || {
        let loader = site.start(site.command(&run), "log");
        assert!(loader.ended().await.success(), "{}", std::fs::read_to_string(site.log("log")).unwrap());
    };
    let old = uuid(now - Duration::days(2), 1);
    site.send([keyed(&old, "a", "toaster"), keyed(&uuid(now, 2), "b", "toaster"), keyed(&uuid(now, 3), "c", "ios")])
        .await;
    load().await;
    tables.client.batch_execute("ALTER TABLE user_logins DROP CONSTRAINT no_toaster").await.unwrap();
    move_horizon(&tables.client, now - Duration::DAY).await;
    let state = "SELECT to_jsonb(d)::text FROM dead_letters d WHERE status = 'open'";
    let mut sent_back = site.command(&["dead-letters", "requeue", "--all", "--yes"]);
    assert!(sent_back.env("USER", "grace").output().unwrap().status.success());
    assert_eq!(text(&tables, state).await.len(), 2);
    load().await;
    assert_eq!((text(&tables, state).await.len(), site.depth()), (1, 0));
    assert_eq!(text(&tables, "SELECT user_id::text FROM user_logins ORDER BY 1").await, ["b", "c"]);
    tables.assert_promise().await;
}

/// A login that is older itself is a letter for that, under the constant time.
#[tokio::test]
async fn a_message_and_its_key_may_both_be_older() {
    let tables = tables_under(UUIDS).await;
    move_horizon(&tables.client, SENT_AT + Duration::DAY).await;
    assert_eq!(tally_of_one(&tables, "m", &keyed(&uuid(SENT_AT, 1), "a", "ios")).await, DEAD_LETTERED);
    assert_eq!(text(&tables, "SELECT sent_at::date::text FROM dead_letters").await, ["1970-01-01"]);
    // Ahead of the horizon, of a message that is not.
    let mut late = message("n", &keyed(&uuid(SENT_AT + Duration::HOUR, 2), "b", "ios"), 1);
    late.delivery.sent_at = SentAt::Queue(SENT_AT + Duration::days(2));
    assert_eq!(tally_of(&tables, [late]).await, DEAD_LETTERED);
    tables.assert_promise().await;
    assert_eq!(tables.replay_all().await, left_older(2));
}
