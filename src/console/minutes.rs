//! How many messages were sent in each of the last minutes: counted for everybody at once, because counting takes a while where
//! there are many.

use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::sync::Mutex;

use crate::database::{Database, DatabaseError, Transaction};
use crate::table::processed_messages::{Sent, sent};

/// How many minutes.
pub(super) const MINUTES: u16 = 60;
/// The most messages that are counted of a minute.
const MOST: u32 = 5_000;
/// How long a count is good for.
const GOOD_FOR: Duration = Duration::from_secs(15);

/// The last count.
#[derive(Default)]
pub(super) struct Minutes(Mutex<Option<(Instant, Vec<Sent>)>>);

impl Minutes {
    /// The last minutes, the oldest first. Who asks while another counts waits for that count.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub(super) async fn sent(&self, database: &Database, now: OffsetDateTime) -> Result<Vec<Sent>, DatabaseError> {
        let mut last = self.0.lock().await;
        if let Some((_, counted)) = last.as_ref().filter(|(at, _)| at.elapsed() < GOOD_FOR) {
            return Ok(counted.clone());
        }
        let from = now - Duration::from_secs(60 * u64::from(MINUTES));
        let count = async |seen: &Transaction| sent(seen, from, Duration::from_secs(60), MINUTES, MOST).await;
        let counted = database.snapshot(count).await?;
        *last = Some((Instant::now(), counted.clone()));
        Ok(counted)
    }
}
