//! What a sink refuses keeps no other event waiting, and a sink that is away sets nothing aside.

use turnstile::metrics::SinkCall;

use super::*;

/// The sink refuses any call with one of these in it, as servers do that check a call as a whole.
fn refusing_whole_calls_with(bad: Vec<i64>) -> TestSink {
    TestSink::answering(move |events| {
        let has_bad = events.iter().any(|event| bad.contains(&event.position));
        has_bad.then(|| Err(SinkError::Refused("Malformed".to_owned())))
    })
}

async fn failures(client: &Client) -> Vec<(i64, String, i32, String)> {
    let sql = "SELECT position, status, attempts, code FROM turnstile.relay_failures ORDER BY position";
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_refused_for_good_is_found_and_set_aside_after_a_bounded_number_of_tries() {
    let (_test, database, client) = outbox().await;
    let all = write(&client, 50).await;
    let bad = vec![all[3], all[4], all[30]];
    let sink = refusing_whole_calls_with(bad.clone());
    drain(&database, &sink).await;
    let good: Vec<i64> = all.into_iter().filter(|position| !bad.contains(position)).collect();
    assert_eq!(sink.positions(), good);
    let expected: Vec<_> = bad.iter().map(|bad| (*bad, "set_aside".to_owned(), 3, "Malformed".to_owned())).collect();
    assert_eq!(failures(&client).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_attempt_an_event_is_set_aside_when_it_is_refused_for_the_first_time() {
    for ordered in [false, true] {
        let (_test, database, client) = outbox().await;
        let bad = write(&client, 5).await[1];
        let sink = refusing_whole_calls_with(vec![bad]);
        let once = RelaySettings { most_attempts: 1, ordered, ..settings(true) };
        start(&database, &sink, once, &Shutdown::default()).await.await.unwrap().unwrap();
        let expected = (bad, "set_aside".to_owned(), 1, "Malformed".to_owned());
        assert_eq!(failures(&client).await, [expected], "ordered: {ordered}");
        assert_eq!(database.metrics().snapshot().relay_set_aside.total(), 1, "ordered: {ordered}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_refused_at_first_and_taken_later_is_carried() {
    let (_test, database, client) = outbox().await;
    let all = write(&client, 10).await;
    let (late, mut refusals) = (all[2], 0);
    let sink = TestSink::answering(move |events| {
        let refuses = refusals < 2 && events.iter().any(|event| event.position == late);
        refusals += u32::from(refuses);
        let answer = |event: &Envelope| match event.position == late {
            true => Carried::Refused("NotYet".to_owned()),
            false => Carried::Taken,
        };
        refuses.then(|| Ok(events.iter().map(answer).collect()))
    });
    drain(&database, &sink).await;
    assert_eq!(sink.positions(), all);
    assert_eq!(failures(&client).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_is_away_or_takes_a_part_only_gets_everything_in_the_end_and_nothing_is_set_aside() {
    let (_test, database, client) = outbox().await;
    let all = write(&client, 60).await;
    let mut calls = 0;
    let sink = TestSink::answering(move |events| {
        calls += 1;
        match calls % 4 {
            0 => Some(Err(SinkError::Away("throttled".to_owned()))),
            // It says nothing of the last, and takes every other one of the rest.
            1 => {
                Some(Ok((1..events.len()).map(|n| if n % 2 == 0 { Carried::Again } else { Carried::Taken }).collect()))
            }
            _ => None,
        }
    });
    drain(&database, &sink).await;
    assert_eq!(sink.positions(), all);
    assert_eq!(failures(&client).await, []);
    assert!(sink.came.lock().unwrap().values().all(|(times, _)| *times == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_was_frozen_past_its_lease_takes_nothing_away_from_the_one_that_has_its_chunk() {
    let (_test, database, client) = outbox().await;
    let all = write(&client, 5).await;
    let (entered, wait) = (Arc::new(tokio::sync::Notify::new()), Arc::new(Mutex::new(false)));
    let (tell, go_on) = (entered.clone(), wait.clone());
    let slow = TestSink::answering(move |_| {
        tell.notify_one();
        // Frozen, as a process is that is stopped: no lease is renewed meanwhile.
        while !*go_on.lock().unwrap() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(Err(SinkError::Refused("Malformed".to_owned())))
    });
    let short = RelaySettings { lease: Duration::from_secs(1), lanes: 1, ..settings(false) };
    let shutdown = Shutdown::default();
    let frozen = start(&database, &slow, short, &shutdown).await;
    entered.notified().await;
    let sink = TestSink::default();
    drain(&database, &sink).await;
    assert_eq!(sink.positions(), all, "another has carried them");
    *wait.lock().unwrap() = true;
    shutdown.stopping.cancel();
    frozen.await.unwrap().unwrap();
    assert_eq!(failures(&client).await, [], "what it was refused is no failure any more");
}

/// The event is refused, its next attempt meets a sink that is away, and meanwhile an operator gives it up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_event_is_held_for_one_lease_so_that_one_that_is_given_up_meanwhile_is_not_sent() {
    let (_test, database, client) = outbox().await;
    let bad = write(&client, 1).await[0];
    let (tries, is_back) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(false)));
    let (tried, back) = (tries.clone(), is_back.clone());
    let sink = TestSink::answering(move |events| {
        if events.iter().all(|event| event.position != bad) || *back.lock().unwrap() {
            return None;
        }
        *tried.lock().unwrap() += 1;
        Some(Err(match *tried.lock().unwrap() {
            1 => SinkError::Refused("Malformed".to_owned()),
            _ => SinkError::Away("down".to_owned()),
        }))
    });
    let short = RelaySettings { lease: Duration::from_secs(1), ..settings(false) };
    let shutdown = Shutdown::default();
    let running = start(&database, &sink, short, &shutdown).await;
    wait_until("it is tried again in vain", async || *tries.lock().unwrap() > 1).await;
    client.batch_execute("UPDATE turnstile.relay_failures SET status = 'discarded'").await.unwrap();
    wait_until("the lease on it is over", async || {
        let over = "SELECT count(*) FROM turnstile.relay_failures WHERE next_at < clock_timestamp()";
        client.query_one(over, &[]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await;
    *is_back.lock().unwrap() = true;
    let other = write(&client, 1).await;
    wait_until("the sink takes events again", async || sink.positions().contains(&other[0])).await;
    // What is still in hand is carried to its end.
    shutdown.stopping.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(sink.positions(), other);
}

/// A lane cannot go on while the others wait for a sink that is away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_cannot_go_on_ends_though_its_sink_is_away() {
    let (_test, database, client) = outbox().await;
    write(&client, 30).await;
    let sink = TestSink::answering(|_| Some(Err(SinkError::Away("down".to_owned()))));
    let shutdown = Shutdown::default();
    let running = start(&database, &sink, settings(false), &shutdown).await;
    wait_until("chunks wait for the sink", async || count(&client, "relay_chunks").await == 2).await;
    client.batch_execute("ALTER TABLE turnstile.relay_gaps RENAME TO gone").await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(60), running).await.expect("it ends");
    assert!(matches!(ended.unwrap(), Err(RelayError::Database(_))));
    client.batch_execute("ALTER TABLE turnstile.gone RENAME TO relay_gaps").await.unwrap();
    drain(&database, &TestSink::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_never_answers_is_away() {
    let (_test, database, client) = outbox().await;
    let all = write(&client, 3).await;
    let sink = Silent { calls: Arc::default(), then: TestSink::default() };
    let short = RelaySettings { lease: Duration::from_secs(1), lanes: 1, ..settings(true) };
    start(&database, &sink, short, &Shutdown::default()).await.await.unwrap().unwrap();
    assert_eq!(sink.then.positions(), all);
    assert_eq!(database.metrics().snapshot().relay_calls.get((SinkCall::Away,)), 1);
    assert_eq!(database.metrics().snapshot().relay_taken_over.total(), 0, "it kept its lease meanwhile");
}

/// A sink whose first call has no end.
#[derive(Clone)]
struct Silent {
    calls: Arc<Mutex<usize>>,
    then: TestSink,
}

impl Sink for Silent {
    fn limits(&self) -> Limits {
        self.then.limits()
    }

    async fn carry(&self, events: &[Envelope]) -> Answer {
        let is_first = {
            let mut calls = self.calls.lock().unwrap();
            *calls += 1;
            *calls == 1
        };
        match is_first {
            true => std::future::pending().await,
            false => self.then.carry(events).await,
        }
    }
}
