//! What a cluster of servers says of itself, judged: where tables are distributed, a commit is kept only if each of them keeps it.

use super::Judgement;
use crate::table::distribution::{Node, Standing, TABLES};

/// Connections that a session keeps to each worker, so that not every transaction opens new ones.
const CACHED_CONNECTIONS: i64 = 16;

/// How old a prepared transaction may be, in seconds.
const PREPARED_FOR: f64 = 120.0;

const DISTRIBUTE: &str = "run `turnstile migrate --distribute`";

/// Whether all tables are distributed that should be, together, and in two phases.
pub(super) fn tables(standing: Option<&Standing>) -> Judgement {
    let Some(standing) = standing else { return Judgement::ok("all tables stand on this server") };
    let Standing { distributed, are_colocated, shards, over, in_one_phase, .. } = standing;
    match distributed.len() {
        0 => return Judgement::ok("the server has the extension citus, and no table is distributed"),
        some if some < TABLES.len() => {
            return Judgement::error(
                format!("only some tables are distributed: {}", distributed.join(", ")),
                "undistribute them with undistribute_table, and run `turnstile migrate --distribute`",
            );
        }
        _ => {}
    }
    if !are_colocated {
        return Judgement::error(
            "the tables are not co-located: what one message leaves is on several servers",
            "undistribute them with undistribute_table, and run `turnstile migrate --distribute`",
        );
    }
    if !in_one_phase.is_empty() {
        return Judgement::error(
            format!(
                "a crash between the servers may part what is written to {} from its claim",
                in_one_phase.join(", ")
            ),
            format!("{DISTRIBUTE} again, which makes their triggers"),
        );
    }
    let found = format!("{} tables in {shards} shards over {over} servers, co-located", distributed.len());
    match standing.forces_generic_plans {
        false => Judgement::ok(found),
        true => Judgement::error(
            format!("{found}; plan_cache_mode is force_generic_plan, and Citus has no such plans"),
            "set plan_cache_mode = auto for this role and database",
        ),
    }
}

/// Whether every server keeps its commits.
pub(super) fn nodes(standing: Option<&Standing>) -> Judgement {
    let nodes: &[Node] = standing.map_or(&[], |standing| &standing.nodes);
    if nodes.is_empty() {
        return Judgement::ok("no other server holds any of the tables");
    }
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    let coordinator_waits = nodes.iter().any(|node| node.is_coordinator && node.has_standbys);
    for Node { name, is_coordinator, durability, has_standbys, max_prepared, oldest_prepared } in nodes {
        errors
            .extend(durability.problems().into_iter().map(|lacks| (format!("{name}: {}", lacks.found), lacks.remedy)));
        if !is_coordinator && *max_prepared == 0 {
            let remedy = "set max_prepared_transactions on it, and start it again".to_owned();
            errors.push((format!("{name} can prepare no transaction"), remedy));
        }
        if coordinator_waits && !has_standbys {
            warnings.push((
                format!("{name} waits for no standby, and the coordinator does: what it holds is lost with it"),
                "set synchronous_standby_names on each server of the cluster".to_owned(),
            ));
        }
        if *oldest_prepared > PREPARED_FOR {
            warnings.push((
                format!("{name} has had a transaction prepared for {oldest_prepared:.0} s: its rows cannot be seen, and batches with its messages wait"),
                "look whether the coordinator's maintenance daemon runs: its log says why it does not end it".to_owned(),
            ));
        }
    }
    let joined = |found: Vec<(String, String)>| {
        let (found, mut remedies): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        remedies.dedup();
        (found.join("; "), remedies.join("; "))
    };
    match (errors.is_empty(), warnings.is_empty()) {
        (true, true) => {
            Judgement::ok(format!("{} servers keep what they commit, and no transaction is left prepared", nodes.len()))
        }
        (false, _) => {
            let (found, remedy) = joined(errors);
            Judgement::error(found, remedy)
        }
        (true, false) => {
            let (found, remedy) = joined(warnings);
            Judgement::warning(found, remedy)
        }
    }
}

/// Whether transactions over several servers end in time and have what they need; `lanes` are those of this loader.
pub(super) fn transactions(standing: Option<&Standing>, lanes: usize) -> Judgement {
    let Some(standing) = standing.filter(|standing| !standing.distributed.is_empty()) else {
        return Judgement::ok("none is spread over several servers");
    };
    let Standing { shards, over, cached_connections, recovery_interval, .. } = standing;
    if *recovery_interval <= 0 {
        return Judgement::error(
            "citus.recover_2pc_interval is off: what a crash leaves prepared is never brought to its end",
            "set citus.recover_2pc_interval = 5s on the coordinator",
        );
    }
    // Each transaction has at most one connection for each shard of a worker.
    let each = (shards + over - 1) / (*over).max(1);
    let lanes = standing.lanes.max(i64::try_from(lanes).unwrap_or(i64::MAX));
    let needed = lanes.saturating_mul(each);
    let workers = standing.nodes.iter().filter(|node| !node.is_coordinator);
    let fewest = workers.map(|node| node.max_prepared).min().unwrap_or(0);
    let found = format!("up to {needed} are prepared at once on a worker, which allows {fewest}");
    if fewest < needed {
        return Judgement::warning(found, format!("set max_prepared_transactions = {needed} or more on each worker"));
    }
    if *cached_connections < CACHED_CONNECTIONS {
        return Judgement::warning(
            format!(
                "{found}; citus.max_cached_conns_per_worker is {cached_connections}: most transactions open new connections"
            ),
            format!("set citus.max_cached_conns_per_worker = {CACHED_CONNECTIONS} on the coordinator"),
        );
    }
    Judgement::ok(format!(
        "{found}; what a crash leaves is looked for every {:.1} s",
        *recovery_interval as f64 / 1000.0
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use crate::database::durability::Durability;

    fn node(name: &str, is_coordinator: bool) -> Node {
        let on = || "on".to_owned();
        let durability = Durability { fsync: on(), synchronous_commit: on(), full_page_writes: on() };
        let name = name.to_owned();
        Node { name, is_coordinator, durability, has_standbys: true, max_prepared: 100, oldest_prepared: 0.0 }
    }

    fn sound() -> Standing {
        Standing {
            distributed: TABLES.map(|table| table.name.to_owned()).to_vec(),
            are_colocated: true,
            shards: 8,
            over: 2,
            in_one_phase: Vec::new(),
            cached_connections: 16,
            recovery_interval: 5_000,
            forces_generic_plans: false,
            lanes: 4,
            nodes: vec![node("c:5432", true), node("w1:5432", false), node("w2:5432", false)],
        }
    }

    fn levels(standing: &Standing) -> [Level; 3] {
        let standing = Some(standing);
        [tables(standing).level, nodes(standing).level, transactions(standing, 2).level]
    }

    #[test]
    fn tables_of_one_server_and_a_sound_cluster_are_fine() {
        let fine = [Level::Ok; 3];
        assert_eq!([tables(None).level, nodes(None).level, transactions(None, 64).level], fine);
        assert_eq!(levels(&sound()), fine);
        let unused = Standing { distributed: Vec::new(), nodes: Vec::new(), recovery_interval: 0, ..sound() };
        assert_eq!(levels(&unused), fine);
    }

    #[test]
    fn what_is_distributed_by_halves_or_ends_in_one_phase_is_an_error() {
        for (broken, word) in [
            (Standing { distributed: vec!["identities".to_owned()], ..sound() }, "only some tables"),
            (Standing { are_colocated: false, ..sound() }, "not co-located"),
            (Standing { in_one_phase: vec!["outbox".to_owned()], ..sound() }, "outbox from its claim"),
            (Standing { forces_generic_plans: true, ..sound() }, "force_generic_plan"),
        ] {
            let judged = tables(Some(&broken));
            assert_eq!(judged.level, Level::Error, "{word}");
            assert!(judged.found.contains(word), "{judged:?}");
        }
    }

    #[test]
    fn each_server_is_judged_and_named() {
        type Change = fn(&mut Node);
        for (change, level, word) in [
            ((|node| node.durability.fsync = "off".to_owned()) as Change, Level::Error, "w1:5432: fsync is off"),
            (|node| node.max_prepared = 0, Level::Error, "w1:5432 can prepare no transaction"),
            (|node| node.has_standbys = false, Level::Warning, "w1:5432 waits for no standby"),
            (|node| node.oldest_prepared = 121.0, Level::Warning, "prepared for 121 s"),
        ] {
            let mut standing = sound();
            change(&mut standing.nodes[1]);
            let judged = nodes(Some(&standing));
            assert_eq!(judged.level, level, "{word}");
            assert!(judged.found.contains(word), "{judged:?}");
        }
    }

    #[test]
    fn transactions_must_end_and_have_room() {
        let level = |standing: Standing, lanes| transactions(Some(&standing), lanes).level;
        assert_eq!(level(Standing { recovery_interval: -1, ..sound() }, 2), Level::Error);
        assert_eq!(level(Standing { cached_connections: 1, ..sound() }, 2), Level::Warning);
        // 25 lanes with four shards on a worker.
        assert_eq!(level(sound(), 25), Level::Ok);
        assert_eq!(level(sound(), 26), Level::Warning);
        assert_eq!(level(Standing { lanes: 26, ..sound() }, 2), Level::Warning);
    }
}
