//! The loaders, and the pauses that are in force.

use serde_json::{Value, json};

use super::{is_of, open, target_words, who};
use crate::cli::terminal::{aligned, exact, fitted, note, printable, say, seconds, width};
use crate::cli::{Failure, Outcome, records};
use crate::config::Given;
use crate::config::rows::{self, ListFormat};
use crate::database::Transaction;
use crate::table::loader_pauses::{self, InForce};
use crate::table::loaders::{self, Seen, State};

/// How often a loader writes its row that lives: one that was silent for three times as long is gone.
const SILENT_AFTER_SECONDS: f64 = 100.0;

pub(super) async fn run(given: &Given) -> Result<Outcome, Failure> {
    let mut mistakes = given.mistakes();
    let database = given.database(1, &mut mistakes);
    let format = given.read(&rows::LIST_FORMAT, &mut mistakes);
    let (database, format) = mistakes.or(database.zip(format))?;
    let database = open(&database).await?;
    let look = async |seen: &Transaction| Ok((loaders::read(seen).await?, loader_pauses::read(seen).await?));
    let (loaders, pauses) = database.snapshot(look).await?;
    let records = loaders.iter().map(|loader| record(loader, &pauses));
    let told: Vec<String> = pauses.iter().map(pause_words).collect();
    match format {
        ListFormat::Text => {
            match loaders.is_empty() {
                true => say("no loader has been seen for a day")?,
                false => for_people(&loaders)?,
            }
            told.iter().try_for_each(|line| say(&fitted(line, width())))?;
            return Ok(Outcome::Done);
        }
        ListFormat::Json => records::json(records)?,
        ListFormat::Csv => records::csv(&NAMES, records)?,
    }
    // A pause may be of no loader that is listed.
    told.iter().for_each(|line| note(line));
    Ok(Outcome::Done)
}

/// How a loader is, for people and scripts.
fn state(loader: &Seen) -> &'static str {
    match loader.beat.state {
        State::Stopped => "stopped",
        _ if loader.silent_for > SILENT_AFTER_SECONDS => "gone",
        State::Running if loader.paused_since.is_some() => "pausing",
        state => state.as_str(),
    }
}

fn pause_words(pause: &InForce) -> String {
    let (target, who) = (target_words(&pause.target), who(pause));
    let line = format!("paused since {}: {target}, by {who}: {}", seconds(pause.since), pause.reason);
    printable(line.as_bytes())
}

fn for_people(loaders: &[Seen]) -> Result<(), Failure> {
    let row = |loader: &Seen| {
        let beat = &loader.beat;
        let is_over = matches!(state(loader), "stopped" | "gone");
        let now = |text: String| if is_over { "-".to_owned() } else { text };
        let queue = beat.queue.rsplit(':').next().unwrap_or_default();
        vec![
            beat.id.to_string(),
            printable(queue.as_bytes()),
            state(loader).to_owned(),
            format!("{} ago", length(loader.silent_for)),
            now(format!("{:.1}", beat.loaded_per_second)),
            now(beat.lag_p99.map_or_else(|| "-".to_owned(), |p99| format!("{p99:.1} s"))),
            beat.ended.loaded.to_string(),
            (beat.ended.dead_lettered + beat.ended.contradicting).to_string(),
            now(beat.in_hand.to_string()),
            printable(format!("{}/{}", beat.host, beat.pid).as_bytes()),
            beat.version.clone(),
        ]
    };
    let head =
        ["loader", "queue", "state", "seen", "a second", "p99", "loaded", "dead", "in hand", "host/process", "version"];
    let rows: Vec<Vec<String>> =
        std::iter::once(head.map(str::to_owned).to_vec()).chain(loaders.iter().map(row)).collect();
    let width = width();
    aligned(&rows).iter().try_for_each(|line| say(&fitted(line, width)))
}

/// A length of time in its largest unit.
fn length(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

const NAMES: [&str; 28] = [
    "id",
    "host",
    "pid",
    "version",
    "queue",
    "state",
    "started_at",
    "seen_at",
    "silent_for_seconds",
    "paused_since",
    "pauses",
    "lanes",
    "received",
    "loaded",
    "dead_lettered",
    "absorbed",
    "contradicting",
    "returned",
    "released",
    "damaged",
    "in_hand",
    "received_per_second",
    "loaded_per_second",
    "lag_p50_seconds",
    "lag_p99_seconds",
    "sqs_calls",
    "sqs_billed",
    "sqs_empty_receives",
];

fn record(loader: &Seen, pauses: &[InForce]) -> Value {
    let beat = &loader.beat;
    let of_it = pauses.iter().filter(|pause| is_of(pause, &beat.queue, beat.id.as_str()));
    let pauses: Vec<Value> = of_it
        .map(|pause| {
            json!({
                "since": exact(pause.since),
                "of": target_words(&pause.target),
                "by": who(pause),
                "reason": pause.reason,
            })
        })
        .collect();
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    json!({
        "id": beat.id.as_str(),
        "host": beat.host,
        "pid": beat.pid,
        "version": beat.version,
        "queue": beat.queue,
        "state": state(loader),
        "started_at": exact(loader.started_at),
        "seen_at": exact(loader.seen_at),
        "silent_for_seconds": loader.silent_for,
        "paused_since": loader.paused_since.map(exact),
        "pauses": pauses,
        "lanes": parsed(&beat.lanes),
        "received": beat.received,
        "loaded": beat.ended.loaded,
        "dead_lettered": beat.ended.dead_lettered,
        "absorbed": beat.ended.absorbed,
        "contradicting": beat.ended.contradicting,
        "returned": beat.ended.returned,
        "released": beat.ended.released,
        "damaged": beat.ended.damaged,
        "in_hand": beat.in_hand,
        "received_per_second": beat.received_per_second,
        "loaded_per_second": beat.loaded_per_second,
        "lag_p50_seconds": beat.lag_p50,
        "lag_p99_seconds": beat.lag_p99,
        "sqs_calls": parsed(&beat.sqs_calls),
        "sqs_billed": parsed(&beat.sqs_billed),
        "sqs_empty_receives": beat.sqs_empty_receives,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_told_in_its_largest_unit() {
        let told = [-0.2, 0.0, 119.9, 120.0, 7_199.0, 7_200.0, 90_000.0].map(length);
        assert_eq!(told, ["0 s", "0 s", "119 s", "2 min", "119 min", "2 h", "25 h"]);
    }
}
