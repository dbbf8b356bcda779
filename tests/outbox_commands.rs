//! `turnstile outbox`: an operator sees how the sinks stand and what keeps events waiting, and has events carried again. The
//! events are written as a loader writes them, and carried by relays of the program.

mod again;
mod status;

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tokio_postgres::Client;

use crate::support::postgres::TestDatabase;
use crate::support::program;

/// A database, and the program that looks at it.
struct Outbox {
    test: TestDatabase,
    client: Client,
    folder: tempfile::TempDir,
}

impl Outbox {
    async fn new() -> Self {
        let test = TestDatabase::with_tables().await;
        let client = test.client().await;
        Self { test, client, folder: tempfile::tempdir().unwrap() }
    }

    /// Writes events, and gives their positions; the transaction is the client's.
    async fn write(&self, events: i64) -> Vec<i64> {
        write(&self.client, events).await
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program::command(program::turnstile(), self.test.url(), self.folder.path());
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().unwrap())
    }

    /// What a relay to standard output carries until all is carried: the positions.
    fn drain(&self, sink: &str) -> Vec<i64> {
        let ended = self.run(&["relay", "--to", "stdout:", "--sink", sink, "--until-empty"]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let mut positions: Vec<i64> = ended.lines().iter().map(position).collect();
        positions.sort_unstable();
        positions
    }

    /// What `outbox status` says of a sink, in JSON.
    fn status(&self, sink: &str) -> Value {
        let ended = self.run(&["outbox", "status", "--json", "--sink", sink]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.lines()[0]["sinks"][0].clone()
    }

    async fn execute(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    /// Says that the sink refuses these events, which stand like this.
    async fn refuse(&self, sink: &str, positions: &[i64], status: &str) {
        let sql = "INSERT INTO relay_failures (sink, position, event_id, code, next_at, status, attempts)
                   SELECT $1, position, event_id, 'Malformed', now() + interval '1 hour', $3, 10
                   FROM outbox WHERE position = ANY ($2)";
        self.client.execute(sql, &[&sink, &positions, &status]).await.unwrap();
    }

    async fn failures(&self) -> Vec<(i64, String, i32)> {
        let sql = "SELECT position, status, attempts FROM relay_failures ORDER BY sink, position";
        let rows = self.client.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    }

    /// The id of the event at a position.
    async fn id(&self, position: i64) -> String {
        let sql = "SELECT encode(event_id, 'hex') FROM outbox WHERE position = $1";
        self.client.query_one(sql, &[&position]).await.unwrap().get(0)
    }
}

async fn write(client: &Client, events: i64) -> Vec<i64> {
    let sql = "INSERT INTO turnstile.outbox (event_id, message_sent_at, user_id)
               SELECT decode(md5(random()::text) || md5(random()::text), 'hex'), now(), 'user of canary ' || n
               FROM generate_series(1, $1::bigint) n RETURNING position";
    client.query(sql, &[&events]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

fn position(event: &Value) -> i64 {
    event["sequence"].as_str().unwrap().parse().unwrap()
}

/// A command that has ended.
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let ended =
            Self { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) };
        let is_relay = ended.stdout.contains("specversion");
        assert!(is_relay || !format!("{}{}", ended.stdout, ended.stderr).contains("canary"), "it tells a value");
        ended
    }

    /// Its answer in JSON.
    fn lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Fails unless it was refused with these words.
    fn is_refused_with(&self, words: &[&str]) {
        assert_ne!(self.code, 0, "{}", self.stdout);
        for words in words {
            assert!(self.stderr.contains(words), "{words}: {}", self.stderr);
        }
    }
}
