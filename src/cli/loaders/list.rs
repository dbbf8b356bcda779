//! The loaders, and the pauses that are in force.

use super::open;
use crate::cli::terminal::{aligned, fitted, note, printable, say, seconds, width};
use crate::cli::{Failure, Outcome, records};
use crate::config::Given;
use crate::config::rows::{self, ListFormat};
use crate::database::Transaction;
use crate::message::queue_name;
use crate::records::loaders::{NAMES, Standing, loader_json, target_words, who};
use crate::table::loader_pauses::{self, InForce};
use crate::table::loaders::{self, Seen};

pub(super) async fn run(given: &Given) -> Result<Outcome, Failure> {
    let mut mistakes = given.mistakes();
    let database = given.database(1, &mut mistakes);
    let format = given.read(&rows::LIST_FORMAT, &mut mistakes);
    let (database, format) = mistakes.or(database.zip(format))?;
    let database = open(&database).await?;
    let look = async |seen: &Transaction| Ok((loaders::read(seen).await?, loader_pauses::read(seen).await?));
    let (loaders, pauses) = database.snapshot(look).await?;
    let records = loaders.iter().map(|loader| loader_json(loader, &pauses));
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

fn pause_words(pause: &InForce) -> String {
    let (target, who) = (target_words(&pause.target), who(pause));
    let line = format!("paused since {}: {target}, by {who}: {}", seconds(pause.since), pause.reason);
    printable(line.as_bytes())
}

fn for_people(loaders: &[Seen]) -> Result<(), Failure> {
    let row = |loader: &Seen| {
        let beat = &loader.beat;
        let standing = Standing::of(loader);
        let now = |text: String| if standing.is_over() { "-".to_owned() } else { text };
        vec![
            beat.id.to_string(),
            printable(queue_name(&beat.queue).as_bytes()),
            standing.as_str().to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_told_in_its_largest_unit() {
        let told = [-0.2, 0.0, 119.9, 120.0, 7_199.0, 7_200.0, 90_000.0].map(length);
        assert_eq!(told, ["0 s", "0 s", "119 s", "2 min", "119 min", "2 h", "25 h"]);
    }
}
