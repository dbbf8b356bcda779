//! The guarantees, each checked from outside.

// clippy.toml allows these in functions marked as tests, not in what those stand on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr
)]

mod support;

mod ambiguous;
mod audit;
mod batch;
mod claims;
mod comparison;
mod config;
mod decode;
mod demo;
mod endpoint;
mod failpoints;
mod identity;
mod keyring;
mod keys;
mod lane;
mod lanes;
mod load;
mod local_queue;
mod logging;
mod masking;
#[cfg(feature = "failpoints")]
mod mutants;
mod nth_failure;
mod poolers;
mod postgresql;
mod replay;
mod network;
mod processes;
mod proxy;
mod queue_faults;
mod readme;
mod schema;
mod send;
mod check;
mod grants;
mod roles;
mod unfit;
mod help;
mod sqs;
mod other_servers;
mod tidy;
mod stored;
mod stream;
mod trouble;
mod upgrade;
