//! `turnstile dead-letters list`.

use serde_json::json;

use super::text::{exact, letter_json, seconds};
use super::{filter, open};
use crate::cli::terminal::{aligned, note, printable, say};
use crate::cli::{Failure, Outcome};
use crate::config::rows::{self, Format, Statuses};
use crate::config::{Given, Mistakes};
use crate::database::{Database, DatabaseSettings, Transaction};
use crate::table::dead_letters::{self, Count, DeadLetter, Filter, Status};

/// What `turnstile dead-letters list` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// List single dead letters, the newest first, instead of counting them
    #[arg(long)]
    entries: bool,
}

struct Settings {
    database: DatabaseSettings,
    filter: Filter,
    limit: u64,
    format: Format,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let Settings { database, filter, limit, format } = self.read(given)?;
        let database = open(&database).await?;
        match self.entries {
            true => list(&database, &filter, limit, format).await?,
            false => count(&database, &filter, format).await?,
        }
        Ok(Outcome::Done)
    }

    fn read(&self, given: &Given) -> Result<Settings, Mistakes> {
        let mut mistakes = given.mistakes();
        let database = given.database(1, &mut mistakes);
        let filter = filter(given, &mut mistakes);
        let unasked = Statuses(self.entries.then_some(Status::Open));
        let status = given.optional(&rows::STATUS, &mut mistakes).map(|status| status.unwrap_or(unasked).0);
        let limit = given.read(&rows::LIST_LIMIT, &mut mistakes);
        let format = given.read(&rows::FORMAT, &mut mistakes);
        if given.has(&rows::LIST_LIMIT) && !self.entries {
            mistakes.note::<()>("--limit", "limits entries, and none are listed", "add --entries, or omit --limit");
        }
        let all = || {
            let filter = Filter { status: status?, ..filter };
            Some(Settings { database: database?, filter, limit: limit?, format: format? })
        };
        mistakes.or(all())
    }
}

async fn count(database: &Database, filter: &Filter, format: Format) -> Result<(), Failure> {
    let counts = database.snapshot(async |seen| dead_letters::count(seen, filter).await).await?;
    match format {
        Format::Json => counts.iter().try_for_each(|count| say(&count_json(count))),
        Format::Text if counts.is_empty() => say(none(filter)),
        Format::Text => table(&["status", "code", "letters", "first", "last"], counts.iter().map(count_row)),
    }
}

async fn list(database: &Database, filter: &Filter, limit: u64, format: Format) -> Result<(), Failure> {
    let newest_and_all = async |seen: &Transaction| {
        Ok((dead_letters::newest(seen, filter, limit).await?, dead_letters::count(seen, filter).await?))
    };
    let (letters, counts) = database.snapshot(newest_and_all).await?;
    let all: u64 = counts.iter().map(|count| count.letters).sum();
    let shown = letters.len() as u64;
    let more = (shown < all).then(|| format!("the newest {shown} of {all}: --limit N shows more"));
    if format == Format::Json {
        letters.iter().try_for_each(|letter| say(&letter_json(letter).to_string()))?;
        // A script that counts the lines needs to know, and no line of JSON can say it.
        more.iter().for_each(|more| note(more));
        return Ok(());
    }
    if letters.is_empty() {
        return say(none(filter));
    }
    let columns = ["dead-lettered", "status", "code", "deliveries", "hash", "message id", "detail"];
    table(&columns, letters.iter().map(letter_row))?;
    more.map_or(Ok(()), |more| say(&more))
}

fn none(filter: &Filter) -> &'static str {
    match filter {
        Filter { code: None, since: None, status: None, .. } => "no dead letters",
        Filter { code: None, since: None, status: Some(Status::Open), .. } => "no open dead letters",
        _ => "no dead letters of this kind",
    }
}

fn table(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Result<(), Failure> {
    let head = columns.iter().map(|&column| column.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    aligned(&rows).iter().try_for_each(|line| say(line))
}

fn count_row(count: &Count) -> Vec<String> {
    let Count { status, code, letters, first, last } = count;
    vec![status.as_str().to_owned(), code.clone(), letters.to_string(), seconds(*first), seconds(*last)]
}

fn count_json(count: &Count) -> String {
    let Count { status, code, letters, first, last } = count;
    let (first, last) = (exact(*first), exact(*last));
    json!({"status": status.as_str(), "code": code, "letters": letters, "first": first, "last": last}).to_string()
}

fn letter_row(letter: &DeadLetter) -> Vec<String> {
    vec![
        seconds(letter.dead_lettered_at),
        letter.status.as_str().to_owned(),
        letter.code.clone(),
        letter.receive_count.to_string(),
        letter.key.hash.to_string(),
        printable(letter.message_id.as_bytes()),
        letter.detail.clone(),
    ]
}
