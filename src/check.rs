//! Looks, before a run, at everything that the run will stand on. Changes nothing and receives nothing.
//!
//! What it calls an error of the database, a run refuses: both ask `OF_DATABASE`.

mod cluster;
mod database;
mod grants;
mod queue;
mod settings;
pub mod sinks;
mod standing;
mod tables;
mod target;

use std::collections::HashMap;
use std::pin::pin;

use futures_util::future::maybe_done;

use crate::config::RunSettings;
use crate::database::durability::Durability;
use crate::database::server::ServerFacts;
use crate::database::{Database, DatabaseError, migrate};
use crate::keyring::{Keyring, KeyringError};
use crate::message::QueueIdentity;
use crate::queue::Queue;
use crate::queue::sqs::{ConnectError, SqsQueue};
use crate::sink::SinkSettings;
use crate::table::distribution::Standing;
use crate::table::facts::{Positions, TableFacts};
use crate::table::queues::{self, QueueRecord};
use crate::table::relay_status::OutboxStatus;
use crate::table::rights::{
    EXTEND_OUTBOX, EXTEND_PARTITIONS, FORGET_LOADERS, LOADERS, MIGRATIONS, OF_REQUEUED, Object, Rights,
};
use crate::table::turnstile_keys::{self, Registered};

use self::sinks::Aspect;
pub use self::standing::standing;
use self::tables::{Read, judge};

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
    pub remedy: Option<String>,
}

impl Judgement {
    fn ok(found: impl Into<String>) -> Self {
        Self { level: Level::Ok, found: found.into(), remedy: None }
    }

    fn warning(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warning, found: found.into(), remedy: Some(remedy.into()) }
    }

    fn error(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Error, found: found.into(), remedy: Some(remedy.into()) }
    }

    fn skipped(because: &str) -> Self {
        Self { level: Level::Skipped, found: because.to_owned(), remedy: None }
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

/// What a check tells while it works.
#[derive(Debug)]
pub enum Event {
    /// What it waits for from here on.
    Asking(String),
    /// What it found. Findings come in one order, each as soon as it and those before it are known.
    Found(Finding),
}

/// Runs every check, whatever the ones before it came to. Queue and database are asked at the same time. Where a relay would
/// carry events to is looked at, too, if that is said.
pub async fn check(settings: &RunSettings, aim: Option<&SinkSettings>, mut tell: impl FnMut(Event)) {
    let keyring = Keyring::find(&settings.keyring);
    let here = Here { settings, keyring: keyring.as_ref() };
    OF_SETTINGS.iter().for_each(|(what, judge)| tell(found(what, judge(&here))));

    let mut reaching = pin!(maybe_done(Server::reach(settings)));
    tell(Event::Asking(format!("the queue {}", settings.queue.queue)));
    let queue = tokio::select! {
        queue = SqsQueue::connect(&settings.queue) => queue,
        () = async { reaching.as_mut().await; std::future::pending().await } => unreachable!("it is pending"),
    };
    OF_QUEUE.iter().for_each(|(what, judge)| tell(found(what, judge(&here, &queue))));
    let of_target = match &aim {
        None => Judgement::ok("none: --to (TURNSTILE_TO) is not set"),
        Some(aim) => {
            tell(Event::Asking(format!("the relay's target {}", aim.target)));
            target::look_at(aim, queue.as_ref().ok().map(Queue::identity)).await
        }
    };
    tell(found(TARGET, of_target));

    tell(Event::Asking(format!("the database {}", settings.database.address)));
    reaching.as_mut().await;
    let Some(server) = reaching.take_output() else { unreachable!("it is done") };
    let (server, sinks) = match server {
        Ok((server, sinks)) => (Ok(server), Some(sinks)),
        Err(error) => (Err(error), None),
    };
    let base = Base { here, server };
    tell(found(KEYS_REMEMBERED, keys_remembered(&base, &queue)));
    of_database(&base).into_iter().for_each(|finding| tell(Event::Found(finding)));
    for of in Aspect::ALL {
        let judge = |_: &Server| match &sinks {
            Some(read) => sinks::judgement(of, read),
            None => Judgement::skipped("the database cannot be reached"),
        };
        tell(found(of.as_str(), base.of_tables(judge)));
    }
}

fn found(what: &'static str, judgement: Judgement) -> Event {
    Event::Found(Finding { what, judgement })
}

/// Everything that is looked at, in the order of the findings.
pub fn looked_at() -> impl Iterator<Item = &'static str> {
    let (settings, queue) = (OF_SETTINGS.iter().map(|(what, _)| *what), OF_QUEUE.iter().map(|(what, _)| *what));
    let (database, sinks) = (OF_DATABASE.iter().map(|(what, _)| *what), Aspect::ALL.into_iter().map(Aspect::as_str));
    settings.chain(queue).chain([TARGET, KEYS_REMEMBERED]).chain(database).chain(sinks)
}

/// Why nothing can be loaded into this database: every error that [`check`] finds in it, in the same words.
///
/// # Errors
///
/// [`DatabaseError`] where the server cannot be asked what it is, or does not answer one of the questions for now.
pub async fn refusals(
    database: &Database,
    settings: &RunSettings,
    keyring: &Keyring,
) -> Result<Vec<Finding>, DatabaseError> {
    let server = Server::look_at(database).await?;
    if let Some(error) = server.unanswered_for_now() {
        return Err(error.clone());
    }
    database.mark_sharded(server.facts.sharded);
    let mut findings = of_database(&Base { here: Here { settings, keyring: Ok(keyring) }, server: Ok(server) });
    findings.retain(|finding| finding.judgement.level == Level::Error);
    Ok(findings)
}

fn of_database(base: &Base<'_>) -> Vec<Finding> {
    OF_DATABASE.iter().map(|(what, judge)| Finding { what, judgement: judge(base) }).collect()
}

type CheckOfSettings = (&'static str, fn(&Here<'_>) -> Judgement);
type CheckOfQueue = (&'static str, fn(&Here<'_>, &Result<SqsQueue, ConnectError>) -> Judgement);
type CheckOfDatabase = (&'static str, fn(&Base<'_>) -> Judgement);

/// What is looked at that a run can mend itself, with [`extend`](crate::table::outbox::extend).
pub const PARTITIONS_OF_OUTBOX: &str = "partitions of outbox";
/// The check of the partitions by time, of which the same is true.
pub const PARTITIONS_BY_TIME: &str = "partitions by time";

/// Where a relay would carry events to.
const TARGET: &str = "relay's target";

/// What needs both the queue and the database.
const KEYS_REMEMBERED: &str = "keys remembered";

/// The settings and this machine, in the order in which the findings are told.
const OF_SETTINGS: [CheckOfSettings; 5] = [
    ("keyring", |here| settings::keyring(&here.settings.keyring, &here.keyring)),
    ("keyring file", |here| settings::keyring_file(&here.settings.keyring)),
    ("mask", |here| settings::mask(here.settings.mask)),
    ("identity", |here| settings::identity(&here.settings.identity)),
    ("lease", |here| settings::lease(&settings::Times::of(here.settings))),
];

/// The queue, in the order in which the findings are told.
const OF_QUEUE: [CheckOfQueue; 7] = [
    ("queue", |_, queue| queue::reached(queue)),
    ("queue redrive", |here, queue| {
        let max_attempts = here.settings.lane.max_attempts;
        of_queue(queue, |queue| queue::redrive(queue.facts().max_receive_count, max_attempts))
    }),
    ("queue retention", |_, queue| of_queue(queue, |queue| queue::retention(queue.facts().retention))),
    ("retries", |here, queue| {
        let lane = &here.settings.lane;
        of_queue(queue, |queue| queue::retries(queue.facts().retention, lane.max_attempts, lane.retry_delay))
    }),
    ("queue deduplication", |here, queue| {
        of_queue(queue, |queue| queue::deduplication(&here.settings.identity, queue.facts()))
    }),
    ("queue encryption", |_, queue| of_queue(queue, |queue| queue::encryption(queue.facts().encrypted))),
    ("queue clock", |_, queue| of_queue(queue, |queue| queue::clock(queue.clock_difference()))),
];

fn of_queue(queue: &Result<SqsQueue, ConnectError>, judge: impl FnOnce(&SqsQueue) -> Judgement) -> Judgement {
    match queue {
        Ok(queue) => judge(queue),
        Err(_) => Judgement::skipped("the queue cannot be reached"),
    }
}

fn keys_remembered(base: &Base<'_>, queue: &Result<SqsQueue, ConnectError>) -> Judgement {
    let scheme = &base.here.settings.identity;
    of_queue(queue, |queue| {
        let remembered = |records: &HashMap<_, QueueRecord>| queue::remembered(scheme, records.get(queue.identity()));
        base.of_tables(|server| judge(&server.queues, remembered))
    })
}

/// The database, in the order in which the findings are told.
const OF_DATABASE: [CheckOfDatabase; 35] = [
    ("database transport", |base| database::transport(base.here.settings.database.address.transport())),
    ("database", |base| database::reached(&base.here.settings.database.address, &base.server)),
    ("database durability", |base| {
        base.of_server(|server| database::durability(&server.durability, server.facts.has_synchronous_standbys))
    }),
    ("database clock", |base| base.of_server(|server| database::clock(server.facts.clock_difference))),
    ("database connections", |base| {
        base.of_server(|server| database::connections(&server.facts, base.here.settings.database.connections))
    }),
    ("tables", |base| {
        let needed = migrate::newest_version();
        base.of_server(|server| database::tables(&server.tables_version, needed, base.here.settings.migrate))
    }),
    ("tables' number", |base| base.of_facts(tables::complete)),
    ("tables' durability", |base| base.of_facts(tables::logged)),
    ("unique keys", |base| base.of_facts(|facts| tables::unique(facts, &base.here.settings.database.schemas))),
    ("triggers and rules", |base| base.of_facts(tables::droppers)),
    ("columns of user_logins", |base| base.of_facts(tables::required)),
    ("owners", |base| base.of_facts(tables::owners)),
    ("positions of events", |base| {
        let schemas = &base.here.settings.database.schemas;
        base.of_positions(|facts, positions| tables::sequence(facts, positions, schemas))
    }),
    (PARTITIONS_OF_OUTBOX, |base| base.of_positions(tables::partitions)),
    (PARTITIONS_BY_TIME, |base| base.of_facts(tables::partitions_by_time)),
    ("distributed tables", |base| base.of_cluster(cluster::tables)),
    ("servers of the cluster", |base| base.of_cluster(cluster::nodes)),
    ("distributed transactions", |base| {
        base.of_cluster(|standing| cluster::transactions(standing, base.here.settings.lanes))
    }),
    ("tables of the relay", |base| {
        let schemas = &base.here.settings.database.schemas;
        base.of_tables(|server| tables::of_relay(&server.relay, schemas))
    }),
    ("registered keys", |base| {
        base.of_tables(|server| {
            judge(&server.keys, |keys| settings::registered(keys, &base.here.keyring, base.here.settings.mask))
        })
    }),
    ("grants on the schemas", |base| base.grants(&[Object::OwnSchema, Object::LoginsSchema])),
    ("grants on processed_messages", |base| base.grants(&[Object::Table("processed_messages")])),
    ("grants on identities", |base| base.grants(&[Object::Table("identities")])),
    ("grants on queues", |base| base.grants(&[Object::Table("queues")])),
    ("grants on user_logins", |base| base.grants(&[Object::Table("user_logins")])),
    ("grants on dead_letters", |base| base.grants(&[&[Object::Table("dead_letters")], &OF_REQUEUED[..]].concat())),
    ("grants on outbox", |base| base.grants(&[Object::Table("outbox")])),
    ("grants on positions", |base| base.grants(&[Object::Sequence])),
    ("grants on extend_outbox", |base| base.grants(&[EXTEND_OUTBOX])),
    ("grants on extend_partitions", |base| base.grants(&[EXTEND_PARTITIONS])),
    ("grants on turnstile_keys", |base| base.grants(&[Object::Table("turnstile_keys")])),
    ("grants on horizon", |base| base.grants(&[Object::Table("horizon")])),
    ("grants on loaders", |base| {
        grants::without_which_it_loads(base.grants(&[Object::Table(LOADERS), FORGET_LOADERS]))
    }),
    ("grants on the migrations", |base| base.grants(&[Object::Table(MIGRATIONS)])),
    ("least privilege", |base| {
        base.of_tables(|server| judge(&server.rights, |rights| grants::beyond_need(rights, &server.facts)))
    }),
];

/// What is known before anybody is asked.
struct Here<'s> {
    settings: &'s RunSettings,
    keyring: Result<&'s Keyring, &'s KeyringError>,
}

/// What the checks of the database judge.
struct Base<'s> {
    here: Here<'s>,
    server: Result<Server, Unreached>,
}

impl Base<'_> {
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

    fn of_facts(&self, of: impl FnOnce(&TableFacts) -> Judgement) -> Judgement {
        self.of_tables(|server| judge(&server.tables, of))
    }

    fn of_cluster(&self, of: impl FnOnce(Option<&Standing>) -> Judgement) -> Judgement {
        self.of_tables(|server| judge(&server.cluster, |standing| of(standing.as_ref())))
    }

    fn of_positions(&self, of: impl FnOnce(&TableFacts, &Positions) -> Judgement) -> Judgement {
        self.of_tables(|server| {
            judge(&server.tables, |facts| judge(&server.positions, |positions| of(facts, positions)))
        })
    }

    fn grants(&self, objects: &[Object]) -> Judgement {
        let schemas = &self.here.settings.database.schemas;
        self.of_tables(|server| {
            judge(&server.rights, |rights| grants::needed(objects, rights, &server.facts.role, schemas))
        })
    }
}

/// A database server that answered.
struct Server {
    facts: ServerFacts,
    durability: Read<Durability>,
    tables_version: Read<Option<i32>>,
    tables: Read<TableFacts>,
    relay: Read<TableFacts>,
    cluster: Read<Option<Standing>>,
    positions: Read<Positions>,
    rights: Read<Rights>,
    keys: Read<Vec<Registered>>,
    queues: Read<HashMap<QueueIdentity, QueueRecord>>,
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
    /// The server, and how the sinks stand that are noted in it: no run depends on these.
    async fn reach(settings: &RunSettings) -> Result<(Self, Read<OutboxStatus>), Unreached> {
        let database = Database::new(&settings.database)?;
        let server = Self::look_at(&database).await?;
        Ok((server, database.snapshot(async |seen| OutboxStatus::read(seen, None).await).await))
    }

    async fn look_at(database: &Database) -> Result<Self, DatabaseError> {
        Ok(Self {
            facts: database.server_facts().await?,
            durability: database.durability().await,
            tables_version: database.schema_version().await,
            tables: read(database, TableFacts::read).await,
            relay: read(database, TableFacts::of_relay).await,
            cluster: read(database, Standing::read).await,
            positions: read(database, Positions::read).await,
            rights: read(database, Rights::read).await,
            keys: read(database, turnstile_keys::read).await,
            queues: read(database, queues::read_all).await,
        })
    }

    /// Why one of the questions has no answer, where the same question may have one later.
    fn unanswered_for_now(&self) -> Option<&DatabaseError> {
        let Self { facts: _, durability, tables_version, tables, relay, cluster, positions, rights, keys, queues } =
            self;
        let errors = [
            durability.as_ref().err(),
            tables_version.as_ref().err(),
            tables.as_ref().err(),
            relay.as_ref().err(),
            cluster.as_ref().err(),
            positions.as_ref().err(),
            rights.as_ref().err(),
            keys.as_ref().err(),
            queues.as_ref().err(),
        ];
        errors.into_iter().flatten().find(|error| error.class().passes())
    }
}

/// Asks in a transaction of its own: a question that is refused keeps nobody from the next.
async fn read<T>(database: &Database, read: impl AsyncFnOnce(&crate::database::Transaction) -> Read<T>) -> Read<T> {
    database.snapshot(read).await
}
