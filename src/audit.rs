//! Proves the promise from the tables: that they agree with each other, and, where a sender kept a journal, with what
//! was sent.

#[cfg(feature = "demo")]
pub mod comparison;
#[cfg(feature = "demo")]
pub mod journal;

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::database::{Database, DatabaseError, Transaction};
use crate::detach::{Came, until_so};
use crate::table::agreement::{self, Breaks, Counts, Distributed, LOADED_WITHOUT_EVENT, RULES, Rule};
use crate::table::{distribution, outbox_pruned};

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
    /// Where tables are distributed: what began before this is decided on every server, and rules over several servers ask for
    /// nothing later.
    pub decided_until: Option<OffsetDateTime>,
    /// The rules that are broken, and by which messages.
    pub broken: Vec<(&'static Rule, Breaks)>,
}

impl Audit {
    /// Whether every message is in exactly one of its two places.
    pub fn holds(&self) -> bool {
        self.broken.is_empty()
    }

    /// The same, but for rules of which an earlier audit named other messages only. Where there are more than are named, any may
    /// have been meant.
    fn also_in(mut self, earlier: &Self) -> Self {
        let is_the_same = |now: &Breaks, before: &Breaks| {
            let all_named = |breaks: &Breaks| breaks.total <= u64::from(NAMED_PER_RULE);
            !all_named(now) || !all_named(before) || now.first.iter().any(|hash| before.first.contains(hash))
        };
        self.broken.retain(|(rule, now)| {
            let before = earlier.broken.iter().find(|(other, _)| other.name == rule.name);
            before.is_some_and(|(_, before)| is_the_same(now, before))
        });
        self
    }
}

/// Holds the tables to every rule of [`RULES`], in one snapshot: loaders may go on meanwhile, and their batches are seen
/// whole or not at all. As with any long snapshot, the server cleans up no row that is deleted meanwhile.
///
/// Servers over which tables are distributed have no snapshot in common: there it waits until what is committed can be seen on all
/// of them, and what seems broken is looked at twice.
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
    let found = look_once(database, deadline, &mut progress).await?;
    if found.decided_until.is_none() || found.holds() {
        return Ok(found);
    }
    // What changed between two looks at servers may seem broken. What is broken stays broken.
    let again = look_once(database, deadline, &mut progress).await?;
    Ok(again.also_in(&found))
}

async fn look_once(
    database: &Database,
    deadline: Duration,
    progress: &mut impl FnMut(usize),
) -> Result<Audit, DatabaseError> {
    let until = settle(database, deadline).await?;
    loop {
        let look = async |seen: &Transaction| look(seen, until, progress).await;
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

/// Waits until what is committed can be seen on every server, where the tables are distributed; gives the time for [`Distributed`].
async fn settle(database: &Database, patience: Duration) -> Result<Option<OffsetDateTime>, DatabaseError> {
    let Some(until) = database.snapshot(distribution::ended_until).await? else { return Ok(None) };
    let is_settled = || database.snapshot(async |seen: &Transaction| Ok(distribution::in_doubt(seen).await? == 0));
    if until_so(Instant::now() + patience, is_settled).await? == Came::InTheWay {
        database.snapshot(insist_on_settled).await?;
    }
    Ok(Some(until))
}

async fn insist_on_settled(seen: &Transaction) -> Result<(), DatabaseError> {
    match distribution::in_doubt(seen).await? {
        0 => Ok(()),
        doubtful => Err(seen.broken_with_remedy(
            "wait for prepared transactions",
            format!("{doubtful} are committed, and what they wrote on workers cannot be seen yet: nothing is proven"),
            "run the same again; set citus.recover_2pc_interval to 5s on the coordinator, which brings them to their end",
        )),
    }
}

async fn look(
    seen: &Transaction,
    until: Option<OffsetDateTime>,
    progress: &mut impl FnMut(usize),
) -> Result<Audit, DatabaseError> {
    let distributed = match until {
        Some(until) => Some(Distributed::read(seen, until).await?),
        None => None,
    };
    let counts = agreement::count(seen).await?;
    let pruned_until = outbox_pruned::written_until(seen).await?;
    let mut audit = Audit { counts, pruned_until, decided_until: until, broken: Vec::new() };
    for (done, rule) in RULES.iter().enumerate() {
        progress(done);
        let breaks = agreement::breaks(seen, rule, distributed.as_ref(), NAMED_PER_RULE).await?;
        if breaks.total > 0 {
            audit.broken.push((rule, breaks));
        }
    }
    Ok(audit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(total: u64, first: &[&str]) -> Audit {
        let breaks = Breaks { total, first: first.iter().map(|hash| (*hash).to_owned()).collect() };
        Audit { counts: Counts::default(), pruned_until: None, decided_until: None, broken: vec![(&RULES[0], breaks)] }
    }

    #[test]
    fn what_was_broken_in_two_looks_is_broken_and_what_passed_is_not() {
        let holds = |now: Audit, before: &Audit| now.also_in(before).holds();
        assert!(holds(found(1, &["b"]), &found(1, &["a"])), "two that passed");
        assert!(!holds(found(1, &["a"]), &found(2, &["a", "b"])), "one that stayed");
        // More than are named: the one that stayed may not have been among these.
        assert!(!holds(found(1, &["z"]), &found(150, &["a"])));
        assert!(!holds(found(150, &["a"]), &found(1, &["z"])));
        assert!(holds(found(1, &["a"]), &Audit { broken: Vec::new(), ..found(1, &[]) }));
    }
}
