//! The same transaction again, while its failure would pass.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::DatabaseError;
use crate::outage::{Lasted, Outage};
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
    let since = Instant::now();
    let mut pauses = Pauses::through_an_outage();
    let (mut attempts, mut contended) = (0, 0);
    let outage = Outage::default();
    loop {
        let begun = Instant::now();
        let error = match attempt().await {
            Ok(value) => {
                tell_end(&outage);
                return Ok(value);
            }
            Err(error) => error,
        };
        attempts += 1;
        contended += u32::from(error.class() == Class::Contended);
        let pause = pauses.next_pause_after(begun.elapsed());
        let is_over = attempts >= patience.attempts
            || contended >= patience.contended
            || since.elapsed() + pause > patience.within;
        if is_over || !error.class().passes() {
            return Err(error);
        }
        if error.class() == Class::Transient {
            outage.failed(begun.into_std());
        }
        let lasting = Lasted { away: since.elapsed(), attempts: u64::from(attempts) };
        let (class, attempt) = (error.class(), lasting.attempts);
        tracing::warn!(%error, ?class, attempt, %lasting, "the transaction runs again");
        tokio::time::sleep(pause).await;
    }
}

/// Says that what was away, or in the way, is so no more.
pub fn tell_end(outage: &Outage) {
    if let Some(lasted) = outage.ended() {
        tracing::info!(after = %lasted, attempts = lasted.attempts, "the database is back");
    }
}
