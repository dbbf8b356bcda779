//! The event of a login that another Turnstile has loaded: a CloudEvent whose data are the columns of its row.
//!
//! What is personal in it is masked already and stays as it is. Masked again, it could neither be joined with the first
//! table nor opened with its keys. So it is stored only where [`Unmasker::admit`] takes it for a masked value: a clear one
//! that somebody puts there is refused.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use time::{Date, Month};

use super::{Decoded, Rejection, read_json, read_text, string, text, unescape};
use crate::login::{AppVersion, UserLogin, Value};
use crate::mask::Unmasker;
use crate::message::RawBody;
use crate::stream::{Field, Kind, Stream};

/// The type of the events: a row of `user_logins` was written.
pub const EVENT_TYPE: &str = "dev.turnstile.login.loaded.v1";
/// What an envelope says, in the order in which it is looked for: a CloudEvent, and of this type.
pub(crate) const ENVELOPE: [(&str, &str); 2] = [("specversion", "1.0"), ("type", EVENT_TYPE)];
/// The member of an envelope that holds the columns.
pub(crate) const DATA: &str = "data";

/// Reads a body as the event of a login of this stream.
///
/// Takes time and memory of n·log n in the number of its keys, and linear in its length.
///
/// # Errors
///
/// The first [`Rejection`]: of the whole text, of the envelope, then of the fields of its data in the order of the stream.
pub fn decode_event<'b>(stream: &'static Stream, keys: &Unmasker, body: &'b RawBody) -> Result<Decoded<'b>, Rejection> {
    let mut envelope = Members::of(text(body.as_bytes())?)?;
    let is_event = ENVELOPE.iter().all(|(key, expected)| envelope.says(key, expected));
    let data = envelope.take(DATA).filter(|data| is_event && data.starts_with('{'));
    let mut data = Members::of(data.ok_or(Rejection::NotAnEvent)?)?;
    let login = UserLogin::read(stream, |_, field| read_value(field, data.take(field.column), keys))?;
    let day = day(data.take(stream.day).ok_or(Rejection::InvalidDay)?)?;
    Ok(Decoded { login: login.on(day), unknown_keys: data.0.len() })
}

fn read_value<'b>(field: &'static Field, value: Option<&'b str>, keys: &Unmasker) -> Result<Value<'b>, Rejection> {
    let value = value.ok_or(Rejection::MissingField(field))?;
    if value == "null" {
        return if field.nullable { Ok(Value::Null) } else { Err(Rejection::NullField(field)) };
    }
    match field.kind {
        _ if field.is_masked() => {
            let masked = keys.admit(field, string(field, value, true)?);
            masked.map(Value::Masked).ok_or(Rejection::InvalidMask(field))
        }
        Kind::Version => {
            let version = value.parse().ok().and_then(AppVersion::from_i32);
            version.map(Value::Version).ok_or(Rejection::InvalidVersion(field))
        }
        Kind::Text { .. } | Kind::Address => read_text(field, string(field, value, true)?),
    }
}

/// A day as `2026-03-01`; none for `null`: then it was taken out of the row.
fn day(value: &str) -> Result<Option<Date>, Rejection> {
    if value == "null" {
        return Ok(None);
    }
    let date = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).and_then(date);
    date.map(Some).ok_or(Rejection::InvalidDay)
}

fn date(text: &str) -> Option<Date> {
    let is_written_so = text.len() == "2026-03-01".len()
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() });
    let mut parts = text.split('-').filter(|_| is_written_so);
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()
}

/// The members of an object as they are written.
#[derive(Default)]
struct Members<'b>(BTreeMap<Cow<'b, str>, &'b str>);

impl<'b> Members<'b> {
    fn of(text: &'b str) -> Result<Self, Rejection> {
        let mut reading = Reading::default();
        read_json(text, &mut reading)?;
        match reading.wrong_key {
            None => Ok(reading.members),
            Some(wrong) => Err(wrong),
        }
    }

    fn take(&mut self, key: &str) -> Option<&'b str> {
        self.0.remove(key)
    }

    fn says(&self, key: &str, expected: &str) -> bool {
        self.0.get(key).and_then(|value| unescape(value, true)).is_some_and(|text| text == expected)
    }
}

/// An object that is being read. It is read to its end even if a key is wrong: a syntax error after it goes first.
#[derive(Default)]
struct Reading<'b> {
    members: Members<'b>,
    wrong_key: Option<Rejection>,
}

impl<'b> Visitor<'b> for &mut Reading<'b> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'b>>(self, mut object: M) -> Result<(), M::Error> {
        while let Some((key, value)) = object.next_entry::<&RawValue, &RawValue>()? {
            let wrong = match unescape(key.get(), true) {
                None => Some(Rejection::LoneSurrogate(None)),
                Some(key) => self.members.0.insert(key, value.get()).map(|_| Rejection::DuplicateKey(None)),
            };
            self.wrong_key = self.wrong_key.take().or(wrong);
        }
        Ok(())
    }
}
