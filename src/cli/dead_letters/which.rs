//! Which dead letters a command is to change.

use super::{find, prefixes};
use crate::cli::Failure;
use crate::cli::prefix::Prefix;
use crate::config::{Given, Mistakes, Row, rows};
use crate::database::Database;
use crate::table::dead_letters::{Filter, Search, Status};

/// How they are named on the command line.
#[derive(Debug, clap::Args)]
pub(super) struct Letters {
    /// Which ones: hashes, or at least their first 8 digits
    #[arg(value_name = "HASH")]
    hashes: Vec<String>,

    /// All of them
    #[arg(long, conflicts_with = "hashes")]
    all: bool,
}

/// Which they are.
pub(super) struct Which {
    search: Search,
    prefixes: Vec<Prefix>,
}

impl Letters {
    /// Reads what is said; mistakes are noted. The letters stand at this status, or are passed over.
    pub(super) fn read(&self, given: &Given, status: Status, mistakes: &mut Mistakes) -> Option<Which> {
        self.read_any(given, rows::Statuses(Some(status)), mistakes)
    }

    /// Whether any is named by its hash.
    pub(super) fn names_any(&self) -> bool {
        !self.hashes.is_empty()
    }

    /// The same where the letters stand at any of these, unless --status says another.
    pub(super) fn read_any(&self, given: &Given, unasked: rows::Statuses, mistakes: &mut Mistakes) -> Option<Which> {
        let search = super::list::search(given, unasked, mistakes);
        let prefixes = prefixes(&self.hashes, mistakes);
        let by_search: [&dyn Row; 5] = [&rows::CODE, &rows::WRONG_FIELD, &rows::OF_QUEUE, &rows::SINCE, &rows::UNTIL];
        let searched: Vec<String> = by_search.into_iter().filter(|row| given.has(*row)).map(|row| row.name()).collect();
        match (self.hashes.is_empty(), searched.first()) {
            (true, None) if !self.all => {
                let remedy = "give HASH…, --code CODE or another of the options on which ones, or --all";
                mistakes.note::<()>("HASH", "nothing says which dead letters are meant", remedy);
            }
            (false, Some(first)) => {
                mistakes.note::<()>(first.clone(), "is given beside hashes", "give one or the other");
            }
            (true | false, _) => {}
        }
        Some(Which { search: search?, prefixes })
    }
}

impl Which {
    /// Whether they are named one by one.
    pub(super) fn is_named(&self) -> bool {
        !self.prefixes.is_empty()
    }

    /// The letters, found where they are named.
    pub(super) async fn find(&self, database: &Database) -> Result<Filter, Failure> {
        let hashes = if self.is_named() { Some(find(database, &self.prefixes).await?) } else { None };
        Ok(Filter { search: self.search.clone(), hashes })
    }

    /// What is asked for, in words: `code invalid_version, queue logins`.
    pub(super) fn in_words(&self) -> String {
        let Search { code, field, status: _, queue, since, until } = &self.search;
        let time = |time: &Option<_>| time.map(super::text::seconds);
        let facts = [
            ("code", code.clone()),
            ("field", field.clone()),
            ("queue", queue.clone()),
            ("since", time(since)),
            ("until", time(until)),
        ];
        let facts = facts.into_iter().filter_map(|(name, value)| value.map(|value| format!("{name} {value}")));
        let named: Vec<String> = self.prefixes.iter().map(|prefix| prefix.digits.clone()).collect();
        match (named.as_slice(), facts.collect::<Vec<_>>().as_slice()) {
            ([], []) => "all".to_owned(),
            ([], facts) => facts.join(", "),
            (few, _) if few.len() <= 3 => format!("hash {}", few.join(", ")),
            (many, _) => format!("{} hashes", many.len()),
        }
    }
}
