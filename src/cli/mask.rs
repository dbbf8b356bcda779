//! `turnstile mask`: the masked form of clear values, to look for them in the tables.

use std::io::{self, BufRead as _};

use super::Outcome;
use super::terminal::{note, say};
use crate::config::rows::{self, PersonalField};
use crate::config::{Given, Mistakes};
use crate::mask::{DEVICE_ID_BYTES, Masker};

/// What `turnstile mask` takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Each masked value is printed on a line of its own, as the tables hold it: `WHERE masked_ip IN (…)` finds its rows. Rows that \
were loaded before `keys new --add` are masked with an older key; --all-keys prints the value under each, the newest last. \
In the place of a value that cannot be masked stands an empty line, and standard error says why.

Clear values on the command line can be read in the list of processes; those on standard input cannot.")]
pub struct Args {
    /// Clear values; without any they are read from standard input, one a line
    #[arg(value_name = "VALUE")]
    values: Vec<String>,

    /// Under every key of the keyring, and not under the active one alone
    #[arg(long)]
    all_keys: bool,
}

impl Args {
    pub(super) async fn run(self, given: &Given) -> anyhow::Result<Outcome> {
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
                tell(number, &line?)?;
            }
        } else {
            self.values.iter().zip(1..).try_for_each(|(value, number)| tell(number, value))?;
        }
        Ok(outcome)
    }

    fn read(&self, given: &Given) -> Result<(PersonalField, Vec<Masker>), Mistakes> {
        let mut mistakes = given.mistakes();
        let field = given.optional(&rows::FIELD, &mut mistakes).and_then(|field| {
            let name = given.name_of(&rows::FIELD);
            field.or_else(|| {
                mistakes.note(name, "is not set", "say what the values are: --field ip or --field device_id")
            })
        });
        let kind = given.read(&rows::MASK, &mut mistakes);
        let keyring = given.keyring(&mut mistakes);
        let maskers = keyring.zip(kind).map(|(keyring, kind)| match self.all_keys {
            true => keyring.maskers(kind),
            false => vec![keyring.masker(kind)],
        });
        mistakes.or(field.zip(maskers))
    }
}

/// The value under each key; what is wrong with it is told without it.
fn masked(field: PersonalField, value: &str, maskers: &[Masker]) -> Result<Vec<String>, &'static str> {
    let value = value.trim();
    match field {
        PersonalField::Ip => {
            let ip = value.parse::<std::net::IpAddr>().map_err(|_| "it is not an IP address")?.to_canonical();
            Ok(maskers.iter().map(|masker| masker.ip(ip)).collect())
        }
        PersonalField::DeviceId if (1..=DEVICE_ID_BYTES).contains(&value.len()) => {
            Ok(maskers.iter().map(|masker| masker.device_id(value)).collect())
        }
        PersonalField::DeviceId => Err("a device_id has at least 1 byte, and not more than a login's may have"),
    }
}
