//! A Citus cluster that somebody else runs: `TURNSTILE_CITUS` names its servers, the coordinator first, by the URLs of a
//! superuser, with a comma between them.

use std::env;
use std::time::Duration;

use turnstile::distribution::distribute;

use super::loading::migrate;
use super::postgres::{connect, pool};
use super::server::Named;

/// The servers.
pub(crate) struct Cluster {
    pub(crate) coordinator: Named,
    pub(crate) workers: Vec<Named>,
}

impl Cluster {
    /// The one that the variable names.
    pub(crate) fn named() -> Option<Self> {
        let urls = env::var("TURNSTILE_CITUS").ok().filter(|urls| !urls.is_empty())?;
        let mut servers = urls.split(',').map(|url| Named::new(url.to_owned()).expect("a URL in TURNSTILE_CITUS"));
        let cluster = Self { coordinator: servers.next().expect("a coordinator"), workers: servers.collect() };
        assert!(!cluster.workers.is_empty(), "TURNSTILE_CITUS names no worker");
        Some(cluster)
    }

    /// Makes a database of this name on every server, and a cluster of them; gives its URL on the coordinator.
    pub(crate) async fn create_database(&self, name: &str) -> String {
        self.create_database_by_way_of(name, None).await
    }

    /// The same; the coordinator reaches the first worker at this place, where one is given.
    pub(crate) async fn create_database_by_way_of(&self, name: &str, first: Option<(String, u16)>) -> String {
        for server in self.servers() {
            server.create_database(name).await;
            connect(&server.url_of(name))
                .await
                .batch_execute("CREATE EXTENSION citus")
                .await
                .expect("the extension citus");
        }
        let url = self.coordinator.url_of(name);
        let client = connect(&url).await;
        let (host, port) = self.coordinator.place();
        let is_led = first.is_some();
        let mut sql = format!("SELECT citus_set_coordinator_host('{host}', {port})");
        let places = first.into_iter().chain(self.workers.iter().map(Named::place).skip(usize::from(is_led)));
        for (host, port) in places {
            sql += &format!("; SELECT citus_add_node('{host}', {port})");
        }
        client.batch_execute(&sql).await.expect("a cluster of the servers");
        url
    }

    /// Makes Turnstile's tables in it, distributed over so many shards.
    pub(crate) async fn make_tables(&self, url: &str, shards: Option<u32>) {
        let database = pool(url, 1, Duration::from_secs(60));
        migrate(&database).await;
        distribute(&database, shards, Duration::from_secs(60)).await.expect("distributed tables");
    }

    /// Drops it on every server.
    pub(crate) async fn drop_database(&self, name: &str) {
        for server in self.servers() {
            server.drop_database(name).await;
        }
    }

    fn servers(&self) -> impl Iterator<Item = &Named> {
        std::iter::once(&self.coordinator).chain(&self.workers)
    }
}
