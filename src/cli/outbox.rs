//! `turnstile outbox`.

mod failures;
mod prune;
mod replay;
mod status;
mod text;

use clap::Subcommand;

use super::migrate::open;
use super::{Failure, Outcome};
use crate::config::Given;

/// What `turnstile outbox` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show how far each sink has come, what waits, and what keeps it waiting
    Status(status::Args),
    /// List, retry or discard events that a sink refuses
    Failures(failures::Args),
    /// Carry events of a range again, with the same ids
    Replay(replay::Args),
    /// Drop the partitions of the outbox that every sink has behind it
    Prune(prune::Args),
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        match self.command {
            Command::Status(args) => args.run(given).await,
            Command::Failures(args) => args.run(given).await,
            Command::Replay(args) => args.run(given).await,
            Command::Prune(args) => args.run(given).await,
        }
    }
}
