//! What an error keeps of a refusal: its SQLSTATE and names, never a value.

use std::time::Duration;

use turnstile::database::{Database, DatabaseError};
use turnstile::retry::Class;

use crate::support::postgres::{TestDatabase, pool};

#[tokio::test]
async fn a_refusal_names_schema_table_and_constraint() {
    let (_test, database) = database_with(
        "CREATE SCHEMA shop; CREATE TABLE shop.numbers (n int PRIMARY KEY, m int NOT NULL);
         CREATE TABLE shop.parts (n int) PARTITION BY RANGE (n)",
    )
    .await;
    let twice = refusal(&database, "INSERT INTO shop.numbers VALUES (1, 1), (1, 1)").await;
    assert_eq!(twice.sqlstate(), Some("23505"));
    assert_eq!(
        (twice.schema(), twice.table(), twice.constraint()),
        (Some("shop"), Some("numbers"), Some("numbers_pkey"))
    );

    let missing = refusal(&database, "INSERT INTO shop.numbers VALUES (1, NULL)").await;
    assert_eq!((missing.sqlstate(), missing.table(), missing.constraint()), (Some("23502"), Some("numbers"), None));

    let no_partition = refusal(&database, "INSERT INTO shop.parts VALUES (1)").await;
    assert_eq!((no_partition.sqlstate(), no_partition.table()), (Some("23514"), Some("parts")));
    assert_eq!(no_partition.constraint(), None);
}

#[tokio::test]
async fn a_value_of_another_type_than_the_servers_is_told_as_that_and_never_shown() {
    let (_test, database) = database_with("CREATE TABLE numbers (n int)").await;
    let transaction = database.begin().await.unwrap();
    let sql = "INSERT INTO public.numbers VALUES ($1)";
    let error = transaction.execute("insert numbers", sql, &[&"sesame"]).await.unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with("insert numbers: a value does not fit the type that the server expects"), "{said}");
    assert!(error.remedy().contains("turnstile check") && !said.contains("sesame"), "{said}: {}", error.remedy());
}

#[tokio::test]
async fn what_a_trigger_gives_as_a_name_is_kept_only_if_it_looks_like_one() {
    let (_test, database) = database_with(
        "CREATE TABLE numbers (said text);
         CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RAISE check_violation USING CONSTRAINT = NEW.said, TABLE = NEW.said, SCHEMA = NEW.said;
         END $$;
         CREATE TRIGGER say BEFORE INSERT ON numbers FOR EACH ROW EXECUTE FUNCTION say()",
    )
    .await;
    let long = "n".repeat(64);
    for said in ["203.0.113.7", "alice@example.org", "two words", "line\nbreak", "é", long.as_str()] {
        let error = refusal(&database, &format!("INSERT INTO public.numbers VALUES ('{said}')")).await;
        assert_eq!((error.schema(), error.table(), error.constraint()), (None, None, None), "{said}");
        assert_eq!(error.to_string(), "insert: SQLSTATE 23514");
        assert!(!format!("{error:?}").contains(said));
    }
    let error = refusal(&database, "INSERT INTO public.numbers VALUES ('Name_1$')").await;
    assert_eq!(
        (error.schema(), error.table(), error.constraint()),
        (Some("Name_1$"), Some("Name_1$"), Some("Name_1$"))
    );
    assert_eq!(error.to_string(), "insert: SQLSTATE 23514, constraint Name_1$");
}

#[tokio::test]
async fn an_internal_error_passes_where_tables_are_sharded_and_only_there() {
    let (_test, database) = database_with("").await;
    let class_of = async |code: &str| {
        let sql = format!("DO $$ BEGIN RAISE EXCEPTION 'failed' USING ERRCODE = '{code}'; END $$");
        refusal(&database, &sql).await.class()
    };
    assert_eq!(class_of("XX000").await, Class::OfTheSystem);
    database.clone().mark_sharded(true);
    assert_eq!(class_of("XX000").await, Class::Transient);
    assert_eq!(class_of("XX001").await, Class::OfTheSystem);
    assert_eq!(class_of("42P01").await, Class::OfTheSystem);
    database.mark_sharded(false);
    assert_eq!(class_of("XX000").await, Class::OfTheSystem);
}

/// How the server refuses a statement.
async fn refusal(database: &Database, sql: &str) -> DatabaseError {
    let transaction = database.begin().await.unwrap();
    let error = transaction.execute("insert", sql, &[]).await.unwrap_err();
    transaction.rollback().await.unwrap();
    error
}

async fn database_with(tables: &str) -> (TestDatabase, Database) {
    let test = TestDatabase::empty().await;
    test.client().await.batch_execute(tables).await.unwrap();
    let database = pool(test.url(), 1, Duration::from_secs(10));
    (test, database)
}
