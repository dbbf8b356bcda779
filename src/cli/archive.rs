//! `turnstile archive`.

mod forget;
mod keep;
mod restore;
mod verify;

use clap::Subcommand;

use super::migrate::open;
use super::{Failure, Outcome};
use crate::archive::ArchiveError;
use crate::archive::storage::{Place, Storage, StorageError};
use crate::config::rows::{ArchivePlace, PLACE_REMEDY};
use crate::config::{Given, Mistakes, Setting};

/// What `turnstile archive` takes.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "\
For the owner of the tables, after each `turnstile retain`. Each partition that retention has taken off becomes Parquet in the archive; \
it is read back and compared with the table, recorded in a manifest, and only then dropped. So its rows are in the table, in the archive, \
or for a while in both. What a run leaves half done, the next one ends, with the same bytes."
)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Only say what would be archived and dropped
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See from the archive alone whether it is whole
    #[command(after_long_help = "\
No database is asked. It looks at every manifest, and at the length of every file; with --deep it reads all of them. Keep the BLAKE3 of \
the last manifest that it says somewhere else, and give it to --head the next time.")]
    Verify(verify::Args),
    /// Restore a month into tables beside those that it left
    #[command(after_long_help = "\
The tables are user_logins_restored_MONTH and processed_messages_restored_MONTH, beside those that the rows left. They are there whole or \
not at all, and nothing is overwritten. They have no index, and belong to the role that restores.")]
    Restore(restore::Args),
    /// Write anew, without the logins of some people, whatever holds any
    #[command(after_long_help = "\
Each month with logins of theirs is written anew, read back, and recorded in a manifest; then its files before that are deleted. Copies of \
the archive, versions that a bucket keeps, tables that were restored, and the tables themselves are not touched.")]
    Forget(forget::Args),
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        match self.command {
            None => keep::run(given, self.dry_run).await,
            Some(Command::Verify(args)) => args.run(given).await,
            Some(Command::Restore(args)) => args.run(given).await,
            Some(Command::Forget(args)) => args.run(given).await,
        }
    }
}

/// The place that a setting names; a mistake is noted where it names none.
fn place(given: &Given, setting: &'static Setting<ArchivePlace>, mistakes: &mut Mistakes) -> Option<Place> {
    let place = given.optional(setting, mistakes)?;
    place.or_else(|| mistakes.note(given.name_of(setting), "is not given", PLACE_REMEDY))
}

async fn storage(place: &Place) -> Result<Storage, Failure> {
    Ok(Storage::open(place).await.map_err(ArchiveError::from)?)
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        let remedy = error.remedy();
        Self::new(error.to_string(), remedy)
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        ArchiveError::from(error).into()
    }
}
