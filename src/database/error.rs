//! Why a call to the database failed, and what that means.

use std::fmt;
use std::time::Duration;

use tokio_postgres::error::DbError;

use super::schemas::Schema;
use crate::retry::{Class, class_of_sqlstate};

/// A call to the database failed. Holds SQLSTATE and names of tables and constraints, never the server's message: it
/// quotes values.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{attempted}: {failure}")]
pub struct DatabaseError {
    attempted: &'static str,
    failure: Failure,
    ambiguous: bool,
    /// Whether what is known of this database says that the failure passes, whatever it would mean elsewhere.
    passes: bool,
    /// Whether it is a failure of a statement whose rows others may have constraints and triggers for.
    of_rows: bool,
}

/// What the driver says when the server declines TLS: it has no kind of error for it.
const NO_TLS: &str = "server does not support TLS";

/// What it says of a standby where one was looked for that takes rows.
const TAKES_NO_ROWS: &str = "database does not allow writes";

/// The SQLSTATE of what the server did not expect itself.
const INTERNAL_ERROR: &str = "XX000";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Failure {
    #[error("no answer within {} ms", .0.as_millis())]
    Deadline(Duration),
    #[error("the connection was lost or could not be made{}", .0.map(|kind| format!(" ({kind})")).unwrap_or_default())]
    Connection(Option<std::io::ErrorKind>),
    #[error("the host that answers takes no rows: it is a standby, or read-only by default")]
    TakesNoRows,
    #[error("TLS: {said}")]
    Tls { said: String, of_certificate: bool },
    #[error("{}", no_tls(*.offered_before))]
    NoTls { offered_before: bool },
    #[error("{0}")]
    Refused(Refusal),
    #[error("{0}")]
    Unexpected(String),
    /// An answer that another run of the transaction is expected to change.
    #[error("{0}")]
    Unsettled(String),
    /// The server took fewer rows than it was given, and said nothing.
    #[error("{0}")]
    Dropped(String),
}

/// A server that has no process for a connection answers as one without TLS does.
fn no_tls(offered_before: bool) -> &'static str {
    match offered_before {
        true => {
            "the server did not offer TLS, which it did before: it is out of processes, or another one answers in its place"
        }
        false => {
            "the server did not offer TLS: set ssl = on there, or, where the way to it needs no protection, name \
             sslmode=disable in the database URL"
        }
    }
}

/// What the server says of what it refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    sqlstate: Box<str>,
    schema: Option<Box<str>>,
    table: Option<Box<str>>,
    constraint: Option<Box<str>>,
    names_constraint: bool,
}

impl Refusal {
    fn of(error: &DbError) -> Self {
        Self {
            sqlstate: error.code().code().into(),
            schema: error.schema().and_then(plain_name),
            table: error.table().and_then(plain_name),
            constraint: error.constraint().and_then(plain_name),
            names_constraint: error.constraint().is_some(),
        }
    }
}

/// A trigger gives what it likes as the name of a table or a constraint, values of the row included: only what looks
/// like a name is kept.
fn plain_name(name: &str) -> Option<Box<str>> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
    ((1..=63).contains(&name.len()) && name.bytes().all(plain)).then(|| name.into())
}

impl Refusal {
    /// A row that fits into no partition breaks a check of the table that has no name. A trigger that gives this code
    /// names neither.
    fn is_of_partitions(&self) -> bool {
        &*self.sqlstate == "23514" && !self.names_constraint && self.table.is_some()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SQLSTATE {}", self.sqlstate)?;
        if let Some(constraint) = &self.constraint {
            write!(f, ", constraint {constraint}")?;
        }
        remedy(&self.sqlstate).map_or(Ok(()), |remedy| write!(f, ": {remedy}"))
    }
}

fn remedy(sqlstate: &str) -> Option<&'static str> {
    match sqlstate {
        "42501" => Some("the role lacks a grant; `turnstile check` names it, and deploy/grants.sql holds them all"),
        "42P01" => Some(
            "a table is missing; run `turnstile migrate`, unless it is one of a trigger, whose function must set its own search_path",
        ),
        "26000" | "42P05" => Some(PASSED_ROUND),
        _ => None,
    }
}

/// Prepared statements do not stay with their connection.
pub(super) const PASSED_ROUND: &str = "a pooler gives each transaction another connection, with the prepared statements \
     of others; use its session mode, or PgBouncer 1.21 or newer with max_prepared_statements above 0";

impl DatabaseError {
    /// What the failure means for the messages in hand.
    pub fn class(&self) -> Class {
        match &self.failure {
            _ if self.ambiguous => Class::Ambiguous,
            _ if self.passes => Class::Transient,
            Failure::Deadline(_) if self.is_of_statement() => Class::Contended,
            Failure::Deadline(_) | Failure::Connection(_) | Failure::TakesNoRows | Failure::Unsettled(_) => {
                Class::Transient
            }
            Failure::Dropped(_) if self.of_rows => Class::OfTheRows,
            Failure::Tls { .. } | Failure::NoTls { .. } | Failure::Unexpected(_) | Failure::Dropped(_) => {
                Class::OfTheSystem
            }
            Failure::Refused(refusal) => match class_of_sqlstate(&refusal.sqlstate) {
                // A server whose disk is full may fail to start a session with an internal error; nothing of ours is wrong.
                Class::OfTheSystem if self.attempted == "connect" && &*refusal.sqlstate == INTERNAL_ERROR => {
                    Class::Transient
                }
                Class::OfTheSystem if self.of_rows && !refusal.is_of_partitions() => Class::OfTheRows,
                Class::Contended if !self.is_of_statement() => Class::Transient,
                class => class,
            },
        }
    }

    /// The same failure, of a statement that wrote rows into a table of which Turnstile's are not the only constraints:
    /// the rows may be why it failed, whatever the SQLSTATE. A constraint of a table in Turnstile's `own` schema is never
    /// a row's fault.
    pub fn of_rows(self, own: &Schema) -> Self {
        let of_rows = self.schema() != Some(own.name());
        Self { of_rows, ..self }
    }

    /// Whether another transaction should be run: what this one relied on was removed while it ran.
    pub fn is_unsettled(&self) -> bool {
        matches!(self.failure, Failure::Unsettled(_))
    }

    /// Whether it waited for a lock for too long.
    pub fn is_lock_wait(&self) -> bool {
        self.sqlstate() == Some("55P03")
    }

    /// Whether its SQLSTATE is one that the server gives for missing grants, tables, columns and features: most likely
    /// every row is refused alike.
    pub fn is_of_setup(&self) -> bool {
        self.sqlstate().and_then(|code| code.get(..2)).is_some_and(|class| matches!(class, "0A" | "3F" | "42"))
    }

    /// Whether a statement was under way, not what comes before the first and after the last.
    fn is_of_statement(&self) -> bool {
        !matches!(self.attempted, "connect" | "begin" | "commit")
    }

    pub(super) fn is_of_connection(&self) -> bool {
        match &self.failure {
            Failure::Deadline(_) | Failure::Connection(_) | Failure::TakesNoRows => true,
            Failure::Refused(_)
            | Failure::Tls { .. }
            | Failure::NoTls { .. }
            | Failure::Unexpected(_)
            | Failure::Unsettled(_)
            | Failure::Dropped(_) => false,
        }
    }

    /// The server's SQLSTATE, where it gave one.
    pub fn sqlstate(&self) -> Option<&str> {
        self.refusal().map(|refusal| &*refusal.sqlstate)
    }

    /// The table whose row or definition the server refuses to go against, where it named one.
    pub fn table(&self) -> Option<&str> {
        self.refusal().and_then(|refusal| refusal.table.as_deref())
    }

    /// The schema of that table.
    pub fn schema(&self) -> Option<&str> {
        self.refusal().and_then(|refusal| refusal.schema.as_deref())
    }

    /// The name of the constraint that a row breaks, where the server gave one that looks like a name: a trigger may
    /// give a value of the row.
    pub fn constraint(&self) -> Option<&str> {
        self.refusal().and_then(|refusal| refusal.constraint.as_deref())
    }

    fn refusal(&self) -> Option<&Refusal> {
        match &self.failure {
            Failure::Refused(refusal) => Some(refusal),
            Failure::Deadline(_)
            | Failure::Connection(_)
            | Failure::TakesNoRows
            | Failure::Tls { .. }
            | Failure::NoTls { .. }
            | Failure::Unexpected(_)
            | Failure::Unsettled(_)
            | Failure::Dropped(_) => None,
        }
    }

    /// On a server that spreads its tables over others, an internal error is most often one of those that is away:
    /// `failure on connection marked as essential` has no SQLSTATE of its own.
    pub(super) fn where_tables_are_sharded(self) -> Self {
        let passes = self.passes || self.sqlstate() == Some(INTERNAL_ERROR);
        Self { passes, ..self }
    }

    /// Where these settings have led to a connection before, what keeps the next from being made passes: a server that
    /// has no process for it, a load balancer whose servers are away. What only a person can mend stays.
    pub(super) fn after_a_connection(self) -> Self {
        let failure = match self.failure {
            Failure::NoTls { .. } => Failure::NoTls { offered_before: true },
            other => other,
        };
        let passes = match &failure {
            Failure::Refused(Refusal { sqlstate, .. }) => {
                !(sqlstate.starts_with("28") || matches!(&**sqlstate, "3D000" | "42501"))
            }
            Failure::Tls { of_certificate, .. } => !of_certificate,
            Failure::NoTls { .. }
            | Failure::Deadline(_)
            | Failure::Connection(_)
            | Failure::TakesNoRows
            | Failure::Unexpected(_)
            | Failure::Unsettled(_)
            | Failure::Dropped(_) => true,
        };
        Self { failure, passes, ..self }
    }

    /// A finding of our own: an answer that breaks what the caller relies on.
    pub(super) fn unexpected(attempted: &'static str, problem: String) -> Self {
        Self::new(attempted, Failure::Unexpected(problem))
    }

    pub(super) fn unsettled(attempted: &'static str, problem: String) -> Self {
        Self::new(attempted, Failure::Unsettled(problem))
    }

    pub(super) fn dropped(attempted: &'static str, problem: String) -> Self {
        Self::new(attempted, Failure::Dropped(problem))
    }

    pub(super) fn deadline(attempted: &'static str, after: Duration) -> Self {
        Self::new(attempted, Failure::Deadline(after))
    }

    pub(super) fn made_ambiguous(self) -> Self {
        Self { ambiguous: true, ..self }
    }

    pub(super) fn from_driver(attempted: &'static str, error: &tokio_postgres::Error) -> Self {
        Self::new(attempted, Failure::of(attempted, error))
    }

    fn new(attempted: &'static str, failure: Failure) -> Self {
        Self { attempted, failure, ambiguous: false, passes: false, of_rows: false }
    }
}

impl Failure {
    fn of(attempted: &str, error: &tokio_postgres::Error) -> Self {
        if let Some(refusal) = error.as_db_error() {
            return Self::Refused(Refusal::of(refusal));
        }
        if error.is_closed() {
            return Self::Connection(None);
        }
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            if let Some(io) = cause.downcast_ref::<std::io::Error>() {
                return match io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                    Some(tls) => Self::Tls {
                        said: tls.to_string(),
                        of_certificate: matches!(tls, rustls::Error::InvalidCertificate(_)),
                    },
                    None if io.to_string() == TAKES_NO_ROWS => Self::TakesNoRows,
                    None => Self::Connection(Some(io.kind())),
                };
            }
            if cause.to_string() == NO_TLS {
                return Self::NoTls { offered_before: false };
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
