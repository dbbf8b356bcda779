//! `turnstile outbox`.

mod prune;

use clap::Subcommand;

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
    /// Drop the partitions of the outbox that every sink has behind it
    Prune(prune::Args),
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        match self.command {
            Command::Prune(args) => args.run(given).await,
        }
    }
}
