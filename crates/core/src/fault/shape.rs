//! What a piece of a body looks like, told without a character of it.

use std::fmt;

/// The kind of a piece, and which kinds of characters stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Bytes that are no JSON value.
    Text(Classes),
    /// A JSON string, or a key. Its quotes do not count.
    String(Classes),
    /// A JSON number.
    Number(Classes),
    /// A JSON object.
    Object,
    /// A JSON array.
    Array,
    /// `true` or `false`.
    Boolean,
    /// `null`.
    Null,
}

impl Shape {
    /// The shape of a piece that is no JSON value.
    pub(super) fn of_text(text: &[u8]) -> Self {
        Self::Text(Classes::of(text, Backslash::Itself))
    }

    /// The shape of a JSON string, as it is written between its quotes.
    pub(super) fn of_string(characters: &[u8]) -> Self {
        Self::String(Classes::of(characters, Backslash::Escapes))
    }

    /// The shape of a JSON value that is no string.
    pub(super) fn of_value(value: &[u8]) -> Self {
        match value.first() {
            Some(b'{') => Self::Object,
            Some(b'[') => Self::Array,
            Some(b't' | b'f') => Self::Boolean,
            Some(b'n') => Self::Null,
            Some(_) | None => Self::Number(Classes::of(value, Backslash::Itself)),
        }
    }

    /// The shape that [`fmt::Display`] wrote.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (kind, classes) = match text.split_once(':') {
            None => (text, Classes::default()),
            Some((kind, classes)) => (kind, Classes::read(classes)?),
        };
        [
            Self::Text(classes),
            Self::String(classes),
            Self::Number(classes),
            Self::Object,
            Self::Array,
            Self::Boolean,
            Self::Null,
        ]
        .into_iter()
        .find(|shape| shape.kind() == kind)
    }

    /// What it is, in a sentence.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::String(_) => "a string",
            Self::Number(_) => "a number",
            Self::Object => "an object",
            Self::Array => "an array",
            Self::Boolean => "a boolean",
            Self::Null => "a null",
        }
    }

    /// Which kinds of characters stand in it. None are told of an object, an array, a boolean or null.
    pub fn classes(self) -> Classes {
        match self {
            Self::Text(classes) | Self::String(classes) | Self::Number(classes) => classes,
            Self::Object | Self::Array | Self::Boolean | Self::Null => Classes::default(),
        }
    }

    fn kind(self) -> &'static str {
        self.noun().rsplit(' ').next().unwrap_or_default()
    }
}

/// `string:digits,points`: words that stay as they are, because they are stored.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        for (number, class) in self.classes().iter().enumerate() {
            write!(f, "{}{}", if number == 0 { ':' } else { ',' }, class.word())?;
        }
        Ok(())
    }
}

/// A kind of characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `0` to `9`.
    Digits,
    /// `A` to `Z` and `a` to `z`.
    Letters,
    /// `.`
    Points,
    /// `:`
    Colons,
    /// `-`
    Hyphens,
    /// U+0020.
    Spaces,
    /// Every other visible character of ASCII.
    Punctuation,
    /// A backslash in a JSON string, with what belongs to it.
    Escapes,
    /// U+0000 to U+001F and U+007F: tabs and line breaks too.
    Controls,
    /// Bytes above 0x7F, characters or not.
    NonAscii,
}

impl Class {
    const ALL: [Self; 10] = [
        Self::Digits,
        Self::Letters,
        Self::Points,
        Self::Colons,
        Self::Hyphens,
        Self::Spaces,
        Self::Punctuation,
        Self::Escapes,
        Self::Controls,
        Self::NonAscii,
    ];

    fn of(byte: u8) -> Self {
        match byte {
            b'0'..=b'9' => Self::Digits,
            b'A'..=b'Z' | b'a'..=b'z' => Self::Letters,
            b'.' => Self::Points,
            b':' => Self::Colons,
            b'-' => Self::Hyphens,
            b' ' => Self::Spaces,
            b'!'..=b'~' => Self::Punctuation,
            0..=0x1f | 0x7f => Self::Controls,
            0x80.. => Self::NonAscii,
        }
    }

    /// Its name where it is stored.
    fn word(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::Letters => "letters",
            Self::Points => "points",
            Self::Colons => "colons",
            Self::Hyphens => "hyphens",
            Self::Spaces => "spaces",
            Self::Punctuation => "punctuation",
            Self::Escapes => "escapes",
            Self::Controls => "controls",
            Self::NonAscii => "non_ascii",
        }
    }
}

/// Its name in a sentence.
impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Punctuation => "other punctuation",
            Self::Controls => "control characters",
            Self::NonAscii => "bytes beyond ASCII",
            Self::Digits
            | Self::Letters
            | Self::Points
            | Self::Colons
            | Self::Hyphens
            | Self::Spaces
            | Self::Escapes => self.word(),
        })
    }
}

/// A set of [`Class`]es, a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes(u16);

/// What a backslash is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Backslash {
    /// A character like another.
    Itself,
    /// The start of an escape, as in a JSON string.
    Escapes,
}

impl Classes {
    fn of(written: &[u8], backslash: Backslash) -> Self {
        let mut classes = Self::default();
        let mut bytes = written.iter();
        while let Some(byte) = bytes.next() {
            if *byte != b'\\' || backslash == Backslash::Itself {
                classes = classes.with(Class::of(*byte));
                continue;
            }
            classes = classes.with(Class::Escapes);
            if bytes.next() == Some(&b'u') {
                bytes.nth("0000".len() - 1);
            }
        }
        classes
    }

    fn read(words: &str) -> Option<Self> {
        words.split(',').try_fold(Self::default(), |classes, word| {
            let class = Class::ALL.into_iter().find(|class| class.word() == word)?;
            Some(classes.with(class))
        })
    }

    fn with(self, class: Class) -> Self {
        Self(self.0 | 1 << class as u16)
    }

    /// Whether characters of this kind stand in the piece.
    pub fn contains(self, class: Class) -> bool {
        self.with(class) == self
    }

    /// The kinds that stand in the piece, in the order of [`Class`].
    pub fn iter(self) -> impl Iterator<Item = Class> {
        Class::ALL.into_iter().filter(move |class| self.contains(*class))
    }
}

/// `digits, letters and points`.
impl fmt::Display for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = self.iter().count();
        for (number, class) in self.iter().enumerate() {
            let mark = match number {
                0 => "",
                _ if number + 1 == many => " and ",
                _ => ", ",
            };
            write!(f, "{mark}{class}")?;
        }
        Ok(())
    }
}
