//! Writers that end out of order, roll back, prepare and die, relays that are killed, and a server that crashes: nothing is lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio_postgres::NoTls;

use super::*;
use crate::postgresql::times;
use crate::support::evidence::survived;
use crate::support::wait_for;

const COMMAND: &str = "TURNSTILE_TEST_RELAY_CRASHES=20 cargo test --test main relay::siege";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_whoever_dies() {
    let crashes = times("TURNSTILE_TEST_RELAY_CRASHES", 2);
    let options = ["max_prepared_transactions", "max_connections"].map(|name| (name.to_owned(), "100".to_owned()));
    let mut server = server::start(Options { settings: options.to_vec(), ..installed() }).await;
    let database = pool(&server.url(), 8, Duration::from_secs(5));
    migrate(&database).await;
    let sink = unreliable(11);
    let is_over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..6).map(|n| tokio::spawn(writer(server.url(), n, is_over.clone()))).collect();
    let deaths = Arc::new(AtomicU64::new(0));
    let relays: Vec<_> =
        (0..3).map(|n| tokio::spawn(relays(server.url(), sink.clone(), n, deaths.clone(), is_over.clone()))).collect();
    for crash in 1..=crashes {
        let before = sink.positions().len();
        wait_for(crate::support::LONG_PATIENCE, "many more events are carried", async || {
            sink.positions().len() > before + 1_000
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
    for task in writers.into_iter().chain(relays) {
        task.await.unwrap();
    }
    let client = connect(&server.url()).await;
    // Half of what is forgotten is committed in the end.
    for (n, row) in client.query("SELECT gid FROM pg_prepared_xacts", &[]).await.unwrap().iter().enumerate() {
        let end = if n % 2 == 0 { "COMMIT" } else { "ROLLBACK" };
        client.batch_execute(&format!("{end} PREPARED '{}'", row.get::<_, &str>(0))).await.unwrap();
    }
    drain(&database, &sink).await;
    let events = client.query("SELECT position FROM turnstile.outbox", &[]).await.unwrap();
    let events: BTreeSet<i64> = events.iter().map(|row| row.get(0)).collect();
    let carried: BTreeSet<i64> = sink.positions().into_iter().collect();
    let lost: Vec<_> = events.difference(&carried).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), events.len());
    let repeats: usize = sink.came.lock().unwrap().values().map(|(times, _)| times - 1).sum();
    assert!(deaths.load(Ordering::SeqCst) > 0);
    eprintln!("{} events, {} relays killed, {repeats} repeats", events.len(), deaths.load(Ordering::SeqCst));
    survived("crashes of the server while events were written and carried", crashes, COMMAND);
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

/// Relays, one after the other: each is killed after a while.
async fn relays(url: String, sink: TestSink, seed: u64, deaths: Arc<AtomicU64>, is_over: Arc<AtomicBool>) {
    let mut dice = StdRng::seed_from_u64(seed);
    while !is_over.load(Ordering::SeqCst) {
        let settings = RelaySettings { lease: Duration::from_secs(1), ..settings(false) };
        let database = pool(&url, 8, Duration::from_secs(5));
        if begin(&database, &settings, "stdout:", false).await.is_err() {
            // The server is down.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        let relay = Relay { database, sink: sink.clone(), settings };
        let running = tokio::spawn(relay.run(Shutdown::default()));
        tokio::time::sleep(Duration::from_millis(dice.random_range(20..600))).await;
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
                  SELECT decode(md5(random()::text) || md5(random()::text), 'hex'), now(), 'u'
                  FROM generate_series(1, $1::bigint)";
    let mut number = 0u64;
    while !is_over.load(Ordering::SeqCst) {
        client.batch_execute("BEGIN").await?;
        client.execute(insert, &[&dice.random_range(1..15i64)]).await?;
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
