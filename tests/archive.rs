//! What retention takes off is kept in files, whole and told from any other, before it is dropped.

#[cfg(feature = "failpoints")]
mod killed;
mod forgotten;
mod other_readers;
mod refused;
mod restored;
mod s3;
mod world;

use turnstile::archive::keep::KeepSettings;
use turnstile::archive::manifest::{Act, Manifest};

use self::world::{Archive, CLAIMS, FIRST, LOGINS, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_kept_and_dropped_and_the_archive_proves_itself_without_a_database() {
    let world = World::new().await;
    world.retire(&FIRST, 30).await;
    world.retire(&LOGINS, 500).await;
    world.retire(&CLAIMS, 500).await;
    let archive = Archive::new();
    let would = world.archive(&archive, &KeepSettings { dry_run: true, ..KeepSettings::default() }).await.unwrap();
    assert_eq!(would.iter().map(|one| one.rows).collect::<Vec<_>>(), [30, 500, 500]);
    assert!(archive.objects().is_empty() && world.stands("public.user_logins_202610").await, "nothing was done");

    let sql = world.sql_digests().await;
    let kept = world.keep(&archive).await.unwrap();
    let told: Vec<_> = kept.iter().map(|one| (one.partition.as_str(), one.label.as_str(), one.rows)).collect();
    assert_eq!(
        told,
        [
            ("user_logins_before_202610", "before-2026-10-01", 30),
            ("user_logins_202610", "2026-10", 500),
            ("processed_messages_202610", "2026-10", 500),
        ]
    );
    assert_eq!(kept.iter().map(|one| one.digest.clone()).collect::<Vec<_>>(), sql, "as SQL of the test's own says");
    for table in
        ["public.user_logins_before_202610", "public.user_logins_202610", "turnstile.processed_messages_202610"]
    {
        assert!(!world.stands(table).await, "{table}");
    }
    assert_eq!(
        archive.objects(),
        [
            "manifests/00000001.json",
            "manifests/00000002.json",
            "manifests/00000003.json",
            "processed_messages/month=2026-10/processed_messages-2026-10.g1.0001.parquet",
            "user_logins/month=2026-10/user_logins-2026-10.g1.0001.parquet",
            "user_logins/month=before-2026-10-01/user_logins-before-2026-10-01.g1.0001.parquet",
        ]
    );
    let verified = archive.verify(true).await;
    assert_eq!((verified.problems, verified.unnamed), (vec![], vec![] as Vec<String>));
    assert_eq!((verified.manifests, verified.files, verified.rows), (3, 3, 1030));
    assert_eq!(world.tables.count("archives WHERE state = 'recorded' AND replaced_at IS NULL").await, 3);
    assert_eq!(world.tables.count("retired_partitions WHERE dropped_at IS NOT NULL").await, 3);

    assert_eq!(world.keep(&archive).await.unwrap(), vec![]);
    assert_eq!(archive.objects().len(), 6, "nothing waits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_says_what_its_files_hold_and_which_keys_unmask_it() {
    let world = World::new().await;
    world.retire(&LOGINS, 40).await;
    let archive = Archive::new();
    let kept = world.keep(&archive).await.unwrap();
    let manifest = Manifest::from_bytes(&archive.read("manifests/00000001.json")).unwrap();
    assert_eq!((manifest.act, manifest.sequence, manifest.previous.as_deref()), (Act::Archived, 1, None));
    assert_eq!((manifest.table.as_str(), manifest.label.as_str()), ("user_logins", "2026-10"));
    assert_eq!(manifest.since.as_deref(), Some("2026-10-01T00:00:00Z"));
    assert_eq!(manifest.until, "2026-11-01T00:00:00Z");
    assert_eq!(manifest.keys, [world.key_id().await], "an address that happens to have dots names no key");
    assert_eq!(manifest.columns.len(), 9);
    assert_eq!((manifest.rows.count, &manifest.rows.digest), (40, &kept[0].digest));
    let text = String::from_utf8(archive.read("manifests/00000001.json")).unwrap();
    assert!(!text.contains("user 1") && !text.contains("203.0.113"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_rows_are_the_same_bytes_however_they_lay_in_the_table() {
    let mut files = Vec::new();
    for order in ["n", "md5(n::text)"] {
        let world = World::new().await;
        world.retire_in_order(&LOGINS, 700, order).await;
        world.retire_in_order(&FIRST, 70, order).await;
        let archive = Archive::new();
        world.keep(&archive).await.unwrap();
        files.push(archive.parquet());
    }
    assert_eq!(files[0].len(), 2);
    assert!(files[0] == files[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_partition_goes_on_in_another_file() {
    let world = World::new().await;
    world.retire(&LOGINS, 250_000).await;
    let archive = Archive::new();
    let settings = KeepSettings { file_bytes: 1_000, ..KeepSettings::default() };
    world.archive(&archive, &settings).await.unwrap();
    let manifest = Manifest::from_bytes(&archive.read("manifests/00000001.json")).unwrap();
    assert_eq!(manifest.files.iter().map(|file| file.rows.count).collect::<Vec<_>>(), [122_880, 122_880, 4_240]);
    assert_eq!(archive.verify(true).await.problems, vec![]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_without_rows_is_kept_too() {
    let world = World::new().await;
    world.retire(&LOGINS, 0).await;
    let archive = Archive::new();
    assert_eq!(world.keep(&archive).await.unwrap()[0].rows, 0);
    let verified = archive.verify(true).await;
    assert_eq!((verified.files, verified.rows, verified.problems), (1, 0, vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_says_what_it_did_and_what_is_wrong() {
    let world = World::new().await;
    world.retire(&LOGINS, 12).await;
    let archive = Archive::new();
    let place = archive.path();
    let dry = world.tables.turnstile(&["archive", "--to", place, "--dry-run"]).await;
    dry.assert_said(0, &["would archive and drop user_logins_202610 (2026-10): 12 rows"]);
    world
        .tables
        .turnstile(&["archive", "--to", place])
        .await
        .assert_said(0, &["archived and dropped user_logins_202610"]);
    world.tables.turnstile(&["archive", "--to", place]).await.assert_said(0, &["no partition waits for the archive"]);
    let json = world.tables.turnstile(&["archive", "--to", place, "--format", "json"]).await;
    json.assert_said(0, &["{\"bytes\":0,\"partitions\":0,\"rows\":0}"]);
    let verified = world.tables.turnstile(&["archive", "verify", "--from", place, "--deep"]).await;
    verified.assert_said(0, &["the archive is whole: 1 manifest, 1 file", "12 rows", "the last manifest: "]);
    verified.assert_discreet();

    archive.flip("user_logins/month=2026-10/user_logins-2026-10.g1.0001.parquet", 40);
    let verified = world.tables.turnstile(&["archive", "verify", "--from", place]).await;
    verified.assert_said(0, &["(--deep reads them)"]);
    let verified = world.tables.turnstile(&["archive", "verify", "--from", place, "--deep", "--format", "json"]).await;
    verified.assert_said(1, &["\"whole\":false", "its BLAKE3 is another"]);
    let unset = world.tables.turnstile(&["archive"]).await;
    assert!(unset.code == 2 && unset.stderr.contains("--to: is not given"), "{unset:?}");
}
