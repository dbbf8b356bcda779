//! The demo's own small world: a local SQS server, a throw-away PostgreSQL, a keyring and a folder, all thrown away.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use stand_ins::postgres::{Options, Postgres};
use stand_ins::sqs::{DEFAULT_REGION, Faults, LocalQueue, QueueOptions};
use tempfile::TempDir;
use tokio_postgres::Client;

use super::DemoError;
use super::watchdog::Watchdog;
use crate::database::address::DatabaseAddress;
use crate::database::{Database, DatabaseSettings};
use crate::keyring::{Keyring, KeyringPlace, Masters};
use crate::keys;
use crate::mask::MaskKind;
use crate::queue::sqs::{QueueAddress, Sender, SqsSettings};

/// The queue's name.
pub(super) const QUEUE: &str = "logins";

/// The local SQS server accepts anything for credentials.
const CREDENTIAL: &str = "local";

/// The deadline of the demo's own questions to the database: some of them read whole tables.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);

/// Two servers and what belongs to them. All of it ends and is removed when this value is dropped.
pub struct World {
    pub(super) queue: LocalQueue,
    pub(super) database: Database,
    pub(super) watchdog: Watchdog,
    postgres: Postgres,
    folder: TempDir,
}

impl World {
    /// Starts both servers, makes the tables and a keyring: some two seconds.
    ///
    /// # Errors
    ///
    /// [`DemoError`] says what is missing, for instance a PostgreSQL to start. Nothing is left behind.
    pub async fn start() -> Result<Self, DemoError> {
        let folder = tempfile::Builder::new()
            .prefix("turnstile-demo-")
            .tempdir()
            .map_err(DemoError::system("make a temporary folder"))?;
        let watchdog = Watchdog::over(folder.path()).map_err(DemoError::system("start the watchdog `sh`"))?;
        let masters = Masters::generate()?;
        masters.write_new(&keyring_in(folder.path()))?;
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let queue = LocalQueue::start(listen, vec![QueueOptions::new(QUEUE)], Faults::default()).await?;
        // The times of the commits are what the latencies are measured with.
        let settings = vec![("track_commit_timestamp".to_owned(), "on".to_owned())];
        let programs = env::var_os("TURNSTILE_PG_BIN").map(PathBuf::from);
        let postgres = Postgres::start(Options { settings, programs, ..Options::default() }).await?;
        let address = DatabaseAddress::parse(&postgres.url())?;
        let database = Database::new(&DatabaseSettings::new(address, 1, CALL_TIMEOUT))?;
        database.migrate().await?;
        keys::register(&database, &masters.derive()?, MaskKind::default(), false).await?;
        Ok(Self { queue, database, watchdog, postgres, folder })
    }

    /// The settings that lead any program of ours to this world, as environment variables; those for an AWS client
    /// lead it too.
    pub fn environment(&self) -> Vec<(String, String)> {
        let queue = [
            ("AWS_ENDPOINT_URL", self.queue.endpoint()),
            ("AWS_REGION", DEFAULT_REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", CREDENTIAL.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", CREDENTIAL.to_owned()),
            ("TURNSTILE_QUEUE", QUEUE.to_owned()),
            ("TURNSTILE_KEYRING", self.keyring().display().to_string()),
            ("DATABASE_URL", self.postgres.url()),
        ];
        queue.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// The database, by its superuser.
    ///
    /// # Errors
    ///
    /// [`DemoError::Address`], which is a defect.
    pub fn address(&self) -> Result<DatabaseAddress, DemoError> {
        Ok(DatabaseAddress::parse(&self.postgres.url())?)
    }

    /// A connection of the superuser.
    ///
    /// # Errors
    ///
    /// [`DemoError::Postgres`]
    pub async fn administrator(&self) -> Result<Client, DemoError> {
        Ok(self.postgres.connect().await?)
    }

    /// The keys that the tables are written with.
    ///
    /// # Errors
    ///
    /// [`DemoError::Keyring`]
    pub fn read_keyring(&self) -> Result<Keyring, DemoError> {
        Ok(Keyring::find(&KeyringPlace::File(self.keyring()))?)
    }

    /// The folder of the loaders' logs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Lets the loaders' logs stay when this world ends, and gives their folder.
    pub fn keep_logs(&mut self) -> PathBuf {
        self.folder.disable_cleanup(true);
        self.watchdog.keep_folder();
        // A key that is needed no more had better not stay; one that cannot be removed opens nothing that stays.
        std::fs::remove_file(self.keyring()).unwrap_or_default();
        self.folder.path().to_owned()
    }

    /// How many messages the queue holds, hidden ones too.
    pub(super) fn messages_in_queue(&self) -> usize {
        let stats = self.queue.stats(QUEUE).unwrap_or_default();
        stats.visible + stats.in_flight + stats.delayed
    }

    pub(super) async fn sender(&self) -> Result<Sender, DemoError> {
        let queue: QueueAddress = QUEUE.parse()?;
        let credentials = Credentials::new(CREDENTIAL, CREDENTIAL, None, None, "turnstile demo");
        let aws = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(DEFAULT_REGION))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(self.queue.endpoint())
            .build();
        Ok(Sender::connect_with(&SqsSettings::new(queue), "demo", &aws).await?)
    }

    fn keyring(&self) -> PathBuf {
        keyring_in(self.folder.path())
    }
}

fn keyring_in(folder: &Path) -> PathBuf {
    folder.join("keyring")
}
