//! `turnstile unmask`: recovers masked values, line by line.

use std::io::{self, BufRead, Write};

use super::dead_letters::said_with_reason;
use super::migrate::open;
use super::terminal::printable;
use super::{Failure, Outcome, keys};
use crate::config::{Given, Mistakes, rows};
use crate::database::{DatabaseSettings, Transaction};
use crate::mask::{MaskKind, UnmaskError, Unmasker, decode_base64};
use crate::table::operator_actions::{self, Said};

/// What `turnstile unmask` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Masked values; if none is given, they are read from standard input, one per line
    ///
    /// Each clear value is printed on a line of its own, in the same order. For one that cannot be recovered, the line is
    /// empty, standard error says why, and the exit code is 1. Control characters in a clear value are printed as escapes.
    #[arg(value_name = "VALUE")]
    values: Vec<String>,

    /// First note in the database that so many values are unmasked, by whom and why: needs --reason, and a role in
    /// turnstile_revealer. `dead-letters history` shows it. Who has the keyring can do without
    #[arg(long)]
    note: bool,
}

/// Where it is noted, and what.
struct Noting {
    database: DatabaseSettings,
    said: Said,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let mut mistakes = given.mistakes();
        let recovery = recovery(given, &mut mistakes);
        let noting = match self.note {
            true => noting(given, &mut mistakes).map(Some),
            false => Some(None),
        };
        let (recovery, noting) = mistakes.or(recovery.zip(noting))?;
        if let Recovery::Keys(_) = recovery {
            keys::warn_of_exposure(given);
        }
        let what = if self.values.is_empty() { "line" } else { "value" };
        let ended = match noting {
            None if self.values.is_empty() => {
                recover(&recovery, what, io::stdin().lock().split(b'\n'), io::stdout().lock(), io::stderr().lock())
            }
            None => recover(&recovery, what, given_values(self.values), io::stdout().lock(), io::stderr().lock()),
            Some(noting) => {
                // Read to the end first: what is noted is how many there are, and before any is shown.
                let values: Vec<Vec<u8>> = match self.values.is_empty() {
                    true => io::stdin().lock().split(b'\n').collect::<io::Result<_>>().map_err(unread)?,
                    false => self.values.into_iter().map(String::into_bytes).collect(),
                };
                noting.note(values.len()).await?;
                recover(&recovery, what, values.into_iter().map(Ok), io::stdout().lock(), io::stderr().lock())
            }
        };
        match ended {
            // A reader may stop before the end.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Outcome::Done),
            ended => ended.map_err(unread),
        }
    }
}

fn unread(error: io::Error) -> Failure {
    Failure::of_system("the values cannot be read or written")(error)
}

fn given_values(values: Vec<String>) -> impl Iterator<Item = io::Result<Vec<u8>>> {
    values.into_iter().map(|value| Ok(value.into_bytes()))
}

fn noting(given: &Given, mistakes: &mut Mistakes) -> Option<Noting> {
    let database = given.database(1, mistakes);
    let said = said_with_reason(given, mistakes);
    Some(Noting { database: database?, said: said? })
}

impl Noting {
    async fn note(&self, values: usize) -> Result<(), Failure> {
        let database = open(&self.database).await?;
        let note = async |transaction: &Transaction| {
            operator_actions::say(transaction, &self.said).await?;
            operator_actions::note_unmasking(transaction, values).await
        };
        Ok(database.transaction(note).await?)
    }
}

fn recovery(given: &Given, mistakes: &mut Mistakes) -> Option<Recovery> {
    match given.read(&rows::UNMASK_MASK, mistakes)? {
        MaskKind::Seal => Some(Recovery::Keys(given.keyring(mistakes)?.unmasker())),
        MaskKind::Base64 => Some(Recovery::Decoding),
        MaskKind::Token => {
            let problem = "a token is a digest: nobody can recover what it was made of";
            mistakes.note(given.name_of(&rows::UNMASK_MASK), problem, "give sealed values, with --mask seal")
        }
    }
}

/// Writes the clear value of each line, and returns [`Outcome::Failed`] when one could not be recovered.
fn recover(
    recovery: &Recovery,
    what: &str,
    lines: impl Iterator<Item = io::Result<Vec<u8>>>,
    mut out: impl Write,
    mut err: impl Write,
) -> io::Result<Outcome> {
    let mut outcome = Outcome::Done;
    for (line, number) in lines.zip(1..) {
        match recovery.recover(&line?) {
            Ok(value) => writeln!(out, "{}", printable(value.as_bytes()))?,
            Err(error) => {
                writeln!(out)?;
                writeln!(err, "error: {what} {number}: {error}")?;
                outcome = Outcome::Failed;
            }
        }
    }
    out.flush()?;
    Ok(outcome)
}

enum Recovery {
    Keys(Unmasker),
    Decoding,
}

impl Recovery {
    fn recover(&self, line: &[u8]) -> Result<String, UnmaskError> {
        let text = str::from_utf8(line.trim_ascii()).map_err(|_| UnmaskError::Malformed)?;
        match self {
            Self::Keys(unmasker) => unmasker.unmask(text).map(|unmasked| unmasked.value),
            Self::Decoding => decode_base64(text),
        }
    }
}
