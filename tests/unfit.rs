//! What a check calls an error of the database, a run refuses in the same words: tables, keys and settings in which the
//! promise would not hold.

use tokio_postgres::Client;
use turnstile::table::facts::{KEYS_OF_RELAY, LOGINS, OF_RELAY, UNIQUE_KEYS};

use crate::check::{Installation, database, migrate, with_options};
use crate::grants::Roles;
use crate::support::postgres::{TestDatabase, connect};

/// The line of a check on what only a relay needs.
const RELAY: &str = "tables of the relay";

/// A sound database that is broken and mended again.
struct Broken {
    client: Client,
    installation: Installation,
    test: TestDatabase,
}

impl Broken {
    async fn sound() -> Self {
        let test = TestDatabase::empty().await;
        migrate(test.url()).await;
        let (client, installation) = (connect(test.url()).await, Installation::new(test.url()).await);
        let broken = Self { client, installation, test };
        broken.is_sound().await;
        broken
    }

    async fn execute(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Breaks something, and fails unless a check calls it an error in this line, which names this, and a run refuses it.
    /// Gives back the remedy.
    async fn is_refused(&self, by: &str, line: &str, named: &str) -> String {
        self.execute(by).await;
        let checked = self.installation.check(&[]).await;
        assert_eq!((checked.exit_code, checked.level(line)), (1, "error"), "{by}: {}", checked.stdout);
        let said = checked.line(line);
        assert!(said.contains(named), "{by}: {said}");
        let run = self.installation.run("run", &["--until-empty"]).await;
        assert_eq!(run.exit_code, 1, "{by}");
        assert!(run.stderr.contains(&format!("{line}: ")), "{by}: {}", run.stderr);
        said.split_once(" → ").unwrap().1.to_owned()
    }

    async fn is_warned_of(&self, by: &str, line: &str, named: &str) {
        self.execute(by).await;
        let checked = self.installation.check(&[]).await;
        let said = checked.line(line);
        assert!(said.starts_with("warning") && said.contains(named) && said.contains(" → "), "{by}: {said}");
        assert_eq!(checked.exit_code, 0, "{by}: {}", checked.stdout);
    }

    /// Does what a check advises in this line, and fails unless it is content then.
    async fn is_mended_as_told(&self, line: &str) {
        let checked = self.installation.check(&[]).await;
        let (_, remedy) = checked.line(line).split_once(" → ").unwrap();
        self.execute(remedy.split(';').next().unwrap()).await;
        let checked = self.installation.check(&[]).await;
        assert_eq!(checked.level(line), "ok", "{}", checked.stdout);
    }

    async fn is_sound(&self) {
        let checked = self.installation.check(&[]).await;
        assert_eq!(checked.exit_code, 0, "{}", checked.stdout);
    }
}

#[tokio::test]
async fn a_unique_key_that_is_not_there_or_not_valid_is_refused_and_the_remedy_leads_out() {
    let broken = Broken::sound().await;
    for (table, columns) in UNIQUE_KEYS {
        let drop = match table {
            LOGINS => "DROP INDEX public.user_logins_message_key".to_owned(),
            table => format!("ALTER TABLE turnstile.{table} DROP CONSTRAINT {table}_pkey"),
        };
        let named = format!("{table} ({})", columns.join(", "));
        let remedy = broken.is_refused(&drop, "unique keys", &named).await;
        broken.execute(remedy.split(';').next().unwrap()).await;
        broken.is_sound().await;
    }
    // Columns in another order are the same key; one more is another.
    broken.execute("DROP INDEX public.user_logins_message_sent_at_message_hash_idx").await;
    broken.execute("CREATE UNIQUE INDEX one_more ON public.user_logins (message_sent_at, message_hash, user_id)").await;
    broken.is_refused("", "unique keys", "user_logins (message_sent_at, message_hash)").await;
    broken
        .execute("CREATE UNIQUE INDEX part ON public.user_logins (message_sent_at, message_hash) WHERE locale IS NULL")
        .await;
    broken.is_refused("", "unique keys", "user_logins").await;
    broken.execute("CREATE UNIQUE INDEX turned ON public.user_logins (message_hash, message_sent_at)").await;
    broken.is_sound().await;

    let index =
        "(SELECT indexrelid FROM pg_index WHERE indrelid = 'turnstile.processed_messages'::regclass AND indisunique)";
    let invalid = format!("UPDATE pg_index SET indisvalid = false WHERE indexrelid = {index}");
    let remedy = broken.is_refused(&invalid, "unique keys", "is not valid").await;
    broken.execute(remedy.split(';').next().unwrap()).await;
    broken.is_sound().await;

    let deferrable = "ALTER TABLE turnstile.dead_letters ADD CONSTRAINT late UNIQUE (sent_at, message_hash) DEFERRABLE;
                      DROP INDEX turnstile.dead_letters_sent_at_message_hash_idx";
    broken.is_refused(deferrable, "unique keys", "is deferrable").await;
    drop(broken.test);
}

#[tokio::test]
async fn tables_that_a_crash_would_empty_are_refused() {
    let broken = Broken::sound().await;
    for table in ["public.user_logins", "turnstile.outbox_0", "turnstile.processed_messages"] {
        let remedy = broken.is_refused(&format!("ALTER TABLE {table} SET UNLOGGED"), "tables' durability", table).await;
        assert_eq!(remedy, format!("ALTER TABLE {table} SET LOGGED"));
        broken.execute(&remedy).await;
        broken.is_sound().await;
    }
}

#[tokio::test]
async fn positions_that_stand_already_or_have_no_place_are_refused() {
    let broken = Broken::sound().await;
    let behind = "INSERT INTO turnstile.outbox (position, event_id, message_sent_at)
                  VALUES (4711, decode(repeat('00', 32), 'hex'), now())";
    let remedy = broken.is_refused(behind, "positions of events", "an event has 4711").await;
    assert!(remedy.starts_with("SELECT setval("), "{remedy}");
    broken.execute(&remedy).await;
    broken.is_sound().await;

    for counted in ["CACHE 10", "INCREMENT 2", "CYCLE"] {
        let change = format!("ALTER SEQUENCE turnstile.outbox_position_seq {counted}");
        let remedy = broken.is_refused(&change, "positions of events", "one by one").await;
        broken.execute(&remedy).await;
        broken.is_sound().await;
    }

    broken.is_warned_of(&set_position(15_000_000), "partitions of outbox", "1 partitions").await;
    broken
        .is_refused(
            &format!("ALTER FUNCTION turnstile.extend_outbox() RENAME TO gone; {}", set_position(30_000_000)),
            "partitions of outbox",
            "30000001",
        )
        .await;
    broken.execute("ALTER FUNCTION turnstile.gone() RENAME TO extend_outbox").await;
    let run = broken.installation.run("run", &["--until-empty"]).await;
    assert!(!run.stderr.contains("partitions of outbox"), "a loader makes them itself: {}", run.stderr);
    broken.is_sound().await;
}

#[tokio::test]
async fn a_partition_that_is_detached_and_still_there_is_warned_of() {
    let broken = Broken::sound().await;
    broken.execute(&set_position(15_000_000)).await;
    broken.execute("SELECT turnstile.extend_outbox()").await;
    let detach = "ALTER TABLE turnstile.outbox DETACH PARTITION turnstile.outbox_0";
    broken.is_warned_of(detach, "partitions of outbox", "and not dropped: turnstile.outbox_0").await;
    broken.execute("ALTER TABLE turnstile.outbox_0 SET SCHEMA public").await;
    broken.is_sound().await;
    assert_eq!(broken.installation.check(&[]).await.level("partitions of outbox"), "ok");
}

fn set_position(position: i64) -> String {
    format!("SELECT setval('turnstile.outbox_position_seq', {position})")
}

#[tokio::test]
async fn what_may_keep_rows_out_is_refused_where_turnstile_records_and_warned_of_where_it_stores() {
    let broken = Broken::sound().await;
    broken.execute("CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'").await;
    for table in [
        "turnstile.processed_messages",
        "turnstile.identities",
        "turnstile.queues",
        "turnstile.dead_letters",
        "turnstile.outbox",
        "turnstile.outbox_1",
    ] {
        let trigger = format!("CREATE TRIGGER t BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION public.keep()");
        let remedy = broken.is_refused(&trigger, "triggers and rules", &format!("trigger t on {table}")).await;
        assert!(remedy.starts_with("DROP TRIGGER t ON turnstile."), "{remedy}");
        broken.execute(&format!("DROP TRIGGER t ON {table}")).await;
    }
    let rule = "CREATE RULE r AS ON INSERT TO turnstile.identities DO INSTEAD NOTHING";
    let remedy = broken.is_refused(rule, "triggers and rules", "rule r on turnstile.identities").await;
    broken.execute(remedy.split(';').next().unwrap()).await;
    let trigger = "CREATE TRIGGER t BEFORE INSERT ON public.user_logins FOR EACH ROW EXECUTE FUNCTION public.keep()";
    broken.is_warned_of(trigger, "triggers and rules", "trigger t on public.user_logins").await;
    let after = "DROP TRIGGER t ON public.user_logins;
                 CREATE TRIGGER t AFTER INSERT ON public.user_logins FOR EACH ROW EXECUTE FUNCTION public.keep();
                 CREATE TRIGGER off BEFORE INSERT ON turnstile.outbox FOR EACH ROW EXECUTE FUNCTION public.keep();
                 ALTER TABLE turnstile.outbox DISABLE TRIGGER off";
    broken.execute(after).await;
    assert_eq!(broken.installation.check(&[]).await.level("triggers and rules"), "ok");
}

#[tokio::test]
async fn a_column_that_no_login_fills_and_a_table_that_is_gone_are_refused() {
    let broken = Broken::sound().await;
    let column = "ALTER TABLE public.user_logins ADD COLUMN region text NOT NULL";
    broken.is_refused(column, "columns of user_logins", "region").await;
    broken.execute("ALTER TABLE public.user_logins ALTER region SET DEFAULT 'none'").await;
    broken.is_sound().await;
    broken.execute("ALTER TABLE turnstile.horizon RENAME TO elsewhere").await;
    broken.is_refused("", "tables' number", "horizon").await;
}

#[tokio::test]
async fn a_table_of_the_relay_that_is_broken_is_warned_of_and_keeps_no_loader_from_loading() {
    let broken = Broken::sound().await;
    assert_eq!(broken.installation.check(&[]).await.level(RELAY), "ok");
    for (table, columns) in KEYS_OF_RELAY {
        broken
            .is_warned_of(
                &format!("ALTER TABLE turnstile.{table} DROP CONSTRAINT {table}_pkey"),
                RELAY,
                &format!("{table} ({})", columns.join(", ")),
            )
            .await;
        broken.is_mended_as_told(RELAY).await;
    }
    for table in OF_RELAY {
        broken.is_warned_of(&format!("ALTER TABLE turnstile.{table} SET UNLOGGED"), RELAY, "unlogged").await;
        broken.is_mended_as_told(RELAY).await;
        let rule = format!("CREATE RULE r AS ON INSERT TO turnstile.{table} DO INSTEAD NOTHING");
        broken.is_warned_of(&rule, RELAY, &format!("rule r on turnstile.{table}")).await;
        broken.is_mended_as_told(RELAY).await;
    }
    let roles = Roles::made(broken.test.url()).await;
    let stranger = roles.login("analyst");
    let theirs = format!("ALTER TABLE turnstile.relay_gaps OWNER TO {stranger}");
    broken.is_warned_of(&theirs, RELAY, &format!("turnstile.relay_gaps belongs to {stranger}")).await;
    broken.execute("ALTER TABLE turnstile.relay_gaps OWNER TO CURRENT_USER").await;
    roles.drop().await;

    broken.is_warned_of("ALTER TABLE turnstile.relay_marks RENAME TO elsewhere", RELAY, "missing: relay_marks").await;
    assert!(!broken.installation.check(&[]).await.line(RELAY).contains("unique"), "a table that is gone is told once");
    let run = broken.installation.run("run", &["--until-empty"]).await;
    assert!(!run.stderr.contains(RELAY), "{}", run.stderr);
}

#[tokio::test]
async fn strangers_in_turnstile_s_schema_are_refused_and_elsewhere_warned_of() {
    let broken = Broken::sound().await;
    let roles = Roles::made(broken.test.url()).await;
    let stranger = roles.login("analyst");
    let theirs = format!("ALTER TABLE turnstile.queues OWNER TO {stranger}");
    broken.is_refused(&theirs, "owners", &format!("turnstile.queues belongs to {stranger}")).await;
    broken.execute("ALTER TABLE turnstile.queues OWNER TO CURRENT_USER").await;
    let create = format!("GRANT CREATE ON SCHEMA turnstile TO {stranger}");
    let remedy = broken.is_refused(&create, "owners", &stranger).await;
    broken.execute(&remedy).await;
    broken.is_sound().await;

    let logins = format!("ALTER TABLE public.user_logins OWNER TO {stranger}");
    broken.is_warned_of(&logins, "owners", &stranger).await;
    broken.execute("ALTER TABLE public.user_logins OWNER TO CURRENT_USER").await;
    broken.is_warned_of("GRANT CREATE ON SCHEMA public TO PUBLIC", "owners", "by PUBLIC").await;
    broken.execute(&format!("DROP OWNED BY {stranger}")).await;
    roles.drop().await;
}

#[tokio::test]
async fn other_keys_than_those_of_the_tables_are_refused() {
    let broken = Broken::sound().await;
    let other =
        "UPDATE turnstile.turnstile_keys SET check_value = decode(repeat('00', 32), 'hex') WHERE purpose = 'hash'";
    broken.is_refused(other, "registered keys", "another key under the id hash-key").await;
    broken.is_refused("DELETE FROM turnstile.turnstile_keys", "registered keys", "no key is registered").await;
}

#[tokio::test]
async fn a_role_that_writes_nothing_unless_told_is_refused() {
    let test = TestDatabase::empty().await;
    migrate(test.url()).await;
    let url = with_options(test.url(), "-c default_transaction_read_only=on");
    let installation = Installation::new(&url).await;
    let checked = installation.check(&[]).await;
    assert_eq!((checked.exit_code, checked.level("database")), (1, "error"), "{}", checked.stdout);
    let run = installation.run("run", &["--until-empty"]).await;
    assert!(run.exit_code == 1 && run.stderr.contains("default_transaction_read_only"), "{}", run.stderr);
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_text_is_refused_before_anything_is_made() {
    let test = TestDatabase::empty().await;
    let client = connect(test.url()).await;
    let name = format!("turnstile_latin_{}", std::process::id());
    let make = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
    client.batch_execute(&make).await.unwrap();
    let (before, _) = test.url().rsplit_once('/').unwrap();
    let url = format!("{before}/{name}");

    let refused = database(&url).migrate().await.unwrap_err();
    assert!(refused.to_string().contains("LATIN1"), "{refused}");
    assert!(refused.remedy().contains("ENCODING 'UTF8'"), "{}", refused.remedy());
    let latin = connect(&url).await;
    let made = "SELECT count(*) FROM pg_namespace WHERE nspname = 'turnstile'";
    assert_eq!(latin.query_one(made, &[]).await.unwrap().get::<_, i64>(0), 0, "nothing is left behind");
    let installation = Installation::new(&url).await;
    assert_eq!(installation.check(&[]).await.level("database"), "error");
    let run = installation.run("run", &["--until-empty"]).await;
    assert!(run.exit_code == 1 && run.stderr.contains("LATIN1"), "{}", run.stderr);
    drop((latin, installation));
    client.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
}
