//! What the database server says of itself, judged.

use super::queue::{CLOCKS_AGREE_WITHIN, apart};
use super::{Judgement, Server, Unreached};
use crate::database::DatabaseError;
use crate::database::address::{DatabaseAddress, Transport};
use crate::database::durability::Durability;
use crate::database::server::ServerFacts;

pub(super) fn transport(transport: Transport) -> Judgement {
    match transport {
        Transport::Verified => {
            Judgement::ok("TLS is required, and the server's certificate and host name are verified")
        }
        Transport::Local => Judgement::ok("in clear, and does not leave this machine"),
        Transport::MayBeClear => Judgement::warning(
            "in clear, or in clear when the server says so: logins and the password may be read on the way",
            "let the database URL say ?sslmode=verify-full",
        ),
    }
}

pub(super) fn reached(address: &DatabaseAddress, server: &Result<Server, Unreached>) -> Judgement {
    match server {
        Ok(server) => fitness(address, &server.facts),
        Err(Unreached::Tls(error)) => Judgement::error(format!("{address}: {error}"), error.remedy()),
        Err(Unreached::Database(error)) => failed(error),
    }
}

fn fitness(address: &DatabaseAddress, facts: &ServerFacts) -> Judgement {
    let ServerFacts { version, role, .. } = facts;
    let found = format!("{address}, PostgreSQL {version}, as role {role}");
    match facts.shortcoming() {
        None => Judgement::ok(found),
        Some(lacks) => Judgement::error(format!("{found}: {}", lacks.found), lacks.remedy),
    }
}

/// What the database layer says of a failure, in the same words as everywhere.
pub(super) fn failed(error: &DatabaseError) -> Judgement {
    Judgement::error(error.to_string(), error.remedy())
}

pub(super) fn durability(found: &Result<Durability, DatabaseError>, synchronous_standbys: bool) -> Judgement {
    let durability = match found {
        Ok(durability) => durability,
        Err(error) => return failed(error),
    };
    let problems = durability.problems();
    if !problems.is_empty() {
        let (found, remedies): (Vec<_>, Vec<_>) =
            problems.into_iter().map(|problem| (problem.found, problem.remedy)).unzip();
        return Judgement::error(found.join("; "), remedies.join("; "));
    }
    let Durability { fsync, synchronous_commit, full_page_writes } = durability;
    let found = format!("fsync {fsync}, synchronous_commit {synchronous_commit}, full_page_writes {full_page_writes}");
    match synchronous_commit.as_str() {
        "local" if synchronous_standbys => Judgement::warning(
            format!("{found}: commits do not wait for the standbys in synchronous_standby_names"),
            "set synchronous_commit = on for this role, or commits may be lost when a standby takes over",
        ),
        _ => Judgement::ok(found),
    }
}

pub(super) fn clock(difference: time::Duration) -> Judgement {
    let found = format!("the database's clock is {}", apart(difference));
    match difference.abs() > CLOCKS_AGREE_WITHIN {
        false => Judgement::ok(found),
        true => Judgement::warning(
            format!("{found}: received_at and processed_at cannot be compared"),
            "let the clocks of both machines be set by NTP",
        ),
    }
}

pub(super) fn connections(facts: &ServerFacts, needed: usize) -> Judgement {
    let ServerFacts { connection_limit: limit, connections_in_use: in_use, .. } = *facts;
    let free = limit.saturating_sub(in_use).max(0);
    let found = format!("{free} of {limit} are free, and a run opens up to {needed}");
    match usize::try_from(free).is_ok_and(|free| free >= needed) {
        true => Judgement::ok(found),
        false => Judgement::warning(
            found,
            "lower --database-connections, raise the server's max_connections, or end other connections",
        ),
    }
}

/// The version of the tables, against the one that this program needs.
pub(super) fn tables(found: &Result<Option<i32>, DatabaseError>, needed: i32, migrate: bool) -> Judgement {
    let elsewhere = "if they stand elsewhere, name --schema, and let the role use it (deploy/grants.sql)";
    let (found, more) = match found {
        Ok(Some(version)) if *version == needed => return Judgement::ok(format!("at version {version}")),
        Ok(Some(version)) if *version > needed => {
            return Judgement::warning(
                format!("at version {version}, and this program knows {needed}: a newer one migrated them"),
                "run the newer program",
            );
        }
        Ok(Some(version)) => (format!("at version {version}, and this program needs {needed}"), String::new()),
        Ok(None) => ("no tables of Turnstile are there that this role finds".to_owned(), format!("; {elsewhere}")),
        Err(error) if error.sqlstate() == Some("42501") => {
            return Judgement::error(
                "their version may not be read",
                "GRANT USAGE ON SCHEMA and SELECT (version) ON refinery_schema_history in it to this role (deploy/grants.sql)",
            );
        }
        Err(error) => return failed(error),
    };
    match migrate {
        true => Judgement::warning(
            format!("{found}: --migrate brings them to version {needed}"),
            "run `turnstile migrate` now to have the grants on them looked at",
        ),
        false => Judgement::error(found, format!("run `turnstile migrate`, or add --migrate{more}")),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::check::Level;

    pub(in crate::check) fn facts() -> ServerFacts {
        ServerFacts {
            version: "15.18".to_owned(),
            version_number: 150_018,
            standby: false,
            read_only: false,
            encoding: "UTF8".to_owned(),
            sharded: false,
            role: "loader".to_owned(),
            superuser: false,
            has_synchronous_standbys: false,
            connection_limit: 97,
            connections_in_use: 10,
            clock_difference: time::Duration::ZERO,
        }
    }

    #[test]
    fn an_old_server_and_a_standby_are_errors() {
        let address = DatabaseAddress::parse("postgres://me:sesame@localhost/logins").unwrap();
        for (version_number, standby, expected) in [
            (120_022, false, Level::Error),
            (130_000, false, Level::Ok),
            (170_002, false, Level::Ok),
            (90_624, false, Level::Error),
            (150_018, true, Level::Error),
        ] {
            let judged = fitness(&address, &ServerFacts { version_number, standby, ..facts() });
            assert_eq!(judged.level, expected, "{version_number} {standby}");
            assert!(!format!("{judged:?}").contains("sesame"));
        }
    }

    #[test]
    fn a_server_on_which_no_row_or_not_every_text_can_be_stored_is_an_error_that_says_the_remedy() {
        let address = DatabaseAddress::parse("postgres://me@localhost/logins").unwrap();
        for (read_only, encoding, remedy) in [
            (true, "UTF8", "default_transaction_read_only"),
            (false, "LATIN1", "ENCODING 'UTF8'"),
            (false, "SQL_ASCII", "ENCODING 'UTF8'"),
        ] {
            let judged = fitness(&address, &ServerFacts { read_only, encoding: encoding.to_owned(), ..facts() });
            assert_eq!(judged.level, Level::Error);
            assert!(judged.remedy.as_ref().unwrap().contains(remedy), "{judged:?}");
        }
    }

    #[test]
    fn settings_that_lose_commits_are_errors_and_a_standby_that_is_not_waited_for_is_warned_of() {
        for (fsync, commit, pages, standbys, expected) in [
            ("on", "on", "on", true, Level::Ok),
            ("on", "local", "on", false, Level::Ok),
            ("on", "local", "on", true, Level::Warning),
            ("on", "remote_apply", "on", true, Level::Ok),
            ("off", "on", "on", false, Level::Error),
            ("on", "off", "on", false, Level::Error),
            ("on", "on", "off", false, Level::Error),
            ("off", "local", "on", true, Level::Error),
        ] {
            let [fsync_, synchronous_commit, full_page_writes] = [fsync, commit, pages].map(str::to_owned);
            let found = Durability { fsync: fsync_, synchronous_commit, full_page_writes };
            assert_eq!(durability(&Ok(found), standbys).level, expected, "{fsync} {commit} {pages} {standbys}");
        }
    }

    #[test]
    fn a_run_must_find_as_many_free_connections_as_it_opens() {
        for (limit, in_use, needed, expected) in
            [(97, 95, 2, Level::Ok), (97, 96, 2, Level::Warning), (97, 100, 1, Level::Warning), (97, 0, 64, Level::Ok)]
        {
            let facts = ServerFacts { connection_limit: limit, connections_in_use: in_use, ..facts() };
            assert_eq!(connections(&facts, needed).level, expected, "{limit} {in_use} {needed}");
        }
    }

    #[test]
    fn tables_older_than_the_program_are_an_error_unless_the_run_migrates() {
        for (found, migrate, expected) in [
            (Some(4), false, Level::Ok),
            (Some(4), true, Level::Ok),
            (Some(3), false, Level::Error),
            (Some(3), true, Level::Warning),
            (None, false, Level::Error),
            (None, true, Level::Warning),
            (Some(5), false, Level::Warning),
        ] {
            let judged = tables(&Ok(found), 4, migrate);
            assert_eq!(judged.level, expected, "{found:?} {migrate}");
        }
    }

    #[test]
    fn clear_text_that_leaves_the_machine_and_clocks_apart_are_warned_of() {
        for (way, expected) in
            [(Transport::Verified, Level::Ok), (Transport::Local, Level::Ok), (Transport::MayBeClear, Level::Warning)]
        {
            assert_eq!(transport(way).level, expected, "{way:?}");
        }
        for (seconds, expected) in [(0, Level::Ok), (-5, Level::Ok), (6, Level::Warning), (-6, Level::Warning)] {
            assert_eq!(clock(time::Duration::seconds(seconds)).level, expected, "{seconds} s");
        }
    }
}
