//! Taking a partition off its table and dropping it, with patience for those who are in the way and without keeping anybody
//! waiting.

use std::time::Duration;

use tokio::time::Instant;

use crate::database::{DatabaseError, LoneSession};
use crate::table::partitions::{self, Place};

/// Why a partition did not go. It is brought to its end by the next run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InTheWay {
    /// The partition.
    pub partition: String,
    /// Transactions that use it, or may.
    pub holders: Vec<String>,
}

impl InTheWay {
    /// Who it is, as a message ends with it: nothing, or a colon and names.
    pub(crate) fn named(&self) -> String {
        match self.holders.as_slice() {
            [] => String::new(),
            holders => format!(": {}", holders.join(", ")),
        }
    }

    /// Asks who it is.
    pub(crate) async fn of(session: &LoneSession, place: Place<'_>) -> Result<Self, DatabaseError> {
        Ok(Self { partition: place.name.to_owned(), holders: partitions::holders(session, place).await? })
    }
}

/// Whether something came to its end, or others were in the way for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    ToItsEnd,
    InTheWay,
}

/// How partitions are taken off.
#[derive(Clone, Copy)]
pub(crate) struct Detaching<'s> {
    pub(crate) session: &'s LoneSession,
    /// How long is waited for those who are in the way, for each partition.
    pub(crate) patience: Duration,
    /// Whether a partition can be detached beside readers and writers.
    pub(crate) beside_writers: bool,
}

impl Detaching<'_> {
    /// Makes a table of its own of a partition.
    pub(crate) async fn detach(self, place: Place<'_>) -> Result<Came, DatabaseError> {
        let until = self.deadline();
        if !self.beside_writers {
            return again_until(until, || partitions::try_detach(self.session, place)).await;
        }
        match came(partitions::detach(self.session, place, self.patience).await)? {
            Came::ToItsEnd => Ok(Came::ToItsEnd),
            Came::InTheWay => self.finalize_until(place, until).await,
        }
    }

    /// Ends a detaching that was given up or cut off.
    pub(crate) async fn finalize(self, place: Place<'_>) -> Result<Came, DatabaseError> {
        self.finalize_until(place, self.deadline()).await
    }

    async fn finalize_until(self, place: Place<'_>, until: Instant) -> Result<Came, DatabaseError> {
        again_until(until, || partitions::try_finalize(self.session, place)).await
    }

    /// Drops a partition that is attached.
    pub(crate) async fn drop_attached(self, place: Place<'_>) -> Result<Came, DatabaseError> {
        if !self.beside_writers {
            return again_until(self.deadline(), || partitions::try_drop_attached(self.session, place)).await;
        }
        match self.detach(place).await? {
            Came::ToItsEnd => self.drop_detached(place).await,
            Came::InTheWay => Ok(Came::InTheWay),
        }
    }

    /// Drops a table that is a partition no more.
    pub(crate) async fn drop_detached(self, place: Place<'_>) -> Result<Came, DatabaseError> {
        came(partitions::drop_detached(self.session, place, self.patience).await)
    }

    fn deadline(self) -> Instant {
        Instant::now() + self.patience
    }
}

/// How often those are asked again who are in the way.
const ASK_EVERY: Duration = Duration::from_millis(300);

pub(crate) fn came(ended: Result<(), DatabaseError>) -> Result<Came, DatabaseError> {
    match ended {
        Ok(()) => Ok(Came::ToItsEnd),
        Err(error) if error.gave_way() => Ok(Came::InTheWay),
        Err(error) => Err(error),
    }
}

/// Tries the same again, as long as others are in the way.
pub(crate) async fn again_until<F: Future<Output = Result<(), DatabaseError>>>(
    until: Instant,
    attempt: impl Fn() -> F,
) -> Result<Came, DatabaseError> {
    let ended = |attempt: F| async { Ok(came(attempt.await)? == Came::ToItsEnd) };
    until_so(until, || ended(attempt())).await
}

/// Asks whether something is so, again and again, until it is or the time is over.
pub(crate) async fn until_so<F: Future<Output = Result<bool, DatabaseError>>>(
    until: Instant,
    ask: impl Fn() -> F,
) -> Result<Came, DatabaseError> {
    loop {
        if ask().await? {
            return Ok(Came::ToItsEnd);
        }
        if Instant::now() >= until {
            return Ok(Came::InTheWay);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
