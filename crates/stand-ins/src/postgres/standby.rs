//! A second server that follows a first one, and takes its place.

use super::{Options, Postgres, PostgresError, USER};

impl Postgres {
    /// Copies the cluster of a running server and starts the copy as its hot standby, with the same roles and
    /// passwords: some two seconds.
    ///
    /// It is asynchronous until the primary's `synchronous_standby_names` holds `name`.
    ///
    /// # Errors
    ///
    /// As for [`Postgres::start`]; also when there is no `pg_basebackup` beside `postgres`.
    pub async fn start_standby_of(primary: &Self, name: &str, options: Options) -> Result<Self, PostgresError> {
        let mut standby = Self::in_a_folder_of_its_own(options, primary.password.clone()).await?;
        standby.copy_cluster(primary, name).await?;
        standby.launch_on_a_free_port().await?;
        Ok(standby)
    }

    /// Makes a standby the primary, and waits until it is. Whatever was the primary must be gone, or be left alone.
    ///
    /// # Errors
    ///
    /// [`PostgresError::Statement`] if the server does not answer or is no standby.
    pub async fn promote(&self) -> Result<(), PostgresError> {
        let refused = |error| PostgresError::Statement { what: "promote the standby", source: error };
        let client = self.connect().await?;
        client.batch_execute("SELECT pg_promote()").await.map_err(|error| refused(error.into()))
    }

    async fn copy_cluster(&self, primary: &Self, name: &str) -> Result<(), PostgresError> {
        let mut copy = self.command(&self.programs.pg_basebackup);
        copy.arg("--pgdata").arg(self.data());
        // What it is called with stays in the copy's own settings, as the way back to its primary.
        let way = format!("host=127.0.0.1 port={} user={USER} application_name={name}", primary.port);
        copy.args(["--dbname", &way, "--write-recovery-conf", "--checkpoint", "fast", "--no-sync", "--no-password"]);
        copy.env("PGPASSWORD", &self.password);
        self.run_to_its_end(copy.into(), "copy the cluster with pg_basebackup").await
    }
}
