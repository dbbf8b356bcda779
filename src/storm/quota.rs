//! Whether there is room for more dead letters (`--dead-letter-quota`).
//!
//! The table is looked at now and then, and what is written in between is added up. Where it has taken its quota, nothing is
//! received but probes, as in a storm, until a look finds room again. A pure state machine, to which sizes and the time are given.

use std::time::{Duration, Instant};

use super::Permit;

/// How often the table is looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The first and the longest pause between two probes.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// What a letter takes beside its body, with its places in the indexes: rather too much.
const BESIDE_THE_BODY: u64 = 1_024;

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is none any more.
    Gone {
        /// What the table takes, in bytes, or is taken to.
        bytes: u64,
        /// What it may take.
        most: u64,
    },
    /// There is some again.
    Again {
        /// What the table takes.
        bytes: u64,
        /// How long there was none.
        lasted: Duration,
    },
}

/// Knows how much room the dead letters take, and whether they may take more.
#[derive(Debug)]
pub struct Quota {
    /// None: as much as there is.
    most: Option<u64>,
    /// What the last look found.
    found: Option<u64>,
    /// What was written since then.
    written: u64,
    /// Of that, what was written before the look that is under way.
    before_look: u64,
    looked: Option<Instant>,
    full: Option<Full>,
}

#[derive(Clone, Copy, Debug)]
struct Full {
    since: Instant,
    next_probe: Instant,
    pause: Duration,
}

impl Quota {
    /// Nothing is known yet.
    pub fn of(most: Option<u64>) -> Self {
        Self { most, found: None, written: 0, before_look: 0, looked: None, full: None }
    }

    /// Whether to look at the table now: before anything is known, after letters were written, and while there is no room. Who is
    /// told so looks, and says what was found with [`Self::found`]; nobody else does for half a minute.
    pub fn is_to_be_looked_at(&mut self, now: Instant) -> bool {
        let has_news = self.found.is_none() || self.written > 0 || self.full.is_some();
        let is_due = has_news && self.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= LOOK_EVERY);
        if is_due {
            self.looked = Some(now);
            self.before_look = self.written;
        }
        is_due
    }

    /// Notes what a look found: how many bytes the table takes, with its indexes.
    pub fn found(&mut self, bytes: u64, now: Instant) -> Option<Room> {
        self.found = Some(bytes);
        self.written = self.written.saturating_sub(std::mem::take(&mut self.before_look));
        self.changed(now)
    }

    /// Notes that letters were written, whose sealed bodies have so many bytes together.
    pub fn wrote(&mut self, letters: u64, bytes: u64, now: Instant) -> Option<Room> {
        self.written = self.written.saturating_add(letters * BESIDE_THE_BODY + bytes + bytes / 16);
        self.changed(now)
    }

    /// What may be received now.
    pub fn permit(&mut self, now: Instant) -> Permit {
        let Some(full) = &mut self.full else { return Permit::All };
        match full.next_probe.saturating_duration_since(now) {
            Duration::ZERO => {
                full.pause = (2 * full.pause).min(PAUSES.1);
                full.next_probe = now + full.pause;
                Permit::Probe
            }
            pause => Permit::Nothing(pause),
        }
    }

    /// Whether there is no room.
    pub fn is_full(&self) -> bool {
        self.full.is_some()
    }

    fn changed(&mut self, now: Instant) -> Option<Room> {
        let bytes = self.found?.saturating_add(self.written);
        let most = self.most?;
        match (self.full, bytes >= most) {
            (None, true) => {
                self.full = Some(Full { since: now, next_probe: now + PAUSES.0, pause: PAUSES.0 });
                Some(Room::Gone { bytes, most })
            }
            (Some(full), false) => {
                self.full = None;
                Some(Room::Again { bytes, lasted: now.saturating_duration_since(full.since) })
            }
            (None, false) | (Some(_), true) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_table_is_looked_at_first_and_then_only_after_letters_were_written_and_not_too_often() {
        let (mut quota, now) = (Quota::of(Some(1_000_000)), Instant::now());
        assert!(quota.is_to_be_looked_at(now) && !quota.is_to_be_looked_at(now), "one lane looks for all");
        assert_eq!(quota.found(10, now), None);
        assert!(!quota.is_to_be_looked_at(now + 3_600 * SECOND), "nothing was written");
        assert_eq!(quota.wrote(1, 100, now), None);
        assert!(!quota.is_to_be_looked_at(now + 29 * SECOND));
        assert!(quota.is_to_be_looked_at(now + 30 * SECOND));
        assert!(!quota.is_to_be_looked_at(now + 59 * SECOND), "the look may have failed, and is not repeated at once");
        assert!(quota.is_to_be_looked_at(now + 60 * SECOND));
    }

    #[test]
    fn there_is_no_room_once_what_was_found_and_what_was_written_since_reach_the_quota() {
        let (mut quota, now) = (Quota::of(Some(100_000)), Instant::now());
        quota.is_to_be_looked_at(now);
        assert_eq!(quota.found(90_000, now), None);
        assert_eq!((quota.permit(now), quota.is_full()), (Permit::All, false));
        assert_eq!(quota.wrote(2, 8_000, now), Some(Room::Gone { bytes: 100_548, most: 100_000 }));
        assert_eq!(quota.wrote(2, 8_000, now), None, "it is told once");
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(quota.permit(now), Permit::Nothing(pause * SECOND));
            let later = now + pause * SECOND;
            assert_eq!(quota.permit(later), Permit::Probe);
            quota.full.iter_mut().for_each(|full| full.next_probe = now + full.pause);
        }
        let later = now + 30 * SECOND;
        assert!(quota.is_to_be_looked_at(later));
        assert_eq!(quota.found(100_000, later), None, "not yet");
        assert!(quota.is_to_be_looked_at(later + 30 * SECOND), "though nothing was written");
        let room = Some(Room::Again { bytes: 99_999, lasted: 60 * SECOND });
        assert_eq!(quota.found(99_999, later + 30 * SECOND), room);
        assert_eq!(quota.permit(later), Permit::All);
    }

    #[test]
    fn a_table_that_is_full_at_the_start_is_known_to_be_before_anything_is_received() {
        let (mut quota, now) = (Quota::of(Some(5)), Instant::now());
        assert!(quota.is_to_be_looked_at(now));
        assert!(quota.found(5, now).is_some() && quota.permit(now) != Permit::All);
        assert_eq!(Quota::of(None).found(u64::MAX, now), None, "without a quota there is always room");
    }

    #[test]
    fn what_is_written_while_somebody_looks_is_not_forgotten() {
        let (mut quota, now) = (Quota::of(Some(10_000)), Instant::now());
        quota.wrote(1, 0, now);
        assert!(quota.is_to_be_looked_at(now));
        quota.wrote(2, 0, now);
        quota.found(5_000, now);
        assert_eq!(quota.written, 2 * BESIDE_THE_BODY);
    }

    proptest! {
        #[test]
        fn however_letters_come_no_more_than_one_batch_goes_beyond_the_quota(
            most in 1_u64..10_000_000,
            batches in prop::collection::vec((0_u64..500, 0_u64..3_000_000, 0_u64..40_000), 1..60),
        ) {
            let (mut quota, mut now, mut size) = (Quota::of(Some(most)), Instant::now(), 0);
            for (letters, bytes, pause) in batches {
                now += Duration::from_millis(pause);
                if quota.is_to_be_looked_at(now) {
                    quota.found(size, now);
                }
                if quota.permit(now) == Permit::All {
                    prop_assert!(size < most, "letters are written above the quota");
                    // A table takes no more than what is reckoned.
                    size += letters * 300 + bytes;
                    quota.wrote(letters, bytes, now);
                }
            }
        }
    }
}
