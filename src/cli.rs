//! The command line: what can be typed, and which job it starts.

pub mod audit;
pub mod check;
pub mod completions;
pub mod dead_letters;
#[cfg(feature = "demo")]
pub mod demo;
pub mod keys;
#[cfg(feature = "demo")]
pub mod local_queue;
pub mod man;
pub mod migrate;
pub mod run;
pub mod send;
pub mod unmask;

use std::io::Write;

use clap::{Parser, Subcommand};

use crate::config::Mistakes;
use crate::database::Database;
use crate::keyring::Keyring;
use crate::keys as keys_of_tables;
use crate::mask::MaskKind;

/// How a command ended; an error that it returns ends with 1 as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what was asked: exit code 0.
    Done,
    /// It ran, and what it found or did is a failure, which it has already said: exit code 1.
    Failed,
    /// The settings or arguments are wrong, which it has already said: exit code 2.
    WrongUse,
}

/// Turnstile loads login events from Amazon SQS into PostgreSQL: masked, and each exactly once.
#[derive(Debug, Parser)]
#[command(
    name = "turnstile",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What Turnstile can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// See it work: a queue, a PostgreSQL, faults, a crash, and a report
    #[cfg(feature = "demo")]
    Demo(demo::Args),
    /// Load messages from the queue until told to stop
    Run(run::Args),
    /// Look before running: queue, database, schema, grants, durability, TLS, keys, clocks
    Check(check::Args),
    /// Make the database's tables, or bring them to this version
    Migrate(migrate::Args),
    /// Send a file of message bodies, one a line, to the queue
    Send(send::Args),
    /// Serve an SQS-compatible queue from memory
    #[cfg(feature = "demo")]
    LocalQueue(local_queue::Args),
    /// Make a keyring, list its key ids, or register them with the tables
    Keys(keys::Args),
    /// Recover masked values
    Unmask(unmask::Args),
    /// Look at dead letters and load them again
    DeadLetters(dead_letters::Args),
    /// Prove the promise from the tables
    Audit(audit::Args),
    /// Print the completions of a shell
    Completions(completions::Args),
    /// Print the manual page, or write one page a command
    Man(man::Args),
}

impl Command {
    /// Starts the job.
    ///
    /// # Errors
    ///
    /// Whatever kept the job from its end; bad settings are an [`Outcome`], not an error.
    pub async fn run(self) -> anyhow::Result<Outcome> {
        match self {
            #[cfg(feature = "demo")]
            Self::Demo(args) => args.run().await,
            Self::Run(args) => args.run().await,
            Self::Check(args) => args.run().await,
            Self::Migrate(args) => args.run().await,
            Self::Send(args) => args.run().await,
            #[cfg(feature = "demo")]
            Self::LocalQueue(args) => args.run().await,
            Self::Keys(args) => args.run().await,
            Self::Unmask(args) => args.run().await,
            Self::DeadLetters(args) => args.run().await,
            Self::Audit(args) => args.run().await,
            Self::Completions(args) => args.run().await,
            Self::Man(args) => args.run().await,
        }
    }
}

/// Refuses a keyring, and a way of masking, that differ from what the tables are written with.
async fn refuse_other_keys(database: &Database, keyring: &Keyring, mask: Option<MaskKind>) -> anyhow::Result<()> {
    let registered = keys_of_tables::registered(database).await?;
    keys_of_tables::compare(&registered, keyring, mask)
        .map_err(|mismatch| anyhow::anyhow!("{mismatch}: {}", mismatch.way_out()))
}

/// Says all that is wrong with the settings.
fn refuse(mistakes: &Mistakes) -> anyhow::Result<Outcome> {
    let stderr = std::io::stderr();
    writeln!(stderr.lock(), "{mistakes}")?;
    Ok(Outcome::WrongUse)
}

/// Writes a line of a command's answer to standard output.
fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}")?;
    Ok(())
}
