//! Where in a body its [`Rejection`] arises: a place, a length and a shape, and nothing of what is written there.
//!
//! It is looked for when a body has been rejected already, with a second reading of it. So decoding carries no places, and
//! is no slower for them.

mod pointer;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

pub use self::pointer::Pointer;
pub use self::shape::{Class, Classes, Shape};
use crate::decode::{BLANKS, DATA, ENVELOPE, Form, first_too_deep, unescape};
use crate::message::RawBody;
use crate::rejection::Rejection;
use crate::stream::Stream;

/// Where a body of this form is wrong, for the rejection that reading it gave. The same body always gives the same fault;
/// one for the rejection of another body means nothing.
///
/// None for what no body says by itself: what is wrong with its key, and what the loader makes.
///
/// Of the text, the piece is: all of an empty body; the bytes that are no character; a byte order mark; the bracket that is
/// one too deep; the character at which the parser stopped; the end of a body that ends too early; what follows the JSON
/// value, up to the last character that is no blank. Of a key, it is the first wrong one: of two, the second.
///
/// Takes time and memory linear in the body's length, and n·log n in its keys, whatever its bytes are.
pub fn locate(form: &Form, stream: &'static Stream, body: &RawBody, rejection: &Rejection) -> Option<Fault> {
    let body = Body(body.as_bytes());
    match rejection {
        Rejection::EmptyBody => body.text(Some(body.0)),
        Rejection::InvalidUtf8 => body.text(body.no_character()),
        Rejection::ByteOrderMark => body.text(body.0.get(.."\u{feff}".len())),
        Rejection::NestedTooDeep => body.text(body.bracket_too_deep()),
        Rejection::InvalidJson => body.text(body.stop()),
        Rejection::TruncatedJson => body.text(body.0.get(body.0.len()..)),
        Rejection::TrailingData => body.text(body.unread().map(str::as_bytes)),
        Rejection::ArrayBody | Rejection::NotAnObject | Rejection::NumberOutOfRange(None) => body.value(Pointer::Body),
        Rejection::DuplicateKey(_) | Rejection::LoneSurrogate(None) => body.wrong_key(form, stream),
        Rejection::MissingField(field)
        | Rejection::NullField(field)
        | Rejection::WrongType(field)
        | Rejection::NumberOutOfRange(Some(field))
        | Rejection::FieldTooLong(field)
        | Rejection::EmptyField(field)
        | Rejection::NulCharacter(field)
        | Rejection::LoneSurrogate(Some(field))
        | Rejection::InvalidIp(field)
        | Rejection::InvalidVersion(field)
        | Rejection::VersionPreRelease(field)
        | Rejection::VersionPartTooLarge(field)
        | Rejection::InvalidMask(field) => body.value(Pointer::of(form, field)),
        Rejection::NotAnEvent => body.value(body.not_of_an_event()?),
        Rejection::InvalidDay => body.value(Pointer::OfData(stream.day)),
        Rejection::IdentityMissing
        | Rejection::IdentityWithoutTime(_)
        | Rejection::IdentityAhead
        | Rejection::RefusedByDatabase { .. }
        | Rejection::Contradicts { .. }
        | Rejection::OlderThanMemory
        | Rejection::NotRequeued
        | Rejection::Redriven => None,
    }
}

/// Where a body is wrong, and what it looks like there: numbers, and names that are compiled in. It is `Copy` and borrows
/// nothing, so that no piece of a body can be in it.
///
/// The piece is `body[offset..offset + length]`, as it is written. Of a JSON string or a key it is what stands between the
/// quotes, escapes and all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The member that is wrong or missing; of a wrong key without a name of ours, the object that has it. None where the
    /// text is no JSON, and so has no members.
    pub pointer: Option<Pointer>,
    /// Where the piece begins, in bytes from the start of the body as it was delivered. Of a field that is missing, the
    /// piece is the object that lacks it.
    pub offset: usize,
    /// How long the piece is, in bytes. It is 0 where the body ends too early, and for an empty string.
    pub length: usize,
    /// What the piece is.
    pub shape: Shape,
}

impl Fault {
    /// The fault in the form in which it is stored, which does not change: `14+15 string:digits,points #/ip`. That is offset,
    /// length and shape, and behind a `#` the pointer, where there is one.
    pub fn stored(&self) -> String {
        let pointer = self.pointer.map(|pointer| format!(" #{pointer}")).unwrap_or_default();
        format!("{}+{} {}{pointer}", self.offset, self.length, self.shape)
    }

    /// The fault of a login of this stream that was stored as this text; none where the text is not one.
    pub fn read(stream: &'static Stream, text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ' ');
        let (offset, length) = parts.next()?.split_once('+')?;
        let shape = Shape::read(parts.next()?)?;
        let pointer = match parts.next() {
            None => None,
            Some(named) => Some(Pointer::all(stream).find(|pointer| format!("#{pointer}") == named)?),
        };
        let fault = Self { pointer, offset: offset.parse().ok()?, length: length.parse().ok()?, shape };
        (fault.stored() == text).then_some(fault)
    }
}

/// `at byte 14 (/ip), a string of 15 bytes: digits and points`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}", self.offset)?;
        match self.pointer {
            None | Some(Pointer::Body) => {}
            Some(pointer) => write!(f, " ({pointer})")?,
        }
        let (noun, classes) = (self.shape.noun(), self.shape.classes());
        match (self.shape, self.length) {
            (Shape::Text(_), 0) => return f.write_str(", the end of the body"),
            (_, 1) => write!(f, ", {noun} of 1 byte")?,
            (_, length) => write!(f, ", {noun} of {length} bytes")?,
        }
        if classes == Classes::default() { Ok(()) } else { write!(f, ": {classes}") }
    }
}

/// A body whose fault is looked for. Every piece is a part of its bytes.
struct Body<'b>(&'b [u8]);

impl<'b> Body<'b> {
    /// The JSON text, without the blanks around it.
    fn json(&self) -> Option<&'b str> {
        str::from_utf8(self.0).ok().map(|text| text.trim_matches(BLANKS))
    }

    fn no_character(&self) -> Option<&'b [u8]> {
        let error = str::from_utf8(self.0).err()?;
        let (_, rest) = self.0.split_at_checked(error.valid_up_to())?;
        // Where the error has no length, the body ends within a character.
        rest.get(..error.error_len().unwrap_or(rest.len()))
    }

    fn bracket_too_deep(&self) -> Option<&'b [u8]> {
        let place = first_too_deep(self.0)?;
        self.0.get(place..=place)
    }

    /// The character at which the parser stopped.
    fn stop(&self) -> Option<&'b [u8]> {
        let unread = self.unread()?;
        let length = unread.chars().next()?.len_utf8();
        unread.as_bytes().get(..length)
    }

    /// The text from the character at which the parser stopped.
    ///
    /// From a reader it takes one byte at a time, and none in advance: the last one that it took is the one that it did not
    /// expect. Line and column of its error cannot say this: for some errors they are those of the byte before.
    fn unread(&self) -> Option<&'b str> {
        let text = self.json()?;
        let mut rest = text.as_bytes();
        serde_json::from_reader::<_, IgnoredAny>(&mut rest).err()?;
        let last_taken = text.len().checked_sub(rest.len() + 1)?;
        text.get(text.floor_char_boundary(last_taken)..)
    }

    /// The first key that is half a character or was there before, in the first object that has one.
    fn wrong_key(&self, form: &Form, stream: &'static Stream) -> Option<Fault> {
        Pointer::objects(form).iter().find_map(|object| {
            let key = Members::of(self.find(*object)?)?.wrong_key()?;
            let named = unescape(key, true).and_then(|name| Pointer::named(*object, &name, stream));
            Some(self.written(named.unwrap_or(*object), key))
        })
    }

    /// What makes the body no event, in the order in which it is read.
    fn not_of_an_event(&self) -> Option<Pointer> {
        let envelope = Members::of(self.json()?)?;
        let says = |key: &str, expected: &str| {
            envelope.get(key).and_then(|value| unescape(value, true)).is_some_and(|text| text == expected)
        };
        let wrong = ENVELOPE.iter().find(|(key, expected)| !says(key, expected));
        Some(Pointer::Member(wrong.map_or(DATA, |(key, _)| key)))
    }

    /// The fault of a value, or of the object that lacks it.
    fn value(&self, pointer: Pointer) -> Option<Fault> {
        let found = self.find(pointer).or_else(|| self.find(pointer.parent()?.0))?;
        Some(self.written(pointer, found))
    }

    fn find(&self, pointer: Pointer) -> Option<&'b str> {
        match pointer.parent() {
            None => self.json(),
            Some((object, key)) => Members::of(self.find(object)?)?.get(key),
        }
    }

    /// The fault of a JSON value, or of a key, as it is written.
    fn written(&self, pointer: Pointer, json: &'b str) -> Fault {
        let characters = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match characters.map(str::as_bytes) {
            Some(characters) => self.fault(Some(pointer), characters, Shape::of_string(characters)),
            None => self.fault(Some(pointer), json.as_bytes(), Shape::of_value(json.as_bytes())),
        }
    }

    /// The fault of a piece that is no JSON.
    fn text(&self, piece: Option<&'b [u8]>) -> Option<Fault> {
        piece.map(|piece| self.fault(None, piece, Shape::of_text(piece)))
    }

    fn fault(&self, pointer: Option<Pointer>, piece: &'b [u8], shape: Shape) -> Fault {
        let offset = piece.as_ptr().addr().saturating_sub(self.0.as_ptr().addr());
        Fault { pointer, offset, length: piece.len(), shape }
    }
}

/// The members of an object, keys and values as they are written.
struct Members<'b>(Vec<(&'b str, &'b str)>);

impl<'b> Members<'b> {
    /// None of what is no object.
    fn of(json: &'b str) -> Option<Self> {
        serde_json::Deserializer::from_str(json).deserialize_map(Reading).ok()
    }

    fn get(&self, key: &str) -> Option<&'b str> {
        let is_it = |written: &str| unescape(written, true).is_some_and(|name| name == key);
        self.0.iter().find(|(written, _)| is_it(written)).map(|(_, value)| *value)
    }

    fn wrong_key(&self) -> Option<&'b str> {
        let mut names = BTreeSet::new();
        let mut is_right = |written| unescape(written, true).is_some_and(|name| names.insert(name));
        self.0.iter().map(|(written, _)| *written).find(|written| !is_right(written))
    }
}

/// Reads an object.
struct Reading;

impl<'b> Visitor<'b> for Reading {
    type Value = Members<'b>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'b>>(self, mut object: M) -> Result<Members<'b>, M::Error> {
        let mut members = Vec::new();
        while let Some((key, value)) = object.next_entry::<&RawValue, &RawValue>()? {
            members.push((key.get(), value.get()));
        }
        Ok(Members(members))
    }
}
