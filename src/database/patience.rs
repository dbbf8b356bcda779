//! The same transaction again, while its failure would pass.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::DatabaseError;
use crate::outage::Outage;
use crate::retry::{Class, Pauses};

/// How long somebody waits for a database that is away or busy.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How often a transaction is tried.
    pub attempts: u32,
    /// How often it may wait for others or take too long.
    pub contended: u32,
    /// How long after the first attempt another one may begin.
    pub within: Duration,
}

impl Patience {
    /// As long as it takes.
    pub const ENDLESS: Self = Self { attempts: u32::MAX, contended: u32::MAX, within: Duration::MAX };

    /// Half a minute of pauses in all: somebody waits for the answer, and may type the command again.
    pub const WHILE_SOMEBODY_WAITS: Self = Self::attempts(10);

    /// As many attempts as this.
    pub const fn attempts(attempts: u32) -> Self {
        Self { attempts, ..Self::ENDLESS }
    }

    /// As often as it takes, for this long.
    pub const fn within(within: Duration) -> Self {
        Self { within, ..Self::ENDLESS }
    }
}

/// Runs a transaction again, after growing pauses, while its failure would pass or its commit is ambiguous.
///
/// # Errors
///
/// The last attempt's, when it would not pass or `patience` is at its end.
pub async fn persist<T, F: Future<Output = Result<T, DatabaseError>>>(
    patience: Patience,
    attempt: impl Fn() -> F,
) -> Result<T, DatabaseError> {
    let mut pauses = Pauses::through_an_outage();
    let (mut contended, mut was_away) = (0, false);
    let outage = Outage::default();
    loop {
        let begun = Instant::now();
        let error = match attempt().await {
            Ok(value) => {
                if was_away {
                    tell_end(&outage);
                }
                return Ok(value);
            }
            Err(error) => error,
        };
        let (class, lasting) = (error.class(), outage.failed(begun.into_std()));
        contended += u32::from(class == Class::Contended);
        was_away |= class == Class::Transient;
        let pause = pauses.next_pause_after(begun.elapsed());
        let is_over = lasting.attempts >= u64::from(patience.attempts)
            || contended >= patience.contended
            || lasting.away + pause > patience.within;
        if is_over || !class.passes() {
            return Err(error);
        }
        let (attempt, remedy) = (lasting.attempts, error.remedy());
        tracing::warn!(%error, ?class, attempt, %lasting, remedy, "the transaction runs again");
        tokio::time::sleep(pause).await;
    }
}

/// Says that what was away, or in the way, is so no more, and whether it was.
pub fn tell_end(outage: &Outage) -> bool {
    let ended = outage.ended();
    if let Some(lasted) = ended {
        tracing::info!(after = %lasted, attempts = lasted.attempts, "the database is back");
    }
    ended.is_some()
}
