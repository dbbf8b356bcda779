//! Single dead letters, page by page.

use super::nothing::Elsewhere;
use super::number;
use crate::cli::dead_letters::text::{exact, hash_in_table, letter_json, place_words, seconds, table};
use crate::cli::terminal::{note, printable, say};
use crate::cli::{Failure, records};
use crate::config::rows::ListFormat;
use crate::database::{Database, Transaction};
use crate::records::letters::LETTER;
use crate::table::dead_letters::{Counted, DeadLetter, Order, Page, PageEnd, count_some, page};

/// A page as it was found.
struct Found {
    letters: Vec<DeadLetter>,
    /// Whether others come after them.
    goes_on: bool,
    /// How many the search means in all; none: of one message.
    all: Option<Counted>,
}

pub(super) async fn list(database: &Database, page: &Page, format: ListFormat) -> Result<(), Failure> {
    let look = async |seen: &Transaction| {
        let found = Found::read(seen, page).await?;
        let elsewhere = if found.letters.is_empty() { Some(Elsewhere::look(seen).await?) } else { None };
        Ok((found, elsewhere))
    };
    let (found, elsewhere) = database.snapshot(look).await?;
    let records = found.letters.iter().map(letter_json);
    let said = match elsewhere {
        Some(_) if page.after.is_some() => Some("no dead letters come after this page".to_owned()),
        Some(elsewhere) => Some(elsewhere.in_words(&page.search, page.message_id.as_deref())),
        None => found.more(page),
    };
    match format {
        ListFormat::Text => {
            if !found.letters.is_empty() {
                for_people(&found.letters)?;
            }
            return said.map_or(Ok(()), |said| say(&said));
        }
        ListFormat::Json => records::json(records)?,
        ListFormat::Csv => records::csv(&LETTER, records)?,
    }
    // A script that counts the lines needs to know, and no record can say it.
    said.iter().for_each(|said| note(said));
    Ok(())
}

impl Found {
    async fn read(seen: &Transaction, wanted: &Page) -> Result<Self, crate::database::DatabaseError> {
        let one_more = Page { limit: wanted.limit.saturating_add(1), ..wanted.clone() };
        let mut letters = page(seen, &one_more).await?;
        let goes_on = letters.len() as u64 > wanted.limit;
        letters.truncate(usize::try_from(wanted.limit).unwrap_or(usize::MAX));
        let all = match (goes_on, &wanted.message_id) {
            (true, None) => Some(count_some(seen, &wanted.search).await?),
            (false, _) | (true, Some(_)) => None,
        };
        Ok(Self { letters, goes_on, all })
    }

    /// That others come, and how they are asked for.
    fn more(&self, page: &Page) -> Option<String> {
        let last = self.letters.last().filter(|_| self.goes_on)?;
        let shown = self.letters.len();
        let of = self.all.map(|all| format!(" of {}", number(all))).unwrap_or_default();
        let which = match (page.after, page.order) {
            (None, Order::Newest) => format!("the newest {shown}{of}"),
            (None, Order::Oldest) => format!("the oldest {shown}{of}"),
            (Some(_), _) => format!("{shown} more{of}"),
        };
        let PageEnd { dead_lettered_at, hash } = PageEnd::of(last);
        Some(format!(
            "{which}: --limit N shows more, and the next page begins --after {}/{hash}",
            exact(dead_lettered_at)
        ))
    }
}

fn for_people(letters: &[DeadLetter]) -> Result<(), Failure> {
    let row = |letter: &DeadLetter| {
        vec![
            hash_in_table(letter.key.hash),
            seconds(letter.dead_lettered_at),
            letter.status.as_str().to_owned(),
            letter.code.clone(),
            letter.field.clone().unwrap_or_default(),
            letter.receive_count.to_string(),
            printable(letter.message_id.as_bytes()),
            letter.detail.clone(),
            letter.place.as_deref().map(|place| printable(place_words(place).as_bytes())).unwrap_or_default(),
        ]
    };
    let columns = ["hash", "dead-lettered", "status", "code", "field", "deliveries", "message id", "detail", "place"];
    table(&columns, letters.iter().map(row))
}
