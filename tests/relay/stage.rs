//! Relays as processes that tests break on purpose, and a queue that remembers what it has taken and does what it is told.

use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tempfile::TempDir;
use turnstile::failpoint::Mutant;

use super::*;
use crate::support::program::{self, Loader};
use crate::support::scripted_http::{Asked, Reply, ScriptedHttp, md5_of};

/// For a relay that dies: others carry on soon what it had.
pub(super) const SHORT: [&str; 2] = ["--lease", "1s"];

/// What the queue does with a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Takes,
    /// It is away.
    Away,
    /// It refuses every event for good.
    Refuses,
    /// It takes every other event of a call, and says of the rest that this was its own fault.
    TakesHalf,
}

/// What a queue has taken: by position, how often.
type Taken = Arc<Mutex<BTreeMap<i64, usize>>>;

/// A queue, and the outbox of the database of this URL.
pub(super) struct Stage {
    pub(super) url: String,
    queue: ScriptedHttp,
    mood: Arc<Mutex<Mood>>,
    taken: Taken,
    folder: TempDir,
    /// Kept for as long as this.
    _database: Option<TestDatabase>,
}

impl Stage {
    /// A database of its own with tables in which nothing is.
    pub(super) async fn new() -> (Self, Client) {
        let database = TestDatabase::with_tables().await;
        let (stage, client) = (Self::at(database.url().to_owned()).await, database.client().await);
        (Self { _database: Some(database), ..stage }, client)
    }

    /// The database of this URL, which has its tables.
    pub(super) async fn at(url: String) -> Self {
        let (mood, taken) = (Arc::new(Mutex::new(Mood::Takes)), Taken::default());
        let (now, note) = (mood.clone(), taken.clone());
        let queue = ScriptedHttp::start(move |asked, _| answer(asked, *now.lock().unwrap(), &note)).await;
        let folder = tempfile::tempdir().unwrap();
        program::write_keyring(folder.path());
        Self { url, queue, mood, taken, folder, _database: None }
    }

    pub(super) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// How many sends were asked for.
    pub(super) fn sends(&self) -> usize {
        self.queue.asked("SendMessageBatch").len()
    }

    /// Whether the queue has all of these.
    pub(super) fn has(&self, positions: &[i64]) -> bool {
        let taken = self.taken.lock().unwrap();
        positions.iter().all(|position| taken.contains_key(position))
    }

    /// How many events came more than once.
    pub(super) fn doubled(&self) -> usize {
        self.taken.lock().unwrap().values().filter(|times| **times > 1).count()
    }

    /// How many events are committed that the queue has not taken, and of which nobody says that it refuses them.
    pub(super) async fn lost(&self, client: &Client) -> usize {
        let sql = "SELECT position FROM turnstile.outbox EXCEPT SELECT position FROM turnstile.relay_failures";
        let rows = client.query(sql, &[]).await.unwrap();
        let taken = self.taken.lock().unwrap();
        rows.iter().filter(|row| !taken.contains_key(&row.get(0))).count()
    }

    pub(super) fn command(&self, more: &[&str]) -> Command {
        let mut command = program::command(program::turnstile(), &self.url, &program::keyring_in(self.folder.path()));
        // So long that nothing ends the transaction of one that stands.
        command.args(["relay", "--to", "sqs:events", "--database-timeout", "2m"]).args(more);
        if !more.contains(&"--lease") {
            // Nobody takes over what another has while a test does something in between.
            command.args(["--lease", "60s"]);
        }
        command.env("AWS_ENDPOINT_URL", self.queue.url()).stdout(Stdio::null());
        command
    }

    /// A relay that is this mutant, if any, and that comes to these failpoints, if any.
    pub(super) fn relay(&self, mutant: Option<Mutant>, failpoints: &str, more: &[&str]) -> Loader {
        let mut command = self.command(more);
        command.envs(mutant.map(|mutant| ("TURNSTILE_MUTANT", format!("{mutant:?}"))));
        if !failpoints.is_empty() {
            command.env("TURNSTILE_FAILPOINT", failpoints);
        }
        self.start(command)
    }

    pub(super) fn start(&self, command: Command) -> Loader {
        Loader::start(command, self.folder.path().join("log"))
    }

    /// Lets a relay carry all that is left.
    pub(super) async fn drain(&self, mutant: Option<Mutant>) {
        let relay = self.relay(mutant, "", &["--until-empty"]);
        assert!(relay.ended().await.success());
    }
}

fn answer(asked: &Asked, mood: Mood, taken: &Taken) -> Reply {
    match asked.call.as_str() {
        "GetQueueUrl" => return Reply::json(json!({"QueueUrl": "http://localhost/000000000000/events"})),
        "SendMessageBatch" if mood == Mood::Away => return Reply::error(503, "ServiceUnavailable"),
        "SendMessageBatch" => {}
        _ => return Reply::json(json!({"Attributes": {}})),
    }
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (n, entry) in asked.body["Entries"].as_array().unwrap().iter().enumerate() {
        let body = entry["MessageBody"].as_str().unwrap();
        if mood == Mood::Refuses || (mood == Mood::TakesHalf && n % 2 == 1) {
            let is_senders = mood == Mood::Refuses;
            failed.push(json!({"Id": entry["Id"], "Code": "InvalidMessageContents", "SenderFault": is_senders}));
            continue;
        }
        let event: Value = serde_json::from_str(body).unwrap();
        let position: i64 = event["sequence"].as_str().unwrap().parse().unwrap();
        *taken.lock().unwrap().entry(position).or_default() += 1;
        successful.push(json!({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": md5_of(body.as_bytes())}));
    }
    Reply::json(json!({"Successful": successful, "Failed": failed}))
}

/// Waits until a process stands at the failpoint that stops it.
pub(crate) async fn stands(relay: &Loader) {
    let state = || Command::new("ps").args(["-o", "state=", "-p", &relay.process_id().to_string()]).output().unwrap();
    wait_until("the relay stands at its failpoint", async || state().stdout.starts_with(b"T")).await;
}

/// Lets it go on.
pub(crate) fn go_on(relay: &Loader) {
    kill(Pid::from_raw(relay.process_id().cast_signed()), Signal::SIGCONT).unwrap();
}
