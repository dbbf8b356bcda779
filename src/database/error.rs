//! Why a call to the database failed, and what that means.

use std::time::Duration;

use deadpool_postgres::PoolError;

use crate::retry::{Class, class_of_sqlstate};

/// A call to the database failed. Holds SQLSTATE and constraint name, never the server's message: it quotes values.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{attempted}: {failure}")]
pub struct DatabaseError {
    attempted: &'static str,
    failure: Failure,
    ambiguous: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Failure {
    #[error("no answer within {} ms", .0.as_millis())]
    Deadline(Duration),
    #[error("the connection was lost or could not be made{}", .0.map(|kind| format!(" ({kind})")).unwrap_or_default())]
    Connection(Option<std::io::ErrorKind>),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("SQLSTATE {sqlstate}{}{}", constraint.as_deref().map(|name| format!(", constraint {name}")).unwrap_or_default(), way_out(sqlstate))]
    Refused { sqlstate: String, constraint: Option<String> },
    #[error("{0}")]
    Unexpected(String),
}

fn way_out(sqlstate: &str) -> &'static str {
    match sqlstate {
        "42501" => ": the role lacks a grant; `turnstile check` names it, and deploy/grants.sql holds them all",
        "42P01" => ": a table is missing; run `turnstile migrate`",
        _ => "",
    }
}

impl DatabaseError {
    /// What the failure means for the messages in hand.
    pub fn class(&self) -> Class {
        match &self.failure {
            _ if self.ambiguous => Class::Ambiguous,
            Failure::Deadline(_) | Failure::Connection(_) => Class::Transient,
            Failure::Tls(_) | Failure::Unexpected(_) => Class::OfTheSystem,
            Failure::Refused { sqlstate, .. } => match class_of_sqlstate(sqlstate) {
                // Where no data was sent yet, a refusal of data is none of a message.
                Class::OfOneMessage if matches!(self.attempted, "connect" | "begin") => Class::OfTheSystem,
                // A server whose disk is full may fail to start a session with an internal error; nothing of ours is wrong.
                Class::OfTheSystem if self.attempted == "connect" && sqlstate == "XX000" => Class::Transient,
                class => class,
            },
        }
    }

    /// Whether a statement that carries the batch took longer than it may: less at once may help.
    pub fn is_overrun(&self) -> bool {
        let took_too_long = match &self.failure {
            Failure::Deadline(_) => true,
            Failure::Refused { sqlstate, .. } => sqlstate == "57014",
            Failure::Connection(_) | Failure::Tls(_) | Failure::Unexpected(_) => false,
        };
        took_too_long && !matches!(self.attempted, "connect" | "begin" | "commit")
    }

    pub(super) fn is_of_connection(&self) -> bool {
        match &self.failure {
            Failure::Deadline(_) | Failure::Connection(_) => true,
            Failure::Refused { .. } | Failure::Tls(_) | Failure::Unexpected(_) => false,
        }
    }

    /// The server's SQLSTATE, where it gave one.
    pub fn sqlstate(&self) -> Option<&str> {
        match &self.failure {
            Failure::Refused { sqlstate, .. } => Some(sqlstate),
            Failure::Deadline(_) | Failure::Connection(_) | Failure::Tls(_) | Failure::Unexpected(_) => None,
        }
    }

    /// The name of the constraint that a row breaks, where the server gave one.
    pub fn constraint(&self) -> Option<&str> {
        match &self.failure {
            Failure::Refused { constraint, .. } => constraint.as_deref(),
            Failure::Deadline(_) | Failure::Connection(_) | Failure::Tls(_) | Failure::Unexpected(_) => None,
        }
    }

    /// A finding of our own: an answer that breaks what the caller relies on.
    pub(super) fn unexpected(attempted: &'static str, problem: String) -> Self {
        Self { attempted, failure: Failure::Unexpected(problem), ambiguous: false }
    }

    pub(super) fn deadline(attempted: &'static str, after: Duration) -> Self {
        Self { attempted, failure: Failure::Deadline(after), ambiguous: false }
    }

    pub(super) fn made_ambiguous(self) -> Self {
        Self { ambiguous: true, ..self }
    }

    pub(super) fn from_pool(error: &PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::from_driver("connect", error),
            PoolError::Timeout(_)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => {
                Self { attempted: "connect", failure: Failure::Unexpected(error.to_string()), ambiguous: false }
            }
        }
    }

    pub(super) fn from_driver(attempted: &'static str, error: &tokio_postgres::Error) -> Self {
        Self { attempted, failure: Failure::of(attempted, error), ambiguous: false }
    }
}

impl Failure {
    fn of(attempted: &str, error: &tokio_postgres::Error) -> Self {
        if let Some(refusal) = error.as_db_error() {
            let sqlstate = refusal.code().code().to_owned();
            return Self::Refused { sqlstate, constraint: refusal.constraint().map(str::to_owned) };
        }
        if error.is_closed() {
            return Self::Connection(None);
        }
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            if let Some(io) = cause.downcast_ref::<std::io::Error>() {
                return match io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                    Some(tls) => Self::Tls(tls.to_string()),
                    None => Self::Connection(Some(io.kind())),
                };
            }
            source = cause.source();
        }
        // While connecting, the driver speaks of settings; later it may speak of values.
        match attempted {
            "connect" => Self::Unexpected(error.to_string()),
            _ => Self::Unexpected("the driver cannot make or read a value".to_owned()),
        }
    }
}
