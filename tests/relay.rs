//! The relay carries every event, although transactions end in another order and relays or the server die. An event that comes
//! again has the same id and the same bytes.

mod beside;
#[cfg(feature = "failpoints")]
mod edges;
mod envelope;
mod figures;
#[cfg(feature = "failpoints")]
mod mutants;
mod network;
mod ordered;
mod prune;
mod queues;
mod readers;
mod refusals;
mod siege;
#[cfg(feature = "failpoints")]
pub(crate) mod stage;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use stand_ins::postgres::Options;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use turnstile::database::Database;
use turnstile::relay::{NotReady, Relay, RelayError, RelaySettings, begin};
use turnstile::shutdown::Shutdown;
use turnstile::sink::{Carried, Envelope, Limits, Sink, SinkError};

use crate::support::loading::migrate;
use crate::support::postgres::{TestDatabase, connect, pool};
use crate::support::proxy::{Kind, PostgresProxy};
use crate::support::server::{self, installed};
use crate::support::site::Site;
use crate::support::wait_until;

/// What a sink was given: by position, how often each event came, and its bytes.
pub(crate) type Came = Arc<Mutex<BTreeMap<i64, (usize, String)>>>;

/// A sink that takes what it is told to.
#[derive(Clone, Default)]
pub(crate) struct TestSink {
    pub(crate) came: Came,
    /// What becomes of a call, if not all of it is taken.
    answer: Arc<Mutex<Option<Answering>>>,
}

type Answer = Result<Vec<Carried>, SinkError>;
type Answering = Box<dyn FnMut(&[Envelope]) -> Option<Answer> + Send>;

impl TestSink {
    fn answering(answer: impl FnMut(&[Envelope]) -> Option<Answer> + Send + 'static) -> Self {
        let sink = Self::default();
        *sink.answer.lock().unwrap() = Some(Box::new(answer));
        sink
    }

    fn positions(&self) -> Vec<i64> {
        self.came.lock().unwrap().keys().copied().collect()
    }
}

impl Sink for TestSink {
    fn limits(&self) -> Limits {
        Limits { events: 7, bytes: 100_000 }
    }

    async fn carry(&self, events: &[Envelope]) -> Answer {
        assert!(!events.is_empty() && events.len() <= 7);
        let answer = self.answer.lock().unwrap().as_mut().and_then(|answer| answer(events));
        let answer = answer.unwrap_or_else(|| Ok(vec![Carried::Taken; events.len()]));
        let mut came = self.came.lock().unwrap();
        for (event, outcome) in events.iter().zip(answer.iter().flatten()) {
            if *outcome == Carried::Taken {
                let (times, body) = came.entry(event.position).or_insert_with(|| (0, event.body.clone()));
                *times += 1;
                assert_eq!(*body, event.body, "an event has the same bytes every time");
            }
        }
        answer
    }
}

pub(crate) fn settings(until_empty: bool) -> RelaySettings {
    RelaySettings {
        sink: "test".to_owned(),
        source: "urn:test".to_owned(),
        chunk: 20,
        lanes: 2,
        lease: Duration::from_secs(30),
        poll: Duration::from_millis(20),
        most_attempts: 3,
        failure_pause: Duration::from_millis(50),
        ordered: false,
        until_empty,
    }
}

pub(crate) type Running = JoinHandle<Result<u64, RelayError>>;

pub(crate) async fn start<S: Sink + Clone>(
    database: &Database,
    sink: &S,
    settings: RelaySettings,
    shutdown: &Shutdown,
) -> Running {
    begin(database, &settings, "stdout:", false).await.unwrap();
    let relay = Relay { database: database.clone(), sink: sink.clone(), settings };
    tokio::spawn(relay.run(shutdown.clone()))
}

/// Tables with nothing in them, as a relay and as a writer of events reaches them.
pub(crate) async fn outbox() -> (TestDatabase, Database, Client) {
    let test = TestDatabase::with_tables().await;
    let (database, client) = (pool(test.url(), 8, Duration::from_secs(30)), test.client().await);
    (test, database, client)
}

/// Carries all that there is.
pub(crate) async fn drain<S: Sink + Clone>(database: &Database, sink: &S) {
    start(database, sink, settings(true), &Shutdown::default()).await.await.unwrap().unwrap();
}

/// Writes events, as a loader does, and gives their positions; the transaction is the client's.
pub(crate) async fn write(client: &Client, events: i64) -> Vec<i64> {
    let sql = "INSERT INTO turnstile.outbox (event_id, message_sent_at, user_id)
               SELECT decode(md5(random()::text) || md5(random()::text), 'hex'), now(), 'u-' || n
               FROM generate_series(1, $1::bigint) n RETURNING position";
    client.query(sql, &[&events]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

pub(crate) async fn count(client: &Client, table: &str) -> i64 {
    client.query_one(&format!("SELECT count(*) FROM turnstile.{table}"), &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_carried_at_once_around_those_whose_transactions_are_open_and_these_when_they_commit() {
    let test = TestDatabase::with_tables().await;
    let database = pool(test.url(), 8, Duration::from_secs(30));
    let [slow, doomed, quick] = [test.client().await, test.client().await, test.client().await];
    let sink = TestSink::default();
    let shutdown = Shutdown::default();
    let running = start(&database, &sink, settings(false), &shutdown).await;

    slow.batch_execute("BEGIN").await.unwrap();
    let of_slow = write(&slow, 3).await;
    doomed.batch_execute("BEGIN").await.unwrap();
    write(&doomed, 30).await;
    let mut expected = write(&quick, 50).await;
    wait_until("what is committed is carried", async || sink.positions() == expected).await;
    wait_until("it is known who writes into the gaps", async || {
        let unknown = count(&quick, "relay_gaps WHERE writers IS NULL").await;
        unknown == 0 && count(&quick, "relay_gaps").await > 0
    })
    .await;

    doomed.batch_execute("ROLLBACK").await.unwrap();
    // A loader that begins later keeps no gap open.
    doomed.batch_execute("BEGIN").await.unwrap();
    write(&doomed, 1).await;
    wait_until("what is rolled back is waited for no more", async || {
        let awaited = "SELECT DISTINCT w FROM turnstile.relay_gaps, unnest(writers) w";
        quick.query(awaited, &[]).await.unwrap().len() == 1
    })
    .await;
    assert_eq!(sink.positions(), expected, "nobody has committed anything");

    slow.batch_execute("COMMIT").await.unwrap();
    expected.extend(of_slow);
    expected.sort_unstable();
    wait_until("what was committed late is carried", async || sink.positions() == expected).await;
    wait_until("no gap and no chunk is left", async || {
        count(&quick, "relay_gaps").await + count(&quick, "relay_chunks").await == 0
    })
    .await;
    assert!(sink.came.lock().unwrap().values().all(|(times, _)| *times == 1));
    shutdown.stopping.cancel();
    assert_eq!(running.await.unwrap().unwrap(), expected.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gaps_that_stay_keep_none_that_lie_above_them_from_being_looked_at() {
    let (test, database, client) = outbox().await;
    let [stays, ends] = [test.client().await, test.client().await];
    for open in [&stays, &ends] {
        open.batch_execute("BEGIN").await.unwrap();
    }
    // More gaps than are looked at in one transaction, and one above all of them.
    for _ in 0..150 {
        write(&stays, 1).await;
        write(&client, 1).await;
    }
    let late = write(&ends, 1).await;
    write(&client, 1).await;
    let (sink, shutdown) = (TestSink::default(), Shutdown::default());
    let running = start(&database, &sink, settings(false), &shutdown).await;
    wait_until("every gap is known", async || {
        let known = "SELECT count(*) FROM turnstile.relay_gaps WHERE writers IS NOT NULL";
        client.query_one(known, &[]).await.unwrap().get::<_, i64>(0) == 151
    })
    .await;
    ends.batch_execute("COMMIT").await.unwrap();
    wait_until("what lies above the others is carried", async || sink.positions().contains(&late[0])).await;
    assert_eq!(sink.positions().len(), 152);
    shutdown.stopping.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_transaction_outlives_a_crash_of_the_server_and_its_events_are_carried_all_the_same() {
    let prepared = vec![("max_prepared_transactions".to_owned(), "10".to_owned())];
    let mut server = server::start(Options { settings: prepared, ..installed() }).await;
    let database = pool(&server.url(), 8, Duration::from_secs(10));
    migrate(&database).await;
    let client = connect(&server.url()).await;
    let sink = TestSink::default();
    client.batch_execute("BEGIN").await.unwrap();
    let of_prepared = write(&client, 4).await;
    client.batch_execute("PREPARE TRANSACTION 'forgotten'").await.unwrap();
    let mut expected = write(&client, 5).await;

    let shutdown = Shutdown::default();
    let running = start(&database, &sink, settings(false), &shutdown).await;
    wait_until("the rest is carried, and the gap has a writer", async || {
        let known = "SELECT count(*) FROM turnstile.relay_gaps WHERE cardinality(writers) = 1";
        sink.positions() == expected && client.query_one(known, &[]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await;
    let writer = "SELECT writers[1] FROM turnstile.relay_gaps";
    let before: String = client.query_one(writer, &[]).await.unwrap().get(0);
    // The notes of the relay wait for no disk: here they are made to hold, so that the id in them is the old one.
    client.batch_execute("SELECT pg_switch_wal(); CHECKPOINT").await.unwrap();
    server.kill_hard();
    server.restart().await.unwrap();
    let client = connect(&server.url()).await;
    let now = "SELECT virtualtransaction FROM pg_locks WHERE relation = 'turnstile.outbox'::regclass AND pid IS NULL";
    let after: String = client.query_one(now, &[]).await.unwrap().get(0);
    assert_ne!(before, after, "the crash gave it another id");

    // The gap is looked at many times meanwhile.
    expected.extend(write(&client, 30).await);
    wait_until("what came after the crash is carried", async || sink.positions() == expected).await;
    wait_until("the gap waits for the new id", async || {
        let rows = client.query(writer, &[]).await.unwrap();
        rows.first().is_some_and(|row| row.get::<_, String>(0) == after)
    })
    .await;
    client.batch_execute("COMMIT PREPARED 'forgotten'").await.unwrap();
    expected.extend(of_prepared);
    expected.sort_unstable();
    wait_until("what was prepared is carried", async || sink.positions() == expected).await;
    shutdown.stopping.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_relay_had_taken_up_is_carried_by_another_once_its_lease_is_over() {
    let (_test, database, client) = outbox().await;
    let expected = write(&client, 100).await;
    // Everything that it takes up stays with it: the sink never answers.
    let stuck = TestSink::answering(|_| Some(Err(SinkError::Away("busy".to_owned()))));
    let short = RelaySettings { lease: Duration::from_secs(1), ..settings(false) };
    let dying = start(&database, &stuck, short, &Shutdown::default()).await;
    wait_until("it has taken something up", async || count(&client, "relay_chunks").await == 2).await;
    dying.abort();
    assert!(dying.await.unwrap_err().is_cancelled());
    let sink = TestSink::default();
    drain(&database, &sink).await;
    assert_eq!(sink.positions(), expected);
    assert!(sink.came.lock().unwrap().values().all(|(times, _)| *times == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_lane_alone_looks_at_an_outbox_in_which_nothing_is() {
    let test = TestDatabase::with_tables().await;
    let proxy = PostgresProxy::before(test.url()).await;
    let database = pool(proxy.url(), 8, Duration::from_secs(30));
    let commits = Arc::new(Mutex::new(Vec::new()));
    let seen = commits.clone();
    proxy.arm(move |asked| {
        if asked.kind == Kind::Commit {
            seen.lock().unwrap().push(Instant::now());
        }
        None
    });
    let seldom = RelaySettings { lanes: 4, poll: Duration::from_millis(100), ..settings(false) };
    let shutdown = Shutdown::default();
    let running = start(&database, &TestSink::default(), seldom, &shutdown).await;
    wait_until("it has looked many times", async || commits.lock().unwrap().len() > 50).await;
    shutdown.stopping.cancel();
    assert_eq!(running.await.unwrap().unwrap(), 0);
    let commits = commits.lock().unwrap();
    // Ten looks a second of one lane, and two of those who look after gaps and failures; four lanes would take 0.7 s.
    let took = commits[50] - commits[20];
    assert!(took > Duration::from_millis(1_500), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_sink_gets_every_event_for_itself_and_one_that_comes_late_gets_them_from_the_beginning() {
    let (_test, database, client) = outbox().await;
    let mut expected = write(&client, 45).await;
    let [one, other] = [TestSink::default(), TestSink::default()];
    drain(&database, &one).await;
    expected.extend(write(&client, 5).await);
    drain(&database, &one).await;
    let late = RelaySettings { sink: "late".to_owned(), ..settings(true) };
    start(&database, &other, late, &Shutdown::default()).await.await.unwrap().unwrap();
    assert_eq!(one.positions(), expected);
    assert_eq!(other.positions(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_does_not_begin_where_it_could_lose_events_or_repeat_them_unnoticed() {
    let (_test, database, client) = outbox().await;
    write(&client, 10).await;
    drain(&database, &TestSink::default()).await;
    let refusal = async |target: &str, adopts| begin(&database, &settings(true), target, adopts).await.err();
    assert!(refusal("stdout:", false).await.is_none());

    assert!(matches!(refusal("sqs:other", false).await, Some(NotReady::Elsewhere { .. })));
    assert!(refusal("sqs:other", true).await.is_none());
    assert!(matches!(refusal("stdout:", false).await, Some(NotReady::Elsewhere { .. })), "it is moved for good");
    assert!(refusal("stdout:", true).await.is_none());

    client.batch_execute("UPDATE turnstile.relay_sinks SET cluster_id = 1").await.unwrap();
    assert!(matches!(refusal("stdout:", false).await, Some(NotReady::Copy(_))));
    assert!(refusal("stdout:", true).await.is_none());

    for (change, back) in [("CACHE 5", "CACHE 1"), ("INCREMENT 2", "INCREMENT 1"), ("CYCLE", "NO CYCLE")] {
        let alter = |what| format!("ALTER SEQUENCE turnstile.outbox_position_seq {what}");
        client.batch_execute(&alter(change)).await.unwrap();
        let refused = refusal("stdout:", true).await;
        assert!(matches!(refused, Some(NotReady::Sequence(_))), "{change}: {refused:?}");
        client.batch_execute(&alter(back)).await.unwrap();
    }
    client.batch_execute("SELECT setval('turnstile.outbox_position_seq', 3)").await.unwrap();
    let refused = refusal("stdout:", true).await.unwrap();
    assert!(matches!(refused, NotReady::Behind { at: 3, frontier: 10 }), "{refused}");
    assert!(refused.remedy().contains("set it to 10 by setval"));
    client.batch_execute("SELECT setval('turnstile.outbox_position_seq', 10)").await.unwrap();

    for (change, back, said) in [
        ("ALTER TABLE turnstile.relay_gaps SET UNLOGGED", "ALTER TABLE turnstile.relay_gaps SET LOGGED", "unlogged"),
        (
            "CREATE RULE lost AS ON INSERT TO turnstile.relay_chunks DO INSTEAD NOTHING",
            "DROP RULE lost ON turnstile.relay_chunks",
            "has a rule",
        ),
    ] {
        client.batch_execute(change).await.unwrap();
        let refused = refusal("stdout:", false).await.unwrap();
        assert!(matches!(refused, NotReady::Tables(_)) && refused.to_string().contains(said), "{refused}");
        client.batch_execute(back).await.unwrap();
    }
    assert!(refusal("stdout:", false).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_writes_an_event_for_each_login_in_the_form_of_cloudevents_and_only_once() {
    let test = TestDatabase::with_tables().await;
    let site = Site::without_tables(test.url()).await;
    site.fill(60, 0);
    let loader = site.start(site.command(&["run", "--until-empty"]), "log");
    assert!(loader.ended().await.success());
    let relay = || {
        let mut command = site.command(&["relay", "--to", "stdout:", "--until-empty", "--source", "urn:test:logins"]);
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    };
    let written = relay();
    assert_eq!(relay(), "", "everything is carried");
    let events: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let client = site.client().await;
    let rows = "SELECT encode(event_id, 'hex'), position, user_id, masked_ip, app_version, create_date::text
                FROM turnstile.outbox ORDER BY position";
    let rows = client.query(rows, &[]).await.unwrap();
    assert_eq!((events.len(), rows.len()), (60, 60));
    for row in &rows {
        let (id, position): (String, i64) = (row.get(0), row.get(1));
        let event = events.iter().find(|event| event["id"] == id).unwrap();
        let user: Option<String> = row.get(2);
        assert_eq!((&event["specversion"], &event["source"]), (&"1.0".into(), &"urn:test:logins".into()));
        assert_eq!(event["type"], "dev.turnstile.login.loaded.v1");
        assert_eq!(event["sequence"], format!("{position:020}"));
        assert_eq!((event["subject"].as_str(), event["data"]["user_id"].as_str()), (user.as_deref(), user.as_deref()));
        assert_eq!(event["data"]["masked_ip"], row.get::<_, String>(3));
        assert_eq!(event["data"]["app_version"], row.get::<_, Option<i32>>(4).map_or(Value::Null, Value::from));
        assert_eq!(event["data"]["create_date"], row.get::<_, String>(5));
        assert_eq!(event["data"].as_object().unwrap().len(), 7);
    }
}
