//! DuckDB reads an archive, and reckons its digests from the files: another reader, and another reckoning.

use std::collections::BTreeMap;
use std::process::Command;

use super::world::{Archive, CLAIMS, FIRST, LOGINS, NEXT, World};

/// The Python with DuckDB.
const PYTHON: &str = "TURNSTILE_TEST_DUCKDB_PYTHON";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs DuckDB: `make duckdb` installs it and runs this"]
async fn duckdb_reckons_the_digests_that_sql_reckoned() {
    let python = std::env::var(PYTHON).expect("a Python with DuckDB in TURNSTILE_TEST_DUCKDB_PYTHON");
    let world = World::new().await;
    world.retire(&FIRST, 4_000).await;
    world.retire(&LOGINS, 130_000).await;
    world.retire(&CLAIMS, 4_000).await;
    let sql = world.sql_digests().await;
    world.retire(&NEXT, 4_000).await;
    let archive = Archive::new();
    world.keep(&archive).await.unwrap();
    let ran = Command::new(python).args(["tests/duckdb/digests.py", archive.path()]).output().unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    println!("{said}");
    assert!(ran.status.success(), "{said}{wrong}");
    let found: BTreeMap<String, (u64, String)> = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let of = |name: &str| found[name].clone();
    assert_eq!(of("user_logins/before-2026-10-01"), (4_000, sql[0].clone()));
    assert_eq!(of("user_logins/2026-10"), (130_000, sql[1].clone()));
    assert_eq!(of("processed_messages/2026-10"), (4_000, sql[2].clone()));
    assert_eq!(found.len(), 4);

    // A reader that finds nothing wrong with anything would prove nothing.
    archive.flip("manifests/00000002.json", archive.digit_of("manifests/00000002.json", "\"digest\": \""));
    let ran = Command::new(std::env::var(PYTHON).unwrap())
        .args(["tests/duckdb/digests.py", archive.path()])
        .output()
        .unwrap();
    assert!(!ran.status.success(), "it does not see that a digest was changed");
}
