//! The columns of a login, which `user_logins` and `outbox` have under the same names, and with them the two of the message
//! that brought it: the texts of COPY and INSERT, and the values that they take.

use time::{Date, OffsetDateTime};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::batch::LoginRow;
use crate::login::Stored;
use crate::stream::{Column, ColumnType, Field, Stream};

/// The message's hash in `user_logins`.
pub(super) const MESSAGE_HASH: &str = "message_hash";
/// The message's hash in `outbox`.
pub(super) const EVENT_ID: &str = "event_id";
/// Which span of its producer sent the message, in `outbox`.
pub(super) const TRACEPARENT: &str = "traceparent";
/// When the message was sent, in both tables.
pub(super) const SENT_AT: &str = "message_sent_at";

/// What is written of a login.
pub(super) struct LoginColumns {
    names: Vec<&'static str>,
    types: Vec<Type>,
}

impl LoginColumns {
    /// Those of the stream, then the message's hash under this name, and its time.
    pub(super) fn of(stream: &Stream, hash: &'static str) -> Self {
        let of_stream = stream.columns().map(|column| (column.name, type_of(column.holds)));
        let of_message = [(hash, Type::BYTEA), (SENT_AT, Type::TIMESTAMPTZ)];
        let (names, types) = of_stream.chain(of_message).unzip();
        Self { names, types }
    }

    /// Those of an event: with the trace of the origin, if one of the logins has it.
    pub(super) fn of_events(logins: &[LoginRow<'_>], stream: &Stream) -> Self {
        let mut columns = Self::of(stream, EVENT_ID);
        if logins.iter().any(|login| login.origin.is_some()) {
            columns.names.push(TRACEPARENT);
            columns.types.push(Type::VARCHAR);
        }
        columns
    }

    /// Takes the values of [`LoginRows`] into this table.
    pub(super) fn copy_into(&self, table: &str) -> String {
        format!("COPY {table} ({}) FROM STDIN BINARY", self.names.join(", "))
    }

    /// Takes [`arrays`] into this table.
    pub(super) fn insert_into(&self, table: &str) -> String {
        let arrays: Vec<String> = self.types.iter().zip(1..).map(parameter).collect();
        format!("INSERT INTO {table} ({}) SELECT * FROM unnest({})", self.names.join(", "), arrays.join(", "))
    }

    /// The columns.
    pub(super) fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// What they hold.
    pub(super) fn types(&self) -> &[Type] {
        &self.types
    }
}

fn type_of(column: ColumnType) -> Type {
    match column {
        ColumnType::Varchar(_) => Type::VARCHAR,
        ColumnType::Integer => Type::INT4,
        ColumnType::Date => Type::DATE,
    }
}

/// `$1::text[]`. A cast to varchar(n) here would cut a longer value, which the column refuses.
fn parameter((of, number): (&Type, usize)) -> String {
    let name = if *of == Type::VARCHAR { "text" } else { of.name() };
    format!("${number}::{name}[]")
}

/// A value of a statement.
pub(super) type Value<'v> = &'v (dyn ToSql + Sync);

/// Many logins, to be copied.
pub(super) struct LoginRows<'l>(Vec<LoginValues<'l>>);

struct LoginValues<'l> {
    row: &'l LoginRow<'l>,
    day: Date,
    hash: &'l [u8],
    origin: Option<String>,
}

impl<'l> LoginRows<'l> {
    pub(super) fn of(logins: &'l [LoginRow<'l>]) -> Self {
        let values = |row: &'l LoginRow<'l>| LoginValues {
            row,
            day: row.day(),
            hash: row.key.hash.as_bytes(),
            origin: row.origin.map(|origin| origin.to_string()),
        };
        Self(logins.iter().map(values).collect())
    }

    /// A value for each of these columns, row after row.
    pub(super) fn values(&self, columns: &LoginColumns) -> Vec<Value<'_>> {
        let width = columns.names.len();
        self.0.iter().flat_map(|row| row.values().take(width)).collect()
    }
}

impl LoginValues<'_> {
    fn values(&self) -> impl Iterator<Item = Value<'_>> {
        let of_message: [Value<'_>; 4] = [&self.day, &self.hash, &self.row.key.sent_at, &self.origin];
        self.row.login.values().map(|(_, stored)| value(stored)).chain(of_message)
    }
}

fn value(stored: &Stored) -> Value<'_> {
    match stored {
        Stored::Null => &None::<&str>,
        Stored::Text(text) => text,
        Stored::Integer(integer) => integer,
    }
}

/// The values of many logins of a stream, an array for each of these columns.
pub(super) fn arrays<'l>(
    columns: &LoginColumns,
    stream: &Stream,
    logins: &'l [LoginRow<'l>],
) -> Vec<Box<dyn ToSql + Send + Sync + 'l>> {
    let of_stream = stream.columns().enumerate().map(|(place, column)| of_column(place, column.holds, logins));
    let hashes: Vec<&[u8]> = logins.iter().map(|login| &login.key.hash.as_bytes()[..]).collect();
    let sent: Vec<OffsetDateTime> = logins.iter().map(|login| login.key.sent_at).collect();
    let origins: Vec<Option<String>> =
        logins.iter().map(|login| login.origin.map(|origin| origin.to_string())).collect();
    let of_message: [Box<dyn ToSql + Send + Sync + 'l>; 3] = [Box::new(hashes), Box::new(sent), Box::new(origins)];
    of_stream.chain(of_message).take(columns.names.len()).collect()
}

fn of_column<'l>(place: usize, holds: ColumnType, logins: &'l [LoginRow<'l>]) -> Box<dyn ToSql + Send + Sync + 'l> {
    let stored = logins.iter().map(|row| row.login.values().nth(place).map(|(_, stored)| stored));
    match holds {
        ColumnType::Varchar(_) => Box::new(stored.map(|stored| stored?.text()).collect::<Vec<Option<&str>>>()),
        ColumnType::Integer => Box::new(stored.map(|stored| stored?.integer()).collect::<Vec<Option<i32>>>()),
        ColumnType::Date => Box::new(logins.iter().map(LoginRow::day).collect::<Vec<Date>>()),
    }
}

/// What a row holds of a login's field.
pub(super) fn stored(row: &Row, field: &Field) -> Stored {
    let Column { name, holds } = field.column();
    let stored = match holds {
        ColumnType::Varchar(_) => row.get::<_, Option<String>>(name).map(Stored::Text),
        ColumnType::Integer => row.get::<_, Option<i32>>(name).map(Stored::Integer),
        ColumnType::Date => None,
    };
    stored.unwrap_or(Stored::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Field, Kind, Limit};

    const SMALL: Stream = Stream {
        table: "small",
        fields: &[
            Field::masked("a", "masked_a", Kind::Address),
            Field::stored("b", Kind::Version),
            Field::stored("c", Kind::Text { may_be_empty: true, most: Limit::Chars(7) }),
        ],
        day: "day",
    };

    #[test]
    fn the_texts_name_each_column_of_the_stream_and_those_of_the_message() {
        let columns = LoginColumns::of(&SMALL, "hash");
        assert_eq!(
            columns.copy_into("s.small"),
            "COPY s.small (masked_a, b, c, day, hash, message_sent_at) FROM STDIN BINARY"
        );
        assert_eq!(
            columns.insert_into("s.small"),
            "INSERT INTO s.small (masked_a, b, c, day, hash, message_sent_at) SELECT * FROM \
             unnest($1::text[], $2::int4[], $3::text[], $4::date[], $5::bytea[], $6::timestamptz[])"
        );
        assert_eq!(columns.types().len(), 6);
    }
}
