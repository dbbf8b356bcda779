//! Downstream: `turnstile relay`, of this very program, carries the events of the outbox into a file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use serde::Deserialize;

use super::DemoError;
use super::loaders::{last_lines, program};
use super::world::World;
use crate::audit::comparison::count_lines_holding;
use crate::database::{Database, DatabaseError};
use crate::table::outbox;

/// How many events are read from the outbox at once.
const EVENTS_AT_ONCE: i64 = 10_000;

/// What came of the events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// Events that arrived, each counted once.
    pub events: u64,
    /// How often one of them came again.
    pub repeats: u64,
    /// Events of the outbox that did not arrive, and arrivals that are none.
    pub wrong: u64,
    /// Lines that hold a clear address or device id.
    pub leaked: u64,
}

#[derive(Deserialize)]
struct Arrival {
    id: String,
}

/// Lets a relay carry every event into a file, and compares what arrived with the outbox.
pub(super) async fn announce(
    world: &World,
    environment: &[(String, String)],
    canaries: &[String],
) -> Result<Announced, DemoError> {
    let (file, log) = (world.folder().join("events.ndjson"), world.folder().join("relay.log"));
    let into = File::create(&file).map_err(DemoError::system("make the file of the events"))?;
    let arguments = ["relay", "--to", "stdout:", "--sink", "demo", "--until-empty"];
    let relay = program(&arguments, &log, environment)?.stdout(Stdio::from(into)).spawn();
    let mut relay = relay.map_err(DemoError::system("start `turnstile relay`"))?;
    world.watchdog.loaders(relay.id().into_iter());
    let status = relay.wait().await.map_err(DemoError::system("wait for the relay"))?;
    if !status.success() {
        return Err(DemoError::Relay { status, log: last_lines(&log) });
    }
    let mut arrived = arrivals(&file)?;
    let repeats: u64 = arrived.values().map(|times| times - 1).sum();
    let (events, missing) = tick_off(&world.database, &mut arrived).await?;
    let leaked = count_lines_holding(&file, canaries).map_err(DemoError::system("read the file of the events"))?;
    Ok(Announced { events, repeats, wrong: missing + arrived.len() as u64, leaked })
}

/// How often each event is in the file.
fn arrivals(file: &Path) -> Result<HashMap<String, u64>, DemoError> {
    let cannot = "read the file of the events";
    let mut arrived = HashMap::new();
    for line in BufReader::new(File::open(file).map_err(DemoError::system(cannot))?).lines() {
        let line = line.map_err(DemoError::system(cannot))?;
        let arrival: Arrival = serde_json::from_str(&line)
            .map_err(|error| DemoError::System { what: cannot, source: std::io::Error::other(error.to_string()) })?;
        *arrived.entry(arrival.id).or_default() += 1;
    }
    Ok(arrived)
}

/// Takes the events of the outbox out of those that arrived; gives how many were there, and how many were not.
async fn tick_off(database: &Database, arrived: &mut HashMap<String, u64>) -> Result<(u64, u64), DatabaseError> {
    let (mut found, mut missing, mut position) = (0, 0, 0);
    loop {
        let events = database.snapshot(async |seen| outbox::above(seen, position, EVENTS_AT_ONCE).await).await?;
        let Some(last) = events.last() else { return Ok((found, missing)) };
        position = last.position;
        for event in &events {
            match arrived.remove(&event.id.to_string()) {
                Some(_) => found += 1,
                None => missing += 1,
            }
        }
    }
}
