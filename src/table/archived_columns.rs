//! The columns of a table whose rows are archived, and the text by which a row is told from every other.
//!
//! The text of a row is that of its columns in their order: `-` for NULL, else the length of the value's text in bytes of UTF-8,
//! a colon and the text. A time is written as microseconds since 1970, a day as days since 1970, bytes in hexadecimal digits, a
//! truth value as 0 or 1. So another database, or a reader of files, can make the same.

use serde::{Deserialize, Serialize};

use super::partitions::quoted;

/// A column.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as PostgreSQL writes it.
    pub postgresql: String,
    /// How its values are kept.
    pub kept_as: Kind,
}

/// How values of a column are kept in a file.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Text.
    Text,
    /// A type of its own, by its text, which PostgreSQL reads back as the same value.
    TextOfValue,
    /// A whole number of 2 bytes.
    Int16,
    /// A whole number of 4 bytes.
    Int32,
    /// A whole number of 8 bytes.
    Int64,
    /// A truth value.
    Boolean,
    /// A day.
    Date,
    /// A point in time, in UTC.
    Timestamptz,
    /// A time of a place that is not said.
    Timestamp,
    /// Bytes.
    Bytes,
}

impl Kind {
    /// How values of a type are kept, by its name in the catalogue; nothing where they cannot be.
    pub(super) fn of(typname: &str) -> Option<Self> {
        Some(match typname {
            "text" | "varchar" | "bpchar" => Self::Text,
            "uuid" | "numeric" | "json" | "jsonb" | "inet" | "cidr" | "macaddr" | "float4" | "float8" => {
                Self::TextOfValue
            }
            "int2" => Self::Int16,
            "int4" => Self::Int32,
            "int8" => Self::Int64,
            "bool" => Self::Boolean,
            "date" => Self::Date,
            "timestamptz" => Self::Timestamptz,
            "timestamp" => Self::Timestamp,
            "bytea" => Self::Bytes,
            _ => return None,
        })
    }

    /// The type under which values are copied out and in.
    fn copied_as(self) -> &'static str {
        match self {
            Self::Text | Self::TextOfValue => "text",
            Self::Int16 => "smallint",
            Self::Int32 => "integer",
            Self::Int64 => "bigint",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Timestamptz => "timestamptz",
            Self::Timestamp => "timestamp",
            Self::Bytes => "bytea",
        }
    }
}

impl Column {
    /// What is selected of it.
    pub(super) fn selected(&self) -> String {
        format!("{}::{}", quoted(&self.name), self.kept_as.copied_as())
    }

    /// Its definition in a table into which rows are copied.
    pub(super) fn definition(&self) -> String {
        let type_name = match self.kept_as {
            Kind::TextOfValue => "text",
            _ => &self.postgresql,
        };
        format!("{} {type_name}", quoted(&self.name))
    }

    /// What turns it into its own type, where it was copied as text.
    pub(super) fn retyped(&self) -> Option<String> {
        let (name, of) = (quoted(&self.name), &self.postgresql);
        (self.kept_as == Kind::TextOfValue).then(|| format!("ALTER COLUMN {name} TYPE {of} USING {name}::{of}"))
    }

    fn text(&self) -> String {
        let name = quoted(&self.name);
        match self.kept_as {
            Kind::Text | Kind::TextOfValue | Kind::Int16 | Kind::Int32 | Kind::Int64 => format!("{name}::text"),
            Kind::Boolean => format!("{name}::integer::text"),
            Kind::Date => format!("({name} - date '1970-01-01')::text"),
            Kind::Timestamptz | Kind::Timestamp => {
                format!("(extract(epoch from {name}) * 1000000)::bigint::text")
            }
            Kind::Bytes => format!("pg_catalog.encode({name}, 'hex')"),
        }
    }
}

/// The text of a row, in SQL.
pub(super) fn row_text(columns: &[Column]) -> String {
    let texts = columns.iter().map(Column::text);
    let framed = texts.map(|text| {
        format!("coalesce(octet_length(pg_catalog.convert_to({text}, 'UTF8'))::text || ':' || {text}, '-')")
    });
    framed.collect::<Vec<_>>().join(" || ")
}

/// A text as statements write it.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// What rows come to, in whatever order they are read: two sets of rows with the same digest are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowDigest {
    /// How many.
    pub rows: u64,
    /// The earliest time of a message, in microseconds since 1970.
    pub first: Option<i64>,
    /// The latest.
    pub last: Option<i64>,
    /// The sum of the first 60 bits of MD5 of each row's text.
    pub sum: u128,
}

impl RowDigest {
    /// With another row.
    pub fn add(&mut self, at: Option<i64>, bits: u64) {
        self.add_all(&Self { rows: 1, first: at, last: at, sum: u128::from(bits) });
    }

    /// With other rows.
    pub fn add_all(&mut self, more: &Self) {
        let of_both = |one: Option<i64>, other: Option<i64>, which: fn(i64, i64) -> i64| match (one, other) {
            (Some(one), Some(other)) => Some(which(one, other)),
            (one, other) => one.or(other),
        };
        self.rows += more.rows;
        self.first = of_both(self.first, more.first, i64::min);
        self.last = of_both(self.last, more.last, i64::max);
        self.sum += more.sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_of_parts_is_that_of_the_whole() {
        let mut parts = RowDigest::default();
        parts.add(Some(3), 5);
        let mut other = RowDigest::default();
        other.add(None, 1);
        other.add(Some(1), u64::MAX);
        parts.add_all(&other);
        let sum = 6 + u128::from(u64::MAX);
        assert_eq!(parts, RowDigest { rows: 3, first: Some(1), last: Some(3), sum });
    }

    #[test]
    fn names_and_texts_stand_in_statements_as_they_are() {
        assert_eq!((quoted("a\"b").as_str(), literal("a'\\b").as_str()), ("\"a\"\"b\"", "E'a''\\\\b'"));
    }
}
