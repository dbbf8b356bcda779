//! `turnstile dead-letters list`.

mod entries;
mod groups;
mod nothing;

use super::open;
use crate::cli::{Failure, Outcome};
use crate::config::rows::{self, ListFormat, Statuses};
use crate::config::{Given, Mistakes, Row};
use crate::database::DatabaseSettings;
use crate::table::dead_letters::{Counted, Page, Search, Status};

/// What `turnstile dead-letters list` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// List single dead letters, page by page, instead of groups
    #[arg(long)]
    entries: bool,
}

struct Settings {
    database: DatabaseSettings,
    list: List,
    format: ListFormat,
}

/// What is listed.
enum List {
    Groups(Search),
    Entries(Page),
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let Settings { database, list, format } = self.read(given)?;
        let database = open(&database).await?;
        match list {
            List::Groups(search) => groups::list(&database, &search, format).await?,
            List::Entries(page) => entries::list(&database, &page, format).await?,
        }
        Ok(Outcome::Done)
    }

    fn read(&self, given: &Given) -> Result<Settings, Mistakes> {
        let mut mistakes = given.mistakes();
        let database = given.database(1, &mut mistakes);
        let unasked = Statuses(self.entries.then_some(Status::Open));
        let search = search(given, unasked, &mut mistakes);
        let format = given.read(&rows::LIST_FORMAT, &mut mistakes);
        let page = page(given, &mut mistakes);
        let of_entries: [&dyn Row; 4] = [&rows::MESSAGE_ID, &rows::SORT, &rows::LIST_LIMIT, &rows::AFTER];
        for row in of_entries.into_iter().filter(|row| !self.entries && given.has(*row)) {
            let remedy = format!("add --entries, or omit {}", row.name());
            mistakes.note::<()>(row.name(), "is of single letters, and groups are listed", remedy);
        }
        let all = || {
            let list = match self.entries {
                true => List::Entries(Page { search: search?, ..page? }),
                false => List::Groups(search?),
            };
            Some(Settings { database: database?, list, format: format? })
        };
        mistakes.or(all())
    }
}

/// What is looked for; mistakes are noted.
pub(super) fn search(given: &Given, unasked: Statuses, mistakes: &mut Mistakes) -> Option<Search> {
    let code = given.optional(&rows::CODE, mistakes);
    let field = given.optional(&rows::WRONG_FIELD, mistakes);
    let status = given.optional(&rows::STATUS, mistakes).map(|status| status.unwrap_or(unasked).0);
    let queue = given.optional(&rows::OF_QUEUE, mistakes);
    let since = given.optional(&rows::SINCE, mistakes);
    let until = given.optional(&rows::UNTIL, mistakes);
    if let (Some(Some(since)), Some(Some(until))) = (since, until)
        && since >= until
    {
        mistakes.note::<()>("--since and --until", "leave no time between them", "give an --until that is later");
    }
    Some(Search { code: code?, field: field?, status: status?, queue: queue?, since: since?, until: until? })
}

/// Which page of what is found; mistakes are noted.
fn page(given: &Given, mistakes: &mut Mistakes) -> Option<Page> {
    let message_id = given.optional(&rows::MESSAGE_ID, mistakes);
    let order = given.read(&rows::SORT, mistakes);
    let after = given.optional(&rows::AFTER, mistakes);
    let limit = given.read(&rows::LIST_LIMIT, mistakes);
    Some(Page { search: Search::default(), message_id: message_id?, order: order?, after: after?, limit: limit? })
}

/// `12`, `10,000+`.
fn number(counted: Counted) -> String {
    let Counted { letters, or_more } = counted;
    format!("{}{}", indicatif::HumanCount(letters), if or_more { "+" } else { "" })
}
