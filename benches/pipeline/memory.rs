//! The loader's resident memory at full rate, with small bodies and with large ones.

use anyhow::Result;

use crate::bodies;
use crate::figures::{Figure, Figures, Goal, Unit};
use crate::world::Server;

const PART: &str = "memory";
const SMALL: Figure = Figure { part: PART, unit: Unit::MiB, goal: Goal::AtMost(64.0) };

const SMALL_BODIES: u64 = 50_000;
const LARGE_BODIES: u64 = 1_000;
const LARGE: usize = 256 * 1024;

/// `--lanes` and `--batch-bytes` as they are by default, in the formula of docs/OPERATIONS.md: MiB.
const FORMULA: f64 = 35.0 + 2.0 * 7.0 * (4.0 + 10.0);
const WITHIN_FORMULA: Figure = Figure { part: PART, unit: Unit::MiB, goal: Goal::AtMost(FORMULA) };

pub(crate) async fn round(server: &mut Server, figures: &mut Figures) -> Result<()> {
    let (small, large) = (server.messages(SMALL_BODIES), server.messages(LARGE_BODIES));
    let mut world = server.world().await?;
    world.fill(bodies::logins(small))?;
    let spent = world.drain(small, 1, &[]).await?;
    figures.note(SMALL, "peak with bodies of 200 bytes", spent.memory);
    server.end(world).await?;

    let mut world = server.world().await?;
    // In parts of a few calls: a call takes no more than a megabyte of bodies.
    bodies::large(large, LARGE).try_for_each(|body| world.queue.send(&[body]))?;
    let spent = world.drain(large, 1, &[]).await?;
    figures.note(WITHIN_FORMULA, "peak with bodies of 256 KiB", spent.memory);
    server.end(world).await
}
