//! `turnstile man`.

use std::path::PathBuf;

use anyhow::Context;
use clap_mangen::Man;

use super::Outcome;
use super::terminal::{say, write_out};

/// What `turnstile man` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "To read: turnstile man | man -l -
To install: turnstile man /usr/local/share/man/man1")]
pub struct Args {
    /// The folder to write one page a command into; without it, the first page goes to standard output
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    folder: Option<PathBuf>,
}

impl Args {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let Some(folder) = self.folder else {
            let mut page = Vec::new();
            Man::new(super::command()).render(&mut page)?;
            write_out(&page)?;
            return Ok(Outcome::Done);
        };
        let name = folder.display();
        std::fs::create_dir_all(&folder).with_context(|| format!("making the folder {name}"))?;
        clap_mangen::generate_to(super::command(), &folder).with_context(|| format!("writing pages into {name}"))?;
        say(&format!("the pages are in {name}"))?;
        Ok(Outcome::Done)
    }
}
