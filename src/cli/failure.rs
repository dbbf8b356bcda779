//! How a command tells that it failed, and its exit code: one shape for all of them.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use super::Outcome;
use crate::config::Mistakes;
use crate::keyring::KeyringError;
use crate::keys::RegisterError;

/// Why a command failed, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(super) struct Failure {
    what: String,
    remedy: String,
}

impl Failure {
    pub(super) fn new(what: impl Display, remedy: impl Display) -> Self {
        Self { what: what.to_string(), remedy: remedy.to_string() }
    }
}

/// What went wrong and what to do about it, on one line: for the log.
pub(super) fn on_one_line(error: &anyhow::Error) -> String {
    match remedy(error) {
        Some(remedy) => format!("{error:#}: {remedy}"),
        None => format!("{error:#}"),
    }
}

fn remedy(error: &anyhow::Error) -> Option<&str> {
    let of_failure = error.downcast_ref::<Failure>().map(|failure| failure.remedy.as_str());
    let of_keyring = || error.downcast_ref::<KeyringError>().map(KeyringError::remedy);
    let of_registration = || error.downcast_ref::<RegisterError>().and_then(RegisterError::remedy);
    of_failure.or_else(of_keyring).or_else(of_registration)
}

/// Tells what went wrong, and gives the exit code: 0 done, 1 failed, 2 usage error, and of a command that a signal ended what
/// shells make of it (130 after Ctrl-C).
pub fn tell(ended: anyhow::Result<Outcome>) -> ExitCode {
    let error = match ended {
        Ok(Outcome::Done) => return ExitCode::SUCCESS,
        Ok(Outcome::Failed) => return ExitCode::FAILURE,
        Ok(Outcome::EndedBy(signal)) => return ExitCode::from(signal.exit_code()),
        Err(error) => error,
    };
    // With standard error closed, the exit code alone speaks.
    let mut stderr = std::io::stderr().lock();
    if let Some(mistakes) = error.downcast_ref::<Mistakes>() {
        writeln!(stderr, "{mistakes}").unwrap_or_default();
        return ExitCode::from(2);
    }
    writeln!(stderr, "error: {error:#}").unwrap_or_default();
    if let Some(remedy) = remedy(&error) {
        writeln!(stderr, "    {remedy}").unwrap_or_default();
    }
    ExitCode::FAILURE
}
