//! A file of dead letters, read: first whether it is what its manifest says, then its letters.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use super::line::{Line, time};
use super::manifest::{Bodies, FORMAT, Manifest, VERSION};
use super::manifest_of;
use crate::message::{MessageHasher, MessageId, QueueIdentity};
use crate::table::dead_letters::Status;

/// The longest line that is read: a body of 1 MiB in Base64, an edit of it, and all else, with much to spare.
const LONGEST_LINE: u64 = 16 << 20;

/// A file that is what its manifest says.
pub struct LetterFile {
    /// What it holds.
    pub manifest: Manifest,
    file: File,
    path: PathBuf,
}

/// Why a file is not imported. Nothing of it was written.
#[derive(Debug, thiserror::Error)]
pub enum LetterFileError {
    /// It, or its manifest, cannot be read.
    #[error("{path:?} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// The manifest is none.
    #[error("{0:?} is not the manifest of an export")]
    NoManifest(PathBuf),
    /// The manifest is of another version.
    #[error("{path:?} is of version {version} of the format, and this program reads version {VERSION}")]
    OtherVersion {
        /// The manifest.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The file has changed since the manifest was written.
    #[error("{path:?} is not what its manifest says: {what}")]
    Changed {
        /// The file.
        path: PathBuf,
        /// How it differs.
        what: String,
    },
    /// A line is no letter.
    #[error("{path:?}, line {line}: {what}")]
    NoLetter {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: u64,
        /// What is wrong, without any of it.
        what: &'static str,
    },
}

impl LetterFileError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => {
                "name the file that `dead-letters export` wrote; its manifest must be beside it: an export without one is not complete"
            }
            Self::NoManifest(_) => "name the file that `dead-letters export` wrote, with its manifest beside it",
            Self::OtherVersion { .. } => "import it with the version of Turnstile that the manifest names",
            Self::Changed { .. } => "copy both files again, or make another export",
            Self::NoLetter { .. } => "make another export: no export of Turnstile holds such a line",
        }
    }
}

impl LetterFile {
    /// Opens a file, and reads all of it against its manifest. It may take a while, and nothing else is done meanwhile.
    ///
    /// # Errors
    ///
    /// [`LetterFileError`]
    pub fn open(path: &Path) -> Result<Self, LetterFileError> {
        let manifest = read_manifest(&manifest_of(path))?;
        let unreadable = |error| LetterFileError::Unreadable { path: path.to_owned(), error };
        let file = File::open(path).map_err(unreadable)?;
        let letter_file = Self { manifest, file, path: path.to_owned() };
        letter_file.compare_digest()?;
        letter_file.look_at_lines()?;
        Ok(letter_file)
    }

    fn compare_digest(&self) -> Result<(), LetterFileError> {
        let mut digest = blake3::Hasher::new();
        let mut reader = self.reader()?;
        let bytes = io::copy(&mut reader, &mut digest).map_err(|error| self.unreadable(error))?;
        let changed = |what| Err(LetterFileError::Changed { path: self.path.clone(), what });
        if bytes != self.manifest.bytes {
            return changed(format!("it has {bytes} bytes and not {}", self.manifest.bytes));
        }
        match digest.finalize().to_hex().as_str() == self.manifest.blake3 {
            true => Ok(()),
            false => changed("its BLAKE3 digest is another".to_owned()),
        }
    }

    /// Looks at each line too: who changed the file may have changed the digest in the manifest with it.
    fn look_at_lines(&self) -> Result<(), LetterFileError> {
        let mut hashers: BTreeMap<String, MessageHasher> = BTreeMap::new();
        let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
        let mut letters = 0;
        for line in self.lines()? {
            let line = line?;
            letters += 1;
            let wrong = |what| Err(LetterFileError::NoLetter { path: self.path.clone(), line: letters, what });
            let Some(key) = line.key() else { return wrong("its hash or its time cannot be read") };
            if !hashers.contains_key(&line.queue) {
                hashers.insert(line.queue.clone(), MessageHasher::new(&QueueIdentity::new(line.queue.as_str())));
            }
            let hash = hashers.get(&line.queue).map(|hasher| hasher.hash(&MessageId::new(line.message_id.as_str())));
            if hash != Some(key.hash) {
                return wrong("its hash is not that of its queue and its MessageId");
            }
            if line.body.is_clear() != (self.manifest.bodies == Bodies::Revealed) {
                return wrong("its body is not as the manifest says, sealed or revealed");
            }
            if !self.manifest.queues.iter().any(|queue| queue.arn == line.queue) {
                return wrong("the manifest does not name its queue");
            }
            if time(&line.received_at).is_none() || line.status.parse::<Status>().is_err() {
                return wrong("its status, or when it was received, cannot be read");
            }
            *counts.entry((line.status, line.code)).or_default() += 1;
        }
        let said = self.manifest.counts.iter().map(|count| ((count.status.clone(), count.code.clone()), count.letters));
        match letters == self.manifest.letters && counts == said.collect() {
            true => Ok(()),
            false => {
                let what = format!("it has {letters} letters and not {}, or others by code", self.manifest.letters);
                Err(LetterFileError::Changed { path: self.path.clone(), what })
            }
        }
    }

    /// Its letters, from the first.
    pub(super) fn lines(
        &self,
    ) -> Result<impl Iterator<Item = Result<Line, LetterFileError>> + use<'_>, LetterFileError> {
        let mut reader = self.reader()?;
        let (mut number, mut text) = (0, Vec::new());
        Ok(std::iter::from_fn(move || {
            number += 1;
            text.clear();
            match (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut text) {
                Ok(0) => None,
                Ok(_) => Some(serde_json::from_slice(&text).map_err(|_| LetterFileError::NoLetter {
                    path: self.path.clone(),
                    line: number,
                    what: "it is not a dead letter of an export",
                })),
                Err(error) => Some(Err(self.unreadable(error))),
            }
        }))
    }

    fn reader(&self) -> Result<BufReader<File>, LetterFileError> {
        let again = || {
            let mut file = self.file.try_clone()?;
            file.rewind()?;
            Ok(file)
        };
        again().map(|file| BufReader::with_capacity(256 * 1024, file)).map_err(|error| self.unreadable(error))
    }

    fn unreadable(&self, error: io::Error) -> LetterFileError {
        LetterFileError::Unreadable { path: self.path.clone(), error }
    }
}

fn read_manifest(path: &Path) -> Result<Manifest, LetterFileError> {
    #[derive(serde::Deserialize)]
    struct Head {
        format: String,
        version: u32,
    }
    let text = fs::read(path).map_err(|error| LetterFileError::Unreadable { path: path.to_owned(), error })?;
    let none = |_| LetterFileError::NoManifest(path.to_owned());
    let Head { format, version } = serde_json::from_slice(&text).map_err(none)?;
    if format != FORMAT {
        return Err(LetterFileError::NoManifest(path.to_owned()));
    }
    match version {
        VERSION => serde_json::from_slice(&text).map_err(none),
        version => Err(LetterFileError::OtherVersion { path: path.to_owned(), version }),
    }
}
