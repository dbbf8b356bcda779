//! What is next: all edges and some freezes in a drawn order, over and over, so that each gets its share.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use turnstile::failpoint::{Edge, Side, Step};

/// A loader that is killed at a later visit of an edge has work behind it, and some in hand.
const LATEST_VISIT: u64 = 4;

/// How many loaders are stopped while one is killed at each edge.
const FREEZES: usize = 6;

/// What happens to processes.
pub(crate) struct Deck {
    random: StdRng,
    left: Vec<Option<Edge>>,
}

/// What happens to one process.
#[derive(Clone, Copy)]
pub(crate) enum Card {
    Kill(Plan),
    Freeze,
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

    pub(crate) fn draw(&mut self) -> Card {
        if self.left.is_empty() {
            self.left = edges().map(Some).chain([None; FREEZES]).collect();
            self.left.shuffle(&mut self.random);
        }
        let Some(edge) = self.left.pop().expect("there are edges") else { return Card::Freeze };
        let visit = match visited_often(edge.step) {
            true => self.random.random_range(1..=LATEST_VISIT),
            false => 1,
        };
        Card::Kill(Plan { edge, visit })
    }

    /// An edge at which nobody was killed comes again, last.
    pub(crate) fn put_back(&mut self, edge: Edge) {
        self.left.insert(0, Some(edge));
    }
}

/// Every edge that a process comes to. It comes to the end of a shutdown only if it overruns.
pub(crate) fn edges() -> impl Iterator<Item = Edge> {
    Edge::of_loaders().filter(|edge| *edge != Edge { step: Step::Shutdown, side: Side::After })
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
        | Step::ReplayForesee
        | Step::ReplayTake
        | Step::ReplayClaim
        | Step::ReplayResolve
        | Step::RequeueRead
        | Step::RequeueSend
        | Step::RequeuedTake
        | Step::RequeuedResolve
        | Step::Import
        | Step::Relay(_)
        | Step::Retain(_)
        | Step::Archive(_) => false,
    }
}
