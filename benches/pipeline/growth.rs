//! What a message costs PostgreSQL while millions of older claims stand in `processed_messages`, next to an empty table.

use std::io::Write;

use anyhow::{Result, ensure};

use crate::bodies;
use crate::figures::{Figure, Figures, Goal, Unit};
use crate::world::{Server, World};

const PART: &str = "growth";
const COST: Figure = Figure { part: PART, unit: Unit::Micros, goal: Goal::None };
const LOG: Figure = Figure { part: PART, unit: Unit::Bytes, goal: Goal::None };
const RATIO: Figure = Figure { part: PART, unit: Unit::Times, goal: Goal::AtMost(1.3) };

const MESSAGES: u64 = 50_000;

/// The last fourteen days in the order in which they were sent, the longest that SQS keeps a message.
const OLDER_CLAIMS: &str = "
    INSERT INTO processed_messages (message_hash, outcome, message_id, body_hash, sent_at, received_at)
    SELECT sha256(int8send(n)), 'loaded', gen_random_uuid()::text, sha256(int8send(-n)),
           sent_at, sent_at + interval '80 ms'
    FROM generate_series(1, $1::bigint) AS n,
         date_trunc('milliseconds', now() - interval '14 days' * (1 - n::float8 / $1)) AS sent_at";

/// Databases in which claims stand. They are kept from round to round, for filling one takes minutes: what a round adds
/// to its millions hardly counts.
pub(crate) struct Growth {
    millions: Vec<u64>,
    filled: Vec<World>,
}

impl Growth {
    /// With an empty table, and with so many million rows.
    pub(crate) fn new(millions: Vec<u64>) -> Self {
        Self { millions, filled: Vec::new() }
    }

    pub(crate) async fn round(&mut self, server: &mut Server, figures: &mut Figures) -> Result<()> {
        while let Some(millions) = self.millions.get(self.filled.len()) {
            writeln!(std::io::stderr(), "filling a table with {millions} million claims")?;
            self.filled.push(filled(server, server.messages(millions * 1_000_000)).await?);
        }
        let messages = server.messages(MESSAGES);
        let mut empty = server.world().await?;
        let floor = Cost::of(&mut empty, messages).await?;
        server.end(empty).await?;
        figures.note(COST, "PostgreSQL, table empty", floor.cpu);
        figures.note(LOG, "its log, table empty", floor.log);
        for (millions, world) in self.millions.iter().zip(&mut self.filled) {
            let cost = Cost::of(world, messages).await?;
            figures.note(COST, format!("PostgreSQL, {millions} million claims"), cost.cpu);
            figures.note(LOG, format!("its log, {millions} million claims"), cost.log);
            figures.note(RATIO, format!("PostgreSQL, {millions} million / empty"), cost.cpu / floor.cpu);
            figures.note(RATIO, format!("its log, {millions} million / empty"), cost.log / floor.log);
        }
        Ok(())
    }
}

/// A world in whose database so many older claims stand.
async fn filled(server: &mut Server, claims: u64) -> Result<World> {
    let world = server.world().await?;
    let client = &world.client;
    // Rows first and the indexes, whatever they are, all at once: with random keys it takes minutes instead of hours.
    let unindexed = "UPDATE pg_index SET indisready = false, indisvalid = false
                     WHERE indrelid = 'processed_messages'::regclass";
    client.batch_execute(unindexed).await?;
    client.execute(OLDER_CLAIMS, &[&claims.cast_signed()]).await?;
    client.batch_execute("SET maintenance_work_mem = '1GB'").await?;
    client.batch_execute("REINDEX TABLE processed_messages").await?;
    client.batch_execute("VACUUM (FREEZE, ANALYZE) processed_messages").await?;
    Ok(world)
}

/// What one message costs PostgreSQL.
struct Cost {
    /// Microseconds.
    cpu: f64,
    /// Bytes of write-ahead log.
    log: f64,
}

impl Cost {
    /// From right after one checkpoint to right after the next: the first change of a page after a checkpoint writes the
    /// whole page to the log, and this is what random keys make expensive.
    async fn of(world: &mut World, messages: u64) -> Result<Self> {
        world.client.batch_execute("TRUNCATE user_logins, outbox").await?;
        world.fill(bodies::logins(messages))?;
        world.client.batch_execute("CHECKPOINT").await?;

        let (cpu, log) = (world.postgres_cpu()?, log_position(world).await?);
        let loader = world.start_loader(&[])?;
        world.drained()?;
        let log = log_position(world).await? - log;
        world.client.batch_execute("CHECKPOINT").await?;
        let cpu = world.postgres_cpu()? - cpu;
        drop(loader);

        let loaded: i64 = world.client.query_one("SELECT count(*) FROM user_logins", &[]).await?.get(0);
        ensure!(loaded == messages.cast_signed(), "{loaded} of {messages} are loaded");
        Ok(Self { cpu: cpu * 1e6 / messages as f64, log: log / messages as f64 })
    }
}

/// Bytes of write-ahead log since the cluster was made.
async fn log_position(world: &World) -> Result<f64> {
    let sql = "SELECT (pg_current_wal_insert_lsn() - '0/0')::float8";
    Ok(world.client.query_one(sql, &[]).await?.get(0))
}
