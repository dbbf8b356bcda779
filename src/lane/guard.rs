//! The storm guard: keeps the lanes from taking messages while too many of them are not logins, and says so.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::message::Delivery;
use crate::metrics::{Metrics, unix_seconds};
use crate::receive::ReceiveLimits;
use crate::storm::{Change, Judged, Limits, Permit, Storm};
use crate::verdict::{Content, Verdict};

/// What to do about a storm.
pub(super) const REMEDY: &str = "ask the sender what has changed; what is rejected stays in the queue, and a few messages are tried now \
                                 and then: the loader goes on by itself. With --max-rejection-rate off it takes them all, and they \
                                 become dead letters";

/// What to do about one that ends a run.
pub(super) const REMEDY_UNTIL_EMPTY: &str = "ask the sender what has changed; with --max-rejection-rate off all are taken, and what is \
                                             not a login becomes a dead letter";

/// Lets the lanes of a process receive, or not.
#[derive(Debug)]
pub struct Guard {
    /// None: everything may be rejected.
    storm: Option<(Limits, Mutex<Storm>)>,
    metrics: Metrics,
}

/// What becomes of the rejections of a gathering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rejections {
    /// Whether they may become dead letters at their last attempt.
    pub(super) may_be_buried: bool,
    /// For how long the others are hidden at first; nothing: as long as usual.
    pub(super) hidden_for: Option<Duration>,
}

impl Guard {
    /// None of these messages has been judged yet.
    pub fn new(limits: Option<Limits>, metrics: &Metrics) -> Self {
        if limits.is_some() {
            metrics.count(|figures| figures.storm.set((), 0));
        }
        Self { storm: limits.map(|limits| (limits, Mutex::new(Storm::new(limits)))), metrics: metrics.clone() }
    }

    /// What may be received now.
    pub(super) fn permit(&self) -> Permit {
        self.storm.as_ref().map_or(Permit::All, |(_, storm)| locked(storm).permit(Instant::now()))
    }

    /// How much a receive takes that was permitted so.
    pub(super) fn narrowed(&self, limits: ReceiveLimits, is_probe: bool) -> ReceiveLimits {
        match &self.storm {
            Some((storm, _)) if is_probe => {
                ReceiveLimits { batch_size: storm.probe.min(limits.batch_size), linger: Duration::ZERO, ..limits }
            }
            Some(_) | None => limits,
        }
    }

    /// Notes the verdicts on what one gathering brought, and says what becomes of the rejections among them.
    ///
    /// What was in hand when the storm began, which may be hundreds, all goes back. Of the few messages of a probe those at their
    /// last attempt do become dead letters: they would come again and again until the queue's own redrive or retention takes
    /// them.
    pub(super) fn judged(&self, is_probe: bool, verdicts: &[Verdict]) -> Rejections {
        let usual = Rejections { may_be_buried: true, hidden_for: None };
        let Some((limits, storm)) = &self.storm else { return usual };
        let (was_raging, change, is_raging) = {
            let mut storm = locked(storm);
            let was_raging = storm.is_raging();
            let change = storm.judged(is_probe, verdicts.iter().map(judged), Instant::now());
            (was_raging, change, storm.is_raging())
        };
        change.into_iter().for_each(|change| self.tell(change));
        match was_raging || is_raging {
            true => Rejections { may_be_buried: is_probe, hidden_for: Some(limits.hidden_for) },
            false => usual,
        }
    }

    /// Counts rejected deliveries that go back because of the storm.
    pub(super) fn held_back(&self, rejections: Rejections, returned: &[Delivery]) {
        if rejections.hidden_for.is_some() {
            self.metrics.count(|figures| figures.held_back.add((), returned.len() as u64));
        }
    }

    fn tell(&self, change: Change) {
        match change {
            Change::Begun { rejected, of, mostly } => {
                self.metrics.count(|figures| {
                    figures.storm.set((), 1);
                    figures.storm_since.set((), unix_seconds(OffsetDateTime::now_utc()));
                    figures.storms.add((), 1);
                });
                tracing::warn!(
                    rejected,
                    of,
                    mostly,
                    remedy = REMEDY,
                    "too many messages are not logins: the loader takes no more, and tries a few now and then"
                );
            }
            Change::Over { lasted } => {
                self.metrics.count(|figures| {
                    figures.storm.set((), 0);
                    figures.storm_since.clear(());
                });
                tracing::info!(after = %format_args!("{:.1} s", lasted.as_secs_f64()), "messages are logins again, and the loader goes on");
            }
        }
    }
}

fn judged(verdict: &Verdict) -> Judged {
    let rejected = match &verdict.content {
        Content::Login(_) => None,
        Content::Rejected(rejection, _) => Some(rejection.code()),
    };
    Judged { rejected, is_first: verdict.delivery.receive_count <= 1 }
}

fn locked(storm: &Mutex<Storm>) -> MutexGuard<'_, Storm> {
    storm.lock().unwrap_or_else(PoisonError::into_inner)
}
