//! A bad network between the loader and its database, and between the loader and its queue.

#[cfg(target_os = "linux")]
mod cut_in_copy;
mod dead_connections;
#[cfg(target_os = "linux")]
mod left_behind;

use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use turnstile::database::Database;
use turnstile::lane::LaneSettings;
use turnstile::receive::ReceiveLimits;

use crate::support::evidence::survived;
use crate::support::pipeline::{Pipeline, Running, quick};
use crate::support::postgres;
use crate::support::proxy::{Direction, NetworkProxy, Trouble, server_of, url_through};
use crate::support::scripted_http::aws_at;
use crate::support::wait_until;

/// Within this time after the network has healed, the loader loads again.
const RECOVERY: Duration = Duration::from_secs(30);

/// For how long there is trouble: longer than the deadline of a call to the database.
const OUTAGE: Duration = Duration::from_secs(5);

/// Not shorter, because connecting alone costs a loaded machine a while.
const CALL_TIMEOUT: Duration = Duration::from_secs(4);

const LANES: usize = 2;

const TROUBLES: [(&str, Trouble); 7] = [
    ("latency and jitter", Trouble::Latency { delay: Duration::from_millis(20), jitter: Duration::from_millis(40) }),
    ("writes in slices", Trouble::Slices { most: 7 }),
    ("reset connections", Trouble::Reset),
    ("half-open connections, loader not heard", Trouble::HalfOpen(Direction::ToServer)),
    ("half-open connections, server not heard", Trouble::HalfOpen(Direction::ToClient)),
    ("a black hole", Trouble::BlackHole),
    ("a slow close", Trouble::SlowClose(Duration::from_secs(2))),
];

#[test]
fn the_promise_survives_every_trouble_between_loader_and_postgresql() {
    each_at_once("PostgreSQL", |proxied| &proxied.database_proxy);
}

#[test]
fn the_promise_survives_every_trouble_between_loader_and_sqs() {
    each_at_once("SQS", |proxied| &proxied.queue_proxy);
}

/// Each trouble in a runtime of its own, whose tasks can be counted.
fn each_at_once(place: &str, proxy: fn(&Proxied) -> &NetworkProxy) {
    thread::scope(|scope| {
        for (name, trouble) in TROUBLES {
            scope.spawn(move || {
                let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
                let strikes = runtime.block_on(survive(&format!("{name}, {place}"), trouble, proxy));
                let fault = format!("{name} between loader and {place}");
                survived(&fault, strikes, "cargo test --test main network::the_promise");
            });
        }
    });
}

/// Loads before, during and after the trouble; gives how often it struck.
async fn survive(name: &str, trouble: Trouble, proxy: fn(&Proxied) -> &NetworkProxy) -> u64 {
    let mut proxied = Proxied::new().await;
    let tasks = Handle::current().metrics().num_alive_tasks();
    let loader = proxied.start().await;
    proxied.send().await;
    proxied.all_is_recorded().await;

    proxy(&proxied).trouble(trouble);
    proxied.send().await;
    tokio::time::sleep(OUTAGE).await;
    let recorded = proxied.recorded().await;
    let strikes = proxy(&proxied).strikes();
    proxy(&proxied).heal();
    let healed = Instant::now();
    proxied.send().await;
    wait_until("the loader loads again", async || proxied.recorded().await > recorded).await;
    let recovery = healed.elapsed();
    eprintln!("{name}: loading again after {} ms", recovery.as_millis());
    assert!(recovery < RECOVERY, "{name}: {recovery:?}");

    proxied.all_is_recorded().await;
    proxied.pipeline.is_drained().await;
    wait_until("no connection too many is left", async || {
        proxied.database_proxy.open_connections() <= LANES && proxied.backends().await <= LANES
    })
    .await;
    loader.stop().await;

    // Its pool with its connections goes.
    proxied.pipeline.database = proxied.pipeline.database();
    wait_until("no connection is left", async || {
        let open = proxied.database_proxy.open_connections() + proxied.queue_proxy.open_connections();
        open + proxied.backends().await == 0
    })
    .await;
    let left = || Handle::current().metrics().num_alive_tasks();
    wait_until("no task is left", async || left() <= tasks).await;
    proxied.pipeline.assert_promise().await;
    strikes
}

/// A pipeline with a proxy before the queue and one before the database.
struct Proxied {
    pipeline: Pipeline,
    database_proxy: NetworkProxy,
    queue_proxy: NetworkProxy,
    sent: i64,
}

impl Proxied {
    async fn new() -> Self {
        let mut pipeline = Pipeline::new().await;
        let url = pipeline.test.url();
        let database_proxy = NetworkProxy::before(server_of(url)).await;
        let through = url_through(url, database_proxy.address()) + " application_name='by way of the proxy'";
        pipeline.database = pool(&through, LANES);
        let queue_proxy = NetworkProxy::before(address_of(&pipeline.sqs.endpoint())).await;
        Self { pipeline, database_proxy, queue_proxy, sent: 0 }
    }

    async fn start(&self) -> Running {
        let endpoint = format!("http://{}", self.queue_proxy.address());
        self.pipeline.start_as(&aws_at(&endpoint), LANES, lane()).await
    }

    async fn send(&mut self) {
        self.pipeline.send_mixed(40, 2).await;
        self.sent += 42;
    }

    async fn recorded(&self) -> i64 {
        self.pipeline.counts().await[0]
    }

    async fn all_is_recorded(&self) {
        wait_until("everything is recorded", async || self.recorded().await == self.sent).await;
    }

    /// How many connections of the loader the server has.
    async fn backends(&self) -> usize {
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'by way of the proxy'";
        let count: i64 = self.pipeline.client.query_one(sql, &[]).await.unwrap().get(0);
        usize::try_from(count).unwrap()
    }
}

fn lane() -> LaneSettings {
    let quick = quick();
    let limits = ReceiveLimits { batch_size: 50, visibility_timeout: Duration::from_secs(6), ..quick.limits };
    LaneSettings { limits, until_empty: false, ..quick }
}

fn pool(url: &str, connections: usize) -> Database {
    postgres::pool(url, connections, CALL_TIMEOUT)
}

/// Host and port of an endpoint.
fn address_of(endpoint: &str) -> (String, u16) {
    let (host, port) = endpoint.trim_start_matches("http://").rsplit_once(':').unwrap();
    (host.to_owned(), port.parse().unwrap())
}
