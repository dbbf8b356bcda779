//! Dead letters go back to their queue and are loaded as the messages that they were, each once, whatever happens meanwhile.

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use stand_ins::sqs::{Faults, LocalQueue, QueueOptions};
use tokio_postgres::Client;
use turnstile::audit::audit;
use turnstile::message::{Attributes, Identity, MessageId, Original, QueueIdentity, REQUEUED, RawBody};
use turnstile::queue::sqs::{Outgoing, Sender, SqsSettings};

use crate::grants::granted;
use crate::support::postgres::{TestDatabase, connect};
use crate::support::scripted_http::aws_at;
use crate::support::site::{QUEUE, Site};
use crate::support::tables::PRIVATE;
use crate::support::verdicts::{keyring, login};

/// A site whose tables refuse toasters, until [`World::allow`].
struct World {
    site: Site,
    client: Client,
    _test: TestDatabase,
}

impl World {
    async fn new() -> Self {
        Self::of(QueueOptions::new(QUEUE)).await
    }

    async fn of(options: QueueOptions) -> Self {
        let test = TestDatabase::with_tables().await;
        let site = Site::of(options, test.url()).await;
        let client = connect(test.url()).await;
        let refuse = "ALTER TABLE user_logins ADD CONSTRAINT no_toaster CHECK (device_type <> 'toaster')";
        client.batch_execute(refuse).await.unwrap();
        Self { site, client, _test: test }
    }

    async fn allow(&self) {
        self.client.batch_execute("ALTER TABLE user_logins DROP CONSTRAINT no_toaster").await.unwrap();
    }

    /// Sends bodies beside a login that lands, and has a loader dead-letter those that are refused.
    async fn with_letters(&self, bodies: impl IntoIterator<Item = String>, arguments: &[&str]) {
        self.site.send(bodies.into_iter().chain([login("neighbour", "ios")])).await;
        self.load(arguments).await;
    }

    /// A loader until the queue is empty.
    async fn load(&self, arguments: &[&str]) {
        let all = [&["run", "--until-empty", "--max-attempts", "1", "--retry-delay", "0s", "--wait", "1s"], arguments];
        let loader = self.site.start(self.site.command(&all.concat()), "log");
        assert!(loader.ended().await.success(), "{}", std::fs::read_to_string(self.site.log("log")).unwrap());
        assert_eq!(self.site.depth(), 0);
        let log = std::fs::read_to_string(self.site.log("log")).unwrap();
        assert!(PRIVATE.iter().all(|private| !log.contains(private)), "{log}");
    }

    fn turnstile(&self, arguments: &[&str]) -> Output {
        let mut command = self.site.command(&[&["dead-letters"], arguments].concat());
        let output = command.env("USER", "grace").stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        let said = said(&output);
        assert!(PRIVATE.iter().all(|private| !said.contains(private)), "{said}");
        output
    }

    /// `requeue` of all, as JSON; it ends like this.
    fn requeue(&self, code: i32, arguments: &[&str]) -> Value {
        let output = self.turnstile(&[&["requeue", "--yes", "--format", "json"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    async fn column(&self, sql: &str) -> Vec<String> {
        self.client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    async fn letters(&self) -> Vec<String> {
        self.column("SELECT status FROM dead_letters ORDER BY sent_at, message_id").await
    }

    async fn users(&self) -> Vec<String> {
        self.column("SELECT user_id FROM user_logins ORDER BY 1").await
    }

    async fn actions(&self) -> Vec<String> {
        self.column("SELECT concat_ws(' ', action, person) FROM operator_actions ORDER BY id").await
    }

    async fn assert_audit_holds(&self) {
        let audit = audit(&self.site.database(), Duration::from_secs(60), |_| {}).await.unwrap();
        assert!(audit.holds(), "{:?}", audit.broken);
    }
}

fn said(output: &Output) -> String {
    String::from_utf8([output.stdout.clone(), output.stderr.clone()].concat()).unwrap()
}

fn toaster(user: &str) -> String {
    login(user, "toaster")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_that_are_sent_back_are_loaded_as_the_messages_that_they_were_and_once() {
    let world = World::new().await;
    world.with_letters(["a", "c"].map(toaster), &[]).await;
    let before = world.column("SELECT concat(sent_at, message_hash, message_id) FROM dead_letters ORDER BY 1").await;
    assert_eq!(before.len(), 2);
    world.allow().await;

    let said = world.requeue(0, &["--all", "--reason", "toasters log in now"]);
    assert_eq!((&said["sent"], &said["not_sent"]), (&2.into(), &json!({})));
    assert_eq!(world.letters().await, ["open", "open"], "a loader resolves them");
    world.requeue(0, &["--all"]);
    assert_eq!(world.site.depth(), 4);
    world.load(&[]).await;

    assert_eq!(world.users().await, ["a", "c", "neighbour"]);
    assert_eq!(world.letters().await, ["replayed", "replayed"]);
    let after = "SELECT concat(d.sent_at, d.message_hash, d.message_id) FROM dead_letters d
                 JOIN user_logins u ON u.message_hash = d.message_hash AND u.message_sent_at = d.sent_at
                 JOIN outbox o ON o.event_id = d.message_hash
                 JOIN processed_messages p ON p.sent_at = d.sent_at AND p.message_hash = d.message_hash
                 WHERE p.message_id = d.message_id AND p.outcome = 'loaded' ORDER BY 1";
    assert_eq!(world.column(after).await, before);
    assert_eq!(world.column("SELECT message_id FROM processed_messages").await.len(), 3, "they are no new messages");
    let requeued = ["requeued grace"; 4];
    assert_eq!(world.actions().await, [&requeued[..], &["replayed", "replayed"]].concat());
    assert_eq!(world.requeue(0, &["--all"])["sent"], 0);
    let [resolved, _] =
        <[String; 2]>::try_from(world.column("SELECT encode(message_hash, 'hex') FROM dead_letters").await).unwrap();
    let output = world.turnstile(&["requeue", &resolved]);
    assert_eq!(output.status.code(), Some(1), "{}", self::said(&output));
    assert!(
        self::said(&output).contains("a dead letter is replayed already and is not sent"),
        "{}",
        self::said(&output)
    );
    world.assert_audit_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_resolved_while_its_message_is_in_the_queue_stays_as_it_is() {
    let world = World::new().await;
    world.with_letters(["a", "b", "c"].map(toaster), &[]).await;
    world.allow().await;
    world.requeue(0, &["--all"]);
    let hashes =
        world.column("SELECT encode(message_hash, 'hex') FROM dead_letters ORDER BY sent_at, message_id").await;
    let output = world.turnstile(&["discard", "--reason", "a test", &hashes[0]]);
    assert!(output.status.success(), "{}", said(&output));
    let output = world.turnstile(&["replay", &hashes[1]]);
    assert!(output.status.success(), "{}", said(&output));
    world.load(&[]).await;
    assert_eq!(world.letters().await, ["discarded", "replayed", "replayed"]);
    assert_eq!(world.users().await.len(), 3);
    world.assert_audit_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_again_leaves_its_letter_as_it_was() {
    let world = World::new().await;
    world.with_letters([toaster("a"), "no login of canary".to_owned()], &[]).await;
    let state = "SELECT to_jsonb(d)::text FROM dead_letters d ORDER BY message_id";
    let before = world.column(state).await;
    assert_eq!(world.requeue(0, &["--all"])["sent"], 2);
    world.site.send([login("good", "ios")]).await;
    world.load(&[]).await;
    assert_eq!(world.column(state).await, before);
    assert_eq!(world.users().await, ["good", "neighbour"]);
    assert_eq!(world.column("SELECT message_id FROM processed_messages").await.len(), 4);
    world.assert_audit_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_of_its_key_decides_what_becomes_of_a_letter_that_comes_back() {
    let world = World::new().await;
    let identity = ["--identity", "field:/user_id"];
    world.with_letters(["same", "other", "mine"].map(toaster), &identity).await;
    world.allow().await;
    world.site.send([toaster("same"), login("other", "ios")]).await;
    world.load(&identity).await;
    world.requeue(0, &["--all"]);
    world.load(&identity).await;
    let mut letters = world.letters().await;
    letters.sort_unstable();
    assert_eq!(letters, ["absorbed", "open", "replayed"]);
    assert_eq!(world.users().await, ["mine", "neighbour", "other", "same"]);
    let stays = "SELECT d.code || ' ' || p.outcome FROM dead_letters d
                 JOIN processed_messages p USING (sent_at, message_hash) WHERE d.status = 'open'";
    assert_eq!(world.column(stays).await, ["refused_by_database dead_lettered"]);
    world.assert_audit_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_letter_is_sent_as_it_was_tried_last_unless_the_delivered_body_is_asked_for() {
    let world = World::new().await;
    world.with_letters(["a", "b"].map(|user| toaster(user).replace("2.3.1", "2.3-beta")), &[]).await;
    // The table refuses it still: it was tried, and the letter is open.
    let edit = ["--all", "--set", "/app_version", "\"2.3.0\"", "--reason", "a beta", "--yes"];
    assert_eq!(world.turnstile(&[&["replay"], &edit[..]].concat()).status.code(), Some(1));
    world.allow().await;
    world.requeue(0, &["--all", "--as-delivered"]);
    world.load(&[]).await;
    assert_eq!(world.letters().await, ["open", "open"], "a version with a tag is none");
    world.requeue(0, &["--all"]);
    world.load(&[]).await;
    assert_eq!(world.letters().await, ["replayed", "replayed"]);
    assert_eq!(
        world.column("SELECT app_version::text FROM user_logins WHERE device_type = 'toaster'").await,
        ["2003000", "2003000"]
    );
    world.assert_audit_holds().await;
}

/// A message that says that it was sent back: signed by this keyring for this body.
fn outgoing(queue: &QueueIdentity, letter: &str, sent_ms: i64, signed: &str, body: &str) -> Outgoing {
    let identifier = keyring().identifier(Identity::MessageId, queue);
    let sent_at = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(sent_ms) * 1_000_000).unwrap();
    let original = Original { message_id: MessageId::new(letter), sent_at };
    let note = identifier.requeue_note(&original, &RawBody::new(signed), &Attributes::default());
    Outgoing { attributes: vec![(REQUEUED.to_owned(), note.as_str().as_bytes().to_vec())], ..Outgoing::of(body) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_passes_a_body_off_as_that_of_a_dead_letter() {
    let world = World::new().await;
    world.with_letters([toaster("a")], &[]).await;
    world.allow().await;
    let row = world
        .client
        .query_one("SELECT message_id, (extract(epoch FROM sent_at) * 1000)::bigint FROM dead_letters", &[])
        .await
        .unwrap();
    let (letter, sent_ms): (String, i64) = (row.get(0), row.get(1));
    let arn = world.site.queue_identity();
    let settings = SqsSettings::new(QUEUE.parse().unwrap());
    let sender = Sender::connect_with(&settings, "", &aws_at(&world.site.sqs.endpoint())).await.unwrap();
    let genuine = toaster("a");
    let forged = toaster("mallory");
    let strange = QueueIdentity::new("arn:aws:sqs:us-east-1:000000000000:elsewhere");
    let messages = [
        outgoing(&arn, &letter, sent_ms, &genuine, &forged),
        outgoing(&strange, &letter, sent_ms, &genuine, &genuine),
        Outgoing { attributes: vec![(REQUEUED.to_owned(), b"v1 me".to_vec())], ..Outgoing::of(genuine.clone()) },
        Outgoing { attributes: vec![(REQUEUED.to_owned(), vec![0xff, 0xfe])], ..Outgoing::of(genuine.clone()) },
    ];
    assert!(sender.send(&messages).await.unwrap().iter().all(Result::is_ok));
    world.load(&[]).await;
    assert_eq!(world.users().await, ["neighbour"]);
    let codes = "SELECT code || ' ' || status FROM dead_letters ORDER BY 1";
    let forged = ["not_requeued open"; 4];
    assert_eq!(world.column(codes).await, [&forged[..], &["refused_by_database open"]].concat());

    // Neither a replay nor a requeue loads what may be loaded under another name.
    let output = world.turnstile(&["replay", "--code", "not_requeued"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert_eq!(world.requeue(1, &["--code", "not_requeued"])["not_sent"], json!({"may-be-loaded": 4}));
    // The same note with its own body is the letter's.
    let genuine = outgoing(&arn, &letter, sent_ms, &genuine, &genuine);
    assert!(sender.send(&[genuine]).await.unwrap().iter().all(Result::is_ok));
    world.load(&[]).await;
    assert_eq!(world.users().await, ["a", "neighbour"]);
    world.assert_audit_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_has_no_such_letter_takes_its_message_under_the_key_that_it_had() {
    let (here, there) = (World::new().await, World::new().await);
    here.with_letters([toaster("a")], &[]).await;
    there.allow().await;
    here.requeue(0, &["--all"]);
    // The same queue, and other tables.
    let mut command = here.site.command(&["run", "--until-empty", "--wait", "1s"]);
    command.env("DATABASE_URL", &there.site.database_url);
    let loader = here.site.start(command, "log there");
    assert!(loader.ended().await.success());
    let key = "SELECT concat(sent_at, message_hash, message_id) FROM ";
    let elsewhere = there.column(&format!("{key} processed_messages")).await;
    assert_eq!(elsewhere, here.column(&format!("{key} dead_letters")).await);
    assert_eq!((there.users().await, here.letters().await), (vec!["a".to_owned()], vec!["open".to_owned()]));
    there.assert_audit_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fifo_queue_takes_them_back_under_the_ids_of_which_their_keys_are_made() {
    let mut world = World::of(QueueOptions::new("logins.fifo")).await;
    let identity = ["--identity", "attribute:MessageDeduplicationId"];
    world.with_letters(["a", "b"].map(toaster), &identity).await;
    world.allow().await;
    // Within five minutes the queue takes what it has had, and delivers nothing: nothing is lost.
    assert_eq!(world.requeue(0, &["--all"])["sent"], 2);
    assert_eq!((world.site.depth(), world.letters().await), (0, vec!["open".to_owned(), "open".to_owned()]));
    // Another server of the same queue has forgotten them, as this one will have.
    let options = vec![QueueOptions::new("logins.fifo")];
    world.site.sqs = LocalQueue::start(([127, 0, 0, 1], 0).into(), options, Faults::default()).await.unwrap();
    assert_eq!(world.requeue(0, &["--all"])["sent"], 2);
    world.load(&identity).await;
    assert_eq!(world.letters().await, ["replayed", "replayed"]);
    assert_eq!(world.users().await, ["a", "b", "neighbour"]);
    assert_eq!(world.column("SELECT encode(hash, 'hex') FROM identities").await.len(), 3);
    world.assert_audit_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_sent_back_is_said_and_stays_open() {
    let world = World::new().await;
    world.with_letters(["a", "b", "c", "d"].map(toaster), &[]).await;
    let spoil = "WITH n AS (SELECT message_hash, row_number() OVER (ORDER BY message_id) FROM dead_letters)
                 UPDATE dead_letters d SET
                     code = CASE row_number WHEN 1 THEN 'older_than_memory' ELSE code END,
                     sealed_body = CASE row_number WHEN 2 THEN 'main.x' ELSE sealed_body END,
                     message_id = CASE row_number WHEN 3 THEN 'another' ELSE message_id END
                 FROM n WHERE n.message_hash = d.message_hash";
    world.client.execute(spoil, &[]).await.unwrap();
    let said = world.requeue(1, &["--all"]);
    assert_eq!(said["sent"], 1);
    assert_eq!(said["not_sent"], json!({"may-be-loaded": 1, "sealed": 1, "other-message": 1}));
    let text = world.turnstile(&["requeue", "--all", "--yes"]);
    let text = self::said(&text);
    assert!(text.contains("1 not sent, sealed: their bodies do not open with this keyring"), "{text}");

    let asked = world.turnstile(&["requeue", "--all"]);
    assert_eq!(asked.status.code(), Some(1), "{}", self::said(&asked));
    assert!(self::said(&asked).contains("--yes"), "{}", self::said(&asked));

    world
        .client
        .execute("UPDATE dead_letters SET queue = 'arn:aws:sqs:eu-north-1:123456789012:logins'", &[])
        .await
        .unwrap();
    let elsewhere = world.turnstile(&["requeue", "--all", "--yes"]);
    let text = self::said(&elsewhere);
    assert_eq!(elsewhere.status.code(), Some(1), "{text}");
    assert!(text.contains("and the letters are of arn:aws:sqs:eu-north-1:123456789012:logins"), "{text}");
    assert_eq!(world.letters().await, ["open"; 4]);
}

#[tokio::test]
async fn a_loader_cannot_resolve_a_letter_whose_login_is_not_loaded_and_nobody_else_may_try() {
    let (test, roles) = granted().await;
    let owner = connect(test.url()).await;
    let letter = "INSERT INTO processed_messages (sent_at, message_hash, outcome, message_id, body_hash, received_at)
                  VALUES ('2026-01-01Z', sha256('m'), 'dead_lettered', 'm', sha256('b'), now());
                  INSERT INTO dead_letters (sent_at, sent_timestamp, message_hash, code, detail, sealed_body, message_id, receive_count, received_at, queue)
                  VALUES ('2026-01-01Z', '2026-01-01Z', sha256('m'), 'invalid_json', 'x', 'x', 'm', 1, now(), 'q')";
    owner.batch_execute(letter).await.unwrap();
    let loader = connect(&roles.loader_url).await;
    let resolve = "SELECT turnstile.resolve_requeued(ARRAY[sha256('m')], ARRAY['2026-01-01Z'::timestamptz])";
    let resolved: i64 = loader.query_one(resolve, &[]).await.unwrap().get(0);
    assert_eq!(resolved, 0, "the claim says dead_lettered");
    let take = "SELECT * FROM turnstile.take_requeued(ARRAY[sha256('m')], ARRAY['2026-01-01Z'::timestamptz])";
    assert_eq!(loader.query(take, &[]).await.unwrap().len(), 1);
    let resolved: i64 = loader.query_one(resolve, &[]).await.unwrap().get(0);
    assert_eq!(resolved, 0, "there is no row");
    let status: String = owner.query_one("SELECT status FROM dead_letters", &[]).await.unwrap().get(0);
    assert_eq!(status, "open");
    let read = "SELECT * FROM turnstile.requeue_letters(ARRAY[sha256('m')], ARRAY['2026-01-01Z'::timestamptz], true)";
    let refused = loader.query(read, &[]).await.unwrap_err();
    assert_eq!(refused.code().map(|code| code.code()), Some("42501"));
    let operator = connect(&roles.operator_url).await;
    assert_eq!(operator.query(read, &[]).await.unwrap().len(), 1);
    for statement in [resolve, take] {
        let refused = operator.query(statement, &[]).await.unwrap_err();
        assert_eq!(refused.code().map(|code| code.code()), Some("42501"), "{statement}");
    }
    roles.drop().await;
}
