//! Addresses: what is asked for in one, and how one is written.

use std::ffi::OsStr;
use std::fmt::Write as _;

use crate::config::{Kind, Setting};

/// What stands behind the `?`, name by name; what was not understood is noted.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
    wrong: Vec<Wrong>,
}

/// Something that was asked for and is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Its name.
    pub(super) name: String,
    /// What was given.
    pub(super) given: String,
    /// What is wrong with it, as it goes on after what was given.
    pub(super) problem: String,
    /// What to do.
    pub(super) remedy: String,
}

impl Asked {
    /// An empty field of a form asks for nothing.
    pub(super) fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let pairs = pairs.into_iter().map(|(name, value)| (name, value.trim().to_owned()));
        Self { pairs: pairs.filter(|(_, value)| !value.is_empty()).collect(), ..Self::default() }
    }

    /// What was given under this name, the first time.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        self.pairs.iter().find(|(its_name, _)| its_name == name).map(|(_, value)| value.clone())
    }

    /// The same, read as the command line reads it.
    pub(super) fn read<K: Kind>(&mut self, name: &'static str, setting: &Setting<K>) -> Option<K::Value> {
        let given = self.text(name)?;
        match setting.kind.read(OsStr::new(&given)) {
            Ok(value) => Some(value),
            Err(unfit) => {
                self.wrong.push(Wrong { name: name.to_owned(), given, problem: unfit.problem, remedy: unfit.remedy });
                None
            }
        }
    }

    /// Notes that what was given under this name does not do.
    pub(super) fn note(&mut self, name: &str, problem: &str, remedy: &str) {
        let given = self.pairs.iter().find(|(its_name, _)| its_name == name).map(|(_, value)| value.clone());
        self.wrong.push(Wrong {
            name: name.to_owned(),
            given: given.unwrap_or_default(),
            problem: problem.to_owned(),
            remedy: remedy.to_owned(),
        });
    }

    /// What was asked for and understood, in the order of its names.
    pub(super) fn given(&self) -> Vec<(&'static str, String)> {
        let given = |name: &&'static str| {
            let value = self.pairs.iter().find(|(its_name, _)| its_name == name)?;
            Some((*name, value.1.clone()))
        };
        self.known.iter().filter_map(given).collect()
    }

    /// All that was not understood: what nobody asked for is a slip in a name, and would read as good news.
    pub(super) fn wrong(mut self) -> Vec<Wrong> {
        let unknown = self.pairs.iter().filter(|(name, _)| !self.known.contains(&&**name));
        let all = self.known.join(", ");
        let remedy = if all.is_empty() { "leave it out".to_owned() } else { format!("known here are {all}") };
        let unknown: Vec<Wrong> = unknown
            .map(|(name, given)| Wrong {
                name: name.clone(),
                given: given.clone(),
                problem: "is not known here".to_owned(),
                remedy: remedy.clone(),
            })
            .collect();
        self.wrong.extend(unknown);
        self.wrong
    }
}

/// A path with what is asked for.
pub(super) fn link<N: AsRef<str>, V: AsRef<str>>(path: &str, pairs: impl IntoIterator<Item = (N, V)>) -> String {
    let mut link = path.to_owned();
    for (name, value) in pairs {
        link.push(if link.contains('?') { '&' } else { '?' });
        link += &encoded(name.as_ref());
        link.push('=');
        link += &encoded(value.as_ref());
    }
    link
}

/// A text as it may stand in a query (RFC 3986: what is not unreserved is percent-encoded).
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' => {
                encoded.push(byte.into())
            }
            _ => write!(encoded, "%{byte:02X}").unwrap_or_default(),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::rows;

    fn asked(pairs: &[(&str, &str)]) -> Asked {
        Asked::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn what_is_not_understood_is_said_and_empty_fields_ask_for_nothing() {
        let mut query = asked(&[("code", "invalid_pi"), ("field", ""), ("stauts", "open")]);
        assert_eq!(query.read("code", &rows::CODE), None);
        assert_eq!(query.read("field", &rows::WRONG_FIELD), None);
        let wrong = query.wrong();
        assert!(wrong[0].problem.contains("did you mean \"invalid_ip\"?"), "{wrong:?}");
        assert_eq!((wrong[1].name.as_str(), &*wrong[1].remedy), ("stauts", "known here are code, field"));
    }

    #[test]
    fn a_link_asks_for_what_was_given() {
        let mut query = asked(&[("by", "ada & eve"), ("since", "2026-01-31T08:00:00+01:00")]);
        assert_eq!((query.text("since").is_some(), query.text("by").is_some()), (true, true));
        assert_eq!(link("/actions", query.given()), "/actions?since=2026-01-31T08:00:00%2B01:00&by=ada%20%26%20eve");
    }
}
