//! How long it takes from the send of a message to its committed row, at a part of the rate that is wanted.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::bodies;
use crate::figures::{Figure, Figures, Goal, Unit};
use crate::raw_queue::Connection;
use crate::world::{Server, World};

const PART: &str = "latency";
const LATENCY: Figure = Figure { part: PART, unit: Unit::Millis, goal: Goal::None };
const AT_HALF: Figure = Figure { part: PART, unit: Unit::Millis, goal: Goal::AtMost(50.0) };
const RATE: Figure = Figure { part: PART, unit: Unit::Rate, goal: Goal::None };

/// Messages a second that the loader should be able to load.
const WANTED: f64 = 10_400.0;
const LOADS: [u32; 3] = [10, 50, 90];

/// How long each load lasts; its first second is not counted, because it holds the loader's start.
const LASTS: Duration = Duration::from_secs(8);

pub(crate) async fn round(server: &mut Server, figures: &mut Figures) -> Result<()> {
    let lasts = server.duration(LASTS);
    for percent in LOADS {
        let mut world = server.world().await?;
        let loader = world.start_loader(&[])?;
        let mut connection = world.queue.another_connection()?;
        let rate = WANTED * f64::from(percent) / 100.0;
        let (sent, took) = tokio::task::spawn_blocking(move || send(&mut connection, rate, lasts)).await??;
        let [p50, p99] = latencies(&mut world, sent).await?;
        drop(loader);
        let at = format!("at {percent} % of {WANTED}/s");
        let figure = if percent == 50 { AT_HALF } else { LATENCY };
        // Behind a sender that cannot keep up the latency says nothing.
        let kept_up = Figure { goal: Goal::AtLeast(0.98 * rate), ..RATE };
        figures.note(kept_up, format!("{at}: sent"), sent as f64 / took.as_secs_f64());
        figures.note(LATENCY, format!("{at}: p50"), p50);
        figures.note(figure, format!("{at}: p99"), p99);
        server.end(world).await?;
    }
    Ok(())
}

/// Sends ten at a time, each ten when its time has come, and says how many in all and how long it took.
fn send(connection: &mut Connection, rate: f64, lasts: Duration) -> Result<(u64, Duration)> {
    let calls = (lasts.as_secs_f64() * rate / 10.0) as u64;
    let bodies: Vec<String> = bodies::logins(calls * 10).collect();
    let begun = Instant::now();
    for (call, ten) in bodies.chunks(10).enumerate() {
        let due = begun + Duration::from_secs_f64(call as f64 * 10.0 / rate);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        connection.send(ten)?;
    }
    Ok((calls * 10, begun.elapsed()))
}

/// Median and 99th percentile, in milliseconds, once all messages are loaded.
async fn latencies(world: &mut World, sent: u64) -> Result<[f64; 2]> {
    world.wait_for_rows(sent).await?;
    let sql =
        "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY took), percentile_disc(0.99) WITHIN GROUP (ORDER BY took)
               FROM (SELECT sent_at, min(sent_at) OVER () AS first,
                            1000 * extract(epoch FROM pg_xact_commit_timestamp(xmin) - sent_at)::float8 AS took
                     FROM processed_messages) AS loaded
               WHERE sent_at > first + interval '1 s'";
    let row = world.client.query_one(sql, &[]).await?;
    Ok([row.get(0), row.get(1)])
}
