//! Places in a JSON text, by the pointers of RFC 6901.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::value::RawValue;

/// A JSON pointer (RFC 6901) to a field, at least one level deep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPointer(Vec<String>);

impl JsonPointer {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let steps = text.strip_prefix('/')?;
        Some(Self(steps.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect()))
    }

    /// The text or number that stands there, with its kind, so that `"7"` and `7` stay apart.
    ///
    /// A number keeps its digits as they were written: a lossy float would make two long ids one.
    pub(super) fn find(&self, body: &[u8]) -> Option<Vec<u8>> {
        let mut here: &RawValue = serde_json::from_slice(body).ok()?;
        for step in &self.0 {
            here = match here.get().as_bytes().first()? {
                b'{' => serde_json::Deserializer::from_str(here.get()).deserialize_map(Member(step)).ok()??,
                b'[' => {
                    let mut items: Vec<&RawValue> = serde_json::from_str(here.get()).ok()?;
                    let index = step.parse::<usize>().ok().filter(|index| *index < items.len())?;
                    items.swap_remove(index)
                }
                _ => return None,
            };
        }
        match here.get().as_bytes().first()? {
            b'"' => serde_json::from_str::<String>(here.get())
                .ok()
                .filter(|text| !text.is_empty())
                .map(|text| [b"s", text.as_bytes()].concat()),
            b'-' | b'0'..=b'9' => Some([b"n", here.get().as_bytes()].concat()),
            _ => None,
        }
    }
}

/// Reads an object for the value of one key; where the key stands twice, the last one.
struct Member<'s>(&'s str);

impl<'b> Visitor<'b> for Member<'_> {
    type Value = Option<&'b RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'b>>(self, mut object: M) -> Result<Self::Value, M::Error> {
        let mut found = None;
        while let Some((Key(key), value)) = object.next_entry()? {
            if key == self.0 {
                found = Some(value);
            }
        }
        Ok(found)
    }
}

/// Borrows from the body unless an escape stands in it; a bare `Cow` would be read into a new `String` always.
#[derive(Deserialize)]
struct Key<'b>(#[serde(borrow)] Cow<'b, str>);

impl fmt::Display for JsonPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| write!(f, "/{}", escaped_step(step)))
    }
}

/// A key as a step of a JSON pointer (RFC 6901 section 3).
pub(crate) fn escaped_step(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
