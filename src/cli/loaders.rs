//! `turnstile loaders`.

mod change;
mod list;

use clap::Subcommand;

use super::migrate::open;
use super::{Failure, Outcome};
use crate::config::Given;

/// What `turnstile loaders` takes.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "\
Each process of `turnstile run` keeps one row in the database, which it renews twice a minute. One that was not seen for longer \
was killed, or does not reach the database. After a day it is forgotten."
)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Let loaders receive nothing until they are resumed; what they have in hand is loaded
    #[command(after_long_help = "\
Without --queue and --loader, all loaders are paused. A loader that is paused is healthy, and goes on by itself when it is \
resumed. The queue keeps its messages meanwhile, but no longer than its retention.")]
    Pause(change::Args),
    /// Let loaders receive again
    #[command(after_long_help = "\
Ends the pause of exactly what is named: without --queue and --loader, the one of all loaders. Other pauses stay in force.")]
    Resume(change::Args),
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        match self.command {
            None => list::run(given).await,
            Some(Command::Pause(args)) => args.run(given, change::Kind::Pause).await,
            Some(Command::Resume(args)) => args.run(given, change::Kind::Resume).await,
        }
    }
}
