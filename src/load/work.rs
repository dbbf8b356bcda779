//! What of a batch is still to be done, and in which order.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::{INTERNAL_ERRORS_PASS_WITHIN, Left, UNSETTLED_IN_A_ROW};
use crate::batch::Batch;
use crate::database::DatabaseError;
use crate::retry::{Class, Pauses};

/// How a transaction writes its rows and events.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By COPY: a third of the cost, and all or nothing.
    Copy,
    /// By INSERT: leaves a row be that stands already, and is allowed under row-level security.
    Insert,
}

impl Way {
    /// Whether the other way may get through: a COPY fails with any data that is refused, a row that stands already
    /// included, and with 0A000 under row-level security. It takes its connection with it, so that what one row causes
    /// is looked for by INSERT.
    pub(super) fn may_be_refused(self, error: &DatabaseError) -> bool {
        self == Self::Copy && (error.class() == Class::OfTheRows || error.sqlstate() == Some("0A000"))
    }
}

/// Messages that are tried together, and what is known of them from earlier attempts.
pub(super) struct Part {
    pub(super) batch: Batch,
    pub(super) way: Way,
    /// How often it waited or took too long.
    pub(super) contended: u32,
    /// How many logins had landed when it failed first, or the part that it was split from.
    pub(super) landed_before: Option<u64>,
    /// Of a message that waits alone: whether others could be loaded when it failed last.
    pub(super) others_could: bool,
    /// Of a message that was refused alone.
    pub(super) suspicion: Option<Suspicion>,
}

impl Part {
    pub(super) fn of(batch: Batch, way: Way) -> Self {
        Self { batch, way, contended: 0, landed_before: None, others_could: false, suspicion: None }
    }

    /// Notes that it failed when so many logins had landed, and gives back how many had when it failed first.
    pub(super) fn failed_at(&mut self, landed: u64) -> u64 {
        *self.landed_before.get_or_insert(landed)
    }
}

/// A row was refused when it was alone: its own fault, or everybody's?
#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    sqlstate: Option<String>,
    constraint: Option<String>,
    /// How often it was refused alone.
    pub(super) times: u32,
}

impl Suspicion {
    pub(super) fn of(error: &DatabaseError) -> Self {
        let (sqlstate, constraint) = (error.sqlstate().map(str::to_owned), error.constraint().map(str::to_owned));
        Self { sqlstate, constraint, times: 0 }
    }

    pub(super) fn is_alike(&self, other: &Self) -> bool {
        self.sqlstate == other.sqlstate && self.constraint == other.constraint
    }
}

/// The parts to be tried, and what is left of those that were.
pub(super) struct Work {
    to_do: VecDeque<Part>,
    pub(super) left: Left,
    pub(super) pauses: Pauses,
    unsettled: u32,
    internal_errors_since: Option<Instant>,
}

impl Work {
    pub(super) fn of(batch: Batch) -> Self {
        // To load what came back, the letters are locked, for which it may have to wait. The others need not wait for that.
        let (requeued, others) = batch.divide_requeued();
        let parts = [others, requeued].map(|batch| Part::of(batch, Way::Copy));
        Self {
            to_do: VecDeque::from(parts),
            left: Left::default(),
            pauses: Pauses::through_an_outage(),
            unsettled: 0,
            internal_errors_since: None,
        }
    }

    /// The next part: one under suspicion only when there is no other.
    pub(super) fn next(&mut self) -> Option<Part> {
        self.to_do.retain(|part| !part.batch.is_empty());
        let unsuspected = self.to_do.iter().position(|part| part.suspicion.is_none());
        self.to_do.remove(unsuspected.unwrap_or(0))
    }

    /// Puts a part before all others.
    pub(super) fn first(&mut self, part: Part) {
        self.to_do.push_front(part);
    }

    /// Puts a part behind what has not been tried.
    pub(super) fn last(&mut self, part: Part) {
        self.to_do.push_back(part);
    }

    /// Puts back a part under suspicion. One that was tried again comes first: whether it lands says as much as whether
    /// another of its kind does.
    pub(super) fn suspect(&mut self, part: Part) {
        match &part.suspicion {
            Some(suspicion) if suspicion.times > 1 => self.to_do.push_front(part),
            Some(_) | None => self.to_do.push_back(part),
        }
    }

    /// A transaction has committed.
    pub(super) fn succeeded(&mut self) {
        self.pauses.reset();
        self.unsettled = 0;
        self.internal_errors_since = None;
    }

    /// Whether a failure that should pass has not failed to for too long.
    pub(super) fn passes(&mut self, error: &DatabaseError) -> bool {
        if error.is_unsettled() {
            self.unsettled += 1;
            return self.unsettled <= UNSETTLED_IN_A_ROW;
        }
        if error.sqlstate() == Some("XX000") {
            let since = self.internal_errors_since.get_or_insert_with(Instant::now);
            return since.elapsed() < INTERNAL_ERRORS_PASS_WITHIN;
        }
        true
    }

    /// Whether there is nothing to do.
    pub(super) fn is_done(&self) -> bool {
        self.to_do.iter().all(|part| part.batch.is_empty())
    }

    /// Whether there is nothing to do that did not fail before.
    pub(super) fn has_only_failed(&self) -> bool {
        self.to_do.iter().all(|part| part.contended > 0 || part.suspicion.is_some())
    }

    /// Whether all that is to do is under suspicion.
    pub(super) fn is_all_suspect(&self) -> bool {
        self.to_do.iter().all(|part| part.suspicion.is_some())
    }

    /// Whether another message is refused in the same way.
    pub(super) fn has_alike(&self, suspicion: &Suspicion) -> bool {
        self.to_do.iter().filter_map(|part| part.suspicion.as_ref()).any(|other| other.is_alike(suspicion))
    }
}
