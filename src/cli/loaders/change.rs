//! `turnstile loaders pause` and `resume`.

use serde_json::json;

use super::open;
use crate::cli::dead_letters::{said, said_with_reason};
use crate::cli::terminal::{printable, say, seconds};
use crate::cli::{Failure, Outcome};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::database::{Database, DatabaseSettings, Transaction};
use crate::message::queue_name;
use crate::records::loaders::{target_words, who};
use crate::table::loader_pauses::{self, InForce, Target};
use crate::table::loaders::{self, Seen, State};
use crate::table::operator_actions::{self, Said};
use crate::table::queues;

/// What `turnstile loaders pause` and `resume` take.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Pause,
    Resume,
}

struct Settings {
    database: DatabaseSettings,
    queue: Option<String>,
    loader: Option<String>,
    said: Said,
    format: Format,
}

impl Args {
    pub(super) async fn run(self, given: &Given, kind: Kind) -> Result<Outcome, Failure> {
        let Settings { database, queue, loader, said, format } = read(given, kind)?;
        let database = open(&database).await?;
        let target = match (queue, loader) {
            (Some(queue), _) => Target::Queue(find_queue(&database, &queue).await?),
            (None, Some(digits)) => Target::Loader(find_loader(&database, &digits).await?),
            (None, None) => Target::All,
        };
        let work = async |transaction: &Transaction| {
            operator_actions::say(transaction, &said).await?;
            let is_changed = match kind {
                Kind::Pause => loader_pauses::pause(transaction, &target).await?,
                Kind::Resume => loader_pauses::resume(transaction, &target).await?,
            };
            Ok((is_changed, loader_pauses::read(transaction).await?))
        };
        let (is_changed, in_force) = database.transaction(work).await?;
        tell(kind, &target, is_changed, &in_force, format).map(|()| Outcome::Done)
    }
}

fn read(given: &Given, kind: Kind) -> Result<Settings, Mistakes> {
    let mut mistakes = given.mistakes();
    let database = given.database(1, &mut mistakes);
    let queue = given.optional(&rows::LOADERS_OF_QUEUE, &mut mistakes);
    let loader = given.optional(&rows::ONE_LOADER, &mut mistakes);
    if let (Some(Some(_)), Some(Some(_))) = (&queue, &loader) {
        mistakes.note::<()>("--queue and --loader", "exclude each other", "give one of them, or none for all loaders");
    }
    let said = match kind {
        Kind::Pause => said_with_reason(given, &mut mistakes),
        Kind::Resume => said(given, &mut mistakes),
    };
    let format = given.read(&rows::FORMAT, &mut mistakes);
    let all = || Some(Settings { database: database?, queue: queue?, loader: loader?, said: said?, format: format? });
    mistakes.or(all())
}

/// The ARN of the queue that is meant. One from which nobody has ever loaded is a mistake.
async fn find_queue(database: &Database, named: &str) -> Result<String, Failure> {
    let known = database.snapshot(queues::read_all).await?;
    let mut known: Vec<&str> = known.keys().map(crate::message::QueueIdentity::as_str).collect();
    known.sort_unstable();
    let is_meant = |arn: &&&str| **arn == named || queue_name(arn) == named;
    match known.iter().filter(is_meant).collect::<Vec<_>>()[..] {
        [arn] => Ok((*arn).to_owned()),
        [] => {
            let remedy = match known.as_slice() {
                [] => "start a loader of it first: no queue is known".to_owned(),
                known => format!("name one of these: {}", known.join(", ")),
            };
            Err(Failure::new(format!("--queue: no loader has ever loaded from a queue {named:?}"), remedy))
        }
        ref several => {
            let arns: Vec<&str> = several.iter().map(|arn| **arn).collect();
            let remedy = format!("name one of them by its ARN: {}", arns.join(", "));
            Err(Failure::new(format!("--queue: several queues are called {named:?}"), remedy))
        }
    }
}

/// The id of the loader that is meant.
async fn find_loader(database: &Database, digits: &str) -> Result<String, Failure> {
    let known = database.snapshot(loaders::read).await?;
    let is_meant = |loader: &&Seen| loader.beat.state != State::Stopped && loader.beat.id.as_str().starts_with(digits);
    match known.iter().filter(is_meant).collect::<Vec<_>>()[..] {
        [loader] => Ok(loader.beat.id.to_string()),
        [] => Err(Failure::new(
            format!("--loader: no loader that has not ended has an id that starts with {digits:?}"),
            "`turnstile loaders` shows them",
        )),
        _ => {
            Err(Failure::new(format!("--loader: the ids of several loaders start with {digits:?}"), "give more digits"))
        }
    }
}

fn tell(kind: Kind, target: &Target, is_changed: bool, in_force: &[InForce], format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        let others = in_force.iter().filter(|pause| kind == Kind::Resume || pause.target != *target).count();
        let (what, of) = (if kind == Kind::Pause { "paused" } else { "resumed" }, target_words(target));
        return say(&json!({"of": of, what: is_changed, "other_pauses": others}).to_string());
    }
    let target_is = target_words(target);
    say(&match (kind, is_changed) {
        (Kind::Pause, true) => {
            format!(
                "paused: {target_is}. What is in hand is loaded; `turnstile loaders` shows when each has heard of it"
            )
        }
        (Kind::Pause, false) => format!("{target_is}: paused before"),
        (Kind::Resume, true) => format!("resumed: {target_is}. Loaders hear of it within seconds"),
        (Kind::Resume, false) => format!("{target_is}: not paused"),
    })?;
    let others = in_force.iter().filter(|pause| kind == Kind::Resume || (pause.target == *target && !is_changed));
    others
        .map(|pause| {
            let (target, since, who) = (target_words(&pause.target), seconds(pause.since), who(pause));
            format!("in force: {target}, since {since}, by {who}: {}", pause.reason)
        })
        .try_for_each(|line| say(&printable(line.as_bytes())))
}
