//! Proves the promise from the tables: that they agree with each other, and, where a sender kept a journal, with what
//! was sent.

#[cfg(feature = "demo")]
pub mod comparison;
#[cfg(feature = "demo")]
pub mod journal;

use std::time::Duration;

use time::OffsetDateTime;

use crate::database::{Database, DatabaseError, Transaction};
use crate::table::agreement::{self, Breaks, Counts, LOADED_WITHOUT_EVENT, RULES, Rule};
use crate::table::outbox_pruned;

/// How many of the messages that break a rule are named.
pub const NAMED_PER_RULE: u32 = 100;

/// What the tables say of each other, all of it in one moment.
#[derive(Debug)]
pub struct Audit {
    /// How much stands in the tables.
    pub counts: Counts,
    /// Until when events may be gone, because every sink had them: the events of logins that were loaded by then are not
    /// asked for. Nothing where none ever went.
    pub pruned_until: Option<OffsetDateTime>,
    /// The rules that are broken, and by which messages.
    pub broken: Vec<(&'static Rule, Breaks)>,
}

impl Audit {
    /// Whether every message is in exactly one of its two places.
    pub fn holds(&self) -> bool {
        self.broken.is_empty()
    }
}

/// Holds the tables to every rule of [`RULES`], in one snapshot: loaders may go on meanwhile, and their batches are seen
/// whole or not at all. As with any long snapshot, the server cleans up no row that is deleted meanwhile.
///
/// `deadline` is that of each statement; `progress` is told how many rules are done.
///
/// # Errors
///
/// [`DatabaseError`]; nothing is proven then.
pub async fn audit(
    database: &Database,
    deadline: Duration,
    mut progress: impl FnMut(usize),
) -> Result<Audit, DatabaseError> {
    loop {
        let look = async |seen: &Transaction| look(seen, &mut progress).await;
        let audit = database.snapshot_within(deadline, look).await?;
        if audit.broken.iter().all(|(rule, _)| rule.name != LOADED_WITHOUT_EVENT) {
            return Ok(audit);
        }
        // A snapshot does not keep a partition from being dropped before it has looked at it: then it misses events of which it
        // does not see that they were pruned.
        if database.snapshot(outbox_pruned::written_until).await? == audit.pruned_until {
            return Ok(audit);
        }
    }
}

async fn look(seen: &Transaction, progress: &mut impl FnMut(usize)) -> Result<Audit, DatabaseError> {
    let counts = agreement::count(seen).await?;
    let mut audit = Audit { counts, pruned_until: outbox_pruned::written_until(seen).await?, broken: Vec::new() };
    for (done, rule) in RULES.iter().enumerate() {
        progress(done);
        let breaks = agreement::breaks(seen, rule, NAMED_PER_RULE).await?;
        if breaks.total > 0 {
            audit.broken.push((rule, breaks));
        }
    }
    Ok(audit)
}
