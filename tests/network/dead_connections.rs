//! Connections that died while nobody used them cost one deadline, not one each.

use std::time::Duration;

use futures_util::future::join_all;
use stand_ins::sqs::{Faults, LocalQueue, QueueOptions};
use turnstile::database::Database;
use turnstile::queue::sqs::{SqsQueue, SqsSettings};
use turnstile::queue::{Fault, Queue};

use super::{address_of, pool};
use crate::support::evidence::survived;
use crate::support::postgres::TestDatabase;
use crate::support::proxy::{Direction, NetworkProxy, Trouble, server_of, url_through};
use crate::support::scripted_http::aws_at;
use crate::support::site::QUEUE;
use crate::support::wait_until;

const CONNECTIONS: usize = 4;

#[tokio::test]
async fn the_first_missed_deadline_throws_away_every_idle_connection_to_postgresql() {
    let test = TestDatabase::empty().await;
    let proxy = NetworkProxy::before(server_of(test.url())).await;
    let database = pool(&url_through(test.url(), proxy.address()), CONNECTIONS);
    let transact = async |database: &Database| match database.begin().await {
        Ok(transaction) => transaction.rollback().await,
        Err(error) => Err(error),
    };
    // None ends before the last has begun, so that each needs a connection of its own.
    let mut begun = Vec::new();
    for _ in 0..CONNECTIONS {
        begun.push(database.begin().await.unwrap());
    }
    for transaction in begun {
        transaction.rollback().await.unwrap();
    }
    die_unnoticed(&proxy).await;

    transact(&database).await.expect_err("the connection is dead");
    transact(&database).await.unwrap();
    wait_until("the dead are closed", async || proxy.open_connections() == 1).await;
    let command = "cargo test --test main network::dead_connections";
    survived("idle connections to PostgreSQL died unnoticed", proxy.strikes(), command);
}

#[tokio::test]
async fn the_first_missed_deadline_throws_away_every_idle_connection_to_sqs() {
    let options = vec![QueueOptions::new(QUEUE)];
    let sqs = LocalQueue::start(([127, 0, 0, 1], 0).into(), options, Faults::default()).await.unwrap();
    let proxy = NetworkProxy::before(address_of(&sqs.endpoint())).await;
    let settings = SqsSettings { call_deadline: Duration::from_secs(2), ..SqsSettings::new(QUEUE.parse().unwrap()) };
    let queue = SqsQueue::connect_with(&settings, &aws_at(&format!("http://{}", proxy.address()))).await.unwrap();
    let receive = async |wait| queue.receive(1, wait, Duration::from_secs(30)).await;
    // Long enough that none of them can take over the connection of another.
    let received = join_all((0..CONNECTIONS).map(|_| receive(Duration::from_secs(1)))).await;
    received.into_iter().for_each(|messages| assert!(messages.unwrap().is_empty()));
    die_unnoticed(&proxy).await;

    assert_eq!(receive(Duration::ZERO).await.expect_err("the connection is dead").fault, Fault::Timeout);
    receive(Duration::ZERO).await.unwrap();
    let command = "cargo test --test main network::dead_connections";
    survived("idle connections to SQS died unnoticed", proxy.strikes(), command);
}

/// Every connection through the proxy ends without a word to this side.
async fn die_unnoticed(proxy: &NetworkProxy) {
    let open = proxy.open_connections();
    assert!(open >= CONNECTIONS, "{open} connections");
    proxy.trouble(Trouble::HalfOpen(Direction::ToServer));
    wait_until("all are dead", async || proxy.strikes() == open as u64).await;
    proxy.heal();
}
