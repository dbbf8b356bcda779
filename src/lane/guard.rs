//! The storm guard: keeps the lanes from taking messages while too many of them are not logins, or while there is no room for
//! those that are none, and says so.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::load::Loaded;
use crate::message::Delivery;
use crate::metrics::{Metrics, unix_seconds};
use crate::receive::ReceiveLimits;
use crate::storm::{Change, Judged, Limits, Permit, Quota, Room, Storm};
use crate::verdict::{Content, Verdict};

/// What to do about a storm.
pub(super) const REMEDY: &str = "ask the sender what has changed; what is rejected stays in the queue, and a few messages are tried now \
                                 and then: the loader goes on by itself. With --max-rejection-rate off it takes them all, and they \
                                 become dead letters";

/// What to do about one that ends a run.
pub(super) const REMEDY_UNTIL_EMPTY: &str = "ask the sender what has changed; with --max-rejection-rate off all are taken, and what is \
                                             not a login becomes a dead letter";

/// What to do about dead letters without room.
const REMEDY_OF_QUOTA: &str = "ask the sender what has changed, and resolve what is there: `turnstile dead-letters list` groups it. A \
                               few messages are tried now and then, and the loader goes on by itself once there is room: a larger \
                               --dead-letter-quota, or a smaller table";

/// What to do about them where they end a run.
pub(super) const REMEDY_OF_QUOTA_UNTIL_EMPTY: &str = "ask the sender what has changed; with a larger --dead-letter-quota, or none, all are \
                                                      taken, and what is not a login becomes a dead letter";

/// How many messages a probe takes at most while there is no room.
const PROBE: usize = 10;
/// How long a rejected message is hidden meanwhile.
const HIDDEN_FOR: Duration = Duration::from_secs(15 * 60);

/// Lets the lanes of a process receive, or not.
#[derive(Debug)]
pub struct Guard {
    /// None: everything may be rejected.
    storm: Option<(Limits, Mutex<Storm>)>,
    quota: Mutex<Quota>,
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
    /// No message has been judged yet, and nobody has looked at the dead letters, which may take so many bytes.
    pub fn new(limits: Option<Limits>, quota: Option<u64>, metrics: &Metrics) -> Self {
        metrics.count(|figures| {
            limits.iter().for_each(|_| figures.storm.set((), 0));
            if let Some(quota) = quota {
                figures.dead_letters_full.set((), 0);
                figures.dead_letter_quota.set((), quota as f64);
            }
        });
        Self {
            storm: limits.map(|limits| (limits, Mutex::new(Storm::new(limits)))),
            quota: Mutex::new(Quota::of(quota)),
            metrics: metrics.clone(),
        }
    }

    /// What may be received now.
    pub(super) fn permit(&self) -> Permit {
        match locked(&self.quota).permit(Instant::now()) {
            Permit::All => self.storm.as_ref().map_or(Permit::All, |(_, storm)| locked(storm).permit(Instant::now())),
            held => held,
        }
    }

    /// Whether it is for want of room that little is taken.
    pub(super) fn is_full(&self) -> bool {
        locked(&self.quota).is_full()
    }

    /// Whether the caller is to look how much room the dead letters take.
    pub(super) fn looks_at_dead_letters(&self) -> bool {
        locked(&self.quota).is_to_be_looked_at(Instant::now())
    }

    /// Notes what was found.
    pub(super) fn dead_letters_take(&self, bytes: u64) {
        self.metrics.count(|figures| figures.dead_letters_bytes.set((), bytes as f64));
        let room = locked(&self.quota).found(bytes, Instant::now());
        room.into_iter().for_each(|room| self.tell_room(room));
    }

    /// Notes what was written.
    pub(super) fn recorded(&self, loaded: &Loaded) {
        let letters = loaded.letters.len() as u64;
        if letters > 0 {
            let room = locked(&self.quota).wrote(letters, loaded.letters_bytes, Instant::now());
            room.into_iter().for_each(|room| self.tell_room(room));
        }
    }

    /// How much a receive takes that was permitted so.
    pub(super) fn narrowed(&self, limits: ReceiveLimits, is_probe: bool) -> ReceiveLimits {
        match &self.storm {
            Some((storm, _)) if is_probe => {
                ReceiveLimits { batch_size: storm.probe.min(limits.batch_size), linger: Duration::ZERO, ..limits }
            }
            None if is_probe => {
                ReceiveLimits { batch_size: PROBE.min(limits.batch_size), linger: Duration::ZERO, ..limits }
            }
            Some(_) | None => limits,
        }
    }

    /// Notes the verdicts on what one gathering brought, and says what becomes of the rejections among them.
    ///
    /// What was in hand when the storm began, which may be hundreds, all goes back. Of the few messages of a probe those at their
    /// last attempt do become dead letters: they would come again and again until the queue's own redrive or retention takes
    /// them.
    ///
    /// While there is no room for dead letters, none of them becomes one.
    pub(super) fn judged(&self, is_probe: bool, verdicts: &[Verdict]) -> Rejections {
        let rejections = self.judged_by_share(is_probe, verdicts);
        match self.is_full() {
            true => Rejections { may_be_buried: false, hidden_for: Some(rejections.hidden_for.unwrap_or(HIDDEN_FOR)) },
            false => rejections,
        }
    }

    fn judged_by_share(&self, is_probe: bool, verdicts: &[Verdict]) -> Rejections {
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

    /// Counts rejected deliveries that go back because of the storm, or for want of room.
    pub(super) fn held_back(&self, rejections: Rejections, returned: &[Delivery]) {
        if rejections.hidden_for.is_some() {
            self.metrics.count(|figures| figures.held_back.add((), returned.len() as u64));
        }
    }

    fn tell_room(&self, room: Room) {
        match room {
            Room::Gone { bytes, most } => {
                self.metrics.count(|figures| {
                    figures.dead_letters_full.set((), 1);
                    figures.dead_letters_full_since.set((), unix_seconds(OffsetDateTime::now_utc()));
                });
                tracing::warn!(
                    bytes,
                    quota = most,
                    remedy = REMEDY_OF_QUOTA,
                    "the dead letters have taken their quota: the loader takes no more messages, and tries a few now and then"
                );
            }
            Room::Again { bytes, lasted } => {
                self.metrics.count(|figures| {
                    figures.dead_letters_full.set((), 0);
                    figures.dead_letters_full_since.clear(());
                });
                let after = format!("{:.1} s", lasted.as_secs_f64());
                tracing::info!(bytes, after, "there is room for dead letters again, and the loader goes on");
            }
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

fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
