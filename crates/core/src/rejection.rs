//! Why a body is not a login: one row for each reason, which holds its code and its words.

mod advice;

use std::fmt;

pub use self::advice::Advice;
use crate::decode::MAX_DEPTH;
use crate::login::AppVersion;
use crate::message::{KeyTime, MessageHash, NoKey};
use crate::stream::Field;

/// Makes the reasons of rows `Name(what it names) => ("code", "words")`; the words are a format, as `write!` takes it.
macro_rules! rejections {
    ($(
        $(#[$doc:meta])+
        $name:ident $(($bound:ident: $of:ty))? $({ $($(#[$part_doc:meta])+ $part:ident: $part_of:ty,)+ })?
            => ($code:literal, $($words:tt)+),
    )+) => {
        /// Why a body is not a login. Holds and prints names, rules and limits, never a piece of the body.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Rejection {
            $($(#[$doc])+ $name $(($of))? $({ $($(#[$part_doc])+ $part: $part_of,)+ })?,)+
        }

        impl Rejection {
            /// Every code that [`Rejection::code`] can give.
            pub const CODES: &'static [&'static str] = &[$($code,)+];

            /// The stable name: the column `dead_letters.code`, and a metric's label.
            pub fn code(&self) -> &'static str {
                match self {
                    $(Self::$name { .. } => $code,)+
                }
            }
        }

        impl fmt::Display for Rejection {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name $(($bound))? $({ $($part,)+ })? => write!(f, $($words)+),)+
                }
            }
        }
    };
}

rejections! {
    /// No byte, or nothing but blanks.
    EmptyBody => ("empty_body", "the body is empty"),
    /// The bytes are not UTF-8.
    InvalidUtf8 => ("invalid_utf8", "the body is not UTF-8"),
    /// U+FEFF is at the start, where RFC 8259 section 8.1 forbids it.
    ByteOrderMark => ("byte_order_mark", "the body starts with a byte order mark"),
    /// Arrays and objects are nested more than [`MAX_DEPTH`] levels deep.
    NestedTooDeep => ("nested_too_deep", "the body is nested more than {MAX_DEPTH} levels deep"),
    /// Not a JSON text (RFC 8259).
    InvalidJson => ("invalid_json", "the body is not JSON"),
    /// A JSON text that ends too early.
    TruncatedJson => ("truncated_json", "the body is JSON that ends too early"),
    /// Something other than blanks follows the JSON value.
    TrailingData => ("trailing_data", "something follows the body's JSON value"),
    /// The body is a JSON array.
    ArrayBody => ("array_body", "the body is a JSON array, not an object"),
    /// The body is a JSON string, number, boolean or null.
    NotAnObject => ("not_an_object", "the body is JSON, but not an object"),
    /// The body (`None`) or a login's field is a number that no double-precision float holds.
    NumberOutOfRange(field: Option<&'static Field>) =>
        ("number_out_of_range", "{} is a number that is out of range", place(*field)),
    /// A field is not there.
    MissingField(field: &'static Field) => ("missing_field", "the field {field} is missing"),
    /// A field is null that must not be.
    NullField(field: &'static Field) => ("null_field", "the field {field} is null"),
    /// A field is not a string.
    WrongType(field: &'static Field) => ("wrong_type", "the field {field} is not a string"),
    /// A key occurs twice: that of a login's field, or another one (`None`).
    DuplicateKey(field: Option<&'static Field>) => ("duplicate_key", "{} occurs twice", key(*field)),
    /// A field is longer than its column allows.
    FieldTooLong(field: &'static Field) => ("field_too_long", "the field {field} is longer than {limit}", limit = limit(field)),
    /// A field is an empty string that must not be.
    EmptyField(field: &'static Field) => ("empty_field", "the field {field} is empty"),
    /// A field contains U+0000, which PostgreSQL cannot store.
    NulCharacter(field: &'static Field) => ("nul_character", "the field {field} contains the character U+0000"),
    /// A login's field, or another key (`None`), contains half of a surrogate pair, which is not a character.
    LoneSurrogate(field: Option<&'static Field>) => ("lone_surrogate", "{} contains a lone surrogate", key(*field)),
    /// A field is not an address.
    InvalidIp(field: &'static Field) => ("invalid_ip", "the field {field} is not an IPv4 or IPv6 address"),
    /// A field is not one to three numbers.
    InvalidVersion(field: &'static Field) =>
        ("invalid_version", "the field {field} is not one to three numbers between dots"),
    /// A field is a version with a pre-release tag.
    VersionPreRelease(field: &'static Field) => ("version_pre_release", "the field {field} has a pre-release tag"),
    /// A part of a version is too large for its place in the integer.
    VersionPartTooLarge(field: &'static Field) => (
        "version_part_too_large",
        "the field {field} has a major part above {major} or another above {part}",
        major = AppVersion::MAX_MAJOR,
        part = AppVersion::MAX_PART
    ),
    /// The body is JSON, but not an event of a login, where one is due.
    NotAnEvent => ("not_an_event", "the body is not the event of a login"),
    /// A field of an event is not a masked value of its kind, or not authentic under the key that it names.
    InvalidMask(field: &'static Field) => ("invalid_mask", "the field {field} of the event is not a masked value"),
    /// The day of an event is not a date.
    InvalidDay => ("invalid_day", "the day of the event is not a date"),
    /// The message does not carry what `--identity` names.
    IdentityMissing =>
        ("identity_missing", "the message does not carry the identity that --identity names"),
    /// The key is none that carries its own time, under `--identity-time`.
    IdentityWithoutTime(kind: KeyTime) =>
        ("identity_without_time", "the identity that --identity names is not a {}", kind.name()),
    /// The time in the key is more than a day after the message was sent.
    IdentityAhead =>
        ("identity_ahead", "the time in the identity is more than a day after the message was sent"),
    /// The database refused the row. Made by the loader.
    RefusedByDatabase {
        /// PostgreSQL's five-character code.
        sqlstate: String,
        /// The constraint that the row breaks, where PostgreSQL names one.
        constraint: Option<String>,
    } => (
        "refused_by_database",
        "the database refused the row with SQLSTATE {sqlstate}{}",
        breaking(constraint.as_deref())
    ),
    /// Another login was loaded under the same key. Made by the loader.
    Contradicts {
        /// The message that was loaded.
        owner: MessageHash,
    } => ("contradicts", "another login was loaded under the same key, from the message {owner}"),
    /// The message was sent before the time since which the tables remember all messages, or its key carries such a time, so that
    /// nobody can say whether it was loaded. Made by the loader.
    OlderThanMemory => (
        "older_than_memory",
        "the message or its key is older than what the tables remember: it may have been loaded before"
    ),
    /// The message says that an operator sent it back to its queue, and cannot be believed. Made by the loader.
    NotRequeued => (
        "not_requeued",
        "the message says that it was sent back to its queue, but this keyring did not sign that, or it was changed since"
    ),
    /// The queue moved the message to its dead-letter queue, from which it was imported; its body is right. Made by the import.
    Redriven => (
        "redriven",
        "the queue gave the message up and moved it to its dead-letter queue, although it is a login"
    ),
}

impl Rejection {
    /// The field of the login that is wrong; none where that is no single one: the column `dead_letters.field`.
    pub fn field(&self) -> Option<&'static Field> {
        match self {
            Self::MissingField(field)
            | Self::NullField(field)
            | Self::WrongType(field)
            | Self::FieldTooLong(field)
            | Self::EmptyField(field)
            | Self::NulCharacter(field)
            | Self::InvalidIp(field)
            | Self::InvalidVersion(field)
            | Self::VersionPreRelease(field)
            | Self::VersionPartTooLarge(field)
            | Self::InvalidMask(field) => Some(field),
            Self::NumberOutOfRange(field) | Self::DuplicateKey(field) | Self::LoneSurrogate(field) => *field,
            Self::EmptyBody
            | Self::InvalidUtf8
            | Self::ByteOrderMark
            | Self::NestedTooDeep
            | Self::InvalidJson
            | Self::TruncatedJson
            | Self::TrailingData
            | Self::ArrayBody
            | Self::NotAnObject
            | Self::NotAnEvent
            | Self::InvalidDay
            | Self::IdentityMissing
            | Self::IdentityWithoutTime(_)
            | Self::IdentityAhead
            | Self::RefusedByDatabase { .. }
            | Self::Contradicts { .. }
            | Self::OlderThanMemory
            | Self::NotRequeued
            | Self::Redriven => None,
        }
    }
}

impl std::error::Error for Rejection {}

impl From<NoKey> for Rejection {
    fn from(no_key: NoKey) -> Self {
        match no_key {
            NoKey::Missing => Self::IdentityMissing,
            NoKey::WithoutTime(kind) => Self::IdentityWithoutTime(kind),
            NoKey::Ahead => Self::IdentityAhead,
        }
    }
}

fn place(field: Option<&Field>) -> String {
    field.map_or_else(|| "the body".to_owned(), |field| format!("the field {field}"))
}

fn key(field: Option<&Field>) -> String {
    field.map_or_else(|| "a key that is not a field of a login".to_owned(), |field| format!("the field {field}"))
}

fn limit(field: &Field) -> String {
    field.limit().map_or_else(|| "its limit".to_owned(), |limit| limit.to_string())
}

fn breaking(constraint: Option<&str>) -> String {
    constraint.map(|name| format!(", constraint {name}")).unwrap_or_default()
}
