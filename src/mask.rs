//! [`UserLogin`] in, [`MaskedLogin`] out; and back, for whoever holds the keys.
//!
//! Equal values mask alike, whatever their spelling, so that they can still be joined on; different ones never do.
//! The key's id stands in front: under a new key the same value masks differently.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

use crate::login::{MaskedLogin, UserLogin};
use crate::seal::{ColumnKey, KEY_ID_CHARS, Key, KeyId, SEAL_BYTES};

/// The width of the masked columns, in characters.
pub const MASKED_CHARS: usize = 256;
/// The longest `device_id` in bytes of UTF-8: sealed under the longest key id it still fits its column.
pub const DEVICE_ID_BYTES: usize = (MASKED_CHARS - KEY_ID_CHARS - 1) * 3 / 4 - SEAL_BYTES;

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
    /// Masks with this key.
    pub fn new(kind: MaskKind, key: Arc<Key>) -> Self {
        Self { kind, key }
    }
    /// Masks the personal fields. Each masked text has at most [`MASKED_CHARS`] characters, as long as `device_id` has
    /// at most [`DEVICE_ID_BYTES`] bytes.
    pub fn mask(&self, login: UserLogin) -> MaskedLogin {
        let UserLogin { user_id, app_version, device_type, ip, locale, device_id } = login;
        MaskedLogin {
            masked_ip: self.ip(ip),
            masked_device_id: self.device_id(&device_id),
            user_id,
            device_type,
            locale,
            app_version,
        }
    }

    /// The masked form of an address.
    pub fn ip(&self, ip: IpAddr) -> String {
        match self.kind {
            MaskKind::Seal => self.sealed(&self.key.ip, &octets(ip)),
            MaskKind::Token => self.token(&self.key.ip, &octets(ip)),
            MaskKind::Base64 => BASE64_STANDARD.encode(ip.to_canonical().to_string()),
        }
    }

    /// The masked form of a device's id.
    pub fn device_id(&self, device_id: &str) -> String {
        match self.kind {
            MaskKind::Seal => self.sealed(&self.key.device_id, device_id.as_bytes()),
            MaskKind::Token => self.token(&self.key.device_id, device_id.as_bytes()),
            MaskKind::Base64 => BASE64_STANDARD.encode(device_id),
        }
    }

    fn sealed(&self, column: &ColumnKey, value: &[u8]) -> String {
        text_of(self.key.id(), SEAL_MARK, &column.seal(value))
    }

    fn token(&self, column: &ColumnKey, value: &[u8]) -> String {
        text_of(self.key.id(), TOKEN_MARK, &column.token(value))
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

    /// The clear value of a masked text, and the column that it was masked for.
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
/// fn print(unmasked: turnstile::mask::Unmasked) {
///     println!("{unmasked:?}");
/// }
/// ```
pub struct Unmasked {
    /// The column that it was masked for.
    pub column: Column,
    /// The clear value: an address in canonical form, or a device id.
    pub value: String,
}

/// A column that holds masked values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// `masked_ip`
    Ip,
    /// `masked_device_id`
    DeviceId,
}

/// Why a text cannot be recovered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnmaskError {
    /// It has not the form of a masked value.
    #[error("it is no masked value")]
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

/// How personal values are masked (`--mask`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaskKind {
    /// Deterministic authenticated encryption, `KEYID.` and base64url: whoever holds the key can recover the value.
    #[default]
    Seal,
    /// A keyed digest, `KEYID:` and base64url: nobody can recover the value, and whoever holds the key can try one.
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
#[error("is none of seal, token, base64")]
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

/// Sixteen octets for every address, so that a masked one does not tell by its length what it is.
fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn open(key: &Key, sealed: &[u8]) -> Option<Unmasked> {
    if let Some(octets) = key.ip.open(sealed) {
        let ip = Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).to_canonical();
        return Some(Unmasked { column: Column::Ip, value: ip.to_string() });
    }
    let device_id = String::from_utf8(key.device_id.open(sealed)?).ok()?;
    Some(Unmasked { column: Column::DeviceId, value: device_id })
}
