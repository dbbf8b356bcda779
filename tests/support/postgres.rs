//! One PostgreSQL for the whole test process, and a fresh database in it for each test.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_postgres::Client;
use turnstile::database::address::DatabaseAddress;
use turnstile::database::{Database, DatabaseSettings};

use super::loading::migrate;
use super::server::SharedServer;

/// Never dropped, as no static is: the server's watchdog ends it with the process.
static SERVER: OnceCell<SharedServer> = OnceCell::const_new();

static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The name of a database with Turnstile's tables, to which nobody is connected.
static TEMPLATE: OnceCell<String> = OnceCell::const_new();

/// A database that no other test sees.
pub(crate) struct TestDatabase {
    name: String,
    url: String,
}

impl TestDatabase {
    /// A database with nothing in it.
    pub(crate) async fn empty() -> Self {
        let name = Self::another_name();
        let url = SERVER.get_or_init(SharedServer::start).await.create_database(&name).await;
        Self { name, url }
    }

    /// A database with Turnstile's tables, and the tests' keys registered in them. Where the server is ours it is a copy of
    /// one that was migrated: that takes a fifth of the time.
    pub(crate) async fn with_tables() -> Self {
        let server = match SERVER.get_or_init(SharedServer::start).await {
            SharedServer::ThrowAway(server) => server,
            SharedServer::Named(_) => {
                let made = Self::empty().await;
                migrate_at(&made.url).await;
                return made;
            }
            SharedServer::Cluster(cluster) => {
                let made = Self::empty().await;
                cluster.make_tables(&made.url, None).await;
                return made;
            }
        };
        let template = TEMPLATE.get_or_init(async || {
            let template = Self::empty().await;
            migrate_at(&template.url).await;
            template.name.clone()
        });
        let (name, template) = (Self::another_name(), template.await);
        let url = server.create_database(&name, Some(template)).await.expect("a copy of a database");
        Self { name, url }
    }

    /// The process id keeps test runs apart that share the server of DATABASE_URL.
    fn another_name() -> String {
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        format!("turnstile_test_{}_{number}", std::process::id())
    }

    /// Where it is, for a `Config`, a pool or a command of ours.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A connection of its own; it closes when the client is dropped.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.url).await
    }
}

impl Drop for TestDatabase {
    /// On a server that somebody else runs, nothing of ours stays. Ours goes as a whole.
    fn drop(&mut self) {
        let Some(server @ (SharedServer::Named(_) | SharedServer::Cluster(_))) = SERVER.get() else { return };
        let name = &self.name;
        // A thread of its own, because the test's runtime cannot be waited for from inside.
        thread::scope(|scope| {
            let dropped = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(server.drop_database(name));
                Ok::<_, std::io::Error>(())
            });
            if !matches!(dropped.join(), Ok(Ok(()))) {
                eprintln!("the database {name} could not be dropped");
            }
        });
    }
}

/// Makes the tables, and ends its connection.
async fn migrate_at(url: &str) {
    migrate(&pool(url, 1, Duration::from_secs(20))).await;
}

/// A loader's connections to a database, at most so many, on which a call may take so long.
pub(crate) fn pool(url: &str, connections: usize, call_timeout: Duration) -> Database {
    let address = DatabaseAddress::parse(url).expect("the URL of a database");
    Database::new(&DatabaseSettings::new(address, connections, call_timeout)).expect("a pool")
}

/// Connects as the URL says, with TLS or without.
pub(crate) async fn connect(url: &str) -> Client {
    let client = try_connect(url).await.expect("a connection");
    // So that tests can name tables as people do.
    client.batch_execute("SET search_path = turnstile, public").await.expect("a search path");
    client
}

/// As [`connect`], with the search path of the server's own choice; the connection closes when the client is dropped.
pub(crate) async fn try_connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let address = DatabaseAddress::parse(url).expect("the URL of a database");
    let tls = address.tls().expect("the certificates that the URL asks for");
    let (client, connection) = address.config().connect(tls).await?;
    // The client's next call says that the connection has ended.
    tokio::spawn(async { drop(connection.await) });
    Ok(client)
}

/// Makes every loader wait with its claims until the transaction is rolled back.
pub(crate) async fn block_claims(client: &mut Client) -> tokio_postgres::Transaction<'_> {
    let lock = client.transaction().await.expect("a transaction");
    lock.batch_execute("LOCK TABLE processed_messages IN ACCESS EXCLUSIVE MODE").await.expect("the lock");
    lock
}

#[tokio::test]
async fn test_databases_do_not_see_each_other() {
    let (one, other) = (TestDatabase::empty().await, TestDatabase::empty().await);
    assert_ne!(one.url(), other.url());
    one.client().await.batch_execute("CREATE TABLE here (n int)").await.unwrap();
    assert!(other.client().await.query("SELECT n FROM here", &[]).await.is_err());
}
