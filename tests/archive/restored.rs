//! What an archive holds comes back as it was, beside the table that it left.

use turnstile::archive::ArchiveError;
use turnstile::archive::restore::restore;

use super::world::{Archive, CLAIMS, FIRST, LOGINS, World};

/// How many rows the one table has and the other not, whichever.
async fn different(world: &World, one: &str, other: &str) -> i64 {
    let sql = format!(
        "((TABLE {one} EXCEPT ALL TABLE {other}) UNION ALL (TABLE {other} EXCEPT ALL TABLE {one})) differences"
    );
    world.tables.count(&sql).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_month_is_restored_beside_and_overwrites_nothing() {
    let world = World::new().await;
    world.retire(&FIRST, 60).await;
    world.retire(&LOGINS, 300).await;
    world.retire(&CLAIMS, 300).await;
    for partition in [&FIRST, &LOGINS, &CLAIMS] {
        world.run(&format!("CREATE TABLE kept_{} AS TABLE {}", partition.name(), partition.place)).await;
    }
    let archive = Archive::new();
    world.keep(&archive).await.unwrap();
    let place = archive.path();
    let restored = world.tables.turnstile(&["archive", "restore", "2026-10", "--from", place]).await;
    restored.assert_said(
        0,
        &["restored user_logins_restored_202610: 300 rows", "restored processed_messages_restored_202610: 300 rows"],
    );
    assert_eq!(different(&world, "public.user_logins_restored_202610", "kept_user_logins_202610").await, 0);
    let claims = "turnstile.processed_messages_restored_202610";
    assert_eq!(different(&world, claims, "kept_processed_messages_202610").await, 0);
    let again = world.tables.turnstile(&["archive", "restore", "2026-10", "--from", place]).await;
    assert!(
        again.code == 1 && again.stderr.contains("there is a table user_logins_restored_202610 already"),
        "{again:?}"
    );

    let first = ["archive", "restore", "before-2026-10-01", "--from", place, "--format", "json"];
    world.tables.turnstile(&first).await.assert_said(0, &["\"table\":\"user_logins_restored_before_20261001\""]);
    let first = "public.user_logins_restored_before_20261001";
    assert_eq!(different(&world, first, "kept_user_logins_before_202610").await, 0);
    let none = world.tables.turnstile(&["archive", "restore", "2025-01", "--from", place]).await;
    assert!(none.code == 1 && none.stderr.contains("it holds 2026-10, before-2026-10-01"), "{none:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_that_somebody_added_are_kept_and_come_back_with_their_types() {
    let world = World::new().await;
    world.make(&LOGINS).await;
    world
        .run(
            "ALTER TABLE public.user_logins_202610
                 ADD \"Odd \"\"name\" numeric(30, 10), ADD note jsonb, ADD reference uuid, ADD small smallint, ADD big bigint,
                 ADD ratio double precision, ADD single real, ADD is_new boolean, ADD local_time timestamp, ADD blank char(5),
                 ADD free text, ADD address inet;
             ALTER TABLE public.user_logins_202610 DROP COLUMN locale;
             INSERT INTO public.user_logins_202610 VALUES
                 ('u', 'ios', 'm', 'd', 1, '1969-12-31', '1969-12-31 23:59:59.999999+00', sha256('a'),
                  12345678901234567890.0123456789, '{\"b\": [1, null], \"a\": \"é\"}', '00000000-0000-4000-8000-00000000000a',
                  -7, -9000000000000000000, 1e300 / 3, 0.1, false, '0044-03-15 12:00:00 BC', 'ab', '', '2001:db8::1');
             INSERT INTO public.user_logins_202610 VALUES (NULL);
             INSERT INTO public.user_logins_202610 VALUES
                 ('n', NULL, NULL, NULL, NULL, '9999-12-31', NULL, NULL, 'NaN', 'null', NULL, 3, 4, 'NaN', '-infinity',
                  true, '2026-10-10 00:00', '', 'x', '10.0.0.0/8')",
        )
        .await;
    world.detached(&LOGINS).await;
    // A server whose default loses digits of floating-point numbers.
    world.run("CREATE TABLE kept AS TABLE public.user_logins_202610").await;
    let archive = Archive::new();
    world.keep(&archive).await.unwrap();
    let restored = restore(&world.tables.database, &archive.storage().await, "2026-10", |_| {}).await.unwrap();
    assert_eq!(restored[0].rows, 3);
    let text = |table: &str| format!("(SELECT t::text FROM {table} t) x");
    let (one, other) = (text("public.user_logins_restored_202610"), text("kept"));
    let sql = format!(
        "((SELECT * FROM {one} EXCEPT ALL SELECT * FROM {other}) UNION ALL (SELECT * FROM {other} EXCEPT ALL SELECT * FROM {one})) d"
    );
    assert_eq!(world.tables.count(&sql).await, 0);
    let types = "SELECT string_agg(format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute
                 WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped";
    let of = async |table: &str| world.tables.client.query_one(types, &[&table]).await.unwrap().get::<_, String>(0);
    assert_eq!(of("public.user_logins_restored_202610").await, of("kept").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_restored_from_a_file_that_is_not_what_its_manifest_says() {
    let world = World::new().await;
    world.retire(&LOGINS, 100).await;
    let archive = Archive::new();
    world.keep(&archive).await.unwrap();
    archive.flip("user_logins/month=2026-10/user_logins-2026-10.g1.0001.parquet", 200);
    let refused = restore(&world.tables.database, &archive.storage().await, "2026-10", |_| {}).await;
    assert!(matches!(refused, Err(ArchiveError::Damaged { .. })), "{refused:?}");
    assert!(!world.stands("public.user_logins_restored_202610").await);
}
