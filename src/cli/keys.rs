//! `turnstile keys`: makes keyrings, lists what is in them, ids only, and registers their keys with the tables.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::terminal::{note, say};
use super::{Failure, Outcome};
use crate::config::rows::{self, Format};
use crate::config::{Given, Mistakes};
use crate::keyring::{Keyring, KeyringError, KeyringPlace, Masters};
use crate::keys::{self, Forgotten};
use crate::seal::KeyId;

/// What `turnstile keys` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a keyring file with random keys, one to mask and one to hash, readable by its owner alone (mode 0600)
    ///
    /// An existing file is never overwritten. Keep a copy of the file in a safe place: without it, nothing that was
    /// masked with it can be recovered.
    New {
        /// Add a key that masks to an existing keyring: it is used from now on; the old ones still recover what they masked
        #[arg(long)]
        add: bool,
    },
    /// List the ids of a keyring's keys, oldest first; never the keys
    List {},
    /// Register a keyring's active key with the tables, as their owner: loaders with another one do not start
    ///
    /// Where no key is registered, all of the keyring's are. After `keys new --add`, register the key before the first loader
    /// starts with it.
    Register(RegisterArgs),
}

#[derive(Debug, clap::Args)]
struct RegisterArgs {
    /// Replace the hash key too, which makes the tables forget the keys of producers: a login that is sent again is loaded
    /// again. Stop every loader first
    #[arg(long)]
    replace_hash: bool,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        match &self.command {
            Command::New { add } => {
                let (path, id) = settings_of_new(given)?;
                say(&new(&path, id, *add).map_err(|error| refusal(error, given))?)?;
            }
            Command::List {} => say(list(given)?.trim_end())?,
            Command::Register(args) => register(args, given).await?,
        }
        Ok(Outcome::Done)
    }
}

fn settings_of_new(given: &Given) -> Result<(PathBuf, Option<KeyId>), Mistakes> {
    let mut mistakes = given.mistakes();
    let path = given.optional(&rows::NEW_KEYRING, &mut mistakes).and_then(|path| {
        let remedy = "name the file to make: --keyring turnstile.keyring";
        path.or_else(|| mistakes.note(given.name_of(&rows::NEW_KEYRING), "is not set", remedy))
    });
    let id = given.optional(&rows::NEW_KEY_ID, &mut mistakes);
    mistakes.or(path.zip(id))
}

fn new(path: &Path, id: Option<KeyId>, add: bool) -> Result<String, KeyringError> {
    let (masters, made) = if add {
        (Masters::add_to(path, id)?, "added a key to")
    } else {
        let masters = id.map_or_else(Masters::generate, Masters::generate_as)?;
        masters.write_new(path)?;
        (masters, "made")
    };
    Ok(format!(
        "{made} the keyring {path}: its active key is {active}\n\
         Keep a copy in a safe place: without it, nothing that it masked can be recovered.",
        path = path.display(),
        active = masters.active()
    ))
}

async fn register(args: &RegisterArgs, given: &Given) -> Result<(), Failure> {
    let mut mistakes = given.mistakes();
    let database = given.database(1, &mut mistakes);
    let keyring = given.keyring(&mut mistakes);
    let mask = given.read(&rows::MASK, &mut mistakes);
    let ((database, keyring), mask) = mistakes.or(database.zip(keyring).zip(mask))?;
    let database = super::migrate::open(&database).await?;
    let done = keys::register(&database, &keyring, mask, args.replace_hash).await?;
    if let Some(Forgotten { identities, messages }) = done.forgotten {
        say(&format!(
            "the hash key is replaced: {identities} keys of producers are forgotten, and the bodies of {messages} messages \
             can no longer be compared"
        ))?;
    }
    match done.registered.as_slice() {
        [] => say("the keys are registered already: nothing to do")?,
        ids => ids.iter().try_for_each(|id| say(&format!("registered the key {id}")))?,
    }
    Ok(())
}

fn list(given: &Given) -> Result<String, Mistakes> {
    let mut mistakes = given.mistakes();
    let keyring = given.keyring(&mut mistakes);
    let format = given.read(&rows::FORMAT, &mut mistakes);
    let (keyring, format) = mistakes.or(keyring.zip(format))?;
    warn_of_exposure(given);
    Ok(ids(&keyring, format))
}

fn ids(keyring: &Keyring, format: Format) -> String {
    let line = |id: &KeyId| match (format, id == keyring.active()) {
        (Format::Json, is_active) => format!("{}\n", json!({"id": id.as_str(), "active": is_active})),
        (Format::Text, true) => format!("{id}\tactive\n"),
        (Format::Text, false) => format!("{id}\n"),
    };
    keyring.ids().map(line).collect()
}

/// Says when others than its owner may read the keyring.
pub(super) fn warn_of_exposure(given: &Given) {
    let place = given.keyring_place(&mut Mistakes::default());
    let path = place.as_ref().and_then(KeyringPlace::path);
    if let Some(exposure) = path.and_then(|path| Keyring::exposure(path).ok().flatten()) {
        note(&format!("warning: {exposure}\n    {}", exposure.remedy()));
    }
}

/// Why there is no keyring: a wrong setting, or a failure.
fn refusal(error: KeyringError, given: &Given) -> Failure {
    let name = given.name_of(&rows::KEYRING);
    if !error.is_wrong_setting() {
        return Failure::from(error).within(name);
    }
    let mut mistakes = given.mistakes();
    mistakes.note::<()>(name, &error, error.remedy());
    mistakes.into()
}
