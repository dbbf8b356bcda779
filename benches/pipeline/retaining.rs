//! What it costs to let old logins leave, by partitions and by DELETE, and how long a writer waits at most meanwhile.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::figures::{Figure, Figures, Goal, Unit};
use crate::growth::log_position;
use crate::world::{Server, World, connect};
use crate::writers::Writers;

const PART: &str = "retention";
const WAIT: Figure = Figure { part: PART, unit: Unit::Millis, goal: Goal::None };
const WAIT_BESIDE: Figure = Figure { part: PART, unit: Unit::Millis, goal: Goal::AtMost(100.0) };
const CPU: Figure = Figure { part: PART, unit: Unit::Micros, goal: Goal::None };
const LOG: Figure = Figure { part: PART, unit: Unit::Bytes, goal: Goal::None };
const RATIO: Figure = Figure { part: PART, unit: Unit::Times, goal: Goal::None };

/// How many logins leave.
const LEAVE: u64 = 300_000;
const MONTHS: u64 = 6;
/// How many logins a transaction of a writer loads.
const AT_ONCE: u64 = 20;
/// How long an analyst's transaction stays open meanwhile.
const OPEN: Duration = Duration::from_secs(3);

/// The tables have a past of so many months, and logins in each.
const PAST: &str = "
    DO $$
    DECLARE name text;
    BEGIN
        FOR name IN SELECT i.inhrelid::regclass::text FROM pg_inherits i
                    WHERE i.inhparent IN ('turnstile.processed_messages'::regclass, 'public.user_logins'::regclass) LOOP
            EXECUTE 'DROP TABLE ' || name;
        END LOOP;
        UPDATE turnstile.partitioning SET made_until = date_trunc('month', now() - interval '20 months');
        PERFORM turnstile.extend_partitions();
    END $$";

/// `$1` logins, of 20 months ago and the months after.
fn logins(count: u64) -> String {
    format!(
        "WITH login AS (
             SELECT n, sha256(int8send(n)) AS hash,
                    date_trunc('month', now() - interval '20 months') + interval '1 day' + n * interval '{MONTHS} months' / ({count} + 1) AS at
             FROM generate_series(1, {count}) AS n
         ), claims AS (
             INSERT INTO processed_messages (sent_at, message_hash, outcome, message_id, body_hash, received_at)
             SELECT at, hash, 'loaded', gen_random_uuid()::text, sha256(hash), at FROM login
         )
         INSERT INTO user_logins (user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, message_sent_at, message_hash)
         SELECT 'user ' || n % 20000, 'ios', 'k1.' || encode(hash, 'base64'), 'k1.' || encode(hash, 'base64'), 'DE', 2003001, at::date, at, hash
         FROM login"
    )
}

/// What a loader writes of logins of now.
fn load(count: u64) -> String {
    format!(
        "WITH login AS (SELECT sha256(uuid_send(gen_random_uuid())) AS hash FROM generate_series(1, {count})),
         claims AS (
             INSERT INTO processed_messages (sent_at, message_hash, outcome, message_id, body_hash, received_at)
             SELECT now(), hash, 'loaded', gen_random_uuid()::text, hash, now() FROM login
             ON CONFLICT (sent_at, message_hash) DO NOTHING
         )
         INSERT INTO user_logins (user_id, device_type, create_date, message_sent_at, message_hash)
         SELECT 'somebody', 'ios', now()::date, now(), hash FROM login"
    )
}

pub(crate) async fn round(server: &mut Server, figures: &mut Figures) -> Result<()> {
    let quiet = longest_wait(server, false).await?;
    figures.note(WAIT, "a loader's longest wait, nothing leaves", quiet);
    let beside = longest_wait(server, true).await?;
    figures.note(WAIT_BESIDE, "the same, months leave beside an open analyst", beside);

    let leave = server.messages(LEAVE);
    let by_partition = cost(server, leave, true).await?;
    let by_delete = cost(server, leave, false).await?;
    figures.note(CPU, "PostgreSQL's CPU a login, whole months leave", by_partition.cpu);
    figures.note(CPU, "the same CPU, by DELETE and VACUUM", by_delete.cpu);
    figures.note(RATIO, "DELETE / whole months, CPU", by_delete.cpu / by_partition.cpu);
    figures.note(LOG, "WAL a login, whole months leave", by_partition.log);
    figures.note(LOG, "the same WAL, by DELETE and VACUUM", by_delete.log);
    Ok(())
}

async fn with_past(server: &mut Server, leave: u64) -> Result<World> {
    let world = server.world().await?;
    let mut partition = world.command(env!("CARGO_BIN_EXE_turnstile"));
    partition.args(["migrate", "--partition", "monthly"]).stdout(Stdio::null());
    ensure!(partition.status()?.success(), "the tables are not partitioned");
    world.client.batch_execute(PAST).await?;
    world.client.batch_execute(&logins(leave)).await?;
    Ok(world)
}

fn retain(world: &World) -> std::process::Command {
    let mut retain = world.command(env!("CARGO_BIN_EXE_turnstile"));
    retain.args(["retain", "--keep", "12months", "--without-sinks"]).stdout(Stdio::null());
    retain
}

/// In milliseconds.
async fn longest_wait(server: &mut Server, leaves: bool) -> Result<f64> {
    let leave = server.messages(LEAVE / 10);
    let world = with_past(server, leave).await?;
    let analyst = connect(&world.url).await?;
    analyst.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM user_logins").await?;
    let writers = Writers::start(&world, &load(AT_ONCE)).await?;
    let retain = if leaves { Some(retain(&world).spawn()?) } else { None };
    tokio::time::sleep(OPEN).await;
    analyst.batch_execute("ROLLBACK").await?;
    if let Some(mut retain) = retain {
        let ended = tokio::task::spawn_blocking(move || retain.wait()).await??;
        ensure!(ended.success(), "the months did not leave");
        ensure!(old(&world).await? == 0, "old logins are left");
    }
    let longest = writers.longest_wait().await?;
    server.end(world).await?;
    Ok(longest)
}

async fn old(world: &World) -> Result<i64> {
    let sql = "SELECT count(*) FROM user_logins WHERE create_date < now() - interval '13 months'";
    Ok(world.client.query_one(sql, &[]).await?.get(0))
}

/// What it cost, a login.
struct Cost {
    cpu: f64,
    log: f64,
}

async fn cost(server: &mut Server, leave: u64, by_partition: bool) -> Result<Cost> {
    let world = with_past(server, leave).await?;
    for before in ["VACUUM ANALYZE", "CHECKPOINT"] {
        world.client.batch_execute(before).await?;
    }
    let (cpu, log) = (world.postgres_cpu()?, log_position(&world).await?);
    if by_partition {
        ensure!(retain(&world).status()?.success(), "the months did not leave");
    } else {
        let delete = "DELETE FROM public.user_logins WHERE create_date < now() - interval '12 months';
                      DELETE FROM turnstile.processed_messages WHERE sent_at < now() - interval '12 months'";
        world.client.batch_execute(delete).await?;
        world.client.batch_execute("VACUUM public.user_logins").await?;
        world.client.batch_execute("VACUUM turnstile.processed_messages").await?;
    }
    let (cpu, log) = (world.postgres_cpu()? - cpu, log_position(&world).await? - log);
    ensure!(old(&world).await? == 0, "old logins are left");
    server.end(world).await?;
    Ok(Cost { cpu: cpu * 1e6 / leave as f64, log: log / leave as f64 })
}
