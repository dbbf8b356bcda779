//! What came of it, in Markdown.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use stand_ins::sqs::{FaultCounts, Faults, Served};
use turnstile::audit::comparison::Discrepancies;

use super::mischief::{Done, Mischief};
use super::{Outcomes, Tally};
use crate::Outcome;
use crate::support::idleness::STUCK_AFTER;

/// In fewer kills not everything may come to happen that can: what did not is named, and is no failure.
pub(super) const LONG_RUN: u64 = 150;

pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) took: Duration,
    pub(crate) processes: u64,
    pub(crate) messages: u64,
    pub(crate) tally: Tally,
    /// Edges at which nobody was killed.
    pub(crate) missed: Vec<String>,
    pub(crate) outcomes: Outcomes,
    /// Connections that were cut, and how many of them in a COPY.
    pub(crate) cuts: (u64, u64),
    pub(crate) has_pooler: bool,
    pub(crate) mischiefs: BTreeMap<Mischief, Done>,
    pub(crate) queue_faults: FaultCounts,
    pub(crate) served: Served,
    pub(crate) left_in_queue: usize,
    pub(crate) longest_idleness: Duration,
    pub(crate) discrepancies: Discrepancies,
}

impl Outcome for Report {
    fn promise_held(&self) -> bool {
        self.discrepancies.none()
            && self.left_in_queue == 0
            && !self.is_stuck()
            && (self.tally.kills() < LONG_RUN || self.left_out().is_empty())
    }
}

impl Report {
    fn is_stuck(&self) -> bool {
        self.longest_idleness > STUCK_AFTER
    }

    /// What did not happen: of that nothing is proven.
    fn left_out(&self) -> Vec<String> {
        let faults = self.faults().into_iter().chain(self.troubles());
        let never = faults.filter(|(_, times)| *times == 0).map(|(fault, _)| fault);
        self.missed.iter().map(|edge| format!("a kill at {edge}")).chain(never).collect()
    }

    /// What others did to loaders and to their database, and how often it met them.
    fn troubles(&self) -> Vec<(String, u64)> {
        let Tally { frozen, pooled, schemes_changed, .. } = &self.tally;
        let Outcomes { absorbed, contradicting, refused } = self.outcomes;
        let met = |mischief| self.mischiefs.get(&mischief).map_or(0, |done| done.met);
        let refused_to_begin = self.mischiefs.values().map(|done| done.refused).sum();
        let mut troubles = vec![
            ("a loader stopped (SIGSTOP)", frozen.times),
            ("a loader stopped while the server waited for its rows", frozen.in_copies),
            ("a stopped loader went on (SIGCONT)", frozen.went_on),
            ("a connection cut", self.cuts.0),
            ("a connection cut in a COPY", self.cuts.1),
            ("a row that a trigger refused", met(Mischief::Raise)),
            ("a row that a trigger refused with an odd code", met(Mischief::RaiseOddly)),
            ("a row that a trigger dropped", met(Mischief::Drop)),
            ("a row over which a trigger slept", met(Mischief::Sleep)),
            ("a loader ended by a sequence set back", met(Mischief::SetSequenceBack)),
            ("a loader ended by a missing index of the messages", met(Mischief::DropIndexOfMessages)),
            ("a loader ended by a missing index of the keys", met(Mischief::DropIndexOfIdentities)),
            ("a loader that refused to begin because of one of these", refused_to_begin),
            ("a loader by another scheme than the one before", *schemes_changed),
            ("a login absorbed", absorbed),
            ("a login that contradicted another", contradicting),
            ("a login dead-lettered for a refusal, and replayed", refused),
        ];
        if self.has_pooler {
            troubles.push(("a loader behind PgBouncer, in session mode", *pooled));
        }
        troubles.into_iter().map(|(what, times)| (what.to_owned(), times)).collect()
    }

    /// Those that probabilities decide.
    fn faults(&self) -> Vec<(String, u64)> {
        let counts = serde_json::to_value(self.queue_faults).expect("counts are numbers");
        let counts = counts.as_object().expect("counts have names");
        Faults::NAMES.iter().map(|name| (name.to_string(), counts[*name].as_u64().unwrap_or(0))).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Torture, seed {}", self.seed)?;
        writeln!(f)?;
        writeln!(
            f,
            "{} kills of {} processes side by side, {} messages, {} deliveries, in {} s",
            self.tally.kills(),
            self.processes,
            self.messages,
            self.served.delivered,
            self.took.as_secs()
        )?;
        writeln!(f)?;
        writeln!(f, "| killed at | times |")?;
        writeln!(f, "|---|---:|")?;
        for (edge, times) in &self.tally.at_edges {
            writeln!(f, "| {edge} | {times} |")?;
        }
        writeln!(f, "| wherever it stood (kill -9) | {} |", self.tally.elsewhere)?;
        writeln!(f)?;
        writeln!(f, "| fault of the queue | times |")?;
        writeln!(f, "|---|---:|")?;
        for (fault, times) in self.faults() {
            writeln!(f, "| {fault} | {times} |")?;
        }
        writeln!(f)?;
        writeln!(f, "| what others did | times |")?;
        writeln!(f, "|---|---:|")?;
        for (what, times) in self.troubles() {
            writeln!(f, "| {what} | {times} |")?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "Nothing was recorded for {:.1} s at most, although there was something.",
            self.longest_idleness.as_secs_f64()
        )?;
        writeln!(f)?;
        if !self.left_out().is_empty() {
            writeln!(f, "DID NOT HAPPEN: {}", self.left_out().join(", "))?;
        }
        if !self.has_pooler {
            writeln!(f, "PgBouncer is not installed: nobody went by way of it")?;
        }
        if self.left_in_queue > 0 {
            writeln!(f, "LEFT IN THE QUEUE: {}", self.left_in_queue)?;
        }
        let word = if self.promise_held() { "The promise held" } else { "THE PROMISE DID NOT HOLD" };
        write!(f, "{word}: {}, {} stuck", self.discrepancies, u64::from(self.is_stuck()))
    }
}
