//! An archive in a folder. An object has another name until it is on the disk, whole.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use super::{Object, Partial, Put, StorageError};

/// What the name of an object ends with that is being written.
const PARTIAL: &str = ".partial";

/// A folder.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(super) fn begin(&self, name: &str) -> Result<Partial, StorageError> {
        let path = self.path_of(&format!("{name}{PARTIAL}"));
        let made = self.make_folders(&path).and_then(|()| {
            OpenOptions::new().create(true).truncate(true).read(true).write(true).mode(0o600).open(&path)
        });
        Ok(Partial { file: made.map_err(|error| failed("write", name, error))?, path: Some(path) })
    }

    pub(super) fn put(&self, name: &str, partial: Partial) -> Result<Put, StorageError> {
        let to = self.path_of(name);
        let placed = partial.file.sync_all().and_then(|()| {
            let Some(path) = partial.path else { return Err(io::ErrorKind::NotFound.into()) };
            match TempPath::try_from_path(path)?.persist_noclobber(&to) {
                Ok(()) => self.sync_folders(&to).map(|()| Put::Stored),
                Err(taken) if taken.error.kind() == io::ErrorKind::AlreadyExists => Ok(Put::Taken),
                Err(refused) => Err(refused.error),
            }
        });
        placed.map_err(|error| failed("store", name, error))
    }

    pub(super) fn get(&self, name: &str) -> Result<File, StorageError> {
        File::open(self.path_of(name)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StorageError::Missing(name.to_owned()),
            _ => failed("read", name, error),
        })
    }

    pub(super) fn head(&self, name: &str) -> Result<Option<u64>, StorageError> {
        match fs::metadata(self.path_of(name)) {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("look at", name, error)),
        }
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Vec<Object>, StorageError> {
        let mut found = Vec::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(self.path_of(&folder)) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("list", &folder, error)),
            };
            for entry in entries {
                let entry = entry.map_err(|error| failed("list", &folder, error))?;
                let name = format!("{folder}{}", entry.file_name().to_string_lossy());
                let what = entry.metadata().map_err(|error| failed("look at", &name, error))?;
                if what.is_dir() {
                    folders.push(format!("{name}/"));
                } else if name.starts_with(prefix) && !name.ends_with(PARTIAL) {
                    found.push(Object { name, bytes: what.len() });
                }
            }
        }
        Ok(found)
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), StorageError> {
        let path = self.path_of(name);
        let removed = match fs::remove_file(&path) {
            Ok(()) => self.sync_folders(&path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        removed.map_err(|error| failed("delete", name, error))
    }

    fn path_of(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn make_folders(&self, of: &Path) -> io::Result<()> {
        let folder = of.parent().unwrap_or(&self.root);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
    }

    /// A name is on the disk once its folder is, and that of the folder, up to the one of the archive.
    fn sync_folders(&self, of: &Path) -> io::Result<()> {
        let within = of.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.root));
        within.map(File::open).try_for_each(|folder| folder?.sync_all())
    }
}

fn failed(attempted: &'static str, name: &str, error: io::Error) -> StorageError {
    StorageError::Folder { attempted, name: name.to_owned(), error }
}
