//! Whether loaders get on: for how long none of them did although there was work.

use std::time::{Duration, Instant};

use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::postgres::try_connect;

/// Loaders that record nothing for longer than this, while the queue holds messages that they could have and the database
/// answers, are stuck.
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(60);

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How soon a database that is well answers.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// What a look at the queue shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether there is a message that a receive would deliver.
    pub(crate) has_more: bool,
    /// How many messages the queue has deleted: each was recorded before.
    pub(crate) deleted: u64,
}

/// Looks until `until` is cancelled, or until nobody has got on for `enough`; gives the longest time for which nobody did.
pub(crate) async fn longest_idleness(
    look: impl Fn() -> Look,
    database_url: &str,
    enough: Duration,
    until: &CancellationToken,
) -> Duration {
    let mut client: Option<Client> = None;
    let (mut longest, mut since, mut deleted) = (Duration::ZERO, Instant::now(), look().deleted);
    while !until.is_cancelled() && longest < enough {
        let now = look();
        if !now.has_more || now.deleted != deleted || !answers(&mut client, database_url).await {
            (since, deleted) = (Instant::now(), now.deleted);
        }
        longest = longest.max(since.elapsed());
        tokio::time::sleep(LOOK_EVERY).await;
    }
    longest
}

/// Whether the database answers, by the same connection or a new one.
async fn answers(connection: &mut Option<Client>, database_url: &str) -> bool {
    let asking = async {
        let client = match connection.take() {
            Some(client) => client,
            None => try_connect(database_url).await.ok()?,
        };
        client.simple_query("SELECT 1").await.ok().map(|_| client)
    };
    *connection = tokio::time::timeout(ANSWERS_WITHIN, asking).await.ok().flatten();
    connection.is_some()
}
