//! Which edge is next: all of them in a drawn order, over and over, so that each gets its share.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use turnstile::failpoint::{Edge, Side, Step};

/// A loader that is killed at a later visit of an edge has work behind it, and some in hand.
const LATEST_VISIT: u64 = 4;

/// Edges to be killed at.
pub(crate) struct Deck {
    random: StdRng,
    left: Vec<Edge>,
}

/// A kill to come.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) edge: Edge,
    /// At which visit of the edge.
    pub(crate) visit: u64,
}

impl Plan {
    /// As the program takes it.
    pub(crate) fn failpoint(&self) -> String {
        format!("{}:{}", self.edge, self.visit)
    }
}

impl Deck {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), left: Vec::new() }
    }

    pub(crate) fn draw(&mut self) -> Plan {
        if self.left.is_empty() {
            self.left = edges().collect();
            self.left.shuffle(&mut self.random);
        }
        let edge = self.left.pop().expect("there are edges");
        let visit = match visited_often(edge.step) {
            true => self.random.random_range(1..=LATEST_VISIT),
            false => 1,
        };
        Plan { edge, visit }
    }
}

/// Every edge that a process comes to. It comes to the end of a shutdown only if it overruns.
pub(crate) fn edges() -> impl Iterator<Item = Edge> {
    Edge::all().filter(|edge| *edge != Edge { step: Step::Shutdown, side: Side::After })
}

fn visited_often(step: Step) -> bool {
    match step {
        Step::Receive
        | Step::Claim
        | Step::Rows
        | Step::Events
        | Step::Compare
        | Step::Commit
        | Step::Delete
        | Step::Return
        | Step::DeadLetters => true,
        Step::Identities
        | Step::Migrate
        | Step::Renew
        | Step::Shutdown
        | Step::ReplayTake
        | Step::ReplayClaim
        | Step::ReplayResolve => false,
    }
}
