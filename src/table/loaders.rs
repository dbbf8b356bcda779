//! `loaders`: the processes that load, each in a row that it renews while it lives.

use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;
use tokio_postgres::Row;

use crate::database::{DatabaseError, Transaction};

/// A process of `turnstile run`, from its start to its end: twelve hexadecimal digits, others at each start.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoaderId(String);

impl LoaderId {
    /// A new one.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string().split_off(20))
    }

    /// One that stands in the table.
    pub fn of(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LoaderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes the states: the word of each in its column.
macro_rules! states {
    ($($(#[$doc:meta])+ $name:ident => $word:literal,)+) => {
        /// How a loader is, the first that is so.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum State {
            $($(#[$doc])+ $name,)+
        }

        impl State {
            /// The word in the column.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }
        }

        impl FromStr for State {
            type Err = NoState;

            fn from_str(word: &str) -> Result<Self, NoState> {
                match word {
                    $($word => Ok(Self::$name),)+
                    _ => Err(NoState),
                }
            }
        }
    };
}

states! {
    /// It has ended, and said so.
    Stopped => "stopped",
    /// It was asked to end.
    Ending => "ending",
    /// Its queue does not answer.
    QueueAway => "queue_away",
    /// The dead letters are at their quota: it takes few.
    Full => "full",
    /// Too many messages are not logins: it takes few.
    Storm => "storm",
    /// An operator wants it to receive nothing.
    Paused => "paused",
    /// It loads, or would if there were something to load.
    Running => "running",
}

/// A text is no state of a loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no state of a loader")]
pub struct NoState;

/// What a loader is called, and what it says of itself at one moment. All numbers are those of one snapshot of its figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Beat {
    /// Which process.
    pub id: LoaderId,
    /// The name of its machine, container or pod.
    pub host: String,
    /// The process there.
    pub pid: i32,
    /// Which version of the program.
    pub version: String,
    /// Its queue, by its ARN.
    pub queue: String,
    /// How it is.
    pub state: State,
    /// What each lane is doing, and for how many seconds: a list of objects in JSON.
    pub lanes: String,
    /// Deliveries that came from the queue.
    pub received: i64,
    /// Deliveries by how they ended.
    pub ended: Ended,
    /// Deliveries that have not ended.
    pub in_hand: i64,
    /// Deliveries a second, since the beat before.
    pub received_per_second: f64,
    /// Logins loaded a second, since the beat before.
    pub loaded_per_second: f64,
    /// How late half of these were at most, in seconds; nothing where there were none.
    pub lag_p50: Option<f64>,
    /// How late 99 of 100 of them were at most.
    pub lag_p99: Option<f64>,
    /// Calls to the queue by kind: an object in JSON.
    pub sqs_calls: String,
    /// What they are billed as, in the same form.
    pub sqs_billed: String,
    /// Receives that brought nothing.
    pub sqs_empty_receives: i64,
}

/// Deliveries since the start of a loader, by how they ended: each in one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Its login is a row.
    pub loaded: i64,
    /// Its message is a dead letter.
    pub dead_lettered: i64,
    /// It brought nothing new.
    pub absorbed: i64,
    /// It brought another login under a key that was taken.
    pub contradicting: i64,
    /// It went back for another attempt.
    pub returned: i64,
    /// It was given back untried.
    pub released: i64,
    /// It arrived damaged.
    pub damaged: i64,
}

impl Ended {
    /// All that have ended.
    pub fn total(&self) -> i64 {
        let Self { loaded, dead_lettered, absorbed, contradicting, returned, released, damaged } = self;
        loaded + dead_lettered + absorbed + contradicting + returned + released + damaged
    }
}

impl Beat {
    /// How many deliveries came that have neither ended nor are in hand. Anything but zero is a defect.
    pub fn unaccounted(&self) -> i64 {
        self.received - self.ended.total() - self.in_hand
    }
}

/// Writes the row of a loader, or renews it. When that is, the database says.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn write(transaction: &Transaction, beat: &Beat) -> Result<(), DatabaseError> {
    let sql = format!(
        "INSERT INTO {own}.loaders
             (id, host, pid, version, queue, state, lanes, received, loaded, dead_lettered, absorbed, contradicting, returned,
              released, damaged, in_hand, received_per_second, loaded_per_second, lag_p50, lag_p99, sqs_calls, sqs_billed,
              sqs_empty_receives)
         VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
                 $21::text::jsonb, $22::text::jsonb, $23)
         ON CONFLICT (id) DO UPDATE SET
             seen_at = now(), state = $6, lanes = $7::text::jsonb, received = $8, loaded = $9, dead_lettered = $10,
             absorbed = $11, contradicting = $12, returned = $13, released = $14, damaged = $15, in_hand = $16,
             received_per_second = $17, loaded_per_second = $18, lag_p50 = $19, lag_p99 = $20, sqs_calls = $21::text::jsonb,
             sqs_billed = $22::text::jsonb, sqs_empty_receives = $23",
        own = transaction.schemas().own
    );
    let Beat { id, host, pid, version, queue, state, lanes, received, ended, in_hand, .. } = beat;
    let Ended { loaded, dead_lettered, absorbed, contradicting, returned, released, damaged } = ended;
    let Beat {
        received_per_second,
        loaded_per_second,
        lag_p50,
        lag_p99,
        sqs_calls,
        sqs_billed,
        sqs_empty_receives,
        ..
    } = beat;
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 23] = [
        &id.0,
        host,
        pid,
        version,
        queue,
        &state.as_str(),
        lanes,
        received,
        loaded,
        dead_lettered,
        absorbed,
        contradicting,
        returned,
        released,
        damaged,
        in_hand,
        received_per_second,
        loaded_per_second,
        lag_p50,
        lag_p99,
        sqs_calls,
        sqs_billed,
        sqs_empty_receives,
    ];
    transaction.execute("note that this loader lives", &sql, &parameters).await.map(drop)
}

/// Removes the rows of loaders that have not been seen for a day.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn forget_the_gone(transaction: &Transaction) -> Result<(), DatabaseError> {
    let sql = format!("SELECT {}.forget_loaders()", transaction.schemas().own);
    transaction.query_one("forget loaders", &sql, &[]).await.map(drop)
}

/// A loader as it stands in the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// What it last said.
    pub beat: Beat,
    /// When it began.
    pub started_at: OffsetDateTime,
    /// When it last said something.
    pub seen_at: OffsetDateTime,
    /// How long ago that is by the database's clock, in seconds.
    pub silent_for: f64,
    /// Since when it is to receive nothing.
    pub paused_since: Option<OffsetDateTime>,
}

const READING: &str = "read the loaders";

/// The most loaders that are read.
const MOST: i64 = 10_000;

/// Reads the loaders that were seen within a day, those of one queue behind those of another, the oldest first.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn read(transaction: &Transaction) -> Result<Vec<Seen>, DatabaseError> {
    let sql = format!(
        "SELECT id, host, pid, version, queue, state, lanes::text, received, loaded, dead_lettered, absorbed, contradicting, returned,
                released, damaged, in_hand, received_per_second, loaded_per_second, lag_p50, lag_p99, sqs_calls::text,
                sqs_billed::text, sqs_empty_receives, started_at, seen_at,
                extract(epoch FROM clock_timestamp() - seen_at)::double precision, {own}.receiving_paused(queue, id)
         FROM {own}.loaders ORDER BY queue, started_at, id LIMIT {MOST}",
        own = transaction.schemas().own
    );
    let rows = transaction.query(READING, &sql, &[]).await?;
    rows.iter().map(|row| seen(transaction, row)).collect()
}

fn seen(transaction: &Transaction, row: &Row) -> Result<Seen, DatabaseError> {
    let state = row.get::<_, &str>(5).parse();
    let ended = Ended {
        loaded: row.get(8),
        dead_lettered: row.get(9),
        absorbed: row.get(10),
        contradicting: row.get(11),
        returned: row.get(12),
        released: row.get(13),
        damaged: row.get(14),
    };
    let beat = Beat {
        id: LoaderId::of(row.get::<_, &str>(0)),
        host: row.get(1),
        pid: row.get(2),
        version: row.get(3),
        queue: row.get(4),
        state: state.map_err(|NoState| transaction.broken(READING, "a state is unknown".to_owned()))?,
        lanes: row.get(6),
        received: row.get(7),
        ended,
        in_hand: row.get(15),
        received_per_second: row.get(16),
        loaded_per_second: row.get(17),
        lag_p50: row.get(18),
        lag_p99: row.get(19),
        sqs_calls: row.get(20),
        sqs_billed: row.get(21),
        sqs_empty_receives: row.get(22),
    };
    Ok(Seen { beat, started_at: row.get(23), seen_at: row.get(24), silent_for: row.get(25), paused_since: row.get(26) })
}
