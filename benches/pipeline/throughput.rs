//! Messages a second, by lanes and processes.

use anyhow::Result;

use crate::bodies;
use crate::figures::{Figure, Figures, Goal, Unit};
use crate::world::Server;

const PART: &str = "throughput";
const RATE: Figure = Figure { part: PART, unit: Unit::Rate, goal: Goal::None };
const BEST: Figure = Figure { part: PART, unit: Unit::Rate, goal: Goal::AtLeast(10_400.0) };

const LANES: [&str; 4] = ["1", "2", "4", "8"];
const PROCESSES: [usize; 3] = [1, 2, 4];
const MESSAGES: u64 = 40_000;

pub(crate) async fn round(server: &mut Server, figures: &mut Figures) -> Result<()> {
    let messages = server.messages(MESSAGES);
    let mut best: f64 = 0.0;
    for processes in PROCESSES {
        for lanes in LANES {
            let mut world = server.world().await?;
            world.fill(bodies::logins(messages))?;
            let spent = world.drain(messages, processes, &["--lanes", lanes]).await?;
            let rate = messages as f64 / spent.seconds;
            best = best.max(rate);
            figures.note(RATE, format!("{processes} × {lanes} lanes"), rate);
            server.end(world).await?;
        }
    }
    figures.note(BEST, "the best of them", best);
    Ok(())
}
