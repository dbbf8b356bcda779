//! A run may die at any edge of any step: no row is in neither place, and the next run writes the same bytes.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::process::Command;
use turnstile::failpoint::{ArchiveStep, Edge, Step};

use super::world::{Archive, CLAIMS, LOGINS, World};
use crate::relay::stage::{go_on, stands};
use crate::support::evidence::survived;
use crate::support::program::{self, Loader};

const COMMAND: &str = "cargo test --features failpoints --test main archive::killed";
/// How many die at once.
const AT_ONCE: usize = 4;
const ROWS: u64 = 120;

async fn run(world: &World, arguments: &[&str], failpoint: Option<&str>) -> ExitStatus {
    let mut command = program::command(program::turnstile(), &world.tables.url, &world.tables.keyring_file());
    command.args(arguments).envs(failpoint.map(|failpoint| ("TURNSTILE_FAILPOINT", failpoint)));
    let ended = Command::from(command).kill_on_drop(true).output().await.unwrap();
    ended.status
}

async fn waiting() -> (World, Archive) {
    let world = World::new().await;
    for partition in [&LOGINS, &CLAIMS] {
        world.retire(partition, u32::try_from(ROWS).unwrap()).await;
    }
    (world, Archive::new())
}

/// Rows of whatever is whole in the archive, and of a table that stands: each partition is in one at least.
async fn assert_in_one_at_least(world: &World, archive: &Archive, edge: &str) {
    let verified = archive.verify(true).await;
    assert_eq!(verified.problems, [], "after {edge}");
    let kept: Vec<String> = archive.parquet().into_iter().map(|(name, _)| name).collect();
    for partition in [&LOGINS, &CLAIMS] {
        let stands = world.stands(partition.place).await
            && world.tables.count(partition.place).await == i64::try_from(ROWS).unwrap();
        let is_kept = kept.iter().any(|name| name.starts_with(partition.parent));
        let is_recorded = verified.rows >= ROWS;
        assert!(stands || (is_kept && is_recorded), "{} is in neither after {edge}", partition.place);
    }
}

/// Dies at the visit of an edge, and repeats; gives the files.
async fn die_at(edge: Edge, visit: u32) -> Vec<(String, Vec<u8>)> {
    let (world, archive) = waiting().await;
    let arguments = ["archive", "--to", archive.path()];
    let failpoint = format!("{edge}:{visit}");
    let died = run(&world, &arguments, Some(&failpoint)).await;
    assert_eq!(died.signal(), Some(6), "nobody died at {failpoint}: {died}");
    assert_in_one_at_least(&world, &archive, &failpoint).await;
    assert!(run(&world, &arguments, None).await.success(), "after {failpoint}");
    assert!(!world.stands(LOGINS.place).await && !world.stands(CLAIMS.place).await, "after {failpoint}");
    let verified = archive.verify(true).await;
    assert_eq!((verified.problems, verified.unnamed), (vec![], vec![] as Vec<String>), "after {failpoint}");
    assert_eq!((verified.manifests, verified.files, verified.rows), (2, 2, 2 * ROWS), "after {failpoint}");
    assert!(archive.objects().iter().all(|name| !name.ends_with(".partial")), "after {failpoint}");
    archive.parquet()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_is_lost_and_no_byte_differs_after_a_death_at_any_edge() {
    let (world, archive) = waiting().await;
    assert!(run(&world, &["archive", "--to", archive.path()], None).await.success());
    let expected = archive.parquet();
    let edges = Edge::of_archives().filter(|edge| edge.step != Step::Archive(ArchiveStep::Remove));
    // Of the logins, and of the claims that come after them.
    let deaths = edges.flat_map(|edge| [(edge, 1), (edge, 2)]);
    let files: Vec<_> =
        stream::iter(deaths).map(|(edge, visit)| die_at(edge, visit)).buffer_unordered(AT_ONCE).collect().await;
    assert!(files.iter().all(|files| *files == expected));
    survived("a run of the archive died at an edge of its steps", files.len() as u64, COMMAND);
}

async fn die_forgetting_at(edge: Edge) {
    let (world, archive) = waiting().await;
    world.run("UPDATE public.user_logins_202610 SET user_id = 'leaves' WHERE app_version IN (5000, 6000)").await;
    let place = archive.path();
    assert!(run(&world, &["archive", "--to", place], None).await.success());
    let ids = archive.beside("ids");
    std::fs::write(&ids, "leaves").unwrap();
    let arguments = ["archive", "forget", "--from", place, "--user-id-file", ids.to_str().unwrap(), "--yes"];
    let died = run(&world, &arguments, Some(&format!("{edge}:1"))).await;
    assert_eq!(died.signal(), Some(6), "nobody died at {edge}: {died}");
    assert!(archive.verify(true).await.rows >= 2 * ROWS - 2, "after {edge}");
    assert!(run(&world, &arguments, None).await.success(), "after {edge}");
    let verified = archive.verify(true).await;
    assert_eq!((verified.problems, verified.unnamed), (vec![], vec![] as Vec<String>), "after {edge}");
    assert_eq!((verified.manifests, verified.files, verified.rows), (3, 2, 2 * ROWS - 2), "after {edge}");
    assert_eq!(world.tables.count("archives WHERE replaced_at IS NOT NULL").await, 1, "after {edge}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_forgotten_is_gone_after_a_death_at_any_edge_and_another_run() {
    let edges = Edge::of_archives().filter(|edge| edge.step != Step::Archive(ArchiveStep::Drop));
    let died = stream::iter(edges).map(die_forgetting_at).buffer_unordered(AT_ONCE).count().await as u64;
    survived("a run of `archive forget` died at an edge of its steps", died, COMMAND);
}

/// Runs until the failpoint stops it, lets something happen, and goes on; gives what the run says at its end.
async fn meanwhile(world: &World, archive: &Archive, failpoint: &str, what: impl AsyncFnOnce()) -> String {
    let mut command = program::command(program::turnstile(), &world.tables.url, &world.tables.keyring_file());
    command.args(["archive", "--to", archive.path()]).env("TURNSTILE_FAILPOINT", failpoint);
    let log = archive.beside("log");
    let run = Loader::start(command, log.clone());
    stands(&run).await;
    what().await;
    go_on(&run);
    assert_eq!(run.ended().await.code(), Some(1));
    program::text_of(&log)
}

/// Nothing is noted as verified, and the logins are still there.
async fn assert_unrecorded(world: &World, archive: &Archive) {
    assert!(world.stands(LOGINS.place).await);
    assert_eq!(world.tables.count("archives WHERE state IN ('verified', 'recorded')").await, 0);
    assert_eq!(archive.verify(true).await.manifests, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_damaged_after_it_was_stored_is_found_when_it_is_read_back() {
    let (world, archive) = waiting().await;
    let name = "user_logins/month=2026-10/user_logins-2026-10.g1.0001.parquet";
    let said = meanwhile(&world, &archive, "archive_store.after:1:stop", async || archive.flip(name, 300)).await;
    assert!(said.contains("was read back with other bytes than were stored"), "{said}");
    assert_unrecorded(&world, &archive).await;
    let again = world.keep(&archive).await.unwrap_err();
    assert!(matches!(again, turnstile::archive::ArchiveError::Taken(_)), "{again:?}");
    archive.flip(name, 300);
    assert_eq!(world.keep(&archive).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_changed_after_it_was_read_is_found_by_the_digest_of_the_server() {
    let (world, archive) = waiting().await;
    let change = "UPDATE public.user_logins_202610 SET locale = 'changed' WHERE app_version = 5000";
    let said = meanwhile(&world, &archive, "archive_read_back.after:1:stop", async || world.run(change).await).await;
    assert!(said.contains("is not what the table holds"), "{said}");
    assert_unrecorded(&world, &archive).await;
}
