//! A server that begins with what another one holds.

use std::io::ErrorKind;

use super::{Options, Postgres, PostgresError, cannot};

impl Postgres {
    /// Copies the cluster of a server that was stopped and starts the copy, with the same databases, roles and
    /// passwords: in a quarter of the time of [`Postgres::start`].
    ///
    /// # Errors
    ///
    /// As for [`Postgres::start`]; [`PostgresError::Io`] also when the server runs: its files change meanwhile.
    pub async fn start_copy_of(stopped: &Self, options: Options) -> Result<Self, PostgresError> {
        if stopped.server.is_some() {
            return Err(cannot("copy the cluster of a server that runs")(ErrorKind::ResourceBusy.into()));
        }
        let mut copy = Self::in_a_folder_of_its_own(options, stopped.password.clone()).await?;
        copy.copy_files_of(stopped).await?;
        copy.launch_on_a_free_port().await?;
        Ok(copy)
    }

    async fn copy_files_of(&self, stopped: &Self) -> Result<(), PostgresError> {
        let mut cp = self.command("cp".as_ref());
        // With their modes: a server refuses a cluster that others may read.
        cp.args(["-R", "-p"]).arg(stopped.data()).arg(self.data());
        self.run_to_its_end(cp.into(), "copy the cluster of a stopped server").await
    }
}
