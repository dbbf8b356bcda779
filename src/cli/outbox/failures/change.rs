//! `turnstile outbox failures retry` and `discard`.

use std::collections::BTreeMap;

use serde_json::json;

use super::{EVENT_REMEDY, find, open};
use crate::cli::prefix::Prefix;
use crate::cli::terminal::{agreed, counted, say};
use crate::cli::{Failure, Outcome};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::database::DatabaseSettings;
use crate::relay::again::{Change, discard, retry};
use crate::table::relay_refusals::{self, Filter, Refused, Status};

/// What `turnstile outbox failures retry` and `discard` take.
#[derive(Debug, clap::Args)]
pub(in crate::cli::outbox) struct Args {
    /// Which ones: event ids, or at least their first 8 digits
    #[arg(value_name = "EVENT")]
    events: Vec<String>,

    /// Every event that the sink of --sink has set aside; asks first
    #[arg(long, conflicts_with = "events")]
    all: bool,

    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Retry,
    Discard,
}

impl Kind {
    fn verb(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Discard => "discard",
        }
    }

    /// What an event is, once it is done.
    fn done(self) -> &'static str {
        match self {
            Self::Retry => "to be tried again",
            Self::Discard => "discarded",
        }
    }
}

struct Settings {
    database: DatabaseSettings,
    filter: Filter,
    prefixes: Vec<Prefix>,
    format: Format,
}

impl Args {
    pub(super) async fn run(self, given: &Given, kind: Kind) -> Result<Outcome, Failure> {
        let Settings { database, mut filter, prefixes, format } = self.read(given)?;
        let database = open(&database).await?;
        if self.all {
            let meant = database.snapshot(async |seen| relay_refusals::count(seen, &filter).await).await?;
            let sink = filter.sink.as_deref().unwrap_or_default();
            let question = format!("{} {} that the sink {sink} has set aside?", kind.verb(), counted(meant, "event"));
            if meant > 0 && !agreed(&question, self.yes)? {
                say("nothing is changed")?;
                return Ok(Outcome::Failed);
            }
        } else {
            filter.events = Some(find(&database, &prefixes).await?);
        }
        let changed = match kind {
            Kind::Retry => retry(&database, &filter).await?,
            Kind::Discard => discard(&database, &filter).await?,
        };
        report(&changed, kind, format)?;
        let is_done = (self.all || !changed.is_empty()) && changed.iter().all(|(_, change)| *change == Change::Done);
        Ok(if is_done { Outcome::Done } else { Outcome::Failed })
    }

    fn read(&self, given: &Given) -> Result<Settings, Mistakes> {
        let mut mistakes = given.mistakes();
        let database = given.database(1, &mut mistakes);
        let sink = given.optional(&rows::OF_SINK, &mut mistakes);
        let code = given.optional(&rows::REFUSED_CODE, &mut mistakes);
        let prefixes = Prefix::read_all(&self.events, ("EVENT", "an event id"), EVENT_REMEDY, &mut mistakes);
        let format = given.read(&rows::FORMAT, &mut mistakes);
        match (self.all, self.events.is_empty()) {
            (false, true) => {
                mistakes.note::<()>("EVENT", "nothing says which events are meant", "give EVENT… or --all --sink NAME");
            }
            (true, _) if sink == Some(None) => {
                mistakes.note::<()>("--all", "is of one sink", "name it with --sink NAME");
            }
            (true | false, true | false) => {}
        }
        let all = || {
            let status = self.all.then_some(Status::SetAside);
            let filter = Filter { sink: sink?, status, code: code?, events: None };
            Some(Settings { database: database?, filter, prefixes, format: format? })
        };
        mistakes.or(all())
    }
}

fn report(changed: &[(Refused, Change)], kind: Kind, format: Format) -> Result<(), Failure> {
    let done = changed.iter().filter(|(_, change)| *change == Change::Done).count() as u64;
    let mut not: BTreeMap<Change, Vec<&Refused>> = BTreeMap::new();
    for (refused, change) in changed.iter().filter(|(_, change)| *change != Change::Done) {
        not.entry(*change).or_default().push(refused);
    }
    if format == Format::Json {
        let not = not.iter().map(|(why, events)| {
            let ids: Vec<String> = events.iter().map(|refused| refused.event.to_string()).collect();
            json!({"why": why.to_string(), "events": ids})
        });
        let report = json!({"changed": done, "status": kind.done(), "unchanged": not.collect::<Vec<_>>()});
        return say(&report.to_string());
    }
    say(&format!("{} {} {}", counted(done, "event"), if done == 1 { "is" } else { "are" }, kind.done()))?;
    for (why, events) in not {
        for refused in events {
            say(&format!("{} (position {}, sink {}) {why}", refused.event, refused.position, refused.sink))?;
        }
    }
    Ok(())
}
