//! What was given, and where: the flags of the call, the environment.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::Mistakes;
use super::kinds::{Kind, Switch};
use super::setting::{Default, Row, Setting};

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// The environment.
    Variable,
    /// The setting's own default.
    Default,
}

/// Everything that was given to a command. A flag wins over a variable; what is empty is not set.
///
/// It holds secrets, and cannot be printed.
#[derive(Clone, Default)]
pub struct Given {
    flags: HashMap<String, OsString>,
    variables: HashMap<OsString, OsString>,
}

impl Given {
    /// What was typed, and the environment.
    pub fn new(typed: &ArgMatches, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let is_typed = |id: &&clap::Id| typed.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        let flags = typed.ids().filter(is_typed).filter_map(|id| {
            let values: Vec<&OsStr> = typed.try_get_raw(id.as_str()).ok()??.collect();
            Some((id.to_string(), values.join(OsStr::new(","))))
        });
        Self { flags: flags.collect(), variables: variables.into_iter().collect() }
    }

    /// The text of a setting, and where it comes from; none where it is neither given nor has a default.
    pub fn text(&self, row: &dyn Row) -> Option<(&OsStr, Origin)> {
        let flag = row.flag().and_then(|flag| self.flags.get(flag)).map(|text| (text.as_os_str(), Origin::Flag));
        let set = |(text, _): &(&OsStr, Origin)| !text.is_empty();
        flag.filter(set)
            .or_else(|| self.variable(row.variable()?).map(|text| (text, Origin::Variable)))
            .or_else(|| self.default_of(row).map(|text| (OsStr::new(text), Origin::Default)))
    }

    /// A variable that is set to something.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        let text = self.variables.get(OsStr::new(name)).map(OsString::as_os_str);
        text.filter(|text| !text.is_empty())
    }

    /// Whether somebody has set it.
    pub fn has(&self, row: &dyn Row) -> bool {
        self.text(row).is_some_and(|(_, origin)| origin != Origin::Default)
    }

    /// Whether a switch is on.
    pub fn is_on(&self, switch: &Setting<Switch>) -> bool {
        self.text(switch).is_some_and(|(text, _)| Switch.read(text).unwrap_or_default())
    }

    /// Reads a setting that must have a value; what is wrong with it is noted.
    pub fn read<K: Kind>(&self, setting: &'static Setting<K>, mistakes: &mut Mistakes) -> Option<K::Value> {
        match self.optional(setting, mistakes)? {
            Some(value) => Some(value),
            None => mistakes.note((setting as &dyn Row).name(), "is not set", "set it"),
        }
    }

    /// Reads a setting that may have no value; what is wrong with it is noted.
    pub fn optional<K: Kind>(&self, setting: &'static Setting<K>, mistakes: &mut Mistakes) -> Option<Option<K::Value>> {
        let Some((text, _)) = self.text(setting) else { return Some(None) };
        match setting.kind.read(text) {
            Ok(value) => Some(Some(value)),
            Err(unfit) => mistakes.unfit(self.name_of(setting), text, &unfit),
        }
    }

    /// How a message names a setting.
    pub fn name_of(&self, row: &dyn Row) -> String {
        row.name()
    }

    fn default_of(&self, row: &dyn Row) -> Option<&'static str> {
        match row.default() {
            Default::Unset | Default::Found(_) => None,
            Default::Is(text) => Some(text),
            Default::Unless { usually, switch, then } => Some(if self.is_on(switch) { then } else { usually }),
        }
    }
}
