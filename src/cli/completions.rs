//! `turnstile completions`.

use clap_complete::Shell;

use super::Outcome;
use super::terminal::write_out;

/// What `turnstile completions` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Args {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "turnstile", &mut script);
        write_out(&script)?;
        Ok(Outcome::Done)
    }
}
