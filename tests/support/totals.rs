//! What a loader has counted, as the tests ask for it.

use std::fmt;
use std::ops::AddAssign;

use turnstile::metrics::{Deletion, Ended, Metrics, Outcome};

/// Counts since the start of a loader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) received: u64,
    pub(crate) loaded: u64,
    pub(crate) dead_lettered: u64,
    pub(crate) duplicates: u64,
    pub(crate) returned: u64,
    pub(crate) deleted: u64,
    pub(crate) not_deleted: u64,
    pub(crate) attempts_repeated: u64,
}

impl Totals {
    /// The counts of this moment, whose books balance.
    pub(crate) fn of(metrics: &Metrics) -> Self {
        let seen = metrics.snapshot();
        assert_eq!(seen.imbalance(), 0, "the books do not balance: {seen:?}");
        let ended = |how| seen.messages.get((how,));
        let transactions = |how| seen.transactions.get((how,));
        Self {
            received: seen.received.total(),
            loaded: ended(Outcome::Loaded),
            dead_lettered: ended(Outcome::DeadLettered) + ended(Outcome::Contradicting),
            duplicates: ended(Outcome::Absorbed),
            returned: ended(Outcome::Returned) + ended(Outcome::Released),
            deleted: seen.deletes.get((Deletion::Deleted,)),
            not_deleted: seen.deletes.get((Deletion::NotDeleted,)),
            attempts_repeated: transactions(Ended::Transient) + transactions(Ended::Contended),
        }
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, more: Self) {
        self.received += more.received;
        self.loaded += more.loaded;
        self.dead_lettered += more.dead_lettered;
        self.duplicates += more.duplicates;
        self.returned += more.returned;
        self.deleted += more.deleted;
        self.not_deleted += more.not_deleted;
        self.attempts_repeated += more.attempts_repeated;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
