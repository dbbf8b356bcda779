//! `turnstile keys`: makes keyrings, lists what is in them, ids only, and registers their keys with the tables.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Outcome;
use super::failure::Failure;
use crate::config::{Given, Mistakes, rows};
use crate::database::Database;
use crate::keyring::{Keyring, KeyringError, Masters};
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
        /// Add a key that masks to an existing keyring: it is used from now on, the old ones stay to recover what they masked
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
    pub(super) async fn run(self, given: &Given) -> anyhow::Result<Outcome> {
        let done = match &self.command {
            Command::New { add } => {
                let (path, id) = settings_of_new(given)?;
                new(&path, id, *add)
            }
            Command::List {} => list(given)?,
            Command::Register(args) => return register(args, given).await,
        };
        say(&done.map_err(|error| refusal(error, given))?)
    }
}

fn settings_of_new(given: &Given) -> Result<(PathBuf, Option<KeyId>), Mistakes> {
    let mut mistakes = Mistakes::default();
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
         Keep a copy in a safe place: without it, nothing that it masked can be recovered.\n",
        path = path.display(),
        active = masters.active()
    ))
}

async fn register(args: &RegisterArgs, given: &Given) -> anyhow::Result<Outcome> {
    let mut mistakes = Mistakes::default();
    let database = given.database(1, &mut mistakes);
    let keyring = given.keyring(&mut mistakes);
    let mask = given.read(&rows::MASK, &mut mistakes);
    let ((database, keyring), mask) = mistakes.or(database.zip(keyring).zip(mask))?;
    let database = Database::new(&database)?;
    super::migrate::refuse_older(&database).await?;
    let done = keys::register(&database, &keyring, mask, args.replace_hash).await?;
    if let Some(Forgotten { identities, messages }) = done.forgotten {
        super::say(&format!(
            "the hash key is replaced: {identities} keys of producers are forgotten, and the bodies of {messages} messages \
             can no longer be compared"
        ))?;
    }
    match done.registered.as_slice() {
        [] => super::say("the keys are registered already: nothing to do")?,
        ids => ids.iter().try_for_each(|id| super::say(&format!("registered the key {id}")))?,
    }
    Ok(Outcome::Done)
}

fn list(given: &Given) -> Result<Result<String, KeyringError>, Mistakes> {
    let mut mistakes = Mistakes::default();
    let path = given.keyring_path(&mut mistakes);
    let path = mistakes.or(path)?;
    Ok(Keyring::find(path.as_deref()).and_then(|keyring| {
        warn_of_exposure(path.as_deref())?;
        Ok(ids(&keyring))
    }))
}

fn ids(keyring: &Keyring) -> String {
    let line = |id: &KeyId| if id == keyring.active() { format!("{id}\tactive\n") } else { format!("{id}\n") };
    keyring.ids().map(line).collect()
}

/// Says on standard error when others than its owner may read the keyring.
pub(super) fn warn_of_exposure(path: Option<&Path>) -> Result<(), KeyringError> {
    if let Some(exposure) = path.map(Keyring::exposure).transpose()?.flatten() {
        writeln!(io::stderr(), "warning: {exposure}").unwrap_or_default();
    }
    Ok(())
}

/// Why there is no keyring: a wrong setting, or a failure.
fn refusal(error: KeyringError, given: &Given) -> anyhow::Error {
    let name = given.name_of(&rows::KEYRING);
    if !error.is_wrong_setting() {
        return Failure::new(format!("{name}: {error}"), error.remedy()).into();
    }
    let mut mistakes = Mistakes::default();
    mistakes.note::<()>(name, &error, error.remedy());
    mistakes.into()
}

fn say(text: &str) -> anyhow::Result<Outcome> {
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever reads may stop to read.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Outcome::Done),
        written => Ok(written.map(|()| Outcome::Done)?),
    }
}
