//! A relay may die at any edge of any step: each is come to, and another relay carries everything.

use std::os::unix::process::ExitStatusExt as _;

use futures_util::StreamExt as _;
use futures_util::stream;
use turnstile::failpoint::{Edge, RelayStep, Step};

use super::stage::{Mood, Stage};
use super::*;
use crate::support::evidence::survived;

const COMMAND: &str = "cargo test --features failpoints --test main relay::edges";
/// How many relays are at work at once.
const AT_ONCE: usize = 6;

/// Whether a relay comes to it only when its end takes too long.
fn is_of_the_end(edge: &Edge) -> bool {
    edge.step == Step::Relay(RelayStep::Release)
}

/// An outbox with events, a gap that nobody fills any more, and an event that was refused before and is due again.
async fn stage() -> (Stage, Client) {
    let (stage, client) = Stage::new().await;
    client.batch_execute("BEGIN").await.unwrap();
    write(&client, 2).await;
    client.batch_execute("ROLLBACK").await.unwrap();
    let all = write(&client, 12).await;
    let due = "INSERT INTO turnstile.relay_failures (sink, position, event_id, next_at, code)
               SELECT 'default', position, event_id, now(), 'NotYet' FROM turnstile.outbox WHERE position = $1";
    client.execute(due, &[&all[0]]).await.unwrap();
    (stage, client)
}

fn mood_for(edge: Edge) -> Mood {
    match edge.step {
        Step::Relay(RelayStep::Refused) => Mood::Refuses,
        // Pauses that are longer than a part of the lease.
        Step::Relay(RelayStep::Renew | RelayStep::Release) => Mood::Away,
        _ => Mood::Takes,
    }
}

async fn die_at(edge: Edge) {
    let (stage, client) = stage().await;
    stage.set(mood_for(edge));
    let relay = stage.relay(None, &format!("{edge}:1"), &["--chunk", "5", "--lease", "1s"]);
    if is_of_the_end(&edge) {
        wait_until("it has something in hand", async || stage.sends() > 0).await;
        relay.terminate();
    }
    let status = relay.ended().await;
    assert_eq!(status.signal(), Some(6), "nobody died at {edge}: {status}");
    stage.set(Mood::Takes);
    stage.drain(None).await;
    assert_eq!(stage.lost(&client).await, 0, "after a death at {edge}");
    assert_eq!(count(&client, "relay_failures").await, 0, "after a death at {edge}");
}

async fn die_at_each(edges: impl Iterator<Item = Edge>) -> u64 {
    stream::iter(edges).map(die_at).buffer_unordered(AT_ONCE).count().await as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_a_death_at_any_edge_of_a_relay() {
    let died = die_at_each(Edge::of_relays().filter(|edge| !is_of_the_end(edge))).await;
    survived("a relay died at an edge of its steps", died, COMMAND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_a_death_while_chunks_are_given_back() {
    let died = die_at_each(Edge::of_relays().filter(is_of_the_end)).await;
    survived("a relay died while it gave its chunks back", died, COMMAND);
}
