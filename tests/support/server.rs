//! The PostgreSQL that several tests share (the one that `DATABASE_URL` names, else a throw-away one), and those that a
//! test has for itself.

use std::env;
use std::path::PathBuf;

use stand_ins::postgres::{Options, Postgres};
use tokio::sync::OnceCell;
use tokio_postgres::Client;

use super::cluster::Cluster;
use super::postgres::connect;
use super::wait_until;

/// A server in which tests create databases of their own.
pub(crate) enum SharedServer {
    /// One that somebody else runs. Its user must be allowed to create databases.
    Named(Named),
    /// Several that somebody else runs, over which the tables are distributed.
    Cluster(Cluster),
    /// One that lives as long as this value.
    ThrowAway(Box<Postgres>),
}

impl SharedServer {
    /// Takes the server that `DATABASE_URL` names, or starts one: durable, as in production, because `turnstile run`
    /// refuses to load into a server that is not.
    pub(crate) async fn start() -> Self {
        if let Some(cluster) = Cluster::named() {
            return Self::Cluster(cluster);
        }
        match env::var("DATABASE_URL").ok().filter(|url| !url.is_empty()) {
            Some(url) => Self::Named(Named::new(url).expect("a PostgreSQL URL in DATABASE_URL")),
            None => match Postgres::start(for_many()).await {
                Ok(server) => Self::ThrowAway(Box::new(server)),
                Err(error) => panic!(
                    "{error}. Or name the folder of its programs in TURNSTILE_PG_BIN, or a running server in DATABASE_URL"
                ),
            },
        }
    }

    /// Creates an empty database, and returns its URL.
    pub(crate) async fn create_database(&self, name: &str) -> String {
        match self {
            Self::ThrowAway(server) => server.create_database(name, None).await.expect("a new database"),
            Self::Named(server) => {
                server.create_database(name).await;
                server.url_of(name)
            }
            Self::Cluster(cluster) => cluster.create_database(name).await,
        }
    }
}

impl SharedServer {
    /// Drops a database, unless the whole server goes.
    pub(crate) async fn drop_database(&self, name: &str) {
        match self {
            Self::ThrowAway(_) => {}
            Self::Named(server) => server.drop_database(name).await,
            Self::Cluster(cluster) => cluster.drop_database(name).await,
        }
    }
}

/// Starts a server for one test alone. It begins as a copy of one that was made once: that takes a quarter of the time.
pub(crate) async fn start(options: Options) -> Postgres {
    /// Never dropped, as no static is: its watchdog removes its folder when the process has ended.
    static STOPPED: OnceCell<Postgres> = OnceCell::const_new();
    let make = async || {
        let mut server = Postgres::start(installed()).await.expect("a PostgreSQL");
        server.stop().await.expect("a PostgreSQL that stops");
        server
    };
    Postgres::start_copy_of(STOPPED.get_or_init(make).await, options).await.expect("a copy of a PostgreSQL")
}

/// Waits until commits wait for a standby that was named just now: the server's processes learn of it one after the other.
pub(crate) async fn commits_wait(client: &Client, url: &str) {
    const WAIT: &str = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let waiting = async || !client.query(&format!("SELECT pid {WAIT}"), &[]).await.unwrap().is_empty();
    let probe = connect(url).await;
    let committing = async {
        loop {
            probe.batch_execute("SELECT pg_logical_emit_message(true, 'probe', '')").await.unwrap();
        }
    };
    tokio::select! {
        () = committing => {}
        () = wait_until("commits wait for a standby", waiting) => {}
    }
    client.execute(&format!("SELECT pg_terminate_backend(pid) {WAIT}"), &[]).await.unwrap();
    wait_until("the probe is gone", async || !waiting().await).await;
}

/// As [`installed`], with connections for as many tests as run at once.
fn for_many() -> Options {
    Options { settings: vec![("max_connections".to_owned(), "1000".to_owned())], ..installed() }
}

/// The options of a durable server, of the programs that `TURNSTILE_PG_BIN` names or the system has.
pub(crate) fn installed() -> Options {
    Options { programs: env::var_os("TURNSTILE_PG_BIN").map(PathBuf::from), ..Options::default() }
}

/// A server that `DATABASE_URL` names.
pub(crate) struct Named {
    url: String,
    /// Everything of the URL before the database's name, and everything after it.
    around_database: (String, String),
}

impl Named {
    pub(crate) fn new(url: String) -> Option<Self> {
        let around_database = around_database(&url)?;
        Some(Self { url, around_database })
    }

    pub(crate) fn url_of(&self, database: &str) -> String {
        format!("{}{database}{}", self.around_database.0, self.around_database.1)
    }

    /// Creates an empty database.
    pub(crate) async fn create_database(&self, name: &str) {
        // template0, because somebody else's server may have put things into template1.
        let statement = format!("CREATE DATABASE {name} TEMPLATE template0");
        connect(&self.url).await.batch_execute(&statement).await.expect("a new database");
    }

    /// Where it listens.
    pub(crate) fn place(&self) -> (String, u16) {
        let config: tokio_postgres::Config = self.url.parse().expect("a URL");
        let [tokio_postgres::config::Host::Tcp(host)] = config.get_hosts() else { panic!("one host in the URL") };
        (host.clone(), config.get_ports().first().copied().unwrap_or(5432))
    }

    /// Drops a database and its connections.
    pub(crate) async fn drop_database(&self, name: &str) {
        let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        connect(&self.url).await.batch_execute(&statement).await.expect("the database is dropped");
    }
}

/// Splits a PostgreSQL URL into what stands before and after the name of its database.
fn around_database(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, format!("?{query}")),
        None => (rest, String::new()),
    };
    let authority = place.split_once('/').map_or(place, |(authority, _)| authority);
    Some((format!("{scheme}://{authority}/"), query))
}

#[test]
fn only_the_database_of_a_url_is_exchanged() {
    for (url, expected) in [
        ("postgres://u:p@h:5432/db", "postgres://u:p@h:5432/new"),
        ("postgresql://h", "postgresql://h/new"),
        ("postgres://u@h/?sslmode=require", "postgres://u@h/new?sslmode=require"),
        ("postgres://h?host=/run/postgresql", "postgres://h/new?host=/run/postgresql"),
        (
            "postgres://u@h/db?sslmode=verify-full&sslrootcert=/etc/ca.pem",
            "postgres://u@h/new?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        ),
    ] {
        assert_eq!(Named::new(url.to_owned()).unwrap().url_of("new"), expected);
    }
    assert!(Named::new("host=h dbname=db".to_owned()).is_none());
}
