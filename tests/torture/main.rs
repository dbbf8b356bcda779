//! Kills real loaders at every edge of their path, or lets them run for hours among faults, and compares what was sent
//! with what the tables hold.
//!
//! `make torture` and `make soak` run it. It needs a build with failpoints.

// clippy.toml allows these in functions marked as tests; all of this is one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr
)]

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of the guarantees use the rest")]
mod support;

mod chain;
mod cluster;
mod deck;
mod kills;
mod soak;
mod world;

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
struct Args {
    /// Decides everything that is drawn; a failure repeats from it, up to the order in which the system runs processes
    #[arg(long)]
    seed: Option<u64>,

    /// Where the report is written, beside standard output
    #[arg(long, default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/torture.md"))]
    report: PathBuf,

    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Kill loaders, replays and migrations at every edge of their path
    Kills(kills::Args),
    /// Kill loaders and relays from end to end, crash the server, and compare both ends
    Chain(chain::Args),
    /// Kill servers of a Citus cluster while loaders load, or cut transactions between them
    Cluster(cluster::Args),
    /// Let loaders run among faults for hours, and see whether they grow
    Soak(soak::Args),
}

/// What came of it, as text in Markdown and in one word.
trait Outcome: Display {
    /// Whether every message is where it belongs, and everything that was to happen did.
    fn promise_held(&self) -> bool;
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    let report = match args.what {
        What::Kills(args) => kills::run(&args, seed).await,
        What::Chain(args) => chain::run(&args, seed).await,
        What::Cluster(args) => cluster::run(&args, seed).await,
        What::Soak(args) => soak::run(&args, seed).await,
    };
    println!("{report}");
    std::fs::write(&args.report, format!("{report}\n")).expect("the report can be written");
    match report.promise_held() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
