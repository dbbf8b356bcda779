//! What became of the letters of a plan.

use std::collections::BTreeMap;

use crate::table::replay_plan_letters::{Compared, Fate, Obstacle};

/// What became of the letters, or is foreseen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Letters whose logins are loaded now.
    pub replayed: u64,
    /// Letters whose logins another message had brought: they are resolved, and nothing is loaded.
    pub absorbed: u64,
    /// Letters that stay open, by what stands in their way.
    pub open: BTreeMap<Obstacle, u64>,
    /// Letters that somebody else resolved after the plan was drawn up.
    pub no_longer_open: u64,
    /// Letters of which nothing has become.
    pub left: u64,
}

impl Report {
    /// Of what became.
    pub fn of(compared: &[Compared]) -> Self {
        let mut report = Self::default();
        for Compared { became, letters, .. } in compared {
            match became {
                Some(fate) => report.count(fate, *letters),
                None => report.left += letters,
            }
        }
        report
    }

    /// Of what was foreseen.
    pub fn foreseen(compared: &[Compared]) -> Self {
        let mut report = Self::default();
        compared.iter().for_each(|Compared { foreseen, letters, .. }| report.count(foreseen, *letters));
        report
    }

    /// Counts letters.
    pub(super) fn count(&mut self, fate: &Fate, letters: u64) {
        match fate {
            Fate::Replayed => self.replayed += letters,
            Fate::Absorbed => self.absorbed += letters,
            Fate::StaysOpen(obstacle) => *self.open.entry(obstacle.clone()).or_default() += letters,
            Fate::NoLongerOpen => self.no_longer_open += letters,
        }
    }

    /// Of how many letters something became.
    pub fn seen(&self) -> u64 {
        self.replayed + self.absorbed + self.stay_open() + self.no_longer_open
    }

    /// How many letters stay open.
    pub fn stay_open(&self) -> u64 {
        self.open.values().sum()
    }
}
