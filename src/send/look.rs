//! Looks through a file before anything of it is sent.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use super::form::{Bodies, Form};
use super::lines::{Lines, Read};
use super::{NotSent, name};

/// What a file holds.
#[derive(Debug, Default)]
pub struct Look {
    /// Lines that can be sent.
    pub sendable: u64,
    /// Empty lines.
    pub empty: u64,
    /// The first of the others.
    pub wrong: Vec<NotSent>,
    /// All of the others, by code.
    pub wrong_by_code: BTreeMap<String, u64>,
    /// What the file is instead, where its first line tells; then nothing after that line was looked at.
    pub form: Option<Form>,
}

impl Look {
    /// How many lines cannot be sent.
    pub fn wrong_count(&self) -> u64 {
        self.wrong_by_code.values().sum()
    }
}

/// Looks at every line of `reader`.
///
/// # Errors
///
/// When it cannot be read.
pub fn look(reader: impl BufRead, bodies: Bodies) -> io::Result<Look> {
    let mut lines = Lines::new(reader, bodies);
    let mut look = Look::default();
    while let Some(read) = lines.next_line()? {
        match read {
            Read::Body(_) => look.sendable += 1,
            Read::Empty => look.empty += 1,
            Read::Unsendable(line) => name(&mut look.wrong, &mut look.wrong_by_code, line),
            Read::Misfit(misfit) => {
                let line = NotSent { line: misfit.line, code: misfit.code };
                name(&mut look.wrong, &mut look.wrong_by_code, line);
                look.form = misfit.form;
                if look.form.is_some() {
                    break;
                }
            }
        }
    }
    Ok(look)
}
