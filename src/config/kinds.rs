//! Kinds of settings: how a value is written, within which limits, and what is wrong with one that does not fit.

use std::ffi::OsStr;
use std::fmt::Display;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::table::leaving::Keep;

use clap::ValueHint;

use super::values::{self, NoValue};
use crate::database::address::DatabaseAddress;
use crate::sink::{NoTarget, Target};

/// How a value is written, and what it means.
pub trait Kind: Sync {
    /// What it means.
    type Value;

    /// What stands for it in a help text; none: it is a switch.
    fn value_name(&self) -> Option<&'static str>;

    /// Reads a value that is not empty.
    ///
    /// # Errors
    ///
    /// [`Unfit`]
    fn read(&self, text: &OsStr) -> Result<Self::Value, Unfit>;

    /// The least and the most, as they are typed.
    fn limits(&self) -> Option<(String, String)> {
        None
    }

    /// Every word that it can be, or begin with; empty: any.
    fn words(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether it can be given several times; one text joins them with commas.
    fn repeats(&self) -> bool {
        false
    }

    /// The letter that stands for its flag.
    fn letter(&self) -> Option<char> {
        None
    }

    /// What a shell completes.
    fn hint(&self) -> ValueHint {
        ValueHint::Other
    }

    /// A value as it may be shown, where that is not all of it.
    fn shown(&self, _text: &OsStr) -> Option<String> {
        None
    }
}

/// A value does not fit its setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// What is wrong, as it goes on after the value: `is not a whole number`.
    pub problem: String,
    /// What to do.
    pub remedy: String,
    /// Whether the value may be shown.
    pub is_shown: bool,
}

impl Unfit {
    fn new(problem: impl Display, remedy: impl Display) -> Self {
        Self { problem: problem.to_string(), remedy: remedy.to_string(), is_shown: true }
    }

    /// The same, whose value is not shown.
    pub(super) fn hidden(problem: impl Display, remedy: impl Display) -> Self {
        Self { is_shown: false, ..Self::new(problem, remedy) }
    }
}

/// On or off. As text it is on unless it says `0`, `false`, `f`, `no`, `n`, `off` or nothing.
pub struct Switch;

impl Kind for Switch {
    type Value = bool;

    fn value_name(&self) -> Option<&'static str> {
        None
    }

    fn read(&self, text: &OsStr) -> Result<bool, Unfit> {
        let text = text.to_string_lossy().to_lowercase();
        Ok(!["", "0", "false", "f", "no", "n", "off"].contains(&text.trim()))
    }
}

/// A switch that can be given as one letter.
pub struct Lettered(pub char);

impl Kind for Lettered {
    type Value = bool;

    fn value_name(&self) -> Option<&'static str> {
        None
    }

    fn read(&self, text: &OsStr) -> Result<bool, Unfit> {
        Switch.read(text)
    }

    fn letter(&self) -> Option<char> {
        Some(self.0)
    }
}

/// A whole number within limits.
pub struct Whole<T>(pub RangeInclusive<T>);

impl<T: FromStr + PartialOrd + Display + Copy + Sync> Kind for Whole<T> {
    type Value = T;

    fn value_name(&self) -> Option<&'static str> {
        Some("N")
    }

    fn read(&self, text: &OsStr) -> Result<T, Unfit> {
        let remedy = format!("give a whole number from {} to {}", self.0.start(), self.0.end());
        of_number(values::whole(utf8(text)?, &self.0), remedy)
    }

    fn limits(&self) -> Option<(String, String)> {
        Some((self.0.start().to_string(), self.0.end().to_string()))
    }
}

/// A length of time with its unit, within limits.
pub struct Length(pub RangeInclusive<Duration>);

impl Kind for Length {
    type Value = Duration;

    fn value_name(&self) -> Option<&'static str> {
        Some("DURATION")
    }

    fn read(&self, text: &OsStr) -> Result<Duration, Unfit> {
        let [shortest, longest] = [self.0.start(), self.0.end()].map(|length| values::duration_text(*length));
        let remedy = format!("give a time with its unit (ms, s, m, h, d) from {shortest} to {longest}");
        of_number(values::duration(utf8(text)?, &self.0), remedy)
    }

    fn limits(&self) -> Option<(String, String)> {
        Some((values::duration_text(*self.0.start()), values::duration_text(*self.0.end())))
    }
}

/// A length of time in the calendar's units.
pub struct Span;

impl Kind for Span {
    type Value = Keep;

    fn value_name(&self) -> Option<&'static str> {
        Some("SPAN")
    }

    fn read(&self, text: &OsStr) -> Result<Keep, Unfit> {
        let remedy = "give a number of months, years or days, such as 13months, 2years or 400d, from 28d to 100years";
        of_number(values::span(utf8(text)?), remedy.to_owned())
    }
}

/// A number of bytes with its unit, within limits.
pub struct Size(pub RangeInclusive<usize>);

impl Kind for Size {
    type Value = usize;

    fn value_name(&self) -> Option<&'static str> {
        Some("BYTES")
    }

    fn read(&self, text: &OsStr) -> Result<usize, Unfit> {
        let [least, most] = [self.0.start(), self.0.end()].map(|size| values::bytes_text(*size));
        let remedy = format!("give a size with its unit (B, KiB, MiB, GiB) from {least} to {most}");
        of_number(values::bytes(utf8(text)?, &self.0), remedy)
    }

    fn limits(&self) -> Option<(String, String)> {
        Some((values::bytes_text(*self.0.start()), values::bytes_text(*self.0.end())))
    }
}

fn of_number<T>(read: Result<T, NoValue>, remedy: String) -> Result<T, Unfit> {
    read.map_err(|problem| Unfit::new(problem, remedy))
}

/// One word of a closed set.
pub struct Word<T> {
    name: &'static str,
    words: &'static [&'static str],
    means: PhantomData<fn() -> T>,
}

impl<T> Word<T> {
    /// One of `words`, each of which `T` reads.
    pub const fn of(name: &'static str, words: &'static [&'static str]) -> Self {
        Self { name, words, means: PhantomData }
    }
}

impl<T: FromStr> Kind for Word<T> {
    type Value = T;

    fn value_name(&self) -> Option<&'static str> {
        Some(self.name)
    }

    fn read(&self, text: &OsStr) -> Result<T, Unfit> {
        let text = utf8(text)?;
        let known = self.words.iter().find(|word| **word == text).and_then(|word| word.parse().ok());
        known.ok_or_else(|| {
            let problem = match values::nearest(text, self.words.iter().copied()) {
                Some(nearest) => format!("is not known: did you mean {nearest:?}?"),
                None => "is not known".to_owned(),
            };
            Unfit::new(problem, format!("choose one of {}", self.words.join(", ")))
        })
    }

    fn words(&self) -> &'static [&'static str] {
        self.words
    }
}

/// What has a form of its own.
pub struct Text<T> {
    name: &'static str,
    remedy: &'static str,
    words: &'static [&'static str],
    is_shown: bool,
    read: fn(&str) -> Result<T, String>,
}

impl<T> Text<T> {
    /// A value that `read` reads; `remedy` says what to do about one that it cannot read.
    pub const fn of(name: &'static str, remedy: &'static str, read: fn(&str) -> Result<T, String>) -> Self {
        Self { name, remedy, words: &[], is_shown: true, read }
    }

    /// The same, beginning with one of these words.
    pub const fn beginning(self, words: &'static [&'static str]) -> Self {
        Self { words, ..self }
    }

    /// The same, never shown.
    pub const fn hidden(self) -> Self {
        Self { is_shown: false, ..self }
    }
}

/// Reads what its type reads.
pub(super) fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse::<T>().map_err(|problem| problem.to_string())
}

impl<T> Kind for Text<T> {
    type Value = T;

    fn value_name(&self) -> Option<&'static str> {
        Some(self.name)
    }

    fn read(&self, text: &OsStr) -> Result<T, Unfit> {
        let read = utf8(text).and_then(|text| (self.read)(text).map_err(|problem| Unfit::new(problem, self.remedy)));
        read.map_err(|unfit| Unfit { is_shown: self.is_shown, ..unfit })
    }

    fn words(&self) -> &'static [&'static str] {
        self.words
    }
}

/// A file.
pub struct FilePath;

impl Kind for FilePath {
    type Value = PathBuf;

    fn value_name(&self) -> Option<&'static str> {
        Some("FILE")
    }

    fn read(&self, text: &OsStr) -> Result<PathBuf, Unfit> {
        Ok(PathBuf::from(text))
    }

    fn hint(&self) -> ValueHint {
        ValueHint::FilePath
    }
}

/// The file of a keyring. The keyring's text in the path's place is refused, and never shown.
pub struct KeyringFile;

impl Kind for KeyringFile {
    type Value = PathBuf;

    fn value_name(&self) -> Option<&'static str> {
        Some("FILE")
    }

    fn read(&self, text: &OsStr) -> Result<PathBuf, Unfit> {
        let looks_like_keys =
            text.to_string_lossy().contains("turnstile-keyring v") || text.as_encoded_bytes().contains(&b'\n');
        match looks_like_keys {
            false => Ok(PathBuf::from(text)),
            true => Err(Unfit::hidden(
                "holds the text of a keyring, and not the path of its file",
                "name the file, or put the text into the variable TURNSTILE_KEYS",
            )),
        }
    }

    fn hint(&self) -> ValueHint {
        ValueHint::FilePath
    }
}

/// Where events are carried to. What may be a secret in it is not shown.
pub struct SinkTarget;

impl Kind for SinkTarget {
    type Value = Target;

    fn value_name(&self) -> Option<&'static str> {
        Some("TARGET")
    }

    fn read(&self, text: &OsStr) -> Result<Target, Unfit> {
        const REMEDY: &str =
            "give sqs:QUEUE, with the queue's name or URL, sns:ARN of a topic, https://HOST/PATH, or stdout:";
        let text = utf8(text)?;
        match text.parse() {
            Ok(target) => Ok(target),
            Err(problem @ NoTarget::HoldsUser) => {
                Err(Unfit::hidden(problem, "leave it out, and name the file of a token by --http-bearer-file"))
            }
            Err(problem @ NoTarget::Unknown) if text.contains(['@', '?']) => Err(Unfit::hidden(problem, REMEDY)),
            Err(problem @ NoTarget::Unknown) => Err(Unfit::new(problem, REMEDY)),
        }
    }

    fn shown(&self, text: &OsStr) -> Option<String> {
        self.read(text).ok().map(|target| target.to_string())
    }
}

/// Where a database is. It may hold a password, and is never shown.
pub struct DatabaseUrl;

impl Kind for DatabaseUrl {
    type Value = DatabaseAddress;

    fn value_name(&self) -> Option<&'static str> {
        Some("URL")
    }

    fn read(&self, text: &OsStr) -> Result<DatabaseAddress, Unfit> {
        let unfit = |unfit: Unfit| Unfit { is_shown: false, ..unfit };
        let text = utf8(text).map_err(unfit)?;
        DatabaseAddress::parse(text).map_err(|error| Unfit::hidden(&error, error.remedy()))
    }
}

pub(in crate::config) fn utf8(text: &OsStr) -> Result<&str, Unfit> {
    text.to_str().ok_or_else(|| Unfit::new("is not UTF-8", "give a text in UTF-8"))
}
