//! A loader that is frozen in the middle of a COPY holds what it claimed until one that waits for it ends its backend.

use std::io;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use stand_ins::postgres::Options;
use tokio_postgres::Client;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use turnstile::database::rivals::FrozenRivals;
use turnstile::database::{Database, DatabaseError};
use turnstile::retry::Class;

use super::COMMAND;
use crate::support::evidence::survived;
use crate::support::postgres::{self, TestDatabase, connect};
use crate::support::server::{self, installed};
use crate::support::wait_until;

const NONE: FrozenRivals = FrozenRivals { ended: 0, not_permitted: 0 };

const TABLES: &str = "CREATE TABLE claims (n int PRIMARY KEY); CREATE TABLE rows (n int)";

/// The deadline of a client that freezes.
const SHORT: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_loader_has_claimed_that_is_frozen_in_a_copy_is_free_once_its_deadline_is_long_past() {
    let test = TestDatabase::empty().await;
    let client = test.client().await;
    client.batch_execute(TABLES).await.unwrap();
    let database = pool(test.url(), Duration::from_secs(20));
    let frozen = Frozen::in_copy(test.url(), SHORT);
    wait_until("the rival waits for rows", async || waiting(&client).await == 1).await;
    assert_eq!(database.end_frozen_rivals().await.unwrap(), NONE, "its deadline is not past");

    let mut ended = NONE;
    wait_until("its deadline is long past", async || {
        ended = database.end_frozen_rivals().await.unwrap();
        ended != NONE
    })
    .await;
    assert_eq!(ended, FrozenRivals { ended: 1, not_permitted: 0 });
    let transaction = database.begin().await.unwrap();
    transaction.execute("claim", "INSERT INTO public.claims VALUES (1)", &[]).await.unwrap();
    transaction.commit().await.unwrap();

    let error = frozen.thawed();
    assert_eq!(error.class(), Class::Contended, "{error}");
    let count: i64 = client.query_one("SELECT count(*) FROM rows", &[]).await.unwrap().get(0);
    assert_eq!(count, 0, "nothing holds of what the frozen one did");
    survived("loader frozen in COPY, its backend ended by a rival", ended.ended, COMMAND);
}

#[tokio::test]
async fn a_copy_of_somebody_else_is_left_alone_however_long_it_takes() {
    let test = TestDatabase::empty().await;
    let (client, other) = (test.client().await, test.client().await);
    client.batch_execute(TABLES).await.unwrap();
    let patient = ["COPY rows FROM STDIN", "COPY /* turnstile: deadline 999999999 ms */ rows FROM STDIN"];
    for (copier, copy) in [&client, &other].into_iter().zip(patient) {
        std::mem::forget(copier.copy_in::<_, bytes::Bytes>(copy).await.unwrap());
    }
    let observer = test.client().await;
    wait_until("both wait for rows", async || waiting(&observer).await == 2).await;
    wait_until("they have waited long", async || {
        let sql = "SELECT min(clock_timestamp() - query_start) > '3.1 s' FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event = 'ClientRead' AND query LIKE 'COPY%'";
        observer.query_one(sql, &[]).await.unwrap().get(0)
    })
    .await;
    assert_eq!(pool(test.url(), SHORT).end_frozen_rivals().await.unwrap(), NONE);
    assert_eq!(waiting(&observer).await, 2);
}

#[tokio::test]
async fn a_role_that_may_not_end_a_frozen_rival_says_once_which_grant_it_lacks() {
    let server = server::start(Options { fast: true, ..installed() }).await;
    let client = connect(&server.url()).await;
    let roles = "CREATE ROLE loader_1 LOGIN PASSWORD 'x'; CREATE ROLE loader_2 LOGIN PASSWORD 'x';
                 GRANT ALL ON ALL TABLES IN SCHEMA public TO loader_1, loader_2";
    client.batch_execute(TABLES).await.unwrap();
    client.batch_execute(roles).await.unwrap();
    let url = server.url();
    let (_, place) = url.split_once('@').unwrap();
    let [first, second] = ["loader_1", "loader_2"].map(|role| format!("postgres://{role}:x@{place}"));
    let frozen = Frozen::in_copy(&first, SHORT);
    wait_until("its deadline is long past", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'loader_1' AND wait_event = 'ClientRead'
                       AND clock_timestamp() - query_start > '3.1 s'";
        client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await;

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _listening = tracing::subscriber::set_default(subscriber);
    let database = pool(&second, Duration::from_secs(20));
    let not_permitted = FrozenRivals { ended: 0, not_permitted: 1 };
    assert_eq!(database.end_frozen_rivals().await.unwrap(), not_permitted, "it cannot even be seen");
    client.batch_execute("GRANT pg_read_all_stats TO loader_2").await.unwrap();
    assert_eq!(database.end_frozen_rivals().await.unwrap(), not_permitted);
    let said = log.text();
    assert_eq!(said.matches("grant pg_read_all_stats and pg_signal_backend").count(), 1, "{said}");

    client.batch_execute("GRANT pg_signal_backend TO loader_2").await.unwrap();
    assert_eq!(database.end_frozen_rivals().await.unwrap(), FrozenRivals { ended: 1, not_permitted: 0 });
    frozen.thawed();
}

/// How many backends of this database wait for the rows of a COPY.
async fn waiting(client: &Client) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'
                   AND wait_event = 'ClientRead' AND query LIKE 'COPY%'";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

fn pool(url: &str, call_timeout: Duration) -> Database {
    postgres::pool(url, 1, call_timeout)
}

/// A loader, as far as the server sees one, that has claimed and stands still between the server's word that it may
/// send its rows and the first of them.
struct Frozen {
    thaw: mpsc::Sender<()>,
    thread: JoinHandle<DatabaseError>,
}

impl Frozen {
    fn in_copy(url: &str, call_timeout: Duration) -> Self {
        let database = pool(url, call_timeout);
        let (thaw, thawed) = mpsc::channel();
        // All of its runtime stands still with it.
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(claim_and_copy(&database, &FrozenValue(Mutex::new(thawed)))).unwrap_err()
        });
        Self { thaw, thread }
    }

    /// What it makes of it when it can go on.
    fn thawed(self) -> DatabaseError {
        self.thaw.send(()).unwrap();
        self.thread.join().unwrap()
    }
}

async fn claim_and_copy(database: &Database, value: &FrozenValue) -> Result<(), DatabaseError> {
    let transaction = database.begin().await?;
    transaction.execute("claim", "INSERT INTO public.claims VALUES (1)", &[]).await?;
    transaction.copy("copy", "COPY public.rows (n) FROM STDIN BINARY", &[Type::INT4], &[value]).await?;
    transaction.commit().await
}

/// A value that is asked for when the server has said that the rows may come, and that does not answer until then.
#[derive(Debug)]
struct FrozenValue(Mutex<mpsc::Receiver<()>>);

impl ToSql for FrozenValue {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.0.lock().unwrap().recv()?;
        1_i32.to_sql(&Type::INT4, out)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// What was logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
