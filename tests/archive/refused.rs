//! What is wrong with an archive is found, and nothing is dropped for it.

use turnstile::archive::ArchiveError;
use turnstile::archive::chain::Problem;
use turnstile::archive::keep::KeepSettings;
use turnstile::archive::manifest::Manifest;
use turnstile::archive::verify::verify;

use super::world::{Archive, CLAIMS, LOGINS, NEXT, World};

const FILE: &str = "user_logins/month=2026-10/user_logins-2026-10.g1.0001.parquet";

/// Two months in an archive.
async fn two_months() -> (World, Archive) {
    let world = World::new().await;
    world.retire(&LOGINS, 100).await;
    world.retire(&NEXT, 100).await;
    let archive = Archive::new();
    world.keep(&archive).await.unwrap();
    (world, archive)
}

/// Fails unless a run ends with an error of this kind, and the partition of claims that waits is still there.
async fn assert_refused(world: &World, archive: &Archive, is_it: impl Fn(&ArchiveError) -> bool) {
    let refused = world.keep(archive).await.unwrap_err();
    assert!(is_it(&refused), "{refused:?}");
    assert!(!refused.remedy().is_empty());
    assert!(world.stands(CLAIMS.place).await, "it is not dropped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_flipped_bit_of_a_file_shows() {
    let world = World::new().await;
    world.retire(&LOGINS, 60).await;
    let archive = Archive::new();
    world.keep(&archive).await.unwrap();
    let length = archive.read(FILE).len();
    for at in (0..length).step_by(length / 40) {
        archive.flip(FILE, at);
        assert_eq!(archive.verify(true).await.problems, [Problem::OtherBytes(FILE.to_owned())], "byte {at}");
        archive.flip(FILE, at);
    }
    assert_eq!(archive.verify(true).await.problems, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_gone_or_shorter_shows_without_reading_any() {
    let (_world, archive) = two_months().await;
    let bytes = archive.read(FILE);
    archive.write(FILE, &bytes[1..]);
    let expected = bytes.len() as u64;
    let other = Problem::OtherLength { name: FILE.to_owned(), found: expected - 1, expected };
    assert_eq!(archive.verify(false).await.problems, [other]);
    archive.remove(FILE);
    assert_eq!(archive.verify(false).await.problems, [Problem::MissingFile(FILE.to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_is_missing_or_changed_shows_and_nothing_is_archived_behind_it() {
    let (world, archive) = two_months().await;
    world.retire(&CLAIMS, 10).await;
    let (first, last) = ("manifests/00000001.json", "manifests/00000002.json");
    let bytes = archive.read(first);
    archive.remove(first);
    let problems = archive.verify(false).await.problems;
    assert_eq!(problems, [Problem::MissingManifest(first.to_owned())]);
    assert_refused(&world, &archive, |error| matches!(error, ArchiveError::Broken(Problem::MissingManifest(_)))).await;

    let edited = String::from_utf8(bytes.clone()).unwrap().replace("\"count\": 100", "\"count\": 99");
    archive.write(first, edited.as_bytes());
    assert_eq!(archive.verify(false).await.problems[0], Problem::Edited(first.to_owned()));
    assert_refused(&world, &archive, |error| matches!(error, ArchiveError::Broken(Problem::Edited(_)))).await;

    // Whoever forges one reckons its digest anew as well.
    let mut forged = Manifest::from_bytes(&bytes).unwrap();
    forged.keys.clear();
    archive.write(first, &forged.to_bytes().unwrap());
    assert_eq!(archive.verify(false).await.problems, [Problem::BrokenLink(last.to_owned())]);
    assert_refused(&world, &archive, |error| matches!(error, ArchiveError::Broken(Problem::BrokenLink(_)))).await;
    archive.write(first, &bytes);

    let mut forged = Manifest::from_bytes(&archive.read(last)).unwrap();
    let head = archive.verify(false).await.head.unwrap();
    forged.keys.clear();
    let bytes = archive.read(last);
    archive.write(last, &forged.to_bytes().unwrap());
    let looked = verify(&archive.storage().await, false, Some(&head), |_| {}).await.unwrap();
    assert!(matches!(looked.problems[..], [Problem::OtherHead { .. }]), "{looked:?}");
    assert_refused(&world, &archive, |error| matches!(error, ArchiveError::Behind { .. })).await;

    archive.remove(last);
    let looked = verify(&archive.storage().await, false, Some(&head), |_| {}).await.unwrap();
    assert!(matches!(looked.problems[..], [Problem::OtherHead { .. }]), "{looked:?}");
    assert_refused(&world, &archive, |error| matches!(error, ArchiveError::Behind { .. })).await;
    let before = archive.read(first);
    archive.remove(first);
    assert_refused(&world, &archive, |error| matches!(error, ArchiveError::Behind { sequence: 0, known: 2 })).await;
    archive.write(first, &before);
    archive.write(last, &bytes);
    world.keep(&archive).await.unwrap();
    assert!(!world.stands(CLAIMS.place).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_under_the_name_and_is_not_the_same_is_never_replaced() {
    let world = World::new().await;
    world.retire(&CLAIMS, 10).await;
    let archive = Archive::new();
    let name = "processed_messages/month=2026-10/processed_messages-2026-10.g1.0001.parquet";
    archive.write(name, b"something else");
    assert_refused(&world, &archive, |error| matches!(error, ArchiveError::Taken(_))).await;
    assert_eq!(archive.read(name), b"something else");
    assert_eq!(world.tables.count("archives WHERE state = 'noted'").await, 1);
}

/// The database says that it is recorded, and the drop did not come: what is stored is read once more before it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_partition_is_not_dropped_where_its_file_is_damaged_since_or_its_rows_are_others() {
    let world = World::new().await;
    world.retire(&CLAIMS, 10).await;
    world.run("CREATE TABLE keep AS TABLE turnstile.processed_messages_202610").await;
    let archive = Archive::new();
    world.keep(&archive).await.unwrap();
    world
        .run(
            "ALTER TABLE keep SET SCHEMA turnstile; ALTER TABLE turnstile.keep RENAME TO processed_messages_202610;
               UPDATE turnstile.retired_partitions SET dropped_at = NULL",
        )
        .await;
    let name = "processed_messages/month=2026-10/processed_messages-2026-10.g1.0001.parquet";
    archive.flip(name, 30);
    assert_refused(&world, &archive, |error| matches!(error, ArchiveError::Damaged { .. })).await;
    archive.flip(name, 30);
    world.run("UPDATE turnstile.processed_messages_202610 SET message_id = 'another' WHERE message_id = 'id 3'").await;
    assert_refused(&world, &archive, |error| matches!(error, ArchiveError::NotEqual { .. })).await;
    world.run("UPDATE turnstile.processed_messages_202610 SET message_id = 'id 3' WHERE message_id = 'another'").await;
    assert_eq!(world.keep(&archive).await.unwrap().len(), 1);
    assert!(!world.stands(CLAIMS.place).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_somebody_wrote_into_stays() {
    let world = World::new().await;
    world.retire(&CLAIMS, 10).await;
    world.run("DELETE FROM turnstile.processed_messages_202610 WHERE message_id = 'id 3'").await;
    let archive = Archive::new();
    assert_refused(&world, &archive, |error| matches!(error, ArchiveError::Changed { counted: 10, found: 9, .. }))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_databases_do_not_share_an_archive() {
    let (_one, archive) = two_months().await;
    let other = World::new().await;
    other.retire(&CLAIMS, 10).await;
    assert_refused(&other, &archive, |error| matches!(error, ArchiveError::Ahead { sequence: 2, known: 0 })).await;
    assert_eq!(archive.verify(true).await.manifests, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_or_a_value_that_cannot_be_kept_is_named() {
    let world = World::new().await;
    world.make(&CLAIMS).await;
    world.run("ALTER TABLE turnstile.processed_messages_202610 ADD tags text[], ADD span int4range").await;
    world.detached(&CLAIMS).await;
    let archive = Archive::new();
    let refused = world.keep(&archive).await.unwrap_err().to_string();
    assert!(refused.contains("tags (text[]), span (int4range)"), "{refused}");
    world.run("ALTER TABLE turnstile.processed_messages_202610 DROP tags, DROP span, ADD ends date;
               INSERT INTO turnstile.processed_messages_202610 (sent_at, message_hash, outcome, message_id, body_hash, received_at, ends)
               SELECT now(), sha256('a'), 'loaded', 'a', sha256('a'), now(), '-infinity'").await;
    world.detached(&CLAIMS).await;
    assert_refused(&world, &archive, |error| error.to_string().contains("the column ends has a value")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_one_is_at_work() {
    let world = World::new().await;
    world.retire(&CLAIMS, 10).await;
    let lock = "SELECT pg_advisory_lock(hashtextextended('turnstile.retired_partitions', 0))";
    world.run(lock).await;
    let archive = Archive::new();
    let settings = KeepSettings { patience: std::time::Duration::from_millis(50), ..KeepSettings::default() };
    assert!(matches!(world.archive(&archive, &settings).await, Err(ArchiveError::Busy)));
    world.run("SELECT pg_advisory_unlock_all()").await;
    assert_eq!(world.archive(&archive, &settings).await.unwrap().len(), 1);
}
