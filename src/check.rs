//! Looks, before a run, at everything that the run will stand on. Changes nothing and receives nothing.

mod database;
mod grants;
mod queue;
mod settings;

use crate::config::RunSettings;
use crate::database::durability::Durability;
use crate::database::server::ServerFacts;
use crate::database::{Database, DatabaseError, migrate};
use crate::keyring::{Keyring, KeyringError};
use crate::queue::sqs::{ConnectError, SqsQueue};

use self::grants::Held;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Ok,
    /// A run works, and somebody should know.
    Warning,
    /// A run would fail, or the promise would not hold.
    Error,
    /// It could not be looked at, because of an error before it.
    Skipped,
}

impl Level {
    /// The word that begins a finding's line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Skipped => "skipped",
        }
    }
}

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// How it ended.
    pub level: Level,
    /// What there is, or what is in the way of looking.
    pub found: String,
    /// How to mend it: every warning and error has one.
    pub way_out: Option<String>,
}

impl Judgement {
    fn ok(found: impl Into<String>) -> Self {
        Self { level: Level::Ok, found: found.into(), way_out: None }
    }

    fn warning(found: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { level: Level::Warning, found: found.into(), way_out: Some(way_out.into()) }
    }

    fn error(found: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { level: Level::Error, found: found.into(), way_out: Some(way_out.into()) }
    }

    fn skipped(because: &str) -> Self {
        Self { level: Level::Skipped, found: because.to_owned(), way_out: None }
    }
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// What it came to.
    pub judgement: Judgement,
}

/// Runs every check, whatever the ones before it came to.
pub async fn check(settings: &RunSettings) -> Vec<Finding> {
    let (queue, server) =
        futures_util::future::join(SqsQueue::connect(&settings.queue), Server::look_at(settings)).await;
    let seen = Seen { settings, keyring: Keyring::find(settings.keyring.as_deref()), queue, server };
    CHECKS.iter().map(|(what, judge)| Finding { what, judgement: judge(&seen) }).collect()
}

type Check = (&'static str, fn(&Seen<'_>) -> Judgement);

/// Every check, in the order in which their findings are told.
const CHECKS: [Check; 23] = [
    ("keyring", |seen| settings::keyring(seen.settings.keyring.as_deref(), &seen.keyring)),
    ("keyring file", |seen| settings::keyring_file(seen.settings.keyring.as_deref())),
    ("mask", |seen| settings::mask(seen.settings.mask)),
    ("identity", |seen| settings::identity(&seen.settings.identity)),
    ("lease", |seen| settings::lease(&settings::Times::of(seen.settings))),
    ("queue", |seen| queue::reached(&seen.queue)),
    ("queue redrive", |seen| {
        seen.of_queue(|queue| queue::redrive(queue.facts().max_receive_count, seen.settings.lane.max_attempts))
    }),
    ("queue retention", |seen| seen.of_queue(|queue| queue::retention(queue.facts().retention))),
    ("queue encryption", |seen| seen.of_queue(|queue| queue::encryption(queue.facts().encrypted))),
    ("queue clock", |seen| seen.of_queue(|queue| queue::clock(queue.clock_difference()))),
    ("database transport", |seen| database::transport(seen.settings.database.address.transport())),
    ("database", |seen| database::reached(&seen.settings.database.address, &seen.server)),
    ("database durability", |seen| {
        seen.of_server(|server| database::durability(&server.durability, server.facts.has_synchronous_standbys))
    }),
    ("database clock", |seen| seen.of_server(|server| database::clock(server.facts.clock_difference))),
    ("database connections", |seen| {
        seen.of_server(|server| database::connections(&server.facts, seen.settings.database.connections))
    }),
    ("tables", |seen| {
        let needed = migrate::newest_version();
        seen.of_server(|server| database::tables(&server.tables_version, needed, seen.settings.migrate))
    }),
    ("tables' durability", |seen| seen.of_tables(|server| database::logged(&server.unlogged))),
    ("grants on processed_messages", |seen| seen.of_tables(|server| grants::needed("processed_messages", server))),
    ("grants on user_logins", |seen| seen.of_tables(|server| grants::needed("user_logins", server))),
    ("grants on dead_letters", |seen| seen.of_tables(|server| grants::needed("dead_letters", server))),
    ("grants on outbox", |seen| seen.of_tables(|server| grants::needed("outbox", server))),
    ("grants on the migrations", |seen| seen.of_tables(|server| grants::needed(grants::MIGRATIONS, server))),
    ("least privilege", |seen| seen.of_tables(grants::beyond_need)),
];

/// The tables in which the promise is kept.
const TABLES: [&str; 4] = ["processed_messages", "user_logins", "dead_letters", "outbox"];

/// What the checks judge.
struct Seen<'s> {
    settings: &'s RunSettings,
    keyring: Result<Keyring, KeyringError>,
    queue: Result<SqsQueue, ConnectError>,
    server: Result<Server, Unreached>,
}

impl Seen<'_> {
    fn of_queue(&self, judge: impl FnOnce(&SqsQueue) -> Judgement) -> Judgement {
        match &self.queue {
            Ok(queue) => judge(queue),
            Err(_) => Judgement::skipped("the queue cannot be reached"),
        }
    }

    fn of_server(&self, judge: impl FnOnce(&Server) -> Judgement) -> Judgement {
        match &self.server {
            Ok(server) => judge(server),
            Err(_) => Judgement::skipped("the database cannot be reached"),
        }
    }

    /// A version that cannot be read is no reason not to look: a missing grant is the usual cause.
    fn of_tables(&self, judge: impl FnOnce(&Server) -> Judgement) -> Judgement {
        self.of_server(|server| match &server.tables_version {
            Ok(Some(version)) if *version < migrate::newest_version() => {
                Judgement::skipped("the tables are not at this version")
            }
            Ok(None) => Judgement::skipped("there are no tables"),
            Ok(Some(_)) | Err(_) => judge(server),
        })
    }
}

/// A database server that answered.
struct Server {
    facts: ServerFacts,
    durability: Result<Durability, DatabaseError>,
    tables_version: Result<Option<i32>, DatabaseError>,
    unlogged: Result<Vec<String>, DatabaseError>,
    grants: Result<Vec<Held>, DatabaseError>,
}

/// Why nothing can be said of the database server.
#[derive(Debug, thiserror::Error)]
enum Unreached {
    #[error(transparent)]
    Tls(#[from] crate::database::address::TlsError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Server {
    async fn look_at(settings: &RunSettings) -> Result<Self, Unreached> {
        let database = Database::new(&settings.database)?;
        Ok(Self {
            facts: database.server_facts().await?,
            durability: database.durability().await,
            tables_version: database.schema_version().await,
            unlogged: database.unlogged(&TABLES).await,
            grants: grants::held(&database).await,
        })
    }
}
