//! A run that is killed at any edge of its path is brought to its end by the next one.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use tokio::task::spawn_blocking;
use turnstile::failpoint::{Edge, RetainStep, Side, Step};

use super::*;
use crate::support::program;

/// SIGABRT, by which a process dies at its edge.
const ABORTED: i32 = 6;

fn edges(of: impl Fn(RetainStep) -> bool) -> Vec<Edge> {
    let steps = RetainStep::ALL.into_iter().filter(|step| of(*step)).map(Step::Retain);
    steps.flat_map(|step| [Side::Before, Side::Underway, Side::After].map(|side| Edge { step, side })).collect()
}

/// Runs the program until it comes to this edge for the nth time; says whether it died there.
async fn dies(tables: &Tables, arguments: &[&str], edge: Edge, visit: u32) -> bool {
    let mut command = program::command(program::turnstile(), &tables.url, &tables.keyring_file());
    command.args(arguments).env("TURNSTILE_FAILPOINT", format!("{edge}:{visit}"));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    spawn_blocking(move || command.status().unwrap().signal() == Some(ABORTED)).await.unwrap()
}

#[tokio::test]
async fn retention_may_die_at_every_edge() {
    let mut kills = 0;
    for edge in edges(|step| step != RetainStep::Convert) {
        let tables = months().await;
        one_a_month(&tables).await;
        load_body(&tables, "discarded", "[1]", month(1) - time::Duration::days(3)).await;
        let discard = "UPDATE dead_letters SET status = 'discarded', resolved_at = now(), resolved_by = 'ada'";
        tables.client.execute(discard, &[]).await.unwrap();
        let days = format!("{}d", how().keep.days);
        let before = kills;
        for visit in [1, 2, 1] {
            kills += u32::from(dies(&tables, &["retain", "--keep", &days, "--without-sinks"], edge, visit).await);
            // Whatever is half done, the promise holds of what is left, and what is sent today is loaded.
            tables.assert_promise().await;
            load_at(&tables, &format!("beside {edge} {kills}"), now()).await;
        }
        // What is to die under way may be done before.
        assert!(kills > before || edge.side == Side::Underway, "none died at {edge}");
        let end = tables.turnstile(&["retain", "--keep", &days, "--without-sinks"]).await;
        assert_eq!(end.code, 0, "{edge}: {end:?}");
        tables.assert_promise().await;
        let left: Vec<String> =
            users(&tables.client).await.into_iter().filter(|user| !user.starts_with("beside")).collect();
        assert_eq!(left, ["april", "may"], "{edge}");
        let old = "processed_messages WHERE sent_at < '2025-04-01Z'";
        assert_eq!((tables.count(old).await, tables.count("dead_letters").await), (0, 0), "{edge}");
        let noted = "retired_partitions WHERE dropped_at IS NOT NULL AND detached_at IS NOT NULL";
        assert_eq!(tables.count(noted).await, 8, "{edge}");
        let standing = "pg_class WHERE relname ~ '_(first|20250[123])$' AND relkind = 'r'";
        assert_eq!(tables.count(standing).await, 0, "{edge}");
    }
    println!("{kills} runs of retention were killed");
}

#[tokio::test]
async fn a_conversion_may_die_at_every_edge() {
    let mut kills = 0;
    for edge in edges(|step| step == RetainStep::Convert) {
        for visit in 1..=10 {
            let tables = Tables::new().await;
            load_at(&tables, "before", now()).await;
            let with_a_time = "INSERT INTO identities (key_time, hash, owner_sent_at, owner, login_hash)
                               SELECT sent_at, sha256('key'), sent_at, message_hash, sha256('login') FROM processed_messages";
            tables.client.execute(with_a_time, &[]).await.unwrap();
            kills += u32::from(dies(&tables, &["migrate", "--partition", "monthly"], edge, visit).await);
            tables.assert_promise().await;
            load_at(&tables, "between", now()).await;
            let end = tables.turnstile(&["migrate", "--partition", "monthly"]).await;
            assert_eq!(end.code, 0, "{edge}:{visit}: {end:?}");
            load_at(&tables, "after", now()).await;
            assert_eq!(tables.counts().await, [3, 3, 0, 3], "{edge}:{visit}");
            tables.assert_promise().await;
            let rest = "pg_constraint WHERE conname LIKE '%_first_partition'";
            let partitioned = "partitioning WHERE since IS NOT NULL";
            assert_eq!((tables.count(rest).await, tables.count(partitioned).await), (0, 3), "{edge}:{visit}");
        }
    }
    println!("{kills} conversions were killed");
    assert!(kills >= 12, "only {kills} died");
}
