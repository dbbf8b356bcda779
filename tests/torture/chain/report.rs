//! What came of it, in Markdown.

use std::fmt;
use std::time::Duration;

use stand_ins::sqs::{FaultCounts, Faults};
use turnstile::audit::comparison::Discrepancies;

use super::Tally;
use super::ends::{End, Ends};
use crate::Outcome;

/// In fewer kills not every edge may be come to: which were not is named, and is no failure.
const LONG_RUN: u64 = 400;

pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) took: Duration,
    pub(crate) wanted: u64,
    pub(crate) tally: Tally,
    /// Edges at which nobody was killed.
    pub(crate) missed: Vec<String>,
    pub(crate) sent: u64,
    pub(crate) ends: Ends,
    /// Between what was sent and the first tables.
    pub(crate) discrepancies: Discrepancies,
    /// Of the three queues.
    pub(crate) faults: [FaultCounts; 3],
}

impl Outcome for Report {
    fn promise_held(&self) -> bool {
        let Ends { logins, events, fifo, standard, output } = &self.ends;
        let is_whole = [fifo, standard, output].into_iter().all(End::is_whole);
        let are_all_there = *logins as u64 == self.sent && *events == self.sent;
        let were_all_tried = self.wanted < LONG_RUN || self.missed.is_empty();
        self.discrepancies.none() && is_whole && are_all_there && were_all_tried && self.tally.crashes > 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { at_edges, elsewhere, crashes } = &self.tally;
        writeln!(f, "# From end to end, seed {}", self.seed)?;
        writeln!(f)?;
        writeln!(
            f,
            "{} logins, {} kills and {crashes} crashes of the server, in {} s",
            self.sent,
            self.tally.kills(),
            self.took.as_secs()
        )?;
        writeln!(f)?;
        writeln!(f, "| killed at | times |")?;
        writeln!(f, "|---|---:|")?;
        for (edge, times) in at_edges {
            writeln!(f, "| {edge} | {times} |")?;
        }
        writeln!(f, "| wherever it stood (kill -9) | {elsewhere} |")?;
        writeln!(f)?;
        writeln!(f, "| fault of a queue | times |")?;
        writeln!(f, "|---|---:|")?;
        for name in Faults::NAMES {
            let times =
                |counts: &FaultCounts| serde_json::to_value(counts).expect("numbers")[name].as_u64().unwrap_or(0);
            writeln!(f, "| {name} | {} |", self.faults.iter().map(times).sum::<u64>())?;
        }
        writeln!(f)?;
        writeln!(f, "| the events at | lost | doubled | different | repeats with their id | without |")?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|")?;
        let Ends { fifo, standard, output, .. } = &self.ends;
        for (name, end) in [
            ("the table behind a FIFO queue", fifo),
            ("the table behind a standard queue", standard),
            ("standard output", output),
        ] {
            let End { lost, doubled, different, repeats, unknown } = end;
            writeln!(f, "| {name} | {lost} | {doubled} | {different} | {repeats} | {unknown} |")?;
        }
        writeln!(f)?;
        if !self.missed.is_empty() {
            writeln!(f, "NOBODY DIED AT: {}", self.missed.join(", "))?;
        }
        let word = if self.promise_held() { "The promise held" } else { "THE PROMISE DID NOT HOLD" };
        write!(
            f,
            "{word}: {} logins, {} events; of the first tables, {}",
            self.ends.logins, self.ends.events, self.discrepancies
        )
    }
}
