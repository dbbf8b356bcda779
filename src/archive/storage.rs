//! Where an archive is: a folder, or a prefix of a bucket of S3. Names of objects have slashes, as in S3.
//!
//! An object is put once and never changed. A put under a name that is taken says so, and its caller compares.

mod folder;
mod s3;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::str::FromStr;

pub use self::folder::Folder;
pub use self::s3::Bucket;
use crate::aws::{CallError, UnusableSettings};

/// Where an archive is, as it is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder.
    Folder(PathBuf),
    /// A part of a bucket.
    S3 {
        /// The bucket.
        bucket: String,
        /// What the names of its objects begin with: empty, or ending in a slash.
        prefix: String,
    },
}

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let Some(rest) = text.strip_prefix("s3://") else {
            return match text.contains("://") || text.is_empty() {
                true => Err(NoPlace),
                false => Ok(Self::Folder(PathBuf::from(text))),
            };
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(is_name) {
            return Err(NoPlace);
        }
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self::S3 { bucket: bucket.to_owned(), prefix })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{}", prefix.trim_end_matches('/')),
        }
    }
}

/// A text does not say where an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is neither a folder nor s3://BUCKET/PREFIX")]
pub struct NoPlace;

/// An object, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name in the archive.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// What became of an object that was to be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is stored.
    Stored,
    /// Something stands under this name already.
    Taken,
}

/// What is written, before it has its name.
pub struct Partial {
    file: File,
    /// Where it stands in the folder of the archive; none: it has no name at all.
    path: Option<PathBuf>,
}

impl Partial {
    /// The file, to write into.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

/// Why a storage did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The system refuses.
    #[error("{attempted} {name}: {error}")]
    Folder {
        /// What was attempted.
        attempted: &'static str,
        /// With which object, or folder.
        name: String,
        /// What the system says.
        error: io::Error,
    },
    /// S3 refuses, or does not answer.
    #[error("{name}: {error}")]
    S3 {
        /// Of which object, or bucket.
        name: String,
        /// What came of the call.
        error: CallError,
    },
    /// The AWS settings lead to no server.
    #[error(transparent)]
    Settings(#[from] UnusableSettings),
    /// The bucket is not there.
    #[error("there is no bucket {0}")]
    NoBucket(String),
    /// There is no such object.
    #[error("{0} is not in the archive")]
    Missing(String),
}

impl StorageError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Folder { .. } => "give a folder that can be read and written, with room for a partition".to_owned(),
            Self::S3 { error, .. } => match error.status {
                Some(401 | 403) => {
                    "let the credentials list the bucket, and get, put and delete objects below the prefix".to_owned()
                }
                _ => "run the same again once S3 answers: what was stored is not stored twice".to_owned(),
            },
            Self::Settings(UnusableSettings::InClear { .. }) => "use https://".to_owned(),
            Self::Settings(unusable) => unusable.remedy().to_owned(),
            Self::NoBucket(_) => "create the bucket, or correct its name, the region or AWS_ENDPOINT_URL".to_owned(),
            Self::Missing(_) => "bring it back from a copy of the archive: nothing can be made in its place".to_owned(),
        }
    }
}

/// An archive's storage.
pub enum Storage {
    /// A folder.
    Folder(Folder),
    /// A bucket.
    S3(Box<Bucket>),
}

impl Storage {
    /// Opens it. A folder that is not there is made when the first object is put.
    ///
    /// # Errors
    ///
    /// [`StorageError`]
    pub async fn open(place: &Place) -> Result<Self, StorageError> {
        Ok(match place {
            Place::Folder(path) => Self::Folder(Folder::new(path)),
            Place::S3 { bucket, prefix } => Self::S3(Box::new(Bucket::connect(bucket, prefix).await?)),
        })
    }

    /// Begins an object. What an earlier run left of it is written over.
    ///
    /// # Errors
    ///
    /// [`StorageError`]
    pub fn begin(&self, name: &str) -> Result<Partial, StorageError> {
        match self {
            Self::Folder(folder) => folder.begin(name),
            Self::S3(_) => {
                let file = tempfile::tempfile();
                let failed = |error| StorageError::Folder { attempted: "make room for", name: name.to_owned(), error };
                Ok(Partial { file: file.map_err(failed)?, path: None })
            }
        }
    }

    /// Puts a whole object in its place, unless its name is taken. Once this is `Ok`, it outlives a crash.
    ///
    /// # Errors
    ///
    /// [`StorageError`]: it may have been stored nevertheless.
    pub async fn put(&self, name: &str, partial: Partial, sha256: &[u8; 32]) -> Result<Put, StorageError> {
        match self {
            Self::Folder(folder) => folder.put(name, partial),
            Self::S3(bucket) => bucket.put(name, partial, sha256).await,
        }
    }

    /// Gets an object, as a file to read.
    ///
    /// # Errors
    ///
    /// [`StorageError`]
    pub async fn get(&self, name: &str) -> Result<File, StorageError> {
        match self {
            Self::Folder(folder) => folder.get(name),
            Self::S3(bucket) => bucket.get(name).await,
        }
    }

    /// Gets a small object whole.
    ///
    /// # Errors
    ///
    /// [`StorageError`]
    pub async fn get_small(&self, name: &str) -> Result<Vec<u8>, StorageError> {
        let mut bytes = Vec::new();
        let read = self.get(name).await?.take(SMALL).read_to_end(&mut bytes);
        let failed = |error| StorageError::Folder { attempted: "read", name: name.to_owned(), error };
        read.map_err(failed)?;
        Ok(bytes)
    }

    /// How long an object is; nothing where there is none.
    ///
    /// # Errors
    ///
    /// [`StorageError`]
    pub async fn head(&self, name: &str) -> Result<Option<u64>, StorageError> {
        match self {
            Self::Folder(folder) => folder.head(name),
            Self::S3(bucket) => bucket.head(name).await,
        }
    }

    /// Every object whose name begins with this, in the order of their names.
    ///
    /// # Errors
    ///
    /// [`StorageError`]
    pub async fn list(&self, prefix: &str) -> Result<Vec<Object>, StorageError> {
        let mut objects = match self {
            Self::Folder(folder) => folder.list(prefix)?,
            Self::S3(bucket) => bucket.list(prefix).await?,
        };
        objects.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(objects)
    }

    /// Deletes an object; one that is not there is none to delete.
    ///
    /// # Errors
    ///
    /// [`StorageError`]
    pub async fn remove(&self, name: &str) -> Result<(), StorageError> {
        match self {
            Self::Folder(folder) => folder.remove(name),
            Self::S3(bucket) => bucket.remove(name).await,
        }
    }
}

/// The longest manifest that is read.
const SMALL: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_folder_or_a_part_of_a_bucket() {
        let s3 = |bucket: &str, prefix: &str| Ok(Place::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
        for (text, place) in [
            ("archive", Ok(Place::Folder("archive".into()))),
            ("s3://logins-archive", s3("logins-archive", "")),
            ("s3://logins-archive/", s3("logins-archive", "")),
            ("s3://logins-archive/eu/one/", s3("logins-archive", "eu/one/")),
            ("s3://", Err(NoPlace)),
            ("s3://a", Err(NoPlace)),
            ("s3://Logins/x", Err(NoPlace)),
            ("gs://logins", Err(NoPlace)),
            ("", Err(NoPlace)),
        ] {
            assert_eq!(text.parse::<Place>(), place, "{text}");
        }
        assert_eq!("s3://abc/x/".parse::<Place>().unwrap().to_string(), "s3://abc/x");
    }
}
