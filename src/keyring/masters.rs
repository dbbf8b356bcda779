//! The keys themselves, for as long as they are made and written.

use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Keyring, KeyringError, file, text};
use crate::seal::{HashKey, Key, KeyId, MasterKey};
use crate::stream::LOGIN;

/// A keyring with the keys that all others are derived from. To load, replay or unmask, a [`Keyring`] is used instead,
/// which has forgotten them.
pub struct Masters {
    pub(super) hash: (KeyId, MasterKey),
    pub(super) keys: Vec<(KeyId, MasterKey)>,
    /// One of `keys`.
    pub(super) active: KeyId,
}

impl Masters {
    /// One new random key, under a new random id, and a new hash key.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoRandomness`] when the system gives none.
    pub fn generate() -> Result<Self, KeyringError> {
        Self::generate_as(random_id('k')?)
    }

    /// One new random key, under this id, and a new hash key under a random one.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoRandomness`] when the system gives none.
    pub fn generate_as(id: KeyId) -> Result<Self, KeyringError> {
        let hash = (random_id('h')?, random_key()?);
        Ok(Self { hash, keys: vec![(id.clone(), random_key()?)], active: id })
    }

    /// What a keyring's text holds.
    ///
    /// # Errors
    ///
    /// [`KeyringError`] names the line, and never what stands in it.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        text::parse(text)
    }

    /// These keys and one more random one, under this id or a random one, which is the active key from now on.
    ///
    /// # Errors
    ///
    /// [`KeyringError::IdTaken`] when there is a key of this id already; [`KeyringError::NoRandomness`].
    pub fn with_new_key(mut self, id: Option<KeyId>) -> Result<Self, KeyringError> {
        let id = id.map_or_else(|| random_id('k'), Ok)?;
        if self.keys.iter().chain([&self.hash]).any(|(taken, _)| *taken == id) {
            return Err(KeyringError::IdTaken(id));
        }
        self.keys.push((id.clone(), random_key()?));
        Ok(Self { active: id, ..self })
    }

    /// The key that masks and seals now.
    pub fn active(&self) -> &KeyId {
        &self.active
    }

    /// The keyring that is derived of them. They are overwritten.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoCipher`] when the cryptographic library fails.
    pub fn derive(self) -> Result<Keyring, KeyringError> {
        let derive = |(id, master): (KeyId, MasterKey)| Key::derive(&LOGIN, id, &master).map(Arc::new);
        let keys = self.keys.into_iter().map(derive).collect::<Result<Vec<_>, _>>()?;
        let active = keys.iter().find(|key| *key.id() == self.active).map(Arc::clone);
        let (id, master) = self.hash;
        let hash = Arc::new(HashKey::derive(id, &master));
        Ok(Keyring { hash, active: active.ok_or(KeyringError::UnknownActive(self.active))?, keys })
    }

    /// Writes them to a new file, which only its owner may read (mode 0600), and waits until it is on disk.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Exists`] when there is a file already: it may hold the only copy of a key.
    pub fn write_new(&self, path: &Path) -> Result<(), KeyringError> {
        file::write_new(path, &text::write(self))
    }

    /// Adds a random key to the keyring in a file and makes it the active one; the old ones stay, to unmask.
    ///
    /// The file is replaced in one step, and keeps its owner and its mode: a program that loads it sees the old keyring or the new
    /// one. Two processes that add at the same time both get their key in.
    ///
    /// # Errors
    ///
    /// As [`Keyring::load`], [`Masters::with_new_key`], and when the file cannot be replaced.
    pub fn add_to(path: &Path, id: Option<KeyId>) -> Result<Self, KeyringError> {
        file::update(path, |text| {
            let masters = Self::parse(text)?.with_new_key(id)?;
            let text = text::write(&masters);
            Ok((masters, text))
        })
    }
}

fn random_key() -> Result<MasterKey, KeyringError> {
    let mut bytes = Zeroizing::new([0; 32]);
    fill(&mut *bytes)?;
    Ok(MasterKey::from_bytes(bytes))
}

/// The first letter and six characters of Base32: thirty bits tell the keys of a ring apart.
fn random_id(first: char) -> Result<KeyId, KeyringError> {
    let mut bytes = [0; 6];
    fill(&mut bytes)?;
    let characters = bytes.map(|byte| {
        char::from(match byte % 32 {
            letter @ 0..26 => b'a' + letter,
            digit => b'2' + (digit - 26),
        })
    });
    let id: String = std::iter::once(first).chain(characters).collect();
    Ok(id.parse()?)
}

fn fill(bytes: &mut [u8]) -> Result<(), KeyringError> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| KeyringError::NoRandomness)
}
