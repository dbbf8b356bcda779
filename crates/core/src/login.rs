//! What a message says: the clear login, which cannot be printed, and the masked one, which can be stored.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use time::Date;

use crate::mask::Masked;
use crate::stream::{Field, Privacy, Stream};

/// A login as the body says it, with a value for each field of its stream: personal data, so no format can print it and
/// nothing can copy it. Texts are those of the body wherever no escape stands in them.
///
/// ```compile_fail,E0277
/// fn print(login: turnstile_core::login::UserLogin<'_>) {
///     println!("{login:?}");
/// }
/// ```
///
/// ```compile_fail,E0599
/// fn copy<'b>(login: &turnstile_core::login::UserLogin<'b>) -> turnstile_core::login::UserLogin<'b> {
///     login.clone()
/// }
/// ```
pub struct UserLogin<'b> {
    stream: &'static Stream,
    values: Vec<Value<'b>>,
    day: Option<Date>,
}

impl<'b> UserLogin<'b> {
    /// Reads a value for each field of the stream.
    pub(crate) fn read<E>(
        stream: &'static Stream,
        mut read: impl FnMut(usize, &'static Field) -> Result<Value<'b>, E>,
    ) -> Result<Self, E> {
        let mut values = Vec::with_capacity(stream.fields.len());
        for (place, field) in stream.fields.iter().enumerate() {
            values.push(read(place, field)?);
        }
        Ok(Self { stream, values, day: None })
    }

    /// The same login, where its body says its day.
    pub(crate) fn on(self, day: Option<Date>) -> Self {
        Self { day, ..self }
    }

    /// Each field with its value.
    pub fn values(&self) -> impl Iterator<Item = (&'static Field, &Value<'b>)> {
        self.stream.fields.iter().zip(&self.values)
    }

    /// The value of the field with this key.
    pub fn value(&self, key: &str) -> Option<&Value<'b>> {
        self.values().find(|(field, _)| field.key == key).map(|(_, value)| value)
    }

    /// The login as it is stored: `mask` gives the texts of what must be masked.
    pub(crate) fn masked_by(self, mut mask: impl FnMut(&'static Field, &Value<'b>) -> String) -> MaskedLogin {
        let mut store = |field: &'static Field, value| match (field.privacy, value) {
            (_, Value::Null) => Stored::Null,
            (_, Value::Masked(masked)) => Stored::Text(masked.into_text()),
            (Privacy::Masked, value) => Stored::Text(mask(field, &value)),
            (Privacy::Open | Privacy::Personal, Value::Text(text)) => Stored::Text(text.into_owned()),
            (Privacy::Open | Privacy::Personal, value @ Value::Address(_)) => Stored::Text(value.text().into_owned()),
            (Privacy::Open | Privacy::Personal, Value::Version(version)) => Stored::Integer(version.as_i32()),
        };
        // The values come first, so that what is stored takes their place in memory.
        let values = self.values.into_iter().zip(self.stream.fields);
        let values = values.map(|(value, field)| store(field, value)).collect();
        MaskedLogin { stream: self.stream, values, day: self.day }
    }
}

/// A value as the body says it. It may be personal, so it cannot be printed or copied either.
///
/// ```compile_fail,E0277
/// fn print(value: turnstile_core::login::Value<'_>) {
///     println!("{value:?}");
/// }
/// ```
pub enum Value<'b> {
    /// `null`.
    Null,
    /// A text.
    Text(Cow<'b, str>),
    /// An address. One of version 4 is the IPv6 address that it is mapped to, as both are the same.
    Address(Ipv6Addr),
    /// A version.
    Version(AppVersion),
    /// A value that was masked before it was sent.
    Masked(Masked<'b>),
}

impl Value<'_> {
    /// Gives the value's bytes to a function: the same for every spelling of it. `null` has none.
    ///
    /// They are what a stored mask and a stored hash are made of, so they must never change. An address has sixteen, so
    /// that a masked one does not tell by its length what it is.
    pub(crate) fn with_bytes<T>(&self, with: impl FnOnce(&[u8]) -> T) -> Option<T> {
        match self {
            Self::Null => None,
            Self::Text(text) => Some(with(text.as_bytes())),
            Self::Address(address) => Some(with(&address.octets())),
            Self::Version(version) => Some(with(&version.as_i32().to_le_bytes())),
            Self::Masked(masked) => Some(with(masked.as_str().as_bytes())),
        }
    }

    /// The value as a text: an address in canonical form, a version with all three parts, nothing for `null`.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Null => Cow::Borrowed(""),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Address(address) => Cow::Owned(address.to_canonical().to_string()),
            Self::Version(version) => Cow::Owned(version.to_string()),
            Self::Masked(masked) => Cow::Borrowed(masked.as_str()),
        }
    }
}

/// A login as its table stores it, with a value for each field of its stream. What is personal and not masked stands in it
/// clear, so it has no `Debug` either.
#[derive(Clone, PartialEq, Eq)]
pub struct MaskedLogin {
    stream: &'static Stream,
    values: Vec<Stored>,
    day: Option<Date>,
}

/// A value as a column holds it.
#[derive(Clone, PartialEq, Eq)]
pub enum Stored {
    /// SQL's NULL.
    Null,
    /// A text, masked or not.
    Text(String),
    /// An integer.
    Integer(i32),
}

impl Stored {
    /// The text, where it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Integer(_) => None,
        }
    }

    /// The integer, where it is one.
    pub fn integer(&self) -> Option<i32> {
        match self {
            Self::Integer(integer) => Some(*integer),
            Self::Null | Self::Text(_) => None,
        }
    }
}

impl MaskedLogin {
    /// Reads a login that was stored: a value for each field of the stream.
    pub fn from_stored(stream: &'static Stream, read: impl FnMut(&'static Field) -> Stored) -> Self {
        Self { stream, values: stream.fields.iter().map(read).collect(), day: None }
    }

    /// What kind of record it is.
    pub fn stream(&self) -> &'static Stream {
        self.stream
    }

    /// The day, where the body said one; else it is that of the message.
    pub fn day(&self) -> Option<Date> {
        self.day
    }

    /// Each field with what its column holds.
    pub fn values(&self) -> impl Iterator<Item = (&'static Field, &Stored)> {
        self.stream.fields.iter().zip(&self.values)
    }

    /// What the column of this name holds.
    pub fn value(&self, column: &str) -> Option<&Stored> {
        self.values().find(|(field, _)| field.column == column).map(|(_, value)| value)
    }
}

/// A version as one integer, `major·10⁶ + minor·10³ + patch`: it keeps the order, and the parts come back.
///
/// Missing parts are 0 and leading zeros say nothing, so `2`, `2.0` and `2.00` are equal. A year may be the major part:
/// `2024.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppVersion(i32);

impl AppVersion {
    /// The largest major part: with it every minor and patch fit into PostgreSQL's `integer`, whose last is
    /// 2,147,483,647; of 2147 only some would.
    pub const MAX_MAJOR: u32 = 2146;
    /// The largest minor or patch: the next would be another version's integer.
    pub const MAX_PART: u32 = 999;

    /// The integer, as the column `app_version` stores it.
    pub fn as_i32(self) -> i32 {
        self.0
    }

    /// The version that an integer stands for; none for an integer that no version makes.
    pub fn from_i32(integer: i32) -> Option<Self> {
        let version = Self(integer);
        (integer >= 0 && version.parts().0 <= Self::MAX_MAJOR).then_some(version)
    }

    /// Major, minor and patch.
    pub fn parts(self) -> (u32, u32, u32) {
        let integer = self.0.unsigned_abs();
        (integer / 1_000_000, integer / 1_000 % 1_000, integer % 1_000)
    }

    fn from_parts(major: u32, minor: u32, patch: u32) -> Result<Self, VersionError> {
        if major > Self::MAX_MAJOR || minor > Self::MAX_PART || patch > Self::MAX_PART {
            return Err(VersionError::PartTooLarge);
        }
        let integer = major * 1_000_000 + minor * 1_000 + patch;
        i32::try_from(integer).map(Self).map_err(|_| VersionError::PartTooLarge)
    }
}

/// Reads one to three parts of ASCII digits between dots.
impl FromStr for AppVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        if let Some((version, tag)) = text.split_once('-') {
            let refused = if tag.is_empty() { VersionError::Invalid } else { VersionError::PreRelease };
            return version.parse::<Self>().and(Err(refused));
        }
        let mut parts = [0; 3];
        let mut texts = text.split('.');
        for (part, text) in parts.iter_mut().zip(&mut texts) {
            *part = read_part(text)?;
        }
        let [major, minor, patch] = parts;
        match texts.next() {
            None => Self::from_parts(major, minor, patch),
            Some(_) => Err(VersionError::Invalid),
        }
    }
}

impl fmt::Display for AppVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.parts();
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// Why a text is no version that one integer can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// It is not one to three numbers of ASCII digits between dots.
    #[error("a version is one to three numbers between dots")]
    Invalid,
    /// It is a version with a pre-release tag, which the integer cannot order.
    #[error("a version must have no pre-release tag")]
    PreRelease,
    /// A part would run into the next one, or the integer out of its column.
    #[error(
        "a version's first number is at most {}, the others at most {}",
        AppVersion::MAX_MAJOR,
        AppVersion::MAX_PART
    )]
    PartTooLarge,
}

fn read_part(text: &str) -> Result<u32, VersionError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(VersionError::Invalid);
    }
    // Digits alone fail to parse for one reason: there are too many of them.
    text.parse().map_err(|_| VersionError::PartTooLarge)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_version_is_major_millions_minor_thousands_and_patch() {
        for (text, integer) in [
            ("0", 0),
            ("2", 2_000_000),
            ("2.0", 2_000_000),
            ("2.00", 2_000_000),
            ("002.3.0", 2_003_000),
            ("2.3.10", 2_003_010),
            ("999.999.999", 999_999_999),
            ("2024.1", 2_024_001_000),
            ("2146.999.999", 2_146_999_999),
        ] {
            assert_eq!(text.parse(), Ok(AppVersion(integer)), "{text}");
        }
    }

    #[test]
    fn what_one_integer_cannot_hold_is_refused_and_told_apart() {
        use VersionError::{Invalid, PartTooLarge, PreRelease};
        let refused = [
            (
                Invalid,
                &["", ".", "1.", ".1", "1..2", "1.2.3.4", "-1.0", "+1", " 1", "1 ", "٣.١", "1e3", "1-", "a-b"][..],
            ),
            (PreRelease, &["2.3-beta", "1-2", "1.0.0-rc.1"]),
            (
                PartTooLarge,
                &["1.1000", "1.0.1000", "2147", "2147.0.1", "2024.1000", "4294967296", "99999999999", "1.1000-beta"],
            ),
        ];
        for (error, texts) in refused {
            for text in texts {
                assert_eq!(text.parse::<AppVersion>(), Err(error), "{text}");
            }
        }
    }

    #[test]
    fn only_integers_of_versions_are_versions() {
        for integer in [-1, i32::MIN, 2_147_000_000, i32::MAX] {
            assert_eq!(AppVersion::from_i32(integer), None, "{integer}");
        }
    }

    fn parts() -> impl Strategy<Value = (u32, u32, u32)> {
        (0..=AppVersion::MAX_MAJOR, 0..=AppVersion::MAX_PART, 0..=AppVersion::MAX_PART)
    }

    fn version((major, minor, patch): (u32, u32, u32)) -> AppVersion {
        format!("{major}.{minor}.{patch}").parse().unwrap()
    }

    proptest! {
        #[test]
        fn integers_keep_the_order_of_versions(one in parts(), other in parts()) {
            prop_assert_eq!(version(one).as_i32().cmp(&version(other).as_i32()), one.cmp(&other));
        }

        #[test]
        fn versions_come_back_from_their_integers(parts in parts()) {
            let back = AppVersion::from_i32(version(parts).as_i32()).unwrap();
            prop_assert_eq!(back.parts(), parts);
            prop_assert_eq!(back.to_string().parse(), Ok(back));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "[0-9.+-]{0,20}|\\PC{0,20}") {
            if let Ok(version) = text.parse::<AppVersion>() {
                prop_assert_eq!(AppVersion::from_i32(version.as_i32()), Some(version));
            }
        }
    }
}
