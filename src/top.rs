//! `turnstile top`: loaders and relays, watched from outside through what they serve.
//!
//! What is asked ([`asking`]) is kept ([`watched`]), judged ([`row`]) and shown ([`screen`], [`plain`], [`json`]). All but the
//! asking is a function of its arguments.
//!
//! # Invariants
//!
//! - A figure of a loader that does not answer, or whose figures stand still, is never shown as one of now: it has no rate, and
//!   its age is told.
//! - No rate spans a restart of the loader, or more than the window.
//! - A rate or a quantile is shown with the window that it is of.

pub mod address;
pub mod asking;
mod detail;
pub mod json;
pub mod plain;
pub mod row;
pub mod screen;
pub mod session;
pub mod view;
pub mod watched;
mod words;

use std::time::{Duration, Instant};

use time::OffsetDateTime;

/// How often a loader is asked.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// How long it may take to answer: below the window, and longer than it waits for a queue that it asks first.
pub const WITHIN: Duration = Duration::from_secs(5);

/// Over how long rates and quantiles are taken.
pub const WINDOW: Duration = Duration::from_secs(10);

/// From what age on figures are no longer those of now: an answer is late by more than a second then.
pub const OLD: Duration = Duration::from_secs(3);

/// A moment: for ages, and as people read it.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For ages: it never jumps.
    pub at: Instant,
    /// As people read it.
    pub clock: OffsetDateTime,
}

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        Self { at: Instant::now(), clock: OffsetDateTime::now_utc() }
    }

    /// How long ago an instant was.
    pub(crate) fn since(self, instant: Instant) -> Duration {
        self.at.saturating_duration_since(instant)
    }
}
