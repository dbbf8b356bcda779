//! The keys by id: one that masks now, and those that older rows were masked with.
//!
//! A keyring is a text, in a file that only its owner reads or in the environment variable [`KEYS_VARIABLE`]:
//!
//! ```text
//! turnstile-keyring v1
//! # lines that start with a number sign, and empty ones, say nothing
//! hash hq7c2mn <32 bytes in standard Base64>
//! key k4mq2x7 <32 bytes in standard Base64>
//! key kz3f6ta <32 bytes in standard Base64>
//! active kz3f6ta
//! ```
//!
//! Keys stand in the order of their making; the active one masks and seals. The hash key is not rotated: with it are
//! hashed identities, logins and bodies, and hashes must stay comparable.

mod file;
mod masters;
mod text;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

pub use self::file::{Exposure, is_private};
pub use self::masters::Masters;
use crate::mask::{MaskKind, Masker, Unmasker};
use crate::message::{Identifier, Identity, QueueIdentity};
use crate::seal::{BodyOpener, BodySealer, HashKey, Key, KeyId, NoCipher, NoKeyId};

/// The environment variable that may hold a keyring's text instead of a file.
pub const KEYS_VARIABLE: &str = "TURNSTILE_KEYS";

/// Where a keyring is. Prints the place, never what is in it.
#[derive(Clone)]
pub enum KeyringPlace {
    /// No place is given.
    Nowhere,
    /// A file.
    File(PathBuf),
    /// A text.
    Text {
        /// The keyring itself.
        text: Zeroizing<String>,
        /// What holds it: [`KEYS_VARIABLE`], or a file of settings.
        given_as: String,
    },
}

impl KeyringPlace {
    /// The file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Text { .. } | Self::Nowhere => None,
        }
    }

    /// An error of the keyring in this place, with the place where the error does not name it.
    pub fn blamed_for(&self, error: &KeyringError) -> String {
        match (self, error) {
            (Self::File(_), KeyringError::Unreadable { .. }) => error.to_string(),
            (Self::File(path), error) => format!("{}: {error}", path.display()),
            (Self::Text { .. } | Self::Nowhere, error) => error.to_string(),
        }
    }

    /// What to do about an error of the keyring in this place.
    pub fn remedy(&self, error: &KeyringError) -> &'static str {
        match self {
            Self::Text { .. } => "give the whole text of a file that `turnstile keys new` made, with its line ends",
            Self::File(_) | Self::Nowhere => error.remedy(),
        }
    }
}

impl fmt::Debug for KeyringPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for KeyringPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => f.write_str("nowhere"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Text { given_as, .. } => f.write_str(given_as),
        }
    }
}

/// An ordered set of keys, one of them active. It has at least one key, prints ids only, and has forgotten what its keys were
/// derived from.
pub struct Keyring {
    hash: Arc<HashKey>,
    keys: Vec<Arc<Key>>,
    active: Arc<Key>,
}

impl Keyring {
    /// The keyring in its place.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Absent`], which says how to make one, when it has none; else as [`Keyring::load`].
    pub fn find(place: &KeyringPlace) -> Result<Self, KeyringError> {
        match place {
            KeyringPlace::File(path) => Self::load(path),
            KeyringPlace::Text { text, .. } => Self::parse(text),
            KeyringPlace::Nowhere => Err(KeyringError::Absent),
        }
    }

    /// The keyring in a file.
    ///
    /// # Errors
    ///
    /// [`KeyringError`] when the file cannot be read, or holds no keyring.
    pub fn load(path: &Path) -> Result<Self, KeyringError> {
        Self::parse(&file::read(path)?)
    }

    /// The keyring that a text describes.
    ///
    /// # Errors
    ///
    /// [`KeyringError`] names the line, and never what stands in it.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        Masters::parse(text)?.derive()
    }

    /// A keyring of one new random key, under a new random id, and a new hash key, to be used once.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoRandomness`] when the system gives none.
    pub fn generate() -> Result<Self, KeyringError> {
        Masters::generate()?.derive()
    }

    /// The key that masks and seals now.
    pub fn active(&self) -> &KeyId {
        self.active.id()
    }

    /// The ids of all keys, oldest first.
    pub fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.keys.iter().map(|key| key.id())
    }

    /// The key that hashes.
    pub fn hash_key(&self) -> &HashKey {
        &self.hash
    }

    /// The same, to be kept.
    pub fn shared_hash_key(&self) -> Arc<HashKey> {
        Arc::clone(&self.hash)
    }

    /// The keys that mask and seal, oldest first.
    pub fn mask_keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().map(|key| &**key)
    }

    /// Makes the hashes of a queue's messages and logins under this scheme.
    pub fn identifier(&self, identity: Identity, queue: &QueueIdentity) -> Identifier {
        self.hash.identifier(identity, queue)
    }

    /// Masks with the active key.
    pub fn masker(&self, kind: MaskKind) -> Masker {
        Masker::new(kind, Arc::clone(&self.active))
    }

    /// Maskers with every key, in the order in which the keys were made.
    pub fn maskers(&self, kind: MaskKind) -> Vec<Masker> {
        self.keys.iter().map(|key| Masker::new(kind, Arc::clone(key))).collect()
    }

    /// Recovers what any of the keys masked.
    pub fn unmasker(&self) -> Unmasker {
        Unmasker::new(self.keys.clone())
    }

    /// Seals bodies with the active key, and hashes them with the hash key.
    pub fn body_sealer(&self) -> BodySealer {
        BodySealer::new(Arc::clone(&self.active), Arc::clone(&self.hash))
    }

    /// Opens the bodies that any of the keys sealed.
    pub fn body_opener(&self) -> BodyOpener {
        BodyOpener::new(self.keys.clone())
    }

    /// Whether others than its owner may read or replace a keyring's file, which is worth a warning.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unreadable`] when the file's permissions cannot be read.
    pub fn exposure(path: &Path) -> Result<Option<Exposure>, KeyringError> {
        file::exposure(path)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("ids", &self.ids().map(KeyId::as_str).collect::<Vec<_>>())
            .field("active", &self.active().as_str())
            .finish_non_exhaustive()
    }
}

/// Why there is no keyring. Names files, lines and ids, never a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// Neither a file nor the environment variable was given.
    #[error("no keyring is given: no file is named, and {KEYS_VARIABLE} holds none")]
    Absent,
    /// A file cannot be read.
    #[error("cannot read the keyring {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write the keyring {}: {source}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is a file already.
    #[error("{} exists and is not overwritten: it may hold the only copy of a key", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The text does not start with the keyring's version.
    #[error("it is not a keyring of this version: the first line must be `{header}`", header = text::HEADER)]
    WrongHeader,
    /// A line is wrong.
    #[error("line {line} of the keyring {problem}")]
    WrongLine {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: LineProblem,
    },
    /// No line says which key is active.
    #[error("the keyring has no line `active ID`")]
    NoActive,
    /// There is no hash key.
    #[error("the keyring has no line `hash ID BASE64`")]
    NoHashKey,
    /// The active key is not there.
    #[error("the keyring has no key {0}, which its line `active` names")]
    UnknownActive(KeyId),
    /// The keyring has a key of this id already.
    #[error("the keyring has a key {0} already")]
    IdTaken(KeyId),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
    /// The cryptographic library failed.
    #[error(transparent)]
    NoCipher(#[from] NoCipher),
    /// An id is none.
    #[error(transparent)]
    NoKeyId(#[from] NoKeyId),
}

impl KeyringError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Absent | Self::Unreadable { .. } => {
                "make one with `turnstile keys new --keyring PATH`, and set --keyring or TURNSTILE_KEYRING to its path \
                 (or TURNSTILE_KEYS to its text)"
            }
            Self::Exists { .. } => "add a key to it with --add, or name another file",
            Self::IdTaken(_) | Self::NoKeyId(_) => "choose another id",
            Self::WrongHeader | Self::WrongLine { .. } | Self::NoActive | Self::NoHashKey | Self::UnknownActive(_) => {
                "name a file that `turnstile keys new` made, or your copy of it"
            }
            Self::Unwritable { .. } => "make its folder writable, or name another file",
            Self::NoRandomness | Self::NoCipher(_) => "try again on a system that provides it",
        }
    }

    /// Whether another setting would help; else the system failed.
    pub fn is_wrong_setting(&self) -> bool {
        match self {
            Self::Absent
            | Self::Unreadable { .. }
            | Self::Exists { .. }
            | Self::WrongHeader
            | Self::WrongLine { .. }
            | Self::NoActive
            | Self::NoHashKey
            | Self::UnknownActive(_)
            | Self::IdTaken(_)
            | Self::NoKeyId(_) => true,
            Self::Unwritable { .. } | Self::NoRandomness | Self::NoCipher(_) => false,
        }
    }
}

/// What is wrong with a line of a keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// It is none of the lines that a keyring has.
    #[error("is not `hash ID BASE64`, `key ID BASE64` or `active ID`")]
    Unknown,
    /// Its id is no id.
    #[error("has no valid key id: {NoKeyId}")]
    Id,
    /// Its key is not 32 bytes in Base64.
    #[error("has a key that is not 32 bytes in standard Base64")]
    Key,
    /// A line before it has the same id, or is the `active` or `hash` line.
    #[error("repeats a line before it")]
    Repeated,
}
