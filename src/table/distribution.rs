//! How tables are spread over the workers of a Citus cluster: which, by which column, and how a transaction over several
//! servers ends.
//!
//! What grows with every login is distributed. What has an order (events), and what people work on (dead letters, their plans,
//! what was done), stays on the coordinator.

use time::OffsetDateTime;

use super::conversion::Found;
use super::partitions::{Place, SHORT};
use super::time_partitions::Parent;
use crate::database::durability::Durability;
use crate::database::schemas::Schemas;
use crate::database::server::HAS_CITUS;
use crate::database::{DatabaseError, LoneSession, Transaction};

/// A table that grows with every login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distributed {
    /// Its name.
    pub name: &'static str,
    /// The column whose hash says on which shard a row stands.
    pub column: &'static str,
}

/// The table that the others are co-located with.
pub const CLAIMS: Distributed = Distributed { name: "processed_messages", column: "message_hash" };

/// The tables that are distributed, in the order in which loaders lock them. All that one message leaves in them stands in
/// shards of one number, and they are on one server.
pub const TABLES: [Distributed; 3] = [
    CLAIMS,
    Distributed { name: "identities", column: "hash" },
    Distributed { name: "user_logins", column: "message_hash" },
];

/// The tables that stay on the coordinator, and are written in one transaction with distributed ones.
pub const BESIDE: [&str; 6] =
    ["dead_letters", "outbox", "operator_actions", "replay_plans", "replay_plan_letters", "dead_letter_revisions"];

/// The trigger of each of [`BESIDE`].
pub const TRIGGER: &str = "end_in_two_phases";

impl Distributed {
    /// Where it stands.
    pub fn place(self, schemas: &Schemas) -> Place<'_> {
        let schema = if self.name == "user_logins" { &schemas.logins } else { &schemas.own };
        Place { schema, parent: self.name, name: self.name }
    }
}

/// What the cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// How many servers take shards.
    pub workers: u32,
    /// Whether this server is the coordinator.
    pub is_coordinator: bool,
}

/// Looks at the cluster; none, where the server has no extension `citus`.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn cluster(session: &LoneSession) -> Result<Option<Cluster>, DatabaseError> {
    let attempted = "look at the cluster";
    let has = format!("SELECT {HAS_CITUS}");
    if !session.query_one(attempted, &has, &[]).await?.get::<_, bool>(0) {
        return Ok(None);
    }
    let sql = "SELECT count(*) FILTER (WHERE n.shouldhaveshards AND n.isactive AND n.noderole = 'primary'),
                      (SELECT g.groupid = 0 FROM pg_catalog.pg_dist_local_group g)
               FROM pg_catalog.pg_dist_node n";
    let row = session.query_one(attempted, sql, &[]).await?;
    let workers = u32::try_from(row.get::<_, i64>(0)).unwrap_or(u32::MAX);
    Ok(Some(Cluster { workers, is_coordinator: row.get(1) }))
}

/// Which of [`TABLES`] are distributed already.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn standing(session: &LoneSession) -> Result<Vec<&'static str>, DatabaseError> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_dist_partition p
                              WHERE p.logicalrelid = $1::text::pg_catalog.regclass AND p.partmethod = 'h')";
    let mut standing = Vec::new();
    for table in TABLES {
        let name = table.place(session.schemas()).partition();
        if session.query_one("look for distributed tables", sql, &[&name]).await?.get(0) {
            standing.push(table.name);
        }
    }
    Ok(standing)
}

/// Whether a table that can be partitioned is distributed.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn is_distributed(session: &LoneSession, parent: Parent) -> Result<bool, DatabaseError> {
    let is_cluster = cluster(session).await?.is_some();
    Ok(is_cluster && standing(session).await?.contains(&parent.as_str()))
}

/// What keeps this table from being distributed.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn obstacles(session: &LoneSession, table: Distributed) -> Result<Vec<Found>, DatabaseError> {
    let name = table.place(session.schemas()).partition();
    let sql = include_str!("distribution/obstacles.sql");
    let rows = session.query("look for what is in the way", sql, &[&name, &table.column]).await?;
    let mut found: Vec<Found> = rows.iter().map(|row| Found { kind: row.get(0), name: row.get(1) }).collect();
    if table.name == "user_logins" {
        let sql = format!("SELECT count(*) FROM {name} WHERE message_hash IS NULL");
        let adopted: i64 = session.query_one("look for adopted rows", &sql, &[]).await?.get(0);
        if adopted > 0 {
            found.push(Found { kind: "rows that no message brought".to_owned(), name: adopted.to_string() });
        }
    }
    Ok(found)
}

/// Distributes all tables in one transaction, over so many shards. Waits 50 ms for each lock; once it has them, loaders wait
/// until every row is on its worker.
///
/// # Errors
///
/// [`DatabaseError`]; see [`DatabaseError::gave_way`]
pub async fn try_distribute(session: &LoneSession, shards: u32) -> Result<(), DatabaseError> {
    let places = TABLES.map(|table| table.place(session.schemas()).partition());
    let own = &session.schemas().own;
    let beside = BESIDE.map(|table| format!("{own}.{table}"));
    // All locks before any row is moved: what cannot be had is found out at once.
    let mut sql = format!(
        "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE;
         LOCK TABLE {} IN ACCESS EXCLUSIVE MODE;
         SET LOCAL citus.multi_shard_modify_mode = 'sequential'; SET LOCAL citus.shard_count = {shards};",
        beside.join(", "),
        places.join(", ")
    );
    let claims = as_text(&CLAIMS.place(session.schemas()).partition());
    sql += &format!("SELECT create_distributed_table({claims}, '{}', colocate_with => 'none');", CLAIMS.column);
    for (table, place) in TABLES.iter().zip(&places).filter(|(table, _)| **table != CLAIMS) {
        let (place, column) = (as_text(place), table.column);
        sql += &format!("SELECT create_distributed_table({place}, '{column}', colocate_with => {claims});");
    }
    sql += &ways(session);
    session.run_within("distribute the tables", &sql, SHORT).await
}

/// Makes anew what transactions over several servers need, where it is missing. Waits 50 ms for each lock.
///
/// # Errors
///
/// [`DatabaseError`]; see [`DatabaseError::gave_way`]
pub async fn try_mend(session: &LoneSession) -> Result<(), DatabaseError> {
    session.run_within("make transactions end in two phases", &ways(session), SHORT).await
}

/// How transactions end in two phases, and how the servers are asked.
fn ways(session: &LoneSession) -> String {
    let own = &session.schemas().own;
    let made = concat!(include_str!("distribution/two_phases.sql"), include_str!("distribution/nodes.sql"));
    let mut sql = made.replace("{own}", &own.to_string());
    let (phases, claims) =
        (as_text(&format!("{own}.two_phases")), as_text(&CLAIMS.place(session.schemas()).partition()));
    sql += &format!(
        "SELECT create_distributed_table({phases}, 'message_hash', colocate_with => {claims})
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_dist_partition p WHERE p.logicalrelid = {phases}::pg_catalog.regclass);"
    );
    for table in BESIDE {
        sql += &format!(
            "DROP TRIGGER IF EXISTS {TRIGGER} ON {own}.{table};
             CREATE TRIGGER {TRIGGER} AFTER INSERT OR UPDATE OR DELETE ON {own}.{table}
             FOR EACH STATEMENT EXECUTE FUNCTION {own}.end_in_two_phases();"
        );
    }
    sql
}

/// Removes what the coordinator still has of rows that are on the workers now. Waits 50 ms for each lock.
///
/// # Errors
///
/// [`DatabaseError`]; see [`DatabaseError::gave_way`]
pub async fn try_clear(session: &LoneSession, table: Distributed) -> Result<(), DatabaseError> {
    let place = as_text(&table.place(session.schemas()).partition());
    let sql = format!("SELECT truncate_local_data_after_distributing_table({place})");
    session.run_within("remove what was moved to workers", &sql, SHORT).await
}

fn as_text(place: &str) -> String {
    format!("'{}'", place.replace('\'', "''"))
}

/// What says how much room a relation takes, on whichever servers it stands: an expression of its oid.
pub fn size_of(is_cluster: bool, oid: &str) -> String {
    let here = format!("pg_catalog.pg_total_relation_size({oid})");
    match is_cluster {
        false => here,
        true => format!(
            "CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_dist_partition dist WHERE dist.logicalrelid = {oid}::pg_catalog.regclass)
                  THEN citus_total_relation_size({oid}::pg_catalog.regclass, false) ELSE {here} END"
        ),
    }
}

/// Whether the server has the extension `citus`.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn is_cluster(transaction: &Transaction) -> Result<bool, DatabaseError> {
    let has = format!("SELECT {HAS_CITUS}");
    Ok(transaction.query_one("look for a cluster", &has, &[]).await?.get(0))
}

/// Since when transactions run that have not ended on this server: each that began before has; nothing where the
/// tables are not distributed. Where this role may not see since when others run, those of the last two minutes may: a batch takes
/// no longer.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn ended_until(transaction: &Transaction) -> Result<Option<OffsetDateTime>, DatabaseError> {
    let attempted = "look for running transactions";
    if !is_cluster(transaction).await? {
        return Ok(None);
    }
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_dist_partition p WHERE p.logicalrelid = $1::text::pg_catalog.regclass),
                      (SELECT least(pg_catalog.min(a.xact_start), CASE
                           WHEN pg_catalog.bool_or(a.query = '<insufficient privilege>')
                           THEN pg_catalog.clock_timestamp() - '2 min'::interval ELSE pg_catalog.clock_timestamp() END)
                       FROM pg_catalog.pg_stat_activity a
                       WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid()
                         AND coalesce(a.backend_type, 'client backend') = 'client backend')";
    let claims = CLAIMS.place(transaction.schemas()).partition();
    let row = transaction.query_one(attempted, sql, &[&claims]).await?;
    Ok(row.get::<_, bool>(0).then(|| row.get(1)))
}

/// How many transactions are committed on this server and not yet on every worker: what they wrote there cannot be seen,
/// until the coordinator's maintenance daemon brings them to their end.
///
/// # Errors
///
/// [`DatabaseError`], also where a worker does not answer.
pub async fn in_doubt(transaction: &Transaction) -> Result<u64, DatabaseError> {
    let attempted = "ask workers for prepared transactions";
    let sql = format!(
        "SELECT coalesce(pg_catalog.sum(n.in_doubt), 0)::bigint, count(*) FILTER (WHERE n.said IS NULL) FROM {}.cluster_nodes() AS n",
        transaction.schemas().own
    );
    let row = transaction.query_one(attempted, &sql, &[]).await?;
    match row.get::<_, i64>(1) {
        0 => Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0)),
        away => Err(transaction.broken_with_remedy(
            attempted,
            format!("{away} servers of the cluster do not answer"),
            "bring them back, and run the same again",
        )),
    }
}

/// A server of the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its host and port.
    pub name: String,
    /// Whether it is the coordinator.
    pub is_coordinator: bool,
    /// Whether it keeps its commits.
    pub durability: Durability,
    /// Whether its commits wait for a standby.
    pub has_standbys: bool,
    /// `max_prepared_transactions`.
    pub max_prepared: i64,
    /// How old the oldest prepared transaction is, in seconds.
    pub oldest_prepared: f64,
}

/// How the tables stand in a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Which of [`TABLES`] are distributed.
    pub distributed: Vec<String>,
    /// Whether all of these are co-located.
    pub are_colocated: bool,
    /// In how many shards the claims are, and over how many servers.
    pub shards: i64,
    /// Over how many servers.
    pub over: i64,
    /// Those of [`BESIDE`] that do not make their transactions end in two phases.
    pub in_one_phase: Vec<String>,
    /// `citus.max_cached_conns_per_worker`.
    pub cached_connections: i64,
    /// `citus.recover_2pc_interval`, in milliseconds; not positive: never.
    pub recovery_interval: i64,
    /// Whether generic plans are forced on this role, which a distributed statement may not have.
    pub forces_generic_plans: bool,
    /// How many lanes the loaders of the last two minutes have.
    pub lanes: i64,
    /// The servers, the coordinator first; none where [`distributed`](Self::distributed) is empty.
    pub nodes: Vec<Node>,
}

impl Standing {
    /// Looks how the tables stand; none, where the server has no extension `citus`.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn read(transaction: &Transaction) -> Result<Option<Self>, DatabaseError> {
        let attempted = "look at the cluster";
        if !is_cluster(transaction).await? {
            return Ok(None);
        }
        let schemas = transaction.schemas();
        let names = TABLES.map(|table| table.place(schemas).partition()).to_vec();
        let beside: Vec<&str> = BESIDE.to_vec();
        let sql = format!(
            "WITH it AS (SELECT t.name, p.colocationid FROM pg_catalog.unnest($1::text[]) AS t (name)
                         JOIN pg_catalog.pg_dist_partition p
                             ON p.logicalrelid = pg_catalog.to_regclass(t.name) AND p.partmethod = 'h')
             SELECT ARRAY(SELECT it.name FROM it), (SELECT count(DISTINCT it.colocationid) <= 1 FROM it),
                    (SELECT count(*) FROM pg_catalog.pg_dist_shard s
                     WHERE s.logicalrelid = pg_catalog.to_regclass($1[1])),
                    (SELECT count(DISTINCT l.groupid) FROM pg_catalog.pg_dist_shard s
                     JOIN pg_catalog.pg_dist_placement l USING (shardid) WHERE s.logicalrelid = pg_catalog.to_regclass($1[1])),
                    ARRAY(SELECT b.name FROM pg_catalog.unnest($2::text[]) AS b (name)
                          WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid
                                            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                                            WHERE n.nspname = $3 AND c.relname = b.name AND g.tgname = '{TRIGGER}'
                                              AND g.tgenabled IN ('O', 'A'))),
                    coalesce(pg_catalog.current_setting('citus.max_cached_conns_per_worker', true)::bigint, 0),
                    (SELECT coalesce(max(CASE g.unit WHEN 's' THEN 1000 WHEN 'min' THEN 60000 ELSE 1 END * g.setting::bigint), 0)
                     FROM pg_catalog.pg_settings g WHERE g.name = 'citus.recover_2pc_interval'),
                    pg_catalog.current_setting('plan_cache_mode') = 'force_generic_plan'"
        );
        let row = transaction.query_one(attempted, &sql, &[&names, &beside, &schemas.own.name()]).await?;
        let mut standing = Self {
            distributed: row.get(0),
            are_colocated: row.get(1),
            shards: row.get(2),
            over: row.get(3),
            in_one_phase: row.get(4),
            cached_connections: row.get(5),
            recovery_interval: row.get(6),
            forces_generic_plans: row.get(7),
            lanes: 0,
            nodes: Vec::new(),
        };
        if !standing.distributed.is_empty() {
            (standing.nodes, standing.lanes) = nodes(transaction).await?;
        }
        Ok(Some(standing))
    }
}

async fn nodes(transaction: &Transaction) -> Result<(Vec<Node>, i64), DatabaseError> {
    let sql = format!(
        "SELECT n.node, n.is_coordinator, n.said IS NOT NULL, n.said ->> 'fsync', n.said ->> 'synchronous_commit',
                n.said ->> 'full_page_writes', (n.said ->> 'has_standbys')::boolean,
                (n.said ->> 'max_prepared_transactions')::bigint, (n.said ->> 'oldest_prepared')::float8, n.lanes
         FROM {}.cluster_nodes() AS n ORDER BY n.is_coordinator DESC, n.node",
        transaction.schemas().own
    );
    let rows = transaction.query("ask the servers of the cluster", &sql, &[]).await?;
    if let Some(silent) = rows.iter().find(|row| !row.get::<_, bool>(2)) {
        let name: String = silent.get(0);
        return Err(transaction.unsettled("ask the servers of the cluster", format!("{name} does not answer")));
    }
    let node = |row: &tokio_postgres::Row| Node {
        name: row.get(0),
        is_coordinator: row.get(1),
        durability: Durability { fsync: row.get(3), synchronous_commit: row.get(4), full_page_writes: row.get(5) },
        has_standbys: row.get(6),
        max_prepared: row.get(7),
        oldest_prepared: row.get(8),
    };
    let lanes = rows.first().map_or(0, |row| row.get(9));
    Ok((rows.iter().map(node).collect(), lanes))
}
