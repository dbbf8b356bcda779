//! Under order the events of a subject reach the sink in the order of their positions, and what is refused keeps its own subject
//! waiting only.

use std::collections::{BTreeSet, HashMap, HashSet};

use stand_ins::sqs::{Faults, LocalQueue, QueueOptions};
use turnstile::queue::Queue as _;
use turnstile::queue::sqs::{SqsQueue, SqsSettings};

use super::*;
use crate::support::program::{self, Loader};
use crate::support::scripted_http::aws_at;

/// A sink that looks at the order in which events arrive.
#[derive(Clone, Default)]
pub(super) struct Witness {
    pub(super) seen: Arc<Mutex<Seen>>,
    pub(super) answer: Arc<Mutex<Option<Answering>>>,
}

#[derive(Default)]
pub(super) struct Seen {
    /// Where each subject has come to.
    last: HashMap<String, i64>,
    pub(super) arrived: BTreeSet<i64>,
    pub(super) repeats: usize,
    /// What came for the first time after a later event of its subject, which is then named too.
    pub(super) overtaken: Vec<(i64, i64)>,
}

impl Witness {
    pub(super) fn answering(answer: impl FnMut(&[Envelope]) -> Option<Answer> + Send + 'static) -> Self {
        let sink = Self::default();
        *sink.answer.lock().unwrap() = Some(Box::new(answer));
        sink
    }

    /// Refuses these, and takes everything else.
    fn refusing(bad: impl Fn(&Envelope) -> bool + Send + 'static) -> Self {
        Self::answering(move |events| {
            let refused = || Carried::Refused("Malformed".to_owned());
            Some(Ok(events.iter().map(|event| if bad(event) { refused() } else { Carried::Taken }).collect()))
        })
    }

    fn takes_everything(&self) {
        *self.answer.lock().unwrap() = None;
    }

    pub(super) fn arrived(&self) -> Vec<i64> {
        self.seen.lock().unwrap().arrived.iter().copied().collect()
    }

    pub(super) fn overtaken(&self) -> Vec<(i64, i64)> {
        self.seen.lock().unwrap().overtaken.clone()
    }
}

impl Seen {
    fn note(&mut self, event: &Envelope) {
        if !self.arrived.insert(event.position) {
            self.repeats += 1;
            return;
        }
        let Some(subject) = event.subject.clone() else { return };
        let last = self.last.entry(subject).or_default();
        if *last > event.position {
            self.overtaken.push((event.position, *last));
        }
        *last = event.position.max(*last);
    }
}

impl Sink for Witness {
    fn limits(&self) -> Limits {
        Limits { events: 7, bytes: 100_000 }
    }

    async fn carry(&self, events: &[Envelope]) -> Answer {
        let subjects: Vec<&String> = events.iter().filter_map(|event| event.subject.as_ref()).collect();
        assert_eq!(subjects.iter().collect::<HashSet<_>>().len(), subjects.len(), "a call has one event of a subject");
        let answer = self.answer.lock().unwrap().as_mut().and_then(|answer| answer(events));
        let answer = answer.unwrap_or_else(|| Ok(vec![Carried::Taken; events.len()]));
        let mut seen = self.seen.lock().unwrap();
        // The sink takes what it takes in any order.
        let outcomes: Vec<_> = events.iter().zip(answer.iter().flatten()).collect();
        for (event, _) in outcomes.into_iter().rev().filter(|(_, outcome)| **outcome == Carried::Taken) {
            seen.note(event);
        }
        answer
    }
}

pub(super) fn in_order(until_empty: bool) -> RelaySettings {
    RelaySettings { ordered: true, ..settings(until_empty) }
}

async fn drain_in_order(database: &Database, sink: &Witness) {
    start(database, sink, in_order(true), &Shutdown::default()).await.await.unwrap().unwrap();
}

/// Writes an event for each of these subjects, and gives their positions; the transaction is the client's.
async fn write_of(client: &Client, subjects: &[Option<&str>]) -> Vec<i64> {
    let sql = "INSERT INTO turnstile.outbox (event_id, message_sent_at, user_id)
               SELECT decode(md5(random()::text) || md5(random()::text), 'hex'), now(), s
               FROM unnest($1::text[]) WITH ORDINALITY AS t (s, n) ORDER BY n RETURNING position";
    client.query(sql, &[&subjects]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn write_named(client: &Client, subjects: &str) -> Vec<i64> {
    let subjects: Vec<Option<&str>> = subjects.split(' ').map(Some).collect();
    write_of(client, &subjects).await
}

async fn failures(client: &Client) -> Vec<(i64, String, i32, String)> {
    let sql = "SELECT position, status, attempts, code FROM turnstile.relay_failures ORDER BY position";
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
}

fn failure(position: i64, status: &str, attempts: i32) -> (i64, String, i32, String) {
    let code = if attempts == 0 { "BehindARefusedEvent" } else { "Malformed" };
    (position, status.to_owned(), attempts, code.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_above_an_open_transaction_waits_and_what_lies_below_is_carried() {
    let test = TestDatabase::with_tables().await;
    let database = pool(test.url(), 8, Duration::from_secs(30));
    let [slow, doomed, quick] = [test.client().await, test.client().await, test.client().await];
    let sink = Witness::default();
    let shutdown = Shutdown::default();
    doomed.batch_execute("BEGIN").await.unwrap();
    write_named(&doomed, "a").await;
    let mut expected = write_named(&quick, "a b").await;
    slow.batch_execute("BEGIN").await.unwrap();
    let of_slow = write_named(&slow, "a a").await;
    let after = write_named(&quick, "a c").await;
    let running = start(&database, &sink, in_order(false), &shutdown).await;
    let awaited = async || {
        let sql = "SELECT coalesce(max(cardinality(writers)), 0) FROM turnstile.relay_gaps";
        quick.query_one(sql, &[]).await.unwrap().get::<_, i32>(0)
    };
    wait_until("two transactions are waited for", async || awaited().await == 2).await;
    assert!(sink.arrived().is_empty(), "the first position may still be filled");

    doomed.batch_execute("ROLLBACK").await.unwrap();
    wait_until("one transaction is waited for", async || awaited().await == 1).await;
    assert!(sink.arrived().is_empty(), "it is not known which positions were whose");
    // It begins later, and keeps nothing waiting that was seen before.
    doomed.batch_execute("BEGIN").await.unwrap();
    write_named(&doomed, "d").await;
    slow.batch_execute("COMMIT").await.unwrap();
    expected.extend(of_slow);
    expected.extend(after);
    wait_until("everything below the open transaction is carried", async || sink.arrived() == expected).await;

    let below = write_named(&quick, "d").await;
    wait_until("the open transaction is waited for", async || awaited().await == 1).await;
    let part = expected.clone();
    assert_eq!(sink.arrived(), part);
    doomed.batch_execute("ROLLBACK").await.unwrap();
    expected.extend(below);
    wait_until("everything is carried", async || sink.arrived() == expected).await;
    assert_eq!((sink.overtaken(), sink.seen.lock().unwrap().repeats), (vec![], 0));
    wait_until("no gap and no chunk is left", async || {
        count(&quick, "relay_gaps").await + count(&quick, "relay_chunks").await == 0
    })
    .await;
    shutdown.stopping.cancel();
    assert_eq!(running.await.unwrap().unwrap(), expected.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_part_of_a_range_that_nothing_can_be_missing_from_is_carried_at_once() {
    let test = TestDatabase::with_tables().await;
    let database = pool(test.url(), 8, Duration::from_secs(30));
    let [one, other, quick] = [test.client().await, test.client().await, test.client().await];
    one.batch_execute("BEGIN").await.unwrap();
    let first = write_named(&one, "a").await;
    let second = write_named(&quick, "a").await;
    other.batch_execute("BEGIN").await.unwrap();
    let third = write_named(&other, "a").await;
    let fourth = write_named(&quick, "a").await;
    let sink = Witness::default();
    let shutdown = Shutdown::default();
    let running = start(&database, &sink, in_order(false), &shutdown).await;
    wait_until("the gap is known", async || count(&quick, "relay_gaps").await == 1).await;
    one.batch_execute("COMMIT").await.unwrap();
    wait_until("the first two are carried", async || sink.arrived() == [first[0], second[0]]).await;
    let rest = quick.query_one("SELECT first_position, last_position FROM turnstile.relay_gaps", &[]).await.unwrap();
    assert_eq!((rest.get::<_, i64>(0), rest.get::<_, i64>(1)), (third[0], fourth[0]));
    other.batch_execute("COMMIT").await.unwrap();
    wait_until("the rest is carried", async || sink.arrived().len() == 4).await;
    assert_eq!(sink.overtaken(), []);
    shutdown.stopping.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_event_keeps_the_later_ones_of_its_subject_waiting_and_no_others() {
    let (_test, database, client) = outbox().await;
    let all = write_named(&client, "a b a c a b a").await;
    let bad = all[2];
    let sink = Witness::refusing(move |event| event.position == bad);
    let patient = RelaySettings { chunk: 2, most_attempts: 1_000_000, ..in_order(false) };
    let shutdown = Shutdown::default();
    let running = start(&database, &sink, patient, &shutdown).await;
    let others: Vec<i64> = [0, 1, 3, 5].map(|n| all[n]).to_vec();
    wait_until("the others are carried", async || sink.arrived() == others).await;
    let behind = [all[4], all[6]].map(|position| failure(position, "waiting", 0));
    wait_until("the later ones wait", async || failures(&client).await.get(1..) == Some(&behind[..])).await;
    sink.takes_everything();
    wait_until("all are carried", async || sink.arrived() == all).await;
    wait_until("no failure is left", async || failures(&client).await.is_empty()).await;
    assert_eq!(sink.overtaken(), []);
    shutdown.stopping.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_set_aside_keeps_its_subject_until_an_operator_discards_it() {
    let (_test, database, client) = outbox().await;
    let all = write_named(&client, "a b a a").await;
    let bad = all[0];
    let sink = Witness::refusing(move |event| event.position == bad);
    drain_in_order(&database, &sink).await;
    let later = write_named(&client, "a b").await;
    drain_in_order(&database, &sink).await;
    assert_eq!(sink.arrived(), [all[1], later[1]]);
    let waits = |position| failure(position, "waiting", 0);
    let expected = [failure(bad, "set_aside", 3), waits(all[2]), waits(all[3]), waits(later[0])];
    assert_eq!(failures(&client).await, expected);

    client.batch_execute("UPDATE turnstile.relay_failures SET status = 'discarded' WHERE attempts = 3").await.unwrap();
    drain_in_order(&database, &sink).await;
    assert_eq!(sink.arrived(), [&all[1..], &later].concat());
    assert_eq!(sink.overtaken(), []);
    assert_eq!(failures(&client).await, [failure(bad, "discarded", 3)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_discarded_while_it_is_tried_again_stays_so_although_the_sink_refuses_it_once_more() {
    let (_test, database, client) = outbox().await;
    let all = write_named(&client, "a a").await;
    let (bad, mut tries) = (all[0], 0);
    let (entered, wait) = (Arc::new(tokio::sync::Notify::new()), Arc::new(Mutex::new(true)));
    let (tell, goes_on) = (entered.clone(), wait.clone());
    let sink = Witness::answering(move |events| {
        tries += u32::from(events.iter().any(|event| event.position == bad));
        if tries == 2 {
            tell.notify_one();
            while *goes_on.lock().unwrap() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let refused = || Carried::Refused("Malformed".to_owned());
        Some(Ok(events.iter().map(|event| if event.position == bad { refused() } else { Carried::Taken }).collect()))
    });
    let shutdown = Shutdown::default();
    let running = start(&database, &sink, in_order(false), &shutdown).await;
    entered.notified().await;
    client.batch_execute("UPDATE turnstile.relay_failures SET status = 'discarded' WHERE attempts = 1").await.unwrap();
    *wait.lock().unwrap() = false;
    wait_until("the later one is carried", async || sink.arrived() == [all[1]]).await;
    shutdown.stopping.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(failures(&client).await, [failure(bad, "discarded", 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_without_a_subject_wait_for_no_other() {
    let (_test, database, client) = outbox().await;
    let all = write_of(&client, &[None, Some("a"), None, None]).await;
    let bad = all[0];
    let sink = Witness::refusing(move |event| event.position == bad);
    drain_in_order(&database, &sink).await;
    assert_eq!(sink.arrived(), all[1..]);
    assert_eq!(failures(&client).await, [failure(bad, "set_aside", 3)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_taken_in_part_and_a_sink_that_is_away_change_no_order() {
    let (_test, database, client) = outbox().await;
    let subjects: Vec<String> = (0..200).map(|n| format!("u-{}", n * n % 11)).collect();
    let all = write_named(&client, &subjects.join(" ")).await;
    let mut calls = 0;
    let sink = Witness::answering(move |events| {
        calls += 1;
        match calls % 5 {
            0 => Some(Err(SinkError::Away("throttled".to_owned()))),
            1 => {
                Some(Ok((0..events.len()).map(|n| if n % 2 == 0 { Carried::Again } else { Carried::Taken }).collect()))
            }
            // The answer is lost: it was taken, and comes again.
            2 if events.len() > 1 => Some(Err(SinkError::Refused("one of them".to_owned()))),
            _ => None,
        }
    });
    drain_in_order(&database, &sink).await;
    assert_eq!(sink.arrived(), all);
    assert_eq!(sink.overtaken(), []);
    assert_eq!(failures(&client).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_relay_carries_at_a_time_and_another_takes_over_when_its_lease_ends() {
    let (_test, database, client) = outbox().await;
    let all = write_named(&client, "a b c ".repeat(20).trim_end()).await;
    let stuck = Witness::answering(|_| Some(Err(SinkError::Away("busy".to_owned()))));
    let short = RelaySettings { lease: Duration::from_secs(1), ..in_order(false) };
    let dying = start(&database, &stuck, short.clone(), &Shutdown::default()).await;
    wait_until("it has taken something up", async || count(&client, "relay_chunks").await == 1).await;
    let sink = Witness::default();
    let shutdown = Shutdown::default();
    let second = start(&database, &sink, short, &shutdown).await;
    let looks =
        "SELECT count(*) FROM turnstile.relay_chunks WHERE attempts = 1 AND leased_until > now() + interval '0.9 s'";
    wait_until("the first renews its lease while the other looks on", async || {
        client.query_one(looks, &[]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await;
    assert_eq!(count(&client, "relay_chunks").await, 1, "no chunk is open beside it");
    assert!(sink.arrived().is_empty());
    dying.abort();
    assert!(dying.await.unwrap_err().is_cancelled());
    wait_until("the other carries everything", async || sink.arrived() == all).await;
    assert_eq!((sink.overtaken(), sink.seen.lock().unwrap().repeats), (vec![], 0));
    shutdown.stopping.cancel();
    second.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_was_frozen_past_its_lease_repeats_what_others_carried_and_overtakes_nothing() {
    let (_test, database, client) = outbox().await;
    let all = write_named(&client, "a a a b").await;
    let (entered, wait) = (Arc::new(tokio::sync::Notify::new()), Arc::new(Mutex::new(true)));
    let (tell, goes_on, sink) = (entered.clone(), wait.clone(), Witness::default());
    let slow = Witness {
        seen: sink.seen.clone(),
        ..Witness::answering(move |events| {
            tell.notify_one();
            // Frozen, as a process is that is stopped: no lease is renewed meanwhile.
            while *goes_on.lock().unwrap() {
                std::thread::sleep(Duration::from_millis(5));
            }
            Some(Ok(events.iter().map(|_| Carried::Refused("Malformed".to_owned())).collect()))
        })
    };
    let short = RelaySettings { lease: Duration::from_secs(1), lanes: 1, ..in_order(false) };
    let shutdown = Shutdown::default();
    let frozen = start(&database, &slow, short, &shutdown).await;
    entered.notified().await;
    drain_in_order(&database, &sink).await;
    assert_eq!(sink.arrived(), all, "another has carried them");
    *wait.lock().unwrap() = false;
    shutdown.stopping.cancel();
    frozen.await.unwrap().unwrap();
    assert_eq!(failures(&client).await, [], "what it was refused is no failure any more");
    assert_eq!(sink.overtaken(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_does_not_begin_with_another_order_than_its_sink_was_made_with() {
    let (_test, database, _client) = outbox().await;
    let begin_with = async |sink: &str, ordered, adopts| {
        let settings = RelaySettings { sink: sink.to_owned(), ordered, ..settings(true) };
        begin(&database, &settings, "stdout:", adopts).await
    };
    for is_ordered in [true, false] {
        let sink = format!("sink-{is_ordered}");
        begin_with(&sink, is_ordered, false).await.unwrap();
        begin_with(&sink, is_ordered, false).await.unwrap();
        for adopts in [false, true] {
            let refused = begin_with(&sink, !is_ordered, adopts).await.unwrap_err();
            assert!(matches!(&refused, NotReady::Order { is_ordered: made, .. } if *made == is_ordered), "{refused}");
            let said = if is_ordered { "keeps the order of each subject" } else { "keeps no order" };
            assert_eq!(refused.to_string(), format!("the sink {sink} {said}"));
            assert!(refused.remedy().contains("--ordered"));
        }
        begin_with(&sink, is_ordered, true).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fifo_queue_has_the_events_of_each_subject_in_order_and_once_although_relays_are_killed() {
    let test = TestDatabase::with_tables().await;
    let client = test.client().await;
    let subjects: Vec<String> = (0..1_500).map(|n| format!("u-{}", n * n % 37)).collect();
    let all = write_named(&client, &subjects.join(" ")).await;
    let faults = Faults { lost_reply: 0.05, partial_batch_failure: 0.05, throttle: 0.02, ..Faults::default() };
    let queue = vec![QueueOptions::new("events.fifo")];
    let sqs = LocalQueue::start(([127, 0, 0, 1], 0).into(), queue, faults).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let keyring = program::write_keyring(folder.path());
    let relay = |more: &[&str]| {
        let mut command = program::command(program::turnstile(), test.url(), &keyring);
        command.args(["relay", "--to", "sqs:events.fifo", "--ordered", "--lease", "1s", "--chunk", "50"]).args(more);
        command.env("AWS_ENDPOINT_URL", sqs.endpoint()).stdout(Stdio::null());
        command
    };
    let held = || sqs.stats("events.fifo").unwrap().visible;
    for share in [4, 2] {
        let running = Loader::start(relay(&[]), folder.path().join("log"));
        wait_until("a part is carried", async || held() * share >= all.len()).await;
        running.kill();
    }
    sqs.set_faults(Faults::default());
    let last = Loader::start(relay(&["--until-empty"]), folder.path().join("log"));
    assert!(last.ended().await.success());
    assert_eq!(held(), all.len());

    let settings = SqsSettings::new("events.fifo".parse().unwrap());
    let queue = SqsQueue::connect_with(&settings, &aws_at(&sqs.endpoint())).await.unwrap();
    let (mut last, mut taken) = (HashMap::new(), 0);
    while taken < all.len() {
        let received = queue.receive(10, Duration::ZERO, Duration::from_secs(60)).await.unwrap();
        for message in &received {
            let event: Value = serde_json::from_slice(message.body.as_bytes()).unwrap();
            let at = event["sequence"].as_str().unwrap().to_owned();
            let before = last.insert(event["subject"].to_string(), at.clone());
            assert!(before.is_none_or(|before| before < at), "{at} comes late");
        }
        let receipts: Vec<_> = received.iter().map(|message| message.delivery.receipt.clone()).collect();
        assert!(queue.delete(&receipts).await.unwrap().iter().all(Result::is_ok));
        taken += received.len();
    }
}
