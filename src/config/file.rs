//! The file of settings: TOML, one key a setting.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use toml::de::DeTable;
use toml::de::DeValue;

use super::rows::{self, CONFIG};
use super::{Mistakes, Row, values};
use crate::keyring::is_private;

/// The settings that a file holds, as text by key. It may hold secrets, and cannot be printed.
#[derive(Clone)]
pub(super) struct ConfigFile {
    path: PathBuf,
    values: HashMap<String, OsString>,
    is_private: bool,
}

impl ConfigFile {
    /// Reads a file; what is wrong with it is noted, by line and key, never with what it holds.
    pub(super) fn load(path: PathBuf, mistakes: &mut Mistakes) -> Option<Self> {
        let name = (&CONFIG as &dyn Row).name();
        let cannot = |error| format!("{} cannot be read: {error}", path.display());
        let (is_private, text) = match fs::metadata(&path).and_then(|about| Ok((about, fs::read_to_string(&path)?))) {
            Ok((about, text)) => (is_private(&path, about.permissions().mode()), text),
            Err(error) => return mistakes.note(name, cannot(error), "name a file in TOML that can be read"),
        };
        match DeTable::parse(&text) {
            Ok(table) => {
                let values = table.get_ref().iter().filter_map(|(key, value)| {
                    let (key, value) = (key.get_ref(), value.get_ref());
                    Some((key.to_string(), OsString::from(value_of(key, value, &path, mistakes)?)))
                });
                let values = values.collect();
                Some(Self { path, values, is_private })
            }
            Err(error) => {
                let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
                let line = before.matches('\n').count() + 1;
                let problem = format!("line {line} of {} is not TOML: {}", path.display(), error.message());
                mistakes.note(name, problem, "write each setting as `key = \"value\"`")
            }
        }
    }

    /// The text of a setting.
    pub(super) fn text(&self, row: &dyn Row) -> Option<&OsString> {
        self.values.get(&row.key()?).filter(|text| !text.is_empty())
    }

    /// How a message names a setting of the file.
    pub(super) fn name_of(&self, row: &dyn Row) -> String {
        name_in(&row.key().unwrap_or_default(), &self.path)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nobody but its owner may read it.
    pub(super) fn is_private(&self) -> bool {
        self.is_private
    }
}

fn name_in(key: &str, path: &Path) -> String {
    format!("{key} in {}", path.display())
}

/// A value as a variable would hold it.
fn value_of(key: &str, value: &DeValue<'_>, path: &Path, mistakes: &mut Mistakes) -> Option<String> {
    let name = || name_in(key, path);
    let known: Vec<String> = rows::settings().filter_map(|row| row.key()).filter(|key| key != "config").collect();
    if !known.iter().any(|known| known == key) {
        let remedy = match values::nearest(&key.replace('-', "_"), known.iter().map(String::as_str)) {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => "`turnstile config show` lists every key".to_owned(),
        };
        return mistakes.note(name(), "is not a setting", remedy);
    }
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Boolean(is_on) => Some(is_on.to_string()),
        DeValue::Array(values) => {
            let texts = values.iter().map(|value| value.get_ref().as_str().map(str::to_owned));
            let texts: Option<Vec<String>> = texts.collect();
            texts.map(|texts| texts.join(",")).or_else(|| {
                mistakes.note(name(), "is a list of something else than texts", "write each between quotation marks")
            })
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => mistakes.note(
            name(),
            "is neither text nor a whole number nor true or false",
            "write it between quotation marks",
        ),
    }
}
