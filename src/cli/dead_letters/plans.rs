//! `turnstile dead-letters plans`.

mod list;
pub(super) mod report;
mod show;

use clap::Subcommand;

use super::{open, said};
use crate::cli::terminal::say;
use crate::cli::{Failure, Outcome, refuse_other_keys, warn_of_weak_mask};
use crate::config::rows::{self, BodyKind, Format};
use crate::config::{Given, Mistakes};
use crate::database::{Database, Transaction};
use crate::keyring::Keyring;
use crate::mask::MaskKind;
use crate::records::plans::plan_json;
use crate::replay::Replay;
use crate::table::operator_actions::Said;
use crate::table::plan_id::PlanId;
use crate::table::replay_plans::{self, Plan, State};

/// What `turnstile dead-letters plans` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the replays that were drawn up, the newest first
    List,
    /// Show what was foreseen for the letters of a plan, and what became of them
    Show(show::Args),
    /// Run a plan that is ready, or go on with one that was stopped
    #[command(after_long_help = "\
It runs over exactly the letters that the plan has, each once. Several may run the same plan at once. A letter that somebody has \
resolved since is passed over.")]
    Run(Named),
    /// Put an end to a plan: who runs it stops within a hundred letters, and what it has done holds
    Cancel(Named),
}

/// A plan by its number.
#[derive(Debug, clap::Args)]
struct Named {
    /// The number of the plan
    #[arg(value_name = "PLAN")]
    plan: String,
}

impl Named {
    fn read(&self, mistakes: &mut Mistakes) -> Option<PlanId> {
        let read = self.plan.parse().map_err(|error: crate::table::plan_id::NoPlanId| error.to_string());
        mistakes.take("PLAN", read, "`turnstile dead-letters plans list` shows the numbers")
    }
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        match self.command {
            Command::List => list::list(given).await,
            Command::Show(args) => args.run(given).await,
            Command::Run(args) => args.run(given).await,
            Command::Cancel(args) => args.cancel(given).await,
        }
    }
}

/// What a replay needs beside the database.
pub(super) struct Replaying {
    keyring: Keyring,
    mask: MaskKind,
    body: BodyKind,
}

impl Replaying {
    /// Reads it; mistakes are noted.
    pub(super) fn read(given: &Given, mistakes: &mut Mistakes) -> Option<Self> {
        let keyring = given.keyring(mistakes);
        let mask = given.read(&rows::MASK, mistakes);
        let body = given.read(&rows::BODY, mistakes);
        Some(Self { keyring: keyring?, mask: mask?, body: body? })
    }

    /// A replay in this database.
    pub(super) async fn replay(self, database: Database, said: Said) -> Result<Replay, Failure> {
        let Self { keyring, mask, body } = self;
        warn_of_weak_mask(mask);
        refuse_other_keys(&database, &keyring, Some(mask)).await?;
        Ok(Replay {
            opener: keyring.body_opener(),
            sealer: keyring.body_sealer(),
            form: body.form(&keyring),
            hash_key: keyring.shared_hash_key(),
            masker: keyring.masker(mask),
            said,
            database,
        })
    }
}

/// The plan of this number.
async fn find(database: &Database, id: PlanId) -> Result<Plan, Failure> {
    let plan = database.snapshot(async |seen: &Transaction| replay_plans::find(seen, id).await).await?;
    let remedy = "`turnstile dead-letters plans list` shows the numbers";
    plan.ok_or_else(|| Failure::new(format!("there is no plan {id}"), remedy))
}

impl Named {
    async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let mut mistakes = given.mistakes();
        let (database, replaying) = (given.database(1, &mut mistakes), Replaying::read(given, &mut mistakes));
        let (id, said) = (self.read(&mut mistakes), said(given, &mut mistakes));
        let format = given.read(&rows::FORMAT, &mut mistakes);
        let all = || Some((database?, replaying?, id?, said?, format?));
        let (database, replaying, id, said, format) = mistakes.or(all())?;
        let database = open(&database).await?;
        let plan = find(&database, id).await?;
        match plan.state {
            State::Ready | State::Running => {}
            State::Unfinished => {
                let what = format!("plan {id} is unfinished: its list is being made, or who made it has gone");
                return Err(Failure::new(what, "wait for it, or draw up another with `turnstile dead-letters replay`"));
            }
            // Somebody else was quicker.
            State::Done => return report::say_done(&database, &plan, format).await,
            State::Cancelled => {
                let what = format!("plan {id} is {} already", plan.state.as_str());
                return Err(Failure::new(what, "draw up another with `turnstile dead-letters replay`"));
            }
        }
        let replay = replaying.replay(database, said).await?;
        report::run(&replay, &plan, None, format).await
    }

    async fn cancel(self, given: &Given) -> Result<Outcome, Failure> {
        let mut mistakes = given.mistakes();
        let (database, id) = (given.database(1, &mut mistakes), self.read(&mut mistakes));
        let (said, format) = (said(given, &mut mistakes), given.read(&rows::FORMAT, &mut mistakes));
        let all = || Some((database?, id?, said?, format?));
        let (database, id, said, format) = mistakes.or(all())?;
        let database = open(&database).await?;
        find(&database, id).await?;
        let cancel = async |transaction: &Transaction| replay_plans::cancel(transaction, id, &said).await;
        let cancelled = database.transaction(cancel).await?;
        let plan = find(&database, id).await?;
        match format {
            Format::Json => say(&plan_json(&plan).to_string())?,
            Format::Text if cancelled => say(&format!("plan {id} is cancelled"))?,
            Format::Text => say(&format!("plan {id} is {} already", plan.state.as_str()))?,
        }
        Ok(if cancelled { Outcome::Done } else { Outcome::Failed })
    }
}
