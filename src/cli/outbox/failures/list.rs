//! `turnstile outbox failures list`.

use serde_json::json;
use time::OffsetDateTime;

use super::open;
use crate::check::sinks::in_one_unit;
use crate::cli::outbox::text::say_broken;
use crate::cli::prefix::{SHOWN, shown};
use crate::cli::terminal::{aligned, exact, note, printable, say};
use crate::cli::{Failure, Outcome};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::database::{DatabaseSettings, Transaction};
use crate::table::relay_refusals::{self, Filter, Refused};

/// What `turnstile outbox failures list` takes.
#[derive(Debug, clap::Args)]
pub(in crate::cli::outbox) struct Args {}

struct Settings {
    database: DatabaseSettings,
    filter: Filter,
    limit: u64,
    format: Format,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let Settings { database, filter, limit, format } = read(given)?;
        let database = open(&database).await?;
        let list = async |seen: &Transaction| {
            Ok((relay_refusals::list(seen, &filter, limit).await?, relay_refusals::count(seen, &filter).await?))
        };
        let (refused, all) = database.snapshot(list).await?;
        let shown = refused.len() as u64;
        let more = (shown < all).then(|| format!("the first {shown} of {all}: --limit N shows more"));
        match format {
            Format::Json => {
                refused.iter().try_for_each(|refused| say(&json_of(refused)))?;
                // A script that counts the lines needs to know, and no line of JSON can say it.
                more.iter().for_each(|more| note(more));
            }
            Format::Text if refused.is_empty() => say("no refused events")?,
            Format::Text => {
                table(&refused, filter.sink.is_none())?;
                more.map_or(Ok(()), |more| say(&more))?;
            }
        }
        Ok(Outcome::Done)
    }
}

fn read(given: &Given) -> Result<Settings, Mistakes> {
    let mut mistakes = given.mistakes();
    let database = given.database(1, &mut mistakes);
    let sink = given.optional(&rows::OF_SINK, &mut mistakes);
    let status = given.read(&rows::REFUSED_STATUS, &mut mistakes);
    let code = given.optional(&rows::REFUSED_CODE, &mut mistakes);
    let limit = given.read(&rows::REFUSED_LIMIT, &mut mistakes);
    let format = given.read(&rows::FORMAT, &mut mistakes);
    let all = || {
        let filter = Filter { sink: sink?, status: status?.0, code: code?, events: None };
        Some(Settings { database: database?, filter, limit: limit?, format: format? })
    };
    mistakes.or(all())
}

fn table(refused: &[Refused], has_sinks: bool) -> Result<(), Failure> {
    let now = OffsetDateTime::now_utc();
    let of_sink = |sink: &str| has_sinks.then(|| sink.to_owned());
    let head = ["event", "position", "status", "attempts", "for", "code"].map(str::to_owned);
    let head = of_sink("sink").into_iter().chain(head).collect();
    let row = |refused: &Refused| {
        let facts = [
            shown(refused.event),
            refused.position.to_string(),
            refused.status.in_words().to_owned(),
            refused.attempts.to_string(),
            in_one_unit(now - refused.since),
            printable(refused.code.as_bytes()),
        ];
        of_sink(&refused.sink).into_iter().chain(facts).collect::<Vec<String>>()
    };
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(refused.iter().map(row)).collect();
    aligned(&rows).iter().try_for_each(|line| say_broken(line, SHOWN + 2))
}

fn json_of(refused: &Refused) -> String {
    json!({
        "sink": refused.sink,
        "event_id": refused.event.to_string(),
        "position": refused.position,
        "status": refused.status.as_str(),
        "code": refused.code,
        "attempts": refused.attempts,
        "since": exact(refused.since),
        "next_at": exact(refused.next_at),
    })
    .to_string()
}
