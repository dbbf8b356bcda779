//! What a setting is: one row, from which come its flag and help, the manual, the completions, the reading of its value, what
//! is wrong with it, and its line in docs/SETTINGS.md.

use std::ffi::OsStr;

use clap::builder::{OsStringValueParser, PossibleValue, TypedValueParser};
use clap::{Arg, ArgAction, ValueHint};

use super::kinds::{Kind, Switch, Unfit};

/// A setting, or an option of a command: everything that is known of it.
pub struct Setting<K> {
    /// The flag without its dashes; none: it can only be set by its variable.
    pub flag: Option<&'static str>,
    /// The environment variable; none: it belongs to one call, and is given as a flag only.
    pub variable: Option<&'static str>,
    /// The commands that take it, as they are typed; empty: all of them.
    pub commands: &'static [&'static str],
    /// What it stands under in a help text.
    pub heading: &'static str,
    /// What its value is, and within which limits.
    pub kind: K,
    /// What it is when nothing sets it.
    pub default: Default,
    /// Whether its value is never shown.
    pub is_secret: bool,
    /// What it means: its first sentence alone must say enough for `-h`.
    pub meaning: &'static str,
}

/// What a setting is when nothing sets it.
pub enum Default {
    /// Nothing.
    Unset,
    /// This.
    Is(&'static str),
    /// This, and something else where a switch is on.
    Unless {
        /// Without the switch.
        usually: &'static str,
        /// The switch.
        switch: &'static Setting<Switch>,
        /// With it.
        then: &'static str,
    },
    /// What its reader finds, in words.
    Found(&'static str),
}

/// A setting, whatever its kind.
pub trait Row: Sync {
    /// The flag without its dashes.
    fn flag(&self) -> Option<&'static str>;
    /// The environment variable.
    fn variable(&self) -> Option<&'static str>;
    /// The commands that take it; empty: all of them.
    fn commands(&self) -> &'static [&'static str];
    /// What it stands under in a help text.
    fn heading(&self) -> &'static str;
    /// What it is when nothing sets it.
    fn default(&self) -> &Default;
    /// Whether its value is never shown.
    fn is_secret(&self) -> bool;
    /// What it means.
    fn meaning(&self) -> &'static str;
    /// What stands for its value in a help text; none: it is a switch.
    fn value_name(&self) -> Option<&'static str>;
    /// The least and the most, as they are typed.
    fn limits(&self) -> Option<(String, String)>;
    /// Every word that it can be, or begin with; empty: any.
    fn words(&self) -> &'static [&'static str];
    /// Whether it can be given several times.
    fn repeats(&self) -> bool;
    /// The letter that stands for its flag.
    fn letter(&self) -> Option<char>;
    /// What a shell completes.
    fn hint(&self) -> ValueHint;
    /// What is wrong with a value.
    fn unfit(&self, text: &OsStr) -> Option<Unfit>;
    /// A value as it may be shown, where that is not all of it.
    fn shown(&self, text: &OsStr) -> Option<String>;
}

impl<K: Kind> Row for Setting<K> {
    fn flag(&self) -> Option<&'static str> {
        self.flag
    }

    fn variable(&self) -> Option<&'static str> {
        self.variable
    }

    fn commands(&self) -> &'static [&'static str] {
        self.commands
    }

    fn heading(&self) -> &'static str {
        self.heading
    }

    fn default(&self) -> &Default {
        &self.default
    }

    fn is_secret(&self) -> bool {
        self.is_secret
    }

    fn meaning(&self) -> &'static str {
        self.meaning
    }

    fn value_name(&self) -> Option<&'static str> {
        self.kind.value_name()
    }

    fn limits(&self) -> Option<(String, String)> {
        self.kind.limits()
    }

    fn words(&self) -> &'static [&'static str] {
        self.kind.words()
    }

    fn repeats(&self) -> bool {
        self.kind.repeats()
    }

    fn letter(&self) -> Option<char> {
        self.kind.letter()
    }

    fn hint(&self) -> ValueHint {
        self.kind.hint()
    }

    fn unfit(&self, text: &OsStr) -> Option<Unfit> {
        self.kind.read(text).err()
    }

    fn shown(&self, text: &OsStr) -> Option<String> {
        self.kind.shown(text)
    }
}

impl Default {
    /// What a help text says of it.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Unset => None,
            Self::Is(text) | Self::Found(text) => Some((*text).to_owned()),
            Self::Unless { usually, switch, then } => {
                Some(format!("{usually}, with --{} {then}", switch.flag.unwrap_or_default()))
            }
        }
    }
}

impl dyn Row + '_ {
    /// Whether a command takes it, by what is typed after the program's name; the program itself, by nothing.
    pub fn is_of(&self, command: &str) -> bool {
        self.commands().contains(&command) || (self.commands().is_empty() && command.is_empty())
    }

    /// Its key in a file: the variable's name without `TURNSTILE_`, in small letters. An option of one call has none.
    pub fn key(&self) -> Option<String> {
        let variable = self.variable()?;
        Some(variable.strip_prefix("TURNSTILE_").unwrap_or(variable).to_lowercase())
    }

    /// How a message names it.
    pub fn name(&self) -> String {
        match (self.flag(), self.variable()) {
            (Some(flag), Some(variable)) => format!("--{flag} ({variable})"),
            (Some(flag), None) => format!("--{flag}"),
            (None, variable) => variable.unwrap_or_default().to_owned(),
        }
    }

    /// The whole help: meaning, default, limits and variable.
    pub fn help(&self) -> String {
        let limits = self.limits().map(|(least, most)| format!("{least} to {most}"));
        let notes = [
            self.default().text().map(|text| format!("default: {text}")),
            limits,
            self.variable().map(|variable| format!("env: {variable}")),
        ];
        notes.into_iter().flatten().fold(self.meaning().to_owned(), |help, note| format!("{help} [{note}]"))
    }

    /// Its first sentence and its default.
    pub fn short_help(&self) -> String {
        let first = first_sentence(self.meaning());
        self.default().text().map_or_else(|| first.to_owned(), |default| format!("{first} [default: {default}]"))
    }

    /// Its flag; none where it has none.
    pub fn argument(&self) -> Option<Arg> {
        let flag = self.flag()?;
        let argument = Arg::new(flag).long(flag).short(self.letter()).help(self.short_help()).long_help(self.help());
        // What every command takes is given before or after the command's name.
        let argument = argument.global(self.commands().is_empty());
        // Beside --help, which has no heading of ours.
        let argument = if self.heading() == OPTIONS { argument } else { argument.help_heading(self.heading()) };
        let Some(value_name) = self.value_name() else { return Some(argument.action(ArgAction::SetTrue)) };
        let action = if self.repeats() { ArgAction::Append } else { ArgAction::Set };
        Some(
            argument
                .action(action)
                .value_name(value_name)
                .value_hint(self.hint())
                .value_parser(AnyText(self.words()))
                // The help says in words what each means.
                .hide_possible_values(true)
                // A negative number is told its limits, and is not taken for a flag.
                .allow_hyphen_values(self.limits().is_some()),
        )
    }
}

/// The heading that clap gives to `--help`, too: what a command takes of its own.
pub(super) const OPTIONS: &str = "Options";

/// Up to the first end of a sentence, or of a clause that a colon or semicolon ends.
fn first_sentence(text: &str) -> &str {
    let end = [". ", ": ", "; "].iter().filter_map(|end| text.find(end)).min();
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// Takes every text, and lets shells complete the words: what is wrong with a value is told with all other mistakes.
#[derive(Clone)]
struct AnyText(&'static [&'static str]);

impl TypedValueParser for AnyText {
    type Value = std::ffi::OsString;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        OsStringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        (!self.0.is_empty()).then(|| Box::new(self.0.iter().map(PossibleValue::new)) as Box<dyn Iterator<Item = _>>)
    }
}
