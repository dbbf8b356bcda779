//! Settings: what can be given as flag or environment variable, and what it means once it is read.
//!
//! Every value arrives as text and is read here, so that all mistakes are reported at once.

mod mistakes;
mod run;
mod values;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::{FalseyValueParser, OsStringValueParser, TypedValueParser};

pub use self::mistakes::{Mistake, Mistakes};
pub use self::run::{RunArgs, RunSettings};
pub use self::values::{NoValue, bytes, duration, whole};
use crate::acknowledge;
use crate::database::DatabaseSettings;
use crate::database::address::DatabaseAddress;
use crate::database::schemas::{Schema, Schemas};
use crate::keyring::Keyring;
use crate::lane::LaneSettings;
use crate::load::Contradictions;
use crate::mask::MaskKind;
use crate::message::Identity;
use crate::queue::MAX_WAIT;
use crate::queue::sqs::{QueueAddress, SqsSettings};
use crate::receive::ReceiveLimits;

/// Which queue.
#[derive(Debug, Args)]
pub struct QueueArgs {
    /// The queue: its name, or its URL. Region, credentials and endpoint come from the standard AWS settings
    /// (AWS_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …)
    #[arg(long, env = "TURNSTILE_QUEUE", hide_env_values = true, value_name = "NAME|URL")]
    pub queue: Option<String>,

    /// Let AWS_ENDPOINT_URL lead the calls elsewhere than the host of the queue's URL
    #[arg(long, env = "TURNSTILE_ALLOW_ENDPOINT_OVERRIDE", value_parser = FalseyValueParser::new())]
    pub allow_endpoint_override: bool,

    /// Reach a queue server on another machine by http://: whoever is on the way can read the logins
    #[arg(long, env = "TURNSTILE_ALLOW_CLEAR_QUEUE", value_parser = FalseyValueParser::new())]
    pub allow_clear_queue: bool,

    /// How long to wait for a queue that does not exist yet [default: 0s] [0s to 1h]
    #[arg(long, env = "TURNSTILE_WAIT_FOR_QUEUE", value_name = "DURATION")]
    pub wait_for_queue: Option<String>,
}

impl QueueArgs {
    /// The settings that the arguments mean; a mistake is noted.
    pub fn read(&self, mistakes: &mut Mistakes) -> Option<SqsSettings> {
        const QUEUE: &str = "--queue (TURNSTILE_QUEUE)";
        const WAY_OUT: &str = "give the queue's name, or its URL (https://sqs.REGION.amazonaws.com/ACCOUNT/NAME)";
        let queue = match given(&self.queue) {
            None => mistakes.note(QUEUE, "is not set", WAY_OUT),
            Some(text) => mistakes.take(QUEUE, text.parse::<QueueAddress>(), WAY_OUT),
        };
        let wait = mistakes.duration(
            "--wait-for-queue (TURNSTILE_WAIT_FOR_QUEUE)",
            given(&self.wait_for_queue).unwrap_or("0s"),
            Duration::ZERO..=Duration::from_secs(3600),
        );
        let mut settings = SqsSettings::new(queue?);
        settings.wait_for_queue = wait?;
        settings.allow_endpoint_override = self.allow_endpoint_override;
        settings.allow_clear_queue = self.allow_clear_queue;
        Some(settings)
    }
}

/// Which database.
#[derive(Args)]
pub struct DatabaseArgs {
    /// The database: postgres://USER@HOST:PORT/DATABASE. A password belongs into the variable DATABASE_URL or
    /// PGPASSWORD, never on the command line. TLS is required of every host but this machine, unless
    /// ?sslmode=disable says otherwise; ?sslrootcert=FILE names a certificate authority, ?sslcert=FILE&sslkey=FILE a
    /// client's certificate; ?auth=aws-iam logs in with a token of AWS's IAM
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<String>,

    /// The deadline of every call to the database: connect, statement, commit [default: 10s] [100ms to 10m]
    #[arg(long, env = "TURNSTILE_DATABASE_TIMEOUT", value_name = "DURATION")]
    pub database_timeout: Option<String>,

    /// The schema of Turnstile's own tables: small letters, digits and underscores [default: turnstile]
    #[arg(long, env = "TURNSTILE_SCHEMA", value_name = "NAME")]
    pub schema: Option<String>,

    /// The schema of the table user_logins, which others query [default: public]
    #[arg(long, env = "TURNSTILE_LOGINS_SCHEMA", value_name = "NAME")]
    pub logins_schema: Option<String>,
}

impl std::fmt::Debug for DatabaseArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseArgs").field("database_timeout", &self.database_timeout).finish_non_exhaustive()
    }
}

impl DatabaseArgs {
    /// The settings that the arguments mean, for a pool of `connections`; a mistake is noted.
    pub fn read(&self, connections: usize, mistakes: &mut Mistakes) -> Option<DatabaseSettings> {
        let address = self.address(mistakes);
        let call_timeout = mistakes.duration(
            "--database-timeout (TURNSTILE_DATABASE_TIMEOUT)",
            given(&self.database_timeout).unwrap_or("10s"),
            Duration::from_millis(100)..=Duration::from_secs(600),
        );
        let schemas = self.schemas(mistakes);
        Some(DatabaseSettings { address: address?, connections, call_timeout: call_timeout?, schemas: schemas? })
    }

    fn schemas(&self, mistakes: &mut Mistakes) -> Option<Schemas> {
        let defaults = Schemas::default();
        let mut read = |setting, given: Option<&str>, default: Schema| match given {
            None => Some(default),
            Some(text) => {
                let schema = text.parse::<Schema>().map_err(|why| format!("{text:?} {why}"));
                mistakes.take(setting, schema, "give the name of a schema, for example turnstile")
            }
        };
        let own = read("--schema (TURNSTILE_SCHEMA)", given(&self.schema), defaults.own);
        let logins = read("--logins-schema (TURNSTILE_LOGINS_SCHEMA)", given(&self.logins_schema), defaults.logins);
        Some(Schemas { own: own?, logins: logins? })
    }

    fn address(&self, mistakes: &mut Mistakes) -> Option<DatabaseAddress> {
        const URL: &str = "--database-url (DATABASE_URL)";
        let Some(text) = given(&self.database_url) else {
            return mistakes.note(URL, "is not set", "set DATABASE_URL=postgres://USER:PASSWORD@HOST:PORT/DATABASE");
        };
        let mut address = match DatabaseAddress::parse(text) {
            Ok(address) => address,
            Err(error) => return mistakes.note(URL, &error, error.remedy()),
        };
        // The variable may hold the same text: what counts is what the list of processes shows.
        let is_flag = |argument: std::ffi::OsString| {
            argument.to_str().is_some_and(|text| text == "--database-url" || text.starts_with("--database-url="))
        };
        let from_environment = !std::env::args_os().any(is_flag);
        if address.has_password() && !from_environment {
            let problem = "holds a password, which every user of this machine can read in the list of processes";
            return mistakes.note(
                URL,
                problem,
                "put the URL into the variable DATABASE_URL, or the password into PGPASSWORD",
            );
        }
        if let Ok(password) = std::env::var("PGPASSWORD") {
            address.set_password_if_none(&password);
        }
        Some(address)
    }
}

/// Which keys.
#[derive(Debug, Args)]
pub struct KeyringArgs {
    /// The file of the keys that mask, seal and hash. Instead of a file, the variable TURNSTILE_KEYS may hold its text
    #[arg(long, env = "TURNSTILE_KEYRING", hide_env_values = true, value_name = "FILE", value_parser = any_path())]
    pub keyring: Option<PathBuf>,
}

impl KeyringArgs {
    /// What a mistake in it is told of.
    pub const SETTING: &str = "--keyring (TURNSTILE_KEYRING)";

    /// The file that was given.
    pub fn path(&self) -> Option<&Path> {
        self.keyring.as_deref().filter(|path| !path.as_os_str().is_empty())
    }

    /// The keyring itself; a mistake is noted.
    pub fn read(&self, mistakes: &mut Mistakes) -> Option<Keyring> {
        match Keyring::find(self.path()) {
            Ok(keyring) => Some(keyring),
            Err(error) => mistakes.note(Self::SETTING, &error, error.way_out()),
        }
    }
}

/// How the lanes work.
#[derive(Debug, Args)]
pub struct LaneArgs {
    /// The most lanes that receive, load and acknowledge side by side; one receives while the queue is idle, and the
    /// others rest [default: 2] [1 to 64]
    #[arg(long, env = "TURNSTILE_LANES", value_name = "N")]
    pub lanes: Option<String>,

    /// The most messages in one transaction [default: 500] [1 to 5000]
    #[arg(long, env = "TURNSTILE_BATCH_SIZE", value_name = "N")]
    pub batch_size: Option<String>,

    /// How many bytes of bodies a lane gathers before it loads [default: 4MiB] [1KiB to 256MiB]
    #[arg(long, env = "TURNSTILE_BATCH_BYTES", value_name = "BYTES")]
    pub batch_bytes: Option<String>,

    /// How long a lane gathers at most, once it holds a message and while the queue has more [default: 200ms]
    /// [0ms to 1m]
    #[arg(long, env = "TURNSTILE_LINGER", value_name = "DURATION")]
    pub linger: Option<String>,

    /// How long a receive waits for a message: an idle loader makes one call in that time (720 an hour), and an orderly
    /// end may take as long [default: 5s, with --until-empty 1s] [1s to 20s]
    #[arg(long, env = "TURNSTILE_WAIT", value_name = "DURATION")]
    pub wait: Option<String>,

    /// How long received messages are hidden from others; renewed at half of it while they are loaded
    /// [default: 60s] [1s to 12h]
    #[arg(long, env = "TURNSTILE_VISIBILITY_TIMEOUT", value_name = "DURATION")]
    pub visibility_timeout: Option<String>,

    /// How many deliveries a message gets that is no login, or whose row the database refuses, before it becomes a dead
    /// letter; keep it below the queue's own maxReceiveCount [default: 3] [1 to 1000]
    #[arg(long, env = "TURNSTILE_MAX_ATTEMPTS", value_name = "N")]
    pub max_attempts: Option<String>,

    /// How long such a message stays hidden before its second delivery, doubled before each further one, at most
    /// 15 minutes [default: 5s] [0s to 15m]
    #[arg(long, env = "TURNSTILE_RETRY_DELAY", value_name = "DURATION")]
    pub retry_delay: Option<String>,

    /// End when the queue is drained
    #[arg(long, env = "TURNSTILE_UNTIL_EMPTY", value_parser = FalseyValueParser::new())]
    pub until_empty: bool,
}

impl LaneArgs {
    /// How many lanes; a mistake is noted.
    pub fn lanes(&self, mistakes: &mut Mistakes) -> Option<usize> {
        mistakes.whole("--lanes (TURNSTILE_LANES)", given(&self.lanes).unwrap_or("2"), 1..=64)
    }

    /// How each lane works; mistakes are noted.
    pub fn read(&self, mistakes: &mut Mistakes) -> Option<LaneSettings> {
        let seconds = Duration::from_secs;
        let batch_size =
            mistakes.whole("--batch-size (TURNSTILE_BATCH_SIZE)", given(&self.batch_size).unwrap_or("500"), 1..=5000);
        let batch_bytes = mistakes.bytes(
            "--batch-bytes (TURNSTILE_BATCH_BYTES)",
            given(&self.batch_bytes).unwrap_or("4MiB"),
            1024..=256 * 1024 * 1024,
        );
        let linger = mistakes.duration(
            "--linger (TURNSTILE_LINGER)",
            given(&self.linger).unwrap_or("200ms"),
            Duration::ZERO..=seconds(60),
        );
        let wait = given(&self.wait).unwrap_or(if self.until_empty { "1s" } else { "5s" });
        let wait = mistakes.duration("--wait (TURNSTILE_WAIT)", wait, seconds(1)..=MAX_WAIT);
        let visibility_timeout = mistakes.duration(
            "--visibility-timeout (TURNSTILE_VISIBILITY_TIMEOUT)",
            given(&self.visibility_timeout).unwrap_or("60s"),
            seconds(1)..=seconds(12 * 60 * 60),
        );
        let max_attempts = mistakes.whole(
            "--max-attempts (TURNSTILE_MAX_ATTEMPTS)",
            given(&self.max_attempts).unwrap_or("3"),
            1..=1000,
        );
        let retry_delay = mistakes.duration(
            "--retry-delay (TURNSTILE_RETRY_DELAY)",
            given(&self.retry_delay).unwrap_or("5s"),
            Duration::ZERO..=seconds(15 * 60),
        );
        let limits = ReceiveLimits {
            batch_size: batch_size?,
            batch_bytes: batch_bytes?,
            linger: linger?,
            wait: wait?,
            visibility_timeout: visibility_timeout?,
        };
        let max_attempts = u32::try_from(max_attempts?).unwrap_or(u32::MAX);
        Some(LaneSettings {
            limits,
            max_attempts,
            retry_delay: retry_delay?,
            until_empty: self.until_empty,
            delete_patience: acknowledge::PATIENCE,
        })
    }
}

/// What a message is, and what is stored of it.
#[derive(Debug, Args)]
pub struct IdentityArgs {
    /// The key by which a login is known when it is sent twice, and then loaded once: message-id (none: each message is a
    /// login of its own), field:/json/pointer (an id in the body), attribute:NAME (a message attribute, or
    /// MessageDeduplicationId), content (the whole body: equal ones are one login for ever) [default: message-id]
    #[arg(long, env = "TURNSTILE_IDENTITY", value_name = "SCHEME")]
    pub identity: Option<String>,

    /// What becomes of a message that brings another login under a key that is taken: dead-letter (its body is kept), or
    /// absorb (it counts as the same login sent twice, and its body is lost) [default: dead-letter]
    #[arg(long, env = "TURNSTILE_CONTRADICTIONS", value_name = "WHAT")]
    pub contradictions: Option<String>,
}

impl IdentityArgs {
    /// The scheme; a mistake is noted.
    pub fn read(&self, mistakes: &mut Mistakes) -> Option<Identity> {
        let text = given(&self.identity).unwrap_or("message-id");
        mistakes.take("--identity (TURNSTILE_IDENTITY)", text.parse(), "choose one, for example --identity message-id")
    }

    /// What becomes of contradictions; a mistake is noted.
    pub fn contradictions(&self, mistakes: &mut Mistakes) -> Option<Contradictions> {
        let text = given(&self.contradictions).unwrap_or("dead-letter");
        mistakes.take("--contradictions (TURNSTILE_CONTRADICTIONS)", text.parse(), "choose dead-letter or absorb")
    }
}

/// How personal fields are masked.
#[derive(Debug, Args)]
pub struct MaskArgs {
    /// How ip and device_id are masked: seal (encrypted, equal values stay equal, turnstile unmask recovers them),
    /// token (a keyed digest, not recoverable), base64 (an encoding and no mask, for older data only). It is registered
    /// with the key, and the same for all loaders [default: seal]
    #[arg(long, env = "TURNSTILE_MASK", value_name = "KIND")]
    pub mask: Option<String>,
}

impl MaskArgs {
    /// The kind; a mistake is noted.
    pub fn read(&self, mistakes: &mut Mistakes) -> Option<MaskKind> {
        let text = given(&self.mask).unwrap_or("seal");
        mistakes.take("--mask (TURNSTILE_MASK)", text.parse(), "choose one, for example --mask seal")
    }
}

/// Reads a path, also an empty one: a variable that is set to nothing is not set.
fn any_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// A value that was given: a variable that is set to nothing is not set.
pub fn given(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|text| !text.is_empty())
}
