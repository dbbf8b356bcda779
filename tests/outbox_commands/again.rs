//! Events that an operator has carried again: those that a sink refuses, and ranges.

use std::fs::File;
use std::io::Write as _;

use nix::pty::openpty;
use turnstile::relay::again::{Bound, plan, replay};

use super::*;
use crate::support::postgres::pool;
use crate::support::program::Loader;
use crate::support::wait_until;

const FAILURES: [&str; 2] = ["outbox", "failures"];

impl Outbox {
    fn fail(&self, arguments: &[&str]) -> Ended {
        self.run(&[&FAILURES, arguments].concat())
    }
}

#[tokio::test]
async fn refused_events_are_listed_by_what_they_are_and_without_a_value() {
    let outbox = Outbox::new().await;
    outbox.write(10).await;
    outbox.drain("files");
    assert!(outbox.fail(&["list"]).stdout.contains("no refused events"));
    outbox.refuse("files", &[3, 4], "set_aside").await;
    outbox.refuse("files", &[5], "discarded").await;
    outbox.refuse("others", &[3], "waiting").await;
    outbox.execute("UPDATE relay_failures SET code = 'TooLarge' WHERE position = 4").await;
    let listed = |arguments: &[&str]| {
        let ended = outbox.fail(&[&["list", "--format", "json"], arguments].concat());
        let of = |line: &Value| (line["sink"].as_str().unwrap().to_owned(), line["position"].as_i64().unwrap());
        ended.lines().iter().map(of).collect::<Vec<_>>()
    };
    let is = |sink: &str, positions: &[i64]| positions.iter().map(|at| (sink.to_owned(), *at)).collect::<Vec<_>>();
    assert_eq!(listed(&[]).len(), 4);
    assert_eq!(listed(&["--sink", "files"]), is("files", &[3, 4, 5]));
    assert_eq!(listed(&["--status", "set_aside"]), is("files", &[3, 4]));
    assert_eq!(listed(&["--code", "TooLarge"]), is("files", &[4]));
    assert_eq!(listed(&["--sink", "files", "--limit", "1"]), is("files", &[3]));
    let line = outbox.fail(&["list", "--code", "TooLarge", "--format", "json"]).lines()[0].clone();
    let keys: Vec<&String> = line.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["attempts", "code", "event_id", "next_at", "position", "since", "sink", "status"]);
    assert_eq!(line["event_id"], outbox.id(4).await);

    let table = outbox.fail(&["list", "--limit", "3"]).stdout;
    assert!(table.lines().next().unwrap().starts_with("sink "), "{table}");
    assert!(table.contains(&outbox.id(3).await[..12]) && table.contains("set aside"), "{table}");
    assert!(table.contains("the first 3 of 4"), "{table}");
    outbox.fail(&["list", "--status", "lost"]).is_refused_with(&["--status: \"lost\""]);
}

#[tokio::test]
async fn a_retried_event_is_carried_by_the_next_relay_and_what_cannot_be_retried_is_told() {
    let outbox = Outbox::new().await;
    outbox.write(10).await;
    outbox.drain("files");
    outbox.refuse("files", &[2, 3], "set_aside").await;
    outbox.refuse("files", &[4], "discarded").await;
    outbox.refuse("files", &[5], "waiting").await;
    outbox.refuse("files", &[6], "set_aside").await;
    let ids = [outbox.id(2).await, outbox.id(4).await, outbox.id(5).await, outbox.id(6).await];
    // As if its partition were pruned.
    outbox.execute("DELETE FROM outbox WHERE position = 6").await;
    let [set_aside, discarded, waiting, gone] = &ids;

    let ended = outbox.fail(&["retry", &set_aside[..8], discarded, waiting, gone]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let said: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(said[0], "2 events are to be tried again");
    assert_eq!(said[1], format!("{waiting} (position 5, sink files) is tried again already"));
    assert_eq!(said[2], format!("{gone} (position 6, sink files) is gone from the outbox"));
    let expected =
        [(2, "waiting", 1), (3, "set_aside", 10), (4, "waiting", 1), (5, "waiting", 10), (6, "set_aside", 10)];
    assert_eq!(outbox.failures().await, expected.map(|(at, status, attempts)| (at, status.to_owned(), attempts)));

    outbox.execute("DELETE FROM relay_failures WHERE position = 5").await;
    assert_eq!(outbox.drain("files"), [2, 4]);
    assert_eq!(outbox.failures().await.iter().map(|(at, ..)| *at).collect::<Vec<_>>(), [3, 6]);

    outbox.fail(&["retry", "01234567"]).is_refused_with(&["no refused event's id starts with 01234567"]);
    outbox.fail(&["retry", "0123"]).is_refused_with(&["\"0123\" is not an event id"]);
    outbox.fail(&["retry"]).is_refused_with(&["nothing says which events are meant"]);
    outbox.fail(&["retry", "--all"]).is_refused_with(&["--sink NAME"]);
}

#[tokio::test]
async fn all_that_a_sink_has_set_aside_are_changed_after_a_question_and_nothing_else() {
    let outbox = Outbox::new().await;
    outbox.write(10).await;
    outbox.drain("files");
    outbox.refuse("files", &[1, 2], "set_aside").await;
    outbox.refuse("files", &[3], "discarded").await;
    outbox.refuse("others", &[4], "set_aside").await;
    outbox.execute("UPDATE relay_failures SET code = 'TooLarge' WHERE position = 2").await;
    let of = |status: [&str; 4]| {
        let expected = [1, 2, 3, 4].into_iter().zip(status);
        expected.map(|(at, status)| (at, status.to_owned())).collect::<Vec<(i64, String)>>()
    };
    let now = async || outbox.failures().await.into_iter().map(|(at, status, _)| (at, status)).collect::<Vec<_>>();
    outbox
        .fail(&["discard", "--all", "--sink", "files"])
        .is_refused_with(&["discard 2 events that the sink files has set aside?", "add --yes"]);
    assert_eq!(now().await, of(["set_aside", "set_aside", "discarded", "set_aside"]));

    let ended = outbox.fail(&["discard", "--all", "--sink", "files", "--code", "TooLarge", "--yes"]);
    assert_eq!((ended.code, ended.stdout.trim()), (0, "1 event is discarded"));
    assert_eq!(now().await, of(["set_aside", "discarded", "discarded", "set_aside"]));
    let ended = outbox.fail(&["retry", "--all", "--sink", "files", "--yes", "--format", "json"]);
    let report = serde_json::json!({"changed": 1, "status": "to be tried again", "unchanged": []});
    assert_eq!((ended.code, &ended.lines()[0]), (0, &report));
    assert_eq!(now().await, of(["waiting", "discarded", "discarded", "set_aside"]));
    let again = outbox.fail(&["discard", &outbox.id(2).await]);
    assert_eq!(again.code, 1);
    assert!(again.stdout.contains("is discarded already"), "{}", again.stdout);
    // Where nothing is meant, nobody need be asked.
    assert_eq!(outbox.fail(&["retry", "--all", "--sink", "files"]).code, 0);
}

#[tokio::test]
async fn what_is_discarded_while_a_relay_tries_it_stays_so_and_a_discarded_one_of_an_ordered_sink_too() {
    let outbox = Outbox::new().await;
    outbox.write(3).await;
    outbox.drain("files");
    outbox.refuse("files", &[2], "discarded").await;
    outbox.execute("UPDATE relay_sinks SET ordered = true").await;
    let ended = outbox.fail(&["retry", &outbox.id(2).await]);
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains("the sink keeps order"), "{}", ended.stdout);

    use turnstile::table::relay_failures::{Failure, Retrying, refused_again};
    let database = pool(outbox.test.url(), 1, std::time::Duration::from_secs(10));
    let event_id = outbox.id(2).await.parse().unwrap();
    let failure = Failure { position: 2, event_id, code: "Later".to_owned() };
    let retrying = Retrying { most_attempts: 3, pause: std::time::Duration::ZERO };
    let note =
        async |transaction: &_| refused_again(transaction, "files", std::slice::from_ref(&failure), retrying).await;
    database.transaction(note).await.unwrap();
    assert_eq!(outbox.failures().await, [(2, "discarded".to_owned(), 10)]);
}

/// A question on a terminal, and the answer; gives the exit code and what is asked.
fn asked(outbox: &Outbox, arguments: &[&str], answer: &str) -> (i32, String) {
    let terminal = openpty(None, None).unwrap();
    let mut command = outbox.command(arguments);
    let child = command.stdin(terminal.slave).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(command);
    let mut keyboard = File::from(terminal.master);
    keyboard.write_all(answer.as_bytes()).unwrap();
    let ended = Ended::of(child.wait_with_output().unwrap());
    (ended.code, ended.stderr)
}

#[tokio::test]
async fn a_range_is_carried_again_with_the_same_ids_once_somebody_has_said_yes() {
    let outbox = Outbox::new().await;
    outbox.write(2_500).await;
    let first = outbox.run(&["relay", "--to", "stdout:", "--sink", "files", "--until-empty"]);
    let range = ["outbox", "replay", "--sink", "files", "--from", "101", "--to", "2300"];
    outbox.run(&range).is_refused_with(&["carry 2,200 events at the positions 101 to 2300", "again?", "add --yes"]);
    let (code, question) = asked(&outbox, &range, "n\n");
    assert_eq!(code, 1);
    assert!(question.contains("Its consumers will see them again, with the same ids. [y/N]"), "{question}");
    assert_eq!(outbox.drain("files"), [0_i64; 0]);

    assert_eq!(asked(&outbox, &range, "y\n").0, 0);
    let chunks = "SELECT first_position, last_position, owner, leased_until <= now() FROM relay_chunks ORDER BY 1";
    let chunks = outbox.client.query(chunks, &[]).await.unwrap();
    let chunks: Vec<(i64, i64, Option<String>, bool)> =
        chunks.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    assert_eq!(chunks, [(101, 1100, None, true), (1101, 2100, None, true), (2101, 2300, None, true)]);
    assert!(outbox.run(&["outbox", "status"]).stdout.contains("nobody"));
    let again = outbox.run(&["relay", "--to", "stdout:", "--sink", "files", "--until-empty"]);
    let mut lines: Vec<&str> = again.stdout.lines().collect();
    let mut expected: Vec<&str> = first
        .stdout
        .lines()
        .filter(|line| (101..=2300).contains(&position(&serde_json::from_str(line).unwrap())))
        .collect();
    lines.sort_unstable();
    expected.sort_unstable();
    assert!(lines == expected, "the same bytes, and no others");
    assert_eq!(outbox.status("files")["chunks"], serde_json::json!([]));
}

#[tokio::test]
async fn a_range_of_time_is_that_of_its_events_and_ends_at_the_frontier() {
    let outbox = Outbox::new().await;
    outbox.write(30).await;
    outbox
        .execute("UPDATE outbox SET created_at = '2026-01-31 08:00Z'::timestamptz + position * interval '1 minute'")
        .await;
    outbox.drain("files");
    outbox.write(5).await;
    let replay = |from: &str, to: &str| {
        outbox.run(&["outbox", "replay", "--sink", "files", "--from", from, "--to", to, "--yes", "--format", "json"])
    };
    let ended = replay("2026-01-31T08:10:00Z", "2026-01-31T08:12:30Z");
    let expected = serde_json::json!({"sink": "files", "first": 10, "last": 12, "events": 3, "chunks": 1, "ends_at_frontier": false});
    assert_eq!(ended.lines(), [expected], "{}", ended.stderr);
    let ended = replay("28", "100");
    assert_eq!((&ended.lines()[0]["last"], &ended.lines()[0]["ends_at_frontier"]), (&30.into(), &true.into()));
    assert!(ended.stderr.contains("what is above comes by itself"), "{}", ended.stderr);
    assert_eq!(outbox.drain("files"), [10, 11, 12, 28, 29, 30, 31, 32, 33, 34, 35]);

    for (from, to) in [("100", "200"), ("20", "10"), ("2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z")] {
        replay(from, to).is_refused_with(&["has carried no event of this range"]);
    }
    replay("yesterday", "200").is_refused_with(&["--from: \"yesterday\" is neither a position nor a time"]);
    outbox.run(&["outbox", "replay", "--from", "1", "--to", "2"]).is_refused_with(&["--sink: is not set"]);
}

#[tokio::test]
async fn what_is_pruned_and_what_would_break_an_order_is_not_carried_again() {
    let outbox = Outbox::new().await;
    outbox.write(30).await;
    outbox.drain("files");
    let replay_from = |sink: &str, from: &str| {
        outbox.run(&["outbox", "replay", "--sink", sink, "--from", from, "--to", "20", "--yes"])
    };
    replay_from("nowhere", "1").is_refused_with(&["there is no sink nowhere"]);

    let database = pool(outbox.test.url(), 1, std::time::Duration::from_secs(10));
    let planned = plan(&database, "files", Bound::Position(1), Bound::Position(20)).await.unwrap();
    assert_eq!((planned.positions.clone(), planned.events), (1..=20, 20));
    outbox
        .execute(
            "INSERT INTO outbox_pruned (below, partition, written_until) VALUES (11, 'outbox_0', '2026-01-31 08:00Z');
             UPDATE outbox SET created_at = '2026-01-31 08:01Z' WHERE position > 10;
             DELETE FROM outbox WHERE position < 11",
        )
        .await;
    // Between the question and the answer.
    let refused = replay(&database, "files", &planned).await.unwrap_err();
    assert!(refused.to_string().contains("below 11"), "{refused}");
    replay_from("files", "10").is_refused_with(&["events of this range are gone", "give --from 11"]);
    replay_from("files", "2026-01-31T08:00:00Z").is_refused_with(&["events of this range are gone"]);
    assert_eq!(outbox.client.query("SELECT FROM relay_chunks", &[]).await.unwrap().len(), 0);
    assert_eq!(replay_from("files", "2026-01-31T08:00:01Z").code, 0);
    assert_eq!(replay_from("files", "11").code, 0);

    outbox.execute("UPDATE relay_sinks SET ordered = true").await;
    replay_from("files", "11").is_refused_with(&["the sink files keeps order"]);
}

#[tokio::test]
async fn while_events_may_be_dropped_nothing_is_retried_or_replayed() {
    let outbox = Outbox::new().await;
    outbox.write(10).await;
    outbox.drain("files");
    outbox.refuse("files", &[2], "set_aside").await;
    let pruner = outbox.test.client().await;
    let lock = "SELECT pg_advisory_lock(hashtextextended('turnstile.outbox_pruned', 0))";
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let chunks = async || outbox.client.query("SELECT FROM relay_chunks", &[]).await.unwrap().len();
    let id = outbox.id(2).await;
    for arguments in [
        &["outbox", "failures", "retry", &id][..],
        &["outbox", "replay", "--sink", "files", "--from", "1", "--to", "5", "--yes"],
    ] {
        pruner.batch_execute(lock).await.unwrap();
        let (failures, open) = (outbox.failures().await, chunks().await);
        let running = Loader::start(outbox.command(arguments), outbox.folder.path().join("log"));
        wait_until("it waits for the lock", async || {
            outbox.client.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 1
        })
        .await;
        assert_eq!((outbox.failures().await, chunks().await), (failures, open));
        pruner.batch_execute("SELECT pg_advisory_unlock_all()").await.unwrap();
        assert!(running.ended().await.success());
    }
    assert_eq!((outbox.failures().await, chunks().await), (vec![(2, "waiting".to_owned(), 1)], 1));
}
