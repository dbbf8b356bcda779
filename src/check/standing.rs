//! What can be said of a database without a loader's settings: for those who look after it.

use super::sinks::{self, Aspect};
use super::tables::judge;
use super::{Finding, Judgement, Server, cluster, database, tables};
use crate::database::{Database, DatabaseError, DatabaseSettings, migrate};
use crate::table::distribution::Standing;
use crate::table::facts::TableFacts;
use crate::table::relay_status::OutboxStatus;

/// Looks at the database and its tables, and changes nothing. What the role may not read is said to be skipped.
///
/// # Errors
///
/// [`DatabaseError`] where the server cannot be asked what it is.
pub async fn standing(database: &Database, settings: &DatabaseSettings) -> Result<Vec<Finding>, DatabaseError> {
    let server = Server::look_at(database).await?;
    let outbox = database.snapshot(async |seen| OutboxStatus::read(seen, None).await).await;
    let facts = &server.facts;
    let mut findings = vec![
        of("database transport", database::transport(settings.address.transport())),
        of("database durability", database::durability(&server.durability, facts.has_synchronous_standbys)),
        of("database clock", database::clock(facts.clock_difference)),
        of("tables", database::tables(&server.tables_version, migrate::newest_version(), false)),
    ];
    let unique = |facts: &TableFacts| tables::unique(facts, &settings.schemas);
    findings.extend([
        of("tables' number", judge(&server.tables, tables::complete)),
        of("tables' durability", judge(&server.tables, tables::logged)),
        of("unique keys", judge(&server.tables, unique)),
        of("triggers and rules", judge(&server.tables, tables::droppers)),
        of("columns of user_logins", judge(&server.tables, tables::required)),
        of("owners", judge(&server.tables, tables::owners)),
    ]);
    let cluster =
        |look: &dyn Fn(Option<&Standing>) -> Judgement| judge(&server.cluster, |standing| look(standing.as_ref()));
    findings.push(of("distributed tables", cluster(&cluster::tables)));
    findings.push(of("servers of the cluster", cluster(&cluster::nodes)));
    findings.push(of("distributed transactions", cluster(&|standing| cluster::transactions(standing, 0))));
    let of_positions = |look: &dyn Fn(&TableFacts, &crate::table::facts::Positions) -> Judgement| {
        judge(&server.tables, |facts| judge(&server.positions, |positions| look(facts, positions)))
    };
    findings.push(of(
        "positions of events",
        of_positions(&|facts, positions| tables::sequence(facts, positions, &settings.schemas)),
    ));
    findings.push(of(super::PARTITIONS_OF_OUTBOX, of_positions(&tables::partitions)));
    findings.push(of("tables of the relay", tables::of_relay(&server.relay, &settings.schemas)));
    findings.extend(Aspect::ALL.map(|aspect| of(aspect.as_str(), sinks::judgement(aspect, &outbox))));
    findings.iter_mut().for_each(|finding| skip_what_is_refused(finding, &server));
    Ok(findings)
}

fn of(what: &'static str, judgement: Judgement) -> Finding {
    Finding { what, judgement }
}

/// A role that may not read something has not found an error.
fn skip_what_is_refused(finding: &mut Finding, server: &Server) {
    let is_refused = |error: Option<&DatabaseError>| error.and_then(DatabaseError::sqlstate) == Some("42501");
    let refused = match finding.what {
        "positions of events" | super::PARTITIONS_OF_OUTBOX => is_refused(server.positions.as_ref().err()),
        "tables" => is_refused(server.tables_version.as_ref().err()),
        _ => false,
    };
    if refused {
        finding.judgement = Judgement::skipped("this role may not read it");
    }
}
