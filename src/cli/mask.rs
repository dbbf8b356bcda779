//! `turnstile mask`: the masked form of clear values, to look for them in the tables.

use std::io::{self, BufRead as _};

use super::terminal::{note, say};
use super::{Failure, Outcome};
use crate::config::rows::{self, MaskedField};
use crate::config::{Given, Mistakes};
use crate::decode::read_text;
use crate::mask::Masker;
use crate::rejection::Rejection;
use crate::stream::Field;

/// What `turnstile mask` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Each masked value is printed on a line of its own, as the tables hold it: `WHERE masked_ip IN (…)` finds its rows. Rows that \
were loaded before `keys new --add` are masked with an older key; --all-keys prints the value under each, the newest last. \
For a value that cannot be masked, the line is empty, and standard error says why.

Clear values on the command line can be read in the list of processes; those on standard input cannot.")]
pub struct Args {
    /// Clear values; if none is given, they are read from standard input, one per line
    #[arg(value_name = "VALUE")]
    values: Vec<String>,

    /// Print the value under every key of the keyring, not only under the active one
    #[arg(long)]
    all_keys: bool,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> Result<Outcome, Failure> {
        let (field, maskers) = self.read(given)?;
        let mut outcome = Outcome::Done;
        let mut tell = |number: usize, value: &str| match masked(field, value, &maskers) {
            Ok(lines) => lines.iter().try_for_each(|line| say(line)),
            Err(problem) => {
                note(&format!("error: value {number}: {problem}"));
                outcome = Outcome::Failed;
                say("")
            }
        };
        if self.values.is_empty() {
            for (line, number) in io::stdin().lock().lines().zip(1..) {
                tell(number, &line.map_err(Failure::of_system("standard input cannot be read"))?)?;
            }
        } else {
            self.values.iter().zip(1..).try_for_each(|(value, number)| tell(number, value))?;
        }
        Ok(outcome)
    }

    fn read(&self, given: &Given) -> Result<(&'static Field, Vec<Masker>), Mistakes> {
        let mut mistakes = given.mistakes();
        let field = given.optional(&rows::FIELD, &mut mistakes).and_then(|field| {
            let name = given.name_of(&rows::FIELD);
            field.or_else(|| mistakes.note(name, "is not set", "say what the values are, for example --field ip"))
        });
        let kind = given.read(&rows::MASK, &mut mistakes);
        let keyring = given.keyring(&mut mistakes);
        let maskers = keyring.zip(kind).map(|(keyring, kind)| match self.all_keys {
            true => keyring.maskers(kind),
            false => vec![keyring.masker(kind)],
        });
        mistakes.or(field.map(|MaskedField(field)| field).zip(maskers))
    }
}

/// The value under each key; what is wrong with it is told without it.
fn masked(field: &'static Field, value: &str, maskers: &[Masker]) -> Result<Vec<String>, Rejection> {
    let value = read_text(field, value.trim().into())?;
    Ok(maskers.iter().map(|masker| masker.mask_value(field, &value)).collect())
}
