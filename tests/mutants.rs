//! The checker is able to fail: it finds every mutant of the promise, where it finds nothing wrong with the program.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use nix::sys::signal::Signal;
use turnstile::audit::comparison::Discrepancies;
use turnstile::audit::journal::Kind;
use turnstile::failpoint::Mutant;

use crate::postgresql::failover::{CancelledWaits, messages_lost_by_cancelled_waits};
use crate::support::evidence::survived;
use crate::support::postgres::TestDatabase;
use crate::support::proxy::{Cut, Kind as Request, Moment, PostgresProxy};
use crate::support::site::Site;
use crate::support::verdicts::login;

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
}

const REFUSE: &str = "ALTER TABLE user_logins ADD CONSTRAINT refused CHECK (device_type <> 'refused')";

/// Lets a loader meet the trouble, lets one drain the queue after it, and compares.
async fn discrepancies_after(trouble: Trouble, mutant: Option<Mutant>) -> Discrepancies {
    let database = TestDatabase::empty().await;
    let proxy = PostgresProxy::before(database.url()).await;
    let site = Site::at(proxy.url()).await;
    let client = database.client().await;
    let refused = |kind| [(login("refused", "refused"), kind)].into_iter();
    match trouble {
        Trouble::Malformed => site.fill(10, 3),
        Trouble::AbortAt(edge) => {
            site.fill(10, 0);
            abort_at(&site, edge, mutant).await;
        }
        Trouble::RefusalUntilAbortAt(edge) => {
            client.batch_execute(REFUSE).await.unwrap();
            site.fill_with(refused(Kind::Login));
            abort_at(&site, edge, mutant).await;
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
            let mut left = 1;
            proxy.arm(move |asked| {
                let strikes = asked.kind == Request::Commit && left > 0;
                left -= i32::from(strikes);
                strikes.then_some(Cut::at(Moment::Before))
            });
        }
    }
    let status = site.start(loader(&site, mutant), "log").ended().await;
    assert!(status.success(), "{mutant:?}: {status}");
    if matches!(trouble, Trouble::CutBeforeCommit) {
        assert_eq!(proxy.strikes(), 1, "{mutant:?}: the commit was not cut off");
    }
    assert_eq!(site.depth(), 0, "{mutant:?}: the queue is not drained");
    site.discrepancies().await
}

/// A loader that dead-letters at once, so that what a mutant does wrong is not put off.
fn loader(site: &Site, mutant: Option<Mutant>) -> Command {
    let mut command = site.command(&["run", "--until-empty", "--lanes", "1", "--wait", "1s", "--max-attempts", "1"]);
    command.env("TURNSTILE_VISIBILITY_TIMEOUT", "2s");
    if let Some(mutant) = mutant {
        command.env("TURNSTILE_MUTANT", format!("{mutant:?}"));
    }
    command
}

async fn abort_at(site: &Site, edge: &str, mutant: Option<Mutant>) {
    let mut command = loader(site, mutant);
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
