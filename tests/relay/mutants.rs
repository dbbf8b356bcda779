//! The tests of the relay are able to fail: each mutant of it is found, where nothing is wrong with the program itself.

use std::os::unix::process::ExitStatusExt as _;

use stand_ins::postgres::Postgres;
use turnstile::failpoint::Mutant;

use super::stage::{Mood, SHORT, Stage, go_on, stands};
use super::*;
use crate::support::evidence::survived;

/// What repeats the evidence of this module.
const COMMAND: &str = "cargo test --features failpoints --test main relay::mutants";

/// How often a scenario is played until the mutant does harm: on a busy machine its steps may miss each other.
const PLAYS: usize = 3;

/// Fails unless the mutant does harm in this scenario, and the program never does.
async fn assert_found(mutant: Mutant, harm: impl AsyncFn(Option<Mutant>) -> usize) {
    for _ in 0..PLAYS {
        let (with, without) = tokio::join!(harm(Some(mutant)), harm(None));
        assert_eq!(without, 0, "harm is done without {mutant:?}");
        if with > 0 {
            return survived(&format!("mutant {mutant:?} of the relay is found"), 1, COMMAND);
        }
    }
    panic!("{mutant:?} is not found");
}

async fn abort_at(stage: &Stage, mutant: Option<Mutant>, failpoint: &str) {
    let status = stage.relay(mutant, failpoint, &SHORT).ended().await;
    assert_eq!(status.signal(), Some(6), "{mutant:?} did not abort at {failpoint}: {status}");
}

/// Ends a relay in order.
async fn end(relay: crate::support::program::Loader) {
    relay.terminate();
    assert!(relay.ended().await.success());
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// A transaction takes its positions, others commit higher ones and are carried, the gap is looked at, and then it commits.
async fn lost_of_a_writer_that_ends_late(mutant: Option<Mutant>) -> usize {
    let (stage, client) = Stage::new().await;
    let late = connect(&stage.url).await;
    late.batch_execute("BEGIN").await.unwrap();
    write(&late, 3).await;
    let seen = write(&client, 3).await;
    let relay = stage.relay(mutant, "", &[]);
    wait_until("what can be seen is carried", async || stage.has(&seen)).await;
    let unknown = "SELECT count(*) FROM turnstile.relay_gaps WHERE writers IS NULL";
    wait_until("the gap was looked at", async || number(&client, unknown).await == 0).await;
    late.batch_execute("COMMIT").await.unwrap();
    end(relay).await;
    stage.drain(mutant).await;
    stage.lost(&client).await
}

#[tokio::test]
async fn not_noting_gaps_is_found() {
    assert_found(Mutant::GapsNotNoted, lost_of_a_writer_that_ends_late).await;
}

#[tokio::test]
async fn giving_a_gap_up_at_first_sight_is_found() {
    assert_found(Mutant::GapsDeadAtFirstSight, lost_of_a_writer_that_ends_late).await;
}

/// A transaction commits while a relay stands before it asks who writes.
async fn lost_of_a_writer_that_ends_during_a_look(mutant: Option<Mutant>) -> usize {
    let (stage, client) = Stage::new().await;
    let late = connect(&stage.url).await;
    late.batch_execute("BEGIN").await.unwrap();
    write(&late, 3).await;
    let seen = write(&client, 3).await;
    let relay = stage.relay(mutant, "relay_writers.before:1:stop", &[]);
    stands(&relay).await;
    late.batch_execute("COMMIT").await.unwrap();
    go_on(&relay);
    wait_until("what could be seen is carried, and no gap is left", async || {
        stage.has(&seen) && count(&client, "relay_gaps").await == 0
    })
    .await;
    end(relay).await;
    stage.drain(mutant).await;
    stage.lost(&client).await
}

#[tokio::test]
async fn reading_the_rows_of_gaps_before_the_locks_is_found() {
    assert_found(Mutant::RowsReadBeforeLocks, lost_of_a_writer_that_ends_during_a_look).await;
}

/// While a relay stands before it reads the gaps, a transaction begins, and another relay notes the gap that it leaves.
async fn lost_of_a_writer_that_begins_during_a_look(mutant: Option<Mutant>) -> usize {
    let (stage, client, one) = loop {
        let (stage, client) = Stage::new().await;
        // A look that comes so late that all lanes rest.
        let one = stage.relay(mutant, "relay_gaps.before:3:stop,relay_gaps.before:4:stop", &["--poll", "60s"]);
        stands(&one).await;
        let claims = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
                      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        if number(&client, claims).await == 0 {
            break (stage, client, one);
        }
    };
    let late = connect(&stage.url).await;
    late.batch_execute("BEGIN").await.unwrap();
    write(&late, 3).await;
    let seen = write(&client, 3).await;
    let other = stage.relay(None, "", &[]);
    let known = "SELECT count(*) FROM turnstile.relay_gaps WHERE cardinality(writers) = 1";
    wait_until("another relay has carried the rest, and knows of the gap", async || {
        stage.has(&seen) && count(&client, "relay_chunks").await == 0 && number(&client, known).await == 1
    })
    .await;
    end(other).await;
    go_on(&one);
    stands(&one).await;
    late.batch_execute("COMMIT").await.unwrap();
    go_on(&one);
    end(one).await;
    stage.drain(mutant).await;
    stage.lost(&client).await
}

#[tokio::test]
async fn reading_the_locks_before_the_gaps_is_found() {
    assert_found(Mutant::LocksReadBeforeGaps, lost_of_a_writer_that_begins_during_a_look).await;
}

/// A server of its own with these settings, and tables in it.
async fn server_with(settings: &[(&str, &str)]) -> (Postgres, Stage) {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let server = server::start(Options { settings, ..installed() }).await;
    migrate(&pool(&server.url(), 1, Duration::from_secs(20))).await;
    let stage = Stage::at(server.url()).await;
    (server, stage)
}

/// A prepared transaction outlives a crash of the server, which gives it another id.
async fn lost_of_a_prepared_writer(mutant: Option<Mutant>) -> usize {
    let (mut server, stage) = server_with(&[("max_prepared_transactions", "10")]).await;
    let client = connect(&stage.url).await;
    client.batch_execute("BEGIN").await.unwrap();
    write(&client, 3).await;
    client.batch_execute("PREPARE TRANSACTION 'forgotten'").await.unwrap();
    let seen = write(&client, 3).await;
    let relay = stage.relay(mutant, "", &[]);
    let known = "SELECT count(*) FROM turnstile.relay_gaps WHERE cardinality(writers) = 1";
    wait_until("the rest is carried, and the gap has a writer", async || {
        stage.has(&seen) && number(&client, known).await == 1
    })
    .await;
    let writer = "SELECT writers[1] FROM turnstile.relay_gaps";
    let before: String = client.query_one(writer, &[]).await.unwrap().get(0);
    client.batch_execute("SELECT pg_switch_wal(); CHECKPOINT").await.unwrap();
    server.kill_hard();
    server.restart().await.unwrap();
    let client = connect(&stage.url).await;
    wait_until("the gap was looked at again", async || {
        let rows = client.query(writer, &[]).await.unwrap();
        rows.first().is_none_or(|row| row.get::<_, String>(0) != before)
    })
    .await;
    client.batch_execute("COMMIT PREPARED 'forgotten'").await.unwrap();
    end(relay).await;
    stage.drain(mutant).await;
    stage.lost(&client).await
}

#[tokio::test]
async fn knowing_a_prepared_transaction_by_its_id_is_found() {
    assert_found(Mutant::PreparedKnownById, lost_of_a_prepared_writer).await;
}

/// A relay dies at this edge, and others go on.
async fn lost_by_a_death(mutant: Option<Mutant>, failpoint: &str, mood: Mood) -> usize {
    let (stage, client) = Stage::new().await;
    write(&client, 3).await;
    stage.set(mood);
    abort_at(&stage, mutant, failpoint).await;
    stage.set(Mood::Takes);
    stage.drain(mutant).await;
    stage.lost(&client).await
}

#[tokio::test]
async fn moving_the_frontier_before_the_chunk_is_open_is_found() {
    let harm = async |mutant| lost_by_a_death(mutant, "relay_open.before:1", Mood::Takes).await;
    assert_found(Mutant::MarkBeforeChunk, harm).await;
}

#[tokio::test]
async fn closing_a_chunk_before_it_is_carried_is_found() {
    let harm = async |mutant| lost_by_a_death(mutant, "relay_carry.before:1", Mood::Takes).await;
    assert_found(Mutant::CloseBeforeSent, harm).await;
}

#[tokio::test]
async fn noting_refusals_after_the_close_is_found() {
    let harm = async |mutant| lost_by_a_death(mutant, "relay_refused.before:1", Mood::Refuses).await;
    assert_found(Mutant::RefusalsNotedAfterClose, harm).await;
}

/// Two relays claim at the same time, and more events are written in between.
async fn doubled_by_two_that_claim(mutant: Option<Mutant>) -> usize {
    let (stage, client) = Stage::new().await;
    let mut all = write(&client, 3).await;
    let one = stage.relay(mutant, "relay_open.before:1:stop", &[]);
    stands(&one).await;
    all.extend(write(&client, 3).await);
    let proxy = PostgresProxy::before(&stage.url).await;
    proxy.arm(|_| None);
    let mut command = stage.command(&[]);
    command.env("DATABASE_URL", proxy.url());
    command.envs(mutant.map(|mutant| ("TURNSTILE_MUTANT", format!("{mutant:?}"))));
    let other = stage.start(command);
    match mutant {
        Some(_) => wait_until("the other has claimed", async || stage.has(&all)).await,
        None => wait_until("the other has tried to many times", async || proxy.requests() > 200).await,
    }
    assert_eq!(stage.has(&all), mutant.is_some());
    go_on(&one);
    wait_until("all is carried", async || stage.has(&all) && count(&client, "relay_chunks").await == 0).await;
    end(one).await;
    end(other).await;
    stage.doubled()
}

#[tokio::test]
async fn claiming_without_the_lock_is_found() {
    assert_found(Mutant::ClaimWithoutLock, doubled_by_two_that_claim).await;
}

/// What is not flushed is lost by a crash: here nothing is that did not wait for it.
const SELDOM_FLUSHED: &[(&str, &str)] = &[("wal_writer_delay", "10s")];

/// A crash takes back what two relays have claimed. One of them dies, the other goes on.
async fn lost_of_claims_that_a_crash_took_back(mutant: Option<Mutant>) -> usize {
    loop {
        let (mut server, stage) = server_with(SELDOM_FLUSHED).await;
        let client = connect(&stage.url).await;
        // More than the four lanes of a relay take up.
        write(&client, 24).await;
        let few = ["--chunk", "3"];
        // Both have begun before either claims: their beginning waits for the disk.
        let lives = stage.relay(mutant, "relay_take_over.before:1:stop,relay_carry.before:1:stop", &few);
        stands(&lives).await;
        let dies = stage.relay(None, "relay_carry.before:1:stop", &few);
        stands(&dies).await;
        let newest = "SELECT coalesce(max(position), 0) FROM turnstile.relay_marks";
        let of_dies = number(&client, newest).await;
        go_on(&lives);
        stands(&lives).await;
        if number(&client, newest).await <= of_dies {
            continue;
        }
        server.kill_hard();
        server.restart().await.unwrap();
        let client = connect(&stage.url).await;
        dies.kill();
        if count(&client, "relay_chunks").await + count(&client, "relay_marks").await > 0 {
            continue;
        }
        write(&client, 1).await;
        go_on(&lives);
        let done = "SELECT count(*) FROM turnstile.relay_marks m WHERE NOT EXISTS (SELECT FROM turnstile.relay_chunks)
                    AND NOT EXISTS (SELECT FROM turnstile.relay_gaps) AND m.position = (SELECT max(position) FROM turnstile.outbox)";
        wait_until("the other is through", async || number(&client, done).await == 1).await;
        end(lives).await;
        stage.drain(mutant).await;
        return stage.lost(&client).await;
    }
}

#[tokio::test]
async fn remembering_the_frontier_over_a_crash_is_found() {
    assert_found(Mutant::FrontierInMemory, lost_of_claims_that_a_crash_took_back).await;
}

/// A crash takes back a chunk, and the next gets its number while the relay that had it is still at work.
async fn lost_of_a_chunk_of_the_same_number(mutant: Option<Mutant>) -> usize {
    const CHUNK: &str = "SELECT coalesce(max(id), 0) FROM turnstile.relay_chunks";
    loop {
        let (mut server, stage) = server_with(SELDOM_FLUSHED).await;
        let client = connect(&stage.url).await;
        write(&client, 3).await;
        let old = stage.relay(mutant, "relay_carry.before:1:stop", &[]);
        stands(&old).await;
        let number_of_old = number(&client, CHUNK).await;
        server.kill_hard();
        server.restart().await.unwrap();
        let client = connect(&stage.url).await;
        if count(&client, "relay_chunks").await > 0 {
            continue;
        }
        write(&client, 3).await;
        let (begun, lease) = (Instant::now(), Duration::from_secs(15));
        let new = stage.relay(None, "relay_carry.before:1:stop", &["--lease", "15s"]);
        stands(&new).await;
        // The old one must not take over what the new one has.
        if number(&client, CHUNK).await != number_of_old || begun.elapsed() > lease / 2 {
            continue;
        }
        go_on(&old);
        end(old).await;
        new.kill();
        stage.drain(mutant).await;
        return stage.lost(&client).await;
    }
}

#[tokio::test]
async fn closing_a_chunk_without_a_look_at_its_lease_is_found() {
    assert_found(Mutant::CloseWithoutLease, lost_of_a_chunk_of_the_same_number).await;
}

/// A relay is refused everything and stands before it notes that, until another has carried it.
async fn failures_of_what_was_carried(mutant: Option<Mutant>) -> usize {
    let (stage, client) = Stage::new().await;
    let all = write(&client, 3).await;
    stage.set(Mood::Refuses);
    let slow = stage.relay(mutant, "relay_close.before:1:stop", &SHORT);
    stands(&slow).await;
    stage.set(Mood::Takes);
    stage.drain(None).await;
    assert!(stage.has(&all), "another has carried them");
    go_on(&slow);
    end(slow).await;
    usize::try_from(count(&client, "relay_failures").await).unwrap()
}

#[tokio::test]
async fn noting_refusals_of_a_lost_chunk_is_found() {
    assert_found(Mutant::RefusalsOfLostChunkNoted, failures_of_what_was_carried).await;
}

/// The sink is away for a while.
async fn failures_of_a_sink_that_is_away(mutant: Option<Mutant>) -> usize {
    let (stage, client) = Stage::new().await;
    write(&client, 2).await;
    stage.set(Mood::Away);
    let relay = stage.relay(mutant, "", &[]);
    wait_until("it was tried often", async || stage.sends() >= 5 || count(&client, "relay_failures").await > 0).await;
    relay.kill();
    usize::try_from(count(&client, "relay_failures").await).unwrap()
}

#[tokio::test]
async fn taking_a_sink_that_is_away_for_one_that_refuses_is_found() {
    assert_found(Mutant::AwayTakenAsRefused, failures_of_a_sink_that_is_away).await;
}

/// The queue takes a part of each call.
async fn lost_of_calls_that_are_taken_in_part(mutant: Option<Mutant>) -> usize {
    let (stage, client) = Stage::new().await;
    write(&client, 8).await;
    stage.set(Mood::TakesHalf);
    stage.drain(mutant).await;
    stage.lost(&client).await
}

#[tokio::test]
async fn taking_failed_entries_for_taken_is_found() {
    assert_found(Mutant::FailedTakenAsTaken, lost_of_calls_that_are_taken_in_part).await;
}
