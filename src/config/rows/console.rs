//! What `turnstile console` takes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use hyper::header::HeaderName;

use super::NoWord;
use crate::config::kinds::{FilePath, Switch, Text, Word};
use crate::config::setting::{Default, Setting};

const CONSOLE: &[&str] = &["console"];
const CONSOLE_HEADING: &str = "Console";

/// Whether the demo opens the console.
pub static DEMO_CONSOLE: Setting<Switch> = Setting {
    flag: Some("console"),
    variable: Some("TURNSTILE_CONSOLE"),
    commands: &["demo"],
    heading: "Demo",
    kind: Switch,
    default: Default::Unset,
    is_secret: false,
    meaning: "Keep both servers running, as --keep does, and serve the console over them: at 127.0.0.1:9465, or at a free port \
              where that one is taken",
};

/// Where the console listens.
pub static CONSOLE_LISTEN: Setting<Text<SocketAddr>> = Setting {
    flag: Some("listen"),
    variable: Some("TURNSTILE_CONSOLE_LISTEN"),
    commands: CONSOLE,
    heading: CONSOLE_HEADING,
    kind: Text::of("ADDRESS", "write for example 127.0.0.1:9465", |text| {
        text.parse().map_err(|_| "is not an address and port".to_owned())
    }),
    default: Default::Is("127.0.0.1:9465"),
    is_secret: false,
    meaning: "Address and port to listen on; port 0 takes a free one. An address that others can reach needs a certificate \
              (--tls-certificate) or a proxy in front (--behind-proxy)",
};

/// Whether a proxy stands in front of the console.
pub static BEHIND_PROXY: Setting<Switch> = Setting {
    flag: Some("behind-proxy"),
    variable: Some("TURNSTILE_CONSOLE_BEHIND_PROXY"),
    commands: CONSOLE,
    heading: CONSOLE_HEADING,
    kind: Switch,
    default: Default::Unset,
    is_secret: false,
    meaning: "A proxy with TLS stands in front: browsers reach the console through it alone, and by https",
};

/// The certificate of the console.
pub static TLS_CERTIFICATE: Setting<FilePath> = Setting {
    flag: Some("tls-certificate"),
    variable: Some("TURNSTILE_CONSOLE_TLS_CERTIFICATE"),
    commands: CONSOLE,
    heading: CONSOLE_HEADING,
    kind: FilePath,
    default: Default::Unset,
    is_secret: false,
    meaning: "The console's certificate, with those that lead to its authority behind it (PEM). With it, pages are served by \
              https; it is read at the start",
};

/// The key of the console's certificate.
pub static TLS_KEY: Setting<FilePath> = Setting {
    flag: Some("tls-key"),
    variable: Some("TURNSTILE_CONSOLE_TLS_KEY"),
    commands: CONSOLE,
    heading: CONSOLE_HEADING,
    kind: FilePath,
    default: Default::Unset,
    is_secret: false,
    meaning: "The key of the console's certificate (PEM, without a passphrase)",
};

/// How people sign in.
pub static SIGN_IN: Setting<Word<SignInBy>> = Setting {
    flag: Some("sign-in"),
    variable: Some("TURNSTILE_CONSOLE_SIGN_IN"),
    commands: CONSOLE,
    heading: CONSOLE_HEADING,
    kind: Word::of("HOW", &["role", "proxy-header"]),
    default: Default::Is("role"),
    is_secret: false,
    meaning: "Who somebody is: role (each signs in with a role of the database and its password, and may do what this role \
              may), or proxy-header (the proxy names the person in --person-header, and all act by the role of DATABASE_URL)",
};

/// How people sign in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignInBy {
    /// By a role of the database.
    #[default]
    Role,
    /// By what a proxy says.
    ProxyHeader,
}

impl FromStr for SignInBy {
    type Err = NoWord;

    fn from_str(word: &str) -> Result<Self, NoWord> {
        match word {
            "role" => Ok(Self::Role),
            "proxy-header" => Ok(Self::ProxyHeader),
            _ => Err(NoWord),
        }
    }
}

/// In which header the proxy names the person.
pub static PERSON_HEADER: Setting<Text<HeaderName>> = Setting {
    flag: Some("person-header"),
    variable: Some("TURNSTILE_CONSOLE_PERSON_HEADER"),
    commands: CONSOLE,
    heading: CONSOLE_HEADING,
    kind: Text::of("NAME", "give the name of a header, for example X-Forwarded-User", |text| {
        text.parse().map_err(|_| "is not the name of a header".to_owned())
    }),
    default: Default::Is("X-Forwarded-User"),
    is_secret: false,
    meaning: "With --sign-in proxy-header: the header in which the proxy names the person. The proxy must remove it from what \
              comes from outside",
};

/// Which environment the console shows.
pub static ENVIRONMENT: Setting<Text<String>> = Setting {
    flag: Some("environment"),
    variable: Some("TURNSTILE_CONSOLE_ENVIRONMENT"),
    commands: CONSOLE,
    heading: CONSOLE_HEADING,
    kind: Text::of("NAME", "give 1 to 24 characters, none of them a control character", read_environment),
    default: Default::Unset,
    is_secret: false,
    meaning: "What the environment is called, such as production: it stands at the top of every page",
};

fn read_environment(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("says nothing".to_owned()),
        name if name.chars().count() > 24 => Err("is too long".to_owned()),
        name if name.contains(char::is_control) => Err("contains a control character".to_owned()),
        name => Ok(name.to_owned()),
    }
}

/// What SQS costs.
pub static REQUEST_PRICE: Setting<Text<f64>> = Setting {
    flag: Some("request-price"),
    variable: Some("TURNSTILE_CONSOLE_REQUEST_PRICE"),
    commands: CONSOLE,
    heading: CONSOLE_HEADING,
    kind: Text::of("DOLLARS", "give a number from 0 to 1000, for example 0.40", read_price),
    default: Default::Is("0.40"),
    is_secret: false,
    meaning: "What a million requests to SQS cost you, in dollars: the page Costs reckons with it. 0.40 is a standard queue in \
              us-east-1",
};

fn read_price(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(price) if (0.0..=1000.0).contains(&price) => Ok(price),
        Ok(_) => Err("is not a price".to_owned()),
        Err(_) => Err("is not a number".to_owned()),
    }
}

/// The colour of the environment.
pub static ENVIRONMENT_COLOUR: Setting<Word<Colour>> = Setting {
    flag: Some("environment-color"),
    variable: Some("TURNSTILE_CONSOLE_ENVIRONMENT_COLOR"),
    commands: CONSOLE,
    heading: CONSOLE_HEADING,
    kind: Word::of("COLOR", &["red", "amber", "green", "blue", "violet", "gray"]),
    default: Default::Is("gray"),
    is_secret: false,
    meaning: "The colour of the environment's name: red, amber, green, blue, violet or gray",
};

/// The colour of an environment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// For what must not be touched.
    Red,
    /// For what deserves care.
    Amber,
    /// For what is safe.
    Green,
    /// Something else.
    Blue,
    /// Something else.
    Violet,
    /// Nothing in particular.
    #[default]
    Gray,
}

impl Colour {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Amber => "amber",
            Self::Green => "green",
            Self::Blue => "blue",
            Self::Violet => "violet",
            Self::Gray => "gray",
        }
    }
}

impl FromStr for Colour {
    type Err = NoWord;

    fn from_str(word: &str) -> Result<Self, NoWord> {
        let all = [Self::Red, Self::Amber, Self::Green, Self::Blue, Self::Violet, Self::Gray];
        all.into_iter().find(|colour| colour.as_str() == word).ok_or(NoWord)
    }
}

/// A certificate and its key: both, or neither.
///
/// # Errors
///
/// Which of them is missing.
pub fn both(certificate: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<(PathBuf, PathBuf)>, String> {
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (Some(_), None) => Err("is given without --tls-key".to_owned()),
        (None, Some(_)) => Err("is missing beside --tls-key".to_owned()),
    }
}
