//! The pure core of Turnstile: what it decides and computes, as functions of their arguments.
//!
//! It has no clock, environment, network, database or log. Its Cargo.toml proves most of that; `tests/tidy.rs` forbids what
//! the standard library has of it. The modules are listed in the order in which a message meets them.

pub mod message;
pub mod stream;
pub mod login;
pub mod rejection;
pub mod decode;
pub mod fault;
pub mod seal;
pub mod mask;
pub mod verdict;
pub mod batch;
pub mod retry;
