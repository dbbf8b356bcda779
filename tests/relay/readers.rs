//! Four readers of one outbox, as a test of the tests: the two ways that are known to lose events lose some here, a third
//! stands still behind every writer in the same cluster, and the relay does neither.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::support::evidence::survived;

const COMMAND: &str = "cargo test --test main relay::readers";
const WRITERS: u64 = 8;
const TRANSACTIONS: u32 = 60;

/// Reads again and again, and remembers what it has seen and how far it has come.
#[derive(Clone, Default)]
struct Reader {
    seen: Arc<Mutex<BTreeSet<i64>>>,
    cursor: Arc<AtomicI64>,
    polls: Arc<AtomicU64>,
}

impl Reader {
    /// By a cursor on the position that follows this statement.
    async fn follow(self, client: Client, sql: &'static str) {
        loop {
            let rows = client.query(sql, &[&self.cursor.load(Ordering::SeqCst)]).await.unwrap();
            let positions = rows.iter().map(|row| row.get::<_, i64>(0));
            if let Some(last) = rows.last() {
                self.seen.lock().unwrap().extend(positions);
                self.cursor.store(last.get(0), Ordering::SeqCst);
            }
            self.polls.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// By a cursor on the id of the transaction, below the oldest that still runs.
    async fn follow_transactions(self, client: Client) {
        let sql = "SELECT position, xmin::text::bigint FROM turnstile.outbox
                   WHERE (xmin::text::bigint, position) > ($1, $2)
                     AND xmin::text::bigint < pg_snapshot_xmin(pg_current_snapshot())::text::bigint ORDER BY 2, 1";
        let (mut transaction, mut position) = (0i64, 0i64);
        loop {
            let rows = client.query(sql, &[&transaction, &position]).await.unwrap();
            self.seen.lock().unwrap().extend(rows.iter().map(|row| row.get::<_, i64>(0)));
            if let Some(last) = rows.last() {
                (position, transaction) = (last.get(0), last.get(1));
            }
            self.polls.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn missed(&self, events: &BTreeSet<i64>) -> usize {
        events.difference(&self.seen.lock().unwrap()).count()
    }

    fn is_past(&self, position: i64) -> bool {
        self.cursor.load(Ordering::SeqCst) >= position
    }

    /// Waits until it has looked some times more.
    async fn has_looked(&self) {
        let before = self.polls.load(Ordering::SeqCst);
        wait_until("the reader has looked", async || self.polls.load(Ordering::SeqCst) >= before + 5).await;
    }
}

const NAIVE: &str = "SELECT position FROM turnstile.outbox WHERE position > $1 ORDER BY position";
/// A margin that is longer than most transactions here, and shorter than some.
const MARGIN: &str = "SELECT position FROM turnstile.outbox
                      WHERE position > $1 AND created_at < clock_timestamp() - interval '50 ms' ORDER BY position";

/// One of the writers. A transaction that takes long does so until both cursors on the position are past its own.
async fn writer(url: String, seed: u64, cursors: [Reader; 2]) {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut client = connect(&url).await;
    for number in 0..TRANSACTIONS {
        client.batch_execute("BEGIN").await.unwrap();
        let last = *write(&client, dice.random_range(1..15)).await.last().unwrap();
        if dice.random_ratio(6, 100) {
            let are_past = || cursors.iter().all(|cursor| cursor.is_past(last));
            wait_until("others have committed and were read", async || are_past()).await;
        }
        match dice.random_range(0..100) {
            0..10 => client.batch_execute("ROLLBACK").await.unwrap(),
            10..15 => {
                let name = format!("w{seed}-{number}");
                client.batch_execute(&format!("PREPARE TRANSACTION '{name}'")).await.unwrap();
                wait_until("others were read", async || cursors.iter().all(|cursor| cursor.is_past(last))).await;
                client.batch_execute(&format!("COMMIT PREPARED '{name}'")).await.unwrap();
            }
            // Its connection goes, and the transaction with it.
            15..18 => client = connect(&url).await,
            _ => client.batch_execute("COMMIT").await.unwrap(),
        }
    }
}

/// Commits an event now and then, so that every cursor gets past what is open.
async fn go_on_committing(url: String, is_over: Arc<AtomicBool>) {
    let client = connect(&url).await;
    while !is_over.load(Ordering::SeqCst) {
        write(&client, 1).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn events(client: &Client) -> BTreeSet<i64> {
    let rows = client.query("SELECT position FROM turnstile.outbox", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursors_on_the_position_lose_events_one_on_transactions_stands_still_and_the_relay_does_neither() {
    let options = ["max_prepared_transactions", "max_connections"].map(|name| (name.to_owned(), "100".to_owned()));
    let server = server::start(Options { settings: options.to_vec(), ..installed() }).await;
    let url = server.url();
    migrate(&pool(&url, 1, Duration::from_secs(20))).await;
    let (naive, margin, xid8) = (Reader::default(), Reader::default(), Reader::default());
    let reading = [
        tokio::spawn(naive.clone().follow(connect(&url).await, NAIVE)),
        tokio::spawn(margin.clone().follow(connect(&url).await, MARGIN)),
        tokio::spawn(xid8.clone().follow_transactions(connect(&url).await)),
    ];
    let (ours, shutdown) = (TestSink::default(), Shutdown::default());
    let relay = start(&pool(&url, 8, Duration::from_secs(30)), &ours, settings(false), &shutdown).await;

    let is_over = Arc::new(AtomicBool::new(false));
    let ticking = tokio::spawn(go_on_committing(url.clone(), is_over.clone()));
    let cursors = [naive.clone(), margin.clone()];
    join_all((0..WRITERS).map(|seed| writer(url.clone(), seed, cursors.clone()))).await;
    is_over.store(true, Ordering::SeqCst);
    ticking.await.unwrap();
    let client = connect(&url).await;
    let all = events(&client).await;
    let has_all = |seen: &BTreeSet<i64>| all.is_subset(seen);
    wait_until("two of the readers have all", async || {
        has_all(&xid8.seen.lock().unwrap()) && has_all(&ours.positions().into_iter().collect())
    })
    .await;
    let last = *all.last().unwrap();
    wait_until("the others are through", async || naive.is_past(last) && margin.is_past(last)).await;
    let (by_naive, by_margin) = (naive.missed(&all), margin.missed(&all));
    assert!(by_naive > 0 && by_margin > 0, "nothing is lost here, so nothing is tried: {by_naive}, {by_margin}");
    eprintln!("of {} events a naive cursor lost {by_naive}, one behind a margin {by_margin}", all.len());
    survived("events that a naive cursor lost, and the relay did not", by_naive as u64, COMMAND);
    survived("events that a cursor behind a margin lost, and the relay did not", by_margin as u64, COMMAND);

    // Somebody writes in another database, and does nothing more.
    server.create_database("neighbour", None).await.unwrap();
    let neighbour = connect(&server.url_of("neighbour")).await;
    neighbour.batch_execute("BEGIN; CREATE TABLE idle (n int)").await.unwrap();
    let more: BTreeSet<i64> = write(&client, 10).await.into_iter().collect();
    wait_until("the relay has them", async || more.is_subset(&ours.positions().into_iter().collect())).await;
    xid8.has_looked().await;
    assert_eq!(xid8.missed(&more), 10, "it sees nothing behind a neighbour");
    neighbour.batch_execute("COMMIT").await.unwrap();
    wait_until("it sees them now", async || xid8.missed(&more) == 0).await;
    assert!(ours.came.lock().unwrap().values().all(|(times, _)| *times == 1), "nobody died: nothing comes twice");

    reading.iter().for_each(JoinHandle::abort);
    shutdown.stopping.cancel();
    relay.await.unwrap().unwrap();
}
