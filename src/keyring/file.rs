//! A keyring's file: readable by its owner alone, never overwritten, replaced in one step.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::KeyringError;

pub(super) fn read(path: &Path) -> Result<Zeroizing<String>, KeyringError> {
    fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|source| KeyringError::Unreadable { path: path.to_owned(), source })
}

pub(super) fn write_new(path: &Path, text: &str) -> Result<(), KeyringError> {
    let unwritable = |source| KeyringError::Unwritable { path: path.to_owned(), source };
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(KeyringError::Exists { path: path.to_owned() });
        }
        opened => opened.map_err(unwritable)?,
    };
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a keyring would be in the way of the next try. If it cannot be removed, that try says so.
        fs::remove_file(path).unwrap_or_default();
    }
    written.and_then(|()| folder_of(path)?.sync_all()).map_err(unwritable)
}

/// Replaces a file by what `change` makes of its text, while no other process updates a keyring in the same folder.
pub(super) fn update<T>(
    path: &Path,
    change: impl FnOnce(&str) -> Result<(T, Zeroizing<String>), KeyringError>,
) -> Result<T, KeyringError> {
    let unwritable = |source| KeyringError::Unwritable { path: path.to_owned(), source };
    // A link keeps pointing at the file that it points at.
    let target = path.canonicalize().map_err(|source| KeyringError::Unreadable { path: path.to_owned(), source })?;
    // The lock is the folder's, since the file itself is about to be another one. It ends with this function.
    let folder = folder_of(&target).map_err(unwritable)?;
    folder.lock().map_err(unwritable)?;
    let (made, text) = change(&read(&target)?)?;
    replace(&target, &text).and_then(|()| folder.sync_all()).map_err(unwritable)?;
    Ok(made)
}

fn replace(target: &Path, text: &str) -> io::Result<()> {
    let parent = target.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new()
        .prefix(".turnstile-keyring-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(parent)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(target).map(drop).map_err(|error| error.error)
}

fn folder_of(path: &Path) -> io::Result<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))
}

/// A keyring's file that others than its owner may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    path: PathBuf,
    mode: u32,
}

pub(super) fn exposure(path: &Path) -> Result<Option<Exposure>, KeyringError> {
    let metadata = fs::metadata(path).map_err(|source| KeyringError::Unreadable { path: path.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    // A folder is not a keyring, whoever may read it.
    Ok((metadata.is_file() && mode & 0o077 != 0).then(|| Exposure { path: path.to_owned(), mode }))
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, mode } = self;
        let path = path.display();
        write!(f, "the keyring {path} is open to others than its owner (mode {mode:04o}): chmod 600 {path}")
    }
}
