//! How a command tells that it failed, and its exit code: one shape for all of them.

use std::error::Error;
use std::fmt::{self, Display};
use std::io::{self, Write as _};
use std::process::ExitCode;

use super::Outcome;
use crate::carry::export::ExportError;
use crate::carry::import::ImportError;
use crate::carry::read::LetterFileError;
use crate::config::Mistakes;
use crate::database::DatabaseError;
use crate::database::address::TlsError;
use crate::database::migrate::MigrateError;
use crate::drain::DrainError;
use crate::keyring::KeyringError;
use crate::keys::{KeyMismatch, RegisterError};
use crate::queue::sqs::ConnectError;
use crate::sink::OpenError;

/// Why a command did not do what it was asked.
///
/// `?` makes one of the errors that say what to do about them (`Remedied`), and of no other: what else goes wrong is given
/// its remedy where it is met, or deliberately none.
#[derive(Debug)]
pub struct Failure {
    complaints: Vec<Complaint>,
    exit_code: u8,
}

/// One thing that went wrong.
#[derive(Debug)]
struct Complaint {
    what: String,
    remedy: Option<String>,
}

impl Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        self.remedy.as_ref().map_or(Ok(()), |remedy| write!(f, "\n    {remedy}"))
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.complaints.iter().try_for_each(|complaint| writeln!(f, "{complaint}"))
    }
}

impl Failure {
    /// What went wrong, and what to do about it.
    pub(super) fn new(what: impl Display, remedy: impl Display) -> Self {
        Self::of([(what.to_string(), Some(remedy.to_string()))])
    }

    /// What went wrong, where its cause says all that can be done.
    pub(super) fn without_remedy(what: impl Display) -> Self {
        Self::of([(what.to_string(), None)])
    }

    /// Several things at once.
    pub(super) fn of(complaints: impl IntoIterator<Item = (String, Option<String>)>) -> Self {
        let complaints = complaints.into_iter().map(|(what, remedy)| Complaint { what, remedy }).collect();
        Self { complaints, exit_code: 1 }
    }

    /// A call to the system that failed: what it says is all that there is to say.
    pub fn of_system(attempted: impl Display) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::without_remedy(format!("{attempted}: {error}"))
    }

    /// The same, said of something larger.
    pub(super) fn within(mut self, of: impl Display) -> Self {
        for Complaint { what, .. } in &mut self.complaints {
            *what = format!("{of}: {what}");
        }
        self
    }

    /// Tells it to the log, for a command whose errors are lines of it.
    pub(super) fn log(&self) {
        for Complaint { what, remedy } in &self.complaints {
            tracing::error!(remedy, "{what}");
        }
    }
}

/// An error that a command may end with. It says what went wrong, and apart from that what to do about it.
pub(super) trait Remedied: Error + 'static {
    fn remedy(&self) -> String;
}

macro_rules! remedied {
    ($($error:ty),+ $(,)?) => {
        $(impl Remedied for $error {
            fn remedy(&self) -> String {
                <$error>::remedy(self).to_string()
            }
        })+
    };
}

remedied! {
    LetterFileError,
    ConnectError,
    DatabaseError,
    DrainError,
    ExportError,
    ImportError,
    KeyMismatch,
    KeyringError,
    MigrateError,
    OpenError,
    RegisterError,
    TlsError,
}

impl<E: Remedied> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(with_causes(&error), error.remedy())
    }
}

/// An error and its causes, outermost first, without repeating what is said already.
pub(super) fn with_causes(error: &(dyn Error + 'static)) -> String {
    std::iter::successors(Some(error), |&error| error.source()).fold(String::new(), |text, cause| {
        let cause = cause.to_string();
        match text {
            text if text.is_empty() => cause,
            text if text.contains(&cause) => text,
            text => format!("{text}: {cause}"),
        }
    })
}

impl From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Self {
        let complaints = mistakes.into_iter().map(|mistake| (mistake.what(), Some(mistake.remedy)));
        Self { exit_code: 2, ..Self::of(complaints) }
    }
}

/// Tells what went wrong, and gives the exit code: 0 done, 1 failed, 2 usage error, and of a command that a signal ended what
/// shells make of it (130 after Ctrl-C).
pub fn tell(ended: Result<Outcome, Failure>) -> ExitCode {
    let failure = match ended {
        Ok(Outcome::Done) => return ExitCode::SUCCESS,
        Ok(Outcome::Failed) => return ExitCode::FAILURE,
        Ok(Outcome::EndedBy(signal)) => return ExitCode::from(signal.exit_code()),
        Err(failure) => failure,
    };
    // With standard error closed, the exit code alone speaks.
    write!(io::stderr(), "{failure}").unwrap_or_default();
    ExitCode::from(failure.exit_code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::UnusableSettings;
    use crate::queue::{Code, Fault, QueueError};
    use crate::seal::KeyId;
    use crate::sink::http::ReceiverError;
    use crate::sink::sns::TopicError;

    /// Fails unless the error is one line, and its remedy another that the error does not hold already.
    fn assert_in_shape(failure: &Failure) {
        let told = failure.to_string();
        let [what, remedy] = told.lines().collect::<Vec<_>>()[..] else { panic!("{told}") };
        let (what, remedy) = (what.strip_prefix("error: ").unwrap(), remedy.strip_prefix("    ").unwrap());
        assert!(!what.is_empty() && !remedy.is_empty() && !what.contains(remedy), "{told}");
        assert!(!what.contains(": look ") && !what.contains(": set ") && !what.contains(": run "), "{told}");
    }

    fn refused(fault: Fault) -> ConnectError {
        let error = QueueError { call: "GetQueueAttributes", fault, status: Some(403) };
        ConnectError::Refused { error, place: "https://queue.example".to_owned(), cause: "as it said".to_owned() }
    }

    #[test]
    fn every_error_of_the_queue_has_its_remedy_below_it() {
        let text = || "https://queue.example".to_owned();
        for error in [
            ConnectError::NoRegion,
            ConnectError::NoCredentials { cause: text() },
            ConnectError::NotAnEndpoint { endpoint: text() },
            ConnectError::EndpointOverride { endpoint: text(), host: text() },
            ConnectError::InClear { endpoint: text() },
            ConnectError::NoQueue { queue: text(), place: text() },
            ConnectError::Unreachable { place: text(), cause: text() },
        ] {
            assert_in_shape(&error.into());
        }
        let codes = ["AccessDenied", "QueueDoesNotExist", "ExpiredToken", "SignatureDoesNotMatch"];
        let refusals = codes.map(|code| Fault::Refused(Code::new(code)));
        let faults = [
            Fault::Timeout,
            Fault::Unreachable,
            Fault::Connection,
            Fault::Response,
            Fault::Credentials,
            Fault::Request,
            Fault::Clock,
            Fault::Missing,
            Fault::OtherBody,
        ];
        faults.into_iter().chain(refusals).for_each(|fault| assert_in_shape(&refused(fault).into()));
        let denied = Failure::from(refused(Fault::Refused(Code::new("AccessDenied")))).to_string();
        assert!(denied.contains("let the credentials call sqs:GetQueueAttributes"), "{denied}");
    }

    #[test]
    fn every_error_of_a_sink_has_its_remedy_below_it() {
        let text = || "http://queue.example".to_owned();
        for unusable in [
            UnusableSettings::NoCredentials { cause: text() },
            UnusableSettings::NotAnEndpoint { endpoint: text() },
            UnusableSettings::InClear { endpoint: text() },
        ] {
            assert_in_shape(&OpenError::Topic(unusable.into()).into());
        }
        let topic = "arn:aws:sns:eu-central-1:123456789012:logins".parse().unwrap();
        assert_in_shape(&OpenError::Topic(TopicError::NoTopic(topic)).into());
        assert_in_shape(&OpenError::Receiver(ReceiverError::InClear("http://192.0.2.7/a".parse().unwrap())).into());
        assert_in_shape(&OpenError::Queue(ConnectError::NoRegion).into());
    }

    #[test]
    fn every_error_of_the_keys_and_of_a_migration_has_its_remedy_below_it() {
        let (id, path) = (|| "k1".parse::<KeyId>().unwrap(), || "keyring".into());
        let io = || io::Error::from(io::ErrorKind::PermissionDenied);
        for error in [
            KeyringError::Absent,
            KeyringError::Unreadable { path: path(), source: io() },
            KeyringError::Unwritable { path: path(), source: io() },
            KeyringError::Exists { path: path() },
            KeyringError::WrongHeader,
            KeyringError::NoActive,
            KeyringError::NoHashKey,
            KeyringError::UnknownActive(id()),
            KeyringError::IdTaken(id()),
            KeyringError::NoRandomness,
        ] {
            assert_in_shape(&error.into());
        }
        for mismatch in [
            KeyMismatch::NoneRegistered,
            KeyMismatch::Lacking(id()),
            KeyMismatch::OtherHashKey { has: id(), registered: id() },
            KeyMismatch::OtherKey(id()),
            KeyMismatch::Unregistered(id()),
        ] {
            assert_in_shape(&mismatch.clone().into());
            assert_in_shape(&RegisterError::Differs(mismatch).into());
        }
        let (found, remedy) = ("it belongs to another".to_owned(), "migrate as that role".to_owned());
        assert_in_shape(&MigrateError::Refused { found, remedy }.into());
    }

    #[test]
    fn a_cause_is_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("the disk is full")]
        struct Cause;
        #[derive(Debug, thiserror::Error)]
        #[error("{said}")]
        struct Outer {
            said: &'static str,
            source: Cause,
        }
        for said in ["cannot write", "cannot write: the disk is full"] {
            assert_eq!(with_causes(&Outer { said, source: Cause }), "cannot write: the disk is full");
        }
    }
}
