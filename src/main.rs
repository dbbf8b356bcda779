//! The program: parses, builds, dispatches, and turns the end into an exit code.

use std::process::ExitCode;

use nix::sys::resource::{Resource, setrlimit};
use turnstile::cli::{self, Invocation, Outcome};

fn main() -> ExitCode {
    let invocation = Invocation::typed();
    invocation.start_log();
    keep_memory_private();
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
        tracing::warn!(%error, "a core dump of this process would hold its keys: forbid core dumps (ulimit -c 0)");
    }
}

fn run(invocation: Invocation) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(invocation.run());
    // Whoever asked for the end is not kept waiting by a name look-up on a thread that cannot be stopped.
    runtime.shutdown_background();
    ended
}
