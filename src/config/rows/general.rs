//! What every command takes, and how answers are formatted.

use std::str::FromStr;

use tracing::level_filters::LevelFilter;

use crate::config::kinds::{FilePath, Lettered, Word};
use crate::config::setting::{Default, OPTIONS, Setting};

const EVERY_COMMAND: &str = "Every command";

/// The file of settings.
pub static CONFIG: Setting<FilePath> = Setting {
    flag: Some("config"),
    variable: Some("TURNSTILE_CONFIG"),
    commands: &[],
    heading: EVERY_COMMAND,
    kind: FilePath,
    default: Default::Unset,
    is_secret: false,
    meaning: "A TOML file of settings; flags and variables win over it. Its keys are the names of the variables without \
              TURNSTILE_, in small letters with underscores (batch_size, database_url)",
};

/// What is logged.
pub static LOG_LEVEL: Setting<Word<LevelFilter>> = Setting {
    flag: Some("log-level"),
    variable: Some("TURNSTILE_LOG_LEVEL"),
    commands: &[],
    heading: EVERY_COMMAND,
    kind: Word::of("LEVEL", &["error", "warn", "info", "debug", "trace"]),
    default: Default::Is("info"),
    is_secret: false,
    meaning: "What is logged: error, warn, info, debug or trace; each includes those before it. The directives of RUST_LOG \
              refine it by module (turnstile::load=debug)",
};

/// Only what is wrong is logged.
pub static QUIET: Setting<Lettered> = Setting {
    flag: Some("quiet"),
    variable: None,
    commands: &[],
    heading: EVERY_COMMAND,
    kind: Lettered('q'),
    default: Default::Unset,
    is_secret: false,
    meaning: "Log warnings and errors only: --log-level warn",
};

/// More is logged.
pub static VERBOSE: Setting<Lettered> = Setting {
    flag: Some("verbose"),
    variable: None,
    commands: &[],
    heading: EVERY_COMMAND,
    kind: Lettered('v'),
    default: Default::Unset,
    is_secret: false,
    meaning: "Log every batch too: --log-level debug",
};

/// How it is logged.
pub static LOG_FORMAT: Setting<Word<LogFormat>> = Setting {
    flag: Some("log-format"),
    variable: Some("TURNSTILE_LOG_FORMAT"),
    commands: &[],
    heading: EVERY_COMMAND,
    kind: Word::of("FORMAT", &["text", "json", "auto"]),
    default: Default::Is("auto"),
    is_secret: false,
    meaning: "How the log is written to standard error: text, json, or auto (text on a terminal, json elsewhere)",
};

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
    /// For people on a terminal, for machines elsewhere.
    #[default]
    Auto,
}

impl FromStr for LogFormat {
    type Err = NoWord;

    fn from_str(word: &str) -> Result<Self, NoWord> {
        match word {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "auto" => Ok(Self::Auto),
            _ => Err(NoWord),
        }
    }
}

/// Whether colours are shown.
pub static COLOR: Setting<Word<Colours>> = Setting {
    flag: Some("color"),
    variable: Some("TURNSTILE_COLOR"),
    commands: &[],
    heading: EVERY_COMMAND,
    kind: Word::of("WHEN", &["auto", "always", "never"]),
    default: Default::Is("auto"),
    is_secret: false,
    meaning: "When to use colours: auto (on a terminal; NO_COLOR and CLICOLOR_FORCE are followed), always, never",
};

/// When colours are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colours {
    /// On a terminal.
    #[default]
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

impl Colours {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Always, Self::Never];
}

impl FromStr for Colours {
    type Err = NoWord;

    fn from_str(word: &str) -> Result<Self, NoWord> {
        match word {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err(NoWord),
        }
    }
}

/// How an answer is written.
pub static FORMAT: Setting<Word<Format>> = Setting {
    flag: Some("format"),
    variable: None,
    commands: &[
        "config show",
        "audit",
        "check",
        "keys list",
        "send",
        "migrate",
        "dead-letters show",
        "dead-letters replay",
        "dead-letters requeue",
        "dead-letters discard",
        "dead-letters reopen",
        "dead-letters note",
        "dead-letters export",
        "dead-letters import",
        "dead-letters history",
        "dead-letters plans list",
        "dead-letters plans show",
        "dead-letters plans run",
        "dead-letters plans cancel",
        "loaders pause",
        "loaders resume",
        "outbox status",
        "outbox failures list",
        "outbox failures retry",
        "outbox failures discard",
        "outbox replay",
        "outbox prune",
        "retain",
        "archive",
        "archive verify",
        "archive restore",
        "archive forget",
        "top",
    ],
    heading: OPTIONS,
    kind: Word::of("FORMAT", &["text", "json"]),
    default: Default::Is("text"),
    is_secret: false,
    meaning: "How the answer is written: text for people, json for scripts",
};

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For scripts.
    Json,
}

impl FromStr for Format {
    type Err = NoWord;

    fn from_str(word: &str) -> Result<Self, NoWord> {
        match word {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(NoWord),
        }
    }
}

/// A text is not one of the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not known")]
pub struct NoWord;
