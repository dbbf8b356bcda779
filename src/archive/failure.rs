//! Why an archive is not kept, rewritten or restored, and what to do about it.

use super::chain::Problem;
use super::reader::ReadError;
use super::storage::StorageError;
use super::writer::WriteError;
use crate::database::DatabaseError;
use crate::table::archived_columns::RowDigest;

/// Why an archive is not kept, rewritten or restored. What was done before holds, and no row is lost.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The database refuses.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The storage refuses.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Somebody has the lock.
    #[error("another `turnstile archive`, or a `turnstile retain`, is at work")]
    Busy,
    /// Something is wrong with the archive itself.
    #[error("the archive is not whole: {0}")]
    Broken(#[from] Problem),
    /// The archive names partitions that this database did not record.
    #[error("the archive has {sequence} manifests, and this database knows of {known} of them")]
    Ahead {
        /// The last manifest.
        sequence: u64,
        /// The last that the database knows.
        known: u64,
    },
    /// The archive lacks what this database has recorded.
    #[error(
        "this database has recorded manifest {known}, and the archive has {sequence} manifests, or another {known}"
    )]
    Behind {
        /// The last manifest.
        sequence: u64,
        /// The last that the database knows.
        known: u64,
    },
    /// Columns that cannot be kept.
    #[error("{partition} has columns that an archive cannot keep: {columns}")]
    Unfit {
        /// The partition.
        partition: String,
        /// The columns, with their types.
        columns: String,
    },
    /// There is no table, and nothing recorded.
    #[error("there is no detached table {0}, and no archive of it is recorded")]
    Gone(String),
    /// Something else stands under a name.
    #[error("{0} stands in the archive with other bytes than would be written now, and no manifest names it")]
    Taken(String),
    /// The rows have changed since the partition was detached.
    #[error("{partition} held {counted} rows when it was detached, and holds {found} now")]
    Changed {
        /// The partition.
        partition: String,
        /// How many it held.
        counted: u64,
        /// How many it holds.
        found: u64,
    },
    /// What was read back is not what it should be.
    #[error("what was read back of {what} is not what the {whose} holds: {found:?} and not {expected:?}")]
    NotEqual {
        /// The partition, or the table.
        what: String,
        /// Whose rows it was compared with.
        whose: &'static str,
        /// What was read back.
        found: Box<RowDigest>,
        /// What should have been.
        expected: Box<RowDigest>,
    },
    /// A stored file is not what was stored.
    #[error("{name} {what}")]
    Damaged {
        /// The file.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// Others use the table.
    #[error("{0} is archived, and not dropped yet, because others use it")]
    InTheWay(String),
    /// A partition is between the table and the archive.
    #[error("{0} is archived, and not dropped yet")]
    Unfinished(String),
    /// The archive does not hold such a time.
    #[error("the archive holds nothing of {month}: it holds {held}")]
    NoSuchMonth {
        /// What was asked for.
        month: String,
        /// What there is.
        held: String,
    },
    /// A table stands in the way.
    #[error("there is a table {0} already")]
    Exists(String),
}

impl ArchiveError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Database(error) => error.remedy().to_owned(),
            Self::Storage(error) => error.remedy(),
            Self::Write(WriteError::Value { column }) => {
                format!("correct the value of {column} in the detached table, or drop the column there, and run it again")
            }
            Self::Write(_) => "see that there is room where the archive is, and for temporary files".to_owned(),
            Self::Busy => "wait until it has ended: pg_locks shows who holds an advisory lock".to_owned(),
            Self::Broken(_) | Self::Damaged { .. } => {
                "bring the object back from a copy; `turnstile archive verify --deep` shows all that is wrong".to_owned()
            }
            Self::Ahead { .. } => {
                "give an archive of its own to each database; where this one was restored from a backup, name a new --to"
                    .to_owned()
            }
            Self::Behind { .. } => "bring the manifests back from a copy, or correct --to or --from".to_owned(),
            Self::Unfit { .. } => {
                "in the detached table, give them a type that can be kept (ALTER TABLE … ALTER COLUMN … TYPE text), or drop them"
                    .to_owned()
            }
            Self::Gone(_) => "find out who dropped it, and restore it from a backup under its name".to_owned(),
            Self::Taken(_) => {
                "an earlier run left it, of another version of Turnstile or of other rows: move it away, and run it again"
                    .to_owned()
            }
            Self::Changed { .. } => {
                "nobody may write into a detached partition: find out who did; nothing of it is dropped".to_owned()
            }
            Self::NotEqual { .. } => "nothing is dropped for it: run it again, and report it if it stays so".to_owned(),
            Self::InTheWay(_) => "run the same again once they have ended".to_owned(),
            Self::Unfinished(_) => "run `turnstile archive --to` this archive first".to_owned(),
            Self::NoSuchMonth { .. } => "name one of these as it is written there".to_owned(),
            Self::Exists(_) => "rename or drop it: a restore overwrites nothing".to_owned(),
        }
    }

    /// What a file that cannot be read means.
    pub(super) fn unreadable(name: &str) -> impl FnOnce(ReadError) -> Self {
        move |error| Self::Damaged { name: name.to_owned(), what: error.to_string() }
    }
}
