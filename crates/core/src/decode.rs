//! Bytes in, [`UserLogin`] or [`Rejection`] out: never a panic, never a word of the body.
//!
//! A body that breaks several rules is rejected for the first of them in this order, so that the same body always
//! gives the same code:
//!
//! 1. the bytes: empty, not UTF-8, a byte order mark, nested too deep;
//! 2. the JSON text: invalid or cut short at any place, then anything after its end;
//! 3. its type: an array, or something else that is not an object;
//! 4. the keys, in the order of the body: a lone surrogate in one, a key twice;
//! 5. the fields, in the order of the stream: whether each is there, its type, lone surrogates, U+0000, emptiness, length,
//!    and last what it means.

mod event;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

pub(crate) use self::event::{DATA, ENVELOPE};
pub use self::event::{EVENT_TYPE, decode_event};
use crate::login::{UserLogin, Value, VersionError};
use crate::mask::Unmasker;
use crate::message::RawBody;
pub use crate::rejection::Rejection;
use crate::stream::{Field, Kind, MAX_FIELDS, Stream};

/// The deepest nesting of arrays and objects that a body may have.
pub const MAX_DEPTH: usize = 128;

/// The blanks of a JSON text (RFC 8259 section 2).
pub(crate) const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// What the bodies of a queue are.
#[derive(Clone)]
pub enum Form {
    /// Logins, as an app sends them.
    Login,
    /// Events of another Turnstile's outbox, whose personal values are masked; those of these keys must be authentic.
    Event(Unmasker),
}

impl Form {
    /// Reads a body of this form as a login of this stream.
    ///
    /// # Errors
    ///
    /// [`Rejection`]
    pub fn read<'b>(&self, stream: &'static Stream, body: &'b RawBody) -> Result<Decoded<'b>, Rejection> {
        match self {
            Self::Login => decode(stream, body),
            Self::Event(keys) => decode_event(stream, keys, body),
        }
    }
}

/// Reads a body as a login of this stream, whose texts stay those of the body.
///
/// Takes time and memory linear in the body's length (n·log n in its unknown keys), whatever its bytes are.
///
/// # Errors
///
/// The first [`Rejection`] in the order of the [module](self).
pub fn decode<'b>(stream: &'static Stream, body: &'b RawBody) -> Result<Decoded<'b>, Rejection> {
    let text = text(body.as_bytes())?;
    let mut fields = Fields::of(stream, text.as_bytes().contains(&b'\\'));
    read_json(text, &mut fields)?;
    fields.into_decoded()
}

/// A decoded body.
pub struct Decoded<'b> {
    /// The login.
    pub login: UserLogin<'b>,
    /// How many keys of the body are none of the login's: they are ignored.
    pub unknown_keys: usize,
}

fn text(bytes: &[u8]) -> Result<&str, Rejection> {
    let text = str::from_utf8(bytes).map_err(|_| Rejection::InvalidUtf8)?;
    if text.starts_with('\u{feff}') {
        return Err(Rejection::ByteOrderMark);
    }
    if nests_too_deep(text.as_bytes()) {
        return Err(Rejection::NestedTooDeep);
    }
    Ok(text)
}

/// Whether arrays and objects stand deeper in each other than [`MAX_DEPTH`]; brackets inside of strings do not count.
///
/// One pass without recursion, and before the parser: a mebibyte of `[` costs no stack.
fn nests_too_deep(text: &[u8]) -> bool {
    let opening = text.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
    opening > MAX_DEPTH && first_too_deep(text).is_some()
}

/// The place of the first bracket that is one too deep.
pub(crate) fn first_too_deep(text: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let (mut in_string, mut escaped) = (false, false);
    for (place, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Some(place);
        }
    }
    None
}

/// Checks the whole text, and shows its members when it is an object.
fn read_json<'b>(text: &'b str, members: impl Visitor<'b, Value = ()>) -> Result<(), Rejection> {
    let text = text.trim_matches(BLANKS);
    let mut json = serde_json::Deserializer::from_str(text);
    let first = text.bytes().next().ok_or(Rejection::EmptyBody)?;
    let read = match first {
        b'{' => json.deserialize_map(members),
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

/// The values of an object as they are written, in the order of the stream.
struct Fields<'b> {
    stream: &'static Stream,
    /// Whether there is a backslash in the body at all. Mostly there is none, and no string is searched for one.
    may_escape: bool,
    values: [Option<&'b str>; MAX_FIELDS],
    /// The place of the field behind the one that came last: producers write their keys in one order.
    next: usize,
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
    fn of(stream: &'static Stream, may_escape: bool) -> Self {
        Self { stream, may_escape, values: [None; MAX_FIELDS], next: 0, unknown: BTreeSet::new(), wrong_key: None }
    }

    fn put(&mut self, key: &'b str, value: &'b str) -> Result<(), Rejection> {
        let key = unescape(key, self.may_escape).ok_or(Rejection::LoneSurrogate(None))?;
        let place = self.place_of(&key);
        let field = place.and_then(|place| self.stream.fields.get(place));
        let slot = place.and_then(|place| self.values.get_mut(place));
        let is_new = match slot {
            Some(slot) => slot.replace(value).is_none(),
            None => self.unknown.insert(key),
        };
        self.next = place.map_or(self.next, |place| place + 1);
        if is_new { Ok(()) } else { Err(Rejection::DuplicateKey(field)) }
    }

    fn place_of(&self, key: &str) -> Option<usize> {
        match self.stream.fields.get(self.next) {
            Some(next) if next.key == key => Some(self.next),
            Some(_) | None => self.stream.fields.iter().position(|field| field.key == key),
        }
    }

    fn into_decoded(self) -> Result<Decoded<'b>, Rejection> {
        if let Some(wrong) = self.wrong_key {
            return Err(wrong);
        }
        let value_at = |place: usize| self.values.get(place).copied().flatten();
        let login = UserLogin::read(self.stream, |place, field| read_value(field, value_at(place), self.may_escape))?;
        Ok(Decoded { login, unknown_keys: self.unknown.len() })
    }
}

/// What a field says, within the field's rules.
fn read_value<'b>(field: &'static Field, value: Option<&'b str>, may_escape: bool) -> Result<Value<'b>, Rejection> {
    let value = value.ok_or(Rejection::MissingField(field))?;
    if field.nullable && value == "null" {
        return Ok(Value::Null);
    }
    read_text(field, string(field, value, may_escape)?)
}

/// What a text says as the value of a field, within the field's rules.
///
/// # Errors
///
/// [`Rejection`]
pub fn read_text<'b>(field: &'static Field, text: Cow<'b, str>) -> Result<Value<'b>, Rejection> {
    match field.kind {
        Kind::Text { may_be_empty: false, .. } if text.is_empty() => Err(Rejection::EmptyField(field)),
        Kind::Text { most, .. } if !most.holds(&text) => Err(Rejection::FieldTooLong(field)),
        Kind::Text { .. } => Ok(Value::Text(text)),
        Kind::Address => match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => Ok(Value::Address(address.to_ipv6_mapped())),
            Ok(IpAddr::V6(address)) => Ok(Value::Address(address)),
            Err(_) => Err(Rejection::InvalidIp(field)),
        },
        Kind::Version => text.parse().map(Value::Version).map_err(|error| match error {
            VersionError::Invalid => Rejection::InvalidVersion(field),
            VersionError::PreRelease => Rejection::VersionPreRelease(field),
            VersionError::PartTooLarge => Rejection::VersionPartTooLarge(field),
        }),
    }
}

/// The characters of a field that must be a string.
fn string<'b>(field: &'static Field, value: &'b str, may_escape: bool) -> Result<Cow<'b, str>, Rejection> {
    let text = match value.bytes().next() {
        Some(b'"') => unescape(value, may_escape).ok_or(Rejection::LoneSurrogate(Some(field)))?,
        Some(b'n') => return Err(Rejection::NullField(field)),
        _ if is_out_of_range(value) => return Err(Rejection::NumberOutOfRange(Some(field))),
        _ => return Err(Rejection::WrongType(field)),
    };
    match &text {
        // JSON allows the character in no other form than an escape.
        Cow::Owned(text) if text.contains('\0') => Err(Rejection::NulCharacter(field)),
        Cow::Owned(_) | Cow::Borrowed(_) => Ok(text),
    }
}

/// The characters of a JSON string that was parsed before, so that one thing can still be wrong with it: an escape
/// that names half of a surrogate pair. Without a backslash the characters are those of the body.
pub(crate) fn unescape(quoted: &str, may_escape: bool) -> Option<Cow<'_, str>> {
    if may_escape && quoted.contains('\\') {
        return serde_json::from_str(quoted).ok().map(Cow::Owned);
    }
    quoted.strip_prefix('"')?.strip_suffix('"').map(Cow::Borrowed)
}

/// Whether a JSON value is a number that a double-precision float can hold only as infinity.
fn is_out_of_range(value: &str) -> bool {
    value.bytes().next().is_some_and(|first| first == b'-' || first.is_ascii_digit())
        && value.parse().is_ok_and(f64::is_infinite)
}
