//! [`UserLogin`] in, [`MaskedLogin`] out; and back, for the holder of the keys.
//!
//! Equal values mask alike, whatever their spelling, so that they can still be joined on; different ones never do.
//! The key's id stands in front: under a new key the same value masks differently.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

use crate::login::{AppVersion, MaskedLogin, UserLogin, Value};
use crate::seal::{KEY_ID_CHARS, Key, KeyId, SEAL_BYTES};
use crate::stream::{Field, Kind, Stream};

/// The width of the masked columns, in characters.
pub const MASKED_CHARS: usize = 256;
/// The longest text that may be masked, in bytes of UTF-8: sealed under the longest key id it still fits its column.
pub const MASKABLE_BYTES: usize = (MASKED_CHARS - KEY_ID_CHARS - 1) * 3 / 4 - SEAL_BYTES;

/// What stands between a key's id and a sealed value.
const SEAL_MARK: char = '.';
/// What stands between a key's id and a token.
const TOKEN_MARK: char = ':';
/// The length of a token's digest.
const TOKEN_BYTES: usize = 32;

/// Masks logins with one key in one way.
#[derive(Clone)]
pub struct Masker {
    kind: MaskKind,
    key: Arc<Key>,
}

impl Masker {
    /// Masks with this key the logins of its stream.
    pub fn new(kind: MaskKind, key: Arc<Key>) -> Self {
        Self { kind, key }
    }

    /// The stream whose logins it masks.
    pub fn stream(&self) -> &'static Stream {
        self.key.stream()
    }

    /// Masks the fields that must be. Each masked text has at most [`MASKED_CHARS`] characters, as long as the clear one
    /// has at most [`MASKABLE_BYTES`] bytes.
    ///
    /// # Panics
    ///
    /// When the login is not of the masker's stream: nothing of it may be stored.
    pub fn mask(&self, login: UserLogin<'_>) -> MaskedLogin {
        let mut sealed = Vec::with_capacity(MASKABLE_BYTES + SEAL_BYTES);
        login.masked_by(|field, value| {
            sealed.clear();
            self.masked(field, value, &mut sealed)
        })
    }

    /// The masked form of one value of a field.
    ///
    /// # Panics
    ///
    /// When the field is not one that the masker's stream masks.
    pub fn mask_value(&self, field: &Field, value: &Value<'_>) -> String {
        self.masked(field, value, &mut Vec::with_capacity(MASKABLE_BYTES + SEAL_BYTES))
    }

    fn masked(&self, field: &Field, value: &Value<'_>, sealed: &mut Vec<u8>) -> String {
        let Some((_, column)) = self.key.columns().find(|(masked, _)| masked.key == field.key) else {
            unreachable!("a login is decoded by the stream of its masker");
        };
        let text = value.with_bytes(|bytes| match self.kind {
            MaskKind::Seal => {
                column.seal_onto(sealed, bytes);
                text_of(self.key.id(), SEAL_MARK, sealed)
            }
            MaskKind::Token => text_of(self.key.id(), TOKEN_MARK, &column.token(bytes)),
            MaskKind::Base64 => BASE64_STANDARD.encode(value.text().as_bytes()),
        });
        text.unwrap_or_default()
    }
}

/// Recovers sealed values with the keys of a ring.
#[derive(Clone)]
pub struct Unmasker {
    keys: Vec<Arc<Key>>,
}

impl Unmasker {
    /// Recovers with these keys.
    pub fn new(keys: Vec<Arc<Key>>) -> Self {
        Self { keys }
    }

    /// The clear value of a masked text, and the field that it is a value of.
    ///
    /// # Errors
    ///
    /// [`UnmaskError`] says what the text is instead of a value that these keys sealed; it holds no value.
    pub fn unmask(&self, text: &str) -> Result<Unmasked, UnmaskError> {
        let (id, mark, bytes) = read(text).ok_or(UnmaskError::Malformed)?;
        if mark == TOKEN_MARK {
            return Err(if bytes.len() == TOKEN_BYTES { UnmaskError::Token } else { UnmaskError::Malformed });
        }
        let key = self.keys.iter().find(|key| *key.id() == id).ok_or(UnmaskError::UnknownKey(id))?;
        open(key, &bytes).ok_or(UnmaskError::NotAuthentic)
    }
}

impl Unmasker {
    /// Takes a text as a value of this field that was masked elsewhere, where it is one: in form, and where the keys have
    /// the one that it names, also in truth. Base64 is no mask, and a text that says nothing of its key is none either.
    pub fn admit<'t>(&self, field: &Field, text: Cow<'t, str>) -> Option<Masked<'t>> {
        let (id, mark, bytes) = read(&text)?;
        let is_admitted = match (mark, self.keys.iter().find(|key| *key.id() == id)) {
            (TOKEN_MARK, _) => bytes.len() == TOKEN_BYTES,
            (_, Some(key)) => open(key, &bytes).is_some_and(|opened| opened.field.key == field.key),
            (_, None) => seals(field.kind, bytes.len()),
        };
        is_admitted.then_some(Masked(text))
    }
}

/// Whether a value of this kind may be sealed in so many bytes.
fn seals(kind: Kind, bytes: usize) -> bool {
    match (kind, bytes.checked_sub(SEAL_BYTES)) {
        (_, None | Some(0)) => false,
        (Kind::Address, Some(clear)) => clear == size_of::<Ipv6Addr>(),
        (Kind::Version, Some(clear)) => clear == size_of::<i32>(),
        (Kind::Text { .. }, Some(clear)) => clear <= MASKABLE_BYTES,
    }
}

/// A value that was masked elsewhere. Only [`Unmasker::admit`] makes it, so that nothing clear passes for masked.
pub struct Masked<'t>(Cow<'t, str>);

impl Masked<'_> {
    /// The masked text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_text(self) -> String {
        self.0.into_owned()
    }
}

/// The clear value of a text of [`MaskKind::Base64`], for which no key is needed: that is why it is no mask.
///
/// # Errors
///
/// [`UnmaskError::Malformed`] when the text is not the Base64 of a text.
pub fn decode_base64(text: &str) -> Result<String, UnmaskError> {
    let value = BASE64_STANDARD.decode(text).map_err(|_| UnmaskError::Malformed)?;
    String::from_utf8(value).map_err(|_| UnmaskError::Malformed)
}

/// A recovered value: personal data again, so it has no `Debug`.
///
/// ```compile_fail,E0277
/// fn print(unmasked: turnstile_core::mask::Unmasked) {
///     println!("{unmasked:?}");
/// }
/// ```
pub struct Unmasked {
    /// The field that it is a value of.
    pub field: &'static Field,
    /// The clear value: an address in canonical form, or the text that was sent.
    pub value: String,
}

/// Why a text cannot be recovered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnmaskError {
    /// It has not the form of a masked value.
    #[error("it is not a masked value")]
    Malformed,
    /// It is a digest.
    #[error("it is a token, from which no key recovers the value")]
    Token,
    /// The keyring has no key of this id.
    #[error("it was masked with the key {0}, which is not in the keyring")]
    UnknownKey(KeyId),
    /// It was changed or cut, or sealed with another key of the same id, or for something that is no column.
    #[error("it is not what the key of its id sealed")]
    NotAuthentic,
}

/// What is to be said of [`MaskKind::Base64`] wherever it is chosen.
pub const BASE64_IS_NO_MASK: &str = "base64 is an encoding, not a mask: anyone who reads the table reads the values";

/// How personal values are masked (`--mask`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaskKind {
    /// Deterministic authenticated encryption, `KEYID.` and base64url: the holder of the key can recover the value.
    #[default]
    Seal,
    /// A keyed digest, `KEYID:` and base64url: nobody can recover the value, and the holder of the key can try one.
    Token,
    /// Standard Base64 of the value. An encoding that everybody reads, and no mask: for older data's sake only.
    Base64,
}

impl fmt::Display for MaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seal => "seal",
            Self::Token => "token",
            Self::Base64 => "base64",
        })
    }
}

/// A text names no way of masking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not seal, token or base64")]
pub struct NoMaskKind;

impl FromStr for MaskKind {
    type Err = NoMaskKind;

    fn from_str(text: &str) -> Result<Self, NoMaskKind> {
        [Self::Seal, Self::Token, Self::Base64].into_iter().find(|kind| kind.to_string() == text).ok_or(NoMaskKind)
    }
}

fn text_of(id: &KeyId, mark: char, bytes: &[u8]) -> String {
    let mut text = String::with_capacity(KEY_ID_CHARS + 1 + (bytes.len() * 4).div_ceil(3));
    text.push_str(id.as_str());
    text.push(mark);
    BASE64_URL_SAFE_NO_PAD.encode_string(bytes, &mut text);
    text
}

/// The inverse of [`text_of`].
fn read(text: &str) -> Option<(KeyId, char, Vec<u8>)> {
    let mark = text.chars().find(|character| [SEAL_MARK, TOKEN_MARK].contains(character))?;
    let (id, rest) = text.split_once(mark)?;
    Some((id.parse().ok()?, mark, BASE64_URL_SAFE_NO_PAD.decode(rest).ok()?))
}

fn open(key: &Key, sealed: &[u8]) -> Option<Unmasked> {
    let (field, bytes) = key.columns().find_map(|(field, column)| Some((field, column.open(sealed)?)))?;
    Some(Unmasked { field, value: text_of_bytes(field.kind, bytes)? })
}

/// The text of a value with these bytes.
fn text_of_bytes(kind: Kind, bytes: Vec<u8>) -> Option<String> {
    match kind {
        Kind::Text { .. } => String::from_utf8(bytes).ok(),
        Kind::Address => {
            let ip = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
            Some(ip.to_canonical().to_string())
        }
        Kind::Version => {
            let integer = i32::from_le_bytes(bytes.try_into().ok()?);
            AppVersion::from_i32(integer).map(|version| version.to_string())
        }
    }
}
