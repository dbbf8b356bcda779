//! The program: parses, builds, dispatches, and turns the end into an exit code.

use std::process::ExitCode;

use turnstile::cli::{self, Invocation, Outcome};

fn main() -> ExitCode {
    let invocation = Invocation::typed();
    invocation.start_log();
    cli::tell(run(invocation))
}

fn run(invocation: Invocation) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(invocation.run());
    // Whoever asked for the end is not kept waiting by a name look-up on a thread that cannot be stopped.
    runtime.shutdown_background();
    ended
}
