//! `turnstile completions`.

use clap_complete::Shell;

use super::terminal::write_out;
use super::{Failure, Outcome};

/// What `turnstile completions` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Args {
    pub(super) async fn run(self) -> Result<Outcome, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "turnstile", &mut script);
        write_out(&script)?;
        Ok(Outcome::Done)
    }
}
