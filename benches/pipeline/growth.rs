//! What a message costs PostgreSQL while millions of older claims stand in `processed_messages`, and of older keys in
//! `identities`, next to empty tables.

use std::io::Write;
use std::ops::Range;

use anyhow::{Result, ensure};

use crate::bodies;
use crate::figures::{Figure, Figures, Goal, Unit};
use crate::world::{Server, World};

const MESSAGES: u64 = 50_000;

/// The last fourteen days in the order in which they were sent, the longest that SQS keeps a message.
pub(crate) const OLDER_CLAIMS: &str = "
    INSERT INTO processed_messages (message_hash, outcome, message_id, body_hash, sent_at, received_at)
    SELECT sha256(int8send(n)), 'loaded', gen_random_uuid()::text, sha256(int8send(-n)),
           sent_at, sent_at + interval '80 ms'
    FROM generate_series(1, $1::bigint) AS n,
         date_trunc('milliseconds', now() - interval '14 days' * (1 - n::float8 / $1)) AS sent_at";

/// Keys of producers, as many: their hashes have no order.
const OLDER_KEYS: &str = "
    INSERT INTO identities (hash, owner_sent_at, owner, login_hash)
    SELECT sha256(int8send(n) || 'key'), now(), sha256(int8send(n)), sha256(int8send(-n))
    FROM generate_series(1, $1::bigint) AS n";

/// By which key the messages are claimed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claims {
    /// By their MessageIds alone: in the order of time.
    OfMessages,
    /// By a field of their bodies as well: in no order.
    OfKeys,
}

impl Claims {
    fn part(self) -> &'static str {
        match self {
            Self::OfMessages => "growth",
            Self::OfKeys => "growth-by-key",
        }
    }

    fn loader_arguments(self) -> &'static [&'static str] {
        match self {
            Self::OfMessages => &[],
            // Each login of the bench has a user of its own.
            Self::OfKeys => &["--identity", "field:/user_id"],
        }
    }

    fn figure(self, unit: Unit, goal: Goal) -> Figure {
        Figure { part: self.part(), unit, goal }
    }
}

/// Databases in which claims stand. They are kept from round to round, for filling one takes minutes: what a round adds
/// to its millions hardly counts.
pub(crate) struct Growth {
    claims: Claims,
    millions: Vec<u64>,
    filled: Vec<World>,
    /// How many logins each database was sent: no key comes twice.
    sent: u64,
}

impl Growth {
    /// With an empty table, and with so many million rows.
    pub(crate) fn new(claims: Claims, millions: Vec<u64>) -> Self {
        Self { claims, millions, filled: Vec::new(), sent: 0 }
    }

    pub(crate) async fn round(&mut self, server: &mut Server, figures: &mut Figures) -> Result<()> {
        let claims = self.claims;
        let [cost, log] = [Unit::Micros, Unit::Bytes].map(|unit| claims.figure(unit, Goal::None));
        // Keys have no order, whatever is done: what they cost is told, and is no goal.
        let goal = if claims == Claims::OfMessages { Goal::AtMost(1.3) } else { Goal::None };
        let ratio = claims.figure(Unit::Times, goal);
        while let Some(millions) = self.millions.get(self.filled.len()) {
            writeln!(std::io::stderr(), "filling a table with {millions} million claims")?;
            self.filled.push(filled(server, claims, server.messages(millions * 1_000_000)).await?);
        }
        let messages = server.messages(MESSAGES);
        let numbers = self.sent..self.sent + messages;
        self.sent = numbers.end;
        let mut empty = server.world().await?;
        let floor = Cost::of(&mut empty, claims, numbers.clone()).await?;
        server.end(empty).await?;
        figures.note(cost, "PostgreSQL, tables empty", floor.cpu);
        figures.note(log, "its log, tables empty", floor.log);
        for (millions, world) in self.millions.iter().zip(&mut self.filled) {
            let grown = Cost::of(world, claims, numbers.clone()).await?;
            figures.note(cost, format!("PostgreSQL, {millions} million claims"), grown.cpu);
            figures.note(log, format!("its log, {millions} million claims"), grown.log);
            figures.note(ratio, format!("PostgreSQL, {millions} million / empty"), grown.cpu / floor.cpu);
            figures.note(ratio, format!("its log, {millions} million / empty"), grown.log / floor.log);
        }
        Ok(())
    }
}

/// A world in whose database so many older claims stand.
async fn filled(server: &mut Server, claims: Claims, rows: u64) -> Result<World> {
    let world = server.world().await?;
    fill(&world, "processed_messages", OLDER_CLAIMS, rows).await?;
    if claims == Claims::OfKeys {
        fill(&world, "identities", OLDER_KEYS, rows).await?;
    }
    Ok(world)
}

/// Rows first and the indexes, whatever they are, all at once: with random keys it takes minutes instead of hours.
pub(crate) async fn fill(world: &World, table: &str, insert: &str, rows: u64) -> Result<()> {
    let client = &world.client;
    let unindexed =
        format!("UPDATE pg_index SET indisready = false, indisvalid = false WHERE indrelid = '{table}'::regclass");
    client.batch_execute(&unindexed).await?;
    client.execute(insert, &[&rows.cast_signed()]).await?;
    client.batch_execute("SET maintenance_work_mem = '1GB'").await?;
    client.batch_execute(&format!("REINDEX TABLE {table}")).await?;
    client.batch_execute(&format!("VACUUM (FREEZE, ANALYZE) {table}")).await?;
    Ok(())
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
    async fn of(world: &mut World, claims: Claims, numbers: Range<u64>) -> Result<Self> {
        let messages = numbers.end - numbers.start;
        world.client.batch_execute("TRUNCATE user_logins, outbox").await?;
        world.fill(bodies::logins_of(numbers))?;
        world.client.batch_execute("CHECKPOINT").await?;

        let (cpu, log) = (world.postgres_cpu()?, log_position(world).await?);
        let mut loader = [world.start_loader(claims.loader_arguments())?];
        world.drained(&mut loader)?;
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
pub(crate) async fn log_position(world: &World) -> Result<f64> {
    let sql = "SELECT (pg_current_wal_insert_lsn() - '0/0')::float8";
    Ok(world.client.query_one(sql, &[]).await?.get(0))
}
