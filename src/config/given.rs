//! What was given, and where: the flags of the call, the environment, a file.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::ArgMatches;
use clap::parser::ValueSource;
use tracing::level_filters::LevelFilter;

use super::file::ConfigFile;
use super::kinds::{Kind, Switch};
use super::setting::{Default, Row, Setting};
use super::{Mistakes, rows, values};
use crate::failpoint;
use crate::message::Identity;

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// The environment.
    Variable,
    /// The file that `--config` names.
    File,
    /// The setting's own default.
    Default,
}

/// Everything that was given to a command. A flag wins over a variable, a variable over the file; what is empty is not set.
///
/// It holds secrets, and cannot be printed.
#[derive(Clone, std::default::Default)]
pub struct Given {
    flags: HashMap<String, OsString>,
    variables: HashMap<OsString, OsString>,
    file: Option<ConfigFile>,
    found: Mistakes,
}

impl Given {
    /// What was typed, the environment, and the file that one of them names.
    pub fn new(typed: &ArgMatches, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let is_typed = |id: &&clap::Id| typed.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        let flags = typed.ids().filter(is_typed).filter_map(|id| {
            let values: Vec<&OsStr> = typed.try_get_raw(id.as_str()).ok()??.collect();
            Some((id.to_string(), values.join(OsStr::new(","))))
        });
        let (flags, variables) = (flags.collect(), variables.into_iter().collect());
        let mut given = Self { flags, variables, ..Self::default() };
        let mut found = Mistakes::default();
        if let Some(path) = given.optional(&rows::CONFIG, &mut found).flatten() {
            given.file = ConfigFile::load(path, &mut found);
        }
        given.found = found;
        given
    }

    /// What is wrong already, whatever the command: with the file, and with what every command takes. A command notes its
    /// own mistakes after these.
    pub fn mistakes(&self) -> Mistakes {
        let mut mistakes = self.found.clone();
        self.log_level(&mut mistakes);
        self.optional(&rows::LOG_FORMAT, &mut mistakes);
        self.optional(&rows::COLOR, &mut mistakes);
        mistakes
    }

    /// The text of a setting, and where it comes from; none where it is neither given nor has a default.
    pub fn text(&self, row: &dyn Row) -> Option<(&OsStr, Origin)> {
        let flag = row.flag().and_then(|flag| self.flags.get(flag)).map(|text| (text.as_os_str(), Origin::Flag));
        let is_set = |(text, _): &(&OsStr, Origin)| !text.is_empty();
        flag.filter(is_set)
            .or_else(|| self.variable(row.variable()?).map(|text| (text, Origin::Variable)))
            .or_else(|| self.file.as_ref()?.text(row).map(|text| (text.as_os_str(), Origin::File)))
            .or_else(|| self.default_of(row).map(|text| (OsStr::new(text), Origin::Default)))
    }

    /// A variable that is set to something.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        let text = self.variables.get(OsStr::new(name)).map(OsString::as_os_str);
        text.filter(|text| !text.is_empty())
    }

    /// Whether a variable is there, and empty.
    pub fn is_empty_variable(&self, name: &str) -> bool {
        self.variables.get(OsStr::new(name)).is_some_and(|text| text.is_empty())
    }

    /// Whether somebody has set it.
    pub fn has(&self, row: &dyn Row) -> bool {
        self.text(row).is_some_and(|(_, origin)| origin != Origin::Default)
    }

    /// Whether a switch is on.
    pub fn is_on(&self, switch: &Setting<Switch>) -> bool {
        self.text(switch).is_some_and(|(text, _)| Switch.read(text).unwrap_or_default())
    }

    /// What is logged; what is wrong with it is noted.
    pub fn log_level(&self, mistakes: &mut Mistakes) -> Option<LevelFilter> {
        let is_typed = |row: &dyn Row| matches!(self.text(row), Some((_, Origin::Flag)));
        match (is_typed(&rows::QUIET), is_typed(&rows::VERBOSE), is_typed(&rows::LOG_LEVEL)) {
            (false, false, _) => self.read(&rows::LOG_LEVEL, mistakes),
            (true, false, false) => Some(LevelFilter::WARN),
            (false, true, false) => Some(LevelFilter::DEBUG),
            _ => mistakes.note("--log-level, --quiet and --verbose", "exclude each other", "give one of them"),
        }
    }

    /// By which key a login is known, and how that carries its time; what is wrong with it is noted.
    pub fn identity(&self, mistakes: &mut Mistakes) -> Option<Identity> {
        let identity = self.read(&rows::IDENTITY, mistakes);
        let Some(time) = self.optional(&rows::IDENTITY_TIME, mistakes)? else { return identity };
        let identity = identity?;
        let problem = format!("is of keys that a producer gives, and --identity is {identity}");
        let remedy = "give --identity field:/json/pointer or attribute:NAME, or leave this out";
        identity.with_key_time(time).or_else(|| mistakes.note(self.name_of(&rows::IDENTITY_TIME), problem, remedy))
    }

    /// Reads a setting that must have a value; what is wrong with it is noted.
    pub fn read<K: Kind>(&self, setting: &'static Setting<K>, mistakes: &mut Mistakes) -> Option<K::Value> {
        match self.optional(setting, mistakes)? {
            Some(value) => Some(value),
            None => mistakes.note(self.name_of(setting), "is not set", "set it"),
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

    /// How a message names a setting: by its flag and variable, or by its key where the file sets it.
    pub fn name_of(&self, row: &dyn Row) -> String {
        match (&self.file, self.text(row)) {
            (Some(file), Some((_, Origin::File))) => file.name_of(row),
            (_, _) => row.name(),
        }
    }

    /// The file of settings.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(ConfigFile::path)
    }

    /// Notes that a secret stands in a file that others may read.
    pub(super) fn keep_secret(&self, row: &dyn Row, mistakes: &mut Mistakes) -> Option<()> {
        match (&self.file, self.text(row)) {
            (Some(file), Some((_, Origin::File))) if !file.is_private() => {
                let remedy = format!("chmod 600 {}", file.path().display());
                mistakes.note(self.name_of(row), "is a secret, and others may read the file", remedy)
            }
            (_, _) => Some(()),
        }
    }

    /// What is odd and no mistake: variables that set nothing, and settings of which only one counts.
    pub fn oddities(&self) -> Vec<String> {
        let names = self.variables.keys().filter_map(|name| name.to_str());
        let mut unknown: Vec<&str> = names.filter(|name| name.starts_with("TURNSTILE_") && !is_known(name)).collect();
        unknown.sort_unstable();
        let known = || rows::settings().filter_map(|row| row.variable());
        let told = unknown.into_iter().map(|name| match values::nearest(name, known()) {
            Some(nearest) => format!("the variable {name} is not a setting: did you mean {nearest}?"),
            None => format!("the variable {name} is not a setting"),
        });
        let both = self.has(&rows::KEYRING) && self.has(&rows::KEYS);
        let both = both.then(|| {
            let [file, text] = [self.name_of(&rows::KEYRING), self.name_of(&rows::KEYS)];
            format!("both {file} and {text} are set: the file is used, and the text is not")
        });
        told.chain(both).collect()
    }

    fn default_of(&self, row: &dyn Row) -> Option<&'static str> {
        match row.default() {
            Default::Unset | Default::Found(_) => None,
            Default::Is(text) => Some(text),
            Default::Unless { usually, switch, then } => Some(if self.is_on(switch) { then } else { usually }),
        }
    }
}

/// Whether a variable is a setting, or is known for another reason.
fn is_known(name: &str) -> bool {
    // Tests and builds read these.
    const OTHERS: [&str; 4] =
        ["TURNSTILE_PG_BIN", "TURNSTILE_CI_LIMITED", "TURNSTILE_LAST_RELEASE", "TURNSTILE_COMMIT"];
    // Kubernetes sets TURNSTILE_PORT, TURNSTILE_SERVICE_HOST and the like for a service of this name.
    let of_kubernetes = name.contains("_SERVICE_") || name.ends_with("_PORT") || name.contains("_PORT_");
    rows::settings().any(|row| row.variable() == Some(name))
        || OTHERS.contains(&name)
        || failpoint::VARIABLES.contains(&name)
        || name.starts_with("TURNSTILE_TEST_")
        || of_kubernetes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn given(arguments: &[&str], variables: &[(&str, &str)]) -> Given {
        let typed = crate::cli::command().get_matches_from([&["turnstile", "run"], arguments].concat());
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Given::new(typed.subcommand().unwrap().1, variables)
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn a_flag_wins_over_a_variable_and_a_variable_over_the_file_and_what_is_empty_is_not_set() {
        let file = file("lanes = 5\nlinger = \"1s\"\nuntil_empty = true\nqueue = \"\"\n");
        let path = file.path().to_str().unwrap();
        let lanes = |arguments: &[&str], variables: &[(&str, &str)]| {
            let given = given(arguments, variables);
            given.text(&rows::LANES).map(|(text, origin)| (text.to_str().unwrap().to_owned(), origin)).unwrap()
        };
        let (config, variable) = (("TURNSTILE_CONFIG", path), ("TURNSTILE_LANES", "4"));
        assert_eq!(lanes(&["--lanes", "3"], &[config, variable]), ("3".to_owned(), Origin::Flag));
        assert_eq!(lanes(&["--lanes", ""], &[config, variable]), ("4".to_owned(), Origin::Variable));
        assert_eq!(lanes(&["--config", path], &[("TURNSTILE_LANES", "")]), ("5".to_owned(), Origin::File));
        assert_eq!(lanes(&[], &[]), ("2".to_owned(), Origin::Default));
        let given = given(&[], &[config]);
        assert!(given.is_on(&rows::UNTIL_EMPTY) && !given.has(&rows::QUEUE));
        assert_eq!(given.text(&rows::WAIT).unwrap().0, "1s", "with --until-empty");
    }

    fn told(mistakes: Mistakes) -> String {
        let told = mistakes.into_iter().map(|mistake| format!("{}\n    {}", mistake.what(), mistake.remedy));
        told.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_file_with_an_unknown_key_a_wrong_value_or_no_toml_is_told_by_key_and_line() {
        for (text, expected) in [
            ("lanse = 3", "lanse in FILE: is not a setting\n    did you mean lanes?"),
            ("batch-size = 3", "batch-size in FILE: is not a setting\n    did you mean batch_size?"),
            ("lanes = 1.5", "lanes in FILE: is neither text"),
            ("log_level = \"loud\"", "log_level in FILE: \"loud\" is not known\n    choose one of error"),
            ("\nlanes = sesame!", "line 2 of FILE is not TOML"),
        ] {
            let file = file(text);
            let path = file.path().to_str().unwrap();
            let mistakes = told(given(&["--config", path], &[]).mistakes());
            assert!(mistakes.replace(path, "FILE").contains(expected), "{text}: {mistakes}");
            assert!(!mistakes.contains("sesame"), "{mistakes}");
        }
    }

    #[test]
    fn a_secret_in_a_file_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = file("database_url = \"postgres://u:sesame@localhost/d\"\n");
        let set = |mode| file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
        let read = || {
            let mut mistakes = Mistakes::default();
            let address = given(&["--config", file.path().to_str().unwrap()], &[]).database(1, &mut mistakes);
            (address.is_some(), told(mistakes))
        };
        set(0o640);
        let (is_read, mistakes) = read();
        assert!(!is_read && mistakes.contains("others may read the file\n    chmod 600"), "{mistakes}");
        assert!(!mistakes.contains("sesame"), "{mistakes}");
        set(0o600);
        assert_eq!(read(), (true, String::new()));
    }

    #[test]
    fn a_variable_that_sets_nothing_is_told_and_one_of_others_is_not() {
        let odd = |name: &str| given(&[], &[(name, "1")]).oddities();
        assert_eq!(
            odd("TURNSTILE_LANE"),
            ["the variable TURNSTILE_LANE is not a setting: did you mean TURNSTILE_LANES?"]
        );
        for name in ["TURNSTILE_TEST_CUTS", "TURNSTILE_PORT_80_TCP", "TURNSTILE_MASK", "PATH"]
            .iter()
            .chain(failpoint::VARIABLES)
        {
            assert_eq!(odd(name), [""; 0], "{name}");
        }
    }
}
