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

// The pure core: bodies, masks, hashes, batches.
mod decode;
mod event;
mod stream;
mod masking;
mod identity;
mod batch;
mod keyring;

// One transaction: claims, rows, events, dead letters.
mod load;
mod claims;
mod key_time;
mod trouble;
mod stored;
mod outbox;
mod schema;
mod keys;

// The whole path, from the queue to the table.
mod lane;
mod lanes;
mod storm;
mod loaders;
mod processes;
mod poolers;
mod sqs;
mod other_servers;
mod logging;
mod metrics;
mod supervisor;
mod prometheus;
#[cfg(feature = "traces")]
mod traces;
#[cfg(feature = "top")]
mod top;

// Dead letters, and the proof from the tables.
mod relay;
mod outbox_commands;
mod sinks;
mod place;
mod replay;
mod plans;
mod requeue;
mod walk;
mod history;
mod letters;
mod carried;
#[cfg(feature = "archive")]
mod archive;
mod audit;
mod retention;
mod citus;
mod comparison;

// What operators look at.
#[cfg(feature = "console")]
mod console;

// What may be done, and what is refused.
mod check;
mod unfit;
mod grants;
mod roles;
mod endpoint;

// Faults and crashes.
mod ambiguous;
mod nth_failure;
mod postgresql;
mod network;
mod queue_faults;
mod proxy;
mod failpoints;
#[cfg(feature = "failpoints")]
mod mutants;
mod upgrade;

// The command line, the demo, the documents, the source.
mod config;
mod help;
mod errors;
mod send;
mod demo;
mod local_queue;
mod readme;
mod manifests;
mod alerts;
mod tidy;
