//! Everything that `turnstile run` is told. `turnstile check` reads the same, so that it looks at what a run would meet.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;

use super::{DatabaseArgs, IdentityArgs, KeyringArgs, LaneArgs, MaskArgs, Mistakes, QueueArgs, given};
use crate::database::{DatabaseSettings, Patience};
use crate::lane::LaneSettings;
use crate::load::Contradictions;
use crate::mask::MaskKind;
use crate::message::Identity;
use crate::queue::sqs::SqsSettings;

/// The arguments of a run.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    queue: QueueArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Which keys: read apart from the settings, because they are a file's contents and no setting.
    #[command(flatten)]
    pub keyring: KeyringArgs,
    #[command(flatten)]
    mask: MaskArgs,
    #[command(flatten)]
    identity: IdentityArgs,
    #[command(flatten)]
    lanes: LaneArgs,

    /// The most connections to the database at once [default: as many as lanes] [1 to 64]
    #[arg(long, env = "TURNSTILE_DATABASE_CONNECTIONS", value_name = "N")]
    database_connections: Option<String>,

    /// How long a database that is away or busy is waited for at start; later, as long as it takes [default: 30s]
    /// [0s to 1h]
    #[arg(long, env = "TURNSTILE_WAIT_FOR_DATABASE", value_name = "DURATION")]
    wait_for_database: Option<String>,

    /// How long the end may take after the first signal [default: 30s] [1s to 1h]
    #[arg(long, env = "TURNSTILE_SHUTDOWN_TIMEOUT", value_name = "DURATION")]
    shutdown_timeout: Option<String>,

    /// Bring the database's tables to this version first, as `turnstile migrate` does
    #[arg(long, env = "TURNSTILE_MIGRATE", value_parser = FalseyValueParser::new())]
    migrate: bool,
}

/// What they mean.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// Which queue.
    pub queue: SqsSettings,
    /// Which database.
    pub database: DatabaseSettings,
    /// How long a database that is away or busy is waited for at start.
    pub wait_for_database: Duration,
    /// The keyring's file; none: the environment holds the keys.
    pub keyring: Option<PathBuf>,
    /// How personal fields are masked.
    pub mask: MaskKind,
    /// By which key two messages bring the same login.
    pub identity: Identity,
    /// What becomes of another login under a key that is taken.
    pub contradictions: Contradictions,
    /// How many lanes.
    pub lanes: usize,
    /// How each works.
    pub lane: LaneSettings,
    /// How long the end may take once it was asked for.
    pub shutdown_timeout: Duration,
    /// Whether to migrate first.
    pub migrate: bool,
}

impl RunSettings {
    /// How long the database is waited for at start.
    pub fn patience(&self) -> Patience {
        Patience::within(self.wait_for_database)
    }
}

impl RunArgs {
    /// The settings that the arguments mean; mistakes are noted.
    pub fn read(&self, mistakes: &mut Mistakes) -> Option<RunSettings> {
        let identity = self.identity.read(mistakes);
        let contradictions = self.identity.contradictions(mistakes);
        let queue = self.queue.read(mistakes);
        let lanes = self.lanes.lanes(mistakes);
        let connections = mistakes.whole(
            "--database-connections (TURNSTILE_DATABASE_CONNECTIONS)",
            given(&self.database_connections).unwrap_or(&lanes.unwrap_or(1).to_string()),
            1..=64,
        );
        let database = self.database.read(connections.unwrap_or(1), mistakes);
        let wait_for_database = mistakes.duration(
            "--wait-for-database (TURNSTILE_WAIT_FOR_DATABASE)",
            given(&self.wait_for_database).unwrap_or("30s"),
            Duration::ZERO..=Duration::from_secs(3600),
        );
        let mask = self.mask.read(mistakes);
        let lane = self.lanes.read(mistakes);
        let shutdown_timeout = mistakes.duration(
            "--shutdown-timeout (TURNSTILE_SHUTDOWN_TIMEOUT)",
            given(&self.shutdown_timeout).unwrap_or("30s"),
            Duration::from_secs(1)..=Duration::from_secs(3600),
        );
        if let (Some(lane), Some(shutdown_timeout)) = (&lane, shutdown_timeout) {
            leave_time_to_come_home(lane.limits.wait, shutdown_timeout, mistakes);
        }
        let identity = identity?;
        let mut queue = queue?;
        queue.identity_attribute = identity.attribute().map(str::to_owned);
        Some(RunSettings {
            queue,
            database: database?,
            wait_for_database: wait_for_database?,
            keyring: self.keyring.path().map(PathBuf::from),
            mask: mask?,
            identity,
            contradictions: contradictions?,
            lanes: lanes?,
            lane: lane?,
            shutdown_timeout: shutdown_timeout?,
            migrate: self.migrate,
        })
    }
}

/// A receive that is cut off hides its messages, unread, until their visibility timeout.
fn leave_time_to_come_home(wait: Duration, shutdown_timeout: Duration, mistakes: &mut Mistakes) {
    if shutdown_timeout < wait + Duration::from_secs(5) {
        mistakes.note::<()>(
            "--shutdown-timeout (TURNSTILE_SHUTDOWN_TIMEOUT)",
            "is too short for a receive in flight to come home",
            "give at least 5 s more than --wait, or lower --wait (TURNSTILE_WAIT)",
        );
    }
}
