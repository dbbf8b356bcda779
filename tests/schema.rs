//! The tables that the migrations make.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;
use tokio_postgres::Client;
use turnstile::database::{Database, migrate};

use crate::support::evidence::survived;
use crate::support::postgres::{TestDatabase, pool};
use crate::support::tables::Tables;

fn database(test: &TestDatabase) -> Database {
    pool(test.url(), 1, Duration::from_secs(10))
}

#[tokio::test]
async fn the_migrated_tables_are_the_ones_written_down() {
    let test = TestDatabase::empty().await;
    database(&test).migrate().await.unwrap();
    let schema = schema_of(&test.client().await).await;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schema.sql");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&file, &schema).unwrap();
    }
    let written_down = std::fs::read_to_string(&file).unwrap();
    assert_eq!(schema, written_down, "the migrations make other tables: UPDATE_SCHEMA=1 make test writes them down");
}

/// Columns, constraints, indexes, triggers, functions and comments, in an order and form that no server version changes.
async fn schema_of(client: &Client) -> String {
    let lines = "
        WITH ours AS (
            SELECT c.oid, c.relnamespace::regnamespace || '.' || c.relname AS name, c.relkind
            FROM pg_class c
            WHERE c.relnamespace IN ('public'::regnamespace, 'turnstile'::regnamespace) AND c.relkind IN ('r', 'p', 'S')
              AND NOT c.relispartition AND c.relname <> 'refinery_schema_history'
        )
        SELECT 1, c.name, a.attnum::int, format('%s.%s %s%s%s', c.name, a.attname, format_type(a.atttypid, a.atttypmod),
            CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END, coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), ''))
        FROM ours c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relkind <> 'S'
        UNION ALL
        SELECT 2, c.name, 0, format('%s CONSTRAINT %s %s', c.name, k.conname, pg_get_constraintdef(k.oid))
        FROM pg_constraint k JOIN ours c ON c.oid = k.conrelid WHERE k.contype <> 'n'
        UNION ALL
        SELECT 3, c.name, 0, pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN ours c ON c.oid = i.indrelid
        UNION ALL
        SELECT 4, c.name, 0, format('%s PARTITION BY %s, %s partitions', c.name, pg_get_partkeydef(c.oid),
            (SELECT count(*) FROM pg_inherits WHERE inhparent = c.oid))
        FROM ours c WHERE c.relkind = 'p'
        UNION ALL
        SELECT 5, c.name, 0, format('%s TRIGGER %s', c.name, t.tgname)
        FROM pg_trigger t JOIN ours c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal
        UNION ALL
        SELECT 6, c.name, d.objsubid, format('COMMENT %s%s %s', c.name, coalesce('.' || a.attname, ''), d.description)
        FROM pg_description d JOIN ours c ON c.oid = d.objoid AND d.classoid = 'pg_class'::regclass
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid AND d.objsubid > 0
        UNION ALL
        SELECT 7, 'turnstile functions', 0, format('turnstile.%s() %s%s', p.proname,
            CASE WHEN p.prosecdef THEN 'SECURITY DEFINER ' ELSE '' END, array_to_string(p.proconfig, ' '))
        FROM pg_proc p WHERE p.pronamespace = 'turnstile'::regnamespace
        ORDER BY 2, 1, 3, 4";
    let mut schema =
        String::from("-- The tables as the migrations make them. UPDATE_SCHEMA=1 make test writes this file.\n");
    let mut table = String::new();
    for row in client.query(lines, &[]).await.unwrap() {
        if table != row.get::<_, &str>(1) {
            table = row.get(1);
            writeln!(schema).unwrap();
        }
        writeln!(schema, "{}", row.get::<_, &str>(3)).unwrap();
    }
    schema
}

#[tokio::test]
async fn a_table_that_stands_there_with_rows_is_adopted_and_keeps_them() {
    let test = TestDatabase::empty().await;
    let client = test.client().await;
    let standing = "CREATE TABLE user_logins (user_id varchar(128), device_type varchar(32), masked_ip varchar(256),
                        masked_device_id varchar(256), locale varchar(32), app_version integer, create_date date);
                    INSERT INTO user_logins VALUES ('u', 'ios', 'a', 'b', NULL, 200, '2020-01-01'), ('u', 'ios', 'a', 'b', NULL, 200, '2020-01-01')";
    client.batch_execute(standing).await.unwrap();
    database(&test).migrate().await.unwrap();
    let sql = "SELECT count(*) FILTER (WHERE message_hash IS NULL), min(create_date)::text FROM user_logins";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get(0), row.get(1)), (2_i64, "2020-01-01"));
}

#[tokio::test]
async fn a_table_with_other_columns_is_refused_by_name_and_left_as_it_is() {
    let test = TestDatabase::empty().await;
    let client = test.client().await;
    client.batch_execute("CREATE TABLE user_logins (user_id text, app_version integer)").await.unwrap();
    let refused = database(&test).migrate().await.unwrap_err().to_string();
    assert!(refused.contains("user_id must be character varying(128) and is text"), "{refused}");
    assert!(refused.contains("locale must be character varying(32) and is missing"), "{refused}");
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'user_logins'";
    assert_eq!(client.query_one(columns, &[]).await.unwrap().get::<_, i64>(0), 2);
}

#[tokio::test]
async fn tables_of_a_newer_program_are_left_alone_and_it_is_said() {
    let tables = Tables::new().await;
    let newer = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
                 VALUES (99, 'from_tomorrow', '2030-01-01T00:00:00Z', '1')";
    tables.client.batch_execute(newer).await.unwrap();
    let migrated = tables.database.migrate().await.unwrap();
    assert!(migrated.applied.is_empty() && migrated.is_newer(), "{migrated:?}");
    tables.turnstile(&["migrate"]).await.assert_said(0, &["the tables are at version 99, newer than this program's"]);
}

/// How often eight migrators meet; `TURNSTILE_TEST_MIGRATIONS` sets more than a test run of every day needs.
fn rounds() -> usize {
    std::env::var("TURNSTILE_TEST_MIGRATIONS").map_or(20, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_migrators_at_once_all_succeed() {
    let written_down = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schema.sql")).unwrap();
    let test = TestDatabase::empty().await;
    let client = test.client().await;
    let mut rivals = 0;
    for _ in 0..rounds() {
        client
            .batch_execute("DROP SCHEMA IF EXISTS turnstile CASCADE; DROP TABLE IF EXISTS user_logins")
            .await
            .unwrap();
        let applied = migrate_at_once(&test).await;
        assert_eq!(applied.iter().sum::<usize>(), migrate::migration_count(), "{applied:?}");
        assert_eq!(database(&test).schema_version().await.unwrap(), Some(migrate::newest_version()));
        assert_eq!(schema_of(&client).await, written_down);
        rivals += applied.iter().filter(|applied| **applied == 0).count();
    }
    survived("eight migrators at once", rivals as u64 / 7, "cargo test --test main eight_migrators");
}

/// Eight migrators that all stand before the database when the first of them may begin; what each applied.
async fn migrate_at_once(test: &TestDatabase) -> Vec<usize> {
    let ready = Arc::new(Barrier::new(8));
    let migrators = (0..8).map(|_| {
        let (database, ready) = (database(test), ready.clone());
        tokio::spawn(async move {
            ready.wait().await;
            database.migrate().await.unwrap().applied.len()
        })
    });
    let mut applied = Vec::new();
    for migrator in migrators.collect::<Vec<_>>() {
        applied.push(migrator.await.unwrap());
    }
    applied
}

#[test]
fn every_file_of_the_migrations_is_in_the_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let files = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(
        migrate::migration_count(),
        files,
        "a new migration is built in only after a change of src/database/migrate.rs or a clean build"
    );
}
