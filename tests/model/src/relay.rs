//! A model of `turnstile relay`, which carries the events of `outbox` on to the sinks.
//!
//! Read it in the order in which an event meets it: a transaction writes it ([`outbox`]), the relays keep books on what
//! they carry ([`books`]), and carry it ([`worker`], and in order [`ordered`]) to the sinks ([`sink`]); what all sinks have is dropped
//! ([`retention`]). A server that crashes takes back what was not flushed ([`server`]).
//!
//! As in the model of the loader there are moves, faults, and what the operator does; without faults no path is
//! endless.

pub mod world;
pub mod mutant;
pub mod outbox;
pub mod books;
pub mod sink;
pub mod worker;
pub mod ordered;
pub mod retention;
pub mod server;
pub mod protocol;
pub mod properties;
mod reached;
pub mod worlds;
