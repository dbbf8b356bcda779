//! How soon a loader loads, and how large the program is.

use anyhow::Result;
use time::OffsetDateTime;

use crate::bodies;
use crate::figures::{Figure, Figures, Goal, Unit};
use crate::world::Server;

const PART: &str = "start";
const UNTIL: Figure = Figure { part: PART, unit: Unit::Millis, goal: Goal::None };
const SIZE: Figure = Figure { part: PART, unit: Unit::MiB, goal: Goal::None };

pub(crate) async fn round(server: &mut Server, figures: &mut Figures) -> Result<()> {
    let mut world = server.world().await?;
    world.fill(bodies::logins(10))?;
    let executed = OffsetDateTime::now_utc();
    let loader = world.start_loader(&[])?;
    world.wait_for_rows(10).await?;
    let sql = "SELECT min(pg_xact_commit_timestamp(xmin)) FROM processed_messages";
    let committed: OffsetDateTime = world.client.query_one(sql, &[]).await?.get(0);
    drop(loader);
    figures.note(UNTIL, "from exec to the first message loaded", (committed - executed).as_seconds_f64() * 1e3);
    let program = std::fs::metadata(env!("CARGO_BIN_EXE_turnstile"))?;
    figures.note(SIZE, "the program", program.len() as f64 / 1024.0 / 1024.0);
    server.end(world).await
}
