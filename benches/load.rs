//! Rows a second through the one transaction, by batch size, on a PostgreSQL with its own durability: the
//! transaction of `load`, COPY into a temporary table and INSERT … SELECT, and the floor, plain COPY into the
//! two large tables. All in one run, the methods in turn, so that the ratios mean something on a busy machine.
//!
//! `cargo bench --bench load`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs)]

#[allow(dead_code)]
#[path = "../tests/support/verdicts.rs"]
mod verdicts;

use std::pin::pin;
use std::time::{Duration, Instant};

use time::{Date, OffsetDateTime};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls};
use tokio_util::sync::CancellationToken;
use turnstile::batch::Batch;
use turnstile::database::address::DatabaseAddress;
use turnstile::database::on_loan::{OnLoan, Options};
use turnstile::database::{Database, DatabaseSettings};
use turnstile::load::load;
use turnstile::verdict::Judge;

const BATCH_SIZES: [u32; 4] = [100, 500, 1000, 5000];
const ROUNDS: usize = 5;
const ROWS_A_ROUND: u32 = 10_000;

#[derive(Clone, Copy)]
enum Method {
    Load,
    CopyAndSelect,
    Floor,
}

#[tokio::main]
async fn main() {
    let server = OnLoan::start(Options::default()).await.unwrap();
    let bench = Bench::new(&server).await;
    println!("batch      load rows/s    copy+select rows/s    floor rows/s      load/floor      load/copy+select");
    for size in BATCH_SIZES {
        let mut rates = [Vec::new(), Vec::new(), Vec::new()];
        for round in 0..=ROUNDS {
            for (index, method) in [Method::Load, Method::CopyAndSelect, Method::Floor].into_iter().enumerate() {
                let rate = bench.rate(method, size).await;
                if round > 0 {
                    rates[index].push(rate); // The first round warms up.
                }
            }
        }
        let [loaded, copy, floor] = rates.map(median);
        println!(
            "{size:>5}    {loaded:>13.0}    {copy:>18.0}    {floor:>12.0}    {:>12.2}    {:>18.2}",
            loaded / floor,
            loaded / copy
        );
    }
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

struct Bench {
    database: Database,
    client: Client,
    judge: Judge,
}

impl Bench {
    async fn new(server: &OnLoan) -> Self {
        let address = DatabaseAddress::parse(&server.url()).unwrap();
        let call_timeout = Duration::from_secs(60);
        let database = Database::new(&DatabaseSettings { address, connections: 1, call_timeout }).unwrap();
        database.migrate().await.unwrap();
        let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(ARRIVING).await.unwrap();
        Self { database, client, judge: verdicts::judge() }
    }

    /// Rows a second over a round; the tables start empty, and making the batches does not count.
    async fn rate(&self, method: Method, size: u32) -> f64 {
        self.client.batch_execute("TRUNCATE processed_messages, user_logins, outbox; CHECKPOINT").await.unwrap();
        let batches: Vec<Batch> =
            (0..ROWS_A_ROUND / size).map(|n| verdicts::logins(&self.judge, n * size..(n + 1) * size)).collect();
        let since = Instant::now();
        for batch in batches {
            match method {
                Method::Load => drop(
                    load(&self.database, batch, 3, &CancellationToken::new())
                        .await
                        .unwrap_or_else(|e| unreachable!("{e}")),
                ),
                Method::CopyAndSelect => self.copy_and_select(&batch).await,
                Method::Floor => self.floor(&batch).await,
            }
        }
        f64::from(ROWS_A_ROUND) / since.elapsed().as_secs_f64()
    }

    async fn copy_and_select(&self, batch: &Batch) {
        self.client.batch_execute("BEGIN").await.unwrap();
        copy(&self.client, "arriving (message_hash, outcome, first_message_id, body_hash, sent_at, received_at, user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date)",
            &[CLAIM_TYPES, &LOGIN_TYPES[..7]].concat(), batch, |row| [&row.claim()[..], &row.login()[..7]].concat()).await;
        self.client.batch_execute(CLAIM_AND_INSERT).await.unwrap();
        self.commit().await;
    }

    async fn floor(&self, batch: &Batch) {
        self.client.batch_execute("BEGIN").await.unwrap();
        copy(
            &self.client,
            "processed_messages (message_hash, outcome, first_message_id, body_hash, sent_at, received_at)",
            CLAIM_TYPES,
            batch,
            |row| row.claim().to_vec(),
        )
        .await;
        copy(&self.client, "user_logins", LOGIN_TYPES, batch, |row| row.login().to_vec()).await;
        self.commit().await;
    }

    async fn commit(&self) {
        let xid: String = self.client.query_one("SELECT pg_current_xact_id()::text", &[]).await.unwrap().get(0);
        self.client.simple_query(&format!("COMMIT; SELECT pg_xact_status('{xid}'::xid8)")).await.unwrap();
    }
}

const ARRIVING: &str = "CREATE TEMPORARY TABLE arriving (
    message_hash bytea, outcome text, first_message_id text, body_hash bytea, sent_at timestamptz, received_at timestamptz,
    user_id text, device_type text, masked_ip text, masked_device_id text, locale text, app_version integer,
    create_date date) ON COMMIT DELETE ROWS";

const CLAIM_AND_INSERT: &str = "WITH claimed AS (
    INSERT INTO processed_messages (message_hash, outcome, first_message_id, body_hash, sent_at, received_at)
    SELECT message_hash, outcome, first_message_id, body_hash, sent_at, received_at FROM arriving
    ON CONFLICT DO NOTHING RETURNING message_hash
), logins AS (
    INSERT INTO user_logins SELECT user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, message_hash, sent_at
    FROM arriving JOIN claimed USING (message_hash)
)
INSERT INTO outbox (event_id, user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date)
SELECT message_hash, user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date
FROM arriving JOIN claimed USING (message_hash)";

const CLAIM_TYPES: &[Type] = &[Type::BYTEA, Type::TEXT, Type::TEXT, Type::BYTEA, Type::TIMESTAMPTZ, Type::TIMESTAMPTZ];
const LOGIN_TYPES: &[Type] = &[
    Type::VARCHAR,
    Type::VARCHAR,
    Type::VARCHAR,
    Type::VARCHAR,
    Type::VARCHAR,
    Type::INT4,
    Type::DATE,
    Type::BYTEA,
    Type::TIMESTAMPTZ,
];

struct Values {
    hash: Vec<u8>,
    body_hash: Vec<u8>,
    message_id: String,
    sent_at: OffsetDateTime,
    received_at: OffsetDateTime,
    texts: [String; 4],
    locale: Option<String>,
    version: i32,
    create_date: Date,
}

impl Values {
    fn claim(&self) -> [&(dyn ToSql + Sync); 6] {
        [&self.hash, &"loaded", &self.message_id, &self.body_hash, &self.sent_at, &self.received_at]
    }

    fn login(&self) -> [&(dyn ToSql + Sync); 9] {
        let [user, device_type, ip, device_id] = &self.texts;
        [user, device_type, ip, device_id, &self.locale, &self.version, &self.create_date, &self.hash, &self.sent_at]
    }
}

async fn copy(
    client: &Client,
    target: &str,
    types: &[Type],
    batch: &Batch,
    columns: impl for<'v> Fn(&'v Values) -> Vec<&'v (dyn ToSql + Sync)>,
) {
    let sink = client.copy_in(&format!("COPY {target} FROM STDIN BINARY")).await.unwrap();
    let mut writer = pin!(BinaryCopyInWriter::new(sink, types));
    for entry in batch.entries() {
        let row = entry.login_row().unwrap();
        let login = row.login;
        let values = Values {
            hash: entry.hash.as_bytes().to_vec(),
            body_hash: entry.body_hash.as_bytes().to_vec(),
            message_id: entry.delivery.message_id.as_str().to_owned(),
            sent_at: entry.delivery.sent_at.time(),
            received_at: entry.delivery.received_at,
            texts: [&login.user_id, &login.device_type, &login.masked_ip, &login.masked_device_id].map(Clone::clone),
            locale: login.locale.clone(),
            version: login.app_version.as_i32(),
            create_date: row.create_date(),
        };
        writer.as_mut().write(&columns(&values)).await.unwrap();
    }
    writer.finish().await.unwrap();
}
