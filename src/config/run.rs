//! Everything that `turnstile run` is told. `turnstile check` reads the same, so that it looks at what a run would meet.

use std::net::SocketAddr;
use std::time::Duration;

use super::rows::{BodyKind, QueueDepth};
use super::{Given, Mistakes, rows};
use crate::acknowledge;
use crate::database::{DatabaseSettings, Patience};
use crate::keyring::KeyringPlace;
use crate::lane::LaneSettings;
use crate::load::Contradictions;
use crate::mask::MaskKind;
use crate::message::Identity;
use crate::queue::sqs::SqsSettings;
use crate::receive::ReceiveLimits;

/// What a run is told.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// Which queue.
    pub queue: SqsSettings,
    /// Which database.
    pub database: DatabaseSettings,
    /// How long a database that is away or busy is waited for at start.
    pub wait_for_database: Duration,
    /// Where the keyring is.
    pub keyring: KeyringPlace,
    /// How personal fields are masked.
    pub mask: MaskKind,
    /// What the messages are.
    pub body: BodyKind,
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
    /// Where figures and probes are served, if anywhere.
    pub metrics_address: Option<SocketAddr>,
    /// Whether a scrape asks the queue what it holds.
    pub queue_depth: QueueDepth,
}

impl RunSettings {
    /// The settings that were given; mistakes are noted.
    pub fn read(given: &Given, mistakes: &mut Mistakes) -> Option<Self> {
        let body = given.read(&rows::BODY, mistakes);
        let identity = given.identity(mistakes);
        let contradictions = given.read(&rows::CONTRADICTIONS, mistakes);
        let queue = given.queue(mistakes);
        let lanes = given.read(&rows::LANES, mistakes);
        let connections = given.optional(&rows::DATABASE_CONNECTIONS, mistakes).flatten().or(lanes);
        let database = given.database(connections.unwrap_or(1), mistakes);
        let wait_for_database = given.read(&rows::WAIT_FOR_DATABASE, mistakes);
        let keyring = given.keyring_place(mistakes);
        let mask = given.read(&rows::MASK, mistakes);
        let lane = lane(given, mistakes);
        let shutdown_timeout = given.read(&rows::SHUTDOWN_TIMEOUT, mistakes);
        if let (Some(lane), Some(shutdown_timeout)) = (&lane, shutdown_timeout) {
            leave_time_to_return(lane.limits.wait, shutdown_timeout, given, mistakes);
        }
        let metrics_address = given.optional(&rows::METRICS_ADDRESS, mistakes);
        let queue_depth = given.read(&rows::QUEUE_DEPTH, mistakes);
        let identity = identity?;
        let mut queue = queue?;
        queue.identity_attribute = identity.attribute().map(str::to_owned);
        Some(Self {
            queue,
            database: database?,
            wait_for_database: wait_for_database?,
            keyring: keyring?,
            mask: mask?,
            body: body?,
            identity,
            contradictions: contradictions?,
            lanes: lanes?,
            lane: lane?,
            shutdown_timeout: shutdown_timeout?,
            migrate: given.is_on(&rows::MIGRATE),
            metrics_address: metrics_address?,
            queue_depth: queue_depth?,
        })
    }

    /// How long the database is waited for at start.
    pub fn patience(&self) -> Patience {
        Patience::within(self.wait_for_database)
    }
}

/// How each lane works; mistakes are noted.
fn lane(given: &Given, mistakes: &mut Mistakes) -> Option<LaneSettings> {
    let batch_size = given.read(&rows::BATCH_SIZE, mistakes);
    let batch_bytes = given.read(&rows::BATCH_BYTES, mistakes);
    let linger = given.read(&rows::LINGER, mistakes);
    let wait = given.read(&rows::WAIT, mistakes);
    let visibility_timeout = given.read(&rows::VISIBILITY_TIMEOUT, mistakes);
    let max_attempts = given.read(&rows::MAX_ATTEMPTS, mistakes);
    let retry_delay = given.read(&rows::RETRY_DELAY, mistakes);
    let max_rejection_rate = given.read(&rows::MAX_REJECTION_RATE, mistakes);
    let dead_letter_quota = given.optional(&rows::DEAD_LETTER_QUOTA, mistakes);
    let limits = ReceiveLimits {
        batch_size: batch_size?,
        batch_bytes: batch_bytes?,
        linger: linger?,
        wait: wait?,
        visibility_timeout: visibility_timeout?,
    };
    Some(LaneSettings {
        limits,
        max_attempts: max_attempts?,
        retry_delay: retry_delay?,
        until_empty: given.is_on(&rows::UNTIL_EMPTY),
        delete_patience: acknowledge::PATIENCE,
        storm: max_rejection_rate?.limits(),
        dead_letter_quota: dead_letter_quota?.map(|bytes| bytes as u64),
        keeps_trace_context: given.is_on(&rows::KEEP_TRACE_CONTEXT),
    })
}

/// A receive that is cut off hides its messages, unread, until their visibility timeout.
fn leave_time_to_return(wait: Duration, shutdown_timeout: Duration, given: &Given, mistakes: &mut Mistakes) {
    if shutdown_timeout < wait + Duration::from_secs(5) {
        mistakes.note::<()>(
            given.name_of(&rows::SHUTDOWN_TIMEOUT),
            "is too short for a receive in flight to return",
            "give at least 5 s more than --wait, or lower --wait (TURNSTILE_WAIT)",
        );
    }
}
