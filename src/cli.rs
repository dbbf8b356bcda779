//! The command line: what can be typed, and which job it starts.

#[cfg(feature = "archive")]
pub mod archive;
pub mod audit;
pub mod check;
pub mod completions;
pub mod config;
#[cfg(feature = "console")]
pub mod console;
pub mod dead_letters;
#[cfg(feature = "demo")]
pub mod demo;
#[cfg(all(feature = "console", feature = "demo"))]
mod demo_console;
mod faces;
mod failure;
mod help;
pub mod health;
pub mod keys;
pub mod loaders;
#[cfg(feature = "demo")]
pub mod local_queue;
pub mod man;
pub mod mask;
pub mod migrate;
pub mod outbox;
mod prefix;
mod records;
pub mod relay;
mod retain;
mod run;
pub mod send;
mod terminal;
#[cfg(feature = "top")]
pub mod top;
pub mod unmask;

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use tracing::level_filters::LevelFilter;

pub use self::failure::{Failure, tell};
use crate::config::rows::{self, LogFormat};
use crate::config::{Given, Mistakes};
use crate::database::Database;
use crate::database::migrate::newest_version;
use crate::keyring::Keyring;
use crate::keys as keys_of_tables;
use crate::mask::{BASE64_IS_NO_MASK, MaskKind};
use crate::shutdown::Signal;
use crate::telemetry::{self, Log};

/// How a command ended; an error that it returns ends with 1 as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what was asked: exit code 0.
    Done,
    /// It ran, and what it found or did is a failure, which it has already said: exit code 1.
    Failed,
    /// A signal ended it before it was done, which it has already said.
    EndedBy(Signal),
}

/// Turnstile loads login events from Amazon SQS into PostgreSQL: masked, and each exactly once.
#[derive(Debug, Parser)]
#[command(name = "turnstile", propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
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
    /// Carry the events of loaded logins on to a queue, or to standard output
    Relay(relay::Args),
    /// Ask a running loader whether it is alive, or ready
    Health(health::Args),
    /// Watch running loaders
    #[cfg(feature = "top")]
    Top(top::Args),
    /// Check before a run: queue, database, tables, grants, durability, TLS, keys, clocks
    Check(check::Args),
    /// Create the tables, or upgrade them to this version
    Migrate(migrate::Args),
    /// Send a file of logins, one per line, to the queue
    Send(send::Args),
    /// Serve an SQS-compatible queue from memory
    #[cfg(feature = "demo")]
    LocalQueue(local_queue::Args),
    /// Make a keyring, list its key ids, or register them with the tables
    Keys(keys::Args),
    /// Recover masked values
    Unmask(unmask::Args),
    /// Mask clear values, to look for them in the tables
    Mask(mask::Args),
    /// List, show, replay or discard dead letters
    DeadLetters(dead_letters::Args),
    /// List the loaders, or pause them
    Loaders(loaders::Args),
    /// See how the sinks of the outbox stand, look after refused events, and prune
    Outbox(outbox::Args),
    /// Let what is older than it is kept leave: events, logins, claims
    Retain(retain::Args),
    /// Keep what retention has taken off in an archive of Parquet, and drop it then
    #[cfg(feature = "archive")]
    Archive(archive::Args),
    /// Serve pages for operators: what is wrong, where each message is, and what was done about it
    #[cfg(feature = "console")]
    Console(console::Args),
    /// Prove from the tables that every message is recorded exactly once
    Audit(audit::Args),
    /// Show the settings, and where each comes from
    Config(config::Args),
    /// Print the completions of a shell
    Completions(completions::Args),
    /// Print the manual page, or write one page per command
    Man(man::Args),
}

/// A command with everything that was given to it.
pub struct Invocation {
    command: Command,
    given: Given,
}

impl Invocation {
    /// What was typed, with the environment. Where it makes no sense, or asks for help, the program ends here.
    pub fn typed() -> Self {
        let typed = command().get_matches();
        let cli = Cli::from_arg_matches(&typed).unwrap_or_else(|error| error.exit());
        Self { command: cli.command, given: Given::new(innermost(&typed), std::env::vars_os()) }
    }

    /// Starts the log, as it was asked for, and the traces of a loader, which the runtime sends in which this is called.
    pub fn start_log(&self) {
        let mut unheeded = Mistakes::default();
        let (level, format) = (
            self.given.log_level(&mut unheeded),
            self.given.read(&rows::LOG_FORMAT, &mut unheeded).unwrap_or_default(),
        );
        terminal::choose(self.given.read(&rows::COLOR, &mut unheeded).unwrap_or_default());
        let is_terminal = std::io::stderr().is_terminal();
        telemetry::start(&Log {
            level: level.unwrap_or(LevelFilter::INFO),
            is_json: match format {
                LogFormat::Text => false,
                LogFormat::Json => true,
                LogFormat::Auto => !is_terminal,
            },
            has_colours: terminal::in_colour(is_terminal),
            directives: self
                .given
                .variable("RUST_LOG")
                .map(|text| text.to_string_lossy().into_owned())
                .unwrap_or_default(),
            has_traces: matches!(self.command, Command::Run(_)),
        });
        if self.given.is_empty_variable("RUST_LOG") {
            tracing::info!("RUST_LOG is empty: the log is as --log-level says");
        }
        for oddity in self.given.oddities() {
            tracing::warn!("{oddity}");
        }
    }

    /// Does it.
    ///
    /// # Errors
    ///
    /// [`Failure`]: what kept the job from its end, or what is wrong with the settings.
    pub async fn run(self) -> Result<Outcome, Failure> {
        let given = &self.given;
        match self.command {
            #[cfg(all(feature = "console", feature = "demo"))]
            Command::Demo(_) if given.is_on(&rows::DEMO_CONSOLE) => demo_console::run(given).await,
            #[cfg(feature = "demo")]
            Command::Demo(args) => args.run(given).await,
            Command::Run(args) => args.run(given).await,
            Command::Relay(args) => args.run(given).await,
            Command::Health(args) => args.run(given).await,
            #[cfg(feature = "top")]
            Command::Top(args) => args.run(given).await,
            Command::Check(args) => args.run(given).await,
            Command::Migrate(args) => args.run(given).await,
            Command::Send(args) => args.run(given).await,
            #[cfg(feature = "demo")]
            Command::LocalQueue(args) => args.run(given).await,
            Command::Keys(args) => args.run(given).await,
            Command::Unmask(args) => args.run(given).await,
            Command::Mask(args) => args.run(given).await,
            Command::DeadLetters(args) => args.run(given).await,
            Command::Loaders(args) => args.run(given).await,
            Command::Outbox(args) => args.run(given).await,
            Command::Retain(args) => args.run(given).await,
            #[cfg(feature = "archive")]
            Command::Archive(args) => args.run(given).await,
            #[cfg(feature = "console")]
            Command::Console(args) => args.run(given).await,
            Command::Audit(args) => args.run(given).await,
            Command::Config(args) => args.run(given).await,
            Command::Completions(args) => args.run().await,
            Command::Man(args) => args.run().await,
        }
    }
}

/// What was typed for the command itself.
fn innermost(typed: &ArgMatches) -> &ArgMatches {
    typed.subcommand().map_or(typed, |(_, inner)| innermost(inner))
}

/// The program's whole command line: what the commands take of their own, the settings, exit codes and examples.
pub fn command() -> clap::Command {
    with_help(settled_command(), "")
}

/// The command line without what only its help adds.
fn settled_command() -> clap::Command {
    static VERSION: OnceLock<String> = OnceLock::new();
    let version = VERSION.get_or_init(|| {
        let (version, commit) = (env!("CARGO_PKG_VERSION"), env!("TURNSTILE_COMMIT"));
        format!("{version} (commit {commit}, needs tables of version {})", newest_version())
    });
    with_settings(Cli::command().version(version.as_str()), "")
}

fn with_settings(command: clap::Command, path: &str) -> clap::Command {
    let taken = rows::ALL.iter().filter(|row| row.is_of(path));
    // What only those need who carry events on is told by the long help of the other commands.
    let taken = taken.filter_map(|row| {
        let is_aside = row.heading() == rows::RELAY_HEADING && path != "relay";
        Some(row.argument()?.hide_short_help(is_aside))
    });
    command.args(taken).mut_subcommands(|inner| below(path, inner, with_settings))
}

fn with_help(command: clap::Command, path: &str) -> clap::Command {
    let words = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let command = match help::of(path) {
        Some(told) => command.after_long_help(told.below(&words)),
        None => command,
    };
    command.mut_subcommands(|inner| below(path, inner, with_help))
}

fn below(path: &str, inner: clap::Command, change: fn(clap::Command, &str) -> clap::Command) -> clap::Command {
    let path = format!("{path} {}", inner.get_name());
    change(inner, path.trim_start())
}

/// Says where the mask hides nothing.
fn warn_of_weak_mask(mask: MaskKind) {
    if mask == MaskKind::Base64 {
        tracing::warn!("--mask {BASE64_IS_NO_MASK}");
    }
}

/// Refuses a keyring, and a way of masking, that differ from what the tables are written with.
async fn refuse_other_keys(database: &Database, keyring: &Keyring, mask: Option<MaskKind>) -> Result<(), Failure> {
    let registered = keys_of_tables::registered(database).await?;
    Ok(keys_of_tables::compare(&registered, keyring, mask)?)
}
