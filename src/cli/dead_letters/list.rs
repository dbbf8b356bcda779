//! `turnstile dead-letters list`.

use serde_json::json;

use super::text::{aligned, exact, letter_json, printable, seconds};
use super::{FilterArgs, open};
use crate::cli::{Outcome, refuse, say};
use crate::config::{DatabaseArgs, Mistakes, given};
use crate::database::{Database, DatabaseSettings, Transaction};
use crate::table::dead_letters::{self, Count, DeadLetter, Filter, Status};

/// What `turnstile dead-letters list` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    filter: FilterArgs,

    /// List single dead letters, the newest first, instead of counting them
    #[arg(long)]
    entries: bool,

    /// Only those that are open, replayed, absorbed, discarded, or all [default: all for counts, open for --entries]
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,

    /// With --entries, the most to list [default: 50] [1 to 100000]
    #[arg(long, value_name = "N")]
    limit: Option<String>,

    /// One JSON object a line, for scripts; nothing where there is none
    #[arg(long)]
    json: bool,
}

struct Settings {
    database: DatabaseSettings,
    filter: Filter,
    limit: u64,
}

impl Args {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let Settings { database, filter, limit } = match self.read() {
            Ok(settings) => settings,
            Err(mistakes) => return refuse(&mistakes),
        };
        let database = open(&database).await?;
        match self.entries {
            true => self.list(&database, &filter, limit).await?,
            false => self.count(&database, &filter).await?,
        }
        Ok(Outcome::Done)
    }

    fn read(&self) -> Result<Settings, Mistakes> {
        let mut mistakes = Mistakes::default();
        let database = self.database.read(1, &mut mistakes);
        let filter = self.filter.read(&mut mistakes);
        let status = self.status(&mut mistakes);
        let limit = mistakes.whole("--limit", given(&self.limit).unwrap_or("50"), 1..=100_000);
        if self.limit.is_some() && !self.entries {
            mistakes.note::<()>(
                "--limit",
                "limits entries, and none are listed",
                "add --entries, or leave --limit away",
            );
        }
        let all = || {
            let filter = Filter { status: status?, ..filter };
            Some(Settings { database: database?, filter, limit: limit? as u64 })
        };
        mistakes.or(all())
    }

    fn status(&self, mistakes: &mut Mistakes) -> Option<Option<Status>> {
        match given(&self.status) {
            None => Some(self.entries.then_some(Status::Open)),
            Some("all") => Some(None),
            Some(word) => {
                mistakes.take("--status", word.parse(), "choose open, replayed, absorbed, discarded or all").map(Some)
            }
        }
    }

    async fn count(&self, database: &Database, filter: &Filter) -> anyhow::Result<()> {
        let counts = database.snapshot(async |seen| dead_letters::count(seen, filter).await).await?;
        if self.json {
            return counts.iter().try_for_each(|count| say(&count_json(count)));
        }
        match counts.is_empty() {
            true => say(none(filter)),
            false => table(&["status", "code", "letters", "first", "last"], counts.iter().map(count_row)),
        }
    }

    async fn list(&self, database: &Database, filter: &Filter, limit: u64) -> anyhow::Result<()> {
        let newest_and_all = async |seen: &Transaction| {
            Ok((dead_letters::newest(seen, filter, limit).await?, dead_letters::count(seen, filter).await?))
        };
        let (letters, counts) = database.snapshot(newest_and_all).await?;
        let all: u64 = counts.iter().map(|count| count.letters).sum();
        if self.json {
            return letters.iter().try_for_each(|letter| say(&letter_json(letter).to_string()));
        }
        if letters.is_empty() {
            return say(none(filter));
        }
        let columns = ["dead-lettered", "status", "code", "deliveries", "hash", "message id", "detail"];
        table(&columns, letters.iter().map(letter_row))?;
        let shown = letters.len() as u64;
        match shown < all {
            true => say(&format!("the newest {shown} of {all}: --limit N shows more")),
            false => Ok(()),
        }
    }
}

fn none(filter: &Filter) -> &'static str {
    match filter {
        Filter { code: None, since: None, status: None, .. } => "no dead letters",
        Filter { code: None, since: None, status: Some(Status::Open), .. } => "no open dead letters",
        _ => "no dead letters of this kind",
    }
}

fn table(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> anyhow::Result<()> {
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
