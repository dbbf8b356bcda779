//! `turnstile outbox failures`.

mod change;
mod list;

use clap::Subcommand;

use super::open;
use crate::cli::prefix::Prefix;
use crate::cli::{Failure, Outcome};
use crate::config::Given;
use crate::database::{Database, Transaction};
use crate::message::MessageHash;
use crate::table::relay_refusals;

/// What `turnstile outbox failures` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List events that a sink refuses, those that are refused the longest first
    List(list::Args),
    /// Let refused events be tried again at once, as if for the first time
    #[command(after_long_help = "\
A relay that runs tries them within a second. A FIFO queue silently drops an event that it took within the last five minutes, \
whatever has become of it since: wait so long before you retry one that it may have. An event that is gone from the outbox \
cannot be tried again.")]
    Retry(change::Args),
    /// Give refused events up; they stay in the outbox, and in the list
    Discard(change::Args),
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        match self.command {
            Command::List(args) => args.run(given).await,
            Command::Retry(args) => args.run(given, change::Kind::Retry).await,
            Command::Discard(args) => args.run(given, change::Kind::Discard).await,
        }
    }
}

const EVENT_REMEDY: &str = "give at least the first 8 of an event id's 64 hexadecimal digits; \
                            `turnstile outbox failures list` shows them";

/// The refused events that the prefixes mean, each once.
async fn find(database: &Database, prefixes: &[Prefix]) -> Result<Vec<MessageHash>, Failure> {
    let mut events = Vec::with_capacity(prefixes.len());
    let mut complaints = Vec::new();
    let look = async |seen: &Transaction| {
        for Prefix { digits, first, last } in prefixes {
            match *relay_refusals::between(seen, *first, *last, 2).await? {
                [] => {
                    let remedy = "`turnstile outbox failures list` shows their ids";
                    complaints.push((format!("no refused event's id starts with {digits}"), Some(remedy.to_owned())));
                }
                [event] => events.push(event),
                _ => {
                    let what = format!("the ids of several refused events start with {digits}");
                    complaints.push((what, Some("give more digits".to_owned())));
                }
            }
        }
        Ok(())
    };
    database.snapshot(look).await?;
    if !complaints.is_empty() {
        return Err(Failure::of(complaints));
    }
    events.sort_unstable();
    events.dedup();
    Ok(events)
}
