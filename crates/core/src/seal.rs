//! Keys by id and purpose, and deterministic authenticated encryption with them.
//!
//! The cipher is AES-256-GCM-SIV (RFC 8452). Its nonces come from a keyed hash of what is sealed, so equal values are
//! sealed alike and stay recognisable as equal; the mode is made to bear a nonce that stands twice. The purpose and
//! the key's id are associated data: what was sealed for one purpose opens for no other.

mod clear;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::message::{Attributes, BodyHash, Identifier, Identity, MessageHash, QueueIdentity, RawBody};
use crate::stream::{Field, Stream};

/// The longest id of a key, in characters.
pub const KEY_ID_CHARS: usize = 16;
/// What sealing adds to the clear bytes: a nonce of 12 bytes and a tag of 16.
pub const SEAL_BYTES: usize = NONCE_LEN + 16;

/// Seals the bodies of dead letters, and hashes all bodies.
#[derive(Clone)]
pub struct BodySealer {
    sealing: Arc<Key>,
    hashing: Arc<HashKey>,
}

impl BodySealer {
    /// Seals with one key, which may be rotated, and hashes with the one that is not.
    pub fn new(sealing: Arc<Key>, hashing: Arc<HashKey>) -> Self {
        Self { sealing, hashing }
    }

    /// The keyed hash of a body: equal for equal bodies, and nothing without the key.
    pub fn hash(&self, body: &RawBody) -> BodyHash {
        BodyHash::from_bytes(*blake3::keyed_hash(&self.hashing.bodies, body.as_bytes()).as_bytes())
    }

    /// The hash of a body, and the body with its attributes, sealed for this message alone as `KEYID.` and then the bytes
    /// of nonce, ciphertext and tag. A body of 4 KiB to 1 MiB is compressed before, if that makes it shorter.
    pub fn seal(&self, message: MessageHash, body: &RawBody, attributes: &Attributes) -> (BodyHash, SealedBody) {
        let hash = self.hash(body);
        let sealed = self.seal_bound(hash, message.as_bytes(), body, attributes);
        (hash, sealed)
    }

    /// An edited body, sealed in the same form for this revision of this message alone.
    pub fn seal_revision(
        &self,
        message: MessageHash,
        revision: i64,
        body: &RawBody,
        attributes: &Attributes,
    ) -> SealedBody {
        self.seal_bound(self.hash(body), &of_revision(message, revision), body, attributes)
    }

    fn seal_bound(&self, hash: BodyHash, bound_to: &[u8], body: &RawBody, attributes: &Attributes) -> SealedBody {
        let Key { id, body: cipher, .. } = &*self.sealing;
        let mut sealed = Vec::with_capacity(KEY_ID_CHARS + 1 + SEAL_BYTES + size_of::<u32>() + body.len());
        sealed.extend_from_slice(id.as_str().as_bytes());
        sealed.push(b'.');
        cipher.seal_onto(&mut sealed, nonce(hash.as_bytes()), bound_to, |clear| {
            clear::write(attributes, body, clear);
        });
        SealedBody(sealed)
    }
}

/// What an edited body is bound to: as long as no message hash is.
fn of_revision(message: MessageHash, revision: i64) -> Vec<u8> {
    [&message.as_bytes()[..], &revision.to_be_bytes()].concat()
}

/// Opens the bodies that a [`BodySealer`] sealed, with any key of a ring.
#[derive(Clone)]
pub struct BodyOpener {
    keys: Vec<Arc<Key>>,
}

impl BodyOpener {
    /// Opens with these keys.
    pub fn new(keys: Vec<Arc<Key>>) -> Self {
        Self { keys }
    }

    /// The body of this message, exactly as it was delivered, and the attributes that were asked for.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when the bytes are no sealed body, their key is absent, or they are not what the key sealed for this
    /// message.
    pub fn open(&self, message: MessageHash, sealed: &SealedBody) -> Result<(RawBody, Attributes), OpenError> {
        self.open_bound(message.as_bytes(), sealed)
    }

    /// The edited body that is this revision of this message, and the attributes that it came with.
    ///
    /// # Errors
    ///
    /// As [`BodyOpener::open`].
    pub fn open_revision(
        &self,
        message: MessageHash,
        revision: i64,
        sealed: &SealedBody,
    ) -> Result<(RawBody, Attributes), OpenError> {
        self.open_bound(&of_revision(message, revision), sealed)
    }

    /// The body of this message as it was delivered, or the edited body that is this revision of it.
    ///
    /// # Errors
    ///
    /// As [`BodyOpener::open`].
    pub fn open_version(
        &self,
        message: MessageHash,
        revision: Option<i64>,
        sealed: &SealedBody,
    ) -> Result<(RawBody, Attributes), OpenError> {
        match revision {
            None => self.open(message, sealed),
            Some(revision) => self.open_revision(message, revision, sealed),
        }
    }

    fn open_bound(&self, bound_to: &[u8], sealed: &SealedBody) -> Result<(RawBody, Attributes), OpenError> {
        let id = sealed.key_id().ok_or(OpenError::Malformed)?;
        let rest = sealed.0.get(id.as_str().len() + 1..).unwrap_or_default();
        let key = self.keys.iter().find(|key| key.id == id).ok_or(OpenError::UnknownKey(id))?;
        let clear = key.body.open(rest, bound_to).ok_or(OpenError::NotAuthentic)?;
        let (attributes, body) = clear::read(&clear).ok_or(OpenError::Malformed)?;
        Ok((body, attributes))
    }
}

/// Why a sealed body does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It does not start with a key's id and a point, or what it holds has no form that was ever sealed.
    #[error("it is not a sealed body")]
    Malformed,
    /// The keyring has no key of this id.
    #[error("it was sealed with the key {0}, which is not in the keyring")]
    UnknownKey(KeyId),
    /// It was changed, belongs to another message, or was sealed with another key of the same id.
    #[error("it is not what the key of its id sealed for this message")]
    NotAuthentic,
}

/// A sealed body, as the table `dead_letters` stores it.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedBody(Vec<u8>);

impl SealedBody {
    /// A sealed body that was stored before.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, for storing.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key that it says it was sealed with, if it says so in the form of a sealed body.
    pub fn key_id(&self) -> Option<KeyId> {
        let dot = self.0.iter().position(|byte| *byte == b'.')?;
        str::from_utf8(self.0.get(..dot)?).ok()?.parse().ok()
    }
}

impl fmt::Debug for SealedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedBody({} bytes)", self.0.len())
    }
}

/// The name of a key, which stands in front of everything that the key sealed: 1 to [`KEY_ID_CHARS`] of `a-z0-9-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl KeyId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = NoKeyId;

    fn from_str(text: &str) -> Result<Self, NoKeyId> {
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=KEY_ID_CHARS).contains(&text.len()) && text.bytes().all(is_allowed);
        if fits { Ok(Self(text.to_owned())) } else { Err(NoKeyId) }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text is no key id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key id is 1 to {KEY_ID_CHARS} small letters, digits and hyphens")]
pub struct NoKeyId;

/// The secret that all of a key's sub-keys come from. It is never printed, and overwritten when dropped.
///
/// ```compile_fail,E0277
/// fn print(master: turnstile_core::seal::MasterKey) {
///     println!("{master:?}");
/// }
/// ```
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// 32 bytes from a source of secure randomness.
    pub fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// The bytes, for the keyring's file.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// One key, ready for use: its id, and a sub-key for each purpose.
pub struct Key {
    id: KeyId,
    stream: &'static Stream,
    /// Of each field that is masked, in the order of the stream.
    columns: Vec<(&'static Field, ColumnKey)>,
    body: Cipher,
    check: CheckValue,
}

impl Key {
    /// Derives the sub-keys of a master key: one set for each masked field of the stream, and what seals bodies.
    ///
    /// # Errors
    ///
    /// [`NoCipher`] when the cryptographic library cannot make its ciphers.
    pub fn derive(stream: &'static Stream, id: KeyId, master: &MasterKey) -> Result<Self, NoCipher> {
        let masked = stream.fields.iter().filter(|field| field.is_masked());
        let columns = masked.map(|field| ColumnKey::derive(field.key, &id, master).map(|key| (field, key)));
        Ok(Self {
            stream,
            columns: columns.collect::<Result<_, _>>()?,
            body: Cipher::new(Purpose::SealBody, &id, master)?,
            check: CheckValue(*sub_key(Purpose::Check, master)),
            id,
        })
    }

    /// The stream whose fields it masks.
    pub(crate) fn stream(&self) -> &'static Stream {
        self.stream
    }

    /// The masked fields, each with what masks it.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&'static Field, &ColumnKey)> {
        self.columns.iter().map(|(field, key)| (*field, key))
    }

    /// The key's name.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// What the key is recognised by.
    pub fn check_value(&self) -> CheckValue {
        self.check
    }
}

/// A digest by which a key is recognised, and from which it cannot be recovered: `turnstile_keys` holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckValue([u8; 32]);

impl CheckValue {
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The key that hashes identities, logins and bodies, and signs what is sent back to a queue, ready for use. It is never rotated: under another one, nothing that was
/// hashed before would be recognised.
pub struct HashKey {
    id: KeyId,
    identities: SubKey,
    logins: SubKey,
    bodies: SubKey,
    requeues: SubKey,
    check: CheckValue,
}

impl HashKey {
    /// Derives the sub-keys of a master key.
    pub fn derive(id: KeyId, master: &MasterKey) -> Self {
        Self {
            identities: sub_key(Purpose::HashIdentity, master),
            logins: sub_key(Purpose::HashLogin, master),
            bodies: sub_key(Purpose::HashBody, master),
            requeues: sub_key(Purpose::SignRequeue, master),
            check: CheckValue(*sub_key(Purpose::Check, master)),
            id,
        }
    }

    /// The key's name.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// What the key is recognised by.
    pub fn check_value(&self) -> CheckValue {
        self.check
    }

    /// What makes the hashes of a queue's messages and logins under this scheme.
    pub fn identifier(&self, identity: Identity, queue: &QueueIdentity) -> Identifier {
        Identifier::keyed(identity, queue, &self.identities, &self.logins, &self.requeues)
    }
}

/// The library made no cipher of a key: it is out of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library could not make a cipher")]
pub struct NoCipher;

/// What masks one column.
pub(crate) struct ColumnKey {
    cipher: Cipher,
    nonce: SubKey,
    token: SubKey,
}

impl ColumnKey {
    fn derive(field: &'static str, id: &KeyId, master: &MasterKey) -> Result<Self, NoCipher> {
        Ok(Self {
            cipher: Cipher::new(Purpose::Seal(field), id, master)?,
            nonce: sub_key(Purpose::NonceOf(field), master),
            token: sub_key(Purpose::TokenOf(field), master),
        })
    }

    /// Appends nonce, ciphertext and tag of a value: equal for equal values.
    pub(crate) fn seal_onto(&self, out: &mut Vec<u8>, value: &[u8]) {
        let nonce = nonce(blake3::keyed_hash(&self.nonce, value).as_bytes());
        self.cipher.seal_onto(out, nonce, &[], |clear| clear.extend_from_slice(value));
    }

    /// The value that was sealed.
    pub(crate) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        self.cipher.open(sealed, &[])
    }

    /// A digest of a value, which nothing recovers.
    pub(crate) fn token(&self, value: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.token, value).as_bytes()
    }
}

type SubKey = Zeroizing<[u8; 32]>;

/// What a sub-key is for. Its context must never change: what it sealed would not open again.
#[derive(Clone, Copy)]
enum Purpose {
    /// The values of the field with this key; so are the next two.
    Seal(&'static str),
    NonceOf(&'static str),
    TokenOf(&'static str),
    SealBody,
    HashBody,
    HashIdentity,
    HashLogin,
    SignRequeue,
    Check,
}

impl Purpose {
    fn context(self) -> String {
        const VERSION: &str = "turnstile key v1";
        match self {
            Self::Seal(field) => format!("{VERSION} seal {field}"),
            Self::NonceOf(field) => format!("{VERSION} nonce of {field}"),
            Self::TokenOf(field) => format!("{VERSION} token of {field}"),
            Self::SealBody => format!("{VERSION} seal body"),
            Self::HashBody => format!("{VERSION} hash body"),
            Self::HashIdentity => format!("{VERSION} hash identity"),
            Self::HashLogin => format!("{VERSION} hash login"),
            Self::SignRequeue => format!("{VERSION} sign requeue"),
            Self::Check => format!("{VERSION} check value"),
        }
    }
}

fn sub_key(purpose: Purpose, master: &MasterKey) -> SubKey {
    Zeroizing::new(blake3::derive_key(&purpose.context(), master.as_bytes()))
}

/// AES-256-GCM-SIV under one sub-key.
struct Cipher {
    key: LessSafeKey,
    associated: Vec<u8>,
}

impl Cipher {
    fn new(purpose: Purpose, id: &KeyId, master: &MasterKey) -> Result<Self, NoCipher> {
        let key = UnboundKey::new(&AES_256_GCM_SIV, &*sub_key(purpose, master)).map_err(|_| NoCipher)?;
        let associated = format!("{} with {id}", purpose.context()).into_bytes();
        Ok(Self { key: LessSafeKey::new(key), associated })
    }

    /// Appends nonce, ciphertext and tag of what `write` appends. `bound_to` must be given again to open it.
    fn seal_onto(&self, out: &mut Vec<u8>, nonce: [u8; NONCE_LEN], bound_to: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(&nonce);
        let start = out.len();
        write(out);
        let (_, text) = out.split_at_mut(start);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let Ok(tag) = self.key.seal_in_place_separate_tag(nonce, self.associated_with(bound_to), text) else {
            // RFC 8452 section 6: the one thing that the cipher refuses is more than 2^36 bytes, and a message has 2^20.
            unreachable!("AES-256-GCM-SIV seals every message");
        };
        out.extend_from_slice(tag.as_ref());
    }

    fn open(&self, sealed: &[u8], bound_to: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut text = text.to_vec();
        let clear = self.key.open_in_place(nonce, self.associated_with(bound_to), &mut text).ok()?.len();
        text.truncate(clear);
        Some(text)
    }

    fn associated_with(&self, bound_to: &[u8]) -> Aad<Cow<'_, [u8]>> {
        Aad::from(match bound_to {
            [] => Cow::Borrowed(&*self.associated),
            _ => Cow::Owned([&self.associated, bound_to].concat()),
        })
    }
}

fn nonce(hash: &[u8; 32]) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    nonce.iter_mut().zip(hash).for_each(|(nonce, hash)| *nonce = *hash);
    nonce
}
