//! Why a call to the database failed, and what that means.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use tokio_postgres::error::DbError;

use super::certificate::{Explained, explained};
use super::remedy::{PASSED_ROUND, of_driver};
use super::schemas::Schema;
use crate::retry::{Class, class_of_sqlstate};

/// A call to the database failed. Holds SQLSTATE and names of tables and constraints, and the server's message only where
/// no connection was made: later it quotes values. Its text says what happened, and for a connection where it should have
/// led; [`DatabaseError::remedy`] says what to do.
#[derive(Clone, Debug, thiserror::Error)]
pub struct DatabaseError {
    phase: Phase,
    /// Where no connection could be made to.
    place: Option<Arc<Place>>,
    failure: Failure,
    ambiguous: bool,
    /// Whether what is known of this database says that the failure passes, whatever it would mean elsewhere.
    passes: bool,
    /// Whether it is a failure of a statement whose rows others may have constraints and triggers for.
    of_rows: bool,
    by_their_day: bool,
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "connect to {}: {}", place.text, self.failure.of_connecting()),
            None => write!(f, "{}: {}", self.phase, self.failure),
        }
    }
}

/// How far a transaction had come when a call of it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// There was no connection yet.
    Connecting,
    /// The transaction was being begun.
    Beginning,
    /// A statement was under way; its name is for people only.
    Working(&'static str),
    /// The commit was under way.
    Committing,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "connect",
            Self::Beginning => "begin",
            Self::Working(statement) => statement,
            Self::Committing => "commit",
        })
    }
}

/// Where a connection leads: host, port, database and role, never the password.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) text: String,
    /// Whether the password is a token of AWS's IAM.
    pub(super) by_token: bool,
}

/// What the driver says when the server declines TLS: it has no kind of error for it.
const NO_TLS: &str = "server does not support TLS";

/// What it says where the server asks for a password and there is none.
const NO_PASSWORD: &str = "password missing";

/// How the standard library's error of a name look-up begins: it has no kind of its own.
const NO_SUCH_NAME: &str = "failed to lookup address information";

/// What it says of a standby where one was looked for that takes rows.
const TAKES_NO_ROWS: &str = "database does not allow writes";

/// The SQLSTATE of what the server did not expect itself.
const INTERNAL_ERROR: &str = "XX000";

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("no answer within {} ms", .0.as_millis())]
    Deadline(Duration),
    #[error("the connection was lost{}", .0.map(|kind| format!(" ({kind})")).unwrap_or_default())]
    Connection(Option<io::ErrorKind>),
    /// The name of the host is not known, or nobody answers for names.
    #[error("the host's name is not found ({0})")]
    NoSuchName(String),
    #[error("the host that answers takes no rows: it is a standby, or read-only by default")]
    TakesNoRows,
    #[error("TLS: {}", .explained.cause)]
    Tls { explained: Box<Explained>, of_certificate: bool },
    #[error("{}", no_tls(*.offered_before))]
    NoTls { offered_before: bool },
    #[error("the server asks for a password, and none is given")]
    NoPassword,
    /// The password could not be made.
    #[error("{0}")]
    NoToken(String),
    #[error("{0}")]
    Refused(Box<Refusal>),
    #[error("{problem}")]
    Unexpected { problem: String, remedy: Cow<'static, str> },
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
        false => "the server did not offer TLS",
    }
}

/// What the server says of what it refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) sqlstate: Box<str>,
    /// The server's words, where no statement was under way.
    said: Option<Box<str>>,
    schema: Option<Box<str>>,
    table: Option<Box<str>>,
    constraint: Option<Box<str>>,
    names_constraint: bool,
}

/// How much of a server's words is shown: it may not be the one that was meant.
const LONGEST_SAID: usize = 300;

impl Refusal {
    fn of(phase: Phase, error: &DbError) -> Self {
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        let said = || error.message().chars().take(LONGEST_SAID).map(printable).collect::<String>().into();
        Self {
            sqlstate: error.code().code().into(),
            said: (phase == Phase::Connecting).then(said),
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

    /// The same of this table, or of whichever it was.
    fn may_be_of_partitions(&self, table: &str) -> bool {
        &*self.sqlstate == "23514" && !self.names_constraint && self.table.as_deref().is_none_or(|named| named == table)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(said) = &self.said {
            return write!(f, "{said} (SQLSTATE {})", self.sqlstate);
        }
        write!(f, "SQLSTATE {}", self.sqlstate)?;
        if let Some(meaning) = meaning_of(&self.sqlstate) {
            write!(f, " ({meaning})")?;
        }
        self.constraint.as_ref().map_or(Ok(()), |constraint| write!(f, ", constraint {constraint}"))
    }
}

/// What a SQLSTATE means, where its remedy alone would leave that open.
fn meaning_of(sqlstate: &str) -> Option<&'static str> {
    match sqlstate {
        "42501" => Some("this role may not do that"),
        "42P01" => Some("a table is missing"),
        "26000" | "42P05" => Some(PASSED_ROUND),
        _ => None,
    }
}

impl DatabaseError {
    /// What to do about it.
    pub fn remedy(&self) -> &str {
        match self.phase {
            Phase::Connecting => {
                let by_token = self.place.as_ref().is_some_and(|place| place.by_token);
                self.failure.remedy_of_connection(by_token)
            }
            Phase::Beginning | Phase::Working(_) | Phase::Committing => self.failure.remedy_of_transaction(),
        }
    }

    /// What the failure means for the messages in hand.
    pub fn class(&self) -> Class {
        match &self.failure {
            _ if self.ambiguous => Class::Ambiguous,
            _ if self.passes => Class::Transient,
            Failure::Deadline(_) if self.is_of_statement() => Class::Contended,
            Failure::Deadline(_)
            | Failure::Connection(_)
            | Failure::NoSuchName(_)
            | Failure::TakesNoRows
            | Failure::Unsettled(_) => Class::Transient,
            Failure::Dropped(_) if self.of_rows => Class::OfTheRows,
            Failure::Tls { .. }
            | Failure::NoTls { .. }
            | Failure::NoPassword
            | Failure::NoToken(_)
            | Failure::Unexpected { .. }
            | Failure::Dropped(_) => Class::OfTheSystem,
            Failure::Refused(refusal) => match class_of_sqlstate(&refusal.sqlstate) {
                // A server whose disk is full may fail to start a session with an internal error; nothing of ours is wrong.
                Class::OfTheSystem if self.phase == Phase::Connecting && &*refusal.sqlstate == INTERNAL_ERROR => {
                    Class::Transient
                }
                Class::OfTheSystem if self.of_rows && (self.by_their_day || !refusal.is_of_partitions()) => {
                    Class::OfTheRows
                }
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

    /// The same failure, of rows of which some say their own day: then the lack of a partition may be theirs.
    pub fn of_rows_with_days(self) -> Self {
        Self { by_their_day: true, ..self }
    }

    /// The same failure, of a COPY into a distributed table: Citus says that it is internal, whatever a worker said, and an
    /// INSERT of the same rows says which.
    pub(crate) fn of_a_copy(self) -> Self {
        let passes = self.passes && self.sqlstate() != Some(INTERNAL_ERROR);
        Self { passes, ..self }
    }

    /// Whether this table may have no partition for a row: Citus does not pass on which table it was.
    pub fn may_lack_partition_of(&self, table: &str) -> bool {
        match &self.failure {
            Failure::Refused(refusal) => refusal.may_be_of_partitions(table),
            _ => false,
        }
    }

    /// Whether another transaction should be run: what this one relied on was removed while it ran.
    pub fn is_unsettled(&self) -> bool {
        matches!(self.failure, Failure::Unsettled(_))
    }

    /// Whether it waited for a lock for too long.
    pub fn is_lock_wait(&self) -> bool {
        self.sqlstate() == Some("55P03")
    }

    /// Whether the server gave it up so that others go on: at the end of its time, of its wait for a lock, or in a deadlock.
    pub fn gave_way(&self) -> bool {
        matches!(self.sqlstate(), Some("57014" | "55P03" | "40P01"))
    }

    /// Whether there was no answer within its deadline.
    pub fn is_late(&self) -> bool {
        matches!(self.failure, Failure::Deadline(_))
    }

    /// Whether the server asks for a password, and none was given.
    pub fn asks_for_password(&self) -> bool {
        matches!(self.failure, Failure::NoPassword)
    }

    /// Whether its SQLSTATE is one that the server gives for missing grants, tables, columns and features: most likely
    /// every row is refused alike.
    pub fn is_of_setup(&self) -> bool {
        self.sqlstate().and_then(|code| code.get(..2)).is_some_and(|class| matches!(class, "0A" | "3F" | "42"))
    }

    /// Whether a statement was under way, not what comes before the first and after the last.
    fn is_of_statement(&self) -> bool {
        matches!(self.phase, Phase::Working(_))
    }

    pub(super) fn is_of_connection(&self) -> bool {
        match &self.failure {
            Failure::Deadline(_) | Failure::Connection(_) | Failure::NoSuchName(_) | Failure::TakesNoRows => true,
            Failure::Refused(_)
            | Failure::NoPassword
            | Failure::NoToken(_)
            | Failure::Tls { .. }
            | Failure::NoTls { .. }
            | Failure::Unexpected { .. }
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
            | Failure::NoSuchName(_)
            | Failure::TakesNoRows
            | Failure::Tls { .. }
            | Failure::NoTls { .. }
            | Failure::NoPassword
            | Failure::NoToken(_)
            | Failure::Unexpected { .. }
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
            Failure::Refused(refusal) => {
                !(refusal.sqlstate.starts_with("28") || matches!(&*refusal.sqlstate, "3D000" | "42501"))
            }
            Failure::Tls { of_certificate, .. } => !of_certificate,
            Failure::NoPassword => false,
            Failure::NoTls { .. }
            | Failure::Deadline(_)
            | Failure::Connection(_)
            | Failure::NoSuchName(_)
            | Failure::NoToken(_)
            | Failure::TakesNoRows
            | Failure::Unexpected { .. }
            | Failure::Unsettled(_)
            | Failure::Dropped(_) => true,
        };
        Self { failure, passes, ..self }
    }

    /// A finding of our own: an answer that breaks what the caller relies on.
    pub(super) fn unexpected(phase: Phase, problem: impl Into<String>, remedy: impl Into<Cow<'static, str>>) -> Self {
        Self::new(phase, Failure::Unexpected { problem: problem.into(), remedy: remedy.into() })
    }

    pub(super) fn unsettled(phase: Phase, problem: String) -> Self {
        Self::new(phase, Failure::Unsettled(problem))
    }

    pub(super) fn dropped(phase: Phase, problem: String) -> Self {
        Self::new(phase, Failure::Dropped(problem))
    }

    pub(super) fn deadline(phase: Phase, after: Duration) -> Self {
        Self::new(phase, Failure::Deadline(after))
    }

    /// No password could be made to connect with.
    pub(super) fn without_token(why: String) -> Self {
        Self::new(Phase::Connecting, Failure::NoToken(why))
    }

    /// The same, with the place to which no connection could be made.
    pub(super) fn at(self, place: &Arc<Place>) -> Self {
        Self { place: Some(place.clone()), ..self }
    }

    pub(super) fn made_ambiguous(self) -> Self {
        Self { ambiguous: true, ..self }
    }

    pub(super) fn from_driver(phase: Phase, error: &tokio_postgres::Error) -> Self {
        Self::new(phase, Failure::of(phase, error))
    }

    fn new(phase: Phase, failure: Failure) -> Self {
        Self { phase, place: None, failure, ambiguous: false, passes: false, of_rows: false, by_their_day: false }
    }
}

impl Failure {
    /// The same, where there was no connection yet.
    fn of_connecting(&self) -> String {
        match self {
            Self::Connection(Some(kind)) => kind.to_string(),
            Self::Connection(None) => "the server ended the connection before it was made".to_owned(),
            other => other.to_string(),
        }
    }

    fn of(phase: Phase, error: &tokio_postgres::Error) -> Self {
        if let Some(refusal) = error.as_db_error() {
            return Self::Refused(Box::new(Refusal::of(phase, refusal)));
        }
        if error.is_closed() {
            return Self::Connection(None);
        }
        let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
        for cause in causes {
            if let Some(io) = cause.downcast_ref::<io::Error>() {
                return Self::of_io(io);
            }
            match cause.to_string().as_str() {
                NO_TLS => return Self::NoTls { offered_before: false },
                NO_PASSWORD => return Self::NoPassword,
                _ => {}
            }
        }
        // While connecting, the driver's cause speaks of settings; later it may speak of values.
        let cause = std::error::Error::source(error).filter(|_| phase == Phase::Connecting);
        let said = cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
        let (problem, remedy) = of_driver(&said);
        Self::Unexpected { problem, remedy: remedy.into() }
    }

    fn of_io(io: &io::Error) -> Self {
        if let Some(tls) = io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            let of_certificate = matches!(tls, rustls::Error::InvalidCertificate(_));
            return Self::Tls { explained: Box::new(explained(tls)), of_certificate };
        }
        let said = io.to_string();
        match said.as_str() {
            TAKES_NO_ROWS => Self::TakesNoRows,
            _ if said.starts_with(NO_SUCH_NAME) => Self::NoSuchName(said),
            _ => Self::Connection(Some(io.kind())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// To reword a label changes what is read, and not what is done.
    #[test]
    fn the_words_for_a_statement_change_no_class() {
        let late = |phase| DatabaseError::deadline(phase, Duration::from_secs(1)).class();
        for label in ["connect", "begin", "commit", "copy logins", ""] {
            assert_eq!(late(Phase::Working(label)), Class::Contended, "{label}");
        }
        for phase in [Phase::Connecting, Phase::Beginning, Phase::Committing] {
            assert_eq!(late(phase), Class::Transient, "{phase}");
        }
        let internal = |phase| {
            let refusal = Refusal {
                sqlstate: INTERNAL_ERROR.into(),
                said: None,
                schema: None,
                table: None,
                constraint: None,
                names_constraint: false,
            };
            DatabaseError::new(phase, Failure::Refused(Box::new(refusal))).class()
        };
        assert_eq!(internal(Phase::Connecting), Class::Transient);
        assert_eq!(internal(Phase::Working("connect")), Class::OfTheSystem);
    }
}
