//! In which schemas the tables stand. Statements name them: nothing is found by a search path, which others may write into.

use std::fmt;
use std::str::FromStr;

/// The schemas of Turnstile's own tables (`--schema`) and of `user_logins` (`--logins-schema`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schemas {
    /// Where everything stands that is Turnstile's own.
    pub own: Schema,
    /// Where `user_logins` stands, which others query.
    pub logins: Schema,
}

impl Default for Schemas {
    fn default() -> Self {
        Self { own: Schema("turnstile".to_owned()), logins: Schema("public".to_owned()) }
    }
}

/// The name of a schema. It prints as statements write it: quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema(String);

impl Schema {
    /// The name as PostgreSQL's catalogues hold it.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

impl FromStr for Schema {
    type Err = NoSchema;

    fn from_str(text: &str) -> Result<Self, NoSchema> {
        let starts = text.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
        let goes_on = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let fits = text.len() <= 63 && text.bytes().all(goes_on) && !text.starts_with("pg_");
        if starts && fits { Ok(Self(text.to_owned())) } else { Err(NoSchema) }
    }
}

/// A text does not name a schema that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not 1 to 63 small letters, digits and underscores, or begins with a digit or with pg_")]
pub struct NoSchema;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_has_a_plain_name_and_prints_quoted() {
        for (text, fits) in [
            ("turnstile", true),
            ("_t1", true),
            (&"t".repeat(63), true),
            (&"t".repeat(64), false),
            ("", false),
            ("1t", false),
            ("Turnstile", false),
            ("a\"b", false),
            ("a.b", false),
            ("pg_temp", false),
        ] {
            assert_eq!(text.parse::<Schema>().is_ok(), fits, "{text}");
        }
        assert_eq!("user".parse::<Schema>().unwrap().to_string(), "\"user\"");
    }
}
