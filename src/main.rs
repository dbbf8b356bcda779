//! The program: parses, builds, dispatches, and turns the end into an exit code.

use std::process::ExitCode;

use nix::sys::resource::{Resource, setrlimit};
use turnstile::cli::{self, Failure, Invocation, Outcome};
use turnstile::telemetry::traces;

fn main() -> ExitCode {
    let invocation = Invocation::typed();
    cli::tell(run(invocation))
}

/// Keys and passwords are in memory: no core dump holds them, and no other process of the same user reads them there.
/// Debuggers may attach to a test build.
fn keep_memory_private() {
    let without_core = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    #[cfg(target_os = "linux")]
    let without_core = match cfg!(debug_assertions) {
        true => without_core,
        false => without_core.and_then(|()| nix::sys::prctl::set_dumpable(false)),
    };
    if let Err(error) = without_core {
        let remedy = "forbid core dumps (ulimit -c 0)";
        tracing::warn!(%error, remedy, "a core dump of this process would hold its keys");
    }
}

fn run(invocation: Invocation) -> Result<Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::of_system("starting the program's threads"))?;
    let within = runtime.enter();
    invocation.start_log();
    drop(within);
    keep_memory_private();
    let ended = runtime.block_on(invocation.run());
    traces::end();
    // The end does not wait for a name look-up on a thread that cannot be stopped.
    runtime.shutdown_background();
    ended
}
