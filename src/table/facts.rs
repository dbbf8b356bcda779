//! What the server's catalogues say of the tables: whether what the statements rely on is there. Reads nobody's rows, and
//! needs no grant but for [`Positions`].

use std::collections::BTreeSet;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::distribution;
use super::login_columns::{LoginColumns, MESSAGE_HASH};
use super::time_partitions::BOUNDS;
use crate::database::{DatabaseError, Transaction};
use crate::stream::LOGIN;

/// The table that others query.
pub const LOGINS: &str = LOGIN.table;

/// Turnstile's own tables, without which nothing is loaded.
pub const OWN: [&str; 7] =
    ["processed_messages", "identities", "queues", "dead_letters", "outbox", "turnstile_keys", "horizon"];

/// The tables in which `turnstile relay` notes how far it is, and that of what is pruned behind it. No loader needs them.
pub const OF_RELAY: [&str; 6] =
    ["relay_sinks", "relay_marks", "relay_chunks", "relay_gaps", "relay_failures", "outbox_pruned"];

/// Those into which every transaction of a loader or a replay writes.
const WRITTEN: [&str; 6] = ["processed_messages", "identities", "queues", "dead_letters", "outbox", LOGINS];

/// What gives the events their positions.
pub const SEQUENCE: &str = "outbox_position_seq";

/// A table, and columns of it of which one value stands there once: what `ON CONFLICT` names.
pub type UniqueKey = (&'static str, &'static [&'static str]);

/// Every key on which the promise rests.
pub const UNIQUE_KEYS: [UniqueKey; 8] = [
    ("processed_messages", &["sent_at", "message_hash"]),
    ("identities", &["key_time", "hash"]),
    ("dead_letters", &["sent_at", "message_hash"]),
    (LOGINS, &["message_sent_at", "message_hash"]),
    ("outbox", &["position"]),
    ("queues", &["arn"]),
    ("turnstile_keys", &["key_id"]),
    ("horizon", &["one"]),
];

/// Every key on which a relay relies.
pub const KEYS_OF_RELAY: [UniqueKey; 4] = [
    ("relay_sinks", &["sink"]),
    ("relay_marks", &["sink", "slot", "position"]),
    ("relay_failures", &["sink", "position"]),
    ("outbox_pruned", &["below"]),
];

/// The relations that are asked of, with the partitions of tables; `own_owner` is the owner of the schema.
const OURS: &str = "WITH RECURSIVE ours AS (
        SELECT c.oid, n.nspname, c.relname, c.relname AS root, c.relkind, c.relpersistence, c.relowner,
               (SELECT o.nspowner FROM pg_catalog.pg_namespace o WHERE o.nspname = $1::text) AS own_owner
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind <> 'i' AND c.relname = ANY ($3::text[])
          AND n.nspname = CASE c.relname WHEN 'user_logins' THEN $2::text ELSE $1::text END
        UNION ALL
        SELECT c.oid, n.nspname, c.relname, p.root, c.relkind, c.relpersistence, c.relowner, p.own_owner
        FROM ours p JOIN pg_catalog.pg_inherits i ON i.inhparent = p.oid
        JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    )";

/// How much room each of these tables takes, with its partitions, its indexes and what belongs to rows that are gone.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn sizes(seen: &Transaction, tables: &[&'static str]) -> Result<Vec<(String, u64)>, DatabaseError> {
    let size = distribution::size_of(distribution::is_cluster(seen).await?, "oid");
    let sql = format!("SELECT root::text, sum({size})::bigint FROM ours GROUP BY root");
    let rows = Catalogues { transaction: seen, tables: tables.to_vec() }.ask(&sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), u64::try_from(row.get::<_, i64>(1)).unwrap_or(0))).collect())
}

/// A unique index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniqueIndex {
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Whether it can be relied on: it was built to its end.
    pub valid: bool,
    /// Whether it is looked at when a row is written, and not at the end of the transaction.
    pub immediate: bool,
    /// The columns of which one value stands there once. What a table is partitioned by, every unique index of it must hold:
    /// the day of a login is left out, since it follows from the others.
    pub columns: BTreeSet<String>,
}

/// A trigger or a rule that may keep a row out without an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowDropper {
    /// `trigger` or `rule`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its table, with the schema.
    pub table: String,
    /// Whether the table is the one of the logins.
    pub of_logins: bool,
}

/// Somebody who should not own something, or may make something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// The role; `PUBLIC` is everybody.
    pub role: String,
    /// The table or the schema.
    pub of: String,
    /// Whether that is where the logins stand.
    pub of_logins: bool,
}

/// What positions a partition takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The first.
    pub from: i64,
    /// The first that it does not take.
    pub to: i64,
}

/// A partition of `outbox` that is being detached, or a table that was a partition of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HalfDropped {
    /// Its name, with the schema.
    pub name: String,
    /// Whether it still belongs to `outbox`, although nobody sees its events any more.
    pub is_pending: bool,
}

/// A table that is partitioned by time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByTime {
    /// Its name.
    pub table: String,
    /// Whether the present day has a partition.
    pub has_now: bool,
    /// For how many whole days from now on there are partitions; negative where they ended.
    pub days_ahead: i64,
    /// Partitions that are detached by half.
    pub pending: Vec<String>,
    /// Whether it has a default partition.
    pub has_default: bool,
}

/// How the sequence of the positions counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counting {
    /// By how much.
    pub increment: i64,
    /// How many positions a session takes at once.
    pub cache: i64,
    /// Whether it begins again at its end.
    pub cycles: bool,
}

impl Partition {
    /// Whether it takes this position.
    pub fn holds(self, position: i64) -> bool {
        (self.from..self.to).contains(&position)
    }
}

/// How many partitions follow without a gap after the one that takes this position; none where no partition takes it. One
/// without an end is as good as any number.
pub fn partitions_ahead(partitions: &[Partition], position: i64) -> Option<usize> {
    let mut end = partitions.iter().find(|partition| partition.holds(position))?.to;
    let mut ahead = 0;
    while end < i64::MAX {
        let Some(following) = partitions.iter().find(|partition| partition.holds(end)) else { return Some(ahead) };
        (ahead, end) = (ahead + 1, following.to);
    }
    Some(usize::MAX)
}

/// Reads which partitions the outbox has.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn partitions_of_outbox(transaction: &Transaction) -> Result<Vec<Partition>, DatabaseError> {
    Catalogues { transaction, tables: vec!["outbox"] }.partitions().await
}

impl Counting {
    /// Reads it; nothing where there is no sequence.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn read(transaction: &Transaction) -> Result<Option<Self>, DatabaseError> {
        Catalogues { transaction, tables: vec![SEQUENCE] }.counting().await
    }
}

/// What the catalogues say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableFacts {
    /// Tables and sequences that should be there and are not.
    pub missing: Vec<String>,
    /// What a crash of the server empties.
    pub unlogged: Vec<String>,
    /// Every unique index of the tables.
    pub unique: Vec<UniqueIndex>,
    /// What may keep rows out in silence.
    pub droppers: Vec<RowDropper>,
    /// Columns of `user_logins` that must be given a value, and are given none.
    pub required: Vec<String>,
    /// Who owns a table and cannot act as the owner of Turnstile's schema.
    pub owners: Vec<Stranger>,
    /// Who may make objects in the schemas besides their owners.
    pub makers: Vec<Stranger>,
    /// The partitions of `outbox`.
    pub partitions: Vec<Partition>,
    /// Those that are not whole any more.
    pub half_dropped: Vec<HalfDropped>,
    /// The tables that are partitioned by time.
    pub by_time: Vec<ByTime>,
    /// How positions are counted.
    pub counting: Option<Counting>,
}

impl TableFacts {
    /// Reads what a loader relies on.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn read(transaction: &Transaction) -> Result<Self, DatabaseError> {
        let catalogues = Catalogues { transaction, tables: OWN.into_iter().chain([SEQUENCE, LOGINS]).collect() };
        let mut facts = catalogues.of_any_table(&WRITTEN).await?;
        facts.required = catalogues.required_columns().await?;
        facts.makers = catalogues.makers().await?;
        facts.partitions = catalogues.partitions().await?;
        facts.half_dropped = catalogues.half_dropped().await?;
        facts.by_time = catalogues.by_time().await?;
        facts.counting = catalogues.counting().await?;
        Ok(facts)
    }

    /// Reads how the tables are partitioned by time, and nothing else.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn of_time(transaction: &Transaction) -> Result<Vec<ByTime>, DatabaseError> {
        Catalogues { transaction, tables: vec!["processed_messages", "identities", LOGINS] }.by_time().await
    }

    /// Reads what a relay relies on besides: tables, unique indexes, owners, and what may keep rows out.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn of_relay(transaction: &Transaction) -> Result<Self, DatabaseError> {
        Catalogues { transaction, tables: OF_RELAY.to_vec() }.of_any_table(&OF_RELAY).await
    }

    /// The unique index of a key on which writers can rely, or one that only looks like it.
    pub fn index_of(&self, (table, columns): UniqueKey) -> Option<&UniqueIndex> {
        let is_of = |index: &&UniqueIndex| index.table == table && index.columns.iter().eq(sorted(columns));
        let of_key = || self.unique.iter().filter(is_of);
        of_key().find(|index| index.valid && index.immediate).or_else(|| of_key().next())
    }
}

fn sorted(columns: &[&'static str]) -> BTreeSet<&'static str> {
    columns.iter().copied().collect()
}

struct Catalogues<'t> {
    transaction: &'t Transaction,
    tables: Vec<&'static str>,
}

impl Catalogues<'_> {
    async fn ask(&self, sql: &str, more: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, DatabaseError> {
        let schemas = self.transaction.schemas();
        let (own, logins) = (schemas.own.name(), schemas.logins.name());
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&own, &logins, &self.tables];
        parameters.extend(more);
        self.transaction.query("read the catalogues", &format!("{OURS} {sql}"), &parameters).await
    }

    /// What is asked of every table; rows are written into `written`.
    async fn of_any_table(&self, written: &[&str]) -> Result<TableFacts, DatabaseError> {
        let mut facts = TableFacts::default();
        self.relations(&mut facts).await?;
        facts.unique = self.unique_indexes().await?;
        facts.droppers = self.droppers(written).await?;
        Ok(facts)
    }

    async fn relations(&self, facts: &mut TableFacts) -> Result<(), DatabaseError> {
        let sql = "SELECT pg_catalog.format('%I.%I', nspname, relname), relname::text, relpersistence = 'p',
                          pg_catalog.pg_get_userbyid(relowner)::text, root = 'user_logins',
                          pg_catalog.pg_has_role(relowner, own_owner, 'MEMBER')
                   FROM ours ORDER BY 1";
        let mut missing: BTreeSet<&str> = self.tables.iter().copied().collect();
        for row in self.ask(sql, &[]).await? {
            let (of, of_logins): (String, bool) = (row.get(0), row.get(4));
            missing.remove(row.get::<_, &str>(1));
            if !row.get::<_, bool>(2) {
                facts.unlogged.push(of.clone());
            }
            if row.get::<_, Option<bool>>(5) != Some(true) {
                facts.owners.push(Stranger { role: row.get(3), of, of_logins });
            }
        }
        facts.missing = missing.into_iter().map(str::to_owned).collect();
        Ok(())
    }

    /// Those of the tables themselves, that hold for all of their rows, in the columns and in nothing computed.
    async fn unique_indexes(&self) -> Result<Vec<UniqueIndex>, DatabaseError> {
        let sql =
            "SELECT o.relname::text, c.relname::text, i.indisvalid AND i.indisready AND i.indislive, i.indimmediate,
                          ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                                WHERE a.attrelid = i.indrelid
                                  AND a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts::integer - 1])
                                  AND NOT (o.relkind = 'p' AND o.root = 'user_logins' AND a.attname = 'create_date'))
                   FROM ours o JOIN pg_catalog.pg_index i ON i.indrelid = o.oid
                   JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
                   WHERE o.relname = o.root AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL
                   ORDER BY 1, 2";
        let read = |row: &Row| UniqueIndex {
            table: row.get(0),
            name: row.get(1),
            valid: row.get(2),
            immediate: row.get(3),
            columns: row.get::<_, Vec<String>>(4).into_iter().collect(),
        };
        Ok(self.ask(sql, &[]).await?.iter().map(read).collect())
    }

    /// Triggers before a row is written, which may answer that it is not, and rules that put something in its place.
    async fn droppers(&self, written: &[&str]) -> Result<Vec<RowDropper>, DatabaseError> {
        let sql = "SELECT 'trigger', t.tgname::text, pg_catalog.format('%I.%I', o.nspname, o.relname), o.root = 'user_logins'
                   FROM ours o JOIN pg_catalog.pg_trigger t ON t.tgrelid = o.oid
                   WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND (t.tgtype::integer & 3) = 3
                     AND (t.tgtype::integer & 20) <> 0 AND o.root = ANY ($4::text[])
                   UNION ALL
                   SELECT 'rule', r.rulename::text, pg_catalog.format('%I.%I', o.nspname, o.relname), o.root = 'user_logins'
                   FROM ours o JOIN pg_catalog.pg_rewrite r ON r.ev_class = o.oid
                   WHERE r.ev_enabled <> 'D' AND r.ev_type IN ('2', '3') AND o.root = ANY ($4::text[])
                   ORDER BY 3, 1, 2";
        let read =
            |row: &Row| RowDropper { kind: row.get(0), name: row.get(1), table: row.get(2), of_logins: row.get(3) };
        Ok(self.ask(sql, &[&written]).await?.iter().map(read).collect())
    }

    async fn required_columns(&self) -> Result<Vec<String>, DatabaseError> {
        let sql = "SELECT a.attname::text FROM ours o JOIN pg_catalog.pg_attribute a ON a.attrelid = o.oid
                   WHERE o.relname = 'user_logins' AND o.root = 'user_logins' AND a.attnum > 0 AND NOT a.attisdropped
                     AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attname <> ALL ($4::text[])
                   ORDER BY a.attnum";
        let written = LoginColumns::of(&LOGIN, MESSAGE_HASH);
        Ok(self.ask(sql, &[&written.names()]).await?.iter().map(|row| row.get(0)).collect())
    }

    async fn makers(&self) -> Result<Vec<Stranger>, DatabaseError> {
        let sql = "SELECT n.nspname::text,
                          CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(g.grantee)::text END
                   FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) g
                   WHERE n.nspname IN ($1::text, $2::text) AND g.privilege_type = 'CREATE' AND g.grantee <> n.nspowner
                     AND (g.grantee = 0 OR NOT pg_catalog.pg_has_role(g.grantee, n.nspowner, 'MEMBER'))
                     AND EXISTS (SELECT FROM ours)
                   ORDER BY 1, 2";
        let own = self.transaction.schemas().own.name();
        let read = |row: &Row| {
            let of: String = row.get(0);
            Stranger { role: row.get(1), of_logins: of != own, of }
        };
        Ok(self.ask(sql, &[]).await?.iter().map(read).collect())
    }

    async fn partitions(&self) -> Result<Vec<Partition>, DatabaseError> {
        let sql = "SELECT pg_catalog.pg_get_expr(c.relpartbound, c.oid) FROM ours o
                   JOIN pg_catalog.pg_class c ON c.oid = o.oid
                   JOIN pg_catalog.pg_inherits i ON i.inhrelid = o.oid
                   WHERE o.root = 'outbox' AND c.relpartbound IS NOT NULL
                     AND (pg_catalog.to_jsonb(i) ->> 'inhdetachpending')::boolean IS NOT TRUE";
        let rows = self.ask(sql, &[]).await?;
        Ok(rows.iter().filter_map(|row| partition_of(row.get(0))).collect())
    }

    /// A detaching that did not come to its end, and tables that are named as partitions are and belong to nothing.
    async fn half_dropped(&self) -> Result<Vec<HalfDropped>, DatabaseError> {
        // PostgreSQL 13 has no column inhdetachpending.
        let sql = "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), i.inhrelid IS NOT NULL
                   FROM ours o JOIN pg_catalog.pg_namespace n ON n.nspname = o.nspname
                   JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relkind = 'r'
                   LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid
                   WHERE o.root = 'outbox' AND o.relname = 'outbox'
                     AND (i.inhparent = o.oid AND (pg_catalog.to_jsonb(i) ->> 'inhdetachpending')::boolean
                          OR i.inhparent IS NULL AND c.relname ~ '^outbox_[0-9]+$')
                   ORDER BY 1";
        let read = |row: &Row| HalfDropped { name: row.get(0), is_pending: row.get(1) };
        Ok(self.ask(sql, &[]).await?.iter().map(read).collect())
    }

    async fn by_time(&self) -> Result<Vec<ByTime>, DatabaseError> {
        let sql = format!(
            "SELECT p.relname::text, w.name, w.bound = 'DEFAULT', w.is_whole,
                    greatest(EXTRACT(epoch FROM w.since - pg_catalog.now()), 0)::float8,
                    EXTRACT(epoch FROM w.until - pg_catalog.now())::float8
             FROM ours p
             LEFT JOIN LATERAL (
                 SELECT c.relname::text AS name, e.bound, b.since, b.until,
                        (pg_catalog.to_jsonb(i) ->> 'inhdetachpending')::boolean IS NOT TRUE AS is_whole
                 FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
                 {BOUNDS}
                 WHERE i.inhparent = p.oid
             ) AS w ON true
             WHERE p.relname = p.root AND p.relkind = 'p' AND p.relname IN ('user_logins', 'processed_messages', 'identities')
             ORDER BY p.relname, w.until"
        );
        let mut tables: Vec<ByTime> = Vec::new();
        let mut covered = 0.0;
        for row in self.ask(&sql, &[]).await? {
            let table: String = row.get(0);
            if tables.last().is_none_or(|last| last.table != table) {
                covered = 0.0;
                tables.push(ByTime { table, has_now: false, days_ahead: -1, pending: Vec::new(), has_default: false });
            }
            let (Some(of), Some(name)) = (tables.last_mut(), row.get::<_, Option<String>>(1)) else { continue };
            of.has_default |= row.get::<_, bool>(2);
            if !row.get::<_, bool>(3) {
                of.pending.push(name);
                continue;
            }
            // In seconds from now on: what begins where the one before ends goes on without a gap.
            let (since, until): (Option<f64>, Option<f64>) = (row.get(4), row.get(5));
            if let Some(until) = until.filter(|until| *until > covered && since.unwrap_or(0.0) <= covered + 1.0) {
                covered = until;
                of.has_now = true;
                of.days_ahead = (until / 86_400.0).floor() as i64;
            }
        }
        Ok(tables)
    }

    async fn counting(&self) -> Result<Option<Counting>, DatabaseError> {
        let sql = "SELECT s.seqincrement, s.seqcache, s.seqcycle FROM ours o
                   JOIN pg_catalog.pg_sequence s ON s.seqrelid = o.oid";
        let read = |row: &Row| Counting { increment: row.get(0), cache: row.get(1), cycles: row.get(2) };
        Ok(self.ask(sql, &[]).await?.first().map(read))
    }
}

/// `FOR VALUES FROM ('0') TO ('10000000')`, as the server writes it; a default partition takes whatever is left.
pub(super) fn partition_of(bound: &str) -> Option<Partition> {
    if bound == "DEFAULT" {
        return Some(Partition { from: i64::MIN, to: i64::MAX });
    }
    let (from, to) = bound.strip_prefix("FOR VALUES FROM (")?.split_once(") TO (")?;
    let number = |text: &str| match text.trim_matches(['\'', ')']) {
        "MINVALUE" => Some(i64::MIN),
        "MAXVALUE" => Some(i64::MAX),
        digits => digits.parse().ok(),
    };
    Some(Partition { from: number(from)?, to: number(to)? })
}

/// Where the positions of the outbox stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions {
    /// The one that the next event is given.
    pub next: i64,
    /// The highest that an event has; none while there is no event.
    pub highest: Option<i64>,
}

impl Positions {
    /// Reads the sequence, and the end of the outbox's index.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn read(transaction: &Transaction) -> Result<Self, DatabaseError> {
        let own = &transaction.schemas().own;
        let sql = format!(
            "SELECT CASE WHEN s.is_called THEN s.last_value + 1::bigint ELSE s.last_value END,
                    (SELECT pg_catalog.max(o.position) FROM {own}.outbox o)
             FROM {own}.{SEQUENCE} s"
        );
        let row = transaction.query_one("read the outbox's positions", &sql, &[]).await?;
        Ok(Self { next: row.get(0), highest: row.get(1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_read_as_the_server_writes_it() {
        for (bound, range) in [
            ("FOR VALUES FROM ('0') TO ('10000000')", Some((0, 10_000_000))),
            ("FOR VALUES FROM ('-5') TO ('5')", Some((-5, 5))),
            ("FOR VALUES FROM (MINVALUE) TO ('7')", Some((i64::MIN, 7))),
            ("FOR VALUES FROM ('7') TO (MAXVALUE)", Some((7, i64::MAX))),
            ("DEFAULT", Some((i64::MIN, i64::MAX))),
            ("FOR VALUES IN ('1')", None),
            ("FOR VALUES FROM ('a') TO ('b')", None),
        ] {
            assert_eq!(partition_of(bound), range.map(|(from, to)| Partition { from, to }), "{bound}");
        }
    }

    #[test]
    fn the_index_of_a_key_has_its_columns_and_no_other_and_one_to_rely_on_is_preferred() {
        let index = |name: &str, columns: &[&str], valid, immediate| UniqueIndex {
            table: "identities".to_owned(),
            name: name.to_owned(),
            valid,
            immediate,
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        };
        let key: UniqueKey = ("identities", &["b", "a"]);
        let found =
            |unique| TableFacts { unique, ..TableFacts::default() }.index_of(key).map(|index| index.name.clone());
        assert_eq!(found(vec![index("one", &["a"], true, true), index("three", &["a", "b", "c"], true, true)]), None);
        let broken = index("broken", &["a", "b"], false, true);
        let late = index("late", &["a", "b"], true, false);
        assert_eq!(found(vec![broken.clone(), late.clone()]).as_deref(), Some("broken"));
        assert_eq!(found(vec![broken, late, index("good", &["a", "b"], true, true)]).as_deref(), Some("good"));
    }
}
