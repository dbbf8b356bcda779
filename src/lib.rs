//! Turnstile loads JSON login events from an Amazon SQS queue into PostgreSQL: masked, and each exactly once.
//!
//! A message takes this way, and the modules are listed in the order in which it meets them:
//!
//! ```text
//! receive → decode → mask → batch → load (one transaction) → acknowledge
//! ```
//!
//! # Invariants
//!
//! - A message is deleted from the queue only after the commit that records it: [`acknowledge::acknowledge`] takes a
//!   [`load::Committed`], and only [`load`] can make one.
//! - After [`mask`] no clear address, device id or body exists: a batch holds masked logins and sealed bodies.
//! - No type that holds a body, a clear login, a key or a receipt prints it.
//! - The pure core ([`turnstile_core`]: `message`, `stream`, `login`, `rejection`, `decode`, `fault`, `seal`, `mask`,
//!   `verdict`, `batch`, `retry`) knows no clock, environment, network, database or log. What it lacks is not in its Cargo.toml.
//! - A retired partition is dropped only after it was read back from the archive and recorded: its drop takes a
//!   [`table::retired::Recorded`].
//! - What a login is, its keys and its columns, is said in [`stream::LOGIN`] only.
//! - SQL over our tables lives in `table` only, each table in a room of its own; the queue knows no table.

// The pure core: a crate of its own, in crates/core.
pub use turnstile_core::{batch, decode, fault, login, mask, message, rejection, seal, stream, verdict};

// How long to wait, where the core says that a failure passes.
pub mod retry;

// What the services of AWS have in common.
pub mod aws;

// The steps around it.
pub mod queue;
pub mod receive;
pub mod lease;
pub mod database;
pub mod table;
pub mod load;
pub mod acknowledge;
pub mod sink;
pub mod detach;

// The jobs.
pub mod lane;
pub mod run;
pub mod send;
pub mod relay;
pub mod prune;
pub mod retention;
pub mod distribution;
#[cfg(feature = "archive")]
pub mod archive;
pub mod replay;
pub mod discard;
pub mod requeue;
pub mod carry;
pub mod drain;
pub mod audit;
pub mod keys;
pub mod check;
#[cfg(feature = "demo")]
pub mod demo;

// What they all stand on.
pub mod keyring;
pub mod readable;
pub mod records;
pub mod config;
pub mod shutdown;
pub mod metrics;
pub mod spans;
pub mod telemetry;
pub mod serve;
pub mod http;
#[cfg(feature = "console")]
pub mod console;
#[cfg(feature = "top")]
pub mod top;
pub mod failpoint;
pub mod outage;
pub mod pause;
pub mod storm;
pub mod cli;
