//! `turnstile unmask`: recovers masked values, line by line.

use std::io::{self, BufRead, Write};

use super::terminal::printable;
use super::{Failure, Outcome, keys};
use crate::config::{Given, Mistakes, rows};
use crate::mask::{MaskKind, UnmaskError, Unmasker, decode_base64};

/// What `turnstile unmask` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Masked values; if none is given, they are read from standard input, one per line
    ///
    /// Each clear value is printed on a line of its own, in the same order. For one that cannot be recovered, the line is
    /// empty, standard error says why, and the exit code is 1. Control characters in a clear value are printed as escapes.
    #[arg(value_name = "VALUE")]
    values: Vec<String>,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let mut mistakes = given.mistakes();
        let recovery = recovery(given, &mut mistakes);
        let recovery = mistakes.or(recovery)?;
        if let Recovery::Keys(_) = recovery {
            keys::warn_of_exposure(given);
        }
        let (out, err) = (io::stdout().lock(), io::stderr().lock());
        let ended = if self.values.is_empty() {
            recover(&recovery, "line", io::stdin().lock().split(b'\n'), out, err)
        } else {
            recover(&recovery, "value", self.values.into_iter().map(|value| Ok(value.into_bytes())), out, err)
        };
        match ended {
            // A reader may stop before the end.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Outcome::Done),
            ended => ended.map_err(Failure::of_system("the values cannot be read or written")),
        }
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
