//! A primary and a standby that confirms each of its commits.

use stand_ins::postgres::Postgres;

use super::postgres::connect;
use super::server::{self, installed};
use super::wait_until;

/// Two servers, of which the second keeps what the first acknowledges.
pub(crate) struct ReplicatedPair {
    pub(crate) primary: Postgres,
    pub(crate) standby: Postgres,
}

impl ReplicatedPair {
    /// Starts both, and waits until commits wait for the standby: some three seconds.
    pub(crate) async fn start() -> Self {
        let primary = server::start(installed()).await;
        let standby = Postgres::start_standby_of(&primary, "standby", installed()).await.unwrap();
        let client = connect(&primary.url()).await;
        client.batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'").await.unwrap();
        client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        wait_until("commits wait for the standby", async || {
            let synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
            client.query_one(synchronous, &[]).await.unwrap().get::<_, i64>(0) == 1
        })
        .await;
        Self { primary, standby }
    }

    /// A URL that leads to whichever of them takes rows.
    pub(crate) fn url(&self) -> String {
        let (primary, standby) = (self.primary.url(), self.standby.url());
        let place = |url: &str| url.split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
        let both = primary.replace(&place(&primary), &format!("{},{}", place(&primary), place(&standby)));
        format!("{both}?target_session_attrs=read-write")
    }

    /// Kills the primary at once, and lets the standby take its place.
    pub(crate) async fn fail_over(&mut self) {
        self.primary.kill_hard();
        self.standby.promote().await.unwrap();
    }

    /// As [`Self::fail_over`], where the standby crashes with the primary and comes back with what its disk holds.
    pub(crate) async fn fail_over_to_what_the_disk_of_the_standby_holds(&mut self) {
        self.primary.kill_hard();
        self.standby.kill_hard();
        self.standby.restart().await.unwrap();
        self.standby.promote().await.unwrap();
    }
}
