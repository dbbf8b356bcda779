//! How the sinks stand, read from every table of the relay: what an operator is told. Cheap, whatever the backlog: what could
//! be much is counted up to a limit.

use std::ops::RangeInclusive;

use time::OffsetDateTime;
use tokio_postgres::Row;

use super::facts::{self, Partition, Positions};
use crate::database::server::cluster_id;
use crate::database::{DatabaseError, Transaction};

/// Up to how many events above the frontier are counted one by one; of more, the positions are told.
pub const COUNTED: i64 = 100_000;
/// The most gaps and owners of chunks of a sink that are told one by one.
const TOLD: i64 = 100;
/// The most chunks in which the oldest event is looked for, those at the lowest positions first.
const CHUNKS_LOOKED_INTO: i64 = 1_000;
/// The lengths of time over which the rate is told, in seconds.
const RATES_OVER: [f64; 2] = [60.0, 600.0];

/// The outbox and its sinks, at one moment.
#[derive(Clone, Debug)]
pub struct OutboxStatus {
    /// The database's time.
    pub now: OffsetDateTime,
    /// The cluster of this database.
    pub cluster_id: i64,
    /// The table.
    pub table: OutboxTable,
    /// The sinks, by name.
    pub sinks: Vec<SinkStatus>,
    /// Who may still write events below positions that are taken: the transactions that hold the lock of writers.
    pub holders: Vec<Holder>,
}

/// The table of the events.
#[derive(Clone, Debug)]
pub struct OutboxTable {
    /// The next position, and the highest of an event.
    pub positions: Positions,
    /// Its partitions.
    pub partitions: Vec<Partition>,
    /// How much room they take, with their indexes.
    pub bytes: i64,
    /// Events below are gone; none where nothing was dropped.
    pub pruned_below: Option<i64>,
}

/// A sink.
#[derive(Clone, Debug)]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// Where it goes.
    pub target: String,
    /// Whether it keeps the events of a subject in order.
    pub is_ordered: bool,
    /// The cluster in which it was made.
    pub cluster_id: i64,
    /// When it was made.
    pub since: OffsetDateTime,
    /// How far it has come: the lowest frontier, where it has several.
    pub frontier: i64,
    /// What is above the frontier.
    pub backlog: Backlog,
    /// When the oldest event was written that is above the frontier, in a chunk, or waits for another attempt.
    pub oldest: Option<OffsetDateTime>,
    /// How fast the frontier moves: over the last minute, and over the last ten.
    pub rates: Vec<Rate>,
    /// The open chunks, by owner.
    pub chunks: Vec<OwnedChunks>,
    /// How many gaps there are.
    pub gaps_in_all: i64,
    /// How many positions they have.
    pub positions_in_gaps: i64,
    /// The gaps at the lowest positions.
    pub gaps: Vec<OpenGap>,
    /// The events that it refuses, by status and code.
    pub failures: Vec<Refusals>,
}

/// Events above a frontier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// How many can be seen, up to [`COUNTED`].
    pub events: i64,
    /// Whether those are all.
    pub is_exact: bool,
    /// How many positions there are up to the highest event.
    pub positions: i64,
}

/// How fast a frontier moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Positions a second: each event has one, and what was rolled back had some.
    pub a_second: f64,
    /// Over how many seconds: fewer than asked for, where the marks do not reach back so far.
    pub over_seconds: f64,
}

/// Open chunks of one owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedChunks {
    /// The host and process that carry them; none where nobody has taken them up.
    pub owner: Option<String>,
    /// How many chunks.
    pub chunks: i64,
    /// How many positions they cover.
    pub positions: i64,
    /// How often one of them was leased, at most.
    pub most_attempts: i32,
    /// When the first of the leases ends.
    pub lease_ends: OffsetDateTime,
}

/// Positions below the frontier at which no event can be seen yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenGap {
    /// Which.
    pub positions: RangeInclusive<i64>,
    /// Since when it is known.
    pub since: OffsetDateTime,
    /// The transactions that may fill it, by their virtual ids; none where nobody has looked yet.
    pub writers: Option<Vec<String>>,
}

impl OpenGap {
    /// Who holds it open, of those who write now. A prepared transaction may always: a crash of the server gives it another id.
    pub fn held_by<'h>(&self, holders: &'h [Holder]) -> Vec<&'h Holder> {
        let may = |holder: &&Holder| match &self.writers {
            Some(writers) => holder.is_prepared || writers.contains(&holder.id),
            None => true,
        };
        holders.iter().filter(may).collect()
    }
}

/// A transaction that has written to the outbox, or may have, and has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its virtual id.
    pub id: String,
    /// Whether it is prepared: it has no process.
    pub is_prepared: bool,
    /// The process of the server.
    pub pid: Option<i32>,
    /// What the client calls itself.
    pub application: Option<String>,
    /// What the session does; none where this role may not see it.
    pub state: Option<String>,
    /// The name under which it was prepared.
    pub gid: Option<String>,
    /// When the transaction began or was prepared; none where this role may not see it.
    pub since: Option<OffsetDateTime>,
}

/// Events that a sink refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusals {
    /// `waiting`, `set_aside` or `discarded`.
    pub status: String,
    /// What the sink says of them.
    pub code: String,
    /// How many.
    pub events: i64,
    /// Since when the oldest is refused.
    pub since: OffsetDateTime,
}

impl OutboxStatus {
    /// Reads how all sinks stand, or the one of this name.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]
    pub async fn read(seen: &Transaction, only: Option<&str>) -> Result<Self, DatabaseError> {
        let own = &seen.schemas().own;
        let now = seen.clock().await?;
        let table = OutboxTable::read(seen).await?;
        let sql = format!(
            "SELECT sink, target, ordered, cluster_id, since, slots FROM {own}.relay_sinks
             WHERE $1::text IS NULL OR sink = $1 ORDER BY sink"
        );
        let mut sinks = Vec::new();
        for row in seen.query("read the sinks", &sql, &[&only]).await? {
            sinks.push(SinkStatus::read(seen, &row, &table.positions, now).await?);
        }
        Ok(Self { now, cluster_id: cluster_id(seen).await?, table, sinks, holders: holders(seen).await? })
    }
}

impl OutboxTable {
    async fn read(seen: &Transaction) -> Result<Self, DatabaseError> {
        let own = &seen.schemas().own;
        let size = "SELECT coalesce(pg_catalog.sum(pg_catalog.pg_total_relation_size(i.inhrelid))::bigint, 0::bigint)
                    FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhparent
                    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                    WHERE n.nspname = $1::text AND c.relname = 'outbox'";
        let pruned = format!("SELECT pg_catalog.max(below) FROM {own}.outbox_pruned");
        Ok(Self {
            positions: Positions::read(seen).await?,
            partitions: facts::partitions_of_outbox(seen).await?,
            bytes: seen.query_one("measure the outbox", size, &[&own.name()]).await?.get(0),
            pruned_below: seen.query_one("ask what was pruned", &pruned, &[]).await?.get(0),
        })
    }
}

impl SinkStatus {
    async fn read(
        seen: &Transaction,
        row: &Row,
        positions: &Positions,
        now: OffsetDateTime,
    ) -> Result<Self, DatabaseError> {
        let of = OneSink { seen, name: row.get(0) };
        let (slot, frontier) = of.frontier(row.get(5)).await?;
        let (gaps_in_all, positions_in_gaps) = of.size_of_gaps().await?;
        Ok(Self {
            name: of.name.clone(),
            target: row.get(1),
            is_ordered: row.get(2),
            cluster_id: row.get(3),
            since: row.get(4),
            frontier,
            backlog: of.backlog(frontier, positions.highest).await?,
            oldest: of.oldest(frontier).await?,
            rates: of.rates(slot, now).await?,
            chunks: of.chunks().await?,
            gaps_in_all,
            positions_in_gaps,
            gaps: of.gaps().await?,
            failures: of.failures().await?,
        })
    }
}

/// A sink whose tables are read.
struct OneSink<'t> {
    seen: &'t Transaction,
    name: String,
}

impl OneSink<'_> {
    /// The lowest frontier, and of which slot it is. A slot without a mark is at the beginning.
    async fn frontier(&self, slots: i16) -> Result<(i16, i64), DatabaseError> {
        let sql = format!(
            "SELECT s.slot::smallint, coalesce(m.position, 0::bigint)
             FROM pg_catalog.generate_series(0, $2::smallint::integer - 1) AS s (slot)
             LEFT JOIN (SELECT slot, pg_catalog.max(position) AS position FROM {}.relay_marks WHERE sink = $1 GROUP BY slot) AS m
                  ON m.slot::integer = s.slot
             ORDER BY 2, 1 LIMIT 1",
            self.seen.schemas().own
        );
        let row = self.seen.query_one("read the frontier", &sql, &[&self.name, &slots]).await?;
        Ok((row.get(0), row.get(1)))
    }

    async fn backlog(&self, frontier: i64, highest: Option<i64>) -> Result<Backlog, DatabaseError> {
        // In the order of the index: a limit that is reached must not be looked for in the whole table.
        let sql = format!(
            "SELECT count(*) FROM (SELECT position FROM {}.outbox WHERE position > $1 ORDER BY position LIMIT $2) AS o",
            self.seen.schemas().own
        );
        let counted: i64 = self.seen.query_one("count the backlog", &sql, &[&frontier, &(COUNTED + 1)]).await?.get(0);
        Ok(Backlog {
            events: counted.min(COUNTED),
            is_exact: counted <= COUNTED,
            positions: highest.map_or(0, |highest| (highest - frontier).max(0)),
        })
    }

    async fn oldest(&self, frontier: i64) -> Result<Option<OffsetDateTime>, DatabaseError> {
        let own = &self.seen.schemas().own;
        let sql = format!(
            "SELECT pg_catalog.min(e.created_at) FROM (
                 (SELECT created_at FROM {own}.outbox WHERE position > $2 ORDER BY position LIMIT 1)
                 UNION ALL
                 SELECT o.created_at
                 FROM (SELECT first_position, last_position FROM {own}.relay_chunks WHERE sink = $1
                       ORDER BY first_position LIMIT {CHUNKS_LOOKED_INTO}) AS c
                 CROSS JOIN LATERAL (SELECT created_at FROM {own}.outbox
                                     WHERE position BETWEEN c.first_position AND c.last_position
                                     ORDER BY position LIMIT 1) AS o
                 UNION ALL
                 SELECT o.created_at
                 FROM (SELECT position FROM {own}.relay_failures WHERE sink = $1 AND status = 'waiting'
                       ORDER BY position LIMIT 1) AS f
                 JOIN {own}.outbox o ON o.position = f.position
             ) AS e"
        );
        Ok(self.seen.query_one("look for the oldest event", &sql, &[&self.name, &frontier]).await?.get(0))
    }

    /// From the newest mark that is old enough to the newest of all; where none is old enough, from the oldest.
    async fn rates(&self, slot: i16, now: OffsetDateTime) -> Result<Vec<Rate>, DatabaseError> {
        let own = &self.seen.schemas().own;
        let sql = format!(
            "SELECT (n.position - b.position)::float8,
                    least(w.seconds, extract(epoch FROM $3::timestamptz - b.set_at)::float8)
             FROM unnest($4::float8[]) WITH ORDINALITY AS w (seconds, number)
             CROSS JOIN (SELECT position FROM {own}.relay_marks WHERE sink = $1 AND slot = $2
                         ORDER BY position DESC LIMIT 1) AS n
             CROSS JOIN LATERAL (
                 SELECT * FROM (
                     (SELECT position, set_at, 0 AS choice FROM {own}.relay_marks
                      WHERE sink = $1 AND slot = $2 AND set_at <= $3::timestamptz - w.seconds * interval '1 second'
                      ORDER BY position DESC LIMIT 1)
                     UNION ALL
                     (SELECT position, set_at, 1 FROM {own}.relay_marks WHERE sink = $1 AND slot = $2
                      ORDER BY position LIMIT 1)
                 ) AS both_kinds ORDER BY choice LIMIT 1
             ) AS b
             ORDER BY w.number"
        );
        let over: &[f64] = &RATES_OVER;
        let rows = self.seen.query("read how fast it goes", &sql, &[&self.name, &slot, &now, &over]).await?;
        let rate = |row: &Row| {
            let (positions, over_seconds): (f64, f64) = (row.get(0), row.get(1));
            // A single mark says nothing.
            let is_known = over_seconds > 0.0 && (positions > 0.0 || RATES_OVER.contains(&over_seconds));
            is_known.then(|| Rate { a_second: positions / over_seconds, over_seconds })
        };
        Ok(rows.iter().filter_map(rate).collect())
    }

    async fn chunks(&self) -> Result<Vec<OwnedChunks>, DatabaseError> {
        let sql = format!(
            "SELECT owner, count(*), pg_catalog.sum(last_position - first_position + 1::bigint)::bigint,
                    pg_catalog.max(attempts), pg_catalog.min(leased_until)
             FROM {}.relay_chunks WHERE sink = $1 GROUP BY owner ORDER BY pg_catalog.min(leased_until) LIMIT {TOLD}",
            self.seen.schemas().own
        );
        let rows = self.seen.query("read the chunks", &sql, &[&self.name]).await?;
        let owned = |row: &Row| OwnedChunks {
            owner: row.get(0),
            chunks: row.get(1),
            positions: row.get(2),
            most_attempts: row.get(3),
            lease_ends: row.get(4),
        };
        Ok(rows.iter().map(owned).collect())
    }

    async fn size_of_gaps(&self) -> Result<(i64, i64), DatabaseError> {
        let sql = format!(
            "SELECT count(*), coalesce(pg_catalog.sum(last_position - first_position + 1::bigint)::bigint, 0::bigint)
             FROM {}.relay_gaps WHERE sink = $1",
            self.seen.schemas().own
        );
        let row = self.seen.query_one("count the gaps", &sql, &[&self.name]).await?;
        Ok((row.get(0), row.get(1)))
    }

    async fn gaps(&self) -> Result<Vec<OpenGap>, DatabaseError> {
        let sql = format!(
            "SELECT first_position, last_position, since, writers FROM {}.relay_gaps WHERE sink = $1
             ORDER BY first_position LIMIT {TOLD}",
            self.seen.schemas().own
        );
        let rows = self.seen.query("read the gaps", &sql, &[&self.name]).await?;
        let gap = |row: &Row| OpenGap { positions: row.get(0)..=row.get(1), since: row.get(2), writers: row.get(3) };
        Ok(rows.iter().map(gap).collect())
    }

    async fn failures(&self) -> Result<Vec<Refusals>, DatabaseError> {
        let sql = format!(
            "SELECT status, code, count(*), pg_catalog.min(since) FROM {}.relay_failures WHERE sink = $1
             GROUP BY status, code ORDER BY status DESC, count(*) DESC, code",
            self.seen.schemas().own
        );
        let rows = self.seen.query("count the failures", &sql, &[&self.name]).await?;
        let refusals =
            |row: &Row| Refusals { status: row.get(0), code: row.get(1), events: row.get(2), since: row.get(3) };
        Ok(rows.iter().map(refusals).collect())
    }
}

/// Every transaction that holds the lock that a writer of events takes. Whose it is says `pg_stat_activity`, as far as this role
/// may see it; of a prepared one, the lock on its own id leads to the name that it was given.
///
/// # Errors
///
/// [`DatabaseError`]
pub async fn holders(seen: &Transaction) -> Result<Vec<Holder>, DatabaseError> {
    let sql = "SELECT l.virtualtransaction, l.pid, a.application_name, a.state, p.gid, coalesce(p.prepared, a.xact_start)
               FROM (SELECT DISTINCT k.virtualtransaction, k.pid FROM pg_catalog.pg_locks k
                     WHERE k.locktype = 'relation' AND k.granted AND k.mode = 'RowExclusiveLock'
                       AND k.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
                       AND k.relation = (SELECT c.oid FROM pg_catalog.pg_class c
                                         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                                         WHERE n.nspname = $1::text AND c.relname = 'outbox')) AS l
               LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
               LEFT JOIN pg_catalog.pg_locks t ON l.pid IS NULL AND t.pid IS NULL AND t.locktype = 'transactionid' AND t.granted
                    AND t.virtualtransaction = l.virtualtransaction
               LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = t.transactionid
               ORDER BY 6, 1";
    let rows = seen.query("ask who writes events", sql, &[&seen.schemas().own.name()]).await?;
    let holder = |row: &Row| {
        let pid: Option<i32> = row.get(1);
        Holder {
            id: row.get(0),
            is_prepared: pid.is_none(),
            pid,
            application: row.get(2),
            state: row.get(3),
            gid: row.get(4),
            since: row.get(5),
        }
    };
    Ok(rows.iter().map(holder).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_held_by_those_who_were_there_and_by_whatever_is_prepared() {
        let holder = |id: &str, is_prepared| Holder {
            id: id.to_owned(),
            is_prepared,
            pid: None,
            application: None,
            state: None,
            gid: None,
            since: None,
        };
        let holders = [holder("3/1", false), holder("4/2", false), holder("-1/9", true)];
        let held_by = |writers: Option<&[&str]>| {
            let writers = writers.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
            let gap = OpenGap { positions: 1..=2, since: OffsetDateTime::UNIX_EPOCH, writers };
            gap.held_by(&holders).into_iter().map(|holder| holder.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(held_by(None), ["3/1", "4/2", "-1/9"]);
        assert_eq!(held_by(Some(&["3/1", "5/5"])), ["3/1", "-1/9"]);
        assert_eq!(held_by(Some(&[])), ["-1/9"]);
    }
}
