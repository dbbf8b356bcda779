//! The console over plain HTTP: what it says, to whom, and what it refuses.

mod acts;
mod attacks;
mod editing;
mod figures;
mod guards;
mod loaders;
mod pages;
mod plans;
mod requeue;
mod roles;
mod world;

pub(crate) use self::world::Browser;
