//! `turnstile console`: pages for operators, in a process of its own.
//!
//! Who signs in does so with a role of the database, and acts by it: what the role may not do, the console cannot do. Every view
//! is a link, is readable without script, and stands beside itself as JSON, made of the same values.
//!
//! A page is a `Place`, which is read from its address; a `View`, which is what was found there;
//! and the frame around it.

mod acts;
mod assets;
mod attempts;
mod audits;
mod doing;
mod feed;
mod figures;
mod frame;
mod guard;
mod judging;
mod link;
mod minutes;
mod pausing;
mod person;
mod pieces;
mod place;
mod plans;
mod requeuing;
mod routes;
mod server;
mod session;
mod sessions;
mod sign_in;
mod view;

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use hyper::header::HeaderName;

pub use self::figures::Collector;
pub use self::server::{CertificateError, serve};

use self::attempts::Attempts;
use self::audits::Audits;
use self::minutes::Minutes;
use self::plans::Runs;
use self::sessions::Sessions;
use crate::config::rows::{BodyKind, Colour};
use crate::database::address::TlsError;
use crate::database::{Database, DatabaseSettings};
use crate::keyring::Keyring;
use crate::mask::MaskKind;
use crate::metrics::{Metrics, Work};
use crate::seal::{BodyOpener, KeyId};

/// How long a session lasts that nobody uses.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// How long a session lasts at most.
const LASTS: Duration = Duration::from_secs(12 * 60 * 60);
/// How often a page that somebody looks at is brought up to date.
const REFRESH: Duration = Duration::from_secs(5);
/// The deadline of a statement for a page. A page that takes longer says so.
const STATEMENT: Duration = Duration::from_secs(5);
/// What a million requests to a standard queue cost in dollars, where nobody says otherwise.
const REQUEST_PRICE: f64 = 0.40;
/// The most connections of a session.
const CONNECTIONS_OF_SESSION: usize = 2;
/// The most connections where all act by one role.
const CONNECTIONS_OF_ALL: usize = 8;

/// What the console is told.
#[derive(Debug)]
pub struct ConsoleSettings {
    /// The database. Its deadline is cut to that of a page, and its number of connections is the console's own.
    pub database: DatabaseSettings,
    /// How people sign in.
    pub sign_in: SignIn,
    /// Whether browsers come by https through a proxy.
    pub behind_proxy: bool,
    /// The certificate and the key, where it speaks TLS itself.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// What the environment is called, and its colour.
    pub environment: Option<(String, Colour)>,
    /// How replayed logins are masked.
    pub mask: MaskKind,
    /// What the bodies of replayed letters are.
    pub body: BodyKind,
    /// Whether letters are sent back to queues at another host than that of the queue's URL.
    pub allow_endpoint_override: bool,
    /// Whether letters are sent back in clear over a network.
    pub allow_clear_queue: bool,
    /// The deadline of a statement of an audit.
    pub audit_deadline: Duration,
    /// What a million requests to SQS cost, in dollars.
    pub request_price: f64,
    /// How often a page that somebody looks at is brought up to date.
    pub refresh: Duration,
    /// How long a session lasts that nobody uses.
    pub idle: Duration,
    /// How long a session lasts at most.
    pub lasts: Duration,
}

impl ConsoleSettings {
    /// Signing in by role, on this machine alone.
    pub fn new(database: DatabaseSettings) -> Self {
        Self {
            database,
            sign_in: SignIn::Role,
            behind_proxy: false,
            certificate: None,
            environment: None,
            mask: MaskKind::Seal,
            body: BodyKind::Login,
            allow_endpoint_override: false,
            allow_clear_queue: false,
            audit_deadline: Duration::from_secs(60 * 60),
            request_price: REQUEST_PRICE,
            refresh: REFRESH,
            idle: IDLE,
            lasts: LASTS,
        }
    }
}

/// How people sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignIn {
    /// With a role of the database and its password.
    Role,
    /// A proxy names the person in this header; all act by the role of the console's own URL.
    ProxyHeader(HeaderName),
}

/// The console.
pub struct Console {
    settings: ConsoleSettings,
    /// What opens bodies, and the ids of its keys; none: bodies stay sealed here.
    keys: Option<Keys>,
    sessions: Sessions,
    attempts: Mutex<Attempts>,
    audits: Audits,
    runs: Runs,
    minutes: Minutes,
    metrics: Metrics,
    /// By which all act, where a proxy names the person.
    shared: Option<Database>,
}

/// What opens bodies, and what a replay needs beside.
struct Keys {
    opener: BodyOpener,
    ids: Vec<KeyId>,
    keyring: Keyring,
    mask: MaskKind,
    body: BodyKind,
}

impl Console {
    /// A console that connects only when somebody signs in.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when the certificates cannot be had that the database's must be checked with.
    pub fn new(mut settings: ConsoleSettings, keyring: Option<Keyring>) -> Result<Self, TlsError> {
        settings.database.call_timeout = settings.database.call_timeout.min(STATEMENT);
        settings.database.connections = CONNECTIONS_OF_SESSION;
        let shared = match settings.sign_in {
            SignIn::Role => None,
            SignIn::ProxyHeader(_) => {
                let of_all = DatabaseSettings { connections: CONNECTIONS_OF_ALL, ..settings.database.clone() };
                Some(Database::new(&of_all)?)
            }
        };
        let keys = keyring.map(|keyring| Keys {
            opener: keyring.body_opener(),
            ids: keyring.ids().cloned().collect(),
            keyring,
            mask: settings.mask,
            body: settings.body,
        });
        let sessions = Sessions::lasting(settings.idle, settings.lasts);
        Ok(Self {
            settings,
            keys,
            sessions,
            attempts: Mutex::default(),
            audits: Audits::default(),
            runs: Runs::default(),
            minutes: Minutes::default(),
            metrics: Metrics::of(Work::serving_console()),
            shared,
        })
    }

    /// What the console counts of itself.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether browsers reach it by https only.
    fn is_secure(&self) -> bool {
        self.settings.behind_proxy || self.settings.certificate.is_some()
    }
}
