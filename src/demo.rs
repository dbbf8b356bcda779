//! A small world in which Turnstile can be seen at work: real servers, real loaders, faults, a crash, and a report.
//!
//! Nothing here loads a message: the loaders are `turnstile run` processes with settings of their own, and what they
//! did is read from the tables afterwards and compared with what was sent.

mod dispatched;
mod downstream;
mod loaders;
mod logins;
#[cfg(feature = "console")]
mod operator;
mod producer;
mod report;
mod watchdog;
mod world;

use std::collections::BTreeMap;
use std::io;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stand_ins::postgres::PostgresError;
use stand_ins::sqs::{Faults, LocalQueueError, StaleReceipts};

pub use self::dispatched::SentCount;
pub use self::downstream::Announced;
#[cfg(feature = "console")]
pub use self::operator::Operator;
pub use self::report::Report;
pub use self::world::World;

use self::dispatched::Dispatched;
use self::downstream::announce;
use self::loaders::Loaders;
use self::logins::Logins;
use self::producer::produce;
use crate::database::address::{AddressError, TlsError};
use crate::database::migrate::MigrateError;
use crate::database::{Database, DatabaseError, Transaction};
use crate::keyring::KeyringError;
use crate::keys::RegisterError;
use crate::queue::QueueError;
use crate::queue::sqs::{ConnectError, NoQueueAddress};
use crate::table::{agreement, dead_letters, processed_messages, user_logins};

/// How many loaders share the queue.
const LOADERS: usize = 2;
/// How many deliveries a malformed message gets: the loaders' own default.
const MAX_ATTEMPTS: u64 = 3;
/// The shortest and the longest pause between two looks at the tables: too long, and the half-way mark is missed.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// By how much longer the pause between two looks is than a look, within those: counting a million rows takes a while.
const LOOKS_SELDOM: u32 = 10;
/// For how long nothing may move: longer than any pause of a loader.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many rows the report shows.
const ROWS_SHOWN: i64 = 3;

/// How large a demo, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many messages are sent.
    pub messages: u64,
    /// Decides the messages, and the dice of the queue's faults.
    pub seed: u64,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HowFar {
    /// Messages that the queue took.
    pub sent: u64,
    /// Messages that the tables hold.
    pub recorded: u64,
}

/// Sends messages into the world's queue while its loaders load them, kills a loader half-way, and reports what came
/// of it. `progress` is called some times a second.
///
/// # Errors
///
/// [`DemoError`] when something other than the promise broke. A broken promise is a [`Report`].
pub async fn run(world: &World, settings: Settings, mut progress: impl FnMut(HowFar)) -> Result<Report, DemoError> {
    let Settings { messages, seed } = settings;
    // Before the faults begin: finding the queue is not what is shown here.
    let sender = world.sender().await?;
    world.queue.set_faults(faults(seed));
    let environment = loader_environment(world, messages);
    let mut loaders = Loaders::start(LOADERS, world, environment.clone())?;
    let sent = AtomicU64::new(0);
    let (dispatched, killed_at) = tokio::try_join!(
        produce(world, &sender, Logins::new(seed, messages), &sent),
        load(world, &mut loaders, messages, &sent, &mut progress),
    )?;
    let figures = loaders.end().await?;
    let (delivered, fault_counts) = (world.queue.served().delivered, world.queue.fault_counts());
    world.queue.set_faults(Faults::default());

    let Dispatched { count, expected, canaries, .. } = dispatched;
    let mut discrepancies = expected.compare(&world.database, &canaries).await?;
    discrepancies.leaked += loaders.count_log_lines_holding(&canaries)?;
    let announced = announce(world, &environment, &canaries).await?;
    discrepancies.leaked += announced.leaked;
    let look = async |seen: &Transaction| {
        Ok(Report {
            settings,
            sent: count,
            delivered,
            loaded: agreement::count(seen).await?.rows,
            dead_letters: dead_letters_by_code(seen).await?,
            absorbed: delivered.saturating_sub(count.messages() + (MAX_ATTEMPTS - 1) * count.malformed),
            discrepancies,
            pace: processed_messages::pace(seen).await?,
            faults: fault_counts,
            killed_at,
            rows: user_logins::some(seen, ROWS_SHOWN).await?,
            figures: figures.clone(),
            announced,
        })
    };
    Ok(world.database.snapshot(look).await?)
}

/// Often enough that each happens, seldom enough that the work goes on.
fn faults(seed: u64) -> Faults {
    Faults {
        seed,
        only: None,
        throttle: 0.01,
        error_500: 0.01,
        lost_reply: 0.02,
        // The demo must know every message that it sent, to compare.
        sends_are_answered: true,
        partial_batch_failure: 0.01,
        early_redelivery: 0.03,
        redelivery_after_delete: 0.01,
        duplicate_in_receive: 0.05,
        delay: 0.03,
        max_delay: Duration::from_millis(200),
        stale_receipts: StaleReceipts::Ignored,
    }
}

/// How the loaders differ from any others: what makes them wait is short, so that the demo is.
fn loader_environment(world: &World, messages: u64) -> Vec<(String, String)> {
    // Of few messages, too, some batches shall be before the crash and some after it.
    let batch_size = (messages / 20).clamp(10, 500);
    let own = [
        ("TURNSTILE_BATCH_SIZE", batch_size.to_string()),
        ("TURNSTILE_MAX_ATTEMPTS", MAX_ATTEMPTS.to_string()),
        ("TURNSTILE_VISIBILITY_TIMEOUT", "3s".to_owned()),
        ("TURNSTILE_RETRY_DELAY", "1s".to_owned()),
        // A loader that is started again may meet a fault before it meets the queue.
        ("TURNSTILE_WAIT_FOR_QUEUE", "1m".to_owned()),
        ("TURNSTILE_WAIT", "1s".to_owned()),
        // What the queue holds the demo knows without asking.
        ("TURNSTILE_METRICS_ADDRESS", "127.0.0.1:0".to_owned()),
        ("TURNSTILE_QUEUE_DEPTH", "off".to_owned()),
        // No profile of this machine leads them elsewhere; and what they log at their most talkative is looked through.
        ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("RUST_LOG", "debug".to_owned()),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value));
    world.environment().into_iter().chain(own).collect()
}

/// Looks after the loaders until the queue is drained of all messages. Gives the number of recorded messages
/// at which one of them was killed.
async fn load(
    world: &World,
    loaders: &mut Loaders<'_>,
    messages: u64,
    sent: &AtomicU64,
    progress: &mut impl FnMut(HowFar),
) -> Result<Option<u64>, DemoError> {
    let mut killed_at = None;
    let mut moved = (Instant::now(), HowFar { sent: 0, recorded: 0 });
    loop {
        let look = Instant::now();
        let now = HowFar { sent: sent.load(Ordering::Relaxed), recorded: recorded(&world.database).await? };
        let pause = (look.elapsed() * LOOKS_SELDOM).clamp(PAUSES.0, PAUSES.1);
        progress(now);
        loaders.look_after()?;
        if now.sent == messages && now.recorded == messages && world.messages_in_queue() == 0 {
            return Ok(killed_at);
        }
        if killed_at.is_none() && now.recorded * 2 >= messages {
            loaders.kill_one_and_start_it_again().await?;
            killed_at = Some(now.recorded);
        }
        if now != moved.1 {
            moved = (Instant::now(), now);
        } else if moved.0.elapsed() > PATIENCE {
            return Err(DemoError::Stalled(now));
        }
        tokio::time::sleep(pause).await;
    }
}

async fn recorded(database: &Database) -> Result<u64, DatabaseError> {
    database.snapshot(processed_messages::count).await
}

async fn dead_letters_by_code(transaction: &Transaction) -> Result<BTreeMap<String, u64>, DatabaseError> {
    let counts = dead_letters::count(transaction, &dead_letters::Filter::default()).await?;
    Ok(counts.into_iter().map(|count| (count.code, count.letters)).collect())
}

/// Why the demo did not come to its report.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// There is no PostgreSQL to start.
    #[error(transparent)]
    NoPostgres(PostgresError),
    /// The PostgreSQL does not start or does not obey.
    #[error(transparent)]
    Postgres(PostgresError),
    /// The local SQS server cannot start.
    #[error("the local SQS server cannot start")]
    Queue(#[from] LocalQueueError),
    /// The keyring cannot be made.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The tables cannot be made.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The keyring's keys cannot be registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The database fails the demo's own questions.
    #[error("the demo cannot look into its database: {0}")]
    Database(#[from] DatabaseError),
    /// The URL of the throw-away PostgreSQL cannot be read: a defect.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The TLS library refuses.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The name of the demo's queue is not valid: a defect.
    #[error(transparent)]
    QueueName(#[from] NoQueueAddress),
    /// The producer does not find the queue.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A send ended in a way that leaves open what the queue took.
    #[error("a send was not answered ({0}), so that what was sent cannot be compared")]
    Send(QueueError),
    /// The queue will never take a message.
    #[error("the queue refuses a message of the demo: {code}")]
    Refused {
        /// Its error code.
        code: String,
    },
    /// A loader ended with an error.
    #[error("a loader ended with {status}. The end of its log:\n{log}")]
    Loader {
        /// How it ended.
        status: ExitStatus,
        /// Its last lines.
        log: String,
    },
    /// The relay ended with an error.
    #[error("the relay ended with {status}. The end of its log:\n{log}")]
    Relay {
        /// How it ended.
        status: ExitStatus,
        /// Its last lines.
        log: String,
    },
    /// A loader does not say how it is.
    #[error("a loader gives no figures: {0}")]
    NoFigures(String),
    /// Nothing moves any more.
    #[error(
        "nothing has moved for {} s: {} messages are sent and {} recorded",
        PATIENCE.as_secs(), .0.sent, .0.recorded
    )]
    Stalled(HowFar),
    /// A call to the system failed.
    #[error("cannot {what}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// What the system answered.
        source: io::Error,
    },
}

impl From<PostgresError> for DemoError {
    fn from(error: PostgresError) -> Self {
        match error {
            PostgresError::ProgramsMissing { .. } => Self::NoPostgres(error),
            PostgresError::NoAccount
            | PostgresError::Io { .. }
            | PostgresError::NoCluster { .. }
            | PostgresError::EndedEarly { .. }
            | PostgresError::NoAnswer { .. }
            | PostgresError::Statement { .. } => Self::Postgres(error),
        }
    }
}

impl DemoError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        let remedy = match self {
            Self::NoPostgres(error) => {
                return format!("{}; or name the folder of its programs in TURNSTILE_PG_BIN", error.remedy());
            }
            Self::Postgres(error) => error.remedy(),
            Self::Keyring(error) => error.remedy(),
            Self::Migrate(error) => error.remedy(),
            Self::Register(error) => error.remedy(),
            Self::Database(error) => error.remedy(),
            Self::Tls(error) => error.remedy(),
            Self::Connect(error) => return error.remedy(),
            Self::Address(_) | Self::QueueName(_) | Self::Refused { .. } => "report it: it is a defect of the demo",
            Self::Send(_) => "try again, or with fewer --messages",
            Self::Loader { .. } | Self::Relay { .. } | Self::NoFigures(_) | Self::Stalled(_) => {
                "look into the logs of the loaders and of the relay"
            }
            Self::Queue(_) | Self::System { .. } => {
                "look at the cause: a full disk, a TMPDIR that cannot be written to, too few open files (ulimit -n)"
            }
        };
        remedy.to_owned()
    }

    fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
