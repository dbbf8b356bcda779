//! What a failure means for the messages in hand: the one table that decides.

use std::fmt;
use std::time::Duration;

/// What a failure means. Nothing else in the program decides between these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It passes: the same again after a pause, as often as it takes. Never counts against a message.
    Transient,
    /// A statement waited for somebody, or took too long: the same again, and fewer messages at once where that fails too.
    /// Never counts against a message.
    Contended,
    /// The commit may or may not hold: run the transaction again, the claim decides.
    Ambiguous,
    /// A statement that carries rows of messages failed: one of them may be why, which is found out by splitting the batch.
    OfTheRows,
    /// No message is at fault and no pause helps: the loader stops and says why.
    OfTheSystem,
}

impl Class {
    /// The class in one word, for those who count.
    pub fn word(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Contended => "contended",
            Self::Ambiguous => "ambiguous",
            Self::OfTheRows => "of_the_rows",
            Self::OfTheSystem => "of_the_system",
        }
    }

    /// Whether the same transaction, run again, may do better.
    pub fn passes(self) -> bool {
        matches!(self, Self::Transient | Self::Contended | Self::Ambiguous)
    }
}

/// The class of an error that the database reported before COMMIT was sent, by its SQLSTATE (PostgreSQL documentation,
/// appendix A). Whose fault it is otherwise the SQLSTATE does not say: a trigger may give any.
pub fn class_of_sqlstate(sqlstate: &str) -> Class {
    match sqlstate {
        // A standby is read-only until it is promoted; the server ended a transaction in which this process (stopped, or
        // starved) said nothing for too long.
        "25006" | "25P03" | "25P04" => return Class::Transient,
        // A lock was awaited too long; the statement took too long.
        "55P03" | "57014" => return Class::Contended,
        _ => {}
    }
    match sqlstate.get(..2) {
        Some("40") => Class::Contended,
        Some("08" | "53" | "57" | "58") => Class::Transient,
        Some(_) | None => Class::OfTheSystem,
    }
}

/// Why the queue did not do what was asked: what went wrong on the way, or the queue's own word. Its text is a stable
/// word, for logs and counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// No complete reply within the deadline; the call may have taken effect.
    Timeout,
    /// No connection could be made: refused, not found, no TLS, or none in time; the call was not made.
    Unreachable,
    /// The connection was lost before the reply; the call may have taken effect.
    Connection,
    /// A reply that is not the protocol's: a proxy's page, a cut body; the call may have taken effect.
    Response,
    /// The call was not made, because no credentials were available just now; ones that the queue refuses have a code of
    /// its own.
    Credentials,
    /// The call could not be written.
    Request,
    /// The signature was refused because a clock has been set; the next call is signed by the queue's.
    Clock,
    /// The reply does not say what became of this entry.
    Missing,
    /// The queue holds another body than the one that was sent: their MD5s differ.
    OtherBody,
    /// The queue refused, and gave this code.
    Refused(Code),
}

impl Fault {
    /// Whether the same again may succeed, after a pause.
    ///
    /// An unknown refusal does not pass: a queue that is gone or closed to us does not come back by asking.
    pub fn passes(&self) -> bool {
        match self {
            Self::Timeout
            | Self::Unreachable
            | Self::Connection
            | Self::Response
            | Self::Credentials
            | Self::Clock
            | Self::Missing => true,
            Self::Request | Self::OtherBody => false,
            Self::Refused(code) => code.passes(),
        }
    }

    /// What the queue's code says, where it gave one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Refused(code) => Some(code.name()),
            Self::Timeout
            | Self::Unreachable
            | Self::Connection
            | Self::Response
            | Self::Credentials
            | Self::Request
            | Self::Clock
            | Self::Missing
            | Self::OtherBody => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Connection => "connection",
            Self::Response => "response",
            Self::Credentials => "credentials",
            Self::Request => "request",
            Self::Clock => "clock",
            Self::Missing => "missing",
            Self::OtherBody => "md5",
            Self::Refused(code) => code.as_str(),
        })
    }
}

/// An error code of the queue, as it came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(String);

impl Code {
    /// A code as the queue gives it.
    pub fn new(code: impl Into<String>) -> Self {
        Self(code.into())
    }

    /// As it came.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it says, whichever protocol it is spelled for: `X` of `AWS.SimpleQueueService.X`, of `com.amazonaws.sqs#X` and
    /// of `X;Sender`. Codes are compared by this, and shown as they came.
    pub fn name(&self) -> &str {
        let code = self.0.split_once(';').map_or(self.as_str(), |(code, _fault)| code);
        code.rsplit(['.', '#']).next().unwrap_or(code)
    }

    fn passes(&self) -> bool {
        const PASSING: [&str; 14] = [
            "ExpiredToken", // Their provider or an operator gives new ones; the loader asks each time.
            "ExpiredTokenException",
            "OverLimit",
            "RequestTimeout",
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "RequestThrottled",
            "RequestThrottledException",
            "TooManyRequestsException",
            "RequestLimitExceeded",
            "SlowDown",
            "ServiceUnavailable",
            "KmsThrottled",
        ];
        PASSING.contains(&self.name())
    }
}

/// The class of a failed call to the queue, by what went wrong and the HTTP status of its reply: 5xx and 429 pass,
/// whatever the code.
pub fn class_of_fault(fault: &Fault, status: Option<u16>) -> Class {
    match status {
        Some(429 | 500..) => Class::Transient,
        Some(_) | None if fault.passes() => Class::Transient,
        Some(_) | None => Class::OfTheSystem,
    }
}

/// How long a rejected message stays hidden before its next delivery: `first`, doubled with every delivery so far,
/// at most `longest`.
pub fn pause_before_redelivery(receive_count: u32, first: Duration, longest: Duration) -> Duration {
    let doublings = receive_count.saturating_sub(1).min(31);
    first.saturating_mul(1_u32 << doublings).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sqlstate_has_the_class_of_its_meaning() {
        for (sqlstate, class) in [
            ("08006", Class::Transient),
            ("40001", Class::Contended),
            ("40P01", Class::Contended),
            ("53100", Class::Transient),
            ("53300", Class::Transient),
            ("55P03", Class::Contended),
            ("57014", Class::Contended),
            ("57P01", Class::Transient),
            ("57P03", Class::Transient),
            ("58030", Class::Transient),
            ("25006", Class::Transient),
            ("22001", Class::OfTheSystem),
            ("22021", Class::OfTheSystem),
            ("22P05", Class::OfTheSystem),
            ("23502", Class::OfTheSystem),
            ("23514", Class::OfTheSystem),
            ("54001", Class::OfTheSystem),
            ("54000", Class::OfTheSystem),
            ("25P02", Class::OfTheSystem),
            ("25P03", Class::Transient),
            ("42P01", Class::OfTheSystem),
            ("42501", Class::OfTheSystem),
            ("28P01", Class::OfTheSystem),
            ("3D000", Class::OfTheSystem),
            ("3F000", Class::OfTheSystem),
            ("XX001", Class::OfTheSystem),
            ("P0001", Class::OfTheSystem),
            ("55000", Class::OfTheSystem),
            ("", Class::OfTheSystem),
            ("é", Class::OfTheSystem),
        ] {
            assert_eq!(class_of_sqlstate(sqlstate), class, "{sqlstate}");
        }
    }

    #[test]
    fn a_queue_error_stops_the_loader_unless_it_is_known_to_pass() {
        for (code, status, class) in [
            ("ThrottlingException", Some(400), Class::Transient),
            ("com.amazonaws.sqs#RequestThrottled", Some(403), Class::Transient),
            ("AWS.SimpleQueueService.OverLimit", Some(403), Class::Transient),
            ("OverLimit;Sender", Some(403), Class::Transient),
            ("InternalError", Some(500), Class::Transient),
            ("", Some(503), Class::Transient),
            ("", Some(429), Class::Transient),
            ("AWS.SimpleQueueService.NonExistentQueue", Some(400), Class::OfTheSystem),
            ("QueueDoesNotExist", Some(400), Class::OfTheSystem),
            ("AccessDenied", Some(403), Class::OfTheSystem),
            ("InvalidClientTokenId", Some(403), Class::OfTheSystem),
            ("SignatureDoesNotMatch", Some(403), Class::OfTheSystem),
            ("ExpiredToken", Some(403), Class::Transient),
            ("ExpiredTokenException", Some(400), Class::Transient),
        ] {
            assert_eq!(class_of_fault(&Fault::Refused(Code::new(code)), status), class, "{code} {status:?}");
        }
        for (fault, status, class) in [
            (Fault::Timeout, None, Class::Transient),
            (Fault::Connection, None, Class::Transient),
            (Fault::Unreachable, None, Class::Transient),
            (Fault::Response, Some(200), Class::Transient),
            (Fault::Clock, Some(403), Class::Transient),
            (Fault::Credentials, None, Class::Transient),
            (Fault::Request, None, Class::OfTheSystem),
        ] {
            assert_eq!(class_of_fault(&fault, status), class, "{fault} {status:?}");
        }
    }

    #[test]
    fn a_code_of_the_queue_that_reads_like_a_fault_of_ours_is_the_queue_s() {
        for word in ["timeout", "connection", "unreachable", "response", "credentials", "clock", "missing"] {
            let refused = Fault::Refused(Code::new(word));
            assert_eq!((refused.to_string().as_str(), refused.passes()), (word, false));
        }
    }

    #[test]
    fn the_pause_before_a_redelivery_doubles_with_each_delivery_up_to_the_longest() {
        let pause = |count| pause_before_redelivery(count, Duration::from_secs(5), Duration::from_secs(900)).as_secs();
        assert_eq!([0, 1, 2, 3, 8, 9, 40, u32::MAX].map(pause), [5, 5, 10, 20, 640, 900, 900, 900]);
    }
}
