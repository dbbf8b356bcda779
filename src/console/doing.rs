//! What came of an act, as its page tells it afterwards.

use crate::message::MessageHash;
use crate::records::loaders::target_words;
use crate::requeue::{self, Report};
use crate::table::loader_pauses::Target;
use crate::table::plan_id::PlanId;

/// What came of an act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Letters were discarded: so many of those that were meant.
    Discarded {
        /// So many.
        letters: usize,
        /// Of so many.
        of: usize,
    },
    /// Letters were opened again.
    Reopened {
        /// So many.
        letters: usize,
        /// Of so many.
        of: usize,
    },
    /// Letters were sent back to their queue.
    SentBack(SentBack),
    /// Something was noted about the letters of a code.
    Noted(String),
    /// A body was revealed, and is kept for a while.
    Revealed(MessageHash),
    /// A body was read and cannot be opened.
    NotOpened(String),
    /// An audit has begun.
    Begun,
    /// A plan was drawn up.
    Drawn(PlanId),
    /// A plan is run.
    Running,
    /// A plan had been run to its end before.
    DoneBefore,
    /// A plan is cancelled.
    Cancelled,
    /// Receiving is paused.
    Paused(Target),
    /// It was paused before.
    PausedBefore(Target),
    /// Receiving goes on, as far as this pause is concerned.
    Resumed(Target),
    /// There was no such pause.
    NotPaused(Target),
    /// Nothing was done, for this reason.
    Nothing(String),
}

/// What became of letters that were to be sent back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SentBack {
    /// How many there were.
    pub(super) of: usize,
    /// What became of them.
    pub(super) report: Report,
    /// What stopped it, and what to do.
    pub(super) stopped: Option<String>,
}

impl SentBack {
    fn is_done(&self) -> bool {
        self.report.sent == self.of as u64
    }

    fn in_words(&self) -> String {
        let Report { sent, perhaps_twice, not_sent } = &self.report;
        let mut words = match (sent, self.of) {
            (0, _) => "Nothing was sent back.".to_owned(),
            (1, 1) => "The letter is sent back to its queue. It stays open until a loader takes it.".to_owned(),
            (sent, of) => format!("{sent} of {of} letters are sent back. They stay open until a loader takes them."),
        };
        if *perhaps_twice > 0 {
            words += &format!(" At most {perhaps_twice} of them twice, which changes nothing.");
        }
        for (why, letters) in not_sent {
            words += &format!(" {letters} not sent: {}.", requeue::in_words(why).unwrap_or(why));
        }
        if let Some(stopped) = &self.stopped {
            words += &format!(" Sending stopped: {stopped}.");
        }
        words
    }
}

impl Told {
    /// Whether what was asked for was done, all of it.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Discarded { letters, of } | Self::Reopened { letters, of } => letters == of,
            Self::SentBack(sent) => sent.is_done(),
            Self::Noted(_)
            | Self::Revealed(_)
            | Self::Begun
            | Self::Drawn(_)
            | Self::Running
            | Self::DoneBefore
            | Self::Cancelled
            | Self::Paused(_)
            | Self::Resumed(_) => true,
            Self::NotOpened(_) | Self::Nothing(_) | Self::PausedBefore(_) | Self::NotPaused(_) => false,
        }
    }

    /// The page that shows what was made, where that is another.
    pub(super) fn leads_to(&self) -> Option<String> {
        match self {
            Self::Drawn(plan) => Some(format!("/plans/{plan}")),
            Self::Discarded { .. }
            | Self::Reopened { .. }
            | Self::SentBack(_)
            | Self::Noted(_)
            | Self::Revealed(_)
            | Self::NotOpened(_)
            | Self::Begun
            | Self::Running
            | Self::DoneBefore
            | Self::Cancelled
            | Self::Paused(_)
            | Self::PausedBefore(_)
            | Self::Resumed(_)
            | Self::NotPaused(_)
            | Self::Nothing(_) => None,
        }
    }

    /// The sentence.
    pub(super) fn in_words(&self) -> String {
        let of = |letters: &usize, of: &usize, done: &str, was: &str| match (letters, of) {
            (1, 1) => format!("The letter is {done}."),
            (letters, of) if letters == of => format!("{letters} letters are {done}."),
            (0, 1) => format!("Nothing was done: the letter is not {was} any more."),
            (letters, of) => format!("{letters} of {of} letters are {done}; the others were not {was} any more."),
        };
        match self {
            Self::Discarded { letters, of: all } => of(letters, all, "discarded", "open"),
            Self::Reopened { letters, of: all } => of(letters, all, "open again", "discarded"),
            Self::SentBack(sent) => sent.in_words(),
            Self::Noted(code) => format!("The note stands beside the letters of {code}."),
            Self::Revealed(_) => "The body is shown below. That it was revealed is noted.".to_owned(),
            Self::NotOpened(why) => format!("The body was read, which is noted, and cannot be opened: {why}."),
            Self::Begun => "The audit has begun.".to_owned(),
            Self::Drawn(_) => {
                "The plan is drawn up. Nothing is changed yet: look at what is foreseen, and run it.".to_owned()
            }
            Self::Running => "The plan is running. This page follows it.".to_owned(),
            Self::DoneBefore => {
                "The plan has been run to its end already. What became of its letters stands below.".to_owned()
            }
            Self::Cancelled => "The plan is cancelled.".to_owned(),
            Self::Paused(target) => format!(
                "Paused: {}. What is in hand is loaded; a loader that is idle hears of it within half a minute.",
                target_words(target)
            ),
            Self::PausedBefore(target) => format!("Nothing was done: paused before: {}.", target_words(target)),
            Self::Resumed(target) => format!("Resumed: {}. Loaders hear of it within seconds.", target_words(target)),
            Self::NotPaused(target) => format!("Nothing was done: not paused any more: {}.", target_words(target)),
            Self::Nothing(why) => why.clone(),
        }
    }
}
