//! What to run at a rate: the least that leaves room.

use crate::figures::Figures;
use crate::scenario::{Bought, DATABASES, Scenario};

/// Logins a second of the plans.
pub const RATES: [f64; 3] = [10.0, 1_000.0, 100_000.0];

/// The most that one queue and its database are planned for: about what one PostgreSQL was measured with.
const OF_ONE_DATABASE: f64 = 20_000.0;
/// From so much on, a loader has four lanes, and two below.
const FOUR_LANES_FROM: f64 = 10_000.0;
/// How many times what comes is loaded with one loader less, so that a backlog goes away.
const CATCHES_UP: f64 = 2.0;
/// The share of the database's cores and of its disk that may be taken: the rest is for relays, audits, retention and people.
const SHARE: f64 = 0.25;
/// The most loaders that are tried.
const MOST_LOADERS: usize = 64;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Logins a second in all.
    pub rate: f64,
    /// Queues, each with loaders and a database of its own.
    pub parts: usize,
    /// One of them.
    pub part: Scenario,
    /// What is seen of one of them at its rate.
    pub figures: Figures,
    /// What one of them loads at most, with one loader less.
    pub most: f64,
}

/// The least loaders, at least two, and the smallest database that leave room at this rate; none, if none does.
pub fn plan(rate: f64) -> Option<Plan> {
    let parts = (rate / OF_ONE_DATABASE).ceil().max(1.0);
    let of_one = rate / parts;
    let lanes = if of_one < FOUR_LANES_FROM { 2 } else { 4 };
    DATABASES.iter().find_map(|database| {
        let (part, most) = least(of_one, lanes, *database)?;
        let figures = part.at(of_one);
        let leaves_room = figures.database_busy <= SHARE && figures.disk_busy <= SHARE;
        leaves_room.then_some(Plan { rate, parts: parts as usize, part, figures, most })
    })
}

fn least(rate: f64, lanes: usize, database: Bought) -> Option<(Scenario, f64)> {
    (2..=MOST_LOADERS).find_map(|loaders| {
        let part = Scenario { lanes, ..Scenario::of(loaders, database) };
        let most = Scenario { loaders: loaders - 1, ..part }.full().rate;
        (most >= CATCHES_UP * rate).then_some((part, most))
    })
}
