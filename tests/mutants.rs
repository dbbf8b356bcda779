//! The checker is able to fail: it finds every mutant of the promise, where it finds nothing wrong with the program.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use turnstile::audit::comparison::Discrepancies;
use turnstile::audit::journal::Kind;
use turnstile::failpoint::Mutant;

use crate::postgresql::failover::{CancelledWaits, messages_lost_by_cancelled_waits};
use crate::support::evidence::survived;
use crate::support::idleness::{Look, longest_idleness};
use crate::support::postgres::{TestDatabase, block_claims};
use crate::support::program::Loader;
use crate::support::proxy::{Cut, Ending, Kind as Request, Moment, PostgresProxy, Side};
use crate::support::scripted_http::{Reply, ScriptedHttp, md5_of};
use crate::support::site::{QUEUE, Site};
use crate::support::verdicts::login;
use crate::support::wait_until;

/// What repeats the evidence of this module.
const COMMAND: &str = "cargo test --features failpoints --test main mutants::";

/// What makes a mutant visible; also run without it.
#[derive(Clone, Copy)]
enum Trouble {
    /// Nothing goes wrong but the messages themselves.
    Malformed,
    /// The process aborts at this edge, and another goes on.
    AbortAt(&'static str),
    /// The database refuses one login for a while, and the process aborts at this edge before it is mended.
    RefusalUntilAbortAt(&'static str),
    /// The database refuses one login.
    Refusal,
    /// The connection is cut before COMMIT reaches the server.
    CutBeforeCommit,
    /// A login comes when the scheme finds no key in it, comes again when another does, and is sent again then.
    KeyFoundLater,
    /// Two messages bring the same login under one key.
    Twins,
    /// Two messages bring different logins under one key.
    Contradiction,
    /// The database refuses one login for a while, and it is sent again after that.
    SentAgainAfterRefusal,
    /// The process aborts before it deletes, and another goes on by another scheme.
    SchemeChanged,
    /// The sequence of the events is set back, and mended when the loader has ended.
    SequenceOutOfStep,
    /// A trigger refuses one login with a code of no class.
    TriggerThatRaises,
}

impl Trouble {
    /// The scheme of the loader at the end.
    fn identity(self) -> &'static str {
        match self {
            Self::Malformed
            | Self::AbortAt(_)
            | Self::RefusalUntilAbortAt(_)
            | Self::Refusal
            | Self::CutBeforeCommit
            | Self::SchemeChanged
            | Self::SequenceOutOfStep
            | Self::TriggerThatRaises => "message-id",
            Self::KeyFoundLater | Self::Twins | Self::Contradiction | Self::SentAgainAfterRefusal => BY_USER,
        }
    }
}

const BY_USER: &str = "field:/user_id";

const RAISE: &str = "CREATE FUNCTION raise() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                         IF NEW.device_type = 'refused' THEN RAISE 'no'; END IF; RETURN NEW; END $$;
                     CREATE TRIGGER raise BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION raise()";
const MEND_SEQUENCE: &str = "SELECT setval('outbox_position_seq', (SELECT max(position) FROM outbox))";
const REFUSE: &str = "ALTER TABLE user_logins ADD CONSTRAINT refused CHECK (device_type <> 'refused')";

/// Lets a loader meet the trouble, lets one drain the queue after it, and compares.
async fn discrepancies_after(trouble: Trouble, mutant: Option<Mutant>) -> Discrepancies {
    let database = TestDatabase::with_tables().await;
    let proxy = PostgresProxy::before(database.url()).await;
    let site = Site::at(proxy.url()).await;
    let client = database.client().await;
    let refused = |kind| [(login("refused", "refused"), kind)].into_iter();
    match trouble {
        Trouble::Malformed => site.fill(10, 3),
        Trouble::AbortAt(edge) => {
            site.fill(10, 0);
            abort_at(&site, edge, "message-id", mutant).await;
        }
        Trouble::RefusalUntilAbortAt(edge) => {
            client.batch_execute(REFUSE).await.unwrap();
            site.fill_with(refused(Kind::Login));
            abort_at(&site, edge, "message-id", mutant).await;
            client.batch_execute("ALTER TABLE user_logins DROP CONSTRAINT refused").await.unwrap();
        }
        Trouble::Refusal => {
            client.batch_execute(REFUSE).await.unwrap();
            site.fill(10, 0);
            // A login that the database refuses for good ends as a dead letter, as what is malformed does.
            site.fill_with(refused(Kind::Malformed));
        }
        Trouble::CutBeforeCommit => {
            site.fill(10, 0);
            // The first commit after rows: a loader commits what it says of its queue before.
            let (mut left, mut has_rows) = (1, false);
            proxy.arm(move |asked| {
                has_rows |= asked.kind == Request::CopyData;
                let strikes = asked.kind == Request::Commit && has_rows && left > 0;
                left -= i32::from(strikes);
                strikes.then_some(Cut::at(Moment::Before))
            });
        }
        Trouble::KeyFoundLater => {
            site.fill_keyed([one_login(Kind::Malformed)]);
            abort_at(&site, "delete.before:1", "field:/nothing", mutant).await;
            site.fill_keyed([one_login(Kind::Login)]);
            // In one batch, the first one first.
            wait_until("both can be received", async || site.sqs.stats(QUEUE).unwrap().visible == 2).await;
        }
        Trouble::Twins => site.fill_keyed([one_login(Kind::Login), one_login(Kind::Login)]),
        Trouble::Contradiction => {
            let of = |device: &str| ("somebody".to_owned(), login("somebody", device), Kind::Contradicting);
            site.fill_keyed([of("ios"), of("android")]);
        }
        Trouble::SentAgainAfterRefusal => {
            client.batch_execute(REFUSE).await.unwrap();
            site.fill(10, 0);
            let refused = |kind| [("refused".to_owned(), login("refused", "refused"), kind)];
            site.fill_keyed(refused(Kind::Malformed));
            drain(&site, BY_USER, mutant).await;
            client.batch_execute("ALTER TABLE user_logins DROP CONSTRAINT refused").await.unwrap();
            site.fill_keyed(refused(Kind::Login));
        }
        Trouble::SchemeChanged => {
            site.fill(10, 0);
            abort_at(&site, "delete.before:1", BY_USER, mutant).await;
        }
        Trouble::SequenceOutOfStep => {
            // More than all attempts together get past.
            site.fill(500, 0);
            drain(&site, "message-id", mutant).await;
            site.fill(10, 0);
            // While a loader is at work: one that begins looks at it.
            let mut blocker = database.client().await;
            let lock = block_claims(&mut blocker).await;
            let at_work = site.start(loader(&site, "message-id", mutant), "log");
            wait_until("a loader waits for its claims", async || waits_for_a_lock(&client).await).await;
            client.batch_execute("ALTER SEQUENCE outbox_position_seq RESTART").await.unwrap();
            lock.rollback().await.unwrap();
            let status = at_work.ended().await;
            assert!(mutant.is_some() || status.code() == Some(1), "it goes on: {status}");
            client.query(MEND_SEQUENCE, &[]).await.unwrap();
        }
        Trouble::TriggerThatRaises => {
            client.batch_execute(RAISE).await.unwrap();
            site.fill(10, 0);
            site.fill_with(refused(Kind::Malformed));
        }
    }
    let status = drain_if_it_can(&site, trouble.identity(), mutant).await;
    if matches!(trouble, Trouble::TriggerThatRaises) && mutant.is_some() {
        // For ever: its messages are lost when the queue's retention ends.
        assert_eq!(status.code(), Some(1), "{mutant:?} went on");
        return site.discrepancies().await;
    }
    assert!(status.success(), "{mutant:?}: {status}");
    if matches!(trouble, Trouble::CutBeforeCommit) {
        assert_eq!(proxy.strikes(), 1, "{mutant:?}: the commit was not cut off");
    }
    assert_eq!(site.depth(), 0, "{mutant:?}: the queue is not drained");
    site.discrepancies().await
}

async fn waits_for_a_lock(client: &Client) -> bool {
    let sql = "SELECT FROM pg_stat_activity WHERE application_name = 'turnstile' AND datname = current_database()
               AND wait_event_type = 'Lock'";
    !client.query(sql, &[]).await.unwrap().is_empty()
}

/// A login, under the key of its user.
fn one_login(kind: Kind) -> (String, String, Kind) {
    ("somebody".to_owned(), login("somebody", "ios"), kind)
}

async fn drain_if_it_can(site: &Site, identity: &str, mutant: Option<Mutant>) -> ExitStatus {
    site.start(loader(site, identity, mutant), "log").ended().await
}

async fn drain(site: &Site, identity: &str, mutant: Option<Mutant>) {
    let status = drain_if_it_can(site, identity, mutant).await;
    assert!(status.success(), "{mutant:?}: {status}");
}

/// A loader that dead-letters at once, so that what a mutant does wrong is not put off.
fn loader(site: &Site, identity: &str, mutant: Option<Mutant>) -> Command {
    let mut command = site.command(&["run", "--until-empty", "--lanes", "1", "--wait", "1s", "--max-attempts", "1"]);
    command.args(["--identity", identity]);
    command.env("TURNSTILE_VISIBILITY_TIMEOUT", "2s");
    if let Some(mutant) = mutant {
        command.env("TURNSTILE_MUTANT", format!("{mutant:?}"));
    }
    command
}

async fn abort_at(site: &Site, edge: &str, identity: &str, mutant: Option<Mutant>) {
    let mut command = loader(site, identity, mutant);
    command.env("TURNSTILE_FAILPOINT", edge);
    let status = site.start(command, "aborted").ended().await;
    assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "{mutant:?} did not abort at {edge}");
}

/// Fails unless the checker finds the mutant in what it found with it, and nothing without it.
async fn assert_found(mutant: Mutant, trouble: Trouble, found_in: impl Fn(Discrepancies) -> u64) {
    let (with, without) = tokio::join!(discrepancies_after(trouble, Some(mutant)), discrepancies_after(trouble, None));
    assert!(without.none(), "the checker finds something without {mutant:?}: {without}");
    assert!(found_in(with) > 0, "the checker does not find {mutant:?}: {with}");
    survived(&format!("mutant {mutant:?} is found by the checker"), 1, COMMAND);
}

#[tokio::test]
async fn deleting_before_the_commit_is_found() {
    assert_found(Mutant::DeleteBeforeCommit, Trouble::AbortAt("claim.before:1"), |found| found.lost).await;
}

#[tokio::test]
async fn claiming_in_an_earlier_transaction_is_found() {
    assert_found(Mutant::ClaimInAnEarlierTransaction, Trouble::AbortAt("rows.before:1"), |found| found.lost).await;
}

#[tokio::test]
async fn claiming_in_a_later_transaction_is_found() {
    let trouble = Trouble::RefusalUntilAbortAt("claim.before:1");
    assert_found(Mutant::ClaimInALaterTransaction, trouble, |found| found.doubled).await;
}

#[tokio::test]
async fn taking_an_ambiguous_commit_as_committed_is_found() {
    assert_found(Mutant::AmbiguousCommitTakenAsCommitted, Trouble::CutBeforeCommit, |found| found.lost).await;
}

#[tokio::test]
async fn dead_lettering_an_ambiguous_commit_is_found() {
    assert_found(Mutant::AmbiguousCommitDeadLettered, Trouble::CutBeforeCommit, |found| found.misrouted).await;
}

#[tokio::test]
async fn dead_lettering_the_neighbours_of_a_refused_row_is_found() {
    assert_found(Mutant::BatchErrorDeadLettersNeighbours, Trouble::Refusal, |found| found.misrouted).await;
}

#[tokio::test]
async fn deleting_without_a_dead_letter_is_found() {
    assert_found(Mutant::DeleteWithoutDeadLetter, Trouble::Malformed, |found| found.lost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_verifying_a_commit_is_found() {
    let mutant = [("TURNSTILE_MUTANT", "CommitNotVerified")];
    let CancelledWaits { lost, .. } = messages_lost_by_cancelled_waits(&mutant).await;
    assert!(lost > 0, "the checker does not find CommitNotVerified");
    survived("mutant CommitNotVerified is found by the checker", 1, COMMAND);
}

#[tokio::test]
async fn claiming_keys_for_messages_that_were_recorded_before_is_found() {
    assert_found(Mutant::KeysOfRepeatedMessages, Trouble::KeyFoundLater, |found| found.lost).await;
}

#[tokio::test]
async fn taking_both_of_two_twins_for_the_first_is_found() {
    assert_found(Mutant::TwinsTakenForNew, Trouble::Twins, |found| found.doubled).await;
}

#[tokio::test]
async fn a_key_that_stays_with_a_refused_row_is_found() {
    assert_found(Mutant::RefusedLetterKeepsItsKey, Trouble::SentAgainAfterRefusal, |found| found.lost).await;
}

#[tokio::test]
async fn absorbing_another_login_inside_a_batch_is_found() {
    assert_found(Mutant::ContradictionInABatchAbsorbed, Trouble::Contradiction, |found| found.lost).await;
}

#[tokio::test]
async fn claims_of_two_schemes_that_never_meet_are_found() {
    assert_found(Mutant::ClaimUnderTheKey, Trouble::SchemeChanged, |found| found.unexpected).await;
}

#[tokio::test]
async fn taking_every_constraint_for_a_messages_fault_is_found() {
    assert_found(Mutant::ClassBySqlstateAlone, Trouble::SequenceOutOfStep, |found| found.misrouted).await;
}

#[tokio::test]
async fn stopping_for_whatever_a_trigger_raises_is_found() {
    assert_found(Mutant::ClassBySqlstateAlone, Trouble::TriggerThatRaises, |found| found.lost).await;
}

/// After how long a loader counts as stuck here: whatever this program waits for takes less.
const STUCK_HERE: Duration = Duration::from_secs(25);

/// How long nothing got on behind a loader that is gone for its server's machine as little as for the server: it hangs in
/// the middle of a COPY, and another one has its messages.
async fn idleness_behind_a_frozen_rival(mutant: Option<Mutant>) -> Duration {
    let database = TestDatabase::with_tables().await;
    let site = Site::at(database.url()).await;
    let proxy = PostgresProxy::before(database.url()).await;
    let silent = Cut { moment: Moment::Middle, side: Side::Client(Duration::from_secs(600)), ending: Ending::Close };
    proxy.arm(move |asked| (asked.kind == Request::CopyData).then_some(silent));
    let start = |name: &str, url: &str| {
        let mut command = site.command(&["run", "--lanes", "1", "--batch-size", "50", "--wait", "1s"]);
        command.args(["--database-timeout", "2s"]).env("DATABASE_URL", url).env("TURNSTILE_VISIBILITY_TIMEOUT", "2s");
        command.envs(mutant.map(|mutant| ("TURNSTILE_MUTANT", format!("{mutant:?}"))));
        site.start(command, name)
    };
    site.fill(100, 0);
    let frozen = start("frozen", proxy.url());
    wait_until("a loader hangs in a COPY", async || proxy.strikes() > 0).await;
    frozen.kill();
    let rival = start("rival", database.url());
    let until = CancellationToken::new();
    let look = || Look { has_more: true, deleted: site.sqs.served().deleted };
    let feed = async {
        while !until.is_cancelled() {
            if site.sqs.stats(QUEUE).unwrap().visible < 50 {
                site.fill(50, 0);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let watch = async {
        // Until the messages of the frozen one have come again and were loaded, or nobody gets on.
        let idleness = longest_idleness(look, database.url(), STUCK_HERE, &until);
        let ended = tokio::time::timeout(2 * STUCK_HERE, idleness).await;
        until.cancel();
        ended
    };
    let (longest, ()) = tokio::join!(watch, feed);
    match longest {
        Ok(longest) => longest,
        Err(_) => {
            rival.terminate();
            assert!(rival.ended().await.success());
            drain(&site, "message-id", None).await;
            let discrepancies = site.discrepancies().await;
            assert!(discrepancies.none(), "{discrepancies}");
            Duration::ZERO
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_frozen_rival_for_ever_is_found() {
    let mutant = Mutant::WaitForEver;
    let (with, without) =
        tokio::join!(idleness_behind_a_frozen_rival(Some(mutant)), idleness_behind_a_frozen_rival(None));
    assert!(without < STUCK_HERE, "stuck without {mutant:?}: {without:?}");
    assert!(with >= STUCK_HERE, "{mutant:?} is not stuck: {with:?}");
    survived(&format!("mutant {mutant:?} is found by the checker"), 1, COMMAND);
}

/// A queue that denies every delete, and delivers the same messages over and over.
async fn queue_without_deletes() -> ScriptedHttp {
    ScriptedHttp::start(|asked, _| match asked.call.as_str() {
        "GetQueueUrl" => Reply::json(json!({"QueueUrl": "http://q/000000000000/logins"})),
        "ReceiveMessage" => {
            let messages = (0..10).map(|n| {
                let body = login(&format!("user {n}"), "ios");
                json!({"MessageId": format!("m{n}"), "ReceiptHandle": format!("receipt {n}"), "MD5OfBody": md5_of(body.as_bytes()),
                    "Body": body, "Attributes": {"SentTimestamp": "1700000000123", "ApproximateReceiveCount": "1"}})
            });
            Reply::json(json!({"Messages": messages.collect::<Vec<_>>()}))
        }
        "DeleteMessageBatch" => Reply::error(403, "AccessDeniedException"),
        _ => Reply::json(json!({"Attributes": {}})),
    })
    .await
}

/// The loader, and for how long it got nothing out of the queue until it ended or was stuck.
async fn idleness_without_deletes(mutant: Option<Mutant>) -> (Option<ExitStatus>, Duration) {
    /// The loader is as patient as half a minute.
    const STUCK_HERE: Duration = Duration::from_secs(45);
    let database = TestDatabase::with_tables().await;
    let site = Site::at(database.url()).await;
    let queue = queue_without_deletes().await;
    let mut command = loader(&site, "message-id", mutant);
    command.env("AWS_ENDPOINT_URL", queue.url());
    let mut loader: Loader = site.start(command, "log");
    let until = CancellationToken::new();
    let ending = async {
        let ended = loader.ends_within(2 * STUCK_HERE).await;
        until.cancel();
        ended
    };
    let look = || Look { has_more: true, deleted: 0 };
    let watch = async { longest_idleness(look, database.url(), STUCK_HERE, &until).await };
    tokio::select! {
        ended = ending => (ended, Duration::ZERO),
        longest = watch => (None, longest),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taking_refused_deletes_as_done_is_found() {
    let mutant = Mutant::RefusedDeletesTakenAsDone;
    let (with, without) = tokio::join!(idleness_without_deletes(Some(mutant)), idleness_without_deletes(None));
    let (ended, _) = without;
    assert_eq!(ended.and_then(|status| status.code()), Some(1), "the loader ends and says why");
    let (ended, idle) = with;
    assert!(ended.is_none() && idle > Duration::ZERO, "{mutant:?} is not stuck: {ended:?}");
    survived(&format!("mutant {mutant:?} is found by the checker"), 1, COMMAND);
}
