//! The same job by loaders of the usual kind: boto3 and psycopg, one thread.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::bodies;
use crate::figures::{Figure, Figures, Goal, Unit};
use crate::world::{Server, World};

const PART: &str = "peers";
const RATE: Figure = Figure { part: PART, unit: Unit::Rate, goal: Goal::None };
const COST: Figure = Figure { part: PART, unit: Unit::Micros, goal: Goal::None };
const RATIO: Figure = Figure { part: PART, unit: Unit::Times, goal: Goal::None };
const RATIO_TO_USUAL: Figure = Figure { part: PART, unit: Unit::Times, goal: Goal::AtLeast(20.0) };

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers");
const MESSAGES: u64 = 40_000;
const MESSAGES_OF_PEERS: u64 = 4_000;

/// What a script says at its end.
#[derive(Deserialize)]
pub(crate) struct Ended {
    pub(crate) messages: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
}

pub(crate) async fn round(server: &mut Server, figures: &mut Figures) -> Result<()> {
    let python = set_up()?;
    let (messages, messages_of_peers) = (server.messages(MESSAGES), server.messages(MESSAGES_OF_PEERS));
    let mut rates = Vec::new();
    for (script, name) in [("usual.py", "script of the usual kind"), ("batched.py", "script written well")] {
        let mut world = server.world().await?;
        world.fill(bodies::logins(messages_of_peers))?;
        let ended = run(&world, &python, script)?;
        ensure!(ended.messages == messages_of_peers, "{script} loaded {} messages", ended.messages);
        let rate = ended.messages as f64 / ended.seconds;
        figures.note(RATE, name, rate);
        figures.note(COST, format!("{name}: its CPU a message"), ended.cpu_seconds * 1e6 / ended.messages as f64);
        rates.push(rate);
        server.end(world).await?;
    }
    let mut world = server.world().await?;
    world.fill(bodies::logins(messages))?;
    let spent = world.drain(messages, 1, &[]).await?;
    let rate = messages as f64 / spent.seconds;
    figures.note(RATE, "turnstile, one process, defaults", rate);
    figures.note(RATIO_TO_USUAL, "turnstile / the usual script", rate / rates[0]);
    figures.note(RATIO, "turnstile / the script written well", rate / rates[1]);
    server.end(world).await
}

/// Makes the scripts' Python environment, once, and gives its interpreter.
pub(crate) fn set_up() -> Result<String> {
    let output = Command::new(format!("{FOLDER}/setup")).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "benches/peers/setup failed");
    let said = String::from_utf8(output.stdout)?;
    Ok(said.lines().last().context("benches/peers/setup names no interpreter")?.to_owned())
}

/// Runs a script to its end.
pub(crate) fn run(world: &World, python: &str, script: &str) -> Result<Ended> {
    let output = world.command(python).arg(format!("{FOLDER}/{script}")).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{script} failed");
    let said = String::from_utf8(output.stdout)?;
    Ok(serde_json::from_str(said.lines().last().with_context(|| format!("{script} says nothing"))?)?)
}
