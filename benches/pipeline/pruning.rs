//! How long a writer of events waits at most while partitions of the outbox are dropped and others are made.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::figures::{Figure, Figures, Goal, Unit};
use crate::relaying::{PART, relay, write_events};
use crate::world::{Server, World, connect};
use crate::writers::Writers;

const WAIT: Figure = Figure { part: PART, unit: Unit::Millis, goal: Goal::None };
const WAIT_BESIDE_PRUNE: Figure = Figure { part: PART, unit: Unit::Millis, goal: Goal::AtMost(100.0) };

const PARTITIONS: u64 = 4;
const EVENTS_OF_PARTITION: u64 = 2_000;
/// How many events a transaction of a writer writes.
const EVENTS_AT_ONCE: u64 = 20;
/// How long somebody else's transaction stays open meanwhile.
const OPEN: Duration = Duration::from_secs(2);

/// Whose transaction is open while the partitions go.
const READER: &str = "BEGIN; SELECT count(*) FROM outbox";
const WRITER: &str = "BEGIN; LOCK TABLE outbox IN ROW EXCLUSIVE MODE";

pub(crate) async fn round(server: &mut Server, figures: &mut Figures) -> Result<()> {
    let quiet = longest_wait(server, READER, false).await?;
    figures.note(WAIT, "a writer's longest wait, nothing goes", quiet);
    for (open, name) in [(READER, "reader"), (WRITER, "writer")] {
        let wait = longest_wait(server, open, true).await?;
        figures.note(WAIT_BESIDE_PRUNE, format!("the same, partitions go beside an open {name}"), wait);
    }
    Ok(())
}

/// In milliseconds.
async fn longest_wait(server: &mut Server, open: &str, prunes: bool) -> Result<f64> {
    let world = server.world().await?;
    fill(&world).await?;
    ensure!(relay(&world, &["--until-empty"]).stdout(Stdio::null()).status()?.success(), "the relay has failed");
    let others = connect(&world.url).await?;
    others.batch_execute(open).await?;
    let writers = Writers::start(&world, &write_events(EVENTS_AT_ONCE)).await?;
    let mut prune = world.command(env!("CARGO_BIN_EXE_turnstile"));
    prune.args(["outbox", "prune"]).stdout(Stdio::null());
    let prune = if prunes { Some(prune.spawn()?) } else { None };
    tokio::time::sleep(OPEN).await;
    others.batch_execute("ROLLBACK").await?;
    if let Some(mut prune) = prune {
        let ended = tokio::task::spawn_blocking(move || prune.wait()).await??;
        ensure!(ended.success(), "the partitions did not go");
        let left: i64 = world.client.query_one("SELECT count(*) FROM outbox_pruned", &[]).await?.get(0);
        ensure!(left.cast_unsigned() == PARTITIONS - 1, "{left} partitions have gone");
    }
    let longest = writers.longest_wait().await?;
    server.end(world).await?;
    Ok(longest)
}

/// Events in so many partitions.
async fn fill(world: &World) -> Result<()> {
    for number in 0..PARTITIONS {
        let turn_over = format!(
            "SELECT setval('outbox_position_seq', greatest({number} * 10000000, 1), false); SELECT extend_outbox()"
        );
        world.client.batch_execute(&turn_over).await?;
        world.client.batch_execute(&write_events(EVENTS_OF_PARTITION)).await?;
    }
    Ok(())
}
