//! `turnstile dead-letters`.

mod change;
mod edits;
mod export;
mod history;
mod import;
mod list;
mod note;
mod plans;
mod replay;
mod requeue;
mod show;
mod text;
mod which;

use clap::Subcommand;

use super::migrate::open;
use super::prefix::Prefix;
use super::terminal::counted;
use super::{Failure, Outcome};
use crate::config::{Given, Mistakes, rows};
use crate::database::{Database, Transaction};
use crate::discard::Becomes;
use crate::message::MessageHash;
use crate::table::dead_letters::{self, Counted, DeadLetter, Filter, Status};
use crate::table::operator_actions::Said;

/// What `turnstile dead-letters` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Group dead letters by what is wrong with them, or list single ones
    List(list::Args),
    /// Show everything that is known about single dead letters; the body only with --reveal
    Show(show::Args),
    /// Decode, mask and load open dead letters again, under the same message hash
    Replay(replay::Args),
    /// Send open dead letters back to their queue, where a loader takes them under the same message hash
    Requeue(requeue::Args),
    /// List the replays that were drawn up, show what became of them, go on with them, or cancel them
    Plans(plans::Args),
    /// Discard open dead letters that are not worth replaying; they stay in the table
    Discard(change::Args),
    /// Open discarded dead letters again
    Reopen(change::Args),
    /// Note something about all letters of a code: who is on it, and where it is discussed
    Note(note::Args),
    /// Write dead letters to a file, sealed as they are or, with --reveal, in clear
    Export(export::Args),
    /// Take dead letters from such a file, or drain a dead-letter queue of SQS
    Import(import::Args),
    /// Show what was done with dead letters, when, by whom and why
    History(history::Args),
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        match self.command {
            Command::List(args) => args.run(given).await,
            Command::Show(args) => args.run(given).await,
            Command::Replay(args) => args.run(given).await,
            Command::Requeue(args) => args.run(given).await,
            Command::Plans(args) => args.run(given).await,
            Command::Discard(args) => args.run(given, Becomes::Discarded).await,
            Command::Reopen(args) => args.run(given, Becomes::Open).await,
            Command::Note(args) => args.run(given).await,
            Command::Export(args) => args.run(given).await,
            Command::Import(args) => args.run(given).await,
            Command::History(args) => args.run(given).await,
        }
    }
}

/// Who acts and why; empty where nobody is named and no reason given.
pub(super) fn said(given: &Given, mistakes: &mut Mistakes) -> Option<Said> {
    let reason = given.optional(&rows::REASON, mistakes);
    let by = match given.optional(&rows::BY, mistakes)? {
        Some(by) => Some(by),
        None => {
            let user = given.variable("USER").map(|user| user.to_string_lossy().into_owned()).unwrap_or_default();
            mistakes.take("USER", rows::read_by(&user), "give another name with --by")
        }
    };
    Some(Said::by(by?).because(reason?.unwrap_or_default()))
}

/// The same of an action that must have a reason.
pub(super) fn said_with_reason(given: &Given, mistakes: &mut Mistakes) -> Option<Said> {
    let said = said(given, mistakes)?;
    match said.reason.is_empty() {
        true => mistakes.note("--reason", "is not given", "say why, in a few words: it is kept in the history"),
        false => Some(said),
    }
}

/// The letters that are asked for by name and are not open.
async fn resolved(database: &Database, filter: &Filter) -> Result<Vec<DeadLetter>, Failure> {
    let Some(hashes) = &filter.hashes else { return Ok(Vec::new()) };
    let (named, most) = (Filter::of(hashes.clone()), hashes.len() as u64);
    let letters = database.snapshot(async |seen| dead_letters::newest(seen, &named, most).await).await?;
    Ok(letters.into_iter().filter(|letter| letter.status != Status::Open).collect())
}

/// How many letters are meant, those that are named one by one included.
async fn count(database: &Database, filter: &Filter) -> Result<Counted, Failure> {
    match &filter.hashes {
        Some(hashes) => Ok(Counted { letters: hashes.len() as u64, or_more: false }),
        None => Ok(database.snapshot(async |seen| dead_letters::count_some(seen, &filter.search).await).await?),
    }
}

/// `12 dead letters`, `10,000 dead letters or more`.
fn in_words(Counted { letters, or_more }: Counted) -> String {
    format!("{}{}", counted(letters, "dead letter"), if or_more { " or more" } else { "" })
}

const HASH_REMEDY: &str = "give at least the first 8 of a hash's 64 hexadecimal digits; \
                            `turnstile dead-letters list --entries` shows them";

fn prefixes(texts: &[String], mistakes: &mut Mistakes) -> Vec<Prefix> {
    Prefix::read_all(texts, ("HASH", "a message hash"), HASH_REMEDY, mistakes)
}

/// The messages that the prefixes mean, each once.
async fn find(database: &Database, prefixes: &[Prefix]) -> Result<Vec<MessageHash>, Failure> {
    let mut hashes = Vec::with_capacity(prefixes.len());
    let mut complaints = Vec::new();
    let look = async |seen: &Transaction| {
        for Prefix { digits, first, last } in prefixes {
            match *dead_letters::between(seen, *first, *last, 2).await? {
                [] => {
                    let remedy = "`turnstile dead-letters list --entries` shows their hashes";
                    complaints.push((format!("no dead letter's hash starts with {digits}"), Some(remedy.to_owned())));
                }
                [hash] => hashes.push(hash),
                _ => {
                    let what = format!("the hashes of several dead letters start with {digits}");
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
    hashes.sort_unstable();
    hashes.dedup();
    Ok(hashes)
}
