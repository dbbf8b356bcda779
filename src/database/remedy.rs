//! What to do about a call to the database that failed.

use std::io;

use super::error::Failure;

impl Failure {
    /// What to do about a connection that could not be made.
    pub(super) fn remedy_of_connection(&self, by_token: bool) -> &str {
        match self {
            Self::Refused(refusal) => remedy_of_connection(&refusal.sqlstate, by_token),
            Self::Tls { explained, .. } => explained.remedy.as_str(),
            Self::NoTls { offered_before: true } => {
                "wait, or end other connections; look whether the server at that address is still the same"
            }
            Self::NoTls { offered_before: false } => {
                "set ssl = on for the server; where the way to it needs no protection, write sslmode=disable into the database URL"
            }
            Self::NoPassword => {
                "put the password into the variable PGPASSWORD, or into the URL in the variable DATABASE_URL"
            }
            Self::NoToken(_) => {
                "give AWS settings by which a token of IAM can be made (AWS_REGION, AWS_PROFILE, a role of this machine), or \
                 remove auth=aws-iam from the database URL"
            }
            Self::NoSuchName(_) => "correct the host in the database URL, or look at this machine's DNS",
            Self::Connection(Some(io::ErrorKind::ConnectionRefused)) => {
                "look whether the server runs and listens at that address (listen_addresses, port), and check host and port in \
                 the database URL"
            }
            Self::Connection(Some(io::ErrorKind::NotFound)) => {
                "look whether the server runs, and check the folder of its socket in the database URL"
            }
            Self::Deadline(_) | Self::Connection(_) => {
                "look whether the server runs and a firewall lets this machine through, and check host and port in the database \
                 URL; --database-timeout is how long an answer may take"
            }
            Self::TakesNoRows => "name the primary in the database URL, or all of its hosts",
            Self::Unexpected { remedy, .. } => remedy,
            Self::Unsettled(_) | Self::Dropped(_) => LOOK_INTO_LOG,
        }
    }

    /// What to do about a statement, a beginning or a commit that failed.
    pub(super) fn remedy_of_transaction(&self) -> &str {
        match self {
            Self::Refused(refusal) => remedy_of_statement(&refusal.sqlstate),
            Self::Unexpected { remedy, .. } => remedy,
            Self::Deadline(_) => TOO_SLOW,
            Self::Unsettled(_) | Self::Dropped(_) => {
                "look for a trigger or a rule that drops rows of that table in silence, and remove it"
            }
            Self::Connection(_)
            | Self::NoSuchName(_)
            | Self::TakesNoRows
            | Self::Tls { .. }
            | Self::NoTls { .. }
            | Self::NoPassword
            | Self::NoToken(_) => "look whether the server runs, and into its log; then run the same again",
        }
    }
}

/// Where more cannot be said.
const LOOK_INTO_LOG: &str = "look into the server's log";

/// What to do where the tables hold what this program never writes, or the program errs.
pub(super) const DEFECT: &str = "run `turnstile audit`, and report what it says: the tables are not as this program leaves them, or it has a defect";

/// What to do about a commit that may or may not hold.
pub(super) const RUN_AGAIN: &str = "run the same again: what was done is found, and not done twice";

/// What to do where the server is slow or somebody holds a lock.
const TOO_SLOW: &str = "look for what keeps the server busy or holds the lock (pg_stat_activity, pg_blocking_pids), or raise \
     --database-timeout (of audit: --audit-timeout)";

/// What to do about a statement that the server refuses.
fn remedy_of_statement(sqlstate: &str) -> &'static str {
    match sqlstate {
        "42501" => {
            "`migrate` and `outbox prune` need the owner of the tables, `dead-letters` a role in turnstile_operator (and for --reveal \
             one in turnstile_revealer), `audit` one in turnstile_auditor, `relay` one in turnstile_relay; for `run`, \
             `turnstile check` names what is missing. deploy/grants.sql grants all of it"
        }
        "42P01" => {
            "run `turnstile migrate`; if a trigger uses the table, let the trigger's function set its own search_path"
        }
        "26000" | "42P05" => NEEDS_A_SESSION,
        "55P03" | "57014" => TOO_SLOW,
        "25006" => "name the primary in the database URL: a standby and a read-only database take no rows",
        _ if sqlstate.starts_with("53") => "give the server room (disk, memory, connections), and look into its log",
        _ => LOOK_INTO_LOG,
    }
}

/// What to do about a connection that the server refuses.
fn remedy_of_connection(sqlstate: &str, by_token: bool) -> &'static str {
    match sqlstate {
        "28P01" | "28000" if by_token => {
            "let the role be a member of rds_iam, the instance allow IAM authentication, and the credentials call \
             rds-db:connect for this role"
        }
        "28P01" => {
            "put the role's password into the variable DATABASE_URL or PGPASSWORD, and look whether the role exists"
        }
        _ if sqlstate.starts_with("28") => {
            "look whether the role exists and may log in, and whether the server's pg_hba.conf lets it in from here, in this \
             database, with or without TLS; where that asks for a client certificate, name one by sslcert=FILE and sslkey=FILE"
        }
        "3D000" => "create the database, or correct its name in the database URL",
        "42501" => "let the role connect: GRANT CONNECT ON DATABASE",
        _ if sqlstate.starts_with("53") => "raise the server's max_connections, or end other connections",
        "57P03" => "wait until the server has started",
        _ => LOOK_INTO_LOG,
    }
}

/// Prepared statements do not stay with their connection.
pub(super) const PASSED_ROUND: &str =
    "a pooler gives each transaction another connection, with the prepared statements of others";

/// What to do about that.
pub(super) const NEEDS_A_SESSION: &str =
    "use the pooler's session mode, or PgBouncer 1.21 or newer with max_prepared_statements above 0";

/// What the driver says of a call in which no server refused anything. It names parameters and columns, and no value.
pub(super) fn of_driver(said: &str) -> (String, &'static str) {
    let of_type = "run `turnstile check`: a column of the tables may be of another type than this program expects";
    match said {
        _ if said.starts_with("error serializing parameter") => {
            (format!("a value does not fit the type that the server expects ({said})"), of_type)
        }
        _ if said.starts_with("error deserializing column") || said.starts_with("invalid column") => {
            (format!("an answer is not of the type that was asked for ({said})"), of_type)
        }
        "unexpected message from server" | "error parsing response from server" => (
            format!("the answer does not follow PostgreSQL's protocol ({said})"),
            "look at what stands between here and the server (a pooler, a proxy), and into their logs",
        ),
        said => (format!("the PostgreSQL driver says: {said}"), "look at the database URL and into the server's log"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_driver_says_is_told_as_what_it_is() {
        for (said, problem, remedy) in [
            ("error serializing parameter 3", "does not fit the type", "turnstile check"),
            ("error deserializing column 0", "is not of the type", "turnstile check"),
            ("invalid column `version`", "is not of the type", "turnstile check"),
            ("unexpected message from server", "PostgreSQL's protocol", "pooler"),
            ("error parsing response from server", "PostgreSQL's protocol", "pooler"),
            ("authentication error: unsupported", "the PostgreSQL driver says", "database URL"),
        ] {
            let told = of_driver(said);
            assert!(told.0.contains(problem) && told.0.contains(said) && told.1.contains(remedy), "{told:?}");
        }
    }
}
