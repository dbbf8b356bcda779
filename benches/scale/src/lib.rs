//! A simulation of Turnstile past the machines on which it can be measured: loaders, a queue with the limits of Amazon SQS, and
//! a PostgreSQL, from event to event. The same seed gives the same figures.
//!
//! `measured` holds the model against docs/PERFORMANCE.md; what it says of larger worlds stands in docs/SCALE.md.

pub mod clock;
pub mod cores;
pub mod random;

pub mod database;
pub mod queue;

pub mod figures;
pub mod lane;
mod work;
pub mod world;

pub mod measured;
pub mod prices;
pub mod scenario;

pub mod plan;

pub mod report;

pub mod curve;
