//! A keyring's file: readable by its owner alone, never overwritten, replaced in one step.

use std::env;
use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
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
    let before = fs::metadata(&target).map_err(unwritable)?;
    let (made, text) = change(&read(&target)?)?;
    replace(&target, &text, &before).and_then(|()| folder.sync_all()).map_err(unwritable)?;
    Ok(made)
}

/// The new file belongs to whom the old one does, with the same permissions: a loader that could read it still can.
fn replace(target: &Path, text: &str, before: &Metadata) -> io::Result<()> {
    let parent = target.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new()
        .prefix(".turnstile-keyring-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(parent)?;
    file.write_all(text.as_bytes())?;
    let made = file.as_file().metadata()?;
    if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
        std::os::unix::fs::fchown(file.as_file(), Some(before.uid()), Some(before.gid()))?;
    }
    // After the owner: a change of owner may take permissions away.
    file.as_file().set_permissions(fs::Permissions::from_mode(before.mode() & 0o777))?;
    file.as_file().sync_all()?;
    file.persist(target).map(drop).map_err(|error| error.error)
}

fn folder_of(path: &Path) -> io::Result<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))
}

/// What lets others than its owner at a keyring's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Others may read it.
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It belongs neither to who runs this program nor to root: its owner may put another key in its place.
    OfAnotherUser {
        /// The file.
        path: PathBuf,
        /// The owner's number.
        owner: u32,
    },
    /// Others may write to its folder, and so put another file in its place.
    InOpenFolder {
        /// The folder.
        folder: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

/// Whether nobody but its owner may read a file of these permissions.
///
/// What systemd hands to a service (`LoadCredential=`) may be shared with it by an access list, which looks like a permission of
/// the group and is none.
pub fn is_private(path: &Path, mode: u32) -> bool {
    let folder = env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty());
    let of_systemd = folder.is_some_and(|folder| path.starts_with(folder));
    mode & if of_systemd { 0o007 } else { 0o077 } == 0
}

pub(super) fn exposure(path: &Path) -> Result<Option<Exposure>, KeyringError> {
    let unreadable = |source| KeyringError::Unreadable { path: path.to_owned(), source };
    let target = path.canonicalize().map_err(unreadable)?;
    let file = fs::metadata(&target).map_err(unreadable)?;
    if file.is_dir() {
        return Err(unreadable(io::ErrorKind::IsADirectory.into()));
    }
    let (path, mode) = (path.to_owned(), file.mode() & 0o777);
    if !is_private(&path, mode) {
        return Ok(Some(Exposure::Readable { path, mode }));
    }
    if ![0, geteuid().as_raw()].contains(&file.uid()) {
        return Ok(Some(Exposure::OfAnotherUser { path, owner: file.uid() }));
    }
    let folder = target.parent().unwrap_or(Path::new("/"));
    let mode = fs::metadata(folder).map_err(unreadable)?.mode() & 0o1777;
    // In a folder like /tmp, whose files only their owners may replace, the sticky bit is set.
    let is_open = mode & 0o022 != 0 && mode & 0o1000 == 0;
    Ok(is_open.then(|| Exposure::InOpenFolder { folder: folder.to_owned(), mode }))
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Readable { path, mode } => {
                write!(f, "others than its owner may read the keyring {} (mode {mode:04o})", path.display())
            }
            Self::OfAnotherUser { path, owner } => {
                write!(
                    f,
                    "the keyring {} belongs to the user {owner}, who can put other keys in its place",
                    path.display()
                )
            }
            Self::InOpenFolder { folder, mode } => write!(
                f,
                "others may put another keyring in the place of this one: they may write to its folder {} (mode {mode:04o})",
                folder.display()
            ),
        }
    }
}

impl Exposure {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Readable { path, .. } => format!("chmod 600 {}", path.display()),
            Self::OfAnotherUser { .. } => "give it to the user that runs turnstile, or to root".to_owned(),
            Self::InOpenFolder { folder, .. } => format!("chmod go-w {}", folder.display()),
        }
    }
}
