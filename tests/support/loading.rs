//! A database with Turnstile's tables in it, and batches that are loaded into it as a lane does.

use tokio::sync::mpsc;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use turnstile::batch::Batch;
use turnstile::database::Database;
use turnstile::keys;
use turnstile::load::{Contradictions, Destination, Left, LoadError, Tally};
use turnstile::mask::MaskKind;
use turnstile::message::{Delivery, Identity, QueueIdentity};
use turnstile::metrics::Metrics;

use super::verdicts::{QUEUE_ARN, keyring};

/// What became of a batch.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) committed: Vec<Delivery>,
    pub(crate) returned: Vec<Delivery>,
    pub(crate) released: Vec<Delivery>,
    pub(crate) sent_at: Vec<time::OffsetDateTime>,
    pub(crate) tally: Tally,
    pub(crate) attempts_repeated: u64,
    /// In how many transactions it was recorded.
    pub(crate) parts: usize,
}

/// Makes the tables, and registers the keys of the tests' keyring.
pub(crate) async fn migrate(database: &Database) {
    database.migrate().await.unwrap();
    keys::register(database, &keyring(), MaskKind::Seal, false).await.unwrap();
}

/// Where the messages of the tests' queue go.
pub(crate) fn destination(database: &Database, max_attempts: u32) -> Destination {
    destination_of(QUEUE_ARN, database, max_attempts, Contradictions::default())
}

/// Where the messages of a queue go.
pub(crate) fn destination_of(
    queue: &str,
    database: &Database,
    max_attempts: u32,
    contradictions: Contradictions,
) -> Destination {
    let hash_key = keyring().hash_key().check_value();
    Destination::new(database.clone(), QueueIdentity::new(queue), hash_key, max_attempts, contradictions)
}

/// Loads a batch of the tests' queue, whatever becomes of it.
pub(crate) async fn load(database: &Database, batch: Batch, max_attempts: u32) -> Result<Outcome, LoadError> {
    load_into(&destination(database, max_attempts), batch, &CancellationToken::new()).await
}

/// The same into a destination that may have seen others, and until it is told to end.
pub(crate) async fn load_into(
    destination: &Destination,
    batch: Batch,
    give_up: &CancellationToken,
) -> Result<Outcome, LoadError> {
    let (recorded, mut parts) = mpsc::unbounded_channel();
    let Left { returned, released, attempts_repeated } =
        destination.load(batch, give_up, &recorded, &Metrics::default().lane()).await?;
    drop(recorded);
    let mut outcome = Outcome { returned, released, attempts_repeated, ..Outcome::default() };
    while let Some(part) = parts.recv().await {
        outcome.parts += 1;
        outcome.committed.extend(part.committed.into_deliveries());
        outcome.sent_at.extend(part.logins.iter().map(|login| login.sent_at));
        let (sum, one) = (&mut outcome.tally, part.tally);
        sum.loaded += one.loaded;
        sum.dead_lettered += one.dead_lettered;
        sum.absorbed += one.absorbed;
        sum.contradicting += one.contradicting;
        sum.redelivered += one.redelivered;
        sum.repeated_in_batch += one.repeated_in_batch;
    }
    Ok(outcome)
}

/// Records that a loader with this scheme has begun.
pub(crate) async fn introduce(database: &Database, scheme: &str) {
    let scheme: Identity = scheme.parse().unwrap();
    destination(database, 1).introduce(&scheme, &CancellationToken::new()).await.unwrap();
}

/// The rows of the four tables: processed, logins, dead letters, events.
pub(crate) async fn counts(client: &Client) -> [i64; 4] {
    let sql = "SELECT (SELECT count(*) FROM processed_messages), (SELECT count(*) FROM user_logins),
                      (SELECT count(*) FROM dead_letters), (SELECT count(*) FROM outbox)";
    let row = client.query_one(sql, &[]).await.unwrap();
    [0, 1, 2, 3].map(|column| row.get(column))
}
