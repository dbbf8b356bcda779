//! `turnstile check` tells before a run what the run would meet, one line each, and with it the remedy.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use time::format_description::well_known::Rfc2822;
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use turnstile::database::address::DatabaseAddress;
use turnstile::database::schemas::Schemas;
use turnstile::database::{Database, DatabaseSettings};

use crate::grants::Roles;
use crate::support::postgres::{TestDatabase, connect};
use crate::support::program;
use crate::support::scripted_http::{Reply, ScriptedHttp};
use crate::support::server::{self, installed};

#[tokio::test]
async fn a_sound_installation_is_ok_in_every_line() {
    let server = server::start(installed()).await;
    migrate(&server.url()).await;
    let owner = connect(&server.url()).await;
    // As PostgreSQL 15 does by itself.
    owner.batch_execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await.unwrap();
    let roles = Roles::granted(&server.url()).await;

    let checked = Installation::new(&roles.loader_url).await.check(&[]).await;
    assert_eq!(checked.exit_code, 0, "{}", checked.stdout);
    let (findings, summary) = checked.stdout.trim_end().rsplit_once('\n').unwrap();
    // What relays note is nothing that a loader may read.
    let is_fine =
        |line: &str| line.starts_with("ok  ") || line.starts_with("skipped") && line.contains("turnstile_operator");
    assert!(findings.lines().all(is_fine), "{}", checked.stdout);
    assert_eq!(findings.lines().filter(|line| line.starts_with("skipped")).count(), 6, "{}", checked.stdout);
    assert_eq!(summary, "0 errors, 0 warnings");
    for found in ["turnstile_test_keys", "a standard queue", "PostgreSQL", "in clear, and does not leave", "fsync on"] {
        assert!(checked.stdout.contains(found), "{found}: {}", checked.stdout);
    }
}

#[tokio::test]
async fn every_check_runs_though_everything_is_missing() {
    let mut nothing = Installation::new("postgres://nobody:sesame@127.0.0.1:1/nothing").await;
    let all = nothing.check(&[]).await.stdout.lines().count();
    nothing.queue = "http://127.0.0.1:1/000000000000/logins".to_owned();
    nothing.keyring = nothing.folder.path().join("none");

    let checked = nothing.check(&["--mask", "base64", "--identity", "content", "--linger", "40s"]).await;
    assert_eq!((checked.exit_code, checked.stdout.lines().count()), (1, all), "{}", checked.stdout);
    for (level, what) in [
        ("error", "keyring"),
        ("skipped", "keyring file"),
        ("warning", "mask"),
        ("warning", "identity"),
        ("warning", "lease"),
        ("error", "queue"),
        ("skipped", "queue redrive"),
        ("skipped", "queue clock"),
        ("ok", "database transport"),
        ("error", "database"),
        ("skipped", "database durability"),
        ("skipped", "tables"),
        ("skipped", "grants on outbox"),
        ("skipped", "least privilege"),
        ("ok", "relay's target"),
        ("skipped", "sinks"),
        ("skipped", "failures of sinks"),
    ] {
        assert_eq!(checked.level(what), level, "{what}: {}", checked.stdout);
    }
    for line in checked.stdout.lines().filter(|line| line.starts_with("warning") || line.starts_with("error")) {
        assert!(line.contains(" → "), "says no remedy: {line}");
    }
    checked.holds_none_of(&["sesame"]);
}

#[tokio::test]
async fn what_is_known_is_shown_while_the_database_is_still_asked() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://loader@127.0.0.1:{}/logins", silent.local_addr().unwrap().port());
    let installation = Installation::new(&url).await;
    let mut checking = installation.command("check", &["--database-timeout", "5m"]);
    let mut checking = checking.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut shown = BufReader::new(checking.stdout.take().unwrap()).lines();
    let mut names = Vec::new();
    // Far less than the deadline of the database, which says nothing all the while.
    let reading = async {
        while !names.iter().any(|name| name == "queue clock") {
            let line = shown.next_line().await.unwrap().expect("it ended before the database answered");
            names.push(line[9..].split("  ").next().unwrap().to_owned());
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), reading)
        .await
        .expect("nothing is shown until all is known");
    let known: Vec<&str> = turnstile::check::looked_at().take(names.len()).collect();
    assert_eq!(names, known);
    assert!(checking.try_wait().unwrap().is_none(), "it still waits for the database");
}

#[tokio::test]
async fn in_json_each_finding_is_a_line_with_its_remedy_and_nothing_else_is_told() {
    let installation = Installation::new("postgres://nobody@127.0.0.1:1/nothing").await;
    let checked = installation.check(&["--format", "json"]).await;
    let findings: Vec<Value> = checked.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = findings.iter().map(|finding| finding["what"].as_str().unwrap()).collect();
    assert_eq!((checked.exit_code, names), (1, turnstile::check::looked_at().collect()));
    for finding in findings {
        let needs_remedy = ["warning", "error"].contains(&finding["level"].as_str().unwrap());
        assert_eq!(finding["remedy"].is_string(), needs_remedy, "{finding}");
    }
}

#[tokio::test]
async fn wrong_settings_are_told_all_at_once_and_nothing_is_looked_at() {
    let installation = Installation::new("postgres://nobody@127.0.0.1:1/nothing").await;
    let checked = installation.check(&["--lanes", "0", "--linger", "soon", "--mask", "none"]).await;
    assert_eq!((checked.exit_code, checked.stdout.as_str()), (2, ""));
    for setting in ["--lanes", "--linger", "--mask"] {
        assert!(checked.stderr.contains(setting), "{}", checked.stderr);
    }
    assert!(installation.server.asked("GetQueueAttributes").is_empty());
}

#[tokio::test]
async fn a_queue_that_takes_messages_away_too_early_or_lives_in_another_time_is_told() {
    let ago = |seconds| OffsetDateTime::now_utc() - Duration::seconds(seconds);
    for (redrive, clock, encrypted, expected) in [
        (3, ago(0), "true", ["error", "ok", "ok"]),
        (4, ago(60), "false", ["ok", "warning", "warning"]),
        (5, ago(1_200), "true", ["ok", "error", "ok"]),
    ] {
        let attributes = json!({
            "QueueArn": "arn:aws:sqs:eu-central-1:000000000000:logins",
            "RedrivePolicy": json!({"maxReceiveCount": redrive, "deadLetterTargetArn": "arn:…:dead"}).to_string(),
            "MessageRetentionPeriod": "345600",
            "SqsManagedSseEnabled": encrypted,
        });
        let nowhere = "postgres://nobody@127.0.0.1:1/nothing";
        let checked = Installation::with_queue(nowhere, attributes, clock).await.check(&[]).await;
        let levels = ["queue redrive", "queue clock", "queue encryption"].map(|what| checked.level(what));
        assert_eq!(levels, expected, "{}", checked.stdout);
        assert!(checked.line("queue retention").contains("4 d"));
    }
}

#[tokio::test]
async fn a_server_that_may_lose_commits_is_an_error_that_names_the_settings() {
    let database = TestDatabase::empty().await;
    let client = database.client().await;
    let role = client.query_one("SELECT current_user::text", &[]).await.unwrap().get::<_, String>(0);
    let url = with_options(database.url(), "-c synchronous_commit=off");
    let checked = Installation::new(&url).await.check(&[]).await;
    assert_eq!((checked.exit_code, checked.level("database durability")), (1, "error"));
    assert!(checked.line("database durability").contains("synchronous_commit = on"), "{}", checked.stdout);
    assert!(checked.line("database").contains(&format!("as role {role}")));
}

#[tokio::test]
async fn tables_of_another_version_are_told_with_what_brings_them_there() {
    let database = TestDatabase::empty().await;
    let installation = Installation::new(database.url()).await;
    let checked = installation.check(&[]).await;
    assert_eq!((checked.level("tables"), checked.level("grants on user_logins")), ("error", "skipped"));
    assert!(checked.line("tables").contains("turnstile migrate"));
    assert_eq!(installation.check(&["--migrate"]).await.level("tables"), "warning");

    migrate(database.url()).await;
    let client = database.client().await;
    let checked = installation.check(&[]).await;
    assert_eq!((checked.level("tables"), checked.level("least privilege")), ("ok", "warning"), "{}", checked.stdout);

    let newer = "UPDATE refinery_schema_history SET version = version + 1000 WHERE version = 1";
    client.batch_execute(newer).await.unwrap();
    assert_eq!(installation.check(&[]).await.level("tables"), "warning");

    client.batch_execute("DELETE FROM refinery_schema_history WHERE version <> 2").await.unwrap();
    let checked = installation.check(&[]).await;
    assert_eq!((checked.level("tables"), checked.level("grants on outbox")), ("error", "skipped"));
}

#[tokio::test]
async fn a_standby_is_told_as_one_and_no_run_starts_on_it() {
    let mut server = server::start(installed()).await;
    migrate(&server.url()).await;
    server.stop().await.unwrap();
    std::fs::write(server.folder().join("data/standby.signal"), "").unwrap();
    server.restart().await.unwrap();

    let installation = Installation::new(&server.url()).await;
    let checked = installation.check(&[]).await;
    assert_eq!((checked.exit_code, checked.level("database"), checked.level("tables")), (1, "error", "ok"));
    assert!(checked.line("database").contains("standby"), "{}", checked.stdout);

    let run = installation.run("run", &["--until-empty"]).await;
    assert_eq!(run.exit_code, 1);
    assert!(run.stderr.contains("the server is a standby"), "{}", run.stderr);
}

#[tokio::test]
async fn keys_that_others_may_read_are_warned_of_and_no_key_is_shown() {
    let installation = Installation::new("postgres://nobody@127.0.0.1:1/nothing").await;
    std::fs::set_permissions(&installation.keyring, std::fs::Permissions::from_mode(0o644)).unwrap();
    let checked = installation.check(&[]).await;
    assert_eq!((checked.level("keyring"), checked.level("keyring file")), ("ok", "warning"));
    let mend = format!("chmod 600 {}", installation.keyring.display());
    assert!(checked.line("keyring file").ends_with(&mend), "{}", checked.stdout);

    let text = std::fs::read_to_string(&installation.keyring).unwrap();
    let keys: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("key ")?.split(' ').nth(1)).collect();
    assert_eq!(keys.len(), 1);
    checked.holds_none_of(&keys);
}

/// A queue, a keyring, and the address of a database: what `turnstile check` looks at.
pub(crate) struct Installation {
    server: ScriptedHttp,
    queue: String,
    database_url: String,
    keyring: PathBuf,
    folder: TempDir,
}

impl Installation {
    /// One with nothing to say against but, perhaps, its database.
    pub(crate) async fn new(database_url: &str) -> Self {
        let attributes = json!({
            "QueueArn": "arn:aws:sqs:eu-central-1:000000000000:logins",
            "RedrivePolicy": r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-central-1:000000000000:dead","maxReceiveCount":10}"#,
            "SqsManagedSseEnabled": "true",
        });
        Self::with_queue(database_url, attributes, OffsetDateTime::now_utc()).await
    }

    async fn with_queue(database_url: &str, attributes: Value, clock: OffsetDateTime) -> Self {
        let server = ScriptedHttp::start(move |asked, _| match asked.call.as_str() {
            "GetQueueAttributes" => {
                Reply::json(json!({"Attributes": attributes})).with_header("date", clock.format(&Rfc2822).unwrap())
            }
            _ => Reply::error(400, "UnsupportedOperation"),
        })
        .await;
        let folder = tempfile::Builder::new().prefix("turnstile_test_keys").tempdir().unwrap();
        let keyring = program::write_keyring(folder.path());
        let queue = format!("{}/000000000000/logins", server.url());
        Self { server, queue, database_url: database_url.to_owned(), keyring, folder }
    }

    /// The queue's URL.
    pub(crate) fn queue(&self) -> &str {
        &self.queue
    }

    pub(crate) async fn check(&self, more: &[&str]) -> Checked {
        self.run("check", more).await
    }

    pub(crate) async fn run(&self, command: &str, more: &[&str]) -> Checked {
        let output = self.command(command, more).output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Checked { exit_code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    fn command(&self, command: &str, more: &[&str]) -> Command {
        let mut process = program::command(program::turnstile(), &self.database_url, &self.keyring);
        process.args([command, "--queue", &self.queue]).args(more).env("AWS_REGION", "eu-central-1");
        Command::from(process)
    }
}

/// What a command said.
pub(crate) struct Checked {
    pub(crate) exit_code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Checked {
    /// The line of the check of this name.
    pub(crate) fn line(&self, what: &str) -> &str {
        let is_of = |line: &&str| line.get(9..).is_some_and(|rest| rest.starts_with(&format!("{what}  ")));
        self.stdout.lines().find(is_of).unwrap_or_else(|| panic!("no line on {what}: {}", self.stdout))
    }

    pub(crate) fn level(&self, what: &str) -> &str {
        self.line(what).split(' ').next().unwrap()
    }

    fn holds_none_of(&self, secrets: &[&str]) {
        for secret in secrets {
            assert!(!self.stdout.contains(secret) && !self.stderr.contains(secret), "{}{}", self.stdout, self.stderr);
        }
    }
}

/// Brings a database's tables to this version, and registers the keys of the tests' keyring.
pub(crate) async fn migrate(url: &str) {
    crate::support::loading::migrate(&database(url)).await;
}

pub(crate) fn database(url: &str) -> Database {
    database_in(url, "turnstile", "public")
}

/// A database whose tables stand in these schemas.
pub(crate) fn database_in(url: &str, own: &str, logins: &str) -> Database {
    let address = DatabaseAddress::parse(url).unwrap();
    let settings = DatabaseSettings::new(address, 2, std::time::Duration::from_secs(20));
    let schemas = Schemas { own: own.parse().unwrap(), logins: logins.parse().unwrap() };
    Database::new(&DatabaseSettings { schemas, ..settings }).unwrap()
}

/// The same URL with settings for its sessions.
pub(crate) fn with_options(url: &str, options: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    let options = options.replace(' ', "%20").replace('=', "%3D");
    format!("{url}{separator}options={options}")
}
