//! What a login is, said once: the keys of its body, what each may hold, and the column that keeps it.
//!
//! [`LOGIN`] is the only list of a login's keys and columns. What reads, masks, stores and grants them derives from it, and
//! so do the tables in the documents. A further field is one more row, and a migration for its column.

use std::fmt;

use crate::mask::{MASKABLE_BYTES, MASKED_CHARS};

/// The login, with its fields in the order in which missing ones are looked for.
pub const LOGIN: Stream = Stream {
    table: "user_logins",
    fields: &[
        Field::stored("user_id", text(1, Limit::Chars(128))).personal(),
        Field::stored("app_version", Kind::Version),
        Field::stored("device_type", text(1, Limit::Chars(32))),
        Field::masked("ip", "masked_ip", Kind::Address),
        Field::stored("locale", text(0, Limit::Chars(32))).nullable(),
        Field::masked("device_id", "masked_device_id", text(1, Limit::Bytes(MASKABLE_BYTES))),
    ],
    day: "create_date",
};

/// The most fields that a stream may have.
pub const MAX_FIELDS: usize = 16;

const _: () = assert!(LOGIN.fields.len() <= MAX_FIELDS, "a login has too many fields");

const fn text(least: usize, most: Limit) -> Kind {
    Kind::Text { may_be_empty: least == 0, most }
}

/// A kind of record: what a body must hold to be one, and where it is stored.
///
/// It lives as long as the process. One that is not built in would be read once, and leaked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The table of the records.
    pub table: &'static str,
    /// What a body must hold, at most [`MAX_FIELDS`]. No two fields share a key or a column.
    pub fields: &'static [Field],
    /// The column of the UTC day on which the message was sent: a fact of the message, which no body says.
    pub day: &'static str,
}

impl Stream {
    /// The field of this key.
    pub fn field(&self, key: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.key == key)
    }

    /// How many fields are masked.
    pub const fn masked(&self) -> usize {
        let (mut fields, mut masked) = (self.fields, 0);
        while let [field, rest @ ..] = fields {
            (fields, masked) = (rest, masked + field.is_masked() as usize);
        }
        masked
    }

    /// The keys of the `N` fields that are masked, for what is compiled in.
    pub const fn masked_keys<const N: usize>(&self) -> [&'static str; N] {
        let mut keys = [""; N];
        let (mut fields, mut left) = (self.fields, keys.as_mut_slice());
        while let [field, rest @ ..] = fields {
            fields = rest;
            if !field.is_masked() {
                continue;
            }
            let Some((key, others)) = left.split_first_mut() else { break };
            *key = field.key;
            left = others;
        }
        keys
    }

    /// The keys of the `N` fields, for what is compiled in.
    pub const fn keys<const N: usize>(&self) -> [&'static str; N] {
        let (mut fields, mut keys) = (self.fields, [""; N]);
        let mut left = keys.as_mut_slice();
        while let ([field, rest @ ..], Some((key, others))) = (fields, left.split_first_mut()) {
            *key = field.key;
            (fields, left) = (rest, others);
        }
        keys
    }

    /// The columns of a record, in the order of its fields, and last the day.
    pub fn columns(&self) -> impl Iterator<Item = Column> {
        let day = Column { name: self.day, holds: ColumnType::Date };
        self.fields.iter().map(Field::column).chain([day])
    }
}

/// One field: a key of the body, and the column that keeps its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The key in the body. Of a masked field it names the sub-keys too: under another key the values that are stored
    /// could neither be joined nor opened. Such a field must not have the key `body`, whose sub-key seals dead letters.
    pub key: &'static str,
    /// What the value is.
    pub kind: Kind,
    /// Whether the value may be `null`. The key must be there all the same.
    pub nullable: bool,
    /// How much the value says of a person.
    pub privacy: Privacy,
    /// The column of the table.
    pub column: &'static str,
}

impl Field {
    /// A field that is stored as it is sent, in the column of the same name.
    pub const fn stored(key: &'static str, kind: Kind) -> Self {
        Self { key, kind, nullable: false, privacy: Privacy::Open, column: key }
    }

    /// A field that is stored masked.
    pub const fn masked(key: &'static str, column: &'static str, kind: Kind) -> Self {
        Self { key, kind, nullable: false, privacy: Privacy::Masked, column }
    }

    /// The same field, where its value tells one person from another.
    pub const fn personal(self) -> Self {
        Self { privacy: Privacy::Personal, ..self }
    }

    /// The same field, where its value may be `null`.
    pub const fn nullable(self) -> Self {
        Self { nullable: true, ..self }
    }

    /// Whether the value is masked before it is stored.
    pub const fn is_masked(&self) -> bool {
        matches!(self.privacy, Privacy::Masked)
    }

    /// Whether the value tells one person from another, masked or not.
    pub fn is_personal(&self) -> bool {
        self.privacy != Privacy::Open
    }

    /// The largest length of a text; an address or a version is bounded by its meaning.
    pub fn limit(&self) -> Option<Limit> {
        match self.kind {
            Kind::Text { most, .. } => Some(most),
            Kind::Address | Kind::Version => None,
        }
    }

    /// The column that keeps the value.
    pub fn column(&self) -> Column {
        let holds = match (self.privacy, self.kind) {
            (Privacy::Masked, _) => ColumnType::Varchar(MASKED_CHARS),
            (_, Kind::Text { most: Limit::Chars(most) | Limit::Bytes(most), .. }) => ColumnType::Varchar(most),
            (_, Kind::Address) => ColumnType::Varchar(ADDRESS_CHARS),
            (_, Kind::Version) => ColumnType::Integer,
        };
        Column { name: self.column, holds }
    }
}

/// Its key, as an error names it.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key)
    }
}

/// The longest text of an address: eight groups of four digits.
const ADDRESS_CHARS: usize = 39;

/// What a field's value is. In the body each is a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any characters but U+0000.
    Text {
        /// Whether it may be empty.
        may_be_empty: bool,
        /// The largest length.
        most: Limit,
    },
    /// An IPv4 or IPv6 address. An IPv4-mapped IPv6 address is the IPv4 address.
    Address,
    /// A version of one to three numbers: see [`AppVersion`](crate::login::AppVersion).
    Version,
}

/// How much a value says of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privacy {
    /// Little: it is stored as it is sent.
    Open,
    /// It tells one person from another, and is stored as it is sent. The loader may write it and not read it.
    Personal,
    /// It tells one person from another, and is stored masked.
    Masked,
}

/// How long a text may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Characters (Unicode scalar values), as PostgreSQL's `varchar` counts them.
    Chars(usize),
    /// Bytes of UTF-8.
    Bytes(usize),
}

impl Limit {
    /// Whether a text is no longer.
    pub fn holds(self, text: &str) -> bool {
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

/// A column of a stream's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub holds: ColumnType,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// At most so many characters.
    Varchar(usize),
    /// 32 bits with a sign.
    Integer,
    /// A day.
    Date,
}

/// As CREATE TABLE takes it.
impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Varchar(most) => write!(f, "varchar({most})"),
            Self::Integer => f.write_str("integer"),
            Self::Date => f.write_str("date"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_fields_share_a_key_or_a_column_and_none_is_masked_with_the_key_of_bodies() {
        let keys: BTreeSet<&str> = LOGIN.fields.iter().map(|field| field.key).collect();
        let columns: BTreeSet<&str> = LOGIN.columns().map(|column| column.name).collect();
        assert_eq!((keys.len(), columns.len()), (LOGIN.fields.len(), LOGIN.fields.len() + 1));
        assert!(!LOGIN.fields.iter().any(|field| field.is_masked() && field.key == "body"));
    }

    #[test]
    fn every_text_that_is_masked_fits_its_column() {
        for field in LOGIN.fields.iter().filter(|field| field.is_masked()) {
            let fits = match field.limit() {
                None => true,
                Some(Limit::Bytes(most)) => most <= MASKABLE_BYTES,
                Some(Limit::Chars(most)) => most * 4 <= MASKABLE_BYTES,
            };
            assert!(fits, "{field}");
        }
    }
}
