//! The program: parses, builds, dispatches, and turns the end into an exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use turnstile::cli::{Cli, Command, Outcome};

fn main() -> ExitCode {
    let cli = Cli::parse();
    turnstile::telemetry::start();
    let ended = run(cli.command);
    match ended {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Ok(Outcome::WrongUse) => ExitCode::from(2),
        Err(error) => {
            // With standard error closed, the exit code alone speaks.
            writeln!(std::io::stderr(), "turnstile: {error:#}").unwrap_or_default();
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(command.run());
    // Whoever asked for the end is not kept waiting by a name look-up on a thread that cannot be stopped.
    runtime.shutdown_background();
    ended
}
