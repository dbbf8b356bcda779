//! What carrying an event on costs and how soon it leaves, next to a relay of the usual kind; and that a loader does not feel it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use time::OffsetDateTime;
use tokio_postgres::Client;

use crate::bodies;
use crate::cpu;
use crate::figures::{Figure, Figures, Goal, Unit};
use crate::world::{Server, World, connect};
use crate::{peers, pruning};

pub(crate) const PART: &str = "relay";
const COST: Figure = Figure { part: PART, unit: Unit::Micros, goal: Goal::None };
const SERVER_COST: Figure = Figure { part: PART, unit: Unit::Micros, goal: Goal::AtMost(2.5) };
const LOG: Figure = Figure { part: PART, unit: Unit::Bytes, goal: Goal::None };
const SERVER_LOG: Figure = Figure { part: PART, unit: Unit::Bytes, goal: Goal::AtMost(2.0) };
const RATE: Figure = Figure { part: PART, unit: Unit::Rate, goal: Goal::None };
const RATIO: Figure = Figure { part: PART, unit: Unit::Times, goal: Goal::None };
const RATIO_TO_PEER: Figure = Figure { part: PART, unit: Unit::Times, goal: Goal::AtLeast(20.0) };
const DELAY: Figure = Figure { part: PART, unit: Unit::Millis, goal: Goal::None };
const DELAY_OF_POLL: Figure = Figure { part: PART, unit: Unit::Millis, goal: Goal::AtMost(50.0) };
const DELAY_INSIDE: Figure = Figure { part: PART, unit: Unit::Millis, goal: Goal::AtMost(10.0) };

/// What is drained, and what the peer drains: at its pace.
const BACKLOG: u64 = 1_000_000;
const BACKLOG_OF_PEER: u64 = 100_000;
/// What a loader loads beside a relay.
const MESSAGES: u64 = 50_000;
/// Events that come alone, and how long after each other.
const LONE_EVENTS: u64 = 300;
const PAUSE: Duration = Duration::from_millis(37);

const PARTITION: u64 = 10_000_000;

pub(crate) async fn round(server: &mut Server, figures: &mut Figures) -> Result<()> {
    let events = server.messages(BACKLOG);
    let plain = drained(server, events, false).await?;
    let held = drained(server, events, true).await?;
    figures.note(RATE, "events of a backlog, to /dev/null", plain.rate);
    figures.note(COST, "the relay's CPU an event", plain.relay);
    figures.note(SERVER_COST, "PostgreSQL's CPU an event", plain.postgres);
    figures.note(SERVER_LOG, "its log an event", plain.log);
    figures.note(RATIO, "the second half next to the first, by time", plain.second_half);
    figures.note(RATIO, "PostgreSQL's CPU while an old snapshot is held / without one", held.postgres / plain.postgres);
    figures.note(RATIO, "the second half next to the first, under an old snapshot", held.second_half);
    peer(server, figures, plain).await?;
    beside_a_loader(server, figures).await?;
    delays(server, figures).await?;
    pruning::round(server, figures).await
}

/// What it took to carry a backlog.
#[derive(Clone, Copy)]
struct Drained {
    /// Events a second, from the first to the last that came.
    rate: f64,
    /// CPU of the relay, in microseconds an event.
    relay: f64,
    /// CPU of PostgreSQL.
    postgres: f64,
    /// Bytes of write-ahead log an event.
    log: f64,
    /// How long the second half of the events took next to the first.
    second_half: f64,
}

async fn drained(server: &mut Server, events: u64, under_a_snapshot: bool) -> Result<Drained> {
    let world = server.world().await?;
    fill(&world, events).await?;
    let reader = connect(&world.url).await?;
    if under_a_snapshot {
        reader.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM relay_marks").await?;
    }
    world.client.batch_execute("CHECKPOINT").await?;
    let (postgres, log) = (world.postgres_cpu()?, log_position(&world.client).await?);
    let mut relay = Killed(relay(&world, &[]).stdout(Stdio::null()).spawn()?);
    let progress = Progress::until_the_last_mark(&world.client, events, &mut relay.0).await?;
    let of_relay = cpu::of_process(relay.0.id())?;
    let (postgres, log) = (world.postgres_cpu()? - postgres, log_position(&world.client).await? - log);
    drop((relay, reader));
    server.end(world).await?;
    let an_event = |all: f64| all / events as f64;
    Ok(Drained {
        rate: events as f64 / progress.took.as_secs_f64(),
        relay: an_event(of_relay * 1e6),
        postgres: an_event(postgres * 1e6),
        log: an_event(log),
        second_half: progress.second_half(),
    })
}

/// How the frontier moved.
struct Progress {
    took: Duration,
    half: Duration,
}

impl Progress {
    /// Looks at the newest mark now and then, until every event is carried.
    async fn until_the_last_mark(client: &Client, events: u64, relay: &mut Child) -> Result<Self> {
        let frontier = "SELECT coalesce(max(position), 0), (SELECT count(*) FROM relay_chunks) FROM relay_marks";
        let (mut begun, mut half) = (None, None);
        loop {
            let row = client.query_one(frontier, &[]).await?;
            let (position, open): (i64, i64) = (row.get(0), row.get(1));
            if position > 0 {
                begun.get_or_insert_with(Instant::now);
            }
            if position.cast_unsigned() * 2 >= events {
                half.get_or_insert_with(Instant::now);
            }
            if position.cast_unsigned() >= events && open == 0 {
                let (begun, half) = begun.zip(half).context("it was over at once")?;
                return Ok(Self { took: begun.elapsed(), half: half - begun });
            }
            ensure!(relay.try_wait()?.is_none(), "the relay has ended");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn second_half(&self) -> f64 {
        (self.took - self.half).as_secs_f64() / self.half.as_secs_f64().max(0.001)
    }
}

/// Events, as loaders write them, and the partitions for them.
async fn fill(world: &World, events: u64) -> Result<()> {
    for cut in (0..=events / PARTITION).map(|number| number * PARTITION) {
        let extend = format!("SELECT setval('outbox_position_seq', {}, false); SELECT extend_outbox()", cut.max(1));
        world.client.batch_execute(&extend).await?;
    }
    world.client.batch_execute("SELECT setval('outbox_position_seq', 1, false)").await?;
    world.client.batch_execute(&write_events(events)).await?;
    world.client.batch_execute("VACUUM (FREEZE, ANALYZE) outbox").await?;
    Ok(())
}

/// What writes so many events.
pub(crate) fn write_events(events: u64) -> String {
    let columns = "event_id, message_sent_at, user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date";
    format!("INSERT INTO outbox ({columns}) {}", made_up(events))
}

/// So many events, of the size that logins have.
fn made_up(number: u64) -> String {
    format!(
        "SELECT sha256(int8send(n)), now(), 'user-' || n, 'android', 'k1.' || encode(sha256(int8send(n)), 'base64'),
                'k1.' || encode(sha256(int8send(-n)), 'base64'), 'de_DE', 2003001, current_date
         FROM generate_series(1, {number}) AS n"
    )
}

pub(crate) fn relay(world: &World, arguments: &[&str]) -> Command {
    let mut command = world.command(env!("CARGO_BIN_EXE_turnstile"));
    let url = format!("{}{}application_name=relay", world.url, if world.url.contains('?') { '&' } else { '?' });
    command.env("DATABASE_URL", url).args(["relay", "--to", "stdout:", "--sink", "bench"]).args(arguments);
    command.stderr(Stdio::null());
    command
}

/// The same job by a relay of the usual kind, written well: its own table, with the column and the index that it needs.
async fn peer(server: &mut Server, figures: &mut Figures, ours: Drained) -> Result<()> {
    let python = peers::set_up()?;
    let events = server.messages(BACKLOG_OF_PEER);
    let world = server.world().await?;
    let table = format!(
        "CREATE SCHEMA peer;
         CREATE TABLE peer.outbox (
             position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id bytea NOT NULL, message_sent_at timestamptz,
             user_id text, device_type text, masked_ip text, masked_device_id text, locale text, app_version integer,
             create_date date, created_at timestamptz NOT NULL DEFAULT now(), published_at timestamptz);
         CREATE INDEX ON peer.outbox (position) WHERE published_at IS NULL;
         INSERT INTO peer.outbox (event_id, message_sent_at, user_id, device_type, masked_ip, masked_device_id, locale,
                                  app_version, create_date) {};
         CHECKPOINT",
        made_up(events)
    );
    world.client.batch_execute(&table).await?;
    world.client.batch_execute("VACUUM (FREEZE, ANALYZE) peer.outbox").await?;
    let (postgres, log) = (world.postgres_cpu()?, log_position(&world.client).await?);
    let ended = peers::run(&world, &python, "relay.py")?;
    let (postgres, log) = (world.postgres_cpu()? - postgres, log_position(&world.client).await? - log);
    ensure!(ended.messages == events, "the peer carried {} of {events} events", ended.messages);
    let rate = events as f64 / ended.seconds;
    figures.note(RATE, "a relay of the usual kind, written well", rate);
    figures.note(COST, "its CPU an event", ended.cpu_seconds * 1e6 / events as f64);
    figures.note(COST, "PostgreSQL's CPU an event, for it", postgres * 1e6 / events as f64);
    figures.note(LOG, "PostgreSQL's log an event, for it", log / events as f64);
    figures.note(RATIO_TO_PEER, "turnstile / the usual relay, events a second", ours.rate / rate);
    server.end(world).await
}

/// What a row costs the loader's own connections, with a relay beside it and without.
async fn beside_a_loader(server: &mut Server, figures: &mut Figures) -> Result<()> {
    let messages = server.messages(MESSAGES);
    let mut costs = Vec::new();
    for is_relayed in [false, true] {
        let mut world = server.world().await?;
        world.fill(bodies::logins(messages))?;
        let relay = is_relayed.then(|| relay(&world, &[]).stdout(Stdio::null()).spawn().map(Killed)).transpose()?;
        let mut loader = [world.start_loader(&[])?];
        world.drained(&mut loader)?;
        let backends =
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'turnstile' AND datname = current_database()";
        let rows = world.client.query(backends, &[]).await?;
        ensure!(!rows.is_empty(), "the loader has no connection");
        let cpu: f64 =
            rows.iter().map(|row| cpu::of_process(row.get::<_, i32>(0).cast_unsigned())).sum::<Result<f64>>()?;
        costs.push(cpu * 1e6 / messages as f64);
        drop((loader, relay));
        server.end(world).await?;
    }
    figures.note(COST, "a loader's connections, CPU a row, no relay", costs[0]);
    figures.note(COST, "the same, a relay beside it", costs[1]);
    figures.note(RATIO, "with a relay / without", costs[1] / costs[0]);
    Ok(())
}

/// How long after its commit an event that comes alone is out: by polling, and woken by the loader.
async fn delays(server: &mut Server, figures: &mut Figures) -> Result<()> {
    let events = server.messages(LONE_EVENTS);
    let world = server.world().await?;
    let came = {
        let mut relay = Killed(relay(&world, &["--poll", "20ms"]).stdout(Stdio::piped()).spawn()?);
        let lines = Lines::of(&mut relay.0)?;
        let (client, sql) = (connect(&world.url).await?, write_events(1));
        for number in 0..events {
            let one = sql.replace("int8send(n)", &format!("int8send({number}::bigint)"));
            client.batch_execute(&one).await?;
            tokio::time::sleep(PAUSE).await;
        }
        lines.first(events)?
    };
    note_delays(&world.client, came, figures, DELAY_OF_POLL, "an idle event, 20 ms poll").await?;
    server.end(world).await?;

    let world = server.world().await?;
    let came = {
        let arguments = ["run", "--relay-to", "stdout:", "--linger", "0s"];
        let mut command = world.command(env!("CARGO_BIN_EXE_turnstile"));
        let mut both = Killed(command.args(arguments).stderr(Stdio::null()).stdout(Stdio::piped()).spawn()?);
        let lines = Lines::of(&mut both.0)?;
        let mut connection = world.queue.another_connection()?;
        for body in bodies::logins(events) {
            connection.send(&[body])?;
            tokio::time::sleep(PAUSE).await;
        }
        lines.first(events)?
    };
    note_delays(&world.client, came, figures, DELAY_INSIDE, "an idle event, inside one process").await?;
    server.end(world).await
}

async fn note_delays(
    client: &Client,
    came: Vec<(String, OffsetDateTime)>,
    figures: &mut Figures,
    goal: Figure,
    name: &str,
) -> Result<()> {
    let mut delays = Vec::new();
    for (id, at) in &came {
        let sql = "SELECT pg_xact_commit_timestamp(xmin) FROM outbox WHERE encode(event_id, 'hex') = $1";
        let committed: OffsetDateTime = client.query_one(sql, &[id]).await?.get(0);
        delays.push((*at - committed).as_seconds_f64() * 1000.0);
    }
    // The first ones hold the start.
    let mut delays = delays.split_off(delays.len() / 10);
    delays.sort_by(f64::total_cmp);
    let at = |share: f64| delays[((delays.len() as f64 * share) as usize).min(delays.len() - 1)];
    figures.note(DELAY, format!("{name}: p50"), at(0.5));
    figures.note(goal, format!("{name}: p99"), at(0.99));
    Ok(())
}

/// The ids of the events that a process writes, and when each came.
struct Lines(mpsc::Receiver<(String, OffsetDateTime)>);

impl Lines {
    fn of(process: &mut Child) -> Result<Self> {
        let output = process.stdout.take().context("no output")?;
        let (came, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let now = OffsetDateTime::now_utc();
                let id =
                    serde_json::from_str::<Value>(&line).ok().and_then(|event| Some(event["id"].as_str()?.to_owned()));
                if id.is_none_or(|id| came.send((id, now)).is_err()) {
                    break;
                }
            }
        });
        Ok(Self(lines))
    }

    fn first(&self, events: u64) -> Result<Vec<(String, OffsetDateTime)>> {
        let next = |_| self.0.recv_timeout(Duration::from_secs(30)).context("an event did not come");
        (0..events).map(next).collect()
    }
}

/// A process that is killed when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Already gone is as good.
        self.0.kill().and_then(|()| self.0.wait().map(drop)).unwrap_or_default();
    }
}

/// Bytes of write-ahead log since the cluster was made.
async fn log_position(client: &Client) -> Result<f64> {
    let sql = "SELECT (pg_current_wal_insert_lsn() - '0/0')::float8";
    Ok(client.query_one(sql, &[]).await?.get(0))
}
