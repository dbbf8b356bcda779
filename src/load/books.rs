//! What the load writes into the books: how each transaction ended.

use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::work::Way;
use crate::database::DatabaseError;
use crate::metrics::{Ended, Peer, Phase, Snapshot, unix_seconds};
use crate::retry::Class;

/// How long each phase of a transaction took.
pub(super) struct Laps {
    since: Instant,
    laps: Vec<(Phase, Duration)>,
}

impl Default for Laps {
    fn default() -> Self {
        Self { since: Instant::now(), laps: Vec::new() }
    }
}

impl Laps {
    /// A phase has ended, and the next begins.
    pub(super) fn end(&mut self, phase: Phase) {
        let now = Instant::now();
        self.laps.push((phase, now - self.since));
        self.since = now;
    }
}

impl Snapshot {
    /// A transaction that recorded so many messages is committed, and its phases took so long.
    pub(super) fn committed(&mut self, messages: usize, Laps { laps, .. }: &Laps) {
        for (phase, took) in laps {
            self.phases.observe((*phase,), took.as_secs_f64());
        }
        self.transactions.add((Ended::Committed,), 1);
        self.batch.observe((), messages as f64);
        self.last_commit.set((), unix_seconds(OffsetDateTime::now_utc()));
        self.answered(Peer::Database);
    }

    /// A transaction failed.
    pub(super) fn failed(&mut self, error: &DatabaseError, way: Way) {
        let ended = match error.class() {
            Class::Transient | Class::Ambiguous => Ended::Transient,
            Class::Contended => Ended::Contended,
            Class::OfTheRows | Class::OfTheSystem if way.may_be_refused(error) => Ended::CopyRefused,
            Class::OfTheRows => Ended::RowRefused,
            Class::OfTheSystem => Ended::Stopped,
        };
        self.transactions.add((ended,), 1);
    }
}
