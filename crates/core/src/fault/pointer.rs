//! The names of places in a body.

use std::fmt;

use crate::decode::{DATA, ENVELOPE, Form};
use crate::message::escaped_step;
use crate::stream::{Field, Stream};

/// A place that a form gives a name, as a JSON pointer (RFC 6901). Its keys are those of the stream and of events, never
/// one that only the body has: such a key may be personal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pointer {
    /// The whole body: the empty pointer.
    Body,
    /// A member of the body's object.
    Member(&'static str),
    /// A member of the object `data` of an event.
    OfData(&'static str),
}

impl Pointer {
    /// Where bodies of this form hold this field.
    pub(super) fn of(form: &Form, field: &Field) -> Self {
        match form {
            Form::Login => Self::Member(field.key),
            Form::Event(_) => Self::OfData(field.column),
        }
    }

    /// The objects of a body whose keys are looked at, in this order.
    pub(super) fn objects(form: &Form) -> &'static [Self] {
        match form {
            Form::Login => &[Self::Body],
            Form::Event(_) => &[Self::Body, Self::Member(DATA)],
        }
    }

    /// The object that the place is in, and its key there.
    pub(super) fn parent(self) -> Option<(Self, &'static str)> {
        match self {
            Self::Body => None,
            Self::Member(key) => Some((Self::Body, key)),
            Self::OfData(key) => Some((Self::Member(DATA), key)),
        }
    }

    /// The member of an object under this key, where it has a name.
    pub(super) fn named(object: Self, key: &str, stream: &'static Stream) -> Option<Self> {
        Self::all(stream).find(|pointer| pointer.parent().is_some_and(|(parent, own)| parent == object && own == key))
    }

    /// Every place that has a name.
    pub(super) fn all(stream: &'static Stream) -> impl Iterator<Item = Self> {
        let of_logins = stream.fields.iter().map(|field| field.key);
        let of_events = ENVELOPE.iter().map(|(key, _)| *key).chain([DATA]);
        [Self::Body]
            .into_iter()
            .chain(of_logins.chain(of_events).map(Self::Member))
            .chain(stream.columns().map(|column| Self::OfData(column.name)))
    }
}

/// As RFC 6901 writes it.
impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parent() {
            None => Ok(()),
            Some((object, key)) => write!(f, "{object}/{}", escaped_step(key)),
        }
    }
}
