//! A database with Turnstile's tables in it, and messages on their way into it as loaders bring them.

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;
use tokio_postgres::Client;
use turnstile::audit::{Audit, audit};
use turnstile::batch::{Batch, Sorted};
use turnstile::database::Database;
use turnstile::decode::{Form, Rejection};
use turnstile::keyring::Keyring;
use turnstile::mask::MaskKind;
use turnstile::replay::{Replay, Report};
use turnstile::table::dead_letters::Filter;
use turnstile::table::operator_actions::Said;
use turnstile::verdict::{Content, Judge};

use super::loading::{counts, introduce, load, migrate};
use super::postgres::{TestDatabase, connect, pool};
use super::program::{self, keyring_in, write_keyring};
use super::verdicts::{invalid_version, judge, keyring, login, message};

/// What no output may hold: it stands in the body of every message here.
pub(crate) const PRIVATE: [&str; 3] = ["203.0.113.7", "device of", "canary"];

/// How long a call may take where that is not the subject: a loaded machine is no failure.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A database, its keyring, and a loader's judge.
pub(crate) struct Tables {
    pub(crate) url: String,
    pub(crate) database: Database,
    pub(crate) client: Client,
    pub(crate) keyring: Keyring,
    pub(crate) judge: Judge,
    folder: TempDir,
    _test: Option<TestDatabase>,
}

impl Tables {
    /// Tables with nothing in them.
    pub(crate) async fn new() -> Self {
        Self::with_deadline(CALL_TIMEOUT).await
    }

    /// The same, not distributed also where the tests have a cluster.
    pub(crate) async fn of_one_server() -> Self {
        let test = TestDatabase::empty().await;
        migrate(&pool(test.url(), 1, CALL_TIMEOUT)).await;
        let mut tables = Self::at(test.url(), CALL_TIMEOUT).await;
        tables._test = Some(test);
        tables
    }

    /// The same, where a call to the database may take so long.
    pub(crate) async fn with_deadline(call_timeout: Duration) -> Self {
        let test = TestDatabase::with_tables().await;
        let mut tables = Self::at(test.url(), call_timeout).await;
        tables._test = Some(test);
        tables
    }

    /// Whatever stands at this address.
    pub(crate) async fn at(url: &str, call_timeout: Duration) -> Self {
        let (keyring, judge) = (keyring(), judge());
        let (database, client) = (pool(url, 8, call_timeout), connect(url).await);
        let folder = tempfile::tempdir().unwrap();
        write_keyring(folder.path());
        Self { url: url.to_owned(), database, client, keyring, judge, folder, _test: None }
    }

    /// A further connection.
    pub(crate) async fn another_client(&self) -> Client {
        connect(&self.url).await
    }

    /// Where the keyring's file is.
    pub(crate) fn keyring_file(&self) -> PathBuf {
        keyring_in(self.folder.path())
    }

    /// Loads the logins of these users.
    pub(crate) async fn load_logins(&self, users: &[&str]) {
        self.load(users.iter().map(|user| (*user, login(user, "ios"), None))).await;
    }

    /// Dead-letters these bodies.
    pub(crate) async fn load_rejected(&self, letters: &[(&str, &str)]) {
        self.load(letters.iter().map(|(id, body)| (*id, (*body).to_owned(), None))).await;
    }

    /// Dead-letters the logins of these users, as rules would that are no longer in force.
    pub(crate) async fn load_once_rejected(&self, users: &[&str]) {
        self.load(users.iter().map(|user| (*user, login(user, "ios"), Some(invalid_version())))).await;
    }

    async fn load(&self, messages: impl Iterator<Item = (&str, String, Option<Rejection>)>) {
        let verdicts = messages.map(|(id, body, rejection)| {
            let mut verdict = self.judge.judge(message(id, &body, 1));
            if let Some(rejection) = rejection {
                verdict.content = Content::Rejected(rejection, None);
            }
            verdict
        });
        self.load_batch(Sorted::from_verdicts(verdicts, 1).batch).await;
    }

    /// Loads a batch as a lane does; what is refused is dead-lettered at once.
    pub(crate) async fn load_batch(&self, batch: Batch) {
        introduce(&self.database, &self.judge.identifier.identity().to_string()).await;
        let loaded = load(&self.database, batch, 1).await.unwrap();
        assert!(loaded.returned.is_empty() && loaded.released.is_empty());
    }

    /// A replay by `ada` with its keyring.
    pub(crate) fn replay(&self) -> Replay {
        Replay {
            database: self.database.clone(),
            opener: self.keyring.body_opener(),
            sealer: self.keyring.body_sealer(),
            form: Form::Login,
            hash_key: self.keyring.shared_hash_key(),
            masker: self.keyring.masker(MaskKind::Seal),
            said: Said::by("ada"),
        }
    }

    /// Replays all that is open.
    pub(crate) async fn replay_all(&self) -> Report {
        self.replay().run(&Filter::default(), None, |_| {}).await.unwrap()
    }

    /// What the audit says.
    pub(crate) async fn audit(&self) -> Audit {
        audit(&self.database, Duration::from_secs(60), |_| {}).await.unwrap()
    }

    /// Fails unless the promise holds.
    pub(crate) async fn assert_promise(&self) {
        let audit = self.audit().await;
        assert!(audit.holds(), "{:?}", audit.broken);
    }

    /// The rows of the four tables: processed, logins, dead letters, events.
    pub(crate) async fn counts(&self) -> [i64; 4] {
        counts(&self.client).await
    }

    /// What a statement without parameters counts.
    pub(crate) async fn count(&self, what: &str) -> i64 {
        self.client.query_one(&format!("SELECT count(*) FROM {what}"), &[]).await.unwrap().get(0)
    }

    /// Runs the program itself on this database, with this keyring.
    pub(crate) async fn turnstile(&self, arguments: &[&str]) -> Ended {
        let mut command = program::command(program::turnstile(), &self.url, &self.keyring_file());
        command.args(arguments).env("USER", "grace").env("RUST_LOG", "debug");
        let mut command = Command::from(command);
        command.kill_on_drop(true);
        let Output { status, stdout, stderr } = command.output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ended { code: status.code().unwrap(), stdout: text(stdout), stderr: text(stderr) }
    }
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Fails if anything of a body was said.
    pub(crate) fn assert_discreet(&self) {
        for private in PRIVATE {
            assert!(!self.stdout.contains(private) && !self.stderr.contains(private), "{private}: {self:?}");
        }
    }

    /// Fails unless it ended like this and said these things on standard output.
    pub(crate) fn assert_said(&self, code: i32, things: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        things.iter().for_each(|thing| assert!(self.stdout.contains(thing), "{thing:?} in {self:?}"));
    }
}
