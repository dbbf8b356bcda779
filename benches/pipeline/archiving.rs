//! What it takes to archive a month of logins: seconds, CPU, and bytes a row.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::figures::{Figure, Figures, Goal, Unit};
use crate::growth::fill;
use crate::world::{Server, World};

const LOGINS: u64 = 10_000_000;

const TIME: Figure = Figure { part: "archive", unit: Unit::Millis, goal: Goal::None };
const BYTES: Figure = Figure { part: "archive", unit: Unit::Bytes, goal: Goal::None };

/// The month, as retention leaves it.
const RETIRED: &str = "
    INSERT INTO turnstile.partitioning (parent, period, made_until, since)
    VALUES ('user_logins', 'monthly', '2027-03-01', '2026-10-01') ON CONFLICT DO NOTHING;
    INSERT INTO turnstile.retired_partitions (partition, parent, since, until, for_archive)
    VALUES ('user_logins_202610', 'user_logins', '2026-10-01 00:00:00+00', '2026-11-01 00:00:00+00', true);
    CREATE TABLE public.user_logins_202610 (LIKE public.user_logins INCLUDING ALL)";

/// Masks as long as sealed ones, of a fifth as many users and devices, and a third as many addresses, as there are logins.
const ROWS: &str = "
    INSERT INTO public.user_logins_202610
        (user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, message_sent_at, message_hash)
    SELECT 'user-' || ((n * 7919) % ($1::bigint / 5 + 1)), (ARRAY['ios', 'android', 'web'])[1 + n % 3],
           'k1.' || translate(encode(substr(sha256(((n * 104729) % ($1 / 3 + 1))::text::bytea), 1, 28), 'base64'), '+/=', '-_'),
           'k1.' || translate(encode(substr(sha256(('d' || (n * 7919) % ($1 / 5 + 1))::bytea), 1, 30), 'base64'), '+/=', '-_'),
           (ARRAY['de-DE', 'en-US', 'fr-FR', NULL])[1 + n % 4], 2003001 + (n % 5)::integer,
           ('2026-10-01'::timestamptz + n * interval '1 month' / ($1 + 1))::date,
           date_trunc('milliseconds', '2026-10-01'::timestamptz + n * interval '1 month' / ($1 + 1)), sha256(n::text::bytea)
    FROM generate_series(1::bigint, $1::bigint) n";

const DETACHED: &str = "
    UPDATE turnstile.retired_partitions SET detached_at = now(), row_count = (SELECT count(*) FROM public.user_logins_202610)";

pub(crate) async fn round(server: &mut Server, figures: &mut Figures) -> Result<()> {
    let world = server.world().await?;
    let logins = server.messages(LOGINS);
    world.client.batch_execute(RETIRED).await?;
    fill(&world, "user_logins_202610", ROWS, logins).await?;
    world.client.batch_execute(DETACHED).await?;
    let heap = "SELECT pg_table_size('user_logins_202610'), pg_total_relation_size('user_logins_202610')";
    let row = world.client.query_one(heap, &[]).await?;
    for (name, bytes) in
        [("a row in the table", row.get::<_, i64>(0)), ("a row in the table, with its index", row.get(1))]
    {
        figures.note(BYTES, name, bytes as f64 / logins as f64);
    }

    // Where it is kept, so that others can read it too; else it goes.
    let kept = std::env::var_os("TURNSTILE_BENCH_ARCHIVE");
    let folder = tempfile::tempdir()?;
    let place = kept.as_deref().map_or(folder.path(), std::path::Path::new);
    let place = place.to_str().context("a path")?;
    let (took, said) = waited(&world, &["--to", place, "--format", "json"])?;
    let kept: serde_json::Value = serde_json::from_str(said.lines().next().context("a line")?)?;
    let of = |name: &str| kept.get(name).and_then(serde_json::Value::as_u64).context("a number");
    ensure!(of("rows")? == logins, "{said}");
    figures.note(TIME, "archive, read back, compared, dropped", took);
    figures.note(BYTES, "a row in the archive", of("bytes")? as f64 / logins as f64);
    let (took, _) = waited(&world, &["verify", "--from", place, "--deep"])?;
    figures.note(TIME, "verify --deep", took);
    let (took, _) = waited(&world, &["restore", "2026-10", "--from", place])?;
    figures.note(TIME, "restore", took);
    server.end(world).await
}

/// How long it took in milliseconds, and what was said.
fn waited(world: &World, arguments: &[&str]) -> Result<(f64, String)> {
    let mut command = world.command(env!("CARGO_BIN_EXE_turnstile"));
    command.arg("archive").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let begun = Instant::now();
    let output = command.output()?;
    let waited = begun.elapsed();
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok((waited.as_secs_f64() * 1e3, String::from_utf8(output.stdout)?))
}
