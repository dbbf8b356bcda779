//! What came of it, in Markdown.

use std::fmt;
use std::time::Duration;

use turnstile::audit::comparison::Discrepancies;
use turnstile::queue::local::{FaultCounts, Faults, Served};

use super::Tally;
use crate::Outcome;

pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) took: Duration,
    pub(crate) processes: u64,
    pub(crate) messages: u64,
    pub(crate) tally: Tally,
    /// Edges at which nothing was killed.
    pub(crate) missed: Vec<String>,
    pub(crate) queue_faults: FaultCounts,
    pub(crate) served: Served,
    pub(crate) left_in_queue: usize,
    pub(crate) discrepancies: Discrepancies,
}

impl Outcome for Report {
    fn promise_held(&self) -> bool {
        self.discrepancies.none()
            && self.left_in_queue == 0
            && self.missed.is_empty()
            && self.faults().iter().all(|(_, times)| *times > 0)
    }
}

impl Report {
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
        if !self.missed.is_empty() {
            writeln!(f, "NOBODY WAS KILLED AT: {}", self.missed.join(", "))?;
        }
        if self.left_in_queue > 0 {
            writeln!(f, "LEFT IN THE QUEUE: {}", self.left_in_queue)?;
        }
        let word = if self.promise_held() { "The promise held" } else { "THE PROMISE DID NOT HOLD" };
        write!(f, "{word}: {}", self.discrepancies)
    }
}
