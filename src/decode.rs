//! Bytes in, [`UserLogin`] or [`Rejection`] out: never a panic, never a word of the body.
//!
//! A body that breaks several rules is rejected for the first of them in this order, so that the same body always
//! gives the same code:
//!
//! 1. the bytes: empty, not UTF-8, a byte order mark, nested too deep;
//! 2. the JSON text: invalid or cut short at any place, then anything after its end;
//! 3. its type: an array, or something else that is no object;
//! 4. the keys and fields, in the order of the body: a key twice, then the field's own rules, which are its type,
//!    lone surrogates, U+0000, emptiness, length, and last what the field means;
//! 5. missing fields, in the order of [`Field::ALL`].

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::login::{AppVersion, UserLogin, VersionError};
use crate::mask::DEVICE_ID_BYTES;
use crate::message::{IdentityMissing, MessageHash, RawBody};

/// The deepest nesting of arrays and objects that a body may have.
pub const MAX_DEPTH: usize = 128;
/// The longest `user_id`, in characters: its column's width.
pub const USER_ID_CHARS: usize = 128;
/// The longest `device_type`, in characters: its column's width.
pub const DEVICE_TYPE_CHARS: usize = 32;
/// The longest `locale`, in characters: its column's width.
pub const LOCALE_CHARS: usize = 32;

/// Reads a body as a login.
///
/// Takes time and memory linear in the body's length (n·log n in its unknown keys), whatever its bytes are.
///
/// # Errors
///
/// The first [`Rejection`] in the order of the [module](self).
pub fn decode(body: &RawBody) -> Result<Decoded, Rejection> {
    let text = text(body.as_bytes())?;
    if nests_too_deep(text.as_bytes()) {
        return Err(Rejection::NestedTooDeep);
    }
    let mut fields = Fields::default();
    read_json(text, &mut fields)?;
    fields.into_decoded()
}

/// A decoded body.
pub struct Decoded {
    /// The login.
    pub login: UserLogin,
    /// How many keys of the body are none of the login's: they are ignored.
    pub unknown_keys: usize,
}

/// A field of a login, as the body names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// `user_id`
    UserId,
    /// `app_version`
    AppVersion,
    /// `device_type`
    DeviceType,
    /// `ip`
    Ip,
    /// `locale`
    Locale,
    /// `device_id`
    DeviceId,
}

impl Field {
    /// Every field, in the order in which missing ones are looked for.
    pub const ALL: [Self; 6] =
        [Self::UserId, Self::AppVersion, Self::DeviceType, Self::Ip, Self::Locale, Self::DeviceId];

    /// The key in the body.
    pub fn name(self) -> &'static str {
        match self {
            Self::UserId => "user_id",
            Self::AppVersion => "app_version",
            Self::DeviceType => "device_type",
            Self::Ip => "ip",
            Self::Locale => "locale",
            Self::DeviceId => "device_id",
        }
    }

    /// The largest length, for a field that has one of its own: an address or a version is bounded by its meaning.
    pub fn limit(self) -> Option<Limit> {
        match self {
            Self::UserId => Some(Limit::Chars(USER_ID_CHARS)),
            Self::DeviceType => Some(Limit::Chars(DEVICE_TYPE_CHARS)),
            Self::Locale => Some(Limit::Chars(LOCALE_CHARS)),
            Self::DeviceId => Some(Limit::Bytes(DEVICE_ID_BYTES)),
            Self::AppVersion | Self::Ip => None,
        }
    }

    fn of(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == key)
    }

    /// An empty address or version is no address or version; an empty locale says nothing, and may.
    fn may_be_empty(self) -> bool {
        match self {
            Self::UserId | Self::DeviceType | Self::DeviceId => false,
            Self::AppVersion | Self::Ip | Self::Locale => true,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How long a field may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Characters (Unicode scalar values), as PostgreSQL's `varchar` counts them.
    Chars(usize),
    /// Bytes of UTF-8.
    Bytes(usize),
}

impl Limit {
    fn holds(self, text: &str) -> bool {
        match self {
            Self::Chars(most) => text.len() <= most || text.chars().count() <= most,
            Self::Bytes(most) => text.len() <= most,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chars(most) => write!(f, "{most} characters"),
            Self::Bytes(most) => write!(f, "{most} bytes"),
        }
    }
}

/// Why a body is no login. Holds and prints names, rules and limits, never a piece of the body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No byte, or nothing but blanks.
    #[error("the body is empty")]
    EmptyBody,
    /// The bytes are not UTF-8.
    #[error("the body is not UTF-8")]
    InvalidUtf8,
    /// U+FEFF stands at the start, where RFC 8259 section 8.1 forbids it.
    #[error("the body starts with a byte order mark")]
    ByteOrderMark,
    /// Arrays and objects stand in each other more than [`MAX_DEPTH`] levels deep.
    #[error("the body is nested more than {MAX_DEPTH} levels deep")]
    NestedTooDeep,
    /// No JSON text (RFC 8259).
    #[error("the body is not JSON")]
    InvalidJson,
    /// A JSON text that ends too early.
    #[error("the body is JSON that ends too early")]
    TruncatedJson,
    /// Something other than blanks follows the JSON value.
    #[error("something follows the body's JSON value")]
    TrailingData,
    /// The body is a JSON array.
    #[error("the body is a JSON array, not an object")]
    ArrayBody,
    /// The body is a JSON string, number, boolean or null.
    #[error("the body is JSON, but no object")]
    NotAnObject,
    /// The body (none) or a login's field is a number that no double-precision float holds.
    #[error("{} is a number that is out of range", place(*.0))]
    NumberOutOfRange(Option<Field>),
    /// A field is not there.
    #[error("the field {0} is missing")]
    MissingField(Field),
    /// A field is null that must not be; only `locale` may.
    #[error("the field {0} is null")]
    NullField(Field),
    /// A field is not a string.
    #[error("the field {0} is not a string")]
    WrongType(Field),
    /// A key stands twice: a login's field, or a key that is none (none).
    #[error("{} stands twice", key(*.0))]
    DuplicateKey(Option<Field>),
    /// A field is longer than its column takes.
    #[error("the field {0} is longer than {limit}", limit = limit(*.0))]
    FieldTooLong(Field),
    /// A field is an empty string that must not be.
    #[error("the field {0} is empty")]
    EmptyField(Field),
    /// A field holds U+0000, which PostgreSQL cannot store.
    #[error("the field {0} holds the character U+0000")]
    NulCharacter(Field),
    /// A login's field, or a key that is none (none), holds half of a surrogate pair, which is no character.
    #[error("{} holds a lone surrogate", key(*.0))]
    LoneSurrogate(Option<Field>),
    /// `ip` is no address.
    #[error("the field ip is no IPv4 or IPv6 address")]
    InvalidIp,
    /// `app_version` is not one to three numbers.
    #[error("the field app_version is not one to three numbers between dots")]
    InvalidVersion,
    /// `app_version` has a pre-release tag.
    #[error("the field app_version has a pre-release tag")]
    VersionPreRelease,
    /// A part of `app_version` is too large for its place in the integer.
    #[error(
        "the field app_version has a major part above {} or another above {}",
        AppVersion::MAX_MAJOR,
        AppVersion::MAX_PART
    )]
    VersionPartTooLarge,
    /// The message does not carry what `--identity` names.
    #[error("the message does not carry the identity that --identity names")]
    IdentityMissing,
    /// The database refused the row: made by the loader, not by [`decode`].
    #[error("the database refused the row with SQLSTATE {sqlstate}{}", breaking(.constraint.as_deref()))]
    RefusedByDatabase {
        /// PostgreSQL's five-character code.
        sqlstate: String,
        /// The constraint that it breaks, where PostgreSQL names one.
        constraint: Option<String>,
    },
    /// Another login was loaded under the same key: made by the loader, not by [`decode`].
    #[error("another login was loaded under the same key, from the message {owner}")]
    Contradicts {
        /// The message that was loaded.
        owner: MessageHash,
    },
    /// The message was sent before the time since which the tables remember all messages, so that nobody can say whether
    /// it was loaded: made by the loader, not by [`decode`].
    #[error("the message is older than what the tables remember: it may have been loaded before")]
    OlderThanMemory,
}

fn breaking(constraint: Option<&str>) -> String {
    constraint.map(|name| format!(", constraint {name}")).unwrap_or_default()
}

impl Rejection {
    /// Every code that [`Rejection::code`] can give.
    pub const CODES: [&'static str; 26] = [
        "empty_body",
        "invalid_utf8",
        "byte_order_mark",
        "nested_too_deep",
        "invalid_json",
        "truncated_json",
        "trailing_data",
        "array_body",
        "not_an_object",
        "number_out_of_range",
        "missing_field",
        "null_field",
        "wrong_type",
        "duplicate_key",
        "field_too_long",
        "empty_field",
        "nul_character",
        "lone_surrogate",
        "invalid_ip",
        "invalid_version",
        "version_pre_release",
        "version_part_too_large",
        "identity_missing",
        "refused_by_database",
        "contradicts",
        "older_than_memory",
    ];

    /// The stable name: the column `dead_letters.code`, and a metric's label.
    pub fn code(&self) -> &'static str {
        match self {
            Self::EmptyBody => "empty_body",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::ByteOrderMark => "byte_order_mark",
            Self::NestedTooDeep => "nested_too_deep",
            Self::InvalidJson => "invalid_json",
            Self::TruncatedJson => "truncated_json",
            Self::TrailingData => "trailing_data",
            Self::ArrayBody => "array_body",
            Self::NotAnObject => "not_an_object",
            Self::NumberOutOfRange(_) => "number_out_of_range",
            Self::MissingField(_) => "missing_field",
            Self::NullField(_) => "null_field",
            Self::WrongType(_) => "wrong_type",
            Self::DuplicateKey(_) => "duplicate_key",
            Self::FieldTooLong(_) => "field_too_long",
            Self::EmptyField(_) => "empty_field",
            Self::NulCharacter(_) => "nul_character",
            Self::LoneSurrogate(_) => "lone_surrogate",
            Self::InvalidIp => "invalid_ip",
            Self::InvalidVersion => "invalid_version",
            Self::VersionPreRelease => "version_pre_release",
            Self::VersionPartTooLarge => "version_part_too_large",
            Self::IdentityMissing => "identity_missing",
            Self::RefusedByDatabase { .. } => "refused_by_database",
            Self::Contradicts { .. } => "contradicts",
            Self::OlderThanMemory => "older_than_memory",
        }
    }
}

impl From<VersionError> for Rejection {
    fn from(error: VersionError) -> Self {
        match error {
            VersionError::Invalid => Self::InvalidVersion,
            VersionError::PreRelease => Self::VersionPreRelease,
            VersionError::PartTooLarge => Self::VersionPartTooLarge,
        }
    }
}

impl From<IdentityMissing> for Rejection {
    fn from(_: IdentityMissing) -> Self {
        Self::IdentityMissing
    }
}

fn place(field: Option<Field>) -> String {
    field.map_or_else(|| "the body".to_owned(), |field| format!("the field {field}"))
}

fn key(field: Option<Field>) -> String {
    field.map_or_else(|| "a key that is no field of a login".to_owned(), |field| format!("the field {field}"))
}

fn limit(field: Field) -> String {
    field.limit().map_or_else(|| "its limit".to_owned(), |limit| limit.to_string())
}

fn text(bytes: &[u8]) -> Result<&str, Rejection> {
    let text = str::from_utf8(bytes).map_err(|_| Rejection::InvalidUtf8)?;
    if text.starts_with('\u{feff}') {
        return Err(Rejection::ByteOrderMark);
    }
    Ok(text)
}

/// Whether arrays and objects stand deeper in each other than [`MAX_DEPTH`]; brackets inside of strings do not count.
///
/// One pass without recursion, and before the parser: a mebibyte of `[` costs no stack.
fn nests_too_deep(text: &[u8]) -> bool {
    let opening = text.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
    opening > MAX_DEPTH && depth(text) > MAX_DEPTH
}

fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Checks the whole text, and takes the fields out of it when it is an object.
fn read_json<'b>(text: &'b str, fields: &mut Fields<'b>) -> Result<(), Rejection> {
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    let mut json = serde_json::Deserializer::from_str(text);
    let first = text.bytes().next().ok_or(Rejection::EmptyBody)?;
    let read = match first {
        b'{' => json.deserialize_map(fields),
        _ => json.deserialize_ignored_any(IgnoredAny).map(|_| ()),
    };
    read.map_err(|error| match error.classify() {
        Category::Eof => Rejection::TruncatedJson,
        Category::Syntax | Category::Data | Category::Io => Rejection::InvalidJson,
    })?;
    json.end().map_err(|_| Rejection::TrailingData)?;
    match first {
        b'{' => Ok(()),
        b'[' => Err(Rejection::ArrayBody),
        _ if is_out_of_range(text) => Err(Rejection::NumberOutOfRange(None)),
        _ => Err(Rejection::NotAnObject),
    }
}

/// The values of an object as they are written, by key.
#[derive(Default)]
struct Fields<'b> {
    user_id: Option<&'b str>,
    app_version: Option<&'b str>,
    device_type: Option<&'b str>,
    ip: Option<&'b str>,
    locale: Option<&'b str>,
    device_id: Option<&'b str>,
    unknown: BTreeSet<Cow<'b, str>>,
    /// The first key that is wrong. The object is read to its end all the same: a syntax error after it goes first.
    wrong_key: Option<Rejection>,
}

impl<'b> Visitor<'b> for &mut Fields<'b> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'b>>(self, mut object: M) -> Result<(), M::Error> {
        while let Some((key, value)) = object.next_entry::<&RawValue, &RawValue>()? {
            if let Err(wrong) = self.put(key.get(), value.get()) {
                self.wrong_key.get_or_insert(wrong);
            }
        }
        Ok(())
    }
}

impl<'b> Fields<'b> {
    fn put(&mut self, key: &'b str, value: &'b str) -> Result<(), Rejection> {
        let key = unescape(key).ok_or(Rejection::LoneSurrogate(None))?;
        let field = Field::of(&key);
        let is_new = match field {
            Some(field) => self.slot(field).replace(value).is_none(),
            None => self.unknown.insert(key),
        };
        if is_new { Ok(()) } else { Err(Rejection::DuplicateKey(field)) }
    }

    fn slot(&mut self, field: Field) -> &mut Option<&'b str> {
        match field {
            Field::UserId => &mut self.user_id,
            Field::AppVersion => &mut self.app_version,
            Field::DeviceType => &mut self.device_type,
            Field::Ip => &mut self.ip,
            Field::Locale => &mut self.locale,
            Field::DeviceId => &mut self.device_id,
        }
    }

    fn into_decoded(self) -> Result<Decoded, Rejection> {
        if let Some(wrong) = self.wrong_key {
            return Err(wrong);
        }
        let login = UserLogin {
            user_id: string(Field::UserId, self.user_id)?.into_owned(),
            app_version: string(Field::AppVersion, self.app_version)?.parse()?,
            device_type: string(Field::DeviceType, self.device_type)?.into_owned(),
            ip: ip(&string(Field::Ip, self.ip)?)?,
            locale: match self.locale {
                Some("null") => None,
                value => Some(string(Field::Locale, value)?.into_owned()),
            },
            device_id: string(Field::DeviceId, self.device_id)?.into_owned(),
        };
        Ok(Decoded { login, unknown_keys: self.unknown.len() })
    }
}

/// The characters of a field that must be a string, within the field's limits.
fn string(field: Field, value: Option<&str>) -> Result<Cow<'_, str>, Rejection> {
    let value = value.ok_or(Rejection::MissingField(field))?;
    let text = match value.bytes().next() {
        Some(b'"') => unescape(value).ok_or(Rejection::LoneSurrogate(Some(field)))?,
        Some(b'n') => return Err(Rejection::NullField(field)),
        _ if is_out_of_range(value) => return Err(Rejection::NumberOutOfRange(Some(field))),
        _ => return Err(Rejection::WrongType(field)),
    };
    if text.contains('\0') {
        return Err(Rejection::NulCharacter(field));
    }
    if text.is_empty() && !field.may_be_empty() {
        return Err(Rejection::EmptyField(field));
    }
    if field.limit().is_some_and(|limit| !limit.holds(&text)) {
        return Err(Rejection::FieldTooLong(field));
    }
    Ok(text)
}

fn ip(text: &str) -> Result<IpAddr, Rejection> {
    text.parse::<IpAddr>().map(|address| address.to_canonical()).map_err(|_| Rejection::InvalidIp)
}

/// The characters of a JSON string that was parsed before, so that one thing can still be wrong with it: an escape
/// that names half of a surrogate pair. Without a backslash the characters are those of the body.
fn unescape(quoted: &str) -> Option<Cow<'_, str>> {
    if quoted.contains('\\') {
        return serde_json::from_str(quoted).ok().map(Cow::Owned);
    }
    quoted.strip_prefix('"')?.strip_suffix('"').map(Cow::Borrowed)
}

/// Whether a JSON value is a number that a double-precision float can hold only as infinity.
fn is_out_of_range(value: &str) -> bool {
    value.bytes().next().is_some_and(|first| first == b'-' || first.is_ascii_digit())
        && value.parse().is_ok_and(f64::is_infinite)
}
