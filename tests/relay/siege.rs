//! Writers that end out of order, roll back, prepare and die, relays that are killed, and a server that crashes: nothing is lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio_postgres::NoTls;

use super::ordered::{Witness, in_order};
use super::*;
use crate::postgresql::times;
use crate::support::evidence::survived;
use crate::support::wait_for;

const SUBJECTS: i64 = 30;
const COMMAND: &str = "TURNSTILE_TEST_RELAY_CRASHES=20 cargo test --test main relay::siege";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_whoever_dies() {
    let crashes = times("TURNSTILE_TEST_RELAY_CRASHES", 2);
    let sink = unreliable(11);
    let (events, deaths) = besiege(crashes, &sink, &settings(false), || sink.positions()).await;
    refuse_losses(&events, sink.positions());
    let repeats: usize = sink.came.lock().unwrap().values().map(|(times, _)| times - 1).sum();
    eprintln!("{} events, {deaths} relays killed, {repeats} repeats", events.len());
    survived("crashes of the server while events were written and carried", crashes, COMMAND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_overtakes_an_earlier_one_of_its_subject_although_relays_and_the_server_die() {
    let crashes = times("TURNSTILE_TEST_RELAY_CRASHES", 2);
    let sink = refusing_for_a_while(12);
    let patient = RelaySettings { most_attempts: 1_000_000, chunk: 200, ..in_order(false) };
    let (events, deaths) = besiege(crashes, &sink, &patient, || sink.arrived()).await;
    refuse_losses(&events, sink.arrived());
    assert_eq!(sink.overtaken(), []);
    let repeats = sink.seen.lock().unwrap().repeats;
    eprintln!("{} events in order, {deaths} relays killed, {repeats} repeats", events.len());
    survived("crashes of the server while events were written and carried in order", crashes, COMMAND);
}

fn refuse_losses(events: &BTreeSet<i64>, carried: Vec<i64>) {
    let carried: BTreeSet<i64> = carried.into_iter().collect();
    let lost: Vec<_> = events.difference(&carried).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), events.len());
}

/// Lets relays to this sink, the server and those who write die, and carries the rest. Gives the events, and how many relays died.
async fn besiege<S: Sink + Clone>(
    crashes: u64,
    sink: &S,
    settings: &RelaySettings,
    arrived: impl Fn() -> Vec<i64>,
) -> (BTreeSet<i64>, u64) {
    let options = ["max_prepared_transactions", "max_connections"].map(|name| (name.to_owned(), "100".to_owned()));
    let mut server = server::start(Options { settings: options.to_vec(), ..installed() }).await;
    let database = pool(&server.url(), 8, Duration::from_secs(5));
    migrate(&database).await;
    let is_over = Arc::new(AtomicBool::new(false));
    // One relay carries at a time under order.
    let writers = if settings.ordered { 2 } else { 6 };
    let writers: Vec<_> = (0..writers).map(|n| tokio::spawn(writer(server.url(), n, is_over.clone()))).collect();
    let forgotten = tokio::spawn(end_what_is_forgotten(server.url(), settings.ordered, is_over.clone()));
    let deaths = Arc::new(AtomicU64::new(0));
    let short = RelaySettings { lease: Duration::from_secs(1), ..settings.clone() };
    let relay = |n| relays(server.url(), sink.clone(), short.clone(), n, deaths.clone(), is_over.clone());
    let relays: Vec<_> = (0..3).map(|n| tokio::spawn(relay(n))).collect();
    for crash in 1..=crashes {
        let before = arrived().len();
        wait_for(crate::support::LONG_PATIENCE, "many more events are carried", async || {
            arrived().len() > before + 1_000
        })
        .await;
        if crash % 2 == 0 {
            server.stop_immediately().await.unwrap()
        } else {
            server.kill_hard()
        }
        server.restart().await.unwrap();
    }
    is_over.store(true, Ordering::SeqCst);
    for task in writers.into_iter().chain(relays).chain([forgotten]) {
        task.await.unwrap();
    }
    let client = connect(&server.url()).await;
    // Half of what is forgotten is committed in the end.
    for (n, row) in client.query("SELECT gid FROM pg_prepared_xacts", &[]).await.unwrap().iter().enumerate() {
        let end = if n % 2 == 0 { "COMMIT" } else { "ROLLBACK" };
        client.batch_execute(&format!("{end} PREPARED '{}'", row.get::<_, &str>(0))).await.unwrap();
    }
    let rest = RelaySettings { until_empty: true, ..settings.clone() };
    start(&database, sink, rest, &Shutdown::default()).await.await.unwrap().unwrap();
    let events = client.query("SELECT position FROM turnstile.outbox", &[]).await.unwrap();
    let deaths = deaths.load(Ordering::SeqCst);
    assert!(deaths > 0);
    (events.iter().map(|row| row.get(0)).collect(), deaths)
}

/// A sink that is away now and then, and takes a part of a call.
fn unreliable(seed: u64) -> TestSink {
    let mut dice = StdRng::seed_from_u64(seed);
    TestSink::answering(move |events| match dice.random_range(0..20) {
        0 => Some(Err(SinkError::Away("busy".to_owned()))),
        1 => Some(Ok(events.iter().map(|_| if dice.random() { Carried::Taken } else { Carried::Again }).collect())),
        _ => None,
    })
}

/// A sink like that which besides refuses the events of some subjects, of others after a while.
fn refusing_for_a_while(seed: u64) -> Witness {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut refused: BTreeSet<String> = BTreeSet::new();
    Witness::answering(move |events| {
        if dice.random_ratio(1, 50) {
            refused = (0..3).map(|_| format!("u-{}", dice.random_range(0..SUBJECTS))).collect();
        }
        let mut answer = |event: &Envelope| match &event.subject {
            Some(subject) if refused.contains(subject) => Carried::Refused("Malformed".to_owned()),
            _ if dice.random_ratio(1, 40) => Carried::Again,
            _ => Carried::Taken,
        };
        let answers = events.iter().map(&mut answer).collect();
        Some(if dice.random_ratio(1, 40) { Err(SinkError::Away("busy".to_owned())) } else { Ok(answers) })
    })
}

/// Under order a forgotten transaction keeps everything waiting: here somebody ends it soon.
async fn end_what_is_forgotten(url: String, is_needed: bool, is_over: Arc<AtomicBool>) {
    while is_needed && !is_over.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let Ok((client, connection)) = tokio_postgres::connect(&url, NoTls).await else { continue };
        let connection = tokio::spawn(connection);
        let old = "SELECT gid FROM pg_prepared_xacts WHERE prepared < now() - interval '300 ms'";
        for row in client.query(old, &[]).await.unwrap_or_default() {
            let end = format!("COMMIT PREPARED '{}'", row.get::<_, &str>(0));
            // Its writer may have ended it meanwhile, or the server crashes.
            let _ended = client.batch_execute(&end).await;
        }
        drop(client);
        let _ended = connection.await.unwrap();
    }
}

/// Relays, one after the other: each is killed after a while.
async fn relays<S: Sink + Clone>(
    url: String,
    sink: S,
    settings: RelaySettings,
    seed: u64,
    deaths: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
) {
    let mut dice = StdRng::seed_from_u64(seed);
    while !is_over.load(Ordering::SeqCst) {
        let database = pool(&url, 8, Duration::from_secs(5));
        if begin(&database, &settings, "stdout:", false).await.is_err() {
            // The server is down.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        let relay = Relay { database, sink: sink.clone(), settings: settings.clone() };
        let running = tokio::spawn(relay.run(Shutdown::default()));
        let longest = if settings.ordered { 1_500 } else { 600 };
        tokio::time::sleep(Duration::from_millis(dice.random_range(20..longest))).await;
        running.abort();
        match running.await {
            Err(killed) => assert!(killed.is_cancelled(), "{killed}"),
            Ok(ended) => panic!("a relay ended by itself: {ended:?}"),
        }
        deaths.fetch_add(1, Ordering::SeqCst);
    }
}

/// Writes events until all is over, over one connection after the other.
async fn writer(url: String, seed: u64, is_over: Arc<AtomicBool>) {
    let mut dice = StdRng::seed_from_u64(1_000 + seed);
    while !is_over.load(Ordering::SeqCst) {
        let Ok((client, connection)) = tokio_postgres::connect(&url, NoTls).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let connection = tokio::spawn(connection);
        // A crash of the server ends it.
        let _crashed = write_until_it_fails(&client, &mut dice, seed, &is_over).await;
        drop(client);
        let _ended = connection.await.unwrap();
    }
}

async fn write_until_it_fails(
    client: &Client,
    dice: &mut StdRng,
    seed: u64,
    is_over: &AtomicBool,
) -> Result<(), tokio_postgres::Error> {
    let insert = "INSERT INTO turnstile.outbox (event_id, message_sent_at, user_id)
                  SELECT decode(md5(random()::text) || md5(random()::text), 'hex'), now(), 'u-' || floor(random() * $2::bigint)
                  FROM generate_series(1, $1::bigint)";
    let mut number = 0u64;
    while !is_over.load(Ordering::SeqCst) {
        client.batch_execute("BEGIN").await?;
        client.execute(insert, &[&dice.random_range(1..15i64), &SUBJECTS]).await?;
        let pause = if dice.random_ratio(3, 100) { dice.random_range(100..600) } else { dice.random_range(0..15) };
        tokio::time::sleep(Duration::from_millis(pause)).await;
        match dice.random_range(0..100) {
            0..10 => client.batch_execute("ROLLBACK").await?,
            10..14 => {
                number += 1;
                let name = format!("w{seed}-{number}-{}", dice.random::<u32>());
                client.batch_execute(&format!("PREPARE TRANSACTION '{name}'")).await?;
                match dice.random_range(0..4) {
                    0 => {} // Forgotten.
                    1 => client.batch_execute(&format!("ROLLBACK PREPARED '{name}'")).await?,
                    _ => {
                        tokio::time::sleep(Duration::from_millis(dice.random_range(0..200))).await;
                        client.batch_execute(&format!("COMMIT PREPARED '{name}'")).await?;
                    }
                }
            }
            _ => client.batch_execute("COMMIT").await?,
        }
    }
    Ok(())
}
