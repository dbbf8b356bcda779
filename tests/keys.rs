//! The keys with which tables are written stand in the tables: a program with others does not write.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio_postgres::Client;

use crate::support::postgres::{TestDatabase, connect};
use crate::support::program::text_of;
use crate::support::site::{Site, mixed};
use crate::support::wait_until;

struct Keys {
    site: Site,
    client: Client,
    folder: TempDir,
    _test: TestDatabase,
}

impl Keys {
    /// A database without tables, and a queue with some messages.
    async fn new() -> Self {
        let test = TestDatabase::empty().await;
        let site = Site::without_tables(test.url()).await;
        site.fill_with(mixed(5, 0));
        let client = connect(test.url()).await;
        Self { site, client, folder: tempfile::tempdir().unwrap(), _test: test }
    }

    /// What a command came to, with this keyring: its exit code, and all that it said.
    fn run(&self, keyring: &Path, arguments: &[&str]) -> (i32, String) {
        let mut command = self.site.command(arguments);
        command.env("TURNSTILE_KEYRING", keyring).stdout(std::process::Stdio::piped());
        let ended = command.stderr(std::process::Stdio::piped()).output().unwrap();
        let said = String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap();
        (ended.status.code().unwrap(), said)
    }

    fn succeeds(&self, keyring: &Path, arguments: &[&str]) -> String {
        let (code, said) = self.run(keyring, arguments);
        assert_eq!(code, 0, "{arguments:?}: {said}");
        said
    }

    /// Fails unless the program refuses and says these things.
    fn is_refused(&self, keyring: &Path, arguments: &[&str], things: &[&str]) {
        let (code, said) = self.run(keyring, arguments);
        assert_eq!(code, 1, "{arguments:?}: {said}");
        things.iter().for_each(|thing| assert!(said.contains(thing), "{thing}: {said}"));
    }

    fn new_keyring(&self, name: &str, id: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        self.succeeds(&path, &["keys", "new", "--id", id]);
        path
    }

    /// The same keyring with a key more.
    fn with_one_more(&self, keyring: &Path, name: &str, id: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::copy(keyring, &path).unwrap();
        self.succeeds(&path, &["keys", "new", "--add", "--id", id]);
        path
    }

    async fn registered(&self) -> Vec<String> {
        let sql = "SELECT concat_ws(' ', key_id, mask) FROM turnstile_keys WHERE purpose = 'mask' ORDER BY key_id";
        self.client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }
}

const RUN: [&str; 4] = ["run", "--until-empty", "--lanes", "1"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_keys_are_registered_by_migrate_and_another_keyring_is_refused() {
    let keys = Keys::new().await;
    let (ours, same_id) = (keys.new_keyring("ours", "main"), keys.new_keyring("same-id", "main"));
    let other = keys.new_keyring("other", "other");
    let planned = keys.succeeds(&ours, &["migrate", "--dry-run"]);
    assert!(planned.contains("would apply V1__") && planned.contains("no tables of Turnstile"), "{planned}");
    let said = keys.succeeds(&ours, &["migrate"]);
    assert!(said.contains("registered the key main"), "{said}");
    let state = keys.succeeds(&ours, &["migrate", "--status", "--format", "json"]);
    assert!(state.contains("\"pending\":[]"), "{state}");
    assert_eq!(keys.registered().await, ["main seal"]);
    assert!(!keys.succeeds(&ours, &["migrate"]).contains("registered"), "once");

    keys.is_refused(&same_id, &RUN, &["hash key", "the keyring of the other loaders"]);
    keys.is_refused(&other, &RUN, &["hash key"]);
    keys.is_refused(&ours, &["run", "--until-empty", "--mask", "token"], &["--mask is token", "main", "seal"]);
    keys.is_refused(&other, &["dead-letters", "replay", "--all"], &["hash key"]);
    assert_eq!(keys.site.rows(&keys.client).await, 0);
    keys.succeeds(&ours, &RUN);
    assert_eq!((keys.site.rows(&keys.client).await, keys.site.depth()), (5, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_key_is_registered_before_a_loader_starts_with_it_and_then_needed_by_all() {
    let keys = Keys::new().await;
    let old = keys.new_keyring("old", "first");
    keys.succeeds(&old, &["migrate"]);
    let new = keys.with_one_more(&old, "new", "second");
    keys.is_refused(&new, &RUN, &["active key second is not registered", "turnstile keys register"]);
    let said = keys.succeeds(&new, &["keys", "register"]);
    assert!(said.contains("registered the key second"), "{said}");
    assert!(keys.succeeds(&new, &["keys", "register"]).contains("nothing to do"));
    keys.is_refused(&old, &RUN, &["lacks the key second"]);
    keys.succeeds(&new, &RUN);
    assert_eq!(keys.registered().await, ["first seal", "second seal"]);

    let said = keys.succeeds(&new, &["keys", "register", "--mask", "token"]);
    assert!(said.contains("registered the key second"), "{said}");
    assert_eq!(keys.registered().await, ["first seal", "second token"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_hash_key_is_registered_only_where_that_was_asked_for_and_says_what_is_forgotten() {
    let keys = Keys::new().await;
    let ours = keys.new_keyring("ours", "main");
    keys.succeeds(&ours, &["migrate"]);
    keys.succeeds(&ours, &["run", "--until-empty", "--identity", "field:/user_id"]);
    // The same keys, but for the one that hashes.
    let other = keys.new_keyring("other", "unused");
    let hash_line = |path: &Path| text_of(path).lines().find(|line| line.starts_with("hash ")).unwrap().to_owned();
    let changed = text_of(&ours).replace(&hash_line(&ours), &hash_line(&other));
    std::fs::write(&other, changed).unwrap();

    keys.is_refused(&other, &RUN, &["hash key"]);
    keys.is_refused(&other, &["keys", "register"], &["forget 5 keys", "--replace-hash"]);
    let said = keys.succeeds(&other, &["keys", "register", "--replace-hash"]);
    assert!(said.contains("5 keys of producers are forgotten"), "{said}");
    keys.succeeds(&other, &RUN);
    keys.is_refused(&ours, &RUN, &["hash key"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_keyring_migrate_says_what_is_still_to_do_and_run_waits_for_it() {
    let keys = Keys::new().await;
    let ours = keys.new_keyring("ours", "main");
    let said = keys.succeeds(Path::new(""), &["migrate"]);
    assert!(said.contains("turnstile keys register"), "{said}");
    keys.is_refused(&ours, &RUN, &["no key is registered", "turnstile keys register"]);
    keys.succeeds(&ours, &["keys", "register"]);
    keys.succeeds(&ours, &RUN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_stands_in_the_schemas_that_were_chosen_and_nothing_in_the_default_ones() {
    let keys = Keys::new().await;
    let ours = keys.new_keyring("ours", "main");
    keys.client.batch_execute("CREATE SCHEMA analysts").await.unwrap();
    let schemas = ["--schema", "loader_1", "--logins-schema", "analysts"];
    keys.succeeds(&ours, &[&["migrate"][..], &schemas].concat());
    keys.succeeds(&ours, &[&RUN[..], &schemas].concat());
    keys.succeeds(&ours, &[&["audit"][..], &schemas].concat());
    let count = |table: &str| format!("SELECT count(*) FROM {table}");
    for table in ["loader_1.processed_messages", "loader_1.outbox", "analysts.user_logins"] {
        assert_eq!(keys.client.query_one(&count(table), &[]).await.unwrap().get::<_, i64>(0), 5, "{table}");
    }
    let elsewhere = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                     WHERE n.nspname IN ('turnstile', 'public')";
    assert_eq!(keys.client.query_one(elsewhere, &[]).await.unwrap().get::<_, i64>(0), 0);
    keys.is_refused(&ours, &["run", "--schema", "loader_2"], &["run `turnstile migrate`"]);
    let (code, said) = keys.run(&ours, &["run", "--schema", "Not; a schema"]);
    assert!(code == 2 && said.contains("--schema (TURNSTILE_SCHEMA)"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_waits_for_another_says_for_what_and_goes_on_when_it_is_free() {
    let keys = Keys::new().await;
    let ours = keys.new_keyring("ours", "main");
    let lock = i64::from_be_bytes(*b"turnstil");
    keys.client.execute("SELECT pg_advisory_lock($1)", &[&lock]).await.unwrap();
    let mut command = keys.site.command(&["migrate"]);
    command.env("TURNSTILE_KEYRING", &ours);
    let migrator = keys.site.start(command, "migrator");
    wait_until("it says what it waits for", async || migrator.said().contains("advisory lock of migrations")).await;
    keys.client.execute("SELECT pg_advisory_unlock($1)", &[&lock]).await.unwrap();
    assert!(migrator.ended().await.success());
    keys.succeeds(&ours, &RUN);
}
