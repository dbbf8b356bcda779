//! What retention takes off, kept: each retired partition as Parquet in a folder or in S3, and only then dropped.
//!
//! The table of a partition is the only source, the name of an object its key, and the drop the commit: a row is in the table,
//! in the archive, or for a while in both, and never in neither. A partition goes through these steps, each of which may end
//! anywhere and is repeated by the next run:
//!
//! ```text
//! detached → written → read back (by other code, and compared with the server's digest) → recorded → dropped
//! ```
//!
//! What is written depends on the rows alone, so that a repetition writes the same bytes, and finds them there already.

mod binary;
pub mod chain;
mod failure;
pub mod forget;
mod ground;
pub mod keep;
pub mod manifest;
pub mod reader;
pub mod restore;
pub mod storage;
mod stored;
pub mod verify;
pub mod writer;

pub use self::failure::ArchiveError;
