//! A person leaves an archive, and the archive stays whole.

use std::time::Duration;

use turnstile::archive::ArchiveError;
use turnstile::archive::chain::Problem;
use turnstile::archive::forget::{ForgetSettings, Forgotten, People, forget};
use turnstile::archive::manifest::{Act, Manifest};
use turnstile::archive::restore::restore;

use super::world::{Archive, CLAIMS, LOGINS, NEXT, World};

const OLD: &str = "user_logins/month=2026-10/user_logins-2026-10.g1.0001.parquet";
const NEW: &str = "user_logins/month=2026-10/user_logins-2026-10.g2.0001.parquet";

async fn run(world: &World, archive: &Archive, people: &str) -> Result<Vec<Forgotten>, ArchiveError> {
    let settings = ForgetSettings { dry_run: false, patience: Duration::from_secs(60) };
    let people = People::of_lines(people.as_bytes());
    let storage = archive.storage().await;
    forget(&world.tables.database, storage, &archive.place(), &people, &settings, |_| {}).await
}

async fn archived() -> (World, Archive) {
    let world = World::new().await;
    for partition in [&LOGINS, &NEXT, &CLAIMS] {
        world.retire(partition, 200).await;
    }
    world.run("UPDATE public.user_logins_202610 SET user_id = 'leaves' WHERE app_version IN (5000, 6000)").await;
    world.run("CREATE TABLE kept AS TABLE public.user_logins_202610").await;
    let archive = Archive::new();
    world.keep(&archive).await.unwrap();
    (world, archive)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_forgotten_stands_in_no_file_and_the_chain_goes_on() {
    let (world, archive) = archived().await;
    let before = archive.parquet();
    let ids = archive.beside("ids");
    std::fs::write(&ids, "leaves\nsomebody else\n").unwrap();
    let (place, ids) = (archive.path(), ids.to_str().unwrap());
    let dry = ["archive", "forget", "--from", place, "--user-id-file", ids, "--dry-run"];
    let said = world.tables.turnstile(&dry).await;
    said.assert_said(0, &["would remove 2 logins of 2026-10; 198 logins are left"]);
    assert!(archive.parquet() == before);
    let asked = world.tables.turnstile(&["archive", "forget", "--from", place, "--user-id-file", ids]).await;
    assert!(asked.code != 0 && archive.parquet() == before, "nobody agreed: {asked:?}");
    let done = ["archive", "forget", "--from", place, "--user-id-file", ids, "--yes"];
    let said = world.tables.turnstile(&done).await;
    said.assert_said(0, &["removed 2 logins of 2026-10; 198 logins are left, manifests/00000004.json"]);
    assert!(!said.stderr.contains("leaves") && !said.stdout.contains("leaves "), "{said:?}");

    let names: Vec<String> = archive.parquet().into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&NEW.to_owned()) && !names.contains(&OLD.to_owned()), "{names:?}");
    assert_eq!(names.len(), before.len());
    let manifest = Manifest::from_bytes(&archive.read("manifests/00000004.json")).unwrap();
    assert_eq!((manifest.act, manifest.generation, manifest.rows.count), (Act::Forgotten, 2, 198));
    let verified = archive.verify(true).await;
    assert_eq!((verified.manifests, verified.rows, verified.problems), (4, 598, vec![]));
    assert_eq!(world.tables.count("archives WHERE replaced_at IS NOT NULL").await, 1);

    restore(&world.tables.database, &archive.storage().await, "2026-10", |_| {}).await.unwrap();
    let gone = "(TABLE kept EXCEPT ALL TABLE public.user_logins_restored_202610) gone WHERE user_id = 'leaves'";
    assert_eq!(world.tables.count(gone).await, 2);
    assert_eq!(world.tables.count("public.user_logins_restored_202610 WHERE user_id <> 'leaves'").await, 198);
    assert_eq!(run(&world, &archive, "leaves").await.unwrap(), []);
    assert_eq!(archive.verify(true).await.manifests, 4, "there was nothing to do");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_run_left_unrecorded_is_written_over_and_a_file_that_stays_is_told() {
    let (world, archive) = archived().await;
    let old = archive.read(OLD);
    archive.write(NEW, b"cut off");
    assert_eq!(archive.verify(true).await.unnamed, [NEW]);
    assert_eq!(run(&world, &archive, "leaves").await.unwrap().len(), 1);
    assert_eq!(archive.verify(true).await.problems, []);
    archive.write(OLD, &old);
    assert_eq!(archive.verify(false).await.problems, [Problem::StillThere(OLD.to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_anew_from_a_damaged_file_or_while_its_table_stands() {
    let (world, archive) = archived().await;
    archive.flip(OLD, 100);
    assert!(matches!(run(&world, &archive, "leaves").await, Err(ArchiveError::Damaged { .. })));
    archive.flip(OLD, 100);
    world.run("UPDATE turnstile.retired_partitions SET dropped_at = NULL WHERE partition = 'user_logins_202610'").await;
    assert!(matches!(run(&world, &archive, "leaves").await, Err(ArchiveError::Unfinished(_))));
    assert_eq!(archive.verify(true).await.manifests, 3);
}
