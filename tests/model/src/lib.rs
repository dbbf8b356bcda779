//! A model of Turnstile's protocol: small enough to visit every state of it, close enough to read beside the loader.
//!
//! There are two: one of the loader, and, in [`relay`], one of what carries the events on. [`exploration`] visits both.
//!
//! Read it in the order in which a message meets it; what each part stands for in the loader is in its first line.
//! `docs/PROTOCOL.md` says what is modelled, what is not, and what came out.
//!
//! Three kinds of things happen in a state: moves, which need nobody; faults, of which there are so many; and what the
//! operator does. Without faults everything moves towards its end, so that no path is endless, and "sooner or later" is
//! a property of the states in which nothing moves.

pub mod world;
pub mod mutant;
pub mod queue;
pub mod lane;
pub mod load;
pub mod attempt;
pub mod waits;
pub mod database;
pub mod replay;
pub mod importer;
pub mod operator;
pub mod protocol;
pub mod properties;
mod reached;
pub mod worlds;
pub mod exploration;
pub mod set;
pub mod relay;
