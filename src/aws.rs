//! What the services of AWS have in common: settings, endpoints, the making of calls, and how they fail.

pub(crate) mod caller;
pub(crate) mod clock;
pub(crate) mod endpoint;
pub(crate) mod failure;

pub use self::endpoint::UnusableSettings;
use crate::retry::{Class, class_of_fault};
pub use crate::retry::{Code, Fault};

/// A call failed as a whole. Holds no body.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{call} failed: {fault}")]
pub struct CallError {
    /// The API call, as the service names it.
    pub call: &'static str,
    /// What went wrong.
    pub fault: Fault,
    /// The HTTP status, where a reply came.
    pub status: Option<u16>,
}

impl CallError {
    /// Whether the same call would fail again: the service refuses it, and no pause helps.
    pub fn is_for_good(&self) -> bool {
        class_of_fault(&self.fault, self.status) != Class::Transient
    }

    /// Whether the service may have done what was asked: it did not say that it did not.
    pub fn may_have_taken_effect(&self) -> bool {
        matches!(self.fault, Fault::Timeout | Fault::Connection | Fault::Response)
            || self.status.is_some_and(|status| status >= 500)
    }

    /// Whether the server answered that the credentials were good once, and have expired; in the older query
    /// protocol's name or in that of the JSON protocol.
    pub fn names_expired_credentials(&self) -> bool {
        matches!(self.fault.name(), Some("ExpiredToken" | "ExpiredTokenException"))
    }

    /// Whether the server answered that the signature is wrong, which it is too where the time of the signature is not
    /// the server's.
    pub fn names_signature(&self) -> bool {
        const NAMES: [&str; 4] =
            ["SignatureDoesNotMatch", "InvalidSignatureException", "RequestTimeTooSkewed", "RequestExpired"];
        self.fault.name().is_some_and(|name| NAMES.contains(&name))
    }
}

/// Whether a code of an entry, or of a call, says that what was sent can never be taken, by no sender and at no time.
pub fn names_content(code: &Code) -> bool {
    const NAMES: [&str; 11] = [
        "InvalidMessageContents",
        "InvalidMessageStructure",
        "InvalidAttributeValue",
        "InvalidParameter",
        "InvalidParameterException",
        "InvalidParameterValue",
        "InvalidParameterValueException",
        "ParameterValueInvalid",
        "MessageTooLong",
        "BatchRequestTooLong",
        "SerializationException",
    ];
    NAMES.contains(&code.name())
}
